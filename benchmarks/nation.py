"""A configuration for a whole country: a file for each of 11,000 municipalities, each with 100 services.

The keys come from the code list of all municipalities (``standards/codelists``). Without that list they are
numbers in order. Names and everything else are invented.
"""

from __future__ import annotations

import lzma
import os
import re
from pathlib import Path

from benchmarks import application
from benchmarks.figures import ROOT

MUNICIPALITIES, SERVICES = 11_000, 100
_ROW = re.compile(r'ColumnRef="SCHLUESSEL">\s*<SimpleValue>(\d{8})</SimpleValue>')


def keys(count: int = MUNICIPALITIES) -> list[str]:
    """The keys (AGS) of `count` municipalities. The one that the senders use comes first."""
    folder = Path(os.environ.get("DREHSCHEIBE_STANDARDS", ROOT.parent / "shared" / "standards")) / "codelists"
    files = sorted(folder.glob("AGS_*.xml.xz")) if folder.is_dir() else []
    found = _ROW.findall(lzma.decompress(files[-1].read_bytes()).decode()) if files else []
    known = dict.fromkeys([application.AGS, *found])
    number = 99_000_000
    while len(known) < count:
        number += 1
        known[str(number)] = None
    return list(known)[:count]


def services(count: int = SERVICES) -> list[str]:
    """The names of `count` services. The one that the senders use comes first."""
    return [application.SERVICE, *(f"leistung-{number:03}" for number in range(1, count))]


def _municipality(ags: str, listed: str, drop: Path, own: Path) -> str:
    """One municipality's file: its services as TOML (`listed`), a mailbox, and the folder `own`."""
    return f"""name = "Gemeinde {ags} (erfunden)"
ags = "{ags}"
tenant = "t{ags}"
population = {{ 2024-12-31 = {int(ags) % 90_000 + 500} }}
services = [
    {listed},
]

[contract]
provider = "beispiel-it"
number = "M-{ags}"

[parameters]
behoerde = "Gemeindeverwaltung {ags}"
anschrift = "Beispielweg 1, 00000 Musterstadt"

[destinations.postfach]
connector = "smtp"
to = ["gemeinde@t{ags}.example"]
fallback = "ablage"

[destinations.ablage]
connector = "directory"
path = "{own}"
name = "{{case}}_{{id}}"
layout = "single"

[destinations.test]
connector = "directory"
path = "{drop}/test"
test = true
"""


def write(etc: Path, mappings: Path, drop: Path, municipalities: int = MUNICIPALITIES,
          count: int = SERVICES) -> None:
    """Write the municipalities' files, the services' mappings, and a default route for all of them."""
    names = services(count)
    for name in names:
        if not (mappings / name).exists():
            application.write_mapping(mappings, name)
    listed = ",\n    ".join(", ".join(f'"{name}"' for name in names[first : first + 5])
                            for first in range(0, len(names), 5))
    folder = etc / "municipalities"
    folder.mkdir(parents=True, exist_ok=True)
    (etc / "defaults.toml").write_text(
        """
[policy.retry]
first = "1m"
[connectors.smtp]
host = "localhost"
port = 2525
security = "none"
from = "hub@hub.example"
[[route]]
service = "*"
recipients = [{ destination = "ablage", send = ["xml", "attachments"] }]
test_recipients = [{ destination = "test", send = ["xml"] }]
""",
        encoding="utf-8",
    )
    for ags in keys(municipalities):
        own = drop if ags == application.AGS else drop / ags
        (folder / f"{ags}.toml").write_text(_municipality(ags, listed, drop, own), encoding="utf-8")


"""The variants of the simulated hub's configuration, and what is right in each: the judge's own table.

The table is written by hand and does not use `hub.pipeline.route`.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from hub.config import loader
from hub.config.configuration import Configuration
from hub.message import BERLIN
from tests.torture import world as torture

NORD, SUED = "14999010", "14999020"
TENANTS = {NORD: "nord", SUED: "sued"}
PLAIN, ORDERED = "zaehlprobe", "fallprobe"
MEMORY = Path("/dev/shm")

HUB = """
[hub]
name = "Simulation"
state = "state"
mappings = "mappings"
[workers]
count = 2
batch = 4
[deliver]
threads = 5
per_destination = 2
batch = 4
lease = "10m"
rest_after = 3
rest = "1m"
[[sender]]
name = "portal"
[[sender]]
name = "zweites"
"""

DESTINATIONS = {
    "ablage": 'connector = "directory"\npath = "/sim/{tenant}/ablage"',
    "postfach":
    'connector = "smtp"\nhost = "mail"\nfrom = "hub@hub.example"\nto = ["postfach@{tenant}.example"]\n'
                'fallback = "ablage"',
    "streng":
    'connector = "smtp"\nhost = "mail"\nfrom = "hub@hub.example"\nto = ["streng@{tenant}.example"]\n'
              'in_doubt = "ask"\nrate = "2/s"',
    "fach": 'connector = "rest"\nurl = "https://{tenant}.example/fach"\nbody = "xml"\nidempotent = true',
    "fenster": 'connector = "directory"\npath = "/sim/{tenant}/fenster"\nwindow = ["Mo-Fr 08:00-16:00"]',
    "akte": 'connector = "rest"\nurl = "https://{tenant}.example/akte"\nbody = "xml"\n'
            'probe_url = "https://{tenant}.example/akte/{{id}}"',
    "probe": 'connector = "directory"\npath = "/sim/{tenant}/probe"\ntest = true',
}
POLICY = '\ntotal = "60s"\nretry = { first = "1m", longest = "20m", give_up_after = "3d" }\n'
LARGE = frozenset({"postfach"})
"""Destinations that may refuse a delivery as too large. They have a fallback."""


@dataclass(frozen=True)
class Variant:
    """One variant of the configuration: recipients by service, municipalities, destinations."""

    name: str
    routes: dict[str, tuple[str, ...]]
    municipalities: tuple[str, ...] = (NORD, SUED)
    without: tuple[str, ...] = ()
    tests: tuple[str, ...] = ("probe",)


VARIANTS = (
    Variant("base", {PLAIN: ("ablage", "postfach", "fach"), ORDERED: ("fenster", "streng", "akte")}),
    Variant("other ways", {PLAIN: ("akte", "streng"), ORDERED: ("postfach", "ablage")}),
    Variant("no fach", {PLAIN: ("postfach",), ORDERED: ("fenster", "streng", "akte")}, without=("fach",)),
    Variant("only the north", {PLAIN: ("ablage", "postfach", "fach"), ORDERED: ("akte",)},
            municipalities=(NORD,)),
    Variant("no tests", {PLAIN: ("fach", "ablage"), ORDERED: ("fenster", "streng", "akte")}, tests=()),
)


def expected(variant: Variant, ags: str, service: str, test: bool, form: str) -> frozenset[str] | str:
    """Where a message must go in this variant, or the reason for which it must be parked."""
    if ags not in variant.municipalities:
        return "unknown-municipality"
    if form != "1.0" or (test and not variant.tests):
        return "no-route"
    return frozenset(f"{TENANTS[ags]}/{name}"
                     for name in (variant.tests if test else variant.routes[service]))


def is_open(destination: str, at: datetime) -> bool:
    """Whether the window of a destination is open. One destination has a window."""
    wall = at.astimezone(BERLIN)
    return not destination.endswith("/fenster") or (wall.weekday() < 5 and 8 <= wall.hour < 16)


@cache
def configurations() -> dict[str, Configuration]:
    """The configurations by the names of the variants. They are loaded from files, once per process."""
    folder = Path(tempfile.mkdtemp(prefix="simulation-etc-", dir=MEMORY if MEMORY.is_dir() else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for service in (PLAIN, ORDERED):
        shutil.copytree(torture.HERE / "mapping", folder / "mappings" / service)
        table = folder / "mappings" / service / "mapping.toml"
        table.write_text(table.read_text().replace('service = "zaehlprobe"', f'service = "{service}"'))
    (folder / "hub.toml").write_text(HUB)
    return {variant.name: _load(folder, variant) for variant in VARIANTS}


def _load(folder: Path, variant: Variant) -> Configuration:
    municipalities = folder / "municipalities"
    shutil.rmtree(municipalities, ignore_errors=True)
    municipalities.mkdir()
    for ags in variant.municipalities:
        tenant = TENANTS[ags]
        text = f'name = "{tenant}"\nags = "{ags}"\ntenant = "{tenant}"\n'
        for name, row in DESTINATIONS.items():
            if name not in variant.without:
                text += f"[destinations.{name}]\n{row.format(tenant=tenant)}{POLICY}"
        for service, names in variant.routes.items():
            text += f'[[route]]\nservice = "{service}"\nrecipients = {_recipients(names)}\n'
            text += f"test_recipients = {_recipients(variant.tests)}\n" if variant.tests else ""
            text += 'order = "case"\n' if service == ORDERED else ""
        (municipalities / f"{ags}.toml").write_text(text)
    return loader.load(folder / "hub.toml")


def _recipients(names: tuple[str, ...]) -> str:
    rows = []
    for name in names:
        send = "text" if name in ("postfach", "streng") else "xml"
        rows.append(f'{{ destination = "{name}", send = ["{send}"] }}')
    return f"[{', '.join(rows)}]"

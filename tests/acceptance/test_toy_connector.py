"""One new protocol is one file: a connector in a folder of its own delivers, and no other file changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from tests.acceptance.hub_process import PROBEDORF, ROOT, HubProcess, document_of
from tests.services import wait_until
from tests.services.distribution import install

MUNICIPALITY = f"""
name = "Gemeinde Probedorf"
ags = "{PROBEDORF}"
tenant = "probedorf"
[parameters]
behoerde = "Gemeinde Probedorf"
[destinations.schlag]
connector = "pigeon"
loft = "../var/loft"
[[route]]
service = "hundesteuer"
recipients = [{{ destination = "schlag", send = ["xml"] }}]
"""


def digests() -> dict[str, str]:
    """Every file of the repository in which a protocol could have to be known."""
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest()
            for folder in ("hub", "connectors", "etc", "docs", "mappings")
            for file in (ROOT / folder).rglob("*")
            if file.is_file() and "__pycache__" not in file.parts}


def test_a_connector_in_a_folder_of_its_own_delivers(hub: HubProcess, tmp_path: Path) -> None:
    before = digests()
    site, loft = install(tmp_path / "site", {"pigeon": "pigeon"}), hub.folder / "var/loft"
    (hub.folder / "etc/municipalities" / f"{PROBEDORF}.toml").write_text(MUNICIPALITY, encoding="utf-8")
    loft.mkdir()
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    hub.start({"PYTHONPATH": path})
    place = hub.folder / "var/inbox" / PROBEDORF / "hundesteuer"
    place.mkdir(parents=True)
    (place / ".antrag.xml").write_bytes(document_of("v2-smallest").read_bytes())
    (place / ".antrag.xml").rename(place / "antrag.xml")
    wait_until(lambda: any(loft.iterdir()), f"the pigeon ({hub.log})", 60)
    arrived, = loft.iterdir()
    message, = hub.settled([row["id"] for row in hub.cli("messages")])
    delivery, = message["deliveries"]
    assert (delivery["state"], delivery["receipt"]["reference"]) == ("done", arrived.name)
    assert arrived.read_bytes().lstrip().startswith(b"<")
    assert digests() == before

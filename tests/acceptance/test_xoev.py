"""A XÖV document goes through the hub unchanged.

It is validated as it was received, against an unpatched set of schemas that the operator installed.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.hub_process import MUSTERSTADT, HubProcess
from tests.services import standards

MAPPING = """
service = "trinkwasser"
title = "Trinkwasser (XWasser)"
category = "mittel"
[[version]]
name = "v1"
xoev = true
versions = "*"
subject = "XWasser"
schema_set = { set = "xwasser", version = "1.0.0", entry = "xwasser.xsd" }
[version.renderings.mail-text]
role = "text"
stylesheet = "mail-text.xsl"
file = "nachricht.txt"
media_type = "text/plain"
"""
SHEET = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"
    xmlns:e="urn:datendrehscheibe:envelope:1">
<xsl:output method="text"/>
<xsl:template match="/">Nachricht <xsl:value-of select="//nachrichtenUUID"/>, Anlagen: <xsl:value-of
    select="count(//e:attachment)"/></xsl:template></xsl:stylesheet>"""
MUNICIPALITY = """
name = "Gesundheitsamt Musterstadt"
ags = "14999010"
tenant = "musterstadt"
[destinations.ablage]
connector = "directory"
path = "../var/drop/musterstadt"
[destinations.test]
connector = "directory"
path = "../var/drop/test"
test = true
[[route]]
service = "trinkwasser"
recipients = [{ destination = "ablage", send = ["original", "mail-text"] }]
test_recipients = [{ destination = "test", send = ["original", "mail-text"] }]
"""


@pytest.fixture
def waterworks(hub: HubProcess, tmp_path: Path) -> HubProcess:
    """A hub with the service. The real command has installed XWasser."""
    source = standards()
    folder = hub.folder / "mappings" / "trinkwasser" / "v1"
    folder.mkdir(parents=True)
    (folder.parent / "mapping.toml").write_text(MAPPING)
    (folder / "mail-text.xsl").write_text(SHEET)
    (hub.folder / "etc" / "municipalities" / f"{MUSTERSTADT}.toml").write_text(MUNICIPALITY)
    signature = tmp_path / "xmldsig"
    signature.mkdir()
    name = "UBL-xmldsig-core-schema-2.1.xsd"
    (signature / name).write_bytes((source / "xrechnung/UBL-2.1/xsdrt/common" / name).read_bytes())
    hub.cli("schemas", "install", str(source / "xoev-base"), "--set", "xoev-base", "--version", "2024")
    hub.cli("schemas", "install", str(signature), "--set", "xmldsig", "--version", "1")
    report = hub.cli("schemas", "install", str(source / "xwasser/xsd-1.0.0"), "--set", "xwasser", "--version",
                     "1.0.0", code=1)
    # one import cannot be resolved by a file name: the report says which line to add, and where
    url = "https://www.w3.org/TR/xmldsig-core/xmldsig-core-schema.xsd"
    assert [url in line for line in report["unresolved"]] == [True]
    with (Path(report["folder"]) / "catalogue.toml").open("a") as file:
        file.write(f'"{url}" = "../../xmldsig/1/{name}"\n')
    return hub


def test_a_test_report_arrives_byte_for_byte_at_the_test_destination(waterworks: HubProcess) -> None:
    hub, sample = waterworks, standards() / "xwasser" / "samples" / "olb_report_minimal.xml"
    hub.start()
    message = hub.settled([hub.send(sample, service="trinkwasser")["id"]])[0]
    assert message["state"] == "completed", message["reason_text"]
    assert [row["destination"]
            for row in message["deliveries"]] == ["musterstadt/test"], "its own attribute test says so"
    folder = next(path for path in (hub.drop / "test").iterdir())
    contents = [file.read_bytes() for file in folder.iterdir()]
    assert sample.read_bytes() in contents
    assert any(b"693c64d6-456f-4d14-abe7-fe9681c74aae" in content for content in contents
               if content != sample.read_bytes())


def test_an_invalid_one_is_parked_with_a_place(waterworks: HubProcess, tmp_path: Path) -> None:
    hub = waterworks
    text = (standards() / "xwasser" / "samples" / "olb_report_minimal.xml").read_text()
    file = tmp_path / "faulty.xml"
    file.write_text(text.replace("<xwas:vorgangsID>", "<xwas:vorgangId>").replace("</xwas:vorgangsID>",
                                                                                  "</xwas:vorgangId>"))
    hub.start()
    message = hub.settled([hub.send(file, service="trinkwasser")["id"]])[0]
    assert (message["state"], message["reason"]) == ("parked", "invalid")
    assert "identifikationVorgang" in message["reason_text"]

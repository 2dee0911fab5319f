"""What a citizen wrote stays in the payload: a running hub tells it in no row, no log line and no answer."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from lxml import etree

from tests.acceptance.hub_process import MUSTERSTADT, HubProcess, document_of
from tests.acceptance.test_survives import FOLDER_ONLY
from tests.unit.pipeline.leaks import CANARY, form, hostile, stylesheet

PAYLOAD = {("part", "name"), ("part", "filename"), ("part", "media_type"),
           ("delivery", "manifest")}
"""Columns that hold what was sent; they are erased with it."""

OWN_ROUTE = """
[[route]]
service = "feindlich"
recipients = [{ destination = "ablage", send = ["ausgabe", "attachments"] }]
"""


def columns_with(database: Path, text: str) -> set[tuple[str, str]]:
    """Tables and columns of which some row has the text."""
    found = set()
    with sqlite3.connect(database) as connection:
        connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in rows.description]
            for row in rows:
                found |= {(table, name) for name, value in zip(names, row, strict=True)
                          if text.lower() in str(value).lower() and name != "content"}
    return found


def sent(hub: HubProcess, folder: Path) -> list[str]:
    """Messages with the canary in values, names and file names: parked for several reasons, and delivered."""
    values, names = (etree.parse(document_of("v2-smallest")).getroot() for _ in range(2))
    for field in values.iter(etree.Element):
        if not len(field) and field.tag != "formId":
            field.text = CANARY
    next(element for element in names.iter("instance_0"))[0].tag = CANARY
    documents = {"values.xml": etree.tostring(values), "names.xml": etree.tostring(names),
                 f"{CANARY}.json": b'{"fields": {"' + CANARY.encode() + b'": 1}}',
                 "feindlich.xml": form({"name": CANARY}), "zugestellt.xml": form({"name": "2026-11-22"})}
    ids = []
    for name, content in documents.items():
        file, attachment = folder / name, folder / f"{CANARY}.png"
        file.write_bytes(content)
        attachment.write_bytes(b"PNG" + name.encode())
        service = "feindlich" if name in ("feindlich.xml", "zugestellt.xml") else "hundesteuer"
        ids.append(str(hub.send(file, attachment, service=service)["id"]))
    return ids


def test_a_canary_is_nowhere_but_in_the_payload(hub: HubProcess, tmp_path: Path) -> None:
    hostile(hub.folder / "mappings", ausgabe_xsl=stylesheet(
        "3.0", '<x><xsl:value-of select="xs:date((//name)[1])"/></x>'))
    (hub.folder / "etc/municipalities" / f"{MUSTERSTADT}.toml").write_text(FOLDER_ONLY + OWN_ROUTE)
    hub.start()
    messages = hub.settled(sent(hub, tmp_path))
    assert [message["state"] for message in messages] == ["parked"] * 4 + ["completed"]
    assert [message["reason"] for message in messages[:4]] == ["invalid", "invalid", "unknown-form",
                                                               "mapping"]
    answers = [json.dumps(messages), hub.http("/status"), hub.http("/metrics"), hub.log.read_text()]
    answers += [json.dumps(hub.cli("why", message["id"])) for message in messages]
    assert not [answer for answer in answers if CANARY.lower() in answer.lower()]
    assert "/v1/ausgabe.xsl, Zeile 4" in messages[3]["reason_text"]
    hub.stop()
    assert CANARY.lower() not in hub.log.read_text().lower()
    found = columns_with(hub.folder / "var/hub/store.sqlite3", CANARY)
    assert found <= PAYLOAD
    assert found, "the canary was sent"

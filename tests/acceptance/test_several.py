"""Several applications in one hand-over, by the real command: parked, or messages of their own; and files
that citizens chose the names of."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hub_process import MUSTERSTADT, ROOT, HubProcess, document_of
from tests.services import wait_until
from tests.services.mailsink import MailSink

CASES = ROOT / "tests" / "transfers"


@pytest.fixture
def two(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Two applications, and a file that none of them names."""
    first = document_of("v2-smallest").read_bytes()
    files = tmp_path / "eins.xml", tmp_path / "zwei.xml", tmp_path / "Impfpass.pdf"
    for file, content in zip(files, (first, first.replace(b"Mustermann", b"Geier"), b"%PDF-1.4 Impfpass"),
                             strict=True):
        file.write_bytes(content)
    return files


def wants_them_split(hub: HubProcess) -> None:
    file = hub.folder / "etc" / "hub.toml"
    text = file.read_text()
    assert 'name = "amt24"\nmunicipalities' in text
    sender = 'name = "amt24"\nseveral = "split"\nmunicipalities'
    file.write_text(text.replace('name = "amt24"\nmunicipalities', sender))


def arrived(hub: HubProcess) -> list[set[str]]:
    """The digests of the files of each delivery in the municipality's folder."""
    return [{hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
            for folder in (hub.drop / "musterstadt").iterdir() if not folder.name.startswith(".")]


def both_arrived_once(hub: HubProcess, message_id: str, shared: Path) -> list[dict[str, Any]]:
    """The messages of the two, each delivered once with the file that belongs to both."""
    rows = hub.cli("messages")
    children = hub.settled([row["id"] for row in rows if row["id"] != message_id])
    assert [child["state"] for child in children] == ["completed", "completed"]
    (parent,) = hub.settled([message_id])
    assert parent["state"] == "completed" and parent["deliveries"] == []
    assert {each["correlation"] for each in (parent, *children)} == {message_id}
    folders = arrived(hub)
    assert len(folders) == 2
    digest = hashlib.sha256(shared.read_bytes()).hexdigest()
    assert all(digest in each for each in folders)
    return children


def test_two_applications_are_parked_until_somebody_decides(hub: HubProcess, sink: MailSink,
                                                            two: tuple[Path, Path, Path]) -> None:
    hub.start()
    message_id = hub.send(two[0], *two[1:])["id"]
    (parked,) = hub.settled([message_id])
    assert (parked["state"], parked["reason"]) == ("parked", "several-applications")
    why = hub.cli("why", message_id)
    assert "Teil 1 (XML), Formular 6000663:Hundesteuer:v2.0" in "\n".join([*why["lines"], *why["trace"]])
    assert 'several = "split"' in why["next"][0]
    wants_them_split(hub)
    hub.cli("reload")
    hub.cli("replay", message_id)
    children = both_arrived_once(hub, message_id, two[2])
    assert any(f"aus der Übergabe {message_id}" in (event["detail"] or "")
               for event in children[0]["events"])
    lines = "\n".join(hub.cli("why", message_id)["lines"])
    assert all(child["id"] in lines for child in children)
    again = hub.send(two[0], *two[1:])
    assert (again["id"], again["duplicate"]) == (message_id, True)
    assert len(sink.mails) == 2


@pytest.mark.parametrize("fault", ["record before kill 1", "record after kill 1", "record before kill 2",
                                   "settle before kill 1"])
def test_a_kill_makes_neither_more_nor_fewer_of_them(hub: HubProcess, sink: MailSink, fault: str,
                                                     two: tuple[Path, Path, Path]) -> None:
    wants_them_split(hub)
    hub.start({"DREHSCHEIBE_FAULTS": fault})
    answer = hub.send(two[0], *two[1:], idempotency_key="eins")
    assert hub.process is not None
    hub.process.wait(60)
    hub.process = None
    hub.start()
    again = hub.send(two[0], *two[1:], idempotency_key="eins")
    assert again["duplicate"] is True and again["id"] == answer.get("id", again["id"])
    wait_until(lambda: len(hub.cli("messages")) == 3, "both applications", 60)
    both_arrived_once(hub, again["id"], two[2])
    assert sink.mails


def test_files_keep_the_names_that_citizens_gave_them(hub: HubProcess, sink: MailSink) -> None:
    hub.start()
    place = hub.folder / "var" / "inbox" / MUSTERSTADT / "hundesteuer"
    place.mkdir(parents=True)
    (place / ".neu").mkdir()
    files = {file.name: file.read_bytes() for file in (CASES / "folder-with-pdfs").iterdir()}
    for name, content in files.items():
        (place / ".neu" / name).write_bytes(content)
    (place / ".neu").rename(place / "fall-1")
    wait_until(lambda: hub.cli("messages"), "the folder is taken", 60)
    (message,) = hub.settled([row["id"] for row in hub.cli("messages")])
    assert message["state"] == "completed", message["reason_text"]
    (folder,) = (hub.drop / "musterstadt").iterdir()
    there = {file.name: file.read_bytes() for file in folder.iterdir()}
    for name in ("Impfpass.pdf", "Kaufvertrag.pdf"):
        assert there[name] == files[name]
    (printed,) = (content for name, content in there.items() if name.endswith(".pdf") and name not in files)
    assert printed.startswith(b"%PDF") and printed not in files.values()
    assert sink.mails

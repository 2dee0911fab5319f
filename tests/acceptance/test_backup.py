"""Backup and restore by the real command, beside a running hub; and what the receivers get afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hub_process import ROOT, HubProcess, document_of
from tests.acceptance.test_survives import FOLDER_ONLY, municipality_file
from tests.services import wait_until
from tests.services.mailsink import MailSink

MAIL_TOO = FOLDER_ONLY.replace('[[route]]', """[destinations.postfach]
connector = "smtp"
to = ["gemeinde@musterstadt.example"]
[[route]]""").replace('recipients = [{ destination = "ablage", send = ["xml"] }]', """recipients = [
    { destination = "ablage", send = ["xml"] }, { destination = "postfach", send = ["mail-html"] }]""", 1)


@pytest.fixture
def two(hub: HubProcess, sink: MailSink) -> Iterator[HubProcess]:
    """A hub with a folder, from which people take files away, and a mailbox."""
    municipality_file(hub).write_text(MAIL_TOO)
    hub.overrides += ['defaults.policy.retry.first="1s"', 'deliver.rest="1s"']
    yield hub


def closed(hub: HubProcess) -> None:
    """Take the folder away, so that deliveries to it fail."""
    shutil.rmtree(hub.drop / "musterstadt")


def found(hub: HubProcess) -> list[str]:
    return sorted(file.name for file in (hub.drop / "musterstadt").iterdir() if not file.name.startswith("."))


def taken_away(hub: HubProcess) -> list[str]:
    """Take all files out of the folder, as a clerk does. Returns their names."""
    names = found(hub)
    for name in names:
        (hub.drop / "musterstadt" / name).unlink()
    return names


def failed(hub: HubProcess, *arguments: str, code: int) -> str:
    result = subprocess.run(hub.command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=60,
                            check=False)
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def pending_then_delivered(hub: HubProcess, backup: Path) -> tuple[str, list[str]]:
    """Make a message whose delivery to the folder is open in the backup and arrives afterwards.

    Returns its id and what the clerk took away.
    """
    hub.start()
    closed(hub)
    message = hub.send(document_of("v2-smallest"))["id"]
    wait_until(lambda: any(row["attempts"] for row in hub.show(message)["deliveries"]
                           if row["recipient"] == "ablage"),
               "a try that fails")
    answer = hub.cli("backup", str(backup))
    assert (answer["messages"], answer["open_deliveries"] >= 1) == (1, True)
    (hub.drop / "musterstadt").mkdir()
    hub.cli("replay", message)
    assert hub.settled([message])[0]["state"] == "completed"
    assert failed(hub, "restore", str(backup), "--replace",
                  code=75).startswith(str(hub.folder / "var" / "hub"))
    assert hub.stop() == 0
    return message, taken_away(hub)


def states(hub: HubProcess, message: str) -> dict[str, Any]:
    return {row["recipient"]: row["state"] for row in hub.show(message)["deliveries"]}


def test_after_a_restore_nothing_is_sent_twice_silently(two: HubProcess, tmp_path: Path) -> None:
    message, once = pending_then_delivered(two, tmp_path / "backup")
    assert len(once) == 1
    assert two.cli("restore", str(tmp_path / "backup"), "--verify")["messages"] == 1
    assert "--replace" in failed(two, "restore", str(tmp_path / "backup"), code=1)
    answer = two.cli("restore", str(tmp_path / "backup"), "--replace")
    assert answer["in_doubt"] >= 1 and Path(answer["moved_aside"]).is_dir()
    two.start()
    wait_until(lambda: states(two, message)["ablage"] == "parked",
               "the folder's delivery to wait for a person")
    assert found(two) == [], "nothing lies there a second time"
    assert any("kann es weggeräumt worden sein" in line for line in two.cli("why", message)["lines"])
    assert [event["event"] for event in two.show(message)["events"]].count("restored") >= 2
    delivery = next(row["id"] for row in two.show(message)["deliveries"] if row["recipient"] == "ablage")
    two.cli("confirm", delivery, "--reason", "lag da")
    wait_until(lambda: states(two, message)["ablage"] == "done", "the confirmation")
    assert two.cli("store", "check", "--deep")["sound"]


def test_planted_a_restore_that_leaves_it_plainly_due_sends_it_twice(two: HubProcess, tmp_path: Path) -> None:
    message, once = pending_then_delivered(two, tmp_path / "backup.tar")
    two.cli("restore", str(tmp_path / "backup.tar"), "--replace", "--not-run-since")
    two.start()
    wait_until(lambda: states(two, message)["ablage"] == "done", "the folder's delivery")
    assert found(two) == once, "the clerk has it twice"


def test_what_was_done_in_the_backup_stays_done(two: HubProcess, sink: MailSink, tmp_path: Path) -> None:
    two.start()
    message = two.send(document_of("v2-smallest"))["id"]
    two.settled([message])
    assert two.stop() == 0
    two.cli("backup", str(tmp_path / "backup"))
    two.cli("restore", str(tmp_path / "backup"), "--replace")
    two.start()
    assert two.show(message)["state"] == "completed"
    assert (len(sink.mails), len(found(two))) == (1, 1)


def test_check_and_repair_beside_and_without_a_running_hub(hub: HubProcess) -> None:
    municipality_file(hub).write_text(FOLDER_ONLY)
    hub.start()
    message = hub.send(document_of("v2-smallest"), *[ROOT / "docs" / "deliver.md"] * 20)["id"]
    hub.settled([message])
    assert hub.cli("store", "check", "--deep")["sound"]
    assert "another hub runs on this store" in failed(hub, "store", "repair", "--yes", code=75)
    orphan = hub.folder / "var" / "hub" / "blobs" / "ab" / "019a0000-0000-7000-8000-0000000000ab"
    orphan.write_bytes(b"\0\0x")
    os.utime(orphan, (1, 1))
    report = hub.cli("store", "check", code=1)
    assert [fault["kind"] for fault in report["faults"]] == ["orphan"]
    assert hub.stop() == 0
    assert hub.cli("store", "repair", code=1)["done"] is None
    assert orphan.exists(), "without --yes nothing is done"
    done = hub.cli("store", "repair", "--yes")["done"]
    assert (Path(done["folder"]) / orphan.name).read_bytes() == b"\0\0x"
    assert hub.cli("store", "check")["sound"]


def said(hub: HubProcess, language: str, *arguments: str) -> str:
    return subprocess.run(hub.command(*arguments), cwd=ROOT, env={**os.environ, "DREHSCHEIBE_LANG": language},
                          check=True,
                          capture_output=True, text=True, timeout=60).stdout


def test_people_read_it_in_their_language(hub: HubProcess, tmp_path: Path) -> None:
    municipality_file(hub).write_text(FOLDER_ONLY)
    hub.start()
    for language, words in (("de", "heil"), ("en", "sound")):
        target = str(tmp_path / language)
        assert target in said(hub, language, "backup", target)
        assert said(hub, language, "restore", target, "--verify").startswith(words)
    assert "is there already" in failed(hub, "backup", str(tmp_path / "de"), code=1)

"""A real file system that fills up below a real hub.

The hub stops accepting in time, goes on delivering, and accepts again by itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.hub_process import PROBEDORF, HubProcess, document_of
from tests.acceptance.test_survives import FOLDER_ONLY, municipality_file
from tests.services import missing, need, wait_until
from tests.torture.shim import Shim

MIB = 1 << 20


@contextmanager
def mounted(folder: Path, size: int) -> Iterator[Path]:
    """A new file system of `size` MiB."""
    if os.geteuid() != 0:
        missing("root", "run the tests as root: mounting a small file system takes it")
    folder.mkdir()
    result = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m,mode=700", "tmpfs", str(folder)],
                            check=False,
                            capture_output=True, text=True)
    if result.returncode != 0:
        missing("the right to mount", result.stderr.strip())
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small(hub: HubProcess, tmp_path: Path) -> Iterator[Path]:
    """The hub's state on a file system of 64 MiB. The hub needs 16 of them free and keeps 4 in reserve."""
    with mounted(tmp_path / "small", 64) as folder:
        municipality_file(hub).write_text(FOLDER_ONLY)
        hub.overrides += [f'hub.state="{folder}"', "disk.min_free_mb=16", "disk.reserve_mb=4",
                          "disk.min_free_inodes=0",
                          'defaults.policy.retry.first="1s"', 'deliver.rest="1s"']
        yield folder
        hub.close()


def free(folder: Path) -> int:
    """The free bytes."""
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def fill(folder: Path, leave: int = 0) -> Path:
    """Write a file of another program that leaves so many bytes free."""
    file = folder / "somebody-elses"
    with file.open("ab", buffering=0) as taken:
        while (room := free(folder) - leave) > 0:
            try:
                taken.write(bytes(min(room, MIB)))
            except OSError:
                break
    return file


def waiting(hub: HubProcess) -> str:
    """Make a message whose delivery waits, because the folder of the municipality is gone."""
    shutil.rmtree(hub.drop / "musterstadt")
    message = hub.send(document_of("v2-smallest"), idempotency_key="waits")["id"]
    wait_until(lambda: any(row["attempts"] for row in hub.show(message)["deliveries"]), "a try that fails")
    return str(message)


def come_back(hub: HubProcess, message: str) -> None:
    """Bring the folder back, and tell the hub."""
    (hub.drop / "musterstadt").mkdir()
    hub.cli("replay", message)


def accepting(hub: HubProcess) -> float:
    return hub.metric("drehscheibe_accepting")[""]


def test_it_stops_accepting_goes_on_delivering_and_resumes_by_itself(hub: HubProcess, small: Path) -> None:
    hub.start()
    assert accepting(hub) == 1
    assert hub.metric("drehscheibe_disk_reserve_bytes") == {"": 4 * MIB}
    message = waiting(hub)
    filler = fill(small, leave=10 * MIB)
    wait_until(lambda: accepting(hub) == 0, "the hub to notice")
    with pytest.raises(OSError, match="503"):
        hub.http("/readyz")
    told = json.loads(hub.http("/status"))["accepting"]
    assert (told["now"], told["reserve_bytes"]) == (False, 4 * MIB) and "MiB are free" in told["why"]
    answer = hub.send(document_of("v2-smallest"), idempotency_key="refused")
    assert (answer["status"], answer["type"]) == (503, "urn:datendrehscheibe:problem:unavailable")
    inbox = hub.folder / "var" / "inbox" / PROBEDORF / "hundesteuer"
    inbox.mkdir(parents=True)
    shutil.copy(document_of("v2-smallest"), inbox / "antrag.xml.part")
    (inbox / "antrag.xml.part").rename(inbox / "antrag.xml")

    fill(small)  # now to the last byte
    wait_until(lambda: hub.metric("drehscheibe_disk_reserve_bytes") == {"": 0},
               "the reserve to be given back")
    come_back(hub, message)
    assert hub.settled([message])[0]["state"] == "completed"
    assert len([file for file in (hub.drop / "musterstadt").iterdir() if not file.name.startswith(".")]) == 1
    assert (inbox / "antrag.xml").exists(), "a folder keeps what cannot be taken"
    assert [row["id"] for row in hub.cli("messages")] == [message]

    filler.unlink()
    wait_until(hub.ready, "the hub to accept again")
    assert hub.send(document_of("v2-smallest"), idempotency_key="refused")["status"] == 202
    wait_until(lambda: not (inbox / "antrag.xml").exists(), "the folder's application to be taken", 90)
    wait_until(lambda: hub.metric("drehscheibe_disk_reserve_bytes") == {"": 4 * MIB},
               "the reserve to be laid by")
    log = hub.log.read_text()
    assert log.count("nothing is accepted any more") == log.count(
        "there is room again") == 1, "one line each, no flutter"
    assert hub.stop() == 0


def test_systemd_is_told_that_nothing_is_taken_on_a_full_disk(hub: HubProcess, small: Path,
                                                              tmp_path: Path) -> None:
    """`systemctl status` said "takes applications" all the time."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        hub.start({"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "600000"})

        def next_status() -> str:
            while not (told := manager.recv(4096).decode()).startswith("STATUS="):
                pass
            return told.removeprefix("STATUS=")

        assert next_status() == "takes applications"
        filler = fill(small, leave=10 * MIB)
        assert re.fullmatch(r"takes no applications: the disk fills: \d+ MiB are free in .*", next_status())
        filler.unlink()
        assert next_status() == "takes applications"
        assert hub.stop() == 0


def test_a_start_on_a_full_disk_uses_the_reserve(hub: HubProcess, small: Path) -> None:
    hub.start()
    message = waiting(hub)
    assert hub.stop() == 0
    (hub.drop / "musterstadt").mkdir()
    fill(small)
    hub.launch()
    wait_until(lambda: "the reserve is given back" in hub.log.read_text(), "the reserve to be given back")
    wait_until(lambda: "the hub runs" in hub.log.read_text().rpartition("the reserve is given back")[2],
               "the hub to run")
    assert hub.settled([message])[0]["state"] == "completed"




def test_planted_without_mark_and_reserve_outcomes_cannot_be_written(hub: HubProcess, small: Path) -> None:
    hub.overrides += ["disk.min_free_mb=0", "disk.min_free_percent=0", "disk.reserve_mb=0"]
    hub.start()
    message = waiting(hub)
    assert hub.stop() == 0
    (hub.drop / "musterstadt").mkdir()
    fill(small)
    hub.launch()
    assert hub.process is not None
    wait_until(lambda: re.search("cannot be opened now: SQLITE_FULL|cannot be written",
                                 hub.log.read_text()) is not None,
               "a write that fails")
    hub.close()
    assert hub.cli("show", message)["state"] == "routed", "nobody has written that it arrived"


def test_after_a_failed_sync_the_hub_ends_and_a_new_start_goes_on(hub: HubProcess, tmp_path: Path) -> None:
    need("gcc", "gcc")
    municipality_file(hub).write_text(FOLDER_ONLY)
    shim = Shim(tmp_path / "shim")
    hub.start(shim.environment)
    first = hub.send(document_of("v2-smallest"), idempotency_key="first")["id"]
    hub.settled([first])
    shim.arm("sync", "fail")
    assert hub.send(document_of("v2-smallest"), idempotency_key="second")["status"] == 503
    assert hub.process is not None
    assert hub.process.wait(60) == 75, "temporary: systemd starts it again"
    assert "the store is broken" in hub.log.read_text()
    assert shim.hits == 1
    shim.disarm()
    hub.start()
    assert hub.show(first)["state"] == "completed"
    second = hub.send(document_of("v2-smallest"), idempotency_key="second")["id"]
    assert hub.settled([second])[0]["state"] == "completed"

"""``drehscheibe demo`` as a newcomer runs it, twice, in a copy of the example configuration."""

from __future__ import annotations

import json
import mailbox
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pytest

from hub.message import BERLIN
from tests.services import need

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3})\s", re.MULTILINE)


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "hub", "--config", str(root / "etc/hub.toml"), *arguments]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "DREHSCHEIBE_LANG": "en", "COLUMNS": "200"}


def demo(root: Path) -> str:
    done = subprocess.run(command(root, "demo", "--exit"), cwd=root, env=environment(), capture_output=True,
                          text=True,
                          timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files(root: Path) -> dict[str, bytes]:
    """All files at the receivers."""
    return {str(file.relative_to(root)): file.read_bytes() for place in ("var/drop", "var/mail")
            for file in (root / place).rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("demo")
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, place / name)
    return place


@pytest.fixture(scope="module")
def first(root: Path) -> str:
    return demo(root)


def examples(root: Path) -> dict[str, bool]:
    """Each example, and whether it must be parked."""
    return {f"{file.parents[2].name} ({file.parent.name})": "parked" in file.read_text(encoding="utf-8")
            for file in (root / "mappings").glob("*/examples/*/example.toml")}


def test_every_example_ends_where_it_should(root: Path, first: str) -> None:
    assert len(examples(root)) >= 9
    for name, parked in examples(root).items():
        rows = [line for line in first.splitlines() if name in line]
        assert rows, f"{name} is missing in the table"
        assert all(("parked:" in row) == parked for row in rows), rows
    assert "0 ✗ went wrong" in first


def test_the_hub_found_no_fault_of_its_own(root: Path, first: str) -> None:
    log = min((root / "var/log").glob("hub-*.log")).read_text(encoding="utf-8")
    assert "delivered" in log
    assert "please report" not in log


def test_three_municipalities_got_mail_and_files(root: Path, first: str) -> None:
    for municipality in ("Stadt Musterstadt", "Stadt Beispielberg", "Gemeinde Probedorf"):
        assert municipality in first
    shown = set(re.findall(r"var/mail/(\S+)", first))
    assert len(shown) >= 4
    for address in shown:
        mails = list(mailbox.Maildir(root / "var/mail" / address, create=False))
        assert mails, address
        for mail in mails:
            parsed = BytesParser(policy=policy.default).parsebytes(mail.as_bytes())
            assert parsed.get_body(("plain",)) is not None
            assert parsed["Message-ID"]


def rows(printed: str, service: str, municipality: str) -> list[str]:
    """What the table says about the applications of a service for a municipality: a row and its lines."""
    found: list[str] = []
    for line in printed.splitlines():
        if ROW.match(line):
            found.append(line)
        elif line.startswith("   ") and found:
            found[-1] += "\n" + line
    return [row for row in found if re.search(rf"\s{service} \(", row) and municipality in row
            and "parked:" not in row]


@pytest.mark.parametrize(("service", "category", "places"), [
    ("brauchtumsfeuer", "einfach", ("var/mail/ordnungsamt@", "var/drop/musterstadt/")),
    ("wohnungsgeberbestaetigung", "mittel",
     ("var/mail/buergerservice@", "var/drop/musterstadt/", "musterstadt/melderegister: FV-")),
    ("gewerbemeldung", "komplex",
     ("var/mail/gewerbeamt@", "var/drop/musterstadt-dms/", "musterstadt/gewerberegister: FV-")),
])
def test_the_three_categories_are_played_whole(root: Path, first: str, service: str, category: str,
                                               places: tuple[str, ...]) -> None:
    found = rows(first, service, "Stadt Musterstadt")
    assert len(found) >= 3
    for row in found:
        assert all(place in row for place in places), row
    bill = subprocess.run(command(root, "bill", "--year", str(datetime.now(BERLIN).year), "--json"), cwd=root,
                          env=environment(),
                          capture_output=True, text=True, timeout=60, check=True).stdout
    lines = [line for provider in json.loads(bill)["providers"] for contract in provider["contracts"]
             if contract["ags"] == "14999010" for line in contract["lines"]]
    assert [line["category"] for line in lines if line["service"] == service] == [category]


def test_no_secret_can_be_read_by_others(root: Path, first: str) -> None:
    keys = [*(root / "var/tls").glob("*.key")]
    assert len(keys) >= 3
    assert {oct(key.stat().st_mode & 0o777) for key in keys} == {"0o600"}


def test_a_second_run_keeps_the_first_ones_data_and_shows_its_own(root: Path, first: str) -> None:
    before = files(root)
    second = demo(root)
    after = files(root)
    assert {name: after.get(name) for name in before} == before
    assert len(after) >= 2 * len(before)
    assert len(ROW.findall(first)) == len(ROW.findall(second))
    assert not set(ROW.findall(first)) & set(ROW.findall(second))
    listing = subprocess.run(command(root, "messages", "--limit", "1000"), cwd=root, env=environment(),
                             capture_output=True,
                             text=True, timeout=60, check=True).stdout
    assert {*ROW.findall(first), *ROW.findall(second)} <= {name[:18]
                                                           for name in re.findall(r"[0-9a-f-]{36}", listing)}


@pytest.fixture
def staying(root: Path, first: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command(root, "demo"), cwd=root, env=environment(), stdout=subprocess.PIPE,
                               text=True,
                               start_new_session=True)
    with process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def children(pid: int) -> list[int]:
    command = [need("ps", "procps"), "-o", "pid=", "--ppid", str(pid)]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    return [int(line) for line in listing.stdout.split()]


def test_it_stays_up_until_ctrl_c_and_leaves_nobody_behind(root: Path,
                                                           staying: subprocess.Popen[str]) -> None:
    assert staying.stdout
    for line in staying.stdout:
        if "Ctrl-C" in line:
            break
    started = children(staying.pid)
    assert len(started) == 3  # mail server, Fachverfahren, hub
    refused = subprocess.run(command(root, "demo", "--exit"), cwd=root, env=environment(),
                             capture_output=True, text=True,
                             timeout=60, check=False)
    assert refused.returncode == 1
    assert "running already" in refused.stderr
    staying.send_signal(signal.SIGINT)
    assert staying.wait(60) == 0
    assert [pid for pid in started if Path(f"/proc/{pid}").exists()] == []

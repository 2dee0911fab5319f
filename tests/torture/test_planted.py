"""A test of the tests: each planted fault is found by its own verdict, and a sound hub by none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.services import missing, need
from tests.torture import drives
from tests.torture.planted import FAULTS
from tests.torture.scenarios import backlog, http, nights, nodes, power, reloads, sftp, smtp
from tests.torture.scenarios.calls import durable, short
from tests.torture.scoreboard import PAGE, Row

Run = Callable[..., dict[str, Any]]
kills = partial(short, kills=4)


def struck(*faults: str, **more: Any) -> Run:
    """A run whose lives end at these fault points."""
    return partial(short, faults=faults, **more)


CAUGHT: dict[str, tuple[str, Run]] = {
    "acknowledge-before-commit": ("lost", kills),
    "synchronous-off": ("acknowledged without a sync", partial(durable, messages=2)),
    "no-folder-sync": ("syncs of folders", partial(durable, messages=2)),
    "done-before-send": ("lost", struck("effect after kill 2", "effect after kill 2")),
    "new-message-id-per-try":
    ("silent duplicate", struck("deliver/smtp after kill 2", "deliver/smtp after kill 2")),
    "repeat-without-mark":
    ("silent duplicate", struck("deliver/smtp after kill 2", "deliver/smtp after kill 2")),
    "no-intent": ("silent duplicate", struck("deliver/smtp after kill 2", "deliver/smtp after kill 2")),
    "key-without-municipality-and-number": ("lost", struck()),
    "no-duplicate-check": ("unbalanced", struck("accept after kill 2", "accept after kill 2")),
    "write-under-the-final-name": ("torn", kills),
    "new-name-per-try":
    ("silent duplicate", struck("deliver/directory after kill 2", "deliver/directory after kill 2")),
    "recovery-forgets-deliveries": ("unexplained", struck("deliver/smtp after kill 2")),
    "ledger-forgets": ("unbalanced", struck()),
    "metrics-count-by-themselves": ("unbalanced", kills),
    "neighbours-mailbox": ("misrouted", struck()),
    "truncated-attachment": ("torn", struck()),
    "parked-without-a-word": ("unexplained", struck(mail=("RCPT", "5xx"))),
    "no-rate": ("deliveries within", partial(backlog.backlog, pending=120, rate=4)),
    "no-share": ("p99 grew", partial(backlog.hanging, rounds=1, seconds=10)),
    "deaths-counted-for-bystanders":
    ("parked for deaths", struck("work before kill 1", "work before kill 1")),
    "lost-answer-taken-for-a-no":
    ("silent duplicate", partial(smtp.mail_matrix, only=["BODY kept-cut"], smtp_sink=False)),
    "redirects-are-followed": ("redirect was followed", partial(http.bad_web_server, only=["302"])),
    "half-a-reload":
    ("another configuration than recorded", partial(reloads.reload_again_and_again, count=6, messages=60)),
    "waits-for-the-old-clock":
    ("jump by", partial(nights.jumps_and_nights, nights=0, steps=[-nights.HOUR], rounds=1,
                        messages=30, soon=30)),
    "leases-ignored": ("silent duplicate", partial(nodes.two_nodes, kills=2, messages=80, drain=30)),
    "takeover-forgets": ("unexplained", partial(nodes.two_nodes, kills=0, messages=80, drain=30,
                                                first_dies_at="effect after kill 1")),
    "torn-over-sftp": ("torn", partial(sftp.bad_file_server, injuries=["killed"])),
}


POWER: dict[str, str] = {
    "synchronous-normal": "was acknowledged",
    "no-folder-sync": "said to be delivered",
    "no-file-sync": "torn copy",
    "bodies-not-synced": "is not whole",
}
"""The faults that a power cut shows, each with the text that it is found by."""


def test_there_is_a_row_for_each_planted_fault() -> None:
    assert {*CAUGHT, *POWER} == set(FAULTS)
    assert len(FAULTS) >= 15


def test_the_page_has_the_table() -> None:
    page = PAGE.read_text(encoding="utf-8")
    table = {name: verdict for name, (verdict, _) in CAUGHT.items()}
    assert [name for name, verdict in (*table.items(), *POWER.items())
            if f"| {name} | {verdict} |" not in page] == []


@pytest.mark.torture
@pytest.mark.parametrize("fault", CAUGHT)
def test_a_planted_fault_is_caught(fault: str, tmp_path: Path) -> None:
    need("gcc", "gcc")
    verdict, run = CAUGHT[fault]
    found = Row(fault, run(tmp_path / "stage", 1, launcher=("-m", "tests.torture.planted", fault))).faults
    assert any(verdict in line for line in found), found


@pytest.mark.torture
def test_a_sound_hub_is_caught_by_none_of_them(tmp_path: Path) -> None:
    need("gcc", "gcc")
    everything = struck("effect after kill 2", "deliver/smtp after kill 2", "deliver/directory after kill 2",
                        "accept after kill 2", "work before kill 1", messages=36)
    assert Row("sound", everything(tmp_path / "short", 1)).faults == []
    assert Row("sound", durable(tmp_path / "durable", 1, messages=2)).faults == []
    if not drives.unavailable():
        assert Row("sound", power.at_rest(tmp_path / "power", 1)).faults == []


@pytest.mark.torture
@pytest.mark.parametrize("fault", POWER)
def test_a_cut_of_the_power_catches_it(fault: str, tmp_path: Path) -> None:
    if lacking := drives.unavailable():
        missing("a drive whose power can be cut", lacking)
    found = Row(fault, power.at_rest(tmp_path, 1, launcher=("-m", "tests.torture.planted", fault))).faults
    assert any(POWER[fault] in line for line in found), found

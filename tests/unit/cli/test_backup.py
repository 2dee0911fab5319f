"""The commands that copy a store and put the copy back."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pytest

from hub.cli import context
from hub.cli.output import local_time
from hub.message import BERLIN
from hub.operations import systemd
from tests.unit.cli.kit import EXAMPLE, filled, parked, run


def test_a_copy_is_made_verified_and_put_back(tmp_path: Path) -> None:
    state, copy = tmp_path / "state", tmp_path / "copy.tar"
    ids = filled(state, 2)
    assert f"{copy}: 2 messages, " in run(state, "backup", str(copy)).stdout
    assert "sound: 2 messages" in run(state, "restore", str(copy), "--verify").stdout
    told = run(tmp_path / "new", "restore", str(copy)).stdout
    assert f"restored to {tmp_path / 'new'}: 2 messages" in told
    assert told.endswith("next:\n  drehscheibe store check --deep\n  drehscheibe run\n")
    assert {row["id"] for row in json.loads(run(tmp_path / "new", "messages", "--json").stdout)} == {*ids}


def test_a_store_that_is_there_is_moved_aside_only_when_told(tmp_path: Path) -> None:
    filled(tmp_path / "state", 1)
    run(tmp_path / "state", "backup", str(tmp_path / "copy"))
    run(tmp_path / "state", "restore", str(tmp_path / "copy"), code=1)
    told = run(tmp_path / "state", "restore", str(tmp_path / "copy"), "--replace", "--json").stdout
    answer = json.loads(told)
    assert Path(answer["moved_aside"]).is_dir()


def test_a_copy_does_not_go_over_another(tmp_path: Path) -> None:
    filled(tmp_path / "state", 1)
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/mine.txt").write_text("keep", encoding="utf-8")
    run(tmp_path / "state", "backup", str(tmp_path / "copy"), code=1)
    assert (tmp_path / "copy/mine.txt").read_text(encoding="utf-8") == "keep"


def test_verifying_needs_no_configuration(tmp_path: Path) -> None:
    filled(tmp_path / "state", 1)
    run(tmp_path / "state", "backup", str(tmp_path / "copy"))
    told = run(tmp_path / "state", "--config", str(tmp_path / "nowhere"), "restore", str(tmp_path / "copy"),
               "--verify")
    assert "sound: 1 messages" in told.stdout


def test_a_time_for_people_is_berlins(tmp_path: Path) -> None:
    filled(tmp_path / "state", 1)
    told = run(tmp_path / "state", "backup", str(tmp_path / "copy")).stdout
    kept = json.loads(run(tmp_path / "state", "restore", str(tmp_path / "copy"), "--verify", "--json").stdout)
    moment = datetime.fromisoformat(kept["made_at"])
    assert told.strip().endswith(f"as of {moment.astimezone(BERLIN).isoformat(timespec='seconds')}")
    assert local_time("2026-07-01T12:00:00.123456+00:00") == "2026-07-01T14:00:00+02:00"
    assert local_time("gestern") == "gestern"


def test_the_next_step_is_systemds_where_systemd_runs_the_hub(tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "state", 1)
    run(tmp_path / "state", "backup", str(tmp_path / "copy"))
    (tmp_path / "drehscheibe.service").touch()
    monkeypatch.setattr(systemd, "RUNS", tmp_path)
    monkeypatch.setattr(systemd, "UNITS", (tmp_path / "drehscheibe.service",))
    told = run(tmp_path / "other", "restore", str(tmp_path / "copy")).stdout
    assert told.endswith("  drehscheibe run\n"), "the unit runs another configuration than this one"
    monkeypatch.setattr(context, "CONFIGURATION", EXAMPLE)
    told = run(tmp_path / "new", "restore", str(tmp_path / "copy")).stdout
    assert told.endswith("next:\n  drehscheibe store check --deep\n  systemctl start drehscheibe\n")
    told = run(tmp_path / "none", "queue", code=1).output
    assert "start the hub first (systemctl start drehscheibe)" in told
    monkeypatch.setattr(systemd, "RUNS", tmp_path / "no systemd")
    assert "start the hub first (drehscheibe run)" in run(tmp_path / "none", "queue", code=1).output


def test_what_a_person_replayed_since_the_backup_is_the_one_doubt_about_parked_ones(tmp_path: Path) -> None:
    parked(tmp_path / "state", 2)
    run(tmp_path / "state", "backup", str(tmp_path / "copy"))
    told = run(tmp_path / "new", "restore", str(tmp_path / "copy")).stdout
    assert "2 messages and deliveries are parked as before" in told
    assert "replay that one with --ask-first" in told

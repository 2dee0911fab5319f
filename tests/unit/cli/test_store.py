"""Commands about the store."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from hub.errors import StoreDamaged
from hub.store.store import Store
from tests.unit.cli.kit import filled, run


@pytest.fixture(params=[0, 5000], ids=["not even a database", "a page of it"])
def damaged(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store that was overwritten from there on."""
    filled(tmp_path, 3)
    file = tmp_path / "store.sqlite3"
    content = file.read_bytes()
    file.write_bytes(content[:request.param] + b"garbage " * ((len(content) - request.param) // 8))
    return tmp_path


def test_the_check_of_a_damaged_database_says_what_to_do(damaged: Path) -> None:
    told = run(damaged, "store", "check", code=1).output
    assert "the database is damaged: store.sqlite3: " in told
    assert "not sound" in told
    assert ("keep a copy of its state, then drehscheibe restore the last backup (docs/operate-backup.md)"
            in told)
    report = json.loads(run(damaged, "store", "check", "--json", code=1).stdout)
    assert (report["sound"], set(report["counts"])) == (False, {"database"})


@pytest.mark.parametrize("command", [["store", "repair"], ["queue"], ["backup", "target"], ["messages"]],
                         ids=lambda command: command[0])
def test_a_damaged_database_is_not_temporary(damaged: Path, tmp_path: Path, command: Sequence[str]) -> None:
    arguments = [str(tmp_path / "copy") if word == "target" else word for word in command]
    told = run(damaged, *arguments, code=1).output
    assert re.search(r"store.sqlite3: the database is damaged \(SQLITE_\w+\): stop the hub, keep a copy",
                     told), told
    assert "die Datenbank ist beschädigt (SQLITE_" in run(damaged, *arguments, code=1, language="de").output


def test_no_hub_starts_on_a_damaged_database(damaged: Path) -> None:
    with pytest.raises(StoreDamaged, match="the database is damaged"):
        Store.open(damaged)

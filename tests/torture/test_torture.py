"""The tier `commit`, inside `make test`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.services import need
from tests.torture import scoreboard
from tests.torture.__main__ import run
from tests.torture.tiers import TIERS

SEED = 20261122


@pytest.mark.torture
def test_the_commit_tier_is_green(tmp_path: Path) -> None:
    need("gcc", "gcc")
    rows = [run(step, tmp_path, tmp_path / "board.json", SEED) for step in TIERS["commit"]]
    assert scoreboard.verdict(rows) == "green", f"seed {SEED}\n{scoreboard.table(rows)}"

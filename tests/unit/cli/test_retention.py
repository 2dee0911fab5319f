"""The command that deletes what need not be kept; what that is, is `tests/unit/administration`'s."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.kit import filled, run


def test_it_counts_or_deletes(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    assert "due: the content of 0 messages, 0 proofs" in run(tmp_path, "retention", "run", "--dry-run").stdout
    assert "deleted: the content of 0 messages" in run(tmp_path, "retention", "run").stdout
    report = json.loads(run(tmp_path, "retention", "run", "--json").stdout)
    assert (report["running"], report["messages"], report["dry_run"]) == (False, 0, False)

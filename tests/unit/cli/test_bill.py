"""The command that makes bills; what they hold is `tests/unit/administration/test_billing.py`'s."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.kit import filled, run


def test_a_bill_is_csv_or_json(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    assert "either --csv or --json" in run(tmp_path, "bill", "--year", "2026", "--csv", "--json",
                                           code=2).output

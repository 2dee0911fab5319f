"""Commands about municipalities."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.unit.cli.kit import run


def test_a_municipality_is_shown_as_json_and_without_python(tmp_path: Path) -> None:
    shown = json.loads(run(tmp_path, "municipality", "show", "14999010", "--json").stdout)
    assert shown["population"] == {"2024-12-31": 61000}
    assert next(row["values"]["drop"]["path"] for row in shown["destinations"]
                if row["connector"] == "xdomea").startswith("/")
    text = run(tmp_path, "municipality", "show", "14999010").output
    assert re.findall(r"Path\(|\{'|\['|\bNone\b|\bFalse\b|\bTrue\b", text) == []
    assert "first=60, factor=2, longest=14400" in text

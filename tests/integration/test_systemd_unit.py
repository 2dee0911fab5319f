"""The unit's file as systemd judges it, without a machine: how much of it a break-in would reach."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.services import need
from tests.services.machine import ROOT

UNIT = ROOT / "systemd" / "drehscheibe.service"


def judged(unit: Path) -> subprocess.CompletedProcess[str]:
    """Exposure of at most 1.5 (the option counts tenths)."""
    return subprocess.run([need("systemd-analyze", "systemd"), "security", "--offline=true", "--threshold=15",
                           "--no-pager",
                           str(unit)], capture_output=True, text=True, check=False)


def test_the_unit_scores_one_and_a_half_or_better() -> None:
    result = judged(UNIT)
    assert result.returncode == 0, result.stdout
    said = re.search(r"`systemd-analyze security drehscheibe` says ([\d.]+)",
                     UNIT.read_text(encoding="utf-8"))
    assert said
    assert f"drehscheibe.service: {said[1]} " in result.stdout


def test_a_weaker_unit_is_noticed(tmp_path: Path) -> None:
    weaker = tmp_path / "drehscheibe.service"
    weaker.write_text(UNIT.read_text(encoding="utf-8").replace("ProtectSystem=strict\n", ""),
                      encoding="utf-8")
    assert judged(weaker).returncode != 0

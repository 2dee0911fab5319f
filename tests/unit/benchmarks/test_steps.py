"""The steps of `make bench`."""

from __future__ import annotations

from pathlib import Path

from benchmarks.steps import STEPS

ROOT = Path(__file__).parents[3]


def test_every_step_is_a_command_that_explains_itself() -> None:
    for module in {step.module for step in STEPS}:
        assert (ROOT / "benchmarks" / f"{module}.py").is_file()
    assert sum(step.quick_seconds for step in STEPS if not step.large) < 40 * 60

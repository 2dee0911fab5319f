"""The steps of `make bench`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.steps import STEPS, Step

ROOT = Path(__file__).parents[3]


def test_every_step_is_a_command_that_explains_itself() -> None:
    for module in {step.module for step in STEPS}:
        assert (ROOT / "benchmarks" / f"{module}.py").is_file()
    assert sum(step.quick_seconds for step in STEPS if not step.large) < 40 * 60


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_each_step_is_a_command_that_knows_its_options(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    """Nothing is measured: only the arguments are read, in full and quick."""
    measured: list[str] = []
    module = importlib.import_module(f"benchmarks.{step.module}")

    def note(*_: object) -> int:
        measured.append(step.name)
        return 0

    monkeypatch.setattr(figures, "run", note)
    monkeypatch.setattr(figures, "show", note)
    if step.module == "chain":
        monkeypatch.setattr(module, "rate", lambda *_: 1.0)
    for arguments in (step.full, step.quick):
        monkeypatch.setattr(sys, "argv", [step.module, *arguments])
        assert module.main() == 0
    assert measured == [step.name] * 2

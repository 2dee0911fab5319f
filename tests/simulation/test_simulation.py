"""The seeds of a commit find nothing; a seed is the same every time; each planted fault is found."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.world import Faulty, World

SEEDS = 200


@pytest.mark.parametrize("first", range(1, SEEDS + 1, 50))
def test_the_seeds_of_a_commit(first: int) -> None:
    for seed in range(first, first + 50):
        World(seed).run()  # `python -m tests.simulation --replay SEED -v` shows what happens


def test_a_seed_is_the_same_every_time_also_in_another_process() -> None:
    seeds = range(11, 17)
    here = {str(seed): World(seed).run() for seed in seeds}
    for salt in ("0", "1"):  # the order of a set of names
        command = [sys.executable, "-m", "tests.simulation", "--seeds", str(len(seeds)), "--first",
                   str(seeds[0]), "--json"]
        there = json.loads(subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": salt}, check=True,
                                          capture_output=True).stdout)
        assert (there["failed"], there["digests"]) == ({}, here)
    assert len(set(here.values())) == len(seeds)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_it_is_found(name: str) -> None:
    found: list[Faulty] = []
    for _ in range(2):
        with ExitStack() as stack:
            for change in PLANTED[name]():
                stack.enter_context(change)
            found.append(_first(found[0].seed if found else 1))
    assert (found[0].faults, found[0].digest) == (found[1].faults,
                                                  found[1].digest), "a failing seed replays bit by bit"


def _first(seed: int) -> Faulty:
    for each in range(seed, SEEDS + 1):
        try:
            World(each).run()
        except Faulty as fault:
            return fault
    raise AssertionError(f"not found in {SEEDS} seeds")

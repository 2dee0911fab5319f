"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.delivery.bench import Bench, Benches


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[Benches]:
    made: list[Bench] = []

    def make(policy: str = "", *, hub: str = "", connector: str = "directory", threads: int = 4) -> Bench:
        made.append(Bench(tmp_path / str(len(made)), connector, policy, hub, threads))
        return made[-1]

    yield make
    for bench in made:
        bench.close()

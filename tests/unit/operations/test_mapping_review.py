"""Mappings are judged as a whole: each kind of fault, in a shipped mapping and in a municipality's own."""

from __future__ import annotations

import re
import resource
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, cast

import pytest

from hub.config import loader
from hub.errors import ConfigError
from hub.operations.mapping_review import MappingReview, errors_of
from hub.job import Job
from hub.pipeline.review import process
from hub.workers.pool import BatchResult, WorkerPool
from tests.mapping_faults import KINDS, SERVICE, TABLES, TENANT, Kind, Owner, Table, change, plant

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("examples", "prometheus"))
    return tmp_path


class Here(WorkerPool):
    """Workers that are this process: each fault is tried, and none of them does harm."""

    def __init__(self, *_: object) -> None:
        self.batches: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was started."""

    def run(self, jobs: Sequence[Job], *_: object) -> BatchResult:  # type: ignore[override]
        self.batches.append(len(jobs))
        return BatchResult(tuple(process(job, cast(Any, None), cast(Any, None)) for job in jobs))


def faults(place: Path, service: str | None = SERVICE) -> list[str]:
    """What keeps a configuration from taking effect."""
    try:
        configuration = loader.load(place / "etc/hub.toml")
    except ConfigError as error:
        return list(error.problems)
    return errors_of(MappingReview(Here).findings(configuration, service=service))


def test_the_examples_have_no_fault(place: Path) -> None:
    assert MappingReview().findings(loader.load(place / "etc/hub.toml")) == []


@pytest.mark.parametrize("owner", ["shipped", "own"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_faulty_stylesheet_is_found(place: Path, kind: Kind, owner: Owner) -> None:
    file = plant(place, kind, owner)
    found = faults(place)
    assert found
    assert re.search(kind.words, found[0]), found
    assert all(line.startswith(f"{file.resolve()}") for line in found), found


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_fault_of_another_file_is_found(place: Path, table: Table) -> None:
    change(place, table)
    found = faults(place)
    assert any(re.search(table.words, line) for line in found), found


BOMBS = {
    "memory": ('<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
               '<xsl:variable name="x" static="yes" select="string-join((1 to 200000000) ! string())"/>'
               '<xsl:template match="/"><a b="{$x}"/></xsl:template></xsl:stylesheet>'),
    "time": ('<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
             '<xsl:variable name="x" static="yes" select="count((1 to 1000000)[. mod 7 = count((1 to 1000000)'
             '[. mod 3 = 0]) mod 5])"/><xsl:template match="/"><a b="{$x}"/></xsl:template></xsl:stylesheet>'),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_stylesheet_that_cannot_be_compiled_within_the_limits_is_found(place: Path, name: str) -> None:
    bomb = Kind(name, "", whole=BOMBS[name])
    file = plant(place, bomb, "own")
    configuration = loader.load(place / "etc/hub.toml", ["workers.memory_mb=300", "workers.seconds=3"])
    review = MappingReview()
    found = errors_of(review.findings(configuration.take_snapshots(), service=SERVICE))
    assert len(found) == 1, "the others are not to blame"
    assert found[0].startswith(f"{file.resolve()}: xml: takes too {'much memory' if name == 'memory' else 'long'}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1 << 20, "kilobytes: nothing happened here"

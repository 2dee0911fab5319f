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
from hub.job import Job
from hub.operations.mapping_review import MappingReview, errors_of
from hub.pipeline.review import process
from hub.workers.pool import BatchResult, WorkerPool
from tests.mapping_faults import KINDS, OWN, SERVICE, TABLES, TENANT, Kind, Owner, Table, change, plant

ROOT = Path(__file__).parents[3]


HUB = '[hub]\nstate = "state"\nmappings = "../mappings"\n[[sender]]\nname = "amt24"\n'
ONE = f"""
name = "Stadt Beispielberg"
ags = "{OWN}"
tenant = "{TENANT}"
[destinations.ablage]
connector = "directory"
path = "drop"
[destinations.test]
connector = "directory"
path = "drop-test"
test = true
[[route]]
service = "{SERVICE}"
stylesheets = {{ xml = "hundesteuer/xml.xsl" }}
recipients = [{{ destination = "ablage", send = ["pdf", "xml"] }}]
test_recipients = [{{ destination = "test", send = ["xml"] }}]
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """One service, and one municipality with a stylesheet of its own for it."""
    for name in ("mappings/_common", f"mappings/{SERVICE}", f"etc/municipalities/{OWN}/{SERVICE}"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("examples"))
    (tmp_path / "etc/hub.toml").write_text(HUB)
    (tmp_path / f"etc/municipalities/{OWN}.toml").write_text(ONE)
    return tmp_path


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """The example's whole configuration."""
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / "whole" / name, ignore=shutil.ignore_patterns("examples"))
    return tmp_path / "whole"


class Here(WorkerPool):
    """Workers that are this process: each fault is tried, and none of them does harm."""

    def __init__(self, *_: object) -> None:
        self.batches: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was started."""

    def rehearse(self, jobs: Sequence[Job], *_: object) -> BatchResult:  # type: ignore[override]
        self.batches.append(len(jobs))
        return BatchResult(tuple(process(job, cast(Any, None), cast(Any, None)) for job in jobs))


def faults(place: Path, service: str | None = SERVICE) -> list[str]:
    """What keeps a configuration from taking effect."""
    try:
        configuration = loader.load(place / "etc/hub.toml")
    except ConfigError as error:
        return list(error.problems)
    return errors_of(MappingReview(Here).findings(configuration, service=service))


def test_the_examples_have_no_fault(whole: Path) -> None:
    assert MappingReview().findings(loader.load(whole / "etc/hub.toml")) == []


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


class Blind(Here):
    """The planted fault: whoever judges passes over municipalities' own stylesheets."""

    def rehearse(self, jobs: Sequence[Job], *_: object) -> BatchResult:  # type: ignore[override]
        seen = [job for job in jobs if job.rules[0].municipality_folder is None]
        done = {outcome.message_id: outcome for outcome in super().rehearse(seen).outcomes}
        nothing = [job.model_copy(update={"rules": ()}) for job in jobs if job not in seen]
        done |= {outcome.message_id: outcome for outcome in super().rehearse(nothing).outcomes}
        return BatchResult(tuple(done[job.message_id] for job in jobs))


def test_a_check_that_passes_over_own_stylesheets_is_noticed(place: Path) -> None:
    plant(place, KINDS[0], "own")
    configuration = loader.load(place / "etc/hub.toml")
    assert errors_of(MappingReview(Blind).findings(configuration, service=SERVICE)) == []
    assert errors_of(MappingReview(Here).findings(configuration, service=SERVICE)) != []


def test_a_municipality_has_its_own_findings(whole: Path) -> None:
    plant(whole, KINDS[0], "own")
    configuration = loader.load(whole / "etc/hub.toml")
    found = {tenant: MappingReview(Here).findings(configuration, tenant=tenant)
             for tenant in ("musterstadt", TENANT)}
    assert found["musterstadt"] == []
    assert [where for where, _ in found[TENANT]] == [f"mapping {SERVICE} ({TENANT})"]


def test_what_was_judged_is_not_judged_again_until_it_changes(place: Path) -> None:
    begun: list[Here] = []

    def pools(*arguments: Any) -> Here:
        begun.append(Here(*arguments))
        return begun[-1]

    review = MappingReview(pools)
    overrides = [f"hub.state={place / 'state'}"]
    configuration = loader.load(place / "etc/hub.toml", overrides).take_snapshots()
    assert review.findings(configuration) == []
    versions = [version for mapping in configuration.mappings.values() for version in mapping.version]
    assert sum(begun[0].batches) > sum(len(version.renderings) for version in versions) + len(versions)
    assert review.findings(configuration) == []
    assert len(begun) == 1, "nothing has changed"
    file = place / "etc/municipalities/14999020/hundesteuer/xml.xsl"
    file.write_text(file.read_text(encoding="utf-8") + "<!-- -->", encoding="utf-8")
    changed = loader.load(place / "etc/hub.toml", overrides).take_snapshots()
    assert review.findings(changed) == []
    assert [sum(pool.batches) for pool in begun[1:]] == [2], "that one alone"


def test_an_own_route_without_test_recipients_is_doubtful(place: Path) -> None:
    file = place / "etc/municipalities/14999020.toml"
    text = file.read_text(encoding="utf-8")
    line = 'test_recipients = [{ destination = "test", send = ["xml"] }]\n'
    assert text.count(line) == 1
    file.write_text(text.replace(line, ""), encoding="utf-8")
    (where, finding), = MappingReview(Here).findings(loader.load(place / "etc/hub.toml"), service=SERVICE)
    assert (where, finding.severity) == (TENANT, "warning")
    assert f"{file}: route {SERVICE}: test_recipients: there are none" in finding.text


def test_csv_without_a_chosen_encoding_is_doubtful(whole: Path) -> None:
    file = whole / "mappings/wohngeld/mapping.toml"
    text = re.sub(r'\nencoding = "utf-8-sig".*', "", file.read_text(encoding="utf-8"))
    file.write_text(text, encoding="utf-8")
    found = MappingReview(Here).of_folder(whole / "mappings", "wohngeld")
    assert [(where, finding.severity, finding.text) for where, finding in found] == [
        ("mapping wohngeld", "warning", f"version {version}: csv: csv without a BOM")
        for version in ("v1", "v2")]


def test_a_field_that_one_version_lacks_is_doubtful_in_an_own_stylesheet(place: Path) -> None:
    plant(place, Kind("of v2 alone", "", '<a><xsl:value-of select="//hunde/instance/rasseCode"/></a>'), "own")
    found = MappingReview(Here).findings(loader.load(place / "etc/hub.toml"), service=SERVICE)
    assert {finding.severity for _, finding in found} == {"warning"}
    assert all("in version v1: nothing comes of it there" in finding.text for _, finding in found)


BOMBS = {
    "memory": ('<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
               '<xsl:variable name="x" static="yes" select="string-join((1 to 200000000) ! string())"/>'
               '<xsl:template match="/"><a b="{$x}"/></xsl:template></xsl:stylesheet>'),
    "time": ('<xsl:stylesheet version="3.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
             '<xsl:variable name="x" static="yes" select="count((1 to 1000000)[. mod 7 = count((1 to 1000000)'
             '[. mod 3 = 0]) mod 5])"/><xsl:template match="/"><a b="{$x}"/></xsl:template>'
             "</xsl:stylesheet>"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_stylesheet_that_cannot_be_compiled_within_the_limits_is_found(place: Path, name: str) -> None:
    bomb = Kind(name, "", whole=BOMBS[name])
    file = plant(place, bomb, "own")
    configuration = loader.load(place / "etc/hub.toml", ["workers.memory_mb=300", "workers.seconds=3"])
    review = MappingReview()
    found = errors_of(review.findings(configuration.take_snapshots(), service=SERVICE))
    assert len(found) == 1, "the others are not to blame"
    assert found[0].startswith(f"{file.resolve()}: xml: takes too "
                               f"{'much memory' if name == 'memory' else 'long'}")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1 << 20, "kilobytes: nothing happened here"

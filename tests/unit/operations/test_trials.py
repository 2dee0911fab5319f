"""Examples are tried under the limits of a message: a stylesheet that is being written may be anything."""

from __future__ import annotations

import re
import resource
import shutil
from pathlib import Path

import pytest

from hub.authoring.examples import run_examples
from hub.config.sections import WorkersSection
from hub.operations.trials import Trials
from tests.unit.cli.kit import run

pytestmark = pytest.mark.slow
MAPPINGS = Path(__file__).parents[3] / "mappings"
LIMITS = WorkersSection(memory_mb=300, seconds=2)
MAPPING = """
service = "probe"
title = "Probe"
category = "einfach"
[[version]]
name = "v1"
subject = "Probe"
[version.renderings.text]
role = "text"
stylesheet = "probe.xsl"
file = "antrag.txt"
media_type = "text/plain"
"""
HEAD = '<xsl:output method="text"/><xsl:template match="/">'
TREE = ('<xsl:template name="x"><xsl:param name="n"/><xsl:if test="$n &gt; 0"><xsl:call-template name="x">'
        '<xsl:with-param name="n" select="$n - 1"/></xsl:call-template><xsl:call-template name="x">'
        '<xsl:with-param name="n" select="$n - 1"/></xsl:call-template></xsl:if></xsl:template>')
HOSTILE = {
    "memory, 1.0": ("1.0", f'{HEAD}<xsl:call-template name="x"><xsl:with-param name="n" select="60"/>'
                           "</xsl:call-template></xsl:template>"
                    + TREE.replace("<xsl:if", f"<a>{'x' * 10_000}</a><xsl:if")),
    "memory, 3.0": ("3.0", f'{HEAD}<xsl:value-of select="string-join((1 to 300000000) ! string(), \'-\')"/>'
                           "</xsl:template>"),
    "time, 1.0": ("1.0", f'{HEAD}<xsl:call-template name="x"><xsl:with-param name="n" select="60"/>'
                         "</xsl:call-template></xsl:template>" + TREE),
    "time, 3.0": ("3.0", f'{HEAD}<xsl:call-template name="x"/></xsl:template><xsl:template name="x">'
                         '<xsl:call-template name="x"/></xsl:template>'),
}


@pytest.fixture
def mappings(tmp_path: Path) -> Path:
    """A mapping with two examples."""
    shutil.copytree(MAPPINGS / "_common", tmp_path / "mappings/_common")
    for name in ("eins", "zwei"):
        folder = tmp_path / "mappings/probe/examples" / name
        folder.mkdir(parents=True)
        (folder / "example.toml").write_text("")
        (folder / "message.xml").write_text("<serviceportal-fields><a><instance_0><b>c</b></instance_0></a>"
                                            "</serviceportal-fields>")
    (tmp_path / "mappings/probe/v1").mkdir()
    (tmp_path / "mappings/probe/mapping.toml").write_text(MAPPING)
    return tmp_path / "mappings"


def write(mappings: Path, version: str, content: str) -> None:
    (mappings / "probe/v1/probe.xsl").write_text(
        f'<xsl:stylesheet version="{version}" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">{content}'
        "</xsl:stylesheet>")


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_stylesheet_ends_at_its_limit_and_the_next_example_is_tried(mappings: Path,
                                                                              name: str) -> None:
    write(mappings, *HOSTILE[name])
    with Trials.open(LIMITS) as trials:
        first, second = run_examples(mappings, trial=trials)
    for result in (first, second):
        assert "geparkt (runaway)" in result.difference
        words = "zu viel Rechenzeit|zu lange" if name.startswith("time") else "[Ss]peicher|Rechenzeit"
        assert re.search(words, result.difference), result
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1 << 20, "kilobytes: nothing happened here"


def test_a_worker_makes_what_this_process_makes(mappings: Path) -> None:
    write(mappings, "1.0", f'{HEAD}<xsl:value-of select="//b"/></xsl:template>')
    assert all(result.ok for result in run_examples(mappings, update=True))
    with Trials.open(LIMITS) as trials:
        assert [result.difference for result in run_examples(mappings, trial=trials)] == ["", ""]


def test_the_command_is_under_these_limits_and_judges_the_mapping(tmp_path: Path, mappings: Path) -> None:
    write(mappings, *HOSTILE["time, 3.0"])
    told = run(tmp_path, "mapping", "test", "probe", "--mappings",
               str(mappings), code=1).stdout
    assert "geparkt (runaway)" in told
    write(mappings, "1.0", f'{HEAD}<xsl:value-of select="q:b"/></xsl:template>')
    told = run(tmp_path, "mapping", "test", "probe", "--mappings", str(mappings), code=1).stdout
    assert f"✗ mapping probe: {mappings}/probe/v1/probe.xsl: line 1: prefix q has no namespace" in told

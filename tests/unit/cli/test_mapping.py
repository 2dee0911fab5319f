"""The commands about mappings; what they do is `tests/unit/authoring`'s."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.message import IncomingPart
from hub.store.store import Store
from tests.unit.cli.kit import ROOT, run
from tests.unit.store_kit import accept, incoming, prepare

pytestmark = pytest.mark.slow


@pytest.fixture
def mappings(tmp_path: Path) -> Path:
    """One service that is there, and one that was made just now."""
    shutil.copytree(ROOT / "mappings", tmp_path / "mappings")
    run(tmp_path, "mapping", "new", "waldbad", "--title", "Waldbad", "--group", "karte=Karte", "--mappings",
        str(tmp_path / "mappings"))
    return tmp_path / "mappings"


def test_a_new_service_passes_its_test_and_has_its_schema_and_page(tmp_path: Path, mappings: Path) -> None:
    folder = ["--mappings", str(mappings)]
    results = json.loads(run(tmp_path, "mapping", "test", "waldbad", "--json", *folder).stdout)
    assert results
    assert all(result["ok"] for result in results)
    printed = run(tmp_path, "mapping", "schema", "waldbad", "v1", *folder).stdout
    (mappings / "waldbad/v1/fields.xsd").unlink()
    run(tmp_path, "mapping", "schema", "waldbad", "v1", "--write", *folder)
    assert (mappings / "waldbad/v1/fields.xsd").read_text(encoding="utf-8") == printed
    run(tmp_path, "mapping", "doc", "--out", str(tmp_path / "pages"), *folder)
    assert "Waldbad" in (tmp_path / "pages/waldbad.md").read_text(encoding="utf-8")
    shown = json.loads(run(tmp_path, "mapping", "preview", "waldbad", "smallest", "--json", "--out",
                           str(tmp_path / "out"), *folder).stdout)
    assert {file.name: file.stat().st_size for file in (tmp_path / "out").iterdir()} == shown


def test_a_difference_is_shown_and_is_a_finding(tmp_path: Path, mappings: Path) -> None:
    expected = next((mappings / "waldbad/examples/smallest/expected").glob("*.xml"))
    expected.write_text("<something-else/>", encoding="utf-8")
    told = run(tmp_path, "mapping", "test", "waldbad", "--mappings", str(mappings), code=1).stdout
    assert "✗ waldbad/smallest" in told
    assert "something-else" in told


def test_a_service_without_examples_is_told(tmp_path: Path, mappings: Path) -> None:
    assert "no examples found for 'nothing'" in run(tmp_path, "mapping", "test", "nothing", "--mappings",
                                                    str(mappings), code=1).stderr


def stored(state: Path, ags: str = "14999020") -> str:
    """The id of an application that waits in the store."""
    content = (ROOT / "mappings/hundesteuer/examples/v1-full/message.xml").read_bytes()
    store = Store.open(prepare(state))
    taken = accept(store, incoming(ags=ags, parts=(IncomingPart.of(content, media_type="application/xml"),)),
                   tenant="beispielberg")
    store.close()
    return taken.id


def test_a_stored_message_is_previewed_into_a_private_folder(tmp_path: Path) -> None:
    name = stored(tmp_path / "state")
    result = run(tmp_path / "state", "mapping", "preview", "--message", name, "--out",
                 str(tmp_path / "sicht"))
    assert result.output == (f"{len([*(tmp_path / 'sicht').rglob('*.*')])} files for 2 recipients in "
                             f"{tmp_path / 'sicht'}; nothing was delivered\n")
    assert b"BBG-HST" in (tmp_path / "sicht/postfach/hundesteuer.xml").read_bytes()
    assert (tmp_path / "sicht").stat().st_mode & 0o777 == 0o700
    shown = json.loads(run(tmp_path / "state", "show", name, "--json").stdout)
    assert (shown["state"], shown["deliveries"]) == ("received", [])
    assert shown["events"][-1]["event"] == "content-read"


def test_what_a_citizen_wrote_is_neither_printed_nor_logged(tmp_path: Path) -> None:
    name = stored(tmp_path / "state")
    with capture_logs() as logged:
        told = run(tmp_path / "state", "mapping", "preview", "--message", name, "--out",
                   str(tmp_path / "sicht"),
                   "--json").output
    written = (tmp_path / "sicht/canonical.xml").read_text(encoding="utf-8")
    words = set(re.findall(r"[A-Za-zÄÖÜäöüß]{5,}", re.sub("<[^>]*>", " ", written))) - {"hundesteuer"}
    assert len(words) > 20
    assert not [word for word in words if word in told + json.dumps(logged)]


def test_a_preview_that_would_be_parked_is_a_finding(tmp_path: Path) -> None:
    name = stored(tmp_path / "state", ags="14999099")
    told = run(tmp_path / "state", "mapping", "preview", "--message", name, "--out", str(tmp_path / "sicht"),
               code=1).output
    assert told.startswith("unknown-municipality: Keine Kommune hat den AGS")
    assert [file.name for file in (tmp_path / "sicht").iterdir()] == ["reason.txt"]


@pytest.mark.parametrize("arguments", [
    ["--message", "x"], ["hundesteuer", "v1-full", "--message", "x", "--out", "y"], ["hundesteuer"], [],
    ["hundesteuer", "v1-full", "--municipality", "14999020", "--mappings", str(ROOT / "mappings")],
])
def test_what_does_not_go_together_is_told(tmp_path: Path, arguments: list[str]) -> None:
    assert "Usage:" in run(tmp_path, "mapping", "preview", *arguments, code=2).output


def test_a_preview_by_a_municipalitys_own_stylesheets(tmp_path: Path) -> None:
    told = run(tmp_path, "mapping", "preview", "hundesteuer", "v1-smallest", "--municipality",
               "14999020").stdout
    assert "<Buchungszeichen>BBG-HST" in told
    assert "BBG-HST" not in run(tmp_path, "mapping", "preview", "hundesteuer", "v1-smallest").stdout


ENDLESS = """<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">
<xsl:template match="/"><x>
<xsl:call-template name="a"><xsl:with-param name="n" select="60"/></xsl:call-template></x></xsl:template>
<xsl:template name="a"><xsl:param name="n"/><xsl:if test="$n">
<xsl:call-template name="a"><xsl:with-param name="n" select="$n - 1"/></xsl:call-template>
<xsl:call-template name="a"><xsl:with-param name="n" select="$n - 1"/></xsl:call-template>
</xsl:if></xsl:template>
</xsl:stylesheet>"""
"""It would need centuries."""


def test_a_preview_keeps_to_the_limits_of_a_worker(tmp_path: Path, mappings: Path) -> None:
    (mappings / "waldbad/v1/fachverfahren.xsl").write_text(ENDLESS, encoding="utf-8")
    told = run(tmp_path, "--set", f"hub.mappings={mappings}", "--set", "workers.seconds=1", "mapping",
               "preview",
               "waldbad", "smallest").stdout
    assert "runaway" in told


def test_services_of_the_operators_own_are_made_tested_and_shown_where_they_lie(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "_common").symlink_to(ROOT / "mappings/_common")
    ours = ["--set", f"hub.own_mappings={own}"]
    run(tmp_path, *ours, "mapping", "new", "waldbad")
    assert (own / "waldbad/mapping.toml").is_file()
    shutil.copytree(ROOT / "mappings/hundesteuer", own / "hundesteuer")
    results = json.loads(run(tmp_path, *ours, "mapping", "test", "--json").stdout)
    services = [result["service"] for result in results if result["example"] == "v2-smallest"
                or result["service"] == "waldbad"]
    assert services.count("hundesteuer") == 2, "the release's, and the one that takes its place"
    assert "waldbad" in services
    expected = next((own / "hundesteuer/examples/v2-smallest/expected").glob("*.xml"))
    expected.write_text("<something-else/>", encoding="utf-8")
    assert "something-else" in run(tmp_path, *ours, "mapping", "test", "hundesteuer", code=1).stdout
    assert "xs:schema" in run(tmp_path, *ours, "mapping", "schema", "waldbad", "v1").stdout
    assert run(tmp_path, *ours, "mapping", "preview", "waldbad", "smallest").stdout
    told = run(tmp_path, *ours, "check", code=1).stdout  # the example has no certificates yet
    assert "✓ mapping hundesteuer: steht in own_mappings und ersetzt die mitgelieferte" in told

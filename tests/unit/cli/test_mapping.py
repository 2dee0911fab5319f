"""The commands about mappings; what they do is `tests/unit/authoring`'s."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.unit.cli.kit import ROOT, run

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

"""The reference pages are what the code says, and name everything there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub import endpoint, reference

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `make docs` writes them, even where the caller speaks German."""
    into = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, "-P", "-m", "hub.reference", str(into)], check=True, timeout=60,
                   env={**os.environ, "PYTHONPATH": str(ROOT), "LANG": "de_DE.UTF-8", "COLUMNS": "60"})
    return into


@pytest.mark.parametrize("page", ["cli.md", "configuration.md", "connectors.md"])
def test_the_committed_pages_agree(written: Path, page: str) -> None:
    committed = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    assert committed == (written / page).read_text(encoding="utf-8"), "make docs"


def test_every_connector_has_its_section(written: Path) -> None:
    text = (written / "connectors.md").read_text(encoding="utf-8")
    assert len(endpoint.names()) > 4
    assert [name for name in endpoint.names() if f"\n## {name}\n" not in text] == []


def test_a_changed_option_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    before = reference.pages()["connectors.md"]
    field = endpoint.options_model("sftp", "Outlet").model_fields["host"]
    monkeypatch.setattr(field, "description", "planted")
    assert reference.pages()["connectors.md"] != before


def test_completion_prints_its_script() -> None:
    result = subprocess.run([sys.executable, "-P", "-m", "hub"], capture_output=True, text=True, timeout=60, check=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT), "_DREHSCHEIBE_COMPLETE": "bash_source"})
    assert "_DREHSCHEIBE_COMPLETE=bash_complete" in result.stdout


def test_every_page_in_the_index_exists() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    names = [part for part in index.split("`")[1::2] if part.endswith((".md", "/")) and part != "README.md"]
    assert len(names) > 7
    assert [name for name in names if not (ROOT / "docs" / name).exists()] == []

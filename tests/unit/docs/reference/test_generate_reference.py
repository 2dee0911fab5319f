"""The reference pages are what the code says, and name everything there is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from docs.reference import generate_reference as reference
from hub import endpoint, registry
from hub.cli.app import main
from hub.config.sections import StatusSection

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as `make docs` writes them, even where the caller speaks German."""
    into = tmp_path_factory.mktemp("reference")
    subprocess.run([sys.executable, "-P", ROOT / "docs/reference/generate_reference.py", into], check=True,
                   timeout=60, env={**os.environ, "LANG": "de_DE.UTF-8", "COLUMNS": "60"})
    return into


@pytest.mark.parametrize("page", ["cli.md", "configuration.md", "connectors.md"])
def test_the_committed_pages_agree(written: Path, page: str) -> None:
    committed = (ROOT / "docs/reference" / page).read_text(encoding="utf-8")
    assert committed == (written / page).read_text(encoding="utf-8"), "make docs"


@pytest.mark.slow
def test_the_page_of_commands_says_what_help_says(written: Path) -> None:
    page = (written / "cli.md").read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^## ([^\n]+)\n\n```\n(.*?)\n```", page, re.MULTILINE | re.DOTALL))
    assert len(blocks) > 30
    for path in ("drehscheibe send", "drehscheibe broker setup", "drehscheibe mapping new"):
        told = subprocess.run([sys.executable, "-P", "-m", "hub", *path.split()[1:], "--help"],
                              capture_output=True, text=True,
                              timeout=60, check=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT), "DREHSCHEIBE_LANG": "en"})
        assert words(told.stdout) == words(blocks[path]), path


def words(text: str) -> list[str]:
    """The words of a help, however its lines are broken."""
    return text.replace("-\n", "-").split()


def test_every_connector_has_its_section(written: Path) -> None:
    text = (written / "connectors.md").read_text(encoding="utf-8")
    assert len(registry.names()) > 4
    assert [name for name in registry.names() if f"\n## {name}\n" not in text] == []


def empty_cells(text: str) -> list[str]:
    """The rows of a page's tables that leave the meaning out."""
    return [line for line in text.splitlines() if line.startswith("| `") and line.endswith("|  |")]


@pytest.mark.parametrize("page", ["configuration.md", "connectors.md"])
def test_every_key_says_what_it_means(written: Path, page: str) -> None:
    text = (written / page).read_text(encoding="utf-8")
    assert text.count("\n| `") > 50
    assert empty_cells(text) == []


def test_a_key_without_a_meaning_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StatusSection.model_fields["host"], "description", None)
    assert len(empty_cells(reference.pages()["configuration.md"])) == 1


def test_a_changed_option_changes_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    before = reference.pages()["connectors.md"]
    field = endpoint.options_model("sftp", "Outlet").model_fields["host"]
    monkeypatch.setattr(field, "description", "planted")
    assert reference.pages()["connectors.md"] != before


def test_every_file_of_the_reference_has_its_schema_for_editors() -> None:
    command = main.commands["schema"]
    for kind, model in zip(command.params[0].type.choices,  # type: ignore[attr-defined]
                           [models[0] for _, _, models in reference.CONFIGURATION], strict=True):
        result = CliRunner().invoke(main, ["schema", kind])
        assert json.loads(result.stdout)["title"] == model.__name__


@pytest.mark.slow
def test_completion_prints_its_script() -> None:
    result = subprocess.run([sys.executable, "-P", "-m", "hub"], capture_output=True, text=True, timeout=60,
                            check=True,
                            env={**os.environ, "PYTHONPATH": str(ROOT),
                                 "_DREHSCHEIBE_COMPLETE": "bash_source"})
    assert "_DREHSCHEIBE_COMPLETE=bash_complete" in result.stdout


def test_every_page_in_the_index_exists() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    names = [part for part in index.split("`")[1::2] if part.endswith((".md", "/")) and part != "README.md"]
    assert len(names) > 7
    assert [name for name in names if not (ROOT / "docs" / name).exists()] == []


def test_the_glossary_is_in_order_and_every_place_in_it_exists() -> None:
    tables = (ROOT / "docs/glossary.md").read_text(encoding="utf-8").split("| --- | --- | --- |\n")[1:]
    assert len(tables) == 2, "words of the field, and of the trade"
    for table in tables:
        rows = [line.split("|") for line in table.splitlines() if line.startswith("|")]
        words = [row[1].strip().lower().translate(str.maketrans({"ä": "a", "ö": "o", "ü": "u", "ß": "ss"}))
                 for row in rows if row[1].strip() != "word"]
        assert len(words) > 30
        assert words == sorted(words)
        places = [part for row in rows for part in row[3].split("`")[1::2]
                  if part.startswith(("docs/", "etc/", "hub/", "mappings/"))]
        assert [place for place in places if not (ROOT / place).exists()] == []

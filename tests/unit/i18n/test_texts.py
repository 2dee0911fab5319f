"""The command line speaks both languages, everywhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from hub.cli import app, context, store
from hub.i18n import texts
from hub.message import MessageState

ROOT = Path(__file__).parents[3]
SOURCE = "\n".join(file.read_text(encoding="utf-8")
                   for room in ("cli", "demo") for file in (ROOT / "hub" / room).glob("*.py"))
SOURCE = re.sub(r'"\n\s*"', "", SOURCE)  # a text over two lines


def english_texts() -> set[str]:
    """Every text of the command line that a person reads."""
    marked = re.findall(r'_\(\s*"((?:[^"\\]|\\.)*)"\)', SOURCE)
    helps = re.findall(r'\b(?:command|group|_change)\(\s*"[a-z-]+",\s+"((?:[^"\\]|\\.)*)"', SOURCE)
    columns = [name for found in re.findall(r"(?:_table|Table)\(\s*\[(.*?)\]", SOURCE)
               for name in re.findall(r'"([^"]+)"', found)]
    return {*marked, *helps, *columns, *store.FAULTS.values(), *store.REPAIRS.values(),
            *context.STEPS} - {"AGS"}


def test_every_text_has_its_german() -> None:
    found = english_texts()
    assert len(found) > 40
    assert found - set(texts.GERMAN) == set()


def test_no_help_bypasses_the_table() -> None:
    """What stands as `help=` is looked up, or given to `command` or `group`, which looks it up."""
    assert re.findall(r'help="[^"]*"', SOURCE) == []


def commands(command: click.Command, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{path} {name}".strip())
    if not isinstance(command, click.Group):
        yield path, command


def test_every_command_speaks_json() -> None:
    without = {path for path, command in commands(app.main)
               if not any("--json" in option.opts for option in command.params)}
    assert without == {"run", "demo", "schema",
                       "mapping schema"}, "what runs until it is stopped, or prints JSON or XSD anyway"


def test_no_german_is_left_over() -> None:
    spoken = english_texts() | {"done", "nothing to do", "unknown", *MessageState}
    assert set(texts.GERMAN) - spoken == set()


@pytest.mark.parametrize(("environment", "language"), [
    ({"LANG": "de_DE.UTF-8"}, "de"), ({"LANG": "C.UTF-8"}, "en"),
    ({"LANG": "de_DE", "DREHSCHEIBE_LANG": "en"}, "en"), ({}, "en"),
])
def test_the_language_is_the_environments(environment: dict[str, str], language: str,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DREHSCHEIBE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert texts.language() == language


def test_a_wrong_configuration_is_told_without_a_traceback(tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text("[hbu]\n")
    result = CliRunner().invoke(app.main, ["--config", str(file), "check"])
    assert result.exit_code == 78
    assert "hbu: unknown key: did you mean 'hub'?" in result.output
    assert "Traceback" not in result.output

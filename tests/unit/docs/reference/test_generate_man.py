"""`make man`: a page for every command, with everything it takes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hub.cli.app import main

ROOT = Path(__file__).parents[4]


def walk(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Every command that is shown, by the name of its page."""
    yield name, command
    for inner, child in getattr(command, "commands", {}).items():
        if not child.hidden:
            yield from walk(child, f"{name}-{inner}")


COMMANDS = dict(walk(main, "drehscheibe"))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    into = tmp_path_factory.mktemp("man")
    done = subprocess.run([sys.executable, "-W", "error", "-P", ROOT / "docs/reference/generate_man.py",
                           into],
                          env={**os.environ, "LANG": "de_DE.UTF-8", "SOURCE_DATE_EPOCH": "0"},
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return {file.stem: file.read_text(encoding="utf-8") for file in into.glob("*.1")}


def lacking(pages: dict[str, str]) -> set[str]:
    """What the pages leave out: options by page."""
    return {f"{name} {option}" for name, command in COMMANDS.items() for parameter in command.params
            if isinstance(parameter, click.Option) and not parameter.hidden for option in parameter.opts
            if option not in pages[name].replace("\\-", "-")}


def test_every_command_has_its_page(pages: dict[str, str]) -> None:
    assert len(COMMANDS) > 30
    assert set(pages) == set(COMMANDS)


def test_the_pages_name_every_option(pages: dict[str, str]) -> None:
    assert lacking(pages) == set()


def test_an_option_left_out_is_noticed(pages: dict[str, str]) -> None:
    assert lacking({**pages, "drehscheibe-send": ""}) >= {"drehscheibe-send --ags", "drehscheibe-send --cert"}


def test_the_pages_speak_english_and_carry_the_day(pages: dict[str, str]) -> None:
    assert "Send one application" in pages["drehscheibe-send"]
    assert "1970-01-01" in pages["drehscheibe-send"]

"""Writes a man page for each command into a folder.

``make man`` runs it (``python docs/reference/generate_man.py dist/man``). The pages are English, as the other
reference pages. If `SOURCE_DATE_EPOCH` is set, it dates the pages.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
os.environ["DREHSCHEIBE_LANG"] = "en"  # help texts are chosen while hub.cli.app is imported

import tomllib

import click
from click_man.core import write_man_pages

from hub.cli.app import main

ROOT = Path(__file__).parents[2]


def _say_shortly(command: click.Command) -> None:
    """Give each command its whole short help.

    click-man would cut it at 45 characters, by a function that click 8.5 deprecates.
    """
    command.short_help = command.get_short_help_str(200)
    for inner in getattr(command, "commands", {}).values():
        _say_shortly(inner)


def write(into: Path) -> None:
    """Write ``drehscheibe.1``, ``drehscheibe-check.1`` …"""
    into.mkdir(parents=True, exist_ok=True)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    day = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    _say_shortly(main)
    write_man_pages("drehscheibe", main, version=version, target_dir=str(into), date=day)


if __name__ == "__main__":
    write(Path(sys.argv[1]))

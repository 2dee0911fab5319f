"""The command as a whole: all its commands, and how little it imports before one is chosen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
from click.testing import CliRunner

from hub import __version__
from hub.cli.app import main

ROOT = Path(__file__).parents[3]
LATE = ("sqlalchemy", "alembic", "lxml", "xmlschema", "saxonche", "weasyprint", "paramiko", "kombu",
        "uvicorn", "starlette", "httpx2", "zeep", "psycopg", "hub.store", "hub.pipeline",
        "hub.delivery", "hub.daemon", "hub.administration.billing", "hub.operations.operator", "connectors")
"""What takes long to import, and what most commands can do without."""


def imported(program: str) -> set[str]:
    """The modules that a program has imported at its end."""
    listing = f"import sys\n{program}\nprint('|'.join(sys.modules))"
    told = subprocess.run([sys.executable, "-P", "-c", listing], capture_output=True, text=True, check=True,
                          timeout=60, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return set(told.stdout.splitlines()[-1].split("|"))


def test_engines_are_imported_by_the_command_that_needs_them() -> None:
    assert imported("import hub.cli.app") & {*LATE} == set()


def test_an_engine_that_is_imported_early_is_noticed() -> None:
    early = imported("import hub.cli.app, hub.store.backup.restore")
    assert {"hub.store", "sqlalchemy"} <= early & {*LATE}


def test_every_command_is_there() -> None:
    assert set(main.commands) == {
        "run", "check", "reload", "schema", "demo", "queue", "messages", "show", "why", "replay", "resend",
        "discard", "confirm", "send", "mapping", "schemas", "store", "retention", "backup", "restore",
        "municipality", "bill", "broker", "connector"}
    inner = {name: set(each.commands) for name, each in main.commands.items()
             if isinstance(each, click.Group)}
    assert inner == {"mapping": {"test", "new", "schema", "doc", "preview"}, "schemas": {"install"},
                     "store": {"check", "repair"}, "retention": {"run"}, "broker": {"setup", "dead"},
                     "connector": {"list", "new"},
                     "municipality": {"install-list", "add", "list", "show"}}


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["--version"]).output == f"drehscheibe, version {__version__}\n"


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["qeue"])
    assert result.exit_code == 2
    assert "qeue" in result.stderr

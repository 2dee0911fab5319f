"""The commands about connectors."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from hub import registry
from hub.cli import app


def test_the_list_names_all_with_their_sides_and_where_they_come_from() -> None:
    rows = json.loads(CliRunner().invoke(app.main, ["connector", "list", "--json"]).output)
    assert [row["name"] for row in rows] == registry.names()
    found = {row["name"]: row for row in rows}
    assert (found["smtp"]["sides"], found["smtp"]["kind"], found["smtp"]["drop"]) == ("outlet", "mail", "")
    assert (found["inbox"]["sides"], found["inbox"]["kind"]) == ("inlet", "")
    assert (found["directory"]["drop"], found["directory"]["comes from"]) == ("drop", "hub")
    table = CliRunner().invoke(app.main, ["connector", "list"], env={"DREHSCHEIBE_LANG": "de"}).output
    assert "kommt von" in table
    assert all(name in table for name in found)


def test_a_new_one_says_its_files_and_the_next_step(tmp_path: Path) -> None:
    for folder in ("connectors", "tests/integration"):
        (tmp_path / folder).mkdir(parents=True)
    command = ["connector", "new", "pigeon", "--outlet", "other", "--repository", str(tmp_path)]
    made = CliRunner().invoke(app.main, command, env={"DREHSCHEIBE_LANG": "en"})
    files = [tmp_path / "connectors/pigeon.py", tmp_path / "tests/integration/test_pigeon.py"]
    assert made.exit_code == 0, made.output
    assert made.output.splitlines()[:3] == [*map(str, files), "next:"]
    assert all(file.is_file() for file in files)
    again = CliRunner().invoke(app.main, [*command, "--json"], env={"DREHSCHEIBE_LANG": "de"})
    assert again.exit_code == 78
    assert "gibt es schon: einen anderen Namen wählen" in again.output


def test_outside_of_a_clone_it_says_where_to_call_it(tmp_path: Path) -> None:
    command = ["connector", "new", "pigeon", "--inlet", "--repository", str(tmp_path)]
    called = CliRunner().invoke(app.main, command, env={"DREHSCHEIBE_LANG": "en"})
    assert called.exit_code == 78
    assert "call this in a clone of the repository" in called.output


def test_it_is_an_outlet_or_an_inlet() -> None:
    for arguments in ([], ["--inlet", "--outlet", "drop"]):
        called = CliRunner().invoke(app.main, ["connector", "new", "pigeon", *arguments])
        assert called.exit_code == 2
        assert "--outlet" in called.output

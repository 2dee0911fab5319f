"""The commands about the hub itself."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from hub.config.loader import FILES
from hub.operations.control_socket import ControlServer
from hub.operations.operator import Operator
from hub.store.store import Store
from tests.unit.cli.kit import filled, run
from tests.unit.operator_kit import alone


def test_the_examples_configuration_has_no_fault(tmp_path: Path) -> None:
    findings = json.loads(run(tmp_path, "check", "--municipality", "14999010", "--json", code=1).stdout)
    assert {finding["where"].split("/")[0] for finding in findings} == {"musterstadt"}


def test_a_destination_that_there_is_not_is_told(tmp_path: Path) -> None:
    assert "Keine Kommune" in run(tmp_path, "check", "--municipality", "99999999", code=1).stderr


def test_reload_needs_a_hub(tmp_path: Path) -> None:
    told = run(tmp_path, "reload", code=75).stderr
    assert told == (f"no daemon listens on {tmp_path}/control.sock: nothing to reload: start the hub first "
                    "(drehscheibe run)\n")


@pytest.mark.parametrize(("problems", "restart", "code", "told"), [
    ([], [], 0, "The configuration was read again.\n"),
    ([], ["workers"], 0, "Not taken up before a restart of the hub: workers\n"),
    (["a.toml: x: is wrong: mend it"], [], 78, "a.toml: x: is wrong: mend it\nThe old configuration stays"),
])
def test_reload_says_what_the_hub_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problems: list[str],
                                       restart: list[str], code: int, told: str) -> None:
    filled(tmp_path, 1)
    monkeypatch.setattr(Operator, "reload", lambda self: {"reloaded": not problems, "problems": problems,
                                                          "restart": restart})
    with closing(Store.open(tmp_path)) as store:
        server = ControlServer(tmp_path / "control.sock", alone(store))
        try:
            assert told in run(tmp_path, "reload", code=code).output
        finally:
            server.close()


@pytest.mark.parametrize("kind", ["hub", "defaults", "municipality", "billing", "mapping", "fields"])
def test_every_file_has_its_schema(tmp_path: Path, kind: str) -> None:
    schema = json.loads(run(tmp_path, "schema", kind).stdout)
    assert schema["type"] == "object"
    if kind in FILES:
        assert schema["title"] == FILES[kind].__name__

"""The command that sets up a broker; with a real one it is `tests/integration/test_amqp.py`'s."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.kit import run


def test_a_configuration_without_an_inlet_that_needs_one_is_told(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("geheim", encoding="utf-8")
    told = run(tmp_path, "broker", "setup", "--management", "http://localhost:1", "--user", "admin",
               "--password-file", str(password), code=78).stderr
    assert "inlets: no inlet needs a broker: add one with connector = \"amqp\"" in told
    assert "geheim" not in told


@pytest.mark.parametrize("arguments", [("list",), ("show", "0"), ("requeue", "--all"), ()])
def test_dead_letters_without_a_broker_are_told_alike(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    told = run(tmp_path, "broker", "dead", *arguments, code=78).stderr
    assert "inlets: no inlet needs a broker" in told

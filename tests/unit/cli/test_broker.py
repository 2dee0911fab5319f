"""The command that sets up a broker; with a real one it is `tests/integration/test_amqp.py`'s."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.cli.kit import ROOT, run


def test_a_configuration_without_an_inlet_that_needs_one_is_told(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("geheim", encoding="utf-8")
    told = run(tmp_path, "broker", "setup", "--management", "http://localhost:1", "--user", "admin",
               "--password-file", str(password), code=78).stderr
    assert "inlets: no inlet needs a broker: add one with connector = \"amqp\"" in told
    assert "geheim" not in told


AMQP = """
[inlets.queue]
connector = "amqp"
user = "drehscheibe"
password = "credential:mq"
senders = [{ name = "amt24", user = "amt24", password = "credential:amt24" }]
"""


def test_it_names_the_plugin_and_the_folder_of_the_credentials(tmp_path: Path,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    hub = tmp_path / "etc/hub.toml"
    hub.write_text(hub.read_text(encoding="utf-8") + AMQP, encoding="utf-8")
    (tmp_path / "password").write_text("geheim", encoding="utf-8")
    command = ["--config", str(hub), "broker", "setup", "--management", "http://127.0.0.1:1", "--user",
               "admin", "--password-file", str(tmp_path / "password")]
    told = run(tmp_path / "state", *command, code=78).stderr
    assert "credential:amt24: the secret cannot be read (No such file or directory): name it under " in told
    assert "CREDENTIALS_DIRECTORY=/etc/drehscheibe/secrets" in told
    for name in ("mq", "amt24"):
        (tmp_path / name).write_text("geheim", encoding="utf-8")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    told = run(tmp_path / "state", *command, code=1).stdout
    assert "Management-API nicht erreichbar" in told
    assert "rabbitmq-plugins enable rabbitmq_management" in told


@pytest.mark.parametrize("arguments", [("list",), ("show", "0"), ("requeue", "--all"), ()])
def test_dead_letters_without_a_broker_are_told_alike(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    told = run(tmp_path, "broker", "dead", *arguments, code=78).stderr
    assert "inlets: no inlet needs a broker" in told

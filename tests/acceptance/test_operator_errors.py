"""Errors that an operator meets at the command line.

Each gives one clear line on standard error, a next step, and the right exit code.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from hub.cli import app
from hub.operations import control_socket
from tests.acceptance.hub_process import ROOT, HubProcess, document_of


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path)
    yield process
    process.close()


def told(hub: HubProcess, *arguments: str, code: int) -> str:
    """Run a command that must end with this exit code. Returns its standard error."""
    result = subprocess.run(hub.command(*arguments), cwd=ROOT, capture_output=True, text=True, timeout=60,
                            check=False)
    assert "Traceback" not in result.stderr
    assert result.returncode == code, result.stdout + result.stderr
    return result.stderr


def sending(hub: HubProcess, **files: Path) -> list[str]:
    paths = {"cert": hub.client.certificate, "key": hub.client.key, "ca": hub.tls / "ca.pem", **files}
    return ["send", str(document_of("v2-smallest")), "--ags", "14999010", "--service", "hundesteuer",
            *(item for name, path in paths.items() for item in (f"--{name}", str(path)))]


def test_a_busy_status_port_is_told(hub: HubProcess) -> None:
    with socket.create_server(("127.0.0.1", hub.status)):
        assert f"status.port: 127.0.0.1:{hub.status} cannot be used" in told(hub, "run", code=75)
    hub.start()  # the failed start has left nothing behind
    assert "did not end cleanly" not in hub.log.read_text()


def test_a_second_hub_on_the_same_store_is_told(hub: HubProcess) -> None:
    hub.start()
    assert "another hub runs on this store" in told(hub, "run", code=75)


def test_sending_tells_who_is_missing(hub: HubProcess) -> None:
    assert "is the hub running" in told(hub, *sending(hub), code=75)
    assert "--cert, --key" in told(hub, *sending(hub, key=hub.tls / "server.key"), code=78)
    assert "--ca" in told(hub, *sending(hub, ca=document_of("v2-smallest")), code=78)
    assert "--url: nix: is no address" in told(hub, *sending(hub), "--url", "nix", code=78)


def test_reload_without_a_hub_is_told(hub: HubProcess) -> None:
    assert "start the hub first" in told(hub, "reload", code=75)


def test_a_missing_key_is_named(hub: HubProcess) -> None:
    (hub.tls / "server.key").unlink()
    result = subprocess.run(hub.command("check"), cwd=ROOT, capture_output=True, text=True, timeout=60,
                            check=False)
    assert result.returncode == 1
    assert f"{hub.tls / 'server.key'}: cannot be read" in result.stdout


@pytest.mark.parametrize(("error", "code"), [(PermissionError(13, "Permission denied", "/x/store"), 78),
                                             (OSError(5, "Input/output error", "/x/store"), 75)])
def test_the_systems_own_errors_are_told(error: OSError, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(control_socket, "ask", fail)
    result = CliRunner().invoke(app.main, ["--config", str(ROOT / "etc/hub.toml"), "queue"])
    assert result.exit_code == code
    assert str(error.strerror) in result.stderr


def test_a_wrong_kind_of_value_is_told_in_plain_words(tmp_path: Path) -> None:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    municipality = tmp_path / "etc/municipalities/14999030.toml"
    text = municipality.read_text(encoding="utf-8").replace('to = ["gemeinde@probedorf.example"]',
                                                    'to = "gemeinde@probedorf.example"')
    municipality.write_text(text.replace("test = true", 'test = "vielleicht"'), encoding="utf-8")
    result = CliRunner().invoke(app.main, ["--config", str(tmp_path / "etc/hub.toml"), "check"])
    assert result.exit_code == 78
    assert 'destinations.postfach.to: is no list: write it in brackets, like ["a", "b"]' in result.stderr
    assert "destinations.test.test: is neither true nor false" in result.stderr

"""The daemon's socket: who may ask, what is answered, and that a mistake is an answer, not a hang."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.errors import HubError
from hub.operations import control_socket
from hub.operations.operator import Operator


class Workplace(Operator):
    """An operator that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def queue(self) -> list[dict[str, Any]]:
        return [{"destination": "musterstadt/postfach"}]

    def discard(self, id: str, who: str, reason: str) -> dict[str, Any]:
        self.asked.append((id, {"who": who, "reason": reason}))
        return {"changed": True}


@pytest.fixture
def workplace() -> Workplace:
    return Workplace()


@pytest.fixture
def path(tmp_path: Path, workplace: Workplace) -> Iterator[Path]:
    server = control_socket.ControlServer(tmp_path / "control.sock", workplace)
    yield tmp_path / "control.sock"
    server.close()


def test_reading_is_answered(path: Path) -> None:
    assert control_socket.ask(path, "queue", {}) == [{"destination": "musterstadt/postfach"}]


def test_a_change_carries_the_callers_own_name_whatever_he_says(path: Path, workplace: Workplace) -> None:
    control_socket.ask(path, "discard", {"id": "x", "reason": "doppelt", "who": "somebody-else"})
    assert workplace.asked == [("x", {"who": control_socket.whoami(), "reason": "doppelt"})]


@pytest.mark.parametrize("verb", ["__init__", "_find", "close", "nothing"])
def test_only_the_operators_verbs_can_be_called(path: Path, verb: str) -> None:
    with pytest.raises(HubError, match="unknown verb"):
        control_socket.ask(path, verb, {})


def test_a_wrong_argument_is_an_answer(path: Path) -> None:
    with pytest.raises(HubError, match="unexpected keyword argument"):
        control_socket.ask(path, "queue", {"colour": "red"})


def test_rubbish_is_an_answer(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(b"\xff\xfe not json\n")
        assert b"error" in connection.makefile("rb").readline()


def test_the_socket_is_for_its_owner_only(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_path_may_be_longer_than_the_kernel_takes_an_address(tmp_path: Path, workplace: Workplace) -> None:
    folder = tmp_path / ("deep-" * 30)
    folder.mkdir()
    server = control_socket.ControlServer(folder / "control.sock", workplace)
    try:
        assert control_socket.ask(folder / "control.sock", "queue", {}) == workplace.queue()
    finally:
        server.close()


def test_no_daemon_is_distinguished_from_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(ConnectionError):
        control_socket.ask(tmp_path / "nobody.sock", "queue", {})

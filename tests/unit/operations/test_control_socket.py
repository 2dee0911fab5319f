"""The daemon's socket: who may ask, what is answered, and that a mistake is an answer, not a hang."""

from __future__ import annotations

import json
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.errors import Busy, HubError, StoreUnavailable
from hub.operations import control_socket
from hub.operations.operator import Operator
from hub.operations.verbs import EVERY_RIGHT, Right


class Workplace(Operator):
    """An operator that notes what it was asked, and fails as it is told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.fault: BaseException | None = None

    def queue(self) -> list[dict[str, Any]]:
        if self.fault is not None:
            raise self.fault
        return [{"destination": "musterstadt/postfach"}]

    def discard(self, id: str, who: str, reason: str) -> dict[str, Any]:
        self.asked.append((id, {"who": who, "reason": reason}))
        return {"changed": True}

    def begin(self, verb: str, **arguments: Any) -> dict[str, Any]:
        self.asked.append((verb, arguments))
        return {"id": "1"}


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


@pytest.mark.parametrize("verb", ["__init__", "_find", "close", "nothing", "backup", "check_store"])
def test_only_the_operators_verbs_can_be_called(path: Path, verb: str) -> None:
    with pytest.raises(HubError, match="unknown verb"):
        control_socket.ask(path, verb, {})


def test_a_wrong_argument_is_an_answer(path: Path) -> None:
    with pytest.raises(HubError, match="queue: got an unexpected keyword argument 'colour'"):
        control_socket.ask(path, "queue", {"colour": "red"})


@pytest.mark.parametrize("line", [b"\xff\xfe not json\n", b"[]\n", b"{}\n", b'{"do": "queue", "with": 3}\n',
                                  b"\n"])
def test_rubbish_is_an_answer(path: Path, line: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.sendall(line)
        answer = json.loads(connection.makefile("rb").readline())
    assert answer["error"]["text"] == "the request is not understood"


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


# -------------------------------------------------------------------- rights


def test_root_and_the_hubs_user_have_every_right_and_nobody_else_has_any() -> None:
    assert control_socket.rights_of(0) == control_socket.rights_of(os.getuid()) == EVERY_RIGHT
    assert control_socket.rights_of(os.getuid() + 1) == frozenset()


@pytest.mark.parametrize(("verb", "arguments", "right"), [
    ("queue", {}, Right.READ), ("discard", {"id": "x", "reason": "doppelt"}, Right.CHANGE),
    ("begin", {"verb": "check_store"}, Right.READ),
    ("begin", {"verb": "backup", "target": "/x"}, Right.CHANGE),
], ids=str)
def test_a_verb_needs_its_right(workplace: Workplace, verb: str, arguments: dict[str, Any],
                                right: Right) -> None:
    other = EVERY_RIGHT - {right}
    with pytest.raises(HubError, match=f"{verb}: erika may not do this"):
        control_socket.perform(workplace, verb, dict(arguments), "erika", other)
    assert workplace.asked == []
    assert control_socket.perform(workplace, verb, dict(arguments), "erika", frozenset({right}))


def test_who_begins_a_backup_is_logged_like_any_change(workplace: Workplace) -> None:
    with capture_logs() as lines:
        control_socket.perform(workplace, "begin", {"verb": "backup", "target": "/x"}, "erika", EVERY_RIGHT)
        control_socket.perform(workplace, "begin", {"verb": "check_store"}, "erika", EVERY_RIGHT)
    assert [(line["verb"], line["who"]) for line in lines] == [("backup", "erika")]


# -------------------------------------------------------------------- what goes wrong


def test_an_error_arrives_as_its_class(path: Path, workplace: Workplace) -> None:
    workplace.fault = StoreUnavailable("the database does not answer", 5.0)
    with pytest.raises(StoreUnavailable, match="the database does not answer") as raised:
        control_socket.ask(path, "queue", {})
    assert raised.value.retry_after == 5.0


def test_an_error_of_the_system_arrives_and_is_not_taken_for_a_hub_that_is_away(path: Path,
                                                                                workplace: Workplace) -> None:
    workplace.fault = ConnectionRefusedError(111, "Connection refused")
    with pytest.raises(ConnectionRefusedError) as raised:
        control_socket.ask(path, "queue", {})
    assert not isinstance(raised.value, control_socket.NotRunning)


def test_a_fault_of_ours_is_told_without_what_a_citizen_wrote(path: Path, workplace: Workplace,
                                                              capfd: pytest.CaptureFixture[str]) -> None:
    workplace.fault = KeyError("Erika Mustermann")
    with capture_logs() as lines, pytest.raises(HubError, match=r"^KeyError$"):
        control_socket.ask(path, "queue", {})
    assert [line["error_class"] for line in lines] == ["KeyError"]
    assert "Mustermann" not in "".join(capfd.readouterr())


def test_no_daemon_is_distinguished_from_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(control_socket.NotRunning):
        control_socket.ask(tmp_path / "nobody.sock", "queue", {})


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Callable[[bytes], Path]]:
    """A daemon that says this much and hangs up."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "odd.sock"))
        listening.listen()

        def answer(what: bytes) -> Path:
            def serve() -> None:
                connection, _ = listening.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(what)

            threading.Thread(target=serve, daemon=True).start()
            return tmp_path / "odd.sock"

        yield answer


@pytest.mark.parametrize("what", [b"", b'{"ok": [1, 2', b'{"ok": 1}'])
def test_a_daemon_that_dies_while_it_answers_is_busy(answering: Callable[[bytes], Path], what: bytes) -> None:
    with pytest.raises(Busy, match="the hub ended meanwhile"):
        control_socket.ask(answering(what), "queue", {})


def test_a_daemon_that_does_not_answer_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_socket, "PATIENCE", 0.2)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "mute.sock"))
        listening.listen()
        with pytest.raises(Busy, match="the hub gave no answer"):
            control_socket.ask(tmp_path / "mute.sock", "queue", {})

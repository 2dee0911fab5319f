"""Long work for an operator: one at a time, with its progress, and an end that is always told."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from hub.errors import Busy, HubError, StoreUnavailable
from hub.operations import control_socket
from hub.operations.long_task import LongWork, Progress
from hub.operations.wire import error_from
from tests.services import wait_until
from tests.unit.operator_kit import alone
from tests.unit.store_kit import accept, incoming, opened


def ended(work: LongWork, name: str) -> dict[str, Any]:
    wait_until(lambda: not work.look(name)["running"], "the end of the work")
    return work.look(name)


def test_progress_and_result() -> None:
    work, go = LongWork(), threading.Event()

    def act(progress: Progress) -> int:
        progress("files", 3, 7)
        go.wait(30)
        return 42

    name = work.begin("backup", act)
    wait_until(lambda: work.look(name)["done"] == 3, "some progress")
    assert work.look(name) == {"running": True, "step": "files", "done": 3, "of": 7, "result": None,
                               "error": None}
    with pytest.raises(Busy, match="backup"):
        work.begin("backup", act)
    go.set()
    assert ended(work, name)["result"] == 42
    second = work.begin("backup", act)
    assert ended(work, second)["result"] == 42
    with pytest.raises(HubError):
        work.look(name)


@pytest.mark.parametrize(("error", "kind", "told"), [
    (HubError("there is no room"), HubError, "there is no room"),
    (StoreUnavailable("the store is away"), StoreUnavailable, "the store is away"),
    (PermissionError(13, "Permission denied", "/srv/x"), PermissionError,
     "[Errno 13] Permission denied: '/srv/x'"),
    (KeyError("Erika Mustermann"), HubError, "KeyError"),
])
def test_what_goes_wrong_is_told_as_what_it_is_without_what_citizens_wrote(
        error: Exception, kind: type[Exception], told: str) -> None:
    def act(progress: Progress) -> None:
        raise error

    work = LongWork()
    found = error_from(ended(work, work.begin("backup", act))["error"])
    assert (type(found), str(found)) == (kind, told)


def test_through_the_socket(tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        accept(store, incoming())
        server = control_socket.ControlServer(tmp_path / "control.sock", alone(store))
        try:
            begun = control_socket.ask(tmp_path / "control.sock", "begin",
                                       {"verb": "check_store", "deep": True})

            def look() -> dict[str, Any]:
                found: dict[str, Any] = control_socket.ask(tmp_path / "control.sock", "progress", begun)
                return found

            wait_until(lambda: not look()["running"], "the end of the check")
            assert (look()["error"], look()["result"]["sound"], look()["result"]["messages"]) == (None, True,
                                                                                                  1)
            with pytest.raises(HubError, match="unknown verb"):
                control_socket.ask(tmp_path / "control.sock", "begin", {"verb": "discard", "id": "x"})
        finally:
            server.close()

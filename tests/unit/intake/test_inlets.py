"""The inlets of a hub: one that ends is started again, and what is not ready is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import tenacity
from structlog.testing import capture_logs

from hub.config import loader
from hub.endpoint import Accept, InletBase, InletContext, OptionsModel
from hub.errors import HubError, StoreUnavailable
from hub.intake.inlets import PAUSES, Inlets, build
from hub.intake.receiver import Receiver
from hub.telemetry.counters import Metrics
from tests.services import wait_until

ROOT = Path(__file__).parents[3]


class Inlet(InletBase[OptionsModel]):
    """Listens until it is told to stop, or ends as it is told."""

    def __init__(self, name: str, spool: Path, ends: list[BaseException | None] | None = None) -> None:
        super().__init__(OptionsModel(), InletContext(name=name, spool=spool, max_bytes=1))
        self.ends = list(ends or [])
        self.runs = 0
        self.reloads = 0
        self.accept: Accept | None = None
        self.listens = threading.Event()

    def run(self, accept: Accept, stop: threading.Event) -> None:
        self.runs += 1
        self.accept = accept
        if self.ends:
            end = self.ends.pop(0)
            if end is not None:
                raise end
            return
        self.listens.set()
        stop.wait()
        self.listens.clear()

    def ready(self) -> bool:
        return self.listens.is_set()

    def reload(self) -> None:
        self.reloads += 1


def refuse(*_: Any) -> Any:
    """What stands for the receiver."""


@pytest.fixture
def stop() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def started(stop: threading.Event) -> Callable[..., Inlets]:
    """Start inlets that come back at once."""
    def start(*inlets: Inlet) -> Inlets:
        made = Inlets(inlets, refuse, stop, pauses=tenacity.wait_fixed(0.01))
        made.start()
        return made
    return start


def test_one_that_ends_is_started_again_and_its_neighbour_goes_on(tmp_path: Path,
                                                                  started: Callable[..., Inlets]) -> None:
    falls = Inlet("portal", tmp_path, [OSError(98, "Address already in use"), None, HubError("no broker"),
                                       KeyError("Erika Mustermann")])
    stays = Inlet("queue", tmp_path)
    with capture_logs() as lines:
        inlets = started(falls, stays)
        inlets.wait(10)
    assert inlets.ready() == {"portal": True, "queue": True}
    assert (falls.runs, stays.runs) == (5, 1)
    assert falls.accept is refuse
    assert inlets.problems() == []
    told = [(line["inlet"], line["error_class"], line["error"]) for line in lines]
    assert told == [("portal", "OSError", "[Errno 98] Address already in use"),
                    ("portal", "HubError", "no broker"), ("portal", "KeyError", None)], (
        "an error of ours is told; any other by its class, since it may hold what a citizen wrote")


def test_the_pauses_grow_to_a_limit() -> None:
    def pause(attempt: int) -> float:
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = attempt
        return PAUSES(state)

    assert 1 <= pause(1) <= 2
    assert pause(2) >= 2
    assert pause(20) == pause(2000) == 10


def test_a_pause_ends_with_the_hub(tmp_path: Path, stop: threading.Event) -> None:
    inlets = Inlets([Inlet("portal", tmp_path, [OSError()] * 99)], refuse, stop,
                    pauses=tenacity.wait_fixed(60))
    inlets.start()
    begun = time.monotonic()
    stop.set()
    inlets.join(timedelta(seconds=20))
    assert time.monotonic() - begun < 10
    assert inlets.problems()[0] == "inlet-portal: does not run"


def test_they_leave_when_they_are_told(tmp_path: Path, started: Callable[..., Inlets],
                                       stop: threading.Event) -> None:
    portal = Inlet("portal", tmp_path)
    inlets = started(portal)
    inlets.wait(10)
    stop.set()
    inlets.join(timedelta(seconds=10))
    assert portal.runs == 1
    assert inlets.problems() == ["inlet-portal: does not run", "inlet portal: not listening yet"]


def test_a_start_does_not_wait_for_ever(tmp_path: Path, stop: threading.Event) -> None:
    inlets = Inlets([Inlet("portal", tmp_path, [StoreUnavailable("away")] * 9999), Inlet("queue", tmp_path)],
                    refuse, stop, pauses=tenacity.wait_fixed(0.05))
    with capture_logs() as lines:
        inlets.start()
        inlets.wait(0.3)
    assert [line["inlets"] for line in lines if "do not listen yet" in line["event"]] == [["portal"]]
    assert inlets.problems() == ["inlet portal: not listening yet"]


def test_all_are_reloaded(tmp_path: Path, stop: threading.Event) -> None:
    both = [Inlet("portal", tmp_path), Inlet("queue", tmp_path)]
    inlets = Inlets(both, refuse, stop)
    inlets.reload()
    assert [inlet.reloads for inlet in both] == [1, 1]
    assert inlets.names == ["portal", "queue"]


def test_an_inlet_is_built_with_all_it_needs(tmp_path: Path) -> None:
    configuration = loader.load(ROOT / "etc/hub.toml")
    admitted: list[int] = []
    metrics = Metrics()
    receiver = Receiver(None, lambda: configuration, metrics, wake=lambda: None,  # type: ignore[arg-type]
                        admit=admitted.append)
    built = build(configuration, receiver, tmp_path, metrics)
    assert [inlet.name for inlet in built] == [row.name for row in configuration.inlets]
    for inlet in built:
        inlet.context.admit(7)
        inlet.context.turned_away("busy")
        assert (inlet.context.spool, inlet.context.max_bytes) == (tmp_path,
                                                                  configuration.settings.hub.max_bytes)
    assert admitted == [7] * len(built)
    counted = metrics.text("")[0].decode()
    for inlet in built:
        assert f'inlet="{inlet.name}",reason="busy"}} 1.0' in counted


def test_a_ready_inlet_is_waited_for(tmp_path: Path, started: Callable[..., Inlets]) -> None:
    inlets = started(Inlet("portal", tmp_path))
    wait_until(lambda: inlets.ready()["portal"], "it listens", 10)
    inlets.wait(0)
    assert inlets.problems() == []

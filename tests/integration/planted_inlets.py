"""Inlets with a fault. Each breaks one promise of `inlet_contract`, and the suite must say which."""

from __future__ import annotations

import dataclasses
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.endpoint import Accept, InletBase, InletContext
from hub.errors import NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming, IncomingPart
from tests.integration import inlet_contract as contract
from tests.integration.inlet_contract import Fault, Site
from tests.services.door import OneByOne

Kind = type[InletBase[Any]]


def _hasty(accept: Accept) -> Accept:
    """Acknowledges first, and hands over later."""
    def hasty(incoming: Incoming) -> Accepted:
        threading.Thread(target=accept, args=(incoming,)).start()
        return Accepted("too-early")
    return OneByOne(hasty)


def _instead(error: type[Exception], answer: Callable[[], Accepted]) -> Callable[[Accept], Accept]:
    """Takes one answer of the hub for another."""
    def wrap(accept: Accept) -> Accept:
        def mistaken(incoming: Incoming) -> Accepted:
            try:
                return accept(incoming)
            except error:
                return answer()
        return OneByOne(mistaken)
    return wrap


def _give_up() -> Accepted:
    raise NotAllowed("given up")


def _new_key_per_try(accept: Accept) -> Accept:
    return OneByOne(lambda incoming: accept(dataclasses.replace(incoming, key=uuid.uuid4().hex)))


def _litters(accept: Accept) -> Accept:
    """Keeps a second name of what it spooled."""
    def littering(incoming: Incoming) -> Accepted:
        for part in incoming.parts:
            if isinstance(part.content, Path):
                os.link(part.content, part.content.with_name(f"inlet~{uuid.uuid4().hex}"))
        return accept(incoming)
    return OneByOne(littering)


def _recodes(accept: Accept) -> Accept:
    """Takes every body for text in Latin-1, as a library may that means well."""
    def recoding(incoming: Incoming) -> Accepted:
        return accept(dataclasses.replace(incoming, parts=tuple(
            IncomingPart.of(part.content.decode("latin-1").encode()) for part in incoming.parts
            if isinstance(part.content, bytes))))
    return OneByOne(recoding)


def _never_asks(context: InletContext) -> InletContext:
    return dataclasses.replace(context, admit=lambda size: None)


def _asks_late(context: InletContext) -> InletContext:
    def late(size: int) -> None:
        if size:
            (context.spool / "inlet~body").write_bytes(bytes(size))
        try:
            context.admit(size)
        finally:
            (context.spool / "inlet~body").unlink(missing_ok=True)
    return dataclasses.replace(context, admit=late)


def _counts_twice(context: InletContext) -> InletContext:
    def twice(why: Any) -> None:
        context.turned_away(why)
        context.turned_away(why)
    return dataclasses.replace(context, turned_away=twice)


def _counts_nothing(context: InletContext) -> InletContext:
    return dataclasses.replace(context, turned_away=lambda why: None)


def _deaf(kind: Kind) -> Kind:
    class Deaf(kind):  # type: ignore[misc, valid-type]
        """Hears of the stop some seconds too late."""

        def run(self, accept: Accept, stop: threading.Event) -> None:
            late = threading.Event()

            def listen() -> None:
                stop.wait()
                threading.Event().wait(3)
                late.set()

            threading.Thread(target=listen, daemon=True).start()
            super().run(accept, late)
    return Deaf


def _always_ready(kind: Kind) -> Kind:
    class AlwaysReady(kind):  # type: ignore[misc, valid-type]
        """Says so, whatever is."""

        def ready(self) -> bool:
            return True
    return AlwaysReady


def _once(kind: Kind) -> Kind:
    class Once(kind):  # type: ignore[misc, valid-type]
        """Does nothing more after it raised once."""

        raised = 0

        def run(self, accept: Accept, stop: threading.Event) -> None:
            if self.raised >= 2:
                stop.wait()
                return
            self.raised += 1
            super().run(accept, stop)
    return Once


def _sweeps_everything(context: InletContext) -> InletContext:
    for path in context.spool.iterdir():
        path.unlink()
    return context


@dataclass(frozen=True)
class Planted:
    """A fault, the promise that it breaks, and what the suite says then."""

    fault: Fault
    promise: Callable[[Any], None]
    complaint: str
    patience: float = 20.0
    """Seconds until the suite complains that it waited in vain."""
    stop_seconds: float = 10.0


def _refuses(site: Site) -> None:
    contract.refuses_what_the_hub_refuses(site, NotAllowed("no"))


DONE = Accepted("mistaken")

FAULTS = {
    "acknowledges too early": Planted(
        Fault(accept=_hasty), contract.acknowledges_after_accept_returned,
        "acknowledged before accept returned"),
    "gives up while the store is away": Planted(
        Fault(accept=_instead(StoreUnavailable, _give_up)), contract.keeps_what_the_store_cannot_take,
        "given up while"),
    "acknowledges what the store could not take": Planted(
        Fault(accept=_instead(StoreUnavailable, lambda: DONE)), contract.keeps_what_the_store_cannot_take,
        "given up while"),
    "acknowledges what is refused": Planted(
        Fault(accept=_instead(NotAllowed, lambda: DONE)), _refuses, "acknowledged though the hub refused it"),
    "acknowledges after an unknown error": Planted(
        Fault(accept=_instead(RuntimeError, lambda: DONE)),
        contract.never_acknowledges_after_an_unknown_error, "acknowledged after an unknown error"),
    "recodes what it takes": Planted(
        Fault(accept=_recodes), contract.keeps_every_byte, "other bytes than were sent"),
    "never asks for room": Planted(
        Fault(context=_never_asks), contract.asks_for_room_before_it_spools, "two questions for room",
        patience=5),
    "asks for room too late": Planted(
        Fault(context=_asks_late), contract.asks_for_room_before_it_spools,
        "spooled before it asked for room"),
    "counts twice": Planted(
        Fault(context=_counts_twice), contract.counts_once_what_is_too_large, "not counted exactly once"),
    "counts nothing": Planted(
        Fault(context=_counts_nothing), contract.counts_once_what_is_too_large, "not counted exactly once"),
    "litters": Planted(
        Fault(accept=_litters), contract.acknowledges_after_accept_returned, "something stays in the spool"),
    "does not stop": Planted(
        Fault(kind=_deaf), contract.stops_while_it_is_asked_to_wait, "the inlet did not end in time",
        stop_seconds=2),
    "is always ready": Planted(
        Fault(kind=_always_ready), contract.says_truthfully_whether_it_is_ready, "ready before it ran"),
    "does not come back": Planted(
        Fault(kind=_once), contract.comes_back_after_run_raised, "the acknowledgement", patience=5),
    "a new key for each try": Planted(
        Fault(accept=_new_key_per_try), contract.the_same_twice_is_one_message,
        "the same message twice is not one message"),
    "a new key after a lost answer": Planted(
        Fault(accept=_new_key_per_try), contract.a_lost_answer_doubles_nothing,
        "the same message twice is not one message|the acknowledgement", patience=5),
    "sweeps what is not its own": Planted(
        Fault(context=_sweeps_everything), contract.sweeps_only_what_is_its_own, "swept too much"),
}


class PlantedInlets:
    """The suite notices every fault. A connector's test gives the fixture `site`."""

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.parametrize("name", FAULTS)
    def test_the_suite_notices(self, site: Any, name: str) -> None:
        planted = FAULTS[name]
        site.fault, site.patience = planted.fault, planted.patience
        site.stop_seconds = planted.stop_seconds
        with pytest.raises((AssertionError, pytest.fail.Exception), match=planted.complaint):
            planted.promise(site)

"""Named fault points. Tests use them to kill, fail or hang the hub at a chosen place.

The points are inert unless the environment variable ``DREHSCHEIBE_FAULTS`` names some. The log says at every
start which points are armed. The other modules do not know of the points: `arm` replaces the named functions
at the start. A hub without the variable therefore runs no additional instruction.

::

    DREHSCHEIBE_FAULTS="settle after kill 3; deliver/smtp after raise 1"
                        point  when  what number-of-the-call

``before``: the fault comes instead of the call. ``after``: the function is executed first; ``raise`` then
means "executed, then timed out". A ``+`` after the number hits every call from that number on:
``settle before raise 3+``.

Used by `hub.daemon` at its start. The torture (`tests/torture`) and the acceptance tests set the variable.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import itertools
import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import structlog

from hub import endpoint, registry
from hub.errors import ConfigError

log = structlog.get_logger("hub.failpoints")

VARIABLE = "DREHSCHEIBE_FAULTS"

POINTS: Mapping[str, str] = {
    "accept": "hub.intake.receiver:Receiver.together",
    "stage": "hub.store.blobs.files:FileBlobs.stage",
    "commit": "hub.store.writer:Batches.commit",
    "recover": "hub.store.store:Store.recover",
    "claim-messages": "hub.store.store:Store.claim_messages",
    "work": "hub.workers.pool:WorkerPool.run",
    "record": "hub.store.store:Store.record",
    "due": "hub.store.store:Store.due_destinations",
    "claim-deliveries": "hub.store.store:Store.claim_deliveries",
    "intent": "hub.store.store:Store.begin_effect",
    "effect": "hub.delivery.deliverer:Effect.begins",
    "probe": "hub.delivery.deliverer:probed",
    "settle": "hub.store.store:Store.settle",
}
"""The function of each point. ``deliver/<connector>`` stands for the method ``deliver`` of that outlet."""


class Injected(Exception):
    """An error that the hub does not know."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that the variable names."""

    point: str
    after: bool
    what: str
    number: int
    onwards: bool = False


def read(text: str) -> list[Fault]:
    """The faults that a text names. Raises `ConfigError` for anything else."""
    faults = []
    for line in filter(None, (line.strip() for line in text.split(";"))):
        point, when, what, number = (*line.split(), "", "", "", "")[:4]
        known = point in POINTS or point.removeprefix("deliver/") in registry.names()
        known = known and when in ("before", "after") and what in ("kill", "raise", "hang")
        if not known or not number.removesuffix("+").isdigit():
            raise ConfigError.at("environment", VARIABLE, f"{line!r} names no fault",
                                 "write '<point> before|after kill|raise|hang <number>'; points: "
                                 f"{', '.join(POINTS)}")
        faults.append(Fault(point, when == "after", what, int(number.removesuffix("+")),
                            number.endswith("+")))
    return faults


def arm(environment: Mapping[str, str] = os.environ) -> None:
    """Put the faults in place that the environment names. Raises `ConfigError`."""
    for fault in read(environment.get(VARIABLE, "")):
        log.warning("a fault is armed: this hub is under test", point=fault.point, what=fault.what,
                    number=fault.number)
        owner, name = place(fault.point)
        # also what a class has from its base: only that class is hurt
        found = inspect.getattr_static(owner, name)
        hurt = _hurting(fault, found.__func__ if isinstance(found, staticmethod) else found)
        setattr(owner, name, staticmethod(hurt) if isinstance(found, staticmethod) else hurt)


def place(point: str) -> tuple[type[Any] | ModuleType, str]:
    """The class or module that has a point's function, and the function's name there."""
    if point.startswith("deliver/"):
        return endpoint.outlet_class(point.removeprefix("deliver/")), "deliver"
    module, _, path = POINTS[point].partition(":")
    owner, _, name = path.rpartition(".")
    found = importlib.import_module(module)
    return (getattr(found, owner) if owner else found), name


def _hurting(fault: Fault, function: Callable[..., Any]) -> Callable[..., Any]:
    numbers = itertools.count(1)

    @functools.wraps(function)
    def hurt(*arguments: Any, **options: Any) -> Any:
        number = next(numbers)
        hit = number == fault.number or (fault.onwards and number > fault.number)
        if hit and not fault.after:
            _strike(fault)
        result = function(*arguments, **options)
        if hit and fault.after:
            _strike(fault)
        return result

    return hurt


def _strike(fault: Fault) -> None:
    log.warning("the fault strikes", point=fault.point, what=fault.what)
    if fault.what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault.what == "hang":
        threading.Event().wait()
    raise TimeoutError("executed, then timed out") if fault.after else Injected(fault.point)

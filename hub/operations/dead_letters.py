"""The dead letters of all inlets that have a broker: listed, shown, given back.

A connector that has some offers a function ``dead_letters(options, user, password)``, which opens them
(`hub.endpoint.DeadLetters`).

Used by ``drehscheibe broker dead``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hub import registry
from hub.config.configuration import Configuration
from hub.config.reader import suggest
from hub.endpoint import DeadLetter, DeadLetters, Returned, SecretRef
from hub.errors import ConfigError, HubError
from hub.message import time_text


@dataclass(frozen=True, slots=True)
class Place:
    """The dead letters of one inlet. `open` raises `Busy` and `ConfigError`."""

    inlet: str
    open: Callable[[], AbstractContextManager[DeadLetters]]


def places(configuration: Configuration, inlet: str | None = None, user: str | None = None,
           password: SecretRef | None = None) -> list[Place]:
    """Where dead letters are: those of all inlets, or of one, seen by `user` or by the hub's own.

    Raises `ConfigError` when no inlet has a broker, `HubError` for an inlet that there is not.
    """
    able = {each.name: each for each in configuration.inlets
            if hasattr(registry.module(each.connector), "dead_letters")}
    if not able:
        known = [name for name in registry.names() if hasattr(registry.module(name), "dead_letters")]
        raise ConfigError.at(configuration.file, "inlets", "no inlet needs a broker",
                             f'add one with connector = "{next(iter(known), "…")}"')
    if inlet is not None and inlet not in able:
        raise HubError(f"no inlet {inlet!r} with a broker: {suggest(inlet, list(able))}")
    return [Place(each.name, partial(registry.module(each.connector).dead_letters, each.options, user,
                                     password))
            for each in able.values() if inlet in (None, each.name)]


def listing(of: Sequence[Place], limit: int) -> dict[str, Any]:
    """The oldest letters of each place, at most so many, and how many there are in all."""
    rows: list[dict[str, Any]] = []
    total = 0
    for place in of:
        with place.open() as letters:
            found = letters.first()
        total += len(found)
        rows += [row(place.inlet, letter) for letter in found]
    return {"total": total, "letters": rows[:limit]}


def find(of: Sequence[Place], id: str) -> tuple[Place, DeadLetter]:
    """The letter whose id begins so. Raises `HubError` when there is none, or more than one."""
    found: dict[str, tuple[Place, DeadLetter]] = {}
    for place in of:
        with place.open() as letters:
            found |= {letter.id: (place, letter) for letter in letters.first() if letter.id.startswith(id)}
    if not found:
        raise HubError(f"no dead letter begins with {id[:40]!r}: all: drehscheibe broker dead list")
    if len(found) > 1:
        raise HubError(f"{id[:40]!r} is the beginning of several dead letters: give more of its id")
    return next(iter(found.values()))


def save(place: Place, letter: DeadLetter, file: Path) -> None:
    """Write its body to a new file that only the caller may read. It holds what a citizen wrote.

    Raises `HubError` when the letter is gone meanwhile, `OSError` when the file cannot be made, also because
    it is there already.
    """
    with place.open() as letters:
        body = letters.body(letter.id)
    if body is None:
        raise HubError(f"the dead letter {letter.id} is gone meanwhile: drehscheibe broker dead list")
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as target:
        target.write(body)


def give_back(of: Sequence[Place], id: str | None) -> Iterator[tuple[str, DeadLetter, Returned]]:
    """Give the letter whose id begins so, or all that lie there now, back to their queues.

    Yields inlet, letter and what came of it, one after the other. Raises as `find` does.
    """
    chosen = None if id is None else find(of, id)
    for place in of if chosen is None else [chosen[0]]:
        with place.open() as letters:
            ids = {letter.id for letter in letters.first()} if chosen is None else {chosen[1].id}
            for letter, outcome in letters.give_back(ids):
                yield place.inlet, letter, outcome


def row(inlet: str, letter: DeadLetter) -> dict[str, Any]:
    """A letter as plain data."""
    return {"id": letter.id, "inlet": inlet, "at": time_text(letter.at), "queue": letter.queue,
            "reason": letter.reason, "size": letter.size, "message_id": letter.message_id}

"""What each of the operator's verbs needs: its right, the person's name or not, and how long it takes.

This is one table for the socket, the command line and whoever asks next. A verb that is not in it cannot be
asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from hub.errors import HubError


class Right(StrEnum):
    """What a verb may do on behalf of who asks."""

    READ = "read"
    """Look at messages and numbers. Nothing is written anywhere."""
    CHANGE = "change"
    """Act on messages or on the hub, or write a file. Who asks is logged."""
    BEGUN = "begun"
    """The right of the verb that is begun."""


EVERY_RIGHT = frozenset({Right.READ, Right.CHANGE})
"""The rights of the hub's own user and of root."""


@dataclass(frozen=True, slots=True)
class Verb:
    """One row of the table.

    A `named` verb is given the person's name for the message's history. A `long` verb reports its progress: a
    running hub does not perform it while the caller waits, but begins it.
    """

    right: Right
    named: bool = False
    long: bool = False


VERBS: Mapping[str, Verb] = MappingProxyType({
    "show": Verb(Right.READ),
    "why": Verb(Right.READ),
    "queue": Verb(Right.READ),
    "messages": Verb(Right.READ),
    "status": Verb(Right.READ),
    "usages": Verb(Right.READ),
    "expiring": Verb(Right.READ),
    "progress": Verb(Right.READ),
    "check_store": Verb(Right.READ, long=True),
    "replay": Verb(Right.CHANGE, named=True),
    "discard": Verb(Right.CHANGE, named=True),
    "confirm": Verb(Right.CHANGE, named=True),
    "resend": Verb(Right.CHANGE, named=True),
    "read_content": Verb(Right.CHANGE, named=True),  # what a citizen wrote leaves the store
    "reload": Verb(Right.CHANGE),
    "expire": Verb(Right.CHANGE),
    "backup": Verb(Right.CHANGE, long=True),  # it takes every application along, to any place
    "begin": Verb(Right.BEGUN),
})


def right_of(verb: str, arguments: Mapping[str, Any]) -> Right:
    """The right that this request needs: `READ` or `CHANGE`.

    Raises `HubError` for a verb that nobody can ask for.
    """
    found = VERBS.get(verb)
    if found is None or found.long:
        raise HubError(f"unknown verb {verb!r}")
    if found.right is not Right.BEGUN:
        return found.right
    begun = VERBS.get(str(arguments.get("verb")))
    if begun is None or not begun.long:
        raise HubError(f"unknown verb {arguments.get('verb')!r}")
    return begun.right

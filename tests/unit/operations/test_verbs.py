"""Every verb has its right, and `begin` has that of what it begins."""

from __future__ import annotations

import inspect
from collections.abc import Mapping

import pytest

from hub.errors import HubError
from hub.operations.operator import Operator
from hub.operations.verbs import EVERY_RIGHT, VERBS, Right, Verb, right_of


def public(kind: type) -> dict[str, inspect.Signature]:
    """The public methods of a class."""
    return {name: inspect.signature(method) for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")}


def differences(table: Mapping[str, Verb], kind: type) -> set[str]:
    """Verbs without a row, rows without a verb, and rows that say something else than the verb takes."""
    verbs = public(kind)
    wrong = set(table) ^ set(verbs)
    for name in set(table) & set(verbs):
        takes = verbs[name].parameters
        if table[name].named != ("who" in takes) or table[name].long != ("progress" in takes):
            wrong.add(name)
    return wrong


def test_no_verb_is_without_its_right() -> None:
    assert differences(VERBS, Operator) == set()


def test_a_verb_without_a_right_is_noticed() -> None:
    class Operator2(Operator):
        def erase_everything(self) -> None:
            """A new verb that nobody thought about."""

    assert differences(VERBS, Operator2) == {"erase_everything"}
    assert differences({**VERBS, "discard": Verb(Right.CHANGE)}, Operator) == {"discard"}


@pytest.mark.parametrize("verb", ["replay", "discard", "confirm", "resend", "reload", "expire"])
def test_what_acts_is_a_change(verb: str) -> None:
    assert right_of(verb, {}) is Right.CHANGE


@pytest.mark.parametrize("verb", ["show", "why", "queue", "messages", "status", "usages", "expiring",
                                  "progress"])
def test_what_looks_is_reading(verb: str) -> None:
    assert right_of(verb, {}) is Right.READ


def test_begin_needs_the_right_of_what_it_begins() -> None:
    assert right_of("begin", {"verb": "check_store", "deep": True}) is Right.READ
    assert right_of("begin", {"verb": "backup", "target": "/tmp/all"}) is Right.CHANGE


@pytest.mark.parametrize(("verb", "arguments"), [
    ("nothing", {}), ("_find", {}), ("backup", {"target": "/tmp/x"}), ("check_store", {}), ("begin", {}),
    ("begin", {"verb": "discard"}), ("begin", {"verb": "begin"}), ("begin", {"verb": ["backup"]}),
], ids=str)
def test_what_cannot_be_asked_for_has_no_right(verb: str, arguments: dict[str, object]) -> None:
    with pytest.raises(HubError, match="unknown verb"):
        right_of(verb, arguments)


def test_every_right_is_a_right_to_do_something() -> None:
    assert {right_of(name, {}) for name, verb in VERBS.items()
            if not verb.long and verb.right is not Right.BEGUN} == EVERY_RIGHT

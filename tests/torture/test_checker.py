"""The checker gives each of its verdicts, and a run that proves nothing is not green."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.torture.checker import VERDICTS, Evidence, judge
from tests.torture.document import (
    MUNICIPALITIES,
    Found,
    document,
    filling,
    municipality_of,
    number,
    recognise,
)
from tests.torture.scoreboard import Row, invalid, verdict

MUNICIPALITY = MUNICIPALITIES[municipality_of("t-0")]


def sound(count: int = 3) -> Evidence:
    """The evidence of a run in which everything is right."""
    seen = Evidence(sent={f"t-{index}" for index in range(count)})
    for index in range(count):
        name, municipality = f"t-{index}", MUNICIPALITIES[municipality_of(f"t-{index}")]
        seen.told[name] = [f"id{index}"]
        seen.messages.append({"id": f"id{index}", "key": name, "ags": municipality_of(name),
                              "state": "completed",
                              "reason": None,
                              "reason_text": None, "deaths": 0})
        for recipient in ("ablage", "postfach"):
            seen.copies.append((municipality, recipient, Found(name, True), False))
            seen.deliveries.append({"id": f"{name}{recipient}", "message_id": f"id{index}",
                                    "recipient": recipient,
                                    "destination": f"{municipality}/{recipient}", "state": "done",
                                    "reason": None,
                                    "reason_text": None})
    seen.tallies = {("message_total", "accepted"): count, ("message", "completed"): count,
                    ("delivery_total", "created"): 2 * count, ("delivery", "done"): 2 * count}
    seen.metrics = {key: float(value) for key, value in seen.tallies.items()}
    return seen


def copy_of(seen: Evidence, found: Found, *, municipality: str = MUNICIPALITY, recipient: str = "postfach",
            marked: bool = False) -> Evidence:
    """Add one copy."""
    seen.copies.append((municipality, recipient, found, marked))
    return seen


def set_row(rows: list[dict[str, Any]], **values: Any) -> None:
    """Change the first row."""
    rows[0].update(values)


def park(seen: Evidence, text: str | None) -> None:
    """Park the first delivery, and remove its copy."""
    del seen.copies[0]
    set_row(seen.deliveries, state="parked", reason="permanent" if text else None, reason_text=text)
    set_row(seen.messages, state="routed")


HARM: dict[str, tuple[str, Callable[[Evidence], Any]]] = {
    "no copy": ("lost", lambda seen: seen.copies.pop(0)),
    "only a torn copy":
    ("lost", lambda seen: seen.copies.__setitem__(0, (MUNICIPALITY, "ablage", Found("t-0", False), False))),
    "a torn copy more": ("torn", lambda seen: copy_of(seen, Found("t-0", False))),
    "an unreadable copy": ("torn", lambda seen: copy_of(seen, Found(None, False))),
    "two copies": ("silent duplicate", lambda seen: copy_of(seen, Found("t-0", True))),
    "two copies and a marked one": ("silent duplicate", lambda seen: [copy_of(seen, Found("t-0", True)),
                                                                     copy_of(seen, Found("t-0", True),
                                                                             marked=True)]),
    "a marked copy more": ("flagged duplicate", lambda seen: copy_of(seen, Found("t-0", True), marked=True)),
    "a copy nobody sent": ("phantom", lambda seen: copy_of(seen, Found("t-99", True))),
    "a message nobody sent": ("phantom", lambda seen: set_row(seen.messages, key="t-99")),
    "another municipality's copy": ("misrouted", lambda seen: copy_of(seen, Found("t-1", True))),
    "an id that is not there": ("invisible", lambda seen: seen.told["t-0"].append("id99")),
    "parked without a word": ("unexplained", lambda seen: park(seen, None)),
    "still open": ("unexplained", lambda seen: set_row(seen.deliveries, state="delivering")),
    "never finished": ("unexplained", lambda seen: set_row(seen.messages, state="routed")),
    "the ledger counts less":
    ("unbalanced", lambda seen: seen.tallies.update({("message_total", "accepted"): 2})),
    "a state miscounted": ("unbalanced", lambda seen: seen.tallies.update({("delivery", "due"): -1})),
    "metrics differ": ("unbalanced", lambda seen: seen.metrics.update({("message", "completed"): 4.0})),
    "metrics miss a total": ("unbalanced", lambda seen: seen.metrics.pop(("delivery_total", "created"))),
    "two messages of one key": ("unbalanced", lambda seen: set_row(seen.messages, key="t-1")),
}


def test_a_sound_run_has_no_verdict() -> None:
    assert not any(judge(sound()).values())


def test_a_delivery_parked_with_a_reason_is_neither_lost_nor_unexplained() -> None:
    seen = sound()
    park(seen, "Der Mailserver lehnt ab.")
    assert not any(names for verdict, names in judge(seen).items() if verdict != "unbalanced")


@pytest.mark.parametrize("harm", HARM)
def test_each_harm_has_its_verdict(harm: str) -> None:
    expected, hurt = HARM[harm]
    seen = sound()
    hurt(seen)
    assert judge(seen)[expected], harm


def test_every_verdict_has_a_harm_that_shows_it() -> None:
    assert {expected for expected, _ in HARM.values()} == {*VERDICTS, "flagged duplicate"}


def rendering(name: str) -> bytes:
    """The rendering that the stylesheet makes."""
    from hashlib import sha256

    digest = sha256(filling(name).encode()).hexdigest()
    return f'<Probe nummer="{name}" summe="{digest}">{filling(name)}</Probe>'.encode()


def test_a_copy_is_whole_only_as_it_was_sent() -> None:
    name = number("t", 22)  # a large one
    assert recognise(document(name), rendering(name)) == Found(name, True)
    assert recognise(document(name)[:-1], rendering(name)) == Found(name, False)
    assert recognise(document(name), rendering(name)[:-20]) == Found(name, False)
    assert recognise(document(name), rendering("t-21")) == Found(name, False)
    assert recognise(document(name).replace(b"a", b"b", 1), None) == Found(name, False)
    assert recognise(b"", None) == Found(None, False)


def row(**values: Any) -> Row:
    """A result."""
    verdicts = {name: [] for name in (*VERDICTS, "flagged duplicate")} | values.pop("verdicts", {})
    return Row("kills",
               {"acknowledged": 1000, "hits": 1, "kills": 1, "messages parked": 0, "deliveries parked": 0,
                "parked for deaths": 0, "verdicts": verdicts, **values})


def test_a_run_is_green_only_when_it_is_large_and_hit_something() -> None:
    assert verdict([row()]) == "green"
    assert invalid([row(acknowledged=999)]) == ["only 999 acknowledged messages, 1000 are needed"]
    assert invalid([row(), row(hits=0)]) == ["kills: no hit"]
    assert verdict([row(hits=0, verdicts={"lost": ["t-0"]})]).startswith("invalid")
    assert verdict([row(verdicts={"lost": ["t-0"]})]) == "red: kills: lost 1"
    assert verdict([row(**{"messages parked": 1})]) == "red: kills: parked 1"
    assert verdict([row(verdicts={"flagged duplicate": ["t-0"]})]) == "green"
    strict = Row("kills", row(verdicts={"flagged duplicate": ["t-0"]}).report, unclear=False)
    assert verdict([strict]) == "red: kills: flagged duplicate 1"

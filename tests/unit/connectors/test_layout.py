"""Names in a drop: the final ones, the hidden ones, and what is recognised as one."""

from __future__ import annotations

from typing import Any

import pytest

from connectors._layout import SLOTS, DropOptions, Plan, hidden_name, plan, steps
from hub.errors import Permanent
from tests.integration.contract import make_delivery

NAME = f"2026-11-22_hundesteuer_{make_delivery().id}"


def of(attempt: int = 1, **options: Any) -> Plan:
    """Where a delivery goes."""
    return plan(DropOptions(**options), make_delivery(attempt=attempt, manifest={"path": "Steuern"}))


def test_final_names() -> None:
    assert [of().final(count) for count in (1, 2, 3)] == [
        f"Steuern/{NAME}", f"Steuern/{NAME}-2", f"Steuern/{NAME}-3"]
    assert of(layout="single").final(2) == f"Steuern/{NAME}-2.xml"


def test_the_steps_to_a_folder() -> None:
    assert list(steps("")) == []
    assert list(steps("Aemter")) == ["Aemter"]
    assert list(steps("Aemter/Steuern/Hund")) == ["Aemter", "Aemter/Steuern", "Aemter/Steuern/Hund"]


@pytest.mark.parametrize("layout", ["folder", "single"])
@pytest.mark.parametrize("ending", [".part", ".tmp", "", ".a_b-c"])
def test_every_hidden_name_is_recognised_and_no_two_are_the_same(layout: str, ending: str) -> None:
    names = [of(attempt, layout=layout, hidden_ending=ending).hidden(slot)
             for attempt in (1, 2, 10, 111) for slot in SLOTS]
    assert len(set(names)) == len(names)
    for name in names:
        folder, _, hidden = name.rpartition("/")
        assert folder == "Steuern"
        assert hidden.startswith(".")
        assert hidden.endswith(ending)
        found = hidden_name(hidden)
        assert found is not None
        assert found[0] == of(layout=layout).name
    assert [found[1] for name in names if (found := hidden_name(name.rpartition("/")[2]))] == [
        1, 1, 2, 2, 10, 10, 111, 111]


def test_those_of_earlier_tries_can_be_computed() -> None:
    earlier = [of(attempt).hidden(slot) for attempt in (3, 2, 1) for slot in SLOTS]
    assert list(of(4).hidden_until(3)) == earlier
    assert list(of(1).hidden_until(0)) == []


@pytest.mark.parametrize(("name", "found"), [
    (f".{NAME}.0badcafe.part", (NAME, 0)), (f".{NAME}.xml.0badcafe.part", (f"{NAME}.xml", 0)),
    (f".{NAME}.try7-2.tmp", (NAME, 7)), (f".{NAME}.try7", (NAME, 7)),
    (NAME, None), (f".{NAME}", None), (f".{NAME}.part", None), (f"{NAME}.try1.part", None),
    (".drehscheibe", None), (f".{NAME}.tryx.part", None), (".DS_Store", None), ("", None)])
def test_what_is_a_hidden_name(name: str, found: tuple[str, int] | None) -> None:
    assert hidden_name(name) == found


def test_the_layouts_part_must_be_there_once() -> None:
    with pytest.raises(Permanent, match="0 Teile"):
        of(layout="single", role="csv")

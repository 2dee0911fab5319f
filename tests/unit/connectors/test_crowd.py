"""Who gets a place at the door, and who gives way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._crowd import Crowd, network_of


@dataclass(eq=False)
class Visitor:
    """Stands for a connection."""

    address: str
    idle: bool = True
    out: bool = field(default=False)

    def is_idle(self) -> bool:
        return self.idle

    def put_out(self) -> None:
        self.out = True


def crowd(most: int, of_one: int | None = None) -> tuple[Crowd, list[Any]]:
    told: list[Any] = []
    return Crowd(most, told.append, of_one), told


def test_the_oldest_of_the_busiest_address_gives_way() -> None:
    here, told = crowd(4)
    old, *many = (Visitor("a"), Visitor("b"), Visitor("b"), Visitor("b"))
    assert all(here.admit(guest) for guest in (old, *many))
    assert here.admit(Visitor("c"))
    assert [guest.out for guest in (old, *many)] == [False, True, False, False]
    assert (len(here), told) == (4, ["busy"])


def test_one_address_puts_out_its_own_first() -> None:
    here, _ = crowd(10, 2)
    guests = [Visitor("a"), Visitor("b"), Visitor("b"), Visitor("b")]
    assert all(here.admit(guest) for guest in guests)
    assert [guest.out for guest in guests] == [False, True, False, False]


def test_who_works_stays_and_the_newcomer_goes() -> None:
    here, told = crowd(1)
    busy = Visitor("a", idle=False)
    assert here.admit(busy)
    assert not here.admit(Visitor("b"))
    assert (busy.out, len(here), told) == (False, 1, ["busy"])
    here.leave(busy)
    here.leave(busy)
    assert here.admit(Visitor("b"))


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=60))
def test_it_never_holds_more_than_it_may(steps: list[tuple[str, bool, bool]]) -> None:
    here, _ = crowd(5, 3)
    inside: list[Visitor] = []
    for address, idle, leaves in steps:
        guest = Visitor(address, idle)
        if here.admit(guest):
            inside.append(guest)
        inside = [each for each in inside if not each.out]
        if leaves and inside:
            here.leave(inside.pop(0))
        assert len(here) == len(inside) <= 5
        assert all(sum(each.address == name for each in inside) <= 3 for name in "abc")


@pytest.mark.parametrize(("address", "expected"), [
    ("192.0.2.7", "192.0.2.7"), ("::ffff:192.0.2.7", "192.0.2.7"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64"), ("", ""), ("unix", "unix")])
def test_what_counts_as_one_address(address: str, expected: str) -> None:
    assert network_of(address) == expected

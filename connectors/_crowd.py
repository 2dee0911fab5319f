"""Who is at the door at once: so many in all, so many of one address, and the oldest idle one gives way.

Nobody can shut the door by standing in it. When there is no more room, the oldest guest that does nothing, of
the address with the most guests, is put out, and the newcomer gets the place. Whoever wants to hand in
something needs its place for a moment only, and is never the oldest for long.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from hub.endpoint import TurnedAway


class Guest(Protocol):
    """A connection, before or after its handshake."""

    address: str
    """Whose it is, by `network_of`."""

    def is_idle(self) -> bool:
        """Whether nothing is lost when it is put out."""

    def put_out(self) -> None:
        """End it at once. It must not call the crowd."""


class Crowd:
    """The guests of one kind. For one thread."""

    def __init__(self, most: int, turned_away: Callable[[TurnedAway], None],
                 of_one_address: int | None = None) -> None:
        self._most = most
        self._of_one_address = of_one_address or most
        self._turned_away = turned_away
        self._guests: dict[Guest, None] = {}  # in the order of their coming
        self._addresses: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._guests)

    def admit(self, guest: Guest) -> bool:
        """Take it in, and put out who has to give way. False when nobody can: whoever asks ends it."""
        if self._addresses[guest.address] >= self._of_one_address:
            place = self._make_room(guest.address)
        else:
            place = len(self._guests) < self._most or self._make_room(None)
        if not place:
            self._turned_away("busy")
            return False
        self._guests[guest] = None
        self._addresses[guest.address] += 1
        return True

    def leave(self, guest: Guest) -> None:
        """It is gone. May be said twice, or of one that never was in."""
        if guest in self._guests:
            del self._guests[guest]
            self._addresses[guest.address] -= 1
            if not self._addresses[guest.address]:
                del self._addresses[guest.address]

    def _make_room(self, address: str | None) -> bool:
        idle = [guest for guest in self._guests if guest.is_idle() and address in (None, guest.address)]
        if not idle:
            return False
        oldest = max(idle, key=lambda guest: self._addresses[guest.address])  # the first of equals
        self.leave(oldest)
        self._turned_away("busy")
        oldest.put_out()
        return True


def network_of(address: str) -> str:
    """What counts as one address: IPv4 as it is, of IPv6 the /64 that one customer gets."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((int(ip), 64), strict=False))
    return str(ip)

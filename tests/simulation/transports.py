"""Receivers that do what the dice say.

They accept, refuse, time out before or after the effect, hang, and answer probes or not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hub import endpoint
from hub.endpoint import Absent, Done, Finding, OptionsModel, OutletBase, ProbeResult, Unknown, refused
from hub.errors import InDoubt, Misconfigured, Permanent, Temporary, TooLarge
from hub.message import Delivery, Receipt
from tests.simulation.municipalities import LARGE

if TYPE_CHECKING:
    from tests.simulation.ground import Ground

MOODS = {
    "well": {"takes": 94, "takes slowly": 6},
    "flaky":
    {"takes": 30, "takes slowly": 10, "temporary": 10, "refuses for now": 6, "refuses": 3, "cut before": 8,
     "cut after": 12, "doubt": 8, "hangs before": 3, "hangs begun": 3, "hangs after": 3, "odd": 3,
     "odd after": 3,
     "too large": 3, "misconfigured": 2},
    "down": {"temporary": 90, "cut before": 10},
    "misconfigured": {"misconfigured": 100},
    "full": {"refuses for now": 50, "cut begun": 50},
}
"""What a receiver does, with weights, by its mood."""


class Peer:
    """One receiver, with what it received."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.mood = "well"
        self.has: set[str] = set()
        self.tries: dict[str, int] = {}


class Outlet(OutletBase[OptionsModel]):
    """The outlet to a `Peer`."""

    def __init__(self, world: Ground, connector: str, options: OptionsModel) -> None:
        real = endpoint.outlet_class(connector)
        self.repeat = real.repeat_for(options)
        self.keeps = real.keeps
        self.world = world

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        world, peer = self.world, self.world.peer(delivery.destination)
        world.judge.attempts(delivery, world.clock(), probe=False)
        peer.tries[delivery.id] = own = peer.tries.get(delivery.id, 0) + 1
        what = world.pick(MOODS[peer.mood])
        world.note(f"{delivery.destination} {what}: {delivery.id[:8]} try {delivery.attempt}"
                   f"{' marked' if delivery.repeat_marked else ''}")
        body = delivery.read(delivery.manifest.of_role("text", "xml")[0])
        world.point("before the effect")
        self._before(what, delivery)
        effect_begins()
        world.judge.begins(world.store, delivery, self.repeat)
        world.point("begun")
        if what in ("takes", "takes slowly", "hangs before", "cut after", "hangs after", "odd after",
                    "doubt"):
            if what == "takes slowly":
                world.sleep(world.dice.uniform(0, 20))
            self._act(peer, delivery, body, own)
        self._after(what, peer, delivery, body, own)
        return Receipt(f"{peer.name}/{len(peer.has)}")

    def _before(self, what: str, delivery: Delivery) -> None:
        if what == "temporary":
            raise Temporary("Wartung", self.world.dice.choice([None, None, 30.0, 7200.0]))
        if what == "cut before":
            raise ConnectionError("cut")
        if what == "odd":
            raise RuntimeError("odd")
        if what == "misconfigured":
            raise Misconfigured("Das Passwort stimmt nicht.")
        if what == "too large":
            raise TooLarge("zu groß") if delivery.destination.partition("/")[2] in LARGE else Temporary(
                "Wartung")
        if what == "hangs before":
            self.world.sleep(self.world.dice.uniform(30, 300))

    def _act(self, peer: Peer, delivery: Delivery, body: bytes, own: int) -> None:
        world = self.world
        row = world.store.get_delivery(delivery.id)
        late = row.state != "delivering" or peer.tries[delivery.id] != own
        world.judge.arrives(delivery, body, self.repeat, late=late)
        peer.has.add(delivery.id)
        world.point("after the effect")

    def _after(self, what: str, peer: Peer, delivery: Delivery, body: bytes, own: int) -> None:
        world = self.world
        if what in ("hangs begun", "hangs after"):
            world.sleep(world.dice.uniform(30, 300))
            if what == "hangs begun" and world.dice.random() < 0.5:
                self._act(peer, delivery, body, own)
            raise TimeoutError("hung")
        if what in ("cut after", "cut begun"):
            raise TimeoutError("cut")
        if what == "refuses for now":
            raise refused(Temporary("voll"))
        if what == "refuses":
            raise refused(Permanent("unbekannt"))
        if what == "odd after":
            raise RuntimeError("odd")
        if what == "doubt":
            raise InDoubt("unklar")

    def probe(self, delivery: Delivery) -> ProbeResult:
        world, peer = self.world, self.world.peer(delivery.destination)
        world.judge.attempts(delivery, world.clock(), probe=True)
        world.point("probe")
        if self.repeat != "probe":
            return Unknown("kann nicht gefragt werden")
        flaky = peer.mood in ("flaky", "full")
        if peer.mood == "misconfigured":
            raise Misconfigured("Das Passwort stimmt nicht.")
        if peer.mood == "down" or (flaky and world.dice.random() < 0.3):
            raise Temporary("Wartung")
        if flaky and world.dice.random() < 0.1:
            return Unknown("keine Antwort")
        found = delivery.id in peer.has
        world.note(f"{delivery.destination} was asked: {delivery.id[:8]} {'is' if found else 'is not'} there")
        return Done(Receipt(f"{peer.name}/?")) if found else Absent()

    def check(self) -> Sequence[Finding]:
        return ()

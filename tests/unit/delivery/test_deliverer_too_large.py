"""What is too large goes elsewhere; a mail goes without its files, and says where they lie."""

from __future__ import annotations

from collections.abc import Callable

from hub.errors import Permanent, Temporary, TooLarge
from hub.message import NOTE, Delivery, DeliveryState, Receipt
from tests.services import wait_until
from tests.unit.delivery.bench import EINS, Bench, Benches, Outlet, arrives, quiet
from tests.unit.operator_kit import beside


class Municipalities(Outlet):
    """A mail server that takes nothing with files, and a folder."""

    repeat = "ask"

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        self.tries.append(delivery)
        if delivery.destination == EINS and delivery.manifest.parts:
            raise TooLarge("Die Mail hat 30 Byte, erlaubt sind 20.")
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Exception):
            raise step
        return Receipt(f"ordner-{delivery.recipient}" if delivery.destination != EINS else "250")


def test_a_mail_that_is_too_large_goes_without_its_files_and_says_where_they_lie(benches: Benches) -> None:
    bench = benches(connector="smtp")
    bench.outlet = Municipalities([], [])
    message = bench.message()
    arrives(bench, message)
    mail, files = bench.store.deliveries_of(message)
    assert (mail.destination, files.destination, files.recipient) == (EINS, "musterstadt/zwei",
                                                                      "eins-dateien")
    sent = [delivery for delivery in bench.outlet.tries if delivery.id == mail.id][-1]
    assert sent.manifest.parts == ()
    note = sent.manifest.properties[NOTE]
    assert "musterstadt/zwei: ordner-eins-dateien" in note
    assert "hund.xml" in note
    assert "erlaubt sind 20" in note
    order = [delivery.destination for delivery in bench.outlet.tries]
    assert order == [EINS, "musterstadt/zwei", EINS], "the mail waits for its files"
    assert [len(delivery.manifest.parts) for delivery in bench.outlet.tries] == [1, 1, 0]
    assert bench.store.tallies() == bench.store.tallies() | bench.store.recount()
    assert all(balance.holds for balance in bench.store.balances())


def test_files_that_the_route_brings_there_anyway_are_not_brought_twice(benches: Benches) -> None:
    bench = benches(connector="smtp")
    bench.outlet = Municipalities([Temporary("weg")], [])
    message = bench.accept()
    bench.route(message, "eins", also="zwei")
    bench.deliverer.wake()
    wait_until(lambda: len(bench.outlet.tries) >= 2, "one try each", 10)
    quiet(bench)
    assert len(bench.store.deliveries_of(message)) == 2
    operator = beside(bench.store, bench.deliverer, bench.folder)
    assert any("bis ihre Dateien" in line for line in operator.why(message)["lines"])
    bench.later(hours=2)
    arrives(bench, message)
    [mail, folder] = bench.store.deliveries_of(message)
    assert (mail.attempts, folder.recipient) == (2, "zwei")
    assert "musterstadt/zwei: ordner-zwei" in bench.outlet.tries[-1].manifest.properties[NOTE]
    assert [delivery.destination for delivery in bench.outlet.tries].count("musterstadt/zwei") == 2


def test_files_that_were_discarded_are_told_too(benches: Benches) -> None:
    bench = benches(connector="smtp")
    bench.outlet = Municipalities([Permanent("nein")], [])
    message = bench.message()
    bench.deliverer.wake()
    wait_until(lambda: len(bench.store.deliveries_of(message)) == 2
               and bench.store.deliveries_of(message)[1].state == "parked",
               "the files are parked", 10)
    bench.store.discard(bench.store.deliveries_of(message)[1].id, "erika", "braucht niemand")
    wait_until(lambda: bench.store.deliveries_of(message)[0].state == "done" or bench.later(minutes=1),
               "the mail is sent", 10)
    assert "verworfen" in bench.outlet.tries[-1].manifest.properties[NOTE]


def test_what_is_too_large_goes_to_the_fallback(bench: Bench) -> None:
    bench.outlet.begin, bench.outlet.script = False, [TooLarge("30 MB")]
    message = bench.message()
    row = bench.until(message, DeliveryState.DONE)
    assert row.destination == "musterstadt/zwei"
    assert [delivery.id for delivery in bench.outlet.tries] == [row.id, row.id]
    assert all(balance.holds for balance in bench.store.balances())
    states = {key: count for key, count in bench.store.tallies().items() if not key.kind.endswith("_total")
              and count}
    assert states == bench.store.recount()

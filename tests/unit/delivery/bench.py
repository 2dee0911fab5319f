"""What the deliverer's tests share: a real store, and an outlet that obeys the test."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry
from sqlalchemy import update

from hub.config import loader
from hub.config.sections import DiskSection
from hub.delivery.deliverer import Deliverer
from hub.endpoint import Finding, OptionsModel, OutletBase, ProbeResult
from hub.intake.disk_space import Space
from hub.job import Body, Facts, OutDelivery, OutPart, Translated
from hub.message import (
    RESTORED,
    Delivery,
    DeliveryState,
    Incoming,
    IncomingPart,
    MessageState,
    Receipt,
)
from hub.operations.ledger_metrics import LedgerCollector
from hub.store.database import tables
from hub.store.store import DeliveryRow, Store
from hub.telemetry.counters import Metrics
from tests.services import wait_until
from tests.unit.store_kit import prepare

BODY = b"<hund/>"
HUB = """[hub]
state = "state"
mappings = "mappings"
[deliver]
rest_after = 3
rest = "1h"
threads = {threads}
"""
MUNICIPALITY = """
name = "Musterstadt"
ags = "14999010"
tenant = "musterstadt"
[destinations.eins]
connector = "{connector}"
{options}
fallback = "zwei"
retry = {{ first = "1h", give_up_after = "3d" }}
[destinations.zwei]
connector = "directory"
path = "/nowhere"
"""
SMTP = 'host = "localhost"\nfrom = "hub@hub.example"\nto = ["a@musterstadt.example"]'


class Outlet(OutletBase[OptionsModel]):
    """Does what `script` says, one entry per try; counts."""

    repeat = "probe"

    def __init__(self, script: list[Any], probes: list[Any]) -> None:
        super().__init__(OptionsModel())
        self.script, self.probes = script, probes
        self.tries: list[Delivery] = []
        self.begin = True

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        self.tries.append(delivery)
        step = self.script.pop(0) if self.script else Receipt("angekommen")
        if self.begin:
            effect_begins()
        if isinstance(step, BaseException):
            raise step
        return step() if callable(step) else step  # type: ignore[no-any-return]

    def probe(self, delivery: Delivery) -> ProbeResult:
        step = self.probes.pop(0)
        if isinstance(step, BaseException):
            raise step
        return step  # type: ignore[no-any-return]

    def check(self) -> Sequence[Finding]:
        return ()


class Bench:
    """A store with one message, and a deliverer whose one outlet is scripted."""

    def __init__(self, folder: Path, connector: str = "directory", policy: str = "", hub: str = "",
                 threads: int = 4) -> None:
        (folder / "mappings").mkdir(parents=True)
        (folder / "municipalities").mkdir()
        (folder / "hub.toml").write_text(HUB.format(threads=threads) + hub)
        options = SMTP if connector == "smtp" else 'path = "/nowhere"'
        (folder / "municipalities" / "14999010.toml").write_text(MUNICIPALITY.format(
            connector=connector, options=f"{options}\n{policy}"))
        self.configuration = loader.load(folder / "hub.toml")
        self.clock = datetime(2026, 5, 4, 12, tzinfo=UTC)
        self.store = Store.open(prepare(folder / "state"), now=lambda: self.clock)
        self.outlet = Outlet([], [])
        self.built = 0
        self.folder = folder
        self.metrics = Metrics()
        self.deliverer = self.new_deliverer()
        self.deliverer.start()

    def new_deliverer(self, **options: Any) -> Deliverer:
        """Another one on the same store; `options` are those of `Deliverer`."""
        return Deliverer(self.store, lambda: self.configuration, self.metrics, lambda: self.clock, self.build,
                         **options)

    def stop(self) -> None:
        """The deliverer stops; the store stays open."""
        self.deliverer.stop(timedelta(seconds=5))

    def start_anew(self, **options: Any) -> None:
        """A new deliverer begins."""
        self.deliverer = self.new_deliverer(**options)
        self.deliverer.start()

    def build(self, connector: str, options: Any) -> Outlet:
        self.built += 1
        return self.outlet

    def accept(self, number: int = 0, case: str | None = None) -> str:
        """Store a message."""
        incoming = Incoming("test", "amt24", "14999010", "hund",
                            (IncomingPart.of(BODY + str(number).encode()),), case=case)
        return self.store.accept(incoming, tenant="musterstadt", day=date(2026, 5, 4), config_digest="c").id

    def message(self, number: int = 0, destination: str = "eins", case: str | None = None) -> str:
        """Store a message and put its one delivery into the outbox; with a case, its order is kept."""
        return self.route(self.accept(number, case), destination, "case" if case else None)

    def route(self, message: str, destination: str = "eins", order: Literal["case"] | None = None,
              also: str | None = None) -> str:
        """Put the delivery of a message into the outbox, and one of the same body to `also`."""
        assert self.store.claim_messages(1, timedelta(minutes=1), only=[message])
        digest = hashlib.sha256(BODY).hexdigest()
        part = OutPart(role="xml", name="hund.xml", media_type="application/xml", size=len(BODY),
                       sha256=digest,
                       body=Body(length=len(BODY)))
        deliveries = tuple(OutDelivery(recipient=name, destination=f"musterstadt/{name}", subject="Hund",
                                       name_parts={},
                                       parts=(part,)) for name in (destination, also) if name)
        file = self.folder / "out"
        file.write_bytes(BODY)
        with file.open("rb") as out:
            self.store.record([Translated(message_id=message, facts=Facts(), rule="r", mapping_digest="m",
                                          deliveries=deliveries, order=order)], out.fileno(),
                              config_digest="c")
        return message

    def delivery(self, message: str) -> DeliveryRow:
        return self.store.deliveries_of(message)[0]

    def until(self, message: str, state: DeliveryState, *, tries: int | None = None) -> DeliveryRow:
        """Wait until the delivery is in a state (after so many tries)."""
        self.deliverer.wake()
        wait_until(lambda: (tries is None or len(self.outlet.tries) == tries)
                   and self.delivery(message).state is state,
                   f"{state} instead of {self.delivery(message)}", 10)
        return self.delivery(message)

    def later(self, **span: float) -> None:
        """Put the clock forward; what is under way still belongs to the time before."""
        wait_until(lambda: not any(circuit.active for circuit in self.deliverer.circuits().values()),
                   "the tries to end", 10)
        self.clock += timedelta(**span)
        self.deliverer.wake()

    def close(self) -> None:
        assert self.deliverer.stop(timedelta(seconds=10))
        self.store.close()


def out_of_a_backup(bench: Bench) -> str:
    """A message that was not translated when the backup was made: its delivery is made in doubt."""
    claim = bench.store.claim_messages

    def claim_restored(*arguments: Any, **options: Any) -> Any:
        found = claim(*arguments, **options)
        bench.store.transact(lambda tx: tx.connection.execute(update(tables.message).values(reason=RESTORED)))
        return found

    bench.store.claim_messages = claim_restored  # type: ignore[method-assign]
    return bench.message()


EINS = "musterstadt/eins"
Benches = Callable[..., Bench]


def arrives(bench: Bench, message: str) -> None:
    """Let time go on until all of it is delivered."""
    def arrived() -> bool:
        bench.later(seconds=10)
        return bench.store.get_message(message).state is MessageState.COMPLETED

    wait_until(arrived, f"{message} is completed", 20)


def quiet(bench: Bench) -> None:
    """Wait until the scheduler has looked once more and nothing is under way."""
    bench.deliverer.wake()
    wait_until(lambda: bench.deliverer.idle, "quiet", 10)


class Hang:
    """A try that ignores its time-out until the test lets it go."""

    def __init__(self) -> None:
        self.hangs, self.release, self.thread = threading.Event(), threading.Event(), ""

    def __call__(self) -> Receipt:
        self.thread = threading.current_thread().name
        self.hangs.set()
        self.release.wait(30)
        return Receipt("viel zu spät")


def scraped(bench: Bench) -> dict[tuple[str, ...], float]:
    """The metrics that ask the store, by name and labels."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(bench.store, lambda: bench.configuration, bench.deliverer.circuits,
                                      dict, lambda: False, lambda: 0,
                                      Space(bench.folder / "state", DiskSection)))
    return {(sample.name, *sample.labels.values()): sample.value for metric in registry.collect()
            for sample in metric.samples}

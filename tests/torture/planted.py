"""Planted faults: each changes the hub into one that must never be, to show that the torture notices it.

``python -m tests.torture.planted <fault> <the hub's arguments>`` changes one thing in its own
process and then runs the hub. Only tests start it.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from hub.store.database.statements import Query


def _acknowledge_before_commit() -> None:
    from hub.store import writer

    write, resolve = writer.Batches.write, writer.resolve

    def early(self: Any, connection: Any, batch: Any) -> None:
        self.commit = lambda transaction: (resolve(batch), time.sleep(0.3), transaction.commit())
        write(self, connection, batch)

    writer.Batches.write = early  # type: ignore[method-assign]
    writer.resolve = lambda batch: None


def _synchronous_off() -> None:
    from hub.store.database import sqlite

    sqlite.WRITING = tuple(pragma.replace("synchronous=FULL", "synchronous=OFF")  # type: ignore[assignment]
                           for pragma in sqlite.WRITING)


def _synchronous_normal() -> None:
    from hub.store.database import sqlite

    sqlite.WRITING = tuple(pragma.replace("synchronous=FULL", "synchronous=NORMAL")
                           for pragma in sqlite.WRITING)


def _bodies_not_synced() -> None:
    from hub.store.blobs import durable

    durable.sync_fd = lambda fd: None


def _no_folder_sync() -> None:
    from connectors.directory import Disk, Gathered

    Disk.sync_folder = Gathered.sync_folder = lambda self, path: None  # type: ignore[method-assign]


def _no_file_sync() -> None:
    from connectors import directory

    sync = directory.sync
    directory.sync = lambda descriptor: sync(descriptor) if stat.S_ISDIR(
        os.fstat(descriptor).st_mode) else None
    directory.sync_all = lambda descriptor: None


def _done_before_send() -> None:
    from hub.delivery.deliverer import Effect
    from hub.message import Receipt
    from hub.store.transitions.deliveries import Settlement

    begins = Effect.begins

    def done(self: Any) -> None:
        begins(self)
        self.store.settle([Settlement.done(self.item.delivery.id, Receipt("?"))])

    Effect.begins = done  # type: ignore[method-assign]


def _new_message_id_per_try() -> None:
    from connectors import smtp

    build = smtp.build
    smtp.build = lambda options, delivery: build(options,
                                                 dataclasses.replace(delivery, id=os.urandom(8).hex()))


def _repeat_without_mark() -> None:
    from hub.store.transitions.deliveries import Settlement

    again = Settlement.again.__func__  # type: ignore[attr-defined]
    Settlement.again = classmethod(  # type: ignore[method-assign,assignment]
        lambda cls, name, due, *, repeat_marked: again(cls, name, due, repeat_marked=False))


def _no_intent() -> None:
    from hub.store.store import Store

    Store.begin_effect = lambda self, name: None  # type: ignore[method-assign]


def _key_without_municipality_and_number() -> None:
    from hub import message
    from hub.store.transitions import messages

    for module in (message, messages):  # where it is made, and where a claim makes it again
        module.content_digest = lambda parts: "0" * 64  # type: ignore[attr-defined]
        module.duplicate_key = lambda *row: row[4].rpartition("-")[2][-1:] if row[4] else ""


def _no_duplicate_check() -> None:
    from hub.message import Incoming

    Incoming.duplicate_key = lambda self, content=None: os.urandom(16).hex()  # type: ignore[method-assign]


def _write_under_the_final_name() -> None:
    from connectors import _layout, directory

    _layout.Plan.hidden = lambda self, slot=1: self.final()  # type: ignore[method-assign]
    write = directory.Disk.write
    directory.Disk.publish = lambda self, hidden, final: None  # type: ignore[method-assign]
    directory.Disk.write = lambda self, *rest: (time.sleep(0.2), write(self, *rest))[1]


def _new_name_per_try() -> None:
    from connectors import _layout

    final = _layout.Plan.final
    _layout.Plan.final = lambda self, count=1: f"{final(self, count)}_{os.urandom(4).hex()}"


def _recovery_forgets_deliveries() -> None:
    from hub.store.transitions import deliveries

    deliveries.free = lambda *arguments: (0, 0)


def _ledger_forgets() -> None:
    from hub.store.database.ledger import Ledger

    moved, numbers = Ledger.moved, itertools.count()
    Ledger.moved = lambda self, *rest: moved(self, *rest) if next(numbers) % 10 else None


def _metrics_count_by_themselves() -> None:
    from hub.store.store import Store

    tallies = Store.tallies

    def since_start(self: Any) -> Any:
        now = Counter(tallies(self))
        self.begin = getattr(self, "begin", None) or now
        return now - self.begin

    Store.tallies = since_start  # type: ignore[method-assign]


def _neighbours_mailbox() -> None:
    from hub.config.configuration import Configuration

    find = Configuration.destination
    Configuration.destination = lambda self, key: find(self, key.replace("musterstadt/", "probedorf/"))


def _truncated_attachment() -> None:
    from connectors import _mail

    lines = _mail.base64_lines
    _mail.base64_lines = lambda chunk: lines(chunk[:-3])


def _parked_without_a_word() -> None:
    from hub.store.transitions.deliveries import Settlement

    Settlement.parked = classmethod(lambda cls, name, reason, text: cls(name, "parked", "parked"))


def _deaths_counted_for_bystanders() -> None:
    from hub.store.store import Store

    recover = Store.recover

    def blame(self: Any, assume_begun: Any) -> Any:
        found = recover(self, assume_begun)
        for name in self.suspects():
            for _ in range(3):
                self.count_death(name)
        return found

    Store.recover = blame  # type: ignore[method-assign]


def _no_rate() -> None:
    from hub.delivery.rate_limit import Pace

    Pace.ready = lambda self, rate, now: now  # type: ignore[method-assign]
    Pace.take = lambda self, wanted: wanted  # type: ignore[method-assign]


def _no_share() -> None:
    from hub.delivery import deliverer
    from hub.delivery.circuit_breaker import Circuit

    Circuit.failed = lambda self, now, why, settings: False  # type: ignore[method-assign]
    deliverer.share = lambda destination, settings: 99


def _lost_answer_taken_for_a_no() -> None:
    from hub import endpoint

    endpoint.is_certain = lambda error: True


def _redirects_are_followed() -> None:
    from connectors import _http_transport

    settings = _http_transport.client_settings
    _http_transport.client_settings = lambda options: {**settings(options), "follow_redirects": True}


def _half_a_reload() -> None:
    from hub.daemon import Daemon

    reload = Daemon.reload

    def half(self: Any) -> Any:
        old = self.configuration
        problems = reload(self)
        self.configuration = dataclasses.replace(self.configuration, snapshots=old.snapshots)
        return problems

    Daemon.reload = half  # type: ignore[method-assign]


def _waits_for_the_old_clock() -> None:
    from hub.delivery.circuit_breaker import Circuit
    from hub.store.store import Store

    Store.set_back = lambda self, step: 0  # type: ignore[method-assign]
    Circuit.set_back = lambda self, step: None  # type: ignore[method-assign]


def _torn_over_sftp() -> None:
    from connectors import _drop
    from connectors.sftp import Session

    settle, write = _drop.settle, _drop.write

    def free(place: Any, where: Any) -> Any:
        place.free_name, there = settle(place, where)
        return place.free_name, there

    _drop.settle = free
    _drop.write = lambda place, where, hidden, delivery: write(place, where, place.free_name, delivery)
    Session.publish = lambda self, hidden, final: None  # type: ignore[method-assign]


def _leases_ignored() -> None:
    from sqlalchemy import bindparam, literal_column, select

    from hub.store.database.tables import delivery
    from hub.store.transitions import deliveries

    deliveries.DUE_NOW = Query(select(delivery.c.no).where(
        delivery.c.destination == bindparam("d"), delivery.c.state.in_(["due", "delivering"]),
        literal_column("1") == bindparam("fresh"), literal_column("0") <= bindparam("now")).order_by(
            delivery.c.no).limit(bindparam("limit")))


def _takeover_forgets() -> None:
    from hub.store.transitions import deliveries
    from hub.store.transitions.deliveries import Recovered

    recover = deliveries.recover
    deliveries.recover = lambda tx, assume_begun, *, unclean, gone=None: (  # type: ignore[assignment]
        recover(tx, assume_begun, unclean=unclean, gone=gone) if gone is None or not unclean
        else Recovered(0, 0, 0, None))


FAULTS: dict[str, Callable[[], None]] = {
    name.removeprefix("_").replace("_", "-"): plant for name, plant in list(globals().items())
    if name.startswith("_") and getattr(plant, "__module__", "") == __name__ and callable(plant)}
"""By name."""


def main() -> None:
    """Run the hub with one fault."""
    FAULTS[sys.argv.pop(1)]()
    from hub.cli.app import main as hub

    hub()


if __name__ == "__main__":
    main()

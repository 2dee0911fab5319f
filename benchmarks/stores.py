"""What a message costs in the store, in SQLite and in PostgreSQL.

``python -m benchmarks.stores [--messages 2000] [--threads 16]``

One of several threads accepts a message with one part of 4 KB. Messages are claimed in batches and recorded
with two deliveries and their bodies. Deliveries are claimed in batches and settled. Everything is durable
(PostgreSQL with fsync). There are no workers and no receivers, so only the store's share is measured. Then
the same is measured with two nodes on one PostgreSQL. The command prints messages per second for each stage,
and the bytes that a message takes.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

from hub.config.sections import StoreSection
from hub.store.store import Store
from hub.store.transitions.deliveries import Settlement
from tests.services.postgresql import PostgreSQL, need_postgresql
from tests.unit.store_kit import RECEIPT, Output, accept, incoming, translated

LEASE = timedelta(minutes=15)
BODY = b"<antrag>" + b"x" * 4080 + b"</antrag>"


def accepted(stores: Sequence[Store], count: int, threads: int) -> None:
    """Accept all messages, with so many threads, on the nodes in turn."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda number: accept(stores[number % len(stores)], incoming(BODY, key=f"k{number}")),
                      range(count)))


def translate(store: Store) -> None:
    """Do what the dispatcher does, without the translation."""
    while messages := store.claim_messages(32, LEASE):
        output = Output()
        store.record([translated(message.id, *(output.delivery(BODY, name, name) for name in ("a", "b")))
                      for message in messages],
                     output.fd, config_digest="c")


def deliver(store: Store) -> None:
    """Do what the deliverer does, without receivers."""
    for name in ("a", "b"):
        while claimed := store.claim_deliveries(name, 20, LEASE):
            store.settle([Settlement.done(item.delivery.id, RECEIPT) for item in claimed])


def measured(stores: Sequence[Store], count: int, threads: int) -> dict[str, float]:
    """The messages per second of each stage, and of all stages one after the other."""
    def on_each(work: Callable[[Store], None]) -> Callable[[], None]:
        def run() -> None:
            with ThreadPoolExecutor(len(stores)) as pool:
                list(pool.map(work, stores))
        return run

    stages: dict[str, Callable[[], None]] = {
        "accept": lambda: accepted(stores, count, threads), "translate": on_each(translate),
        "deliver": on_each(deliver)}
    seconds = {}
    for name, work in stages.items():
        began = time.perf_counter()
        work()
        seconds[name] = time.perf_counter() - began
    assert all(balance.holds for balance in stores[0].balances())
    return {**{name: round(count / took, 1) for name, took in seconds.items()},
            "all": round(count / sum(seconds.values()), 1)}


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stores")
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=16)
    options = parser.parse_args()
    need_postgresql()
    folder = Path(tempfile.mkdtemp(prefix="bench-stores-"))
    result: dict[str, Any] = {}
    server = PostgreSQL(Path(tempfile.mkdtemp(prefix="bench-postgresql-")), synced=True)
    try:
        result["SQLite"] = one(folder / "sqlite", [None], options)
        server.create()
        server.start()
        for name, nodes in (("PostgreSQL", 1), ("PostgreSQL, two nodes in one process", 2)):
            database = server.add_database()
            result[name] = one(folder / f"served{nodes}", [server.section(database)] * nodes, options)
            with server.admin(database) as admin:
                size = (admin.execute("SELECT pg_database_size(current_database())").fetchone() or (0,))[0]
            result[name]["bytes per message"] = round(size / options.messages)
    finally:
        server.stop()
        for place in (folder, server.folder):
            shutil.rmtree(place, ignore_errors=True)
    print(json.dumps(result, indent=1))


def one(folder: Path, sections: Sequence[StoreSection | None], options: argparse.Namespace) -> dict[str, Any]:
    """Measure one line of the table."""
    stores = [Store.open(folder / str(number), served=section) for number, section in enumerate(sections)]
    try:
        for store in stores:
            store.recover()
        rates: dict[str, Any] = measured(stores, options.messages, options.threads)
    finally:
        for store in stores:
            store.close()
    if sections[0] is None:
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        rates["bytes per message"] = round(size / options.messages)
    return rates


if __name__ == "__main__":
    main()

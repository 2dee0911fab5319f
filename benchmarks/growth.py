"""How rate and memory change as the store and the work grow.

``python -m benchmarks.growth --stored 0 --stored 100000 --due 1000000``

* ``--stored N``: the store holds N finished applications before the hub starts. They are written by SQL. The
  youngest 100,000 have content, the others are proofs. Then the rate of new ones is measured. 5,000,000 need
  about 20 GB of disk.
* ``--due N``: N deliveries wait for their next try at 200 other destinations.
* ``--run N``: N applications go through one hub. The memory of the main process and of each worker is
  measured, early and at the end.
* ``--large BYTES``: one application of this size. The additional peak memory of all processes is measured.

A hub with an empty store is measured before and after each filled one. The ratio is taken to the mean of the
two.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2

from benchmarks import application, figures, load
from benchmarks.arrivals import Arrivals
from benchmarks.subjects import Hub, Place, place
from benchmarks.throughput import run
from hub.store.database.tables import micros
from hub.store.store import Store

CHUNK = 100_000
"""Applications that are written in one transaction."""
WITH_CONTENT = 100_000
"""How many of the youngest applications have content."""
NEEDED = 4000
"""Bytes of disk that one application needs, roughly."""
DESTINATIONS = 200
"""To how many destinations the waiting deliveries go."""

_SERIES = "WITH RECURSIVE s(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM s WHERE n + 1 < :first + :count)"
_ID = "printf('019a0000-0000-7%03x-8000-%012x', n % 4096, n)"
_DELIVERY = f"printf('d-%s', {_ID})"
_NAME = "printf('alt-%d', n)"
_DIGEST = "printf('%064x', n)"


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = figures.parser("growth", __doc__, rounds=3)
    parser.add_argument("--stored", type=int, action="append", default=[],
                        help="applications in the store, may be repeated")
    parser.add_argument("--due", type=int, action="append", default=[],
                        help="waiting deliveries in the store, may be repeated")
    parser.add_argument("--count", type=int, default=1500, help="applications per round")
    parser.add_argument("--run", type=int, default=0, help="applications through one hub, for its memory")
    parser.add_argument("--large", type=int, default=0, help="bytes of one large application")
    options = parser.parse_args()
    return figures.run(options, measure, options.rounds, options.count, options.stored, options.due,
                       options.run, options.large)


def measure(
    rounds: int = 3, count: int = 1500, stored: Sequence[int] = (), due: Sequence[int] = (), through: int = 0,
    large: int = 0
) -> dict[str, Any]:
    """Measure everything that the arguments name."""
    found: dict[str, Any] = {"rows": [], "invalid": []}
    with place(["amqp"]) as here:
        for name, kind, amount in [(f"{amount:,} stored", "stored", amount) for amount in stored] + [
            (f"{amount:,} due", "due", amount) for amount in due
        ]:
            free = shutil.disk_usage(here.folder).free
            if amount * NEEDED + 2_000_000_000 > free:
                found["invalid"].append(f"{name}: needs {amount * NEEDED >> 30} GB of disk, {free >> 30} GB "
                                        "are free")
                continue
            found["rows"].append(filled(here, name, kind, amount, rounds, count))
        if through:
            found["memory"] = memory_over(here, through)
        if large:
            found["large"] = large_one(here, large)
    return found


def filled(here: Place, name: str, kind: str, amount: int, rounds: int, count: int) -> dict[str, Any]:
    """Measure an empty and a filled store in turn."""
    label = f"{kind}-{amount}"
    empty, full = (Hub(here, "amqp", "folder", name=f"empty-{label}"),
                   Hub(here, "amqp", "folder", name=f"full-{label}"))
    began = time.monotonic()
    fill(full.state, amount if kind == "stored" else 0, amount if kind == "due" else 0)
    figures.progress(f"{name}: filled in {time.monotonic() - began:.0f} s")
    starts = {}
    for hub in (empty, full):
        began = time.monotonic()
        hub.start()
        starts[hub.name] = time.monotonic() - began
        run(hub, "warm", 0, 100, "4 KB")
    rates: dict[str, list[float]] = {empty.name: [], full.name: []}
    ratios = []
    for turn in range(rounds):
        before = _rate(empty, f"a{turn}", count)
        rate = _rate(full, f"b{turn}", count)
        after = _rate(empty, f"c{turn}", count)
        rates[empty.name] += [before, after]
        rates[full.name].append(rate)
        ratios.append(rate / ((before + after) / 2))
        figures.progress(f"{name}, round {turn + 1} of {rounds}: empty {before:,.0f} and {after:,.0f}/s, "
                         f"full {rate:,.0f}/s")
    row = {
        "what": name,
        "empty": figures.summary(rates[empty.name]),
        "full": figures.summary(rates[full.name]),
        "to_empty": figures.summary(ratios),
        "start_seconds": round(starts[full.name], 1),
        "memory_mb": {"empty": empty.main_memory() >> 20, "full": full.main_memory() >> 20},
        "store_mb": sum(file.stat().st_size for file in full.state.rglob("*") if file.is_file()) >> 20,
    }
    for hub in (empty, full):
        hub.close()
        shutil.rmtree(hub.state)
    return row


def _rate(hub: Hub, prefix: str, count: int) -> float:
    found = run(hub, prefix, 0, count, "4 KB")
    if found["faults"]:
        raise RuntimeError("; ".join(found["faults"]))
    return float(found["rate"])


def memory_over(here: Place, count: int) -> dict[str, Any]:
    """The memory (MB) of main process and workers after a tenth of the applications, and after all."""
    hub = Hub(here, "amqp", "folder", name="long")
    hub.start()
    portion = min(count, 4000)
    seen: list[dict[str, Any]] = []
    done = 0
    while done < count:
        run(hub, "long", done, portion, "4 KB")
        done += portion
        sizes = hub.memory()
        main = sizes.pop(hub.processes[0].pid)
        seen.append({"after": done, "main": main >> 20, "workers": [size >> 20 for size in sizes.values()]})
        figures.progress(
            f"{done:,} of {count:,}: main {main >> 20} MB, workers "
            f"{', '.join(str(s) for s in seen[-1]['workers'])} MB"
        )
    hub.close()
    return {"early": seen[len(seen) // 10], "end": seen[-1]}


def large_one(here: Place, size: int) -> dict[str, Any]:
    """The additional peak memory of all processes together, for one application of `size` bytes."""
    hub = Hub(here, "https", "folder", "5 MB", name="large")
    hub.start()
    run(hub, "warm", 0, 20, "5 MB")
    for pid in hub.pids():
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the kernel counts the peak anew
    before = sum(hub.memory().values())
    body = application.document("large-1", 1, (size - 4000) // 4 * 3)
    with Arrivals(hub.drop) as arrivals:
        with load.connect(hub.https, here.tls) as line:
            began = time.monotonic()
            status = load.exchange(line, load.request("large-1", body))
        if status != 202:
            raise RuntimeError(f"the large application was answered {status}")
        most = before
        for _ in _until(lambda: arrivals.count() > 0, 120):
            most = max(most, sum(hub.memory().values()))
        took = time.monotonic() - began
    peaks = sum(_peak(pid) for pid in hub.pids())
    hub.close()
    return {
        "bytes": len(body),
        "seconds": round(took, 1),
        "before_mb": before >> 20,
        "together_mb": (most - before) >> 20,
        "peaks_mb": (peaks - before) >> 20,
        "times": round((peaks - before) / len(body), 2),
    }


def _until(condition: Any, seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError("the large application did not arrive")
        yield
        time.sleep(0.005)


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    return 0


# --- filling a store ----------------------------------------------------------------------------------------


def fill(state: Path, stored: int, due: int) -> None:
    """Write `stored` finished applications, and `due` ones whose delivery waits for its next try."""
    state.mkdir(parents=True, exist_ok=True)
    Store.open(state).close()  # makes the tables
    connection = dbapi2.connect(str(state / "store.sqlite3"), isolation_level=None)
    for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-400000", "foreign_keys=OFF"):
        connection.execute(f"PRAGMA {pragma}").fetchall()
    now = micros(datetime.now(UTC))
    for first in range(0, stored, CHUNK):
        _chunk(connection, now, first, min(CHUNK, stored - first), content=first >= stored - WITH_CONTENT,
               due=False)
    for first in range(0, due, CHUNK):
        _chunk(connection, now, stored + first, min(CHUNK, due - first), content=False, due=True)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.close()


def _chunk(connection: Any, now: int, first: int, count: int, *, content: bool, due: bool) -> None:
    """Write the rows that the hub itself would have left, and count them in the ledger."""
    hour = timedelta(hours=1) // timedelta(microseconds=1)
    given = {"first": first, "count": count}
    then = f"{now - 48 * hour} + n"
    municipality = {"tenant": "'musterstadt'", "ags": f"'{application.AGS}'",
                    "service": f"'{application.SERVICE}'"}
    digests = {"config_digest": _DIGEST, "mapping_digest": _DIGEST}
    finished = "NULL" if due else f"{now - 24 * hour}"
    connection.execute("BEGIN")
    _insert(connection, "message", given, {
        "id": _ID, **municipality, "sender": "'amt24'", "inlet": "'amt24'", "test": "0",
        "state": "'routed'" if due else "'completed'",
        "received_at": then, "accepted_day": "'2026-11-20'", "finished_at": finished, "case": _NAME,
        "key": _NAME, "content_digest": _DIGEST, "source": "'serviceportal'",
        "form_id": "'6000663:Leistungsmessung:v1.0'", "rule": "'musterstadt/leistungsmessung/v1'", **digests,
        "payload_deleted_at": "NULL" if due or content else f"{now - hour}"})
    _insert(connection, "part", given, {
        "message_id": _ID, "no": "1", "role": "'received'", "name": "'application'",
        "media_type": "'application/xml'", "size": "3800", "sha256": _DIGEST, "blob": "printf('b-%d', n)"})
    for letter, size in (("b", 3800 if content else 600), ("m", 600)) if content or due else ():
        _insert(connection, "blob", given, {
            "id": f"printf('{letter}-%d', n)", "message_id": _ID, "tenant": municipality["tenant"],
            "size": "3800", "sha256": _DIGEST, "content": f"zeroblob({size})"})
    _insert(connection, "duplicate", given, {
        "key": "printf('%064x', n * 7919)", "message_id": _ID, "content_digest": _DIGEST,
        "kept_until": f"{now + 700 * hour}"})
    _insert(connection, "delivery", given, {
        "id": _DELIVERY, "message_id": _ID, **municipality, "recipient": "'ziel'",
        "destination": (f"printf('musterstadt/fern-%03d', n % {DESTINATIONS})" if due
                        else "'musterstadt/ziel'"),
        "generation": "1", "test": "0", "case": _NAME, "state": "'due'" if due else "'done'",
        "created_at": then, "first_due_at": then, "due_at": f"{now + 2 * hour} + n" if due else "NULL",
        "fresh": "0", "attempts": "1", "finished_at": finished, "manifest": "printf('m-%d', n)", **digests})
    steps = (("accepted", "NULL", "'received'"), ("routed", "'received'", "'routed'"),
             ("claimed", "'due'", "'delivering'"),
             ("later", "'delivering'", "'due'") if due else ("done", "'delivering'", "'done'"))
    for name, before, after in steps:
        _insert(connection, "event", given, {
            "at": then, "message_id": _ID,
            "delivery_id": "NULL" if name in ("accepted", "routed") else _DELIVERY,
            "name": f"'{name}'", "before": before, "after": after})
    _count(connection, count, due=due)
    connection.execute("COMMIT")


def _insert(connection: Any, table: str, given: dict[str, int], columns: dict[str, str]) -> None:
    """Insert a row for each number of the series. `columns` holds expressions of SQL."""
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(columns.values())
    connection.execute(
        f"{_SERIES} INSERT INTO {table} ({names}) SELECT {values} FROM s", given)  # nosec B608 - names of ours


def _count(connection: Any, count: int, *, due: bool) -> None:
    """Count the rows in the ledger."""
    states = [("message", "routed"), ("message_total", "accepted")] if due else [
        ("message", "completed"), ("message_total", "accepted"), ("message_total", "completed")]
    names = [("delivery", "due"), ("delivery_total", "created"), ("delivery_total", "later")] if due else [
        ("delivery", "done"), ("delivery_total", "created"), ("delivery_total", "done")]
    places = ([(f"musterstadt/fern-{number:03}", count // DESTINATIONS) for number in range(DESTINATIONS)]
              if due else [("musterstadt/ziel", count)])
    rows = [(kind, "", name, count) for kind, name in states]
    rows += [(kind, where, name, amount) for kind, name in names for where, amount in places]
    connection.executemany(
        'INSERT INTO tally (kind, service, destination, name, "count") VALUES (?, ?, ?, ?, ?) '
        'ON CONFLICT DO UPDATE SET "count" = "count" + excluded."count"',
        [(kind, application.SERVICE, where, name, amount) for kind, where, name, amount in rows])


if __name__ == "__main__":
    raise SystemExit(main())

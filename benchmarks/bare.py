"""The bare pipeline: what the library calls alone can do, at the same durability as the hub. ``python -m
benchmarks.bare FILE``

::

    AMQP (py-amqp, prefetch 1000)     SQLite (WAL, FULL)       lxml, 2 threads          syncfs HTTPS (uvicorn,
    h11)       ──► inbox ──► one commit ──► parse XSD XSLT write ──► one per batch, rename ──► ack
                                             per batch                               SMTP, SFTP: 4 kept
                                             connections

Every stage takes all that waits for it as one batch, so batches grow with the load and with the price of a
sync; while much is in hand, store and folder let their batch gather for 20 ms (where a sync takes a third of
one, the rate nearly doubles by that). This is the best layout that was measured among one after the other,
single fsyncs, a pool of fsyncs and syncfs. A message is acknowledged when its file is durable under its final
name (HTTPS: when its row is). What a killed run left undone is done at the next start; names come from the
message's key, so a second time leaves one copy. It has no rules, no retries, no events, no metrics and no
isolation: it is the yardstick, not a hub.

FILE is JSON: ``{"state", "in": {"kind": "amqp" | "https", …}, "out": {"kind": "folder" | "smtp" | "sftp", …},
"threads"}``. Imports nothing from the hub."""

from __future__ import annotations

import argparse
import json
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pysqlite3 import dbapi2

from benchmarks.bare_inlets import Amqp, Https
from benchmarks.bare_outlets import Folder, Mail, Sftp
from benchmarks.bare_parts import LARGE, Done, Item, T, drain, syncfs, write
from benchmarks.chain import Chain

CHUNK = 64
"""Messages that one thread takes at once."""
MUCH = 64
"""Messages in hand from which a batch may gather."""
LINGER = 0.02
"""Seconds for which it does."""


class Pipeline:
    """The stages store, XML and outlet, each with threads of its own.

    `accepted` and `finished` are called with the items of a batch.
    """

    def __init__(
        self,
        state: Path,
        outlet: Folder | Mail | Sftp,
        threads: int = 2,
        accepted: Callable[[Sequence[Item]], None] = lambda _: None,
        finished: Callable[[Sequence[Item]], None] = lambda _: None,
    ) -> None:
        self._state = state
        self._outlet = outlet
        self._accepted = accepted
        self.finished = finished
        self.inbox: queue.SimpleQueue[Item | Done] = queue.SimpleQueue()
        self._rendering: queue.SimpleQueue[list[Item]] = queue.SimpleQueue()
        self._leaving: queue.SimpleQueue[tuple[Item, Any]] = queue.SimpleQueue()
        self._in_hand = 0
        self._chain = Chain()
        state.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY)
        workers: list[Callable[[], None]] = [self._store, *[self._render] * threads]
        workers += [self._drop] if isinstance(outlet, Folder) else [self._send] * 4
        for work in workers:
            threading.Thread(target=self._guarded, args=(work,), daemon=True).start()

    def put(self, item: Item) -> None:
        """Hand a message in. Any thread may call it."""
        self.inbox.put(item)

    def _take(self, waiting: queue.SimpleQueue[T]) -> list[T]:
        """Everything that waits, at least one item. While many messages are in hand it gathers first."""
        first = waiting.get()
        if self._in_hand > MUCH:
            time.sleep(LINGER)
        return [first, *drain(waiting)]

    @staticmethod
    def _guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(70)  # without one of its stages the pipeline would only hang

    def _store(self) -> None:
        connection = dbapi2.connect(str(self._state / "bare.sqlite3"), isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=4000"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute(
            "CREATE TABLE IF NOT EXISTS message (key TEXT PRIMARY KEY, body BLOB, done INTEGER NOT NULL) "
            "WITHOUT ROWID"
        )
        connection.execute("CREATE INDEX IF NOT EXISTS open ON message (key) WHERE done = 0")
        left = [
            Item(key, self._body(key, body), None)
            for key, body in connection.execute("SELECT key, body FROM message WHERE done = 0").fetchall()
        ]
        self._in_hand = len(left)
        self._distribute(left)
        # the messages under way, each with the repetitions that came meanwhile
        again: dict[str, list[Item]] = {item.key: [] for item in left}
        while True:
            batch = self._take(self.inbox)
            items = [each for each in batch if isinstance(each, Item)]
            done = [each for each in batch if isinstance(each, Done)]
            keys = json.dumps([item.key for item in items])
            known = {
                key
                for (key,) in connection.execute(
                    "SELECT key FROM message WHERE key IN (SELECT value FROM json_each(?))", (keys,)
                ).fetchall()
            }
            new = [item for item in items if item.key not in known]
            self.store_large(new)
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO message VALUES (?, ?, 0)",
                [(item.key, None if len(item.body) >= LARGE else item.body) for item in new],
            )
            connection.executemany("UPDATE message SET done = 1 WHERE key = ?",
                                   [(each.key,) for each in done])
            connection.execute("COMMIT")
            self._in_hand += len(new) - len(done)
            self._accepted(items)
            self._distribute(new)
            again |= {item.key: [] for item in new}
            for item in items:
                if item.key in known:
                    again[item.key].append(item) if item.key in again else self.finished([item])
            for each in done:
                self.finished(again.pop(each.key))
                if each.large:
                    self._place(each.key).unlink(missing_ok=True)

    def store_large(self, items: Sequence[Item]) -> None:
        """Bodies that are files, durable before their rows are."""
        large = [item for item in items if len(item.body) >= LARGE]
        for item in large:
            write(str(self._place(item.key)), item.body)
        if large:
            syncfs(self._fd)

    def _place(self, key: str) -> Path:
        return self._state / f"{key}.body"

    def _body(self, key: str, stored: bytes | None) -> bytes:
        return self._place(key).read_bytes() if stored is None else stored

    def _distribute(self, items: Sequence[Item]) -> None:
        for first in range(0, len(items), CHUNK):
            self._rendering.put(list(items[first : first + CHUNK]))

    def _render(self) -> None:
        while True:
            for item in self._rendering.get():
                rendering, attachments = self._chain(item.body)
                if isinstance(self._outlet, Folder):
                    self._leaving.put((item, self._outlet.write(item, rendering, attachments)))
                else:
                    self._leaving.put((item, (rendering, attachments)))

    def _drop(self) -> None:
        assert isinstance(self._outlet, Folder)
        while True:
            batch = self._take(self._leaving)
            self._outlet.finish(written for _, written in batch)
            self.done([item for item, _ in batch])

    def _send(self) -> None:
        assert not isinstance(self._outlet, Folder)
        while True:
            item, (rendering, attachments) = self._leaving.get()
            self._outlet.send(item, rendering, attachments)
            self.done([item])

    def done(self, items: Sequence[Item]) -> None:
        """They have left."""
        for item in items:
            self.inbox.put(Done(item.key, len(item.body) >= LARGE))
        self.finished(items)


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bare", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, help="the settings, JSON")
    given = json.loads(parser.parse_args().file.read_text())
    kinds: dict[str, Any] = {"folder": Folder, "smtp": Mail, "sftp": Sftp, "amqp": Amqp, "https": Https}
    inlet = kinds[given["in"].pop("kind")](**given["in"])
    outlet = kinds[given["out"].pop("kind")](**given["out"])
    pipeline = Pipeline(
        Path(given["state"]),
        outlet,
        given.get("threads", 2),
        getattr(inlet, "accepted", lambda _: None),
        getattr(inlet, "finished", lambda _: None),
    )
    inlet.serve(pipeline)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

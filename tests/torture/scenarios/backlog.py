"""A receiver that was away for long comes back to its backlog; and one of fifty receivers hangs.

Neither may affect the others.
"""

from __future__ import annotations

import sqlite3
import subprocess
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.services import free_port
from tests.services.proxy import Proxy
from tests.torture.document import MUNICIPALITIES, WIDE
from tests.torture.stage import Stage, wait
from tests.torture.steps import Progress, Result

PENDING = "SELECT count(*) FROM delivery WHERE destination = ? AND state IN ('due', 'delivering', 'in_doubt')"
DONE = ("SELECT destination, created_at / 1e6, finished_at / 1e6 FROM delivery "
        "WHERE state = 'done' AND destination LIKE '%/postfach'")
SPAN = 5.0
"""Seconds over which a rate is measured. Deliveries of one claim are settled at the same moment."""

SLACK = 25
"""How many more deliveries than the rate allows may be in such a span: saved tokens, and one batch."""


class Arrived(NamedTuple):
    """One finished delivery, with its moments in the ledger (seconds since 1970)."""

    destination: str
    made: float
    done: float


def backlog(folder: Path, seed: int, *, pending: int, rate: int, launcher: Sequence[str] = ("-m", "hub"),
            progress: Progress = print) -> Result:
    """The mailbox of one municipality is away while `pending` applications come for it, and comes back.

    It gets them at its own `rate` per second, neither faster nor much slower. The
    mailboxes of the others get theirs as before.
    """
    with Stage(folder, seed) as stage, closing(Proxy(free_port())) as proxy:
        municipality = next(iter(MUNICIPALITIES.values()))
        away = f"{municipality}/postfach"
        _behind(stage, next(iter(MUNICIPALITIES)), proxy.port, f'rate = "{rate}/s"')
        stage.hub.launcher = launcher
        stage.hub.start()
        others = Paced(stage, stage.producer)
        quiet = others.send(6.0)
        more = stage.process("producer", str(stage.world.folder), f"m{seed}", "4")
        _tell(more, pending)
        wait(lambda: _count(stage, away) >= pending, f"{pending} wait for {away}", 60 + pending / 10)
        stage.extra_hits += 1
        progress(f"{_count(stage, away)} wait for {away}")
        proxy.target = stage.world.port("smtp")
        back = time.time()
        meanwhile: list[tuple[float, float]] = []
        limit = back + 90 + 3 * pending / rate
        while _count(stage, away) and time.time() < limit:
            meanwhile.append(others.send(2.0))
        drained = time.time()
        assert more.stdin is not None
        more.stdin.close()
        stage.drain()
        arrived = _arrived(stage)
        own = sorted(row.done for row in arrived if row.destination == away and row.done >= back)
        rest = [row for row in arrived if row.destination != away]
        report = stage.check()
    before, after = _p99(rest, [quiet]), _p99(rest, meanwhile)
    fastest = max((bisect_left(own, start + SPAN) - number for number, start in enumerate(own)), default=0)
    waited = own[:pending]
    took = waited[-1] - waited[0] if waited else 0.0
    progress(f"{len(waited)} drained in {took:.0f} s ({len(waited) / max(took, 1e-9):.0f}/s, allowed "
             f"{rate}/s); "
             f"most in {SPAN:.0f} s: {fastest}; the others' p99 {before * 1000:.0f} ms before, "
             f"{after * 1000:.0f} ms meanwhile")
    faults = [
        f"{fastest} deliveries within {SPAN:.0f} s, allowed {rate}/s"
    ] if fastest > rate * SPAN + SLACK else []
    faults += [f"not drained {drained - back:.0f} s after it came back"] if drained >= limit else []
    return {**report, "faults": faults, "drained per second": round(len(waited) / max(took, 1e-9), 1),
            "others' p99 (ms)": [round(before * 1000), round(after * 1000)]}


def hanging(folder: Path, seed: int, *, rounds: int, seconds: float, per_second: int = 10, most: float = 2.0,
            launcher: Sequence[str] = ("-m", "hub"), progress: Progress = print) -> Result:
    """One of fifty destinations, to which a third of all goes, takes connections and never answers.

    It does so in every second stretch of `seconds`. Within the same run, the 99th percentile of the others'
    times grows by at most the factor `most`.
    """
    with Stage(folder, seed, names=WIDE,
               smtp_timeout=3) as stage, closing(Proxy(stage.world.port("smtp"))) as proxy:
        ags, municipality = next(iter(WIDE.items()))
        _behind(stage, ags, proxy.port, "")
        stage.hub.launcher = launcher
        stage.hub.start()
        wide = stage.process("producer", str(stage.world.folder), f"w{seed}", "4")
        paced = Paced(stage, wide, per_second)
        paced.send(5.0)  # until everything has run once
        calm, hung = [], []
        for number in range(rounds):
            calm.append(paced.send(seconds))
            proxy.hang()
            stage.extra_hits += 1
            hung.append(paced.send(seconds))
            proxy.behave()
            proxy.drop()
            progress(f"round {number + 1} of {rounds}: {stage.acknowledged()} acknowledged")
            paced.send(3.0)
        assert wide.stdin is not None
        wide.stdin.close()
        stage.drain()
        rest = [row for row in _arrived(stage) if row.destination != f"{municipality}/postfach"]
        report = stage.check()
    before, after = _p99(rest, calm), _p99(rest, hung)
    ratio = after / max(before, 1e-9)
    progress(f"the other 49 destinations' p99: {before * 1000:.0f} ms, while one hangs {after * 1000:.0f} "
             f"ms: ratio {ratio:.2f}")
    faults = [
        f"the others' p99 grew {ratio:.2f} times while one hung, allowed {most}"] if ratio > most else []
    return {**report, "faults": faults, "p99 ratio": round(ratio, 2),
            "p99 (ms)": [round(before * 1000), round(after * 1000)]}


class Paced:
    """Lets a producer send at an even rate."""

    def __init__(self, stage: Stage, producer: subprocess.Popen[bytes], per_second: int = 10) -> None:
        self._producer = producer
        self._pause = 1.0 / per_second
        self._sent = 0

    def send(self, seconds: float) -> tuple[float, float]:
        """Send for so many seconds. Returns the moments of begin and end."""
        begin = time.time()
        while time.time() < begin + seconds:
            self._sent += 1
            _tell(self._producer, self._sent)
            time.sleep(self._pause)
        return begin, time.time()


def _tell(producer: subprocess.Popen[bytes], count: int) -> None:
    assert producer.stdin is not None
    producer.stdin.write(f"{count}\n".encode())
    producer.stdin.flush()


def _behind(stage: Stage, ags: str, port: int, policy: str) -> None:
    """Let the mail of one municipality go to another port, with a policy of its own."""
    file = stage.world.config.parent / "municipalities" / f"{ags}.toml"
    file.write_text(file.read_text().replace('connector = "smtp"\n',
                                             f'connector = "smtp"\nport = {port}\n{policy}\n'))


def _rows(stage: Stage, query: str, *values: str) -> Sequence[tuple[object, ...]]:
    file = (stage.world.state / "store.sqlite3").as_uri()
    with closing(sqlite3.connect(f"{file}?mode=ro", uri=True, timeout=30)) as connection:
        return connection.execute(query, values).fetchall()


def _count(stage: Stage, destination: str) -> int:
    return int(str(_rows(stage, PENDING, destination)[0][0]))


def _arrived(stage: Stage) -> list[Arrived]:
    return [Arrived(str(name), float(str(made)), float(str(done))) for name, made, done in _rows(stage, DONE)]


def _p99(rows: Sequence[Arrived], spans: Sequence[tuple[float, float]]) -> float:
    """The 99th percentile of the seconds from creation to done, of what was made in these ordered spans.

    0 when nothing was made.
    """
    begins = [begin for begin, _ in spans]
    times = sorted(row.done - row.made for row in rows
                   if (place := bisect_right(begins, row.made)) and row.made <= spans[place - 1][1])
    return times[min(len(times) - 1, int(len(times) * 0.99))] if times else 0.0



"""One run: starts, watches and ends the hub (the victim) and the processes around it."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.services import free_port
from tests.torture.world import World, make

ROOT = Path(__file__).parents[2]
OPEN = re.compile(
    r'^drehscheibe_(?:messages|deliveries)\{.*state="(?:received|deferred|due|delivering|in_doubt)"\} '
    r'([0-9.e+]+)$',
                  re.MULTILINE)


class NotInTime(Exception):
    """Something did not happen in time. The text says what."""


def wait(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Wait for a condition. Raises `NotInTime`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise NotInTime(f"waited {seconds:.0f} s in vain for: {what}")
        time.sleep(0.01)


@dataclass
class Hub:
    """The victim. `launcher` stands before the hub's own arguments."""

    world: World
    launcher: Sequence[str] = ("-m", "hub")
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    lives: int = 0
    refusals: int = 0
    status: int | None = None

    def start(self, *, ready: bool = True) -> None:
        """Start the hub once more."""
        self.lives += 1
        with self.world.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.launcher, "--config", str(self.world.config), *self.options, "run"],
                cwd=ROOT, stdout=log,
                stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                env={**os.environ, **self.environment})
        if ready:
            wait(self.ready, "the hub is ready")

    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def ready(self) -> bool:
        """Whether the hub takes messages. Raises `NotInTime` when it has ended."""
        if self.process is not None and self.process.poll() == os.EX_TEMPFAIL and self.refusals < 5:
            self.refusals += 1  # the lock of the dead one is not free yet: start again, as systemd would
            self.start(ready=False)
            return False
        if not self.alive():
            raise NotInTime(f"the hub ended by itself; see {self.world.log}")
        try:
            self.http("/readyz")
        except OSError:
            return False
        return True

    def http(self, path: str) -> str:
        """A page of the status port. Raises `OSError`, also when the hub dies meanwhile."""
        try:
            port = self.status or self.world.port("status")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return str(answer.read().decode())
        except http.client.HTTPException as error:
            raise ConnectionError("the page was cut off") from error

    def signal(self, number: int) -> None:
        """Send a signal to the whole process group. SIGHUP goes to the main process only."""
        assert self.process is not None
        if self.process.poll() is None:
            (os.kill if number == signal.SIGHUP else os.killpg)(self.process.pid, number)

    def freeze(self) -> None:
        """Send SIGSTOP, and wait until no thread runs. A thread may still be inside a system call."""
        assert self.process is not None
        self.signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{self.process.pid}/task")
        wait(lambda: all(task.joinpath("stat").read_text().rpartition(")")[2].split()[0] in "TDtZ"
                         for task in tasks.iterdir()),
             "every thread stands still")

    def kill(self) -> None:
        """Send SIGKILL, and wait."""
        assert self.process is not None
        self.signal(signal.SIGKILL)
        self.process.wait(30)

    def stop(self) -> int:
        """Send SIGTERM, and wait. Returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def run_to_end(self) -> int:
        """Start, and wait until the hub ends by itself. Returns the exit code, or 0 for one that stays."""
        self.start(ready=False)
        assert self.process is not None
        try:
            return self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            return 0

    def took_over(self) -> bool:
        """Start the hub. False when the store refuses it."""
        self.start(ready=False)
        try:
            wait(lambda: not self.alive() or self.serves(), "a second instance starts or is refused")
        finally:
            if self.alive() and not self.serves():
                self.kill()
        return self.alive()

    def serves(self) -> bool:
        """Whether the hub says that it takes messages."""
        try:
            self.http("/readyz")
        except OSError:
            return False
        return True

    def settled(self) -> bool:
        """Whether nothing is open any more."""
        try:
            counts = OPEN.findall(self.http("/metrics"))
        except OSError:
            return False
        return not any(float(count) for count in counts)


class Stage:
    """A world with its processes. A context manager: it ends all of them."""

    def __init__(self, folder: Path, seed: int, *, threads: int = 4, **options: Any) -> None:
        self.folder = folder
        self.seed = seed
        self.dice = random.Random(seed)
        folder.mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.faults = folder / "sink-faults.json"
        tls = folder / "world" / "tls" / "ca"
        self.sink = self.process("sink", str(folder / "mails.jsonl"), str(self.faults),
                                 str(tls / "server.pem"),
                                  str(tls / "server.key"))
        assert self.sink.stdout is not None
        self.world = make(folder / "world", smtp=int(self.sink.stdout.readline()), **options)
        self.world.mails.symlink_to(folder / "mails.jsonl")
        self.hub = Hub(self.world)
        self.kills = 0
        self.extra_hits = 0
        self.producer = self.process("producer", str(self.world.folder), f"s{seed}", str(threads))

    def process(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a process that the injector never kills."""
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes.append(subprocess.Popen([sys.executable, "-m", f"tests.torture.{name}",
                                                    *arguments], cwd=ROOT,
                                                   stderr=log, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        return self.processes[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.processes, self.hub.process):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait(30)
            for pipe in (process.stdin, process.stdout) if process is not None else ():
                if pipe is not None:
                    pipe.close()

    def budget(self, count: int) -> None:
        """Let the producer send up to `count` in all."""
        assert self.producer.stdin is not None
        self.producer.stdin.write(f"{count}\n".encode())
        self.producer.stdin.flush()

    def acknowledged(self) -> int:
        """How many answers 202 there were so far."""
        return self.world.ledger.read_bytes().count(b'{"ok"') if self.world.ledger.exists() else 0

    def reach(self, count: int) -> None:
        """Wait until so many are acknowledged. Raises `NotInTime`."""
        wait(lambda: self.acknowledged() >= count, f"{count} answers")

    def settles(self) -> None:
        """Wait until nothing is open. Raises `NotInTime`."""
        wait(self.hub.settled, "nothing is open any more")

    def hits(self) -> int:
        """How many injuries hit something in flight.

        The hub says so at its next start, or a connection was cut.
        """
        found = self.extra_hits
        for line in self.world.log.read_text().splitlines():
            if "did not end cleanly" in line or "a node is not heard of any more" in line:
                row = json.loads(line)
                found += any(row[name] for name in ("due", "in_doubt", "suspects"))
        return found

    def complaints(self) -> int:
        """How often the hub warned, refused, or cut a connection so far."""
        ledger, log = (file.read_bytes() if file.exists() else b""
                       for file in (self.world.ledger, self.world.log))
        return (ledger.count(b'{"refused"') + ledger.count(b'{"cut"') + log.count(b'"level": "warning"')
                + log.count(b'"level": "error"') + log.count(b'"level": "critical"'))

    def log_has(self, text: str) -> bool:
        """Whether the hub's log has this text."""
        return text in self.world.log.read_text()

    def second(self) -> Hub:
        """Another instance on the same store, with other ports."""
        https, status = free_port(), free_port()
        return Hub(self.world, options=("--set", f"inlets.portal.port={https}", "--set",
                                        f"status.port={status}"), status=status)

    def goes_on(self, count: int, seconds: float) -> bool:
        """Whether `count` messages are acknowledged and settled before the hub ends, in this time."""
        try:
            wait(lambda: not self.hub.alive() or (self.acknowledged() >= count and self.hub.settled()), "",
                 seconds)
        except NotInTime:
            return False
        return self.hub.alive()

    def ends_or_goes_on(self, count: int) -> bool:
        """Whether the hub either ends by itself or settles all messages."""
        try:
            wait(lambda: not self.hub.alive() or (self.acknowledged() >= count and self.hub.settled()), "",
                 60)
        except NotInTime:
            return False
        return True

    def mail_fault(self, command: str, kind: str, every: int = 1) -> None:
        """Let the mail sink fail at this command from now on."""
        self.mail_faults([{"command": command, "kind": kind, "every": every}])

    def mail_faults(self, plans: Sequence[Mapping[str, Any]]) -> None:
        """Let the mail sink fail at these commands, and no others, from now on."""
        fresh = self.faults.with_suffix(".new")
        fresh.write_text(json.dumps(plans))
        fresh.replace(self.faults)

    def drain(self, seconds: float = 300.0) -> None:
        """Wait until all is sent and settled, then stop the hub. The checker judges what is still open."""
        assert self.producer.stdin is not None
        self.producer.stdin.close()
        try:
            wait(lambda: self.producer.poll() is not None, "every probe is acknowledged", seconds)
            wait(self.hub.settled, "nothing is open any more", seconds)
        except NotInTime as error:
            (self.folder / "drain.txt").write_text(str(error))
        self.world.metrics.write_text(self.hub.http("/metrics"))
        self.hub.stop()

    def check(self) -> dict[str, Any]:
        """Run the checker. Returns its report."""
        done = subprocess.run([sys.executable, "-m", "tests.torture.checker", str(self.world.folder)],
                              cwd=ROOT, check=True,
                              stdout=subprocess.PIPE)
        report: dict[str, Any] = json.loads(done.stdout)
        return {"kills": self.kills, "hits": self.hits(), "lives": self.hub.lives, **report}

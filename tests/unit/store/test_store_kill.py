"""Kill it and look: whatever was answered OK is there afterwards, with its bytes."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.store_kit import opened, unbalanced

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
PRODUCER = """
import hashlib, os, sys, threading, time
from functools import partial
from pathlib import Path
from hub.store import writer
from hub.store.store import Store
from tests.unit.store_kit import accept, incoming, spooled

commits = []
def commit(transaction):
    commits.append(1)
    if "crash" in sys.argv and len(commits) == 3:
        # an answer given too early gets out in this time; there is none to wait for otherwise
        time.sleep(0.3)
        os.kill(os.getpid(), 9)
    transaction.commit()

if "eager" in sys.argv:  # the planted fault: an answer before the commit
    resolve, write = writer.resolve, writer.Batches.write
    def early(self, connection, batch):
        self.commit = lambda transaction: (resolve(batch), commit(transaction))
        write(self, connection, batch)
    writer.Batches.write, writer.resolve = early, lambda batch: None

store = Store.open(Path(sys.argv[1]), writer=partial(writer.Writer, commit=commit))
store.recover()
run = os.urandom(4).hex()
def work(thread):
    for number in range(100000):
        content = f"{run} {thread} {number} ".encode() * (1 if number % 7 else 8000)
        part = spooled(store.spool, content, f"{thread}-{number}")
        accepted = accept(store, incoming(parts=(part,)))
        os.write(1, f"{accepted.id} {part.sha256}\\n".encode())
for thread in range(4):
    threading.Thread(target=work, args=(thread,), daemon=True).start()
threading.Event().wait()
"""


def produce(directory: Path, *faults: str, lines: int) -> dict[str, str]:
    """Run a producer, kill it after so many answers: the answers (id to digest)."""
    process = subprocess.Popen([sys.executable, "-c", PRODUCER, str(directory), *faults], cwd=ROOT,
                               stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert process.stdout is not None
    answers = []
    with process.stdout as output:
        while len(answers) < lines and (line := output.readline()):
            answers.append(line)
        process.send_signal(signal.SIGKILL)
        answers += output.readlines()
    process.wait(30)
    return dict(line.decode().split() for line in answers if line.endswith(b"\n"))


def lost(directory: Path, answers: dict[str, str]) -> list[str]:
    """Messages that were answered OK and are not there, or not as they were."""
    with opened(directory) as store:
        assert store.unclean
        assert unbalanced(store) == []
        assert store.check() == []
        messages = {message.id: message for message in store.find_messages(limit=1_000_000)}
        missing = [name for name in answers if name not in messages]
        parts = {name: messages[name].parts[0] for name in answers if name in messages}
        bodies = store.bodies([part.blob for part in parts.values()])
        return missing + [name for name, part in parts.items()
                          if hashlib.sha256(bodies[part.blob].read()).hexdigest() != answers[name]]


def test_killed_at_random_nothing_answered_is_lost(tmp_path: Path) -> None:
    dice = random.Random(20261122)
    answers: dict[str, str] = {}
    for _ in range(6):
        answers |= produce(tmp_path / "store", lines=dice.randint(1, 120))
        assert lost(tmp_path / "store", answers) == []
    assert len(answers) > 100


@pytest.mark.parametrize(("faults", "noticed"), [(("crash",), False), (("crash", "eager"), True)])
def test_killed_at_the_commit_only_the_planted_fault_loses(tmp_path: Path, faults: tuple[str, ...],
                                                           noticed: bool) -> None:
    answers: dict[str, str] = {}
    for _ in range(3):
        answers |= produce(tmp_path / "store", *faults, lines=100_000)
    assert answers
    assert bool(lost(tmp_path / "store", answers)) == noticed

"""The yardstick of the benchmarks is no cheat: the bare pipeline loses nothing when it is killed in the
middle."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks import application, load
from benchmarks.chain import Chain
from benchmarks.subjects import Bare, Place
from tests.services import wait_until
from tests.services.rabbitmq import RabbitMQ, rabbitmq

__all__ = ["rabbitmq"]
ROOT = Path(__file__).parents[2]
COUNT = 600
ACK_FIRST = """
import sys
from benchmarks import bare
put = bare.Pipeline.put
def ack_first(self, item):
    self.finished([item])
    put(self, item)
bare.Pipeline.put = ack_first
bare.Pipeline.done = lambda self, items: [self.inbox.put(item.key) for item in items]
bare.Pipeline.store_large = lambda self, items: __import__("time").sleep(0.2)
sys.argv = ["bare", sys.argv[-1]]
bare.main()
"""


@pytest.fixture
def bare(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Bare]:
    """A bare pipeline with a queue full of applications, not yet started."""
    with ExitStack() as stack:
        subject = Bare(Place(tmp_path, stack, {"amqp": rabbitmq}), "amqp", "folder")
        subject.prefetch = 60  # small batches: more places to be killed at
        with subject.publisher() as publisher:
            load.publish(publisher, load.numbers("probe", 0, COUNT), (1, 0))
        yield subject


def files(bare: Bare) -> set[str]:
    """What has arrived."""
    return {name.removesuffix(".xml") for name in os.listdir(bare.drop) if not name.startswith(".")}


def test_killed_again_and_again_it_loses_nothing(bare: Bare, rabbitmq: RabbitMQ) -> None:
    dice = random.Random(20261122)
    kills = 0
    while len(files(bare)) < COUNT and kills < 12:
        bare.start()
        before = len(files(bare))
        wanted = min(COUNT, before + dice.randrange(1, 40))
        wait_until(lambda wanted=wanted: len(files(bare)) >= wanted, "some files more")
        bare.kill()
        kills += 1
    assert kills >= 3, "it was not killed in the middle"
    bare.start()
    wait_until(lambda: len(files(bare)) == COUNT, "everything has arrived")
    wait_until(lambda: rabbitmq.count(bare.vhost, f"drehscheibe.in.{bare.user}") == 0, "the queue is empty")
    chain = Chain()
    for name in load.numbers("probe", 0, COUNT):
        assert (bare.drop / f"{name}.xml").read_bytes() == chain(application.document(name))[0]


def test_a_yardstick_that_acknowledges_first_is_caught(bare: Bare, rabbitmq: RabbitMQ) -> None:
    """The same kill, with the acknowledgement before the commit: something is lost, and the count shows
    it."""
    settings = bare.folder / "cheat.json"
    settings.write_text(json.dumps({"state": str(bare.state), "in": bare.inlet(), "out": bare.outlet()}))
    cheat = subprocess.Popen([sys.executable, "-c", ACK_FIRST, str(settings)], cwd=ROOT)
    try:
        wait_until(lambda: rabbitmq.count(bare.vhost, f"drehscheibe.in.{bare.user}") < COUNT,
                   "something was acknowledged")
    finally:
        cheat.send_signal(signal.SIGKILL)
        cheat.wait()
    bare.start()
    wait_until(lambda: rabbitmq.count(bare.vhost, f"drehscheibe.in.{bare.user}") == 0, "the queue is empty")
    bare.freeze()
    assert len(files(bare)) < COUNT

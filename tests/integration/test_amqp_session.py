"""One connection of the AMQP inlet to a real RabbitMQ: what is in hand, for how long, and what is
acknowledged.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.errors import NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming
from tests.integration.amqp_site import AmqpSite
from tests.integration.inlet_contract import LARGE, SMALL, Fault
from tests.services import wait_until
from tests.services.door import OneByOne
from tests.services.rabbitmq import RabbitMQ, rabbitmq

__all__ = ["rabbitmq"]


@pytest.fixture
def idle(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[AmqpSite]:
    """Set up, but not consuming."""
    site = AmqpSite(rabbitmq, tmp_path)
    yield site
    site.close()


def test_a_batch_is_acknowledged_together_and_only_what_is_decided(idle: AmqpSite) -> None:
    """One of many is refused, one fails: each has its own end, and nobody else's."""
    odd = {b"refused": NotAllowed("no"), b"later": StoreUnavailable("disk", retry_after=0.05)}
    tries: list[bytes] = []

    def accept(incoming: Incoming) -> Accepted:
        content = incoming.parts[0].content
        assert isinstance(content, bytes)
        tries.append(content)
        if content in odd and not (content == b"later" and tries.count(content) > 2):
            raise odd[content]
        return idle.door(incoming)

    idle.fault = Fault(accept=lambda door: OneByOne(accept))
    sent = {body: idle.send(body) for body in (b"a", b"refused", b"b", b"later", b"c")}
    with idle:
        idle.wait(lambda: all(each.outcome() != "open" for each in sent.values()), "the end of each")
    assert {body for body, each in sent.items() if each.outcome() == "refused"} == {b"refused"}
    assert idle.bodies() == [b"a", b"b", b"c", b"later"]
    assert tries.count(b"later") == 3 and tries.count(b"a") == 1
    assert (idle.left(), idle.failures) == (0, [])
    wait_until(lambda: idle.dead() == 1, "the refused one in the dead-letter queue")


def test_the_pause_grows_up_to_what_the_store_asks_for(idle: AmqpSite) -> None:
    tries: list[float] = []

    def accept(incoming: Incoming) -> Accepted:
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise StoreUnavailable("disk", retry_after=60)
        return idle.door(incoming)

    idle.fault = Fault(accept=lambda door: OneByOne(accept))
    sent = idle.send(SMALL)
    with idle:
        idle.until_acknowledged(sent)
    first, second, third = tries
    assert 0.9 < second - first < third - second
    assert third - second > 1.9


def test_after_holding_for_too_long_the_messages_go_back(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    site = AmqpSite(rabbitmq, tmp_path, hold_seconds=0.2)
    site.door.refuse = StoreUnavailable("disk", retry_after=0.05)
    with site:
        sent = site.send(LARGE)
        site.wait(lambda: site.line.connections >= 3, "the connection to be closed, twice")
        assert sent.outcome() == "open"
        site.door.refuse = None
        site.until_acknowledged(sent)
    assert (site.bodies(), site.spooled(), site.failures) == ([LARGE], [], [])
    site.close()


def test_messages_are_held_without_being_given_back(idle: AmqpSite) -> None:
    idle.door.refuse = StoreUnavailable("disk", retry_after=0.05)
    with idle:
        sent = idle.send(LARGE)
        idle.wait(lambda: idle.door.asked > 6, "several tries")
        idle.door.refuse = None
        idle.until_acknowledged(sent)
    assert idle.line.connections == 1


def test_more_bytes_than_the_budget_still_pass(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    site = AmqpSite(rabbitmq, tmp_path, in_flight_bytes=150_000)
    with site:
        site.publish(*(f"{no}".encode() * 50_000 for no in range(10, 20)))
        site.taken(10)
    assert site.left() == 0
    site.close()


def test_the_heartbeat_goes_on_while_a_commit_is_waited_for(idle: AmqpSite) -> None:
    with idle:
        idle.until_acknowledged(idle.send(b"before"))
        idle.door.open.clear()
        sent = idle.send(b"under way")
        idle.wait(lambda: idle.door.asked == 2, "the hub to be asked")
        time.sleep(7)  # twice the heartbeat of 3 s, and more
        assert idle.line.connections == 1, "the broker would have closed a silent connection"
        idle.door.open.set()
        idle.until_acknowledged(sent)

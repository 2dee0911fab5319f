"""What `broker setup` declares at a real RabbitMQ, and what it lets nobody do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from amqp.basic_message import Message
from amqp.exceptions import AccessRefused, ChannelError

from connectors import amqp
from tests.integration.amqp_site import AmqpSite
from tests.integration.inlet_contract import SMALL
from tests.services import wait_until
from tests.services.rabbitmq import RabbitMQ, rabbitmq

__all__ = ["rabbitmq"]


@pytest.fixture
def idle(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[AmqpSite]:
    """Set up, but not consuming."""
    site = AmqpSite(rabbitmq, tmp_path)
    yield site
    site.close()


def test_setup_may_be_repeated(idle: AmqpSite) -> None:
    again = amqp.setup(idle.options(), idle.admin)
    assert len(again) == 17
    assert {finding.severity for finding in again} == {"ok"}


def test_setup_declares_quorum_queues_with_a_way_out(idle: AmqpSite) -> None:
    queue = idle.broker.call("GET", f"queues/{idle.vhost}/{idle.queue}")
    assert queue["type"] == "quorum"
    assert queue["durable"] is True
    assert queue["arguments"]["x-delivery-limit"] == 1000
    assert queue["arguments"]["x-dead-letter-exchange"] == "drehscheibe.dead"
    assert idle.broker.call("GET", f"queues/{idle.vhost}/drehscheibe.dead")["type"] == "quorum"


def test_setup_never_changes_an_existing_queue(idle: AmqpSite) -> None:
    findings = amqp.setup(idle.other(delivery_limit=7).options, idle.admin)
    assert findings[-1].severity == "error"
    assert "anderen Eigenschaften" in findings[-1].text


def test_setup_explains_a_wrong_password_and_a_wrong_address(idle: AmqpSite) -> None:
    refused = amqp.setup(idle.options(), idle.admin.model_copy(update={"user": "nobody"}))
    assert "abgelehnt" in refused[-1].text
    nowhere = amqp.setup(idle.options(), idle.admin.model_copy(update={"url": "http://127.0.0.1:1"}))
    assert "nicht erreichbar" in nowhere[-1].text


def test_a_sender_can_only_write_under_its_own_name(idle: AmqpSite) -> None:
    idle.publish(SMALL)
    with pytest.raises(ChannelError):
        idle.publish(SMALL, key=idle.municipality)
    with idle.broker.connection(idle.vhost, idle.sender, "amt24-test") as connection:
        for forbidden in (lambda c: c.basic_get(idle.queue), lambda c: c.queue_declare("own"),
                          lambda c: c.basic_publish_confirm(Message(SMALL), "", idle.queue),
                          lambda c: c.basic_publish_confirm(Message(SMALL), "drehscheibe.dead", "")):
            with pytest.raises(AccessRefused), connection.channel() as channel:
                forbidden(channel)
    assert idle.left() == 1


def test_no_letter_is_lost_by_being_looked_at(idle: AmqpSite) -> None:
    """Since RabbitMQ 4 a queue drops what was delivered twenty times. An operator's own policy wins."""
    policy = idle.broker.call("GET", f"policies/{idle.vhost}/drehscheibe.dead")
    assert (policy["definition"]["delivery-limit"], policy["priority"]) == (10 ** 9, -1)
    wait_until(lambda: idle.broker.call("GET", f"queues/{idle.vhost}/drehscheibe.dead").get("policy")
               == "drehscheibe.dead", "the policy to be in force")
    assert "policy" not in idle.broker.call("GET", f"queues/{idle.vhost}/{idle.queue}") or not (
        idle.broker.call("GET", f"queues/{idle.vhost}/{idle.queue}")["policy"])


def test_the_hub_can_only_read(idle: AmqpSite) -> None:
    with idle.broker.connection(idle.vhost, idle.user, "hub-test") as connection:
        for forbidden in (lambda c: c.basic_publish_confirm(Message(SMALL), "drehscheibe.in", idle.sender),
                          lambda c: c.basic_publish_confirm(Message(SMALL), "", idle.queue),
                          lambda c: c.basic_publish_confirm(Message(SMALL), "drehscheibe.dead", ""),
                          lambda c: c.queue_delete(idle.queue), lambda c: c.queue_purge("drehscheibe.other")):
            with pytest.raises(AccessRefused), connection.channel() as channel:
                forbidden(channel)

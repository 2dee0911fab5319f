"""Dead letters at a real RabbitMQ: counted beside the consumers, looked at, and given back without loss."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from amqp.basic_message import Message

from connectors import amqp
from connectors._amqp_dead import Letters
from connectors._amqp_depth import UNANSWERED, Depth
from hub.endpoint import DeadLetter
from hub.errors import Busy, ConfigError, NotAllowed
from tests.integration.amqp_site import HEADERS, AmqpSite
from tests.integration.inlet_contract import MAX_BYTES, SMALL
from tests.services import wait_until
from tests.services.rabbitmq import RabbitMQ, rabbitmq

__all__ = ["rabbitmq"]


@pytest.fixture
def idle(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[AmqpSite]:
    """Set up, but not consuming."""
    site = AmqpSite(rabbitmq, tmp_path, watch_seconds=0.2)
    yield site
    site.close()


@pytest.fixture
def hub(idle: AmqpSite) -> Iterator[AmqpSite]:
    with idle:
        yield idle
    assert idle.spooled() == []


def of_hub(site: AmqpSite) -> Any:
    return amqp.dead_letters(site.options())


def of_admin(site: AmqpSite) -> Any:
    """As who may write everywhere."""
    return amqp.dead_letters(site.options(), site.broker.admin[0], site.secret(site.broker.admin[1]))


def give_back(letters: Any) -> list[tuple[DeadLetter, str]]:
    """All that lie there now."""
    return list(letters.give_back({letter.id for letter in letters.first()}))


def bury(site: AmqpSite, *bodies: bytes, **properties: Any) -> list[DeadLetter]:
    """Let messages of the first sender expire."""
    before = site.dead()
    site.publish(*bodies, expiration="0", **properties)
    wait_until(lambda: site.dead() == before + len(bodies), "the messages to expire")
    with of_hub(site) as letters:
        found: list[DeadLetter] = letters.first(1000)
    return found[before:]


def lying(site: AmqpSite, queue: str) -> list[Any]:
    """What lies in a queue; it stays there."""
    with site.broker.connection(site.vhost) as connection, connection.channel() as channel:
        channel.auto_decode = False
        found = []
        while (message := channel.basic_get(queue)) is not None:
            found.append(message)
    for message in found:
        message.properties.get("application_headers", {}).pop("x-delivery-count", None)
    return found


# --- counted ------------------------------------------------------------------------------------------------


def test_the_depth_is_told_beside_the_messages(hub: AmqpSite) -> None:
    wait_until(lambda: hub.gate.dead_letters[-1:] == [0], "the first count")
    hub.publish(b"x" * (MAX_BYTES + 1))
    wait_until(lambda: hub.gate.dead_letters[-1] == 1, "the letter to be counted")
    hub.publish(SMALL)
    hub.taken(1)
    assert hub.line.connections == 1, "over the connection that is there anyway"


def test_a_queue_that_is_gone_is_told_and_stops_nothing(hub: AmqpSite) -> None:
    wait_until(lambda: hub.gate.dead_letters[-1:] == [0], "the first count")
    hub.broker.call("DELETE", f"queues/{hub.vhost}/drehscheibe.dead")
    wait_until(lambda: hub.gate.dead_letters[-1] is None, "the missing queue to be told")
    hub.publish(SMALL)
    hub.taken(1)
    assert "Abgewiesenes ginge verloren" in hub.inlet.check()[1].text
    assert {finding.severity for finding in amqp.setup(hub.options(), hub.admin)} == {"ok"}
    wait_until(lambda: hub.gate.dead_letters[-1] == 0, "the count once it is back")
    assert (hub.line.connections, hub.failures) == (2, []), "one of them is the check's"


def test_a_broker_that_does_not_answer_holds_up_nothing(idle: AmqpSite) -> None:
    now, told = [0.0], []
    with amqp.connected(idle.options()) as link:
        depth = Depth(link, idle.options().dead, 10, told.append, now=lambda: now[0])
        depth.tick()
        link.drain_events(timeout=5)
        assert told == [0]
        now[0] = 10
        depth.tick()  # asked, and the answer is left lying
        for now[0] in (11, 10 + 10 * UNANSWERED, 11 + 10 * UNANSWERED):
            depth.tick()
        assert told == [0, None], "nobody knows any more"
        link.drain_events(timeout=5)
        assert told == [0, None, 0], "a late answer is an answer"


def test_check_says_what_lies_there(idle: AmqpSite) -> None:
    bury(idle, SMALL, SMALL)
    finding = idle.inlet.check()[1]
    assert (finding.severity, finding.remedy) == ("warning", "drehscheibe broker dead list")
    assert "2 nicht angenommene Nachrichten" in finding.text


# --- looked at ----------------------------------------------------------------------------------------------


def test_each_letter_says_when_from_where_and_why(hub: AmqpSite) -> None:
    hub.publish(b"x" * (MAX_BYTES + 1), message_id="key-1", content_type="text/xml; charset=UTF-8")
    wait_until(lambda: hub.dead() == 1, "the first letter")
    hub.door.refuse = NotAllowed("no")
    hub.publish(SMALL, headers=HEADERS | {"test": True, "case": "Erika Musterfrau"},
                reply_to="erika@example.org")
    wait_until(lambda: hub.dead() == 2, "the second letter")
    with of_hub(hub) as letters:
        assert letters.count() == 2
        assert len(letters.first(1)) == 1
        first, second = letters.first(10)
    assert (first.queue, first.reason, first.size, first.message_id) == (
        hub.queue, "rejected", MAX_BYTES + 1, "key-1")
    assert first.at is not None
    assert abs(datetime.now(UTC) - first.at) < timedelta(minutes=1)
    assert first.properties == {"municipality": "14999010", "service": "hundesteuer", "deaths": "1",
                                "content_type": "text/xml; charset=utf-8"}
    assert second.properties == {"municipality": "14999010", "service": "hundesteuer", "test": "true",
                                 "deaths": "1", "other_headers": "1"}
    assert "Erika" not in repr(second)
    assert "erika" not in repr(second)


def test_a_look_leaves_all_as_it_is(idle: AmqpSite) -> None:
    bury(idle, b"1", b"2", b"3")
    looks = []
    for _ in range(3):
        with of_hub(idle) as letters:
            looks.append([letter.id for letter in letters.first(10)])
            assert letters.body(looks[0][1]) == b"2"
            assert letters.body("0" * 16) is None
    assert looks[0] == looks[1] == looks[2]
    assert len(set(looks[0])) == 3
    assert [bytes(message.body) for message in lying(idle, "drehscheibe.dead")] == [b"1", b"2", b"3"]


def test_what_expired_says_so(idle: AmqpSite) -> None:
    [letter] = bury(idle, SMALL)
    assert (letter.reason, letter.properties["expiration_ms"]) == ("expired", "0")


def test_a_broker_that_says_no_is_told_in_one_line(idle: AmqpSite) -> None:
    bury(idle, SMALL)
    with pytest.raises(ConfigError, match="may not do this at the broker"), of_hub(idle) as letters:
        give_back(letters)
    assert idle.dead() == 1
    with pytest.raises(ConfigError, match="does not let 'hub-"), amqp.dead_letters(
            idle.options(), idle.user, idle.secret("wrong")):
        pass
    with pytest.raises(Busy, match="cannot be reached"), amqp.dead_letters(
            idle.options().model_copy(update={"port": 1})):
        pass
    idle.broker.call("DELETE", f"queues/{idle.vhost}/drehscheibe.dead")
    with pytest.raises(ConfigError, match="there is no such queue"), of_hub(idle) as letters:
        letters.count()


# --- given back ---------------------------------------------------------------------------------------------


def test_what_is_given_back_is_what_was_sent(idle: AmqpSite) -> None:
    odd = bytes(range(256))
    headers = HEADERS | {"case": "Fall Ü7", "n": 7, "list": [1, "a", None], "raw": b"\xff"}
    bury(idle, odd, headers=headers, message_id="key-1", content_encoding="latin-1", content_type="image/png",
         correlation_id="lauf", reply_to="antworten", user_id=idle.sender, delivery_mode=2)
    with of_admin(idle) as letters:
        [(letter, outcome)] = give_back(letters)
    assert (letter.message_id, outcome, idle.dead(), idle.left()) == ("key-1", "returned", 0, 1)
    [message] = lying(idle, idle.queue)
    assert bytes(message.body) == odd
    assert message.properties == {
        "message_id": "key-1", "content_encoding": "latin-1", "content_type": "image/png",
        "correlation_id": "lauf", "reply_to": "antworten", "delivery_mode": 2, "application_headers": headers}


def test_the_hub_takes_what_was_given_back(hub: AmqpSite) -> None:
    hub.door.refuse = NotAllowed("not yet")
    hub.publish(SMALL, message_id="key-1")
    hub.publish(b"<zwei/>", message_id="key-2")
    wait_until(lambda: hub.dead() == 2, "both to be refused")
    hub.door.refuse = None
    with of_admin(hub) as letters:
        assert {outcome for _, outcome in give_back(letters)} == {"returned"}
    hub.taken(2)
    assert hub.dead() == 0


def test_one_of_several_is_given_back_and_the_others_stay(idle: AmqpSite) -> None:
    found = bury(idle, b"1", b"2", b"3")
    with of_admin(idle) as letters:
        assert [outcome for _, outcome in letters.give_back([found[1].id])] == ["returned"]
        assert [letter.id for letter in letters.first(10)] == [found[0].id, found[2].id]
    assert [bytes(message.body) for message in lying(idle, idle.queue)] == [b"2"]


def test_what_is_refused_again_does_not_go_round_for_ever(hub: AmqpSite) -> None:
    hub.door.refuse = NotAllowed("no")
    hub.publish(SMALL)
    wait_until(lambda: hub.dead() == 1, "the refusal")
    with of_admin(hub) as letters:
        assert len(give_back(letters)) == 1
    wait_until(lambda: hub.dead() == 1, "it to be refused once more")


def test_a_sender_reaches_no_other_queue_by_being_given_back(idle: AmqpSite) -> None:
    """With the rights of whoever gives back, the headers CC and BCC would."""
    others = idle.options().queue(idle.options().senders[1])
    bury(idle, SMALL, headers=HEADERS | {"CC": [others], "BCC": [others]})
    with of_admin(idle) as letters:
        assert [outcome for _, outcome in give_back(letters)] == ["returned"]
    assert (idle.left(), idle.broker.count(idle.vhost, others)) == (1, 0)


def test_a_sender_cannot_say_from_which_queue_it_came(idle: AmqpSite) -> None:
    others = idle.options().queue(idle.options().senders[1])
    forged = [{"queue": others, "reason": "expired", "count": 1, "exchange": "", "routing-keys": [others],
               "time": datetime(2026, 1, 1)}]
    [letter] = bury(idle, SMALL, headers=HEADERS | {"x-death": forged})
    assert letter.queue == idle.queue


def put(site: AmqpSite, **properties: Any) -> None:
    """A letter that an administrator laid there by hand."""
    with site.broker.connection(site.vhost) as connection, connection.channel() as channel:
        channel.basic_publish(Message(SMALL, **properties), "", "drehscheibe.dead")


def full(site: AmqpSite) -> None:
    """From now on the sender's queue takes no more."""
    site.broker.call("PUT", f"policies/{site.vhost}/full", {
        "pattern": f"^{site.queue}$", "apply-to": "queues", "priority": 9, "definition": {"max-length": 1}})

    def refuses() -> bool:
        with (site.broker.connection(site.vhost, site.sender, "amt24-test") as connection,
              connection.channel() as channel):
            try:
                channel.basic_publish_confirm(Message(b"fill"), "drehscheibe.in", site.sender)
            except Exception as error:
                return "Nacked" in type(error).__name__
            return False
    wait_until(refuses, "the queue to be full")


def test_what_cannot_go_back_stays(idle: AmqpSite) -> None:
    bury(idle, b"gone")
    idle.broker.call("DELETE", f"queues/{idle.vhost}/{idle.queue}")
    put(idle, application_headers={"x-death": [{"queue": "drehscheibe.other", "reason": "expired"}]})
    put(idle, content_type=b"\xff\xfe")
    with of_admin(idle) as letters:
        assert [outcome for _, outcome in give_back(letters)] == ["no-queue", "not-ours", "unreadable"]
    assert idle.dead() == 3


def test_a_full_queue_keeps_the_letter(idle: AmqpSite) -> None:
    bury(idle, SMALL)
    full(idle)
    with of_admin(idle) as letters:
        assert [outcome for _, outcome in give_back(letters)] == ["refused"]
    assert idle.dead() == 1


def test_without_the_confirmation_it_would_be_lost(idle: AmqpSite) -> None:
    """Planted fault: acknowledged before its queue has said yes, the letter is nowhere any more."""
    class Hasty(Letters):
        def publish(self, channel: Any, message: Message, queue: str) -> None:
            channel.basic_publish(message, "", queue, mandatory=True)

    bury(idle, SMALL)
    full(idle)
    before = idle.left()
    with amqp.connected(idle.options(), (idle.broker.admin[0], idle.secret(idle.broker.admin[1]))) as link:
        assert [outcome for _, outcome in give_back(
            Hasty(link, "drehscheibe.dead", {idle.queue}))] == [
            "returned"]
    assert (idle.dead(), idle.left()) == (0, before), "gone"


def test_a_death_between_the_two_leaves_two_and_never_none(idle: AmqpSite) -> None:
    """Where the acknowledgement never comes, the hub knows the second by its id."""
    class Dies(Letters):
        def take_away(self, message: Any) -> None:
            raise ConnectionResetError

    bury(idle, SMALL, message_id="key-1")
    with (pytest.raises(ConnectionResetError),
          amqp.connected(idle.options(), (idle.broker.admin[0], idle.secret(idle.broker.admin[1]))) as link):
        give_back(Dies(link, "drehscheibe.dead", {idle.queue}))
    wait_until(lambda: (idle.dead(), idle.left()) == (1, 1), "the broker to give it back")


def test_two_who_give_back_at_once_lose_and_double_nothing(idle: AmqpSite) -> None:
    bury(idle, *(b"%d" % number for number in range(40)))

    def give() -> None:
        with of_admin(idle) as letters:
            give_back(letters)

    threads = [threading.Thread(target=give) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if idle.dead():
        give()
    assert sorted(int(bytes(message.body)) for message in lying(idle, idle.queue)) == list(range(40))

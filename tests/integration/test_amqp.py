"""The AMQP inlet against a real RabbitMQ."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from amqp.basic_message import Message
from amqp.exceptions import AccessRefused, ChannelError
from kombu.exceptions import OperationalError

from connectors import amqp
from connectors._framing import IN_MEMORY
from hub.errors import NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming
from tests.services import wait_until
from tests.services.door import Door, OneByOne
from tests.services.rabbitmq import RabbitMQ, rabbitmq

__all__ = ["rabbitmq"]
FORM = b"<serviceportal-fields/>"
HEADERS = {"municipality": "14999010", "service": "hundesteuer"}
MAX_BYTES = 1_000_000


class Hub:
    """A virtual host with everything set up, and an inlet that is started again like the hub would."""

    def __init__(self, broker: RabbitMQ, folder: Path, **options: Any) -> None:
        self.broker = broker
        self.folder = folder
        self.vhost = uuid.uuid4().hex
        self.user, self.sender = f"hub-{self.vhost}", f"amt24-{self.vhost}"
        broker.add_vhost(self.vhost)
        secret = self._secret
        self.given = {
            "port": broker.port, "vhost": self.vhost, "user": self.user, "password": secret("hub-test"),
            "senders": ({"name": "amt24", "user": self.sender, "password": secret("amt24-test")},
                        {"name": "town", "user": f"town-{self.vhost}", "password": secret("town-test")}),
            "reconnect_seconds": 0.1} | options
        self.options = amqp.Options(**self.given)
        self.admin = amqp.Admin(url=broker.api, user=broker.admin[0], password=secret(broker.admin[1]))
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.door = Door(folder / "store")
        self.inlet = self.build()
        self.stop = threading.Event()
        self.failures: list[BaseException] = []
        self.thread = threading.Thread(target=self._run, name="inlet")

    def build(self) -> amqp.Inlet:
        return amqp.Inlet(self.options, "amqp", self.spool, MAX_BYTES)

    def _secret(self, text: str) -> str:
        path = self.folder / f"{text}.secret"
        path.write_text(text + "\n")
        return f"file:{path}"

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                self.inlet.run(self.door, self.stop)
            except Exception as error:
                self.failures.append(error)
                self.stop.wait(0.1)

    def __enter__(self) -> Hub:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive(), "the inlet did not leave"

    @property
    def queue(self) -> str:
        return self.options.queue(self.options.senders[0])

    def publish(self, *bodies: bytes, headers: dict[str, Any] | None = None, key: str | None = None,
                sender: tuple[str, str] | None = None, **properties: Any) -> None:
        user, password = sender or (self.sender, "amt24-test")
        with self.broker.connection(self.vhost, user, password) as connection, connection.channel() as channel:
            for body in bodies:
                message = Message(body, application_headers=HEADERS if headers is None else headers, **properties)
                channel.basic_publish(message, self.options.exchange, key or user)

    def left(self) -> int:
        """What the broker still has for the first sender; only exact while nobody consumes."""
        return self.broker.count(self.vhost, self.queue)

    def dead(self) -> int:
        return self.broker.count(self.vhost, self.options.dead)

    def taken(self, count: int) -> None:
        wait_until(lambda: len(self.door.taken) >= count, f"{count} messages")
        assert len(self.door.taken) == count


@pytest.fixture
def idle(rabbitmq: RabbitMQ, tmp_path: Path) -> Hub:
    """Set up, but not consuming."""
    hub = Hub(rabbitmq, tmp_path, heartbeat=3)
    assert [finding for finding in amqp.setup(hub.options, hub.admin) if finding.severity != "ok"] == []
    return hub


@pytest.fixture
def hub(idle: Hub) -> Iterator[Hub]:
    with idle:
        yield idle


# --- setup ------------------------------------------------------------------------------------------------------------


def test_setup_may_be_repeated(idle: Hub) -> None:
    again = amqp.setup(idle.options, idle.admin)
    assert len(again) == 16
    assert {finding.severity for finding in again} == {"ok"}


def test_setup_declares_quorum_queues_with_a_way_out(idle: Hub) -> None:
    queue = idle.broker.call("GET", f"queues/{idle.vhost}/{idle.queue}")
    assert queue["type"] == "quorum"
    assert queue["durable"] is True
    assert queue["arguments"]["x-delivery-limit"] == 1000
    assert queue["arguments"]["x-dead-letter-exchange"] == "drehscheibe.dead"
    assert idle.broker.call("GET", f"queues/{idle.vhost}/drehscheibe.dead")["type"] == "quorum"


def test_setup_never_changes_an_existing_queue(idle: Hub) -> None:
    findings = amqp.setup(idle.options.model_copy(update={"delivery_limit": 7}), idle.admin)
    assert findings[-1].severity == "error"
    assert "anderen Eigenschaften" in findings[-1].text


def test_setup_explains_a_wrong_password_and_a_wrong_address(idle: Hub) -> None:
    refused = amqp.setup(idle.options, idle.admin.model_copy(update={"user": "nobody"}))
    assert "abgelehnt" in refused[-1].text
    nowhere = amqp.setup(idle.options, idle.admin.model_copy(update={"url": "http://127.0.0.1:1"}))
    assert "nicht erreichbar" in nowhere[-1].text


def test_a_sender_can_only_write_under_its_own_name(idle: Hub) -> None:
    idle.publish(FORM)
    with pytest.raises(ChannelError):
        idle.publish(FORM, key=f"town-{idle.vhost}")
    with idle.broker.connection(idle.vhost, idle.sender, "amt24-test") as connection:
        for forbidden in (lambda c: c.basic_get(idle.queue), lambda c: c.queue_declare("own"),
                          lambda c: c.basic_publish_confirm(Message(FORM), "", idle.queue),
                          lambda c: c.basic_publish_confirm(Message(FORM), "drehscheibe.dead", "")):
            with pytest.raises(AccessRefused), connection.channel() as channel:
                forbidden(channel)
    assert idle.left() == 1


def test_the_hub_can_only_read(idle: Hub) -> None:
    with idle.broker.connection(idle.vhost, idle.user, "hub-test") as connection:
        for forbidden in (lambda c: c.basic_publish_confirm(Message(FORM), "drehscheibe.in", idle.sender),
                          lambda c: c.queue_delete(idle.queue), lambda c: c.basic_get("drehscheibe.dead")):
            with pytest.raises(AccessRefused), connection.channel() as channel:
                forbidden(channel)


def test_check(idle: Hub) -> None:
    assert [finding.severity for finding in idle.inlet.check()] == ["ok"]
    idle.broker.call("DELETE", f"queues/{idle.vhost}/{idle.queue}")
    assert "broker setup" in idle.inlet.check()[0].remedy
    nowhere = amqp.Inlet(idle.options.model_copy(update={"port": 1}), "amqp", idle.spool, MAX_BYTES)
    assert nowhere.check()[0].severity == "error"


# --- taken ------------------------------------------------------------------------------------------------------------


def test_properties_become_the_message(hub: Hub) -> None:
    hub.publish(FORM, content_type="application/xml; charset=UTF-8", message_id="key-1", reply_to="antworten",
                correlation_id="lauf-1", headers=HEADERS | {"case": "fall-1", "test": True})
    hub.taken(1)
    taken = hub.door.taken[0]
    assert (taken.inlet, taken.sender, taken.ags, taken.service) == ("amqp", "amt24", "14999010", "hundesteuer")
    assert (taken.key, taken.reply_to, taken.correlation, taken.case) == ("key-1", "antworten", "lauf-1", "fall-1")
    assert (taken.test, taken.conflict, taken.unreadable) == (True, "park", None)
    assert (taken.parts[0].name, taken.parts[0].media_type, taken.parts[0].content) == (
        "application", "application/xml", FORM)


def test_the_queue_names_the_sender(hub: Hub) -> None:
    hub.publish(FORM, sender=(f"town-{hub.vhost}", "town-test"), user_id=f"town-{hub.vhost}")
    hub.taken(1)
    assert hub.door.taken[0].sender == "town"


@pytest.mark.parametrize(("headers", "ags", "service", "test"), [
    ({}, "", "", False), ({"municipality": 14999010, "service": b"x\xff"}, "14999010", "x\ufffd", False),
    ({"municipality": "1\n2", "test": "false"}, "12", "", False),
    (HEADERS | {"test": "ja"}, "14999010", "hundesteuer", True),
])
def test_odd_headers_are_passed_on(hub: Hub, headers: dict[str, Any], ags: str, service: str, test: bool) -> None:
    hub.publish(FORM, headers=headers, message_id="x")
    hub.taken(1)
    assert (hub.door.taken[0].ags, hub.door.taken[0].service, hub.door.taken[0].test) == (ags, service, test)


def test_multipart_is_taken_to_pieces_and_large_bodies_are_spooled(hub: Hub) -> None:
    large = b"y" * (IN_MEMORY + 1)
    hub.publish(b"--b\r\nContent-Type: application/xml\r\n\r\n" + FORM + b"\r\n--b\r\nContent-Type: image/png\r\n"
                b"Content-Disposition: attachment; filename=\"a.png\"\r\n\r\n" + large + b"\r\n--b--\r\n",
                content_type="multipart/mixed; boundary=b")
    hub.taken(1)
    assert [part.media_type for part in hub.door.taken[0].parts] == ["application/xml", "image/png"]
    assert hub.door.body() == [FORM, large]
    wait_until(lambda: not list(hub.spool.iterdir()), "an empty spool")


# --- poison -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "properties"), [
    (b"--b\r\ncut", {"content_type": "multipart/mixed; boundary=b"}),
    (b"x", {"content_type": "multipart/mixed"}),
    (gzip.compress(b"0" * 1000, mtime=0), {"content_encoding": "gzip"}),
    (gzip.compress(b"0" * 1000, mtime=0), {"headers": HEADERS | {"compression": "application/x-gzip"}}),
])
def test_what_cannot_be_read_is_handed_on_as_it_came(hub: Hub, body: bytes, properties: dict[str, Any]) -> None:
    hub.publish(body, **properties)
    hub.taken(1)
    assert hub.door.taken[0].unreadable
    assert hub.door.body() == [body]
    hub.publish(b"next")
    hub.taken(2)


def test_properties_that_cannot_be_decoded_do_not_stop_the_others(hub: Hub) -> None:
    hub.publish(FORM, content_type=b"\xff\xfe")
    hub.publish(b"next")
    hub.taken(2)
    assert {taken.unreadable is None for taken in hub.door.taken} == {True, False}
    assert hub.failures == []


def test_without_tolerant_frames_it_would_come_back_for_ever(idle: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: with py-amqp's own frames the consumer dies of it again and again."""
    monkeypatch.setattr(amqp, "_tolerant_frames", amqp.frame_handler)
    idle.publish(FORM, content_type=b"\xff\xfe")
    with idle:
        wait_until(lambda: len(idle.failures) > 1, "two deaths")
    assert idle.door.taken == []


def test_too_large_and_not_allowed_go_to_the_dead_letters(hub: Hub) -> None:
    hub.publish(b"x" * (MAX_BYTES + 1))
    wait_until(lambda: hub.dead() == 1, "the large one in the dead-letter queue")
    assert hub.door.asked == 0
    hub.door.refuse = NotAllowed("no")
    hub.publish(b"y" * 100_000)
    wait_until(lambda: hub.dead() == 2, "the refused one in the dead-letter queue")
    assert list(hub.spool.iterdir()) == []


# --- nothing is lost --------------------------------------------------------------------------------------------------


def test_the_acknowledgement_follows_accept(idle: Hub) -> None:
    idle.door.refuse = StoreUnavailable("disk", retry_after=0.1)
    idle.publish(*(f"{no}".encode() for no in range(20)))
    with idle:
        wait_until(lambda: idle.door.asked > 40, "several tries")
    wait_until(lambda: idle.left() == 20, "all messages back in the queue")
    idle.door.refuse = None
    second = Hub.__new__(Hub)
    second.__dict__ |= idle.__dict__ | {"stop": threading.Event(), "failures": []}
    second.thread = threading.Thread(target=second._run)
    with second:
        second.taken(20)
    assert (second.left(), second.dead()) == (0, 0)


def test_messages_are_held_without_being_given_back_until_the_store_is_there_again(hub: Hub) -> None:
    hub.door.refuse = StoreUnavailable("disk", retry_after=0.05)
    hub.publish(b"x" * 100_000)
    wait_until(lambda: hub.door.asked > 3, "several tries")
    hub.door.refuse = None
    hub.taken(1)
    assert hub.failures == []
    assert hub.door.body() == [b"x" * 100_000]


def test_without_room_nothing_is_fetched_and_nothing_rejected(idle: Hub) -> None:
    room = threading.Event()

    def admit(size: int) -> None:
        if not room.is_set():
            raise StoreUnavailable("the disk fills", retry_after=30)

    idle.inlet.admit = admit
    idle.publish(*(f"{no}".encode() for no in range(20)))
    with idle:
        assert not idle.inlet.ready()
        assert (idle.left(), idle.dead(), _consumers(idle)) == (20, 0, [])
        room.set()
        idle.taken(20)
    assert (idle.left(), idle.dead()) == (0, 0)


def test_when_room_ends_under_way_messages_are_held_unread(hub: Hub) -> None:
    room = threading.Event()
    asked: list[int] = []

    def admit(size: int) -> None:
        asked.append(size)
        if size and not room.is_set():
            raise StoreUnavailable("the disk fills", retry_after=0.05)

    hub.inlet.admit = admit
    hub.publish(b"x" * 100_000)
    wait_until(lambda: asked.count(100_000) > 3, "several tries")
    assert (hub.door.asked, list(hub.spool.iterdir()), hub.dead()) == (0, [], 0)
    room.set()
    hub.taken(1)
    assert hub.failures == []


class Hasty(amqp.Inlet):
    """Planted fault: takes the store's refusal for an acceptance, as an inlet does that acknowledges first."""

    def run(self, accept: Any, stop: threading.Event) -> None:
        def hasty(incoming: Incoming) -> Accepted:
            try:
                return accept(incoming)
            except StoreUnavailable:
                return Accepted("too-early")
        super().run(OneByOne(hasty), stop)


def test_an_inlet_that_acknowledges_too_early_is_noticed(idle: Hub) -> None:
    idle.inlet = Hasty(idle.options, "amqp", idle.spool, MAX_BYTES)
    idle.door.refuse = StoreUnavailable("disk", retry_after=0.1)
    idle.publish(*(f"{no}".encode() for no in range(20)))
    with idle:
        wait_until(lambda: idle.door.asked >= 20, "all of them to be asked")
    assert idle.left() < 20


def test_after_holding_for_too_long_the_messages_go_back(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    hub = Hub(rabbitmq, tmp_path, hold_seconds=0.2)
    amqp.setup(hub.options, hub.admin)
    hub.door.refuse = StoreUnavailable("disk", retry_after=0.05)
    redelivered: list[bool] = []
    arrival = amqp._Session._arrival

    def watching(session: Any, sender: Any) -> Any:
        arrived = arrival(session, sender)

        def watch(message: Any) -> None:
            redelivered.append(message.delivery_info["redelivered"])
            arrived(message)
        return watch

    with pytest.MonkeyPatch.context() as patch, hub:
        patch.setattr(amqp._Session, "_arrival", watching)
        wait_until(lambda: bool(_consumers(hub)), "the consumer")
        hub.publish(FORM)
        wait_until(lambda: True in redelivered, "the message once more")
        hub.door.refuse = None
        hub.taken(1)


def _consumers(hub: Hub) -> list[Any]:
    with hub.broker.connection(hub.vhost) as connection, connection.channel() as channel:
        return [1] * channel.queue_declare(hub.queue, passive=True).consumer_count


def test_an_unexpected_error_of_accept_keeps_the_message(idle: Hub) -> None:
    idle.door.refuse = RuntimeError("a bug")
    idle.publish(FORM)
    with idle:
        wait_until(lambda: len(idle.failures) > 1, "two reports")
        assert isinstance(idle.failures[0], RuntimeError)
        idle.door.refuse = None
        idle.taken(1)
    assert idle.left() == 0


def test_a_lost_connection_is_made_again(hub: Hub) -> None:
    hub.publish(b"before")
    hub.taken(1)
    wait_until(lambda: bool(_connections(hub)), "the broker to list the connection")
    for name in _connections(hub):
        hub.broker.call("DELETE", f"connections/{name}")
    hub.publish(b"after")
    hub.taken(2)


def _connections(hub: Hub) -> list[str]:
    return [one["name"].replace(" ", "%20").replace(">", "%3E") for one in hub.broker.call("GET", "connections")
            if one.get("user") == hub.user]


def test_a_deleted_queue_is_reported_and_consumed_again_once_it_is_back(hub: Hub) -> None:
    hub.publish(b"before")
    hub.taken(1)
    hub.broker.call("DELETE", f"queues/{hub.vhost}/{hub.queue}")
    wait_until(lambda: bool(hub.failures), "a report")
    amqp.setup(hub.options, hub.admin)
    hub.publish(b"after")
    hub.taken(2)


def test_a_wrong_password_is_reported(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    hub = Hub(rabbitmq, tmp_path)
    with hub:
        wait_until(lambda: bool(hub.failures), "a report")
    assert isinstance(hub.failures[0], AccessRefused | OperationalError)


def test_tls_checks_the_brokers_name(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    hub = Hub(rabbitmq, tmp_path, tls=True, port=rabbitmq.tls_port, ca=rabbitmq.authority.file)
    amqp.setup(hub.options, hub.admin)
    with hub:
        hub.publish(*(b"x" * size for size in (1, 100_000, 900_000)))
        hub.taken(3)
    other = amqp.Inlet(hub.options.model_copy(update={"host": "localhost"}), "amqp", hub.spool, MAX_BYTES)
    assert "SSLCertVerificationError" in other.check()[0].text
    unknown = amqp.Inlet(hub.options.model_copy(update={"ca": None}), "amqp", hub.spool, MAX_BYTES)
    assert "SSLCertVerificationError" in unknown.check()[0].text


def test_more_bytes_than_the_budget_still_pass(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    hub = Hub(rabbitmq, tmp_path, in_flight_bytes=150_000)
    amqp.setup(hub.options, hub.admin)
    with hub:
        hub.publish(*(f"{no}".encode() * 50_000 for no in range(10, 20)))
        hub.taken(10)
    assert hub.left() == 0


CONSUMER = """
import json, os, pathlib, sys, threading
from connectors import amqp
from hub.message import Accepted
from tests.services.door import OneByOne
options, spool, log = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), open(sys.argv[3], "ab", buffering=0)
def accept(incoming):
    log.write(incoming.parts[0].content + b"\\n")
    return Accepted("id")
amqp.Inlet(amqp.Options(**options), "amqp", spool, 1000000).run(OneByOne(accept), threading.Event())
"""


def test_kill_9_in_the_middle_loses_nothing(idle: Hub) -> None:
    idle.publish(*(f"{no}".encode() for no in range(1000)))
    log = idle.folder / "log"
    log.touch()
    command = [sys.executable, "-c", CONSUMER, idle.options.model_dump_json(), str(idle.spool), str(log)]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: len(log.read_bytes().split()) >= 100, "100 of 1000")
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    killed_at = len(log.read_bytes().split())
    assert killed_at < 1000, "killed too late to show anything"
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: len(set(log.read_bytes().split())) == 1000, "all 1000")
        wait_until(lambda: idle.left() == 0, "an empty queue")
    finally:
        process.kill()
        process.wait()
    assert idle.dead() == 0


def test_a_restarted_broker_finds_its_consumer_again(rabbitmq: RabbitMQ, hub: Hub) -> None:
    hub.publish(b"before")
    hub.taken(1)
    rabbitmq.stop()
    rabbitmq.start()
    hub.publish(b"after")
    hub.taken(2)

"""The AMQP inlet against a real RabbitMQ."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from amqp.exceptions import AccessRefused
from kombu.exceptions import OperationalError

from connectors import amqp
from connectors._framing import IN_MEMORY
from hub.errors import NotAllowed, StoreUnavailable
from tests.integration.amqp_site import HEADERS, AmqpSite
from tests.integration.inlet_contract import MAX_BYTES, SMALL, Fault, InletContract
from tests.integration.planted_inlets import PlantedInlets
from tests.services import free_port, wait_until
from tests.services.rabbitmq import RabbitMQ, rabbitmq

__all__ = ["rabbitmq"]


class TestContract(InletContract, PlantedInlets):
    """What every inlet promises."""

    @pytest.fixture
    def site(self, rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[AmqpSite]:
        site = AmqpSite(rabbitmq, tmp_path)
        yield site
        site.close()


@pytest.fixture
def idle(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[AmqpSite]:
    """Set up, but not consuming."""
    site = AmqpSite(rabbitmq, tmp_path)
    yield site
    site.close()


@pytest.fixture
def hub(idle: AmqpSite) -> Iterator[AmqpSite]:
    with idle:
        yield idle
    assert idle.spooled() == []


def test_check(idle: AmqpSite) -> None:
    assert [finding.severity for finding in idle.inlet.check()] == ["ok"]
    idle.broker.call("DELETE", f"queues/{idle.vhost}/{idle.queue}")
    assert "broker setup" in idle.inlet.check()[0].remedy
    assert idle.other(port=1).check()[0].severity == "error"


# --- taken --------------------------------------------------------------------------------------------------


def test_properties_become_the_message(hub: AmqpSite) -> None:
    hub.publish(SMALL, content_type="application/xml; charset=UTF-8", message_id="key-1",
                reply_to="antworten", correlation_id="lauf-1",
                headers=HEADERS | {"case": "fall-1", "test": True})
    hub.taken(1)
    taken = hub.door.taken[0]
    assert (taken.inlet, taken.sender, taken.ags, taken.service) == (
        "inlet", "amt24", "14999010", "hundesteuer")
    assert (taken.key, taken.reply_to, taken.correlation, taken.case) == (
        "key-1", "antworten", "lauf-1", "fall-1")
    assert (taken.test, taken.conflict, taken.unreadable) == (True, "park", None)
    assert (taken.parts[0].name, taken.parts[0].media_type, taken.parts[0].content) == (
        "application", "application/xml; charset=utf-8", SMALL)


def test_the_queue_names_the_sender(hub: AmqpSite) -> None:
    hub.publish(SMALL, sender=(hub.municipality, "municipality-test"), user_id=hub.municipality)
    hub.taken(1)
    assert hub.door.taken[0].sender == "municipality"


@pytest.mark.parametrize(("headers", "ags", "service", "test"), [
    ({}, "", "", False), ({"municipality": 14999010, "service": b"x\xff"}, "14999010", "x\xff", False),
    ({"municipality": "1\n2", "test": "false"}, "12", "", False),
    (HEADERS | {"test": "ja"}, "14999010", "hundesteuer", True),
])
def test_odd_headers_are_passed_on(hub: AmqpSite, headers: dict[str, Any], ags: str, service: str,
                                   test: bool) -> None:
    hub.publish(SMALL, headers=headers, message_id="x")
    hub.taken(1)
    assert (hub.door.taken[0].ags, hub.door.taken[0].service, hub.door.taken[0].test) == (ags, service, test)


def test_multipart_is_taken_to_pieces_and_large_bodies_are_spooled(hub: AmqpSite) -> None:
    large = b"y" * (IN_MEMORY + 1)
    hub.publish(b"--b\r\nContent-Type: application/xml\r\n\r\n" + SMALL
                + b"\r\n--b\r\nContent-Type: image/png\r\n"
                b"Content-Disposition: attachment; filename=\"a.png\"\r\n\r\n" + large + b"\r\n--b--\r\n",
                content_type="multipart/mixed; boundary=b")
    hub.taken(1)
    assert [part.media_type for part in hub.door.taken[0].parts] == ["application/xml", "image/png"]
    assert hub.door.body() == [SMALL, large]
    wait_until(lambda: not list(hub.spool.iterdir()), "an empty spool")


PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
ENCODINGS = (None, "utf-8", "utf8", "UTF_8", "latin-1", "iso-8859-1", "windows-1252", "cp037", "utf-16",
             "8bit",
             "binary", "7bit", "gzip", "deflate", "base64", "hex", "rot13", "rubbish", "x" * 200, b"\xe4")
CONTENT_TYPES = (None, "text/plain", "text/xml; charset=iso-8859-1", "application/json", "application/data",
                 "application/x-python-serialize", "image/png", "rubbish", "\u00e4/\u00f6", "x" * 200)
ODD_HEADERS = ({"compression": "application/x-gzip"}, {"compression": "zlib"}, {"content-encoding": "gzip"},
               {"charset": "utf-16"}, {"__TypeId__": "java.lang.String"}, {"x-match": "any"})


def test_the_bytes_that_were_sent_are_the_bytes_that_are_kept(hub: AmqpSite) -> None:
    """Whatever the sender says of its body, nobody decodes it on the way."""
    said: list[dict[str, Any]] = [
        {"content_encoding": encoding, "content_type": content_type}
        for encoding in ENCODINGS for content_type in CONTENT_TYPES]
    said += [{"headers": HEADERS | header, "content_encoding": "latin-1"} for header in ODD_HEADERS]
    sent = set()
    for no, properties in enumerate(said):
        body = b"%d " % no + PNG
        sent.add(hashlib.sha256(body).hexdigest())
        hub.publish(body, **{name: value for name, value in properties.items() if value is not None})
    hub.taken(len(said))
    assert {taken.parts[0].sha256 for taken in hub.door.taken} == sent
    assert all(body.endswith(b" " + PNG) for [body] in hub.door.bodies.values())
    assert hub.dead() == 0


# --- poison -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("body", "properties"), [
    (b"--b\r\ncut", {"content_type": "multipart/mixed; boundary=b"}),
    (b"x", {"content_type": "multipart/mixed"}),
    (gzip.compress(b"0" * 1000, mtime=0), {"content_encoding": "gzip"}),
    (gzip.compress(b"0" * 1000, mtime=0), {"headers": HEADERS | {"compression": "application/x-gzip"}}),
])
def test_what_cannot_be_read_is_handed_on_as_it_came(hub: AmqpSite, body: bytes,
                                                     properties: dict[str, Any]) -> None:
    hub.publish(body, **properties)
    hub.taken(1)
    assert hub.door.taken[0].unreadable
    assert hub.door.body() == [body]
    hub.publish(b"next")
    hub.taken(2)


def test_properties_that_cannot_be_decoded_do_not_stop_the_others(hub: AmqpSite) -> None:
    hub.publish(SMALL, content_type=b"\xff\xfe")
    hub.publish(b"next")
    hub.taken(2)
    assert {taken.unreadable is None for taken in hub.door.taken} == {True, False}
    assert hub.failures == []


def test_too_large_and_not_allowed_go_to_the_dead_letters(hub: AmqpSite) -> None:
    hub.publish(b"x" * (MAX_BYTES + 1))
    wait_until(lambda: hub.dead() == 1, "the large one in the dead-letter queue")
    assert hub.door.asked == 0
    hub.door.refuse = NotAllowed("no")
    hub.publish(b"y" * 100_000)
    wait_until(lambda: hub.dead() == 2, "the refused one in the dead-letter queue")


# --- connected ----------------------------------------------------------------------------------------------


def test_without_room_nothing_is_fetched_and_nothing_rejected(idle: AmqpSite) -> None:
    room = threading.Event()

    def admit(size: int) -> None:
        if not room.is_set():
            raise StoreUnavailable("the disk fills", retry_after=30)

    idle.fault = Fault(context=lambda context: dataclasses.replace(context, admit=admit))
    idle.publish(*(f"{no}".encode() for no in range(20)))
    with idle:
        assert not idle.inlet.ready()
        assert (idle.left(), idle.dead(), idle.consumers(), idle.line.connections) == (20, 0, 0, 0)
        room.set()
        idle.taken(20)
    assert (idle.left(), idle.dead()) == (0, 0)


def test_a_lost_connection_is_made_again(hub: AmqpSite) -> None:
    hub.publish(b"before")
    hub.taken(1)
    hub.line.drop()
    hub.publish(b"after")
    hub.taken(2)


def test_a_deleted_queue_is_reported_and_consumed_again_once_it_is_back(hub: AmqpSite) -> None:
    hub.publish(b"before")
    hub.taken(1)
    hub.broker.call("DELETE", f"queues/{hub.vhost}/{hub.queue}")
    wait_until(lambda: bool(hub.failures), "a report")
    amqp.setup(hub.options(), hub.admin)
    hub.publish(b"after")
    hub.taken(2)


def test_a_wrong_password_is_reported_at_once(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    hub = AmqpSite(rabbitmq, tmp_path, prepared=False, patience=1000)
    with hub:
        wait_until(lambda: bool(hub.failures), "a report")
    assert isinstance(hub.failures[0], AccessRefused | OperationalError)
    hub.close()


def test_a_broker_that_is_away_is_reported_after_some_tries(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    hub = AmqpSite(rabbitmq, tmp_path, prepared=False, patience=3, reconnect_seconds=0.05)
    hub.line.target = free_port()
    with hub:
        wait_until(lambda: bool(hub.failures), "a report")
        assert hub.line.connections >= 4, "three failures in a row are borne"
    hub.close()


def test_a_stop_while_the_broker_is_away_raises_nothing(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    hub = AmqpSite(rabbitmq, tmp_path, prepared=False, reconnect_seconds=600)
    hub.line.target = free_port()
    with hub:
        wait_until(lambda: hub.line.connections > 0, "a try")
    assert hub.failures == []
    hub.close()


def test_tls_checks_the_brokers_name(rabbitmq: RabbitMQ, tmp_path: Path) -> None:
    hub = AmqpSite(rabbitmq, tmp_path, tls=True, port=rabbitmq.tls_port, ca=rabbitmq.authority.file)
    with hub:
        hub.publish(*(b"x" * size for size in (1, 100_000, 900_000)))
        hub.taken(3)
    assert "SSLCertVerificationError" in hub.other(host="localhost").check()[0].text
    assert "SSLCertVerificationError" in hub.other(ca=None).check()[0].text
    hub.close()


CONSUMER = """
import json, os, pathlib, sys, threading
from connectors import amqp
from hub.endpoint import InletContext
from hub.message import Accepted
from tests.services.door import OneByOne
options, spool, log = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), open(sys.argv[3], "ab", buffering=0)
def accept(incoming):
    log.write(incoming.parts[0].content + b"\\n")
    return Accepted("id")
context = InletContext(name="inlet", spool=spool, max_bytes=1000000)
amqp.Inlet(amqp.Options(**options), context).run(OneByOne(accept), threading.Event())
"""


def test_kill_9_in_the_middle_loses_nothing(idle: AmqpSite) -> None:
    idle.publish(*(f"{no}".encode() for no in range(1000)))
    log = idle.folder / "log"
    log.touch()
    command = [sys.executable, "-c", CONSUMER, idle.options().model_dump_json(), str(idle.spool), str(log)]
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


def test_a_restarted_broker_finds_its_consumer_again(rabbitmq: RabbitMQ, hub: AmqpSite) -> None:
    hub.publish(b"before")
    hub.taken(1)
    rabbitmq.stop()
    rabbitmq.start()
    hub.publish(b"after")
    hub.taken(2)

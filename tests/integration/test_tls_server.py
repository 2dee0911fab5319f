"""The server below the HTTPS inlet: who is slow, who is one too many, and what renewed files do."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time
import warnings
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx2
import pytest

from connectors import _tls_server, https
from connectors._crowd import Crowd
from connectors._tls_server import Protocol
from hub.errors import ConfigError
from tests.integration.https_site import HttpsSite
from tests.integration.inlet_contract import Fault
from tests.services import wait_until
from tests.services.tls import Authority, KeyPair


def closed(sock: socket.socket) -> bool:
    """The peer ended the connection (an answer before the end is read over)."""
    try:
        while sock.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        return True
    return True


def test_slow_senders_are_cut_off(tmp_path: Path, authority: Authority, portal: KeyPair) -> None:
    with HttpsSite(tmp_path, authority, handshake_seconds=0.3, header_seconds=0.3, grace_seconds=0.3) as hub:
        with socket.create_connection(hub.address, timeout=20) as never_shakes:
            assert closed(never_shakes)
        with hub.raw(portal) as half_header:
            half_header.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost:")
            assert closed(half_header)
        with hub.raw(portal) as second_header:
            second_header.sendall(
                b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nxPOST /in/")
            assert second_header.recv(100).startswith(b"HTTP/1.1 202 ")
            assert closed(second_header)
        with hub.raw(portal) as half_body:
            half_body.sendall(
                b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 300)
            assert half_body.recv(100).startswith(b"HTTP/1.1 408 ")
            assert closed(half_body)
        assert (hub.door.asked, hub.spooled()) == (1, [])
    assert hub.gate.told == ["too-slow"], "who sends no request at all is nobody to be counted"


def test_without_the_header_deadline_the_connection_would_stay(tmp_path: Path, authority: Authority,
                                                               portal: KeyPair) -> None:
    """Planted fault: with the watch switched off, the half header is still waited for."""
    class Patient(Protocol):
        def watch_header(self) -> None:
            """For ever."""

    class PatientInlet(https.Inlet):
        protocol = Patient

    site = HttpsSite(tmp_path, authority, header_seconds=0.1)
    site.fault = Fault(kind=lambda kind: PatientInlet)
    with site as hub, hub.raw(portal) as half_header:
        half_header.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost:")
        half_header.settimeout(1)
        with pytest.raises(TimeoutError):
            half_header.recv(1)


def test_more_connections_of_senders_than_allowed_are_closed(tmp_path: Path, authority: Authority,
                                                             portal: KeyPair) -> None:
    with HttpsSite(tmp_path, authority, max_connections=2) as hub:
        with hub.raw(portal) as one, hub.raw(portal), hub.raw(portal) as third:
            assert closed(third)
            one.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
            assert one.recv(100).startswith(b"HTTP/1.1 202 ")
        wait_until(lambda: _answers(hub, portal), "a free place")
    assert set(hub.gate.told) == {"busy"}


def _crowds(hub: HttpsSite, stack: ExitStack) -> None:
    """More than the inlet has places: some say nothing, some shake hands and stay, some begin a header."""
    for _ in range(30):
        plain = stack.enter_context(socket.create_connection(hub.address, timeout=20))
        plain.sendall(b"\x16\x03\x01" if _ % 2 else b"")
        with suppress(OSError):
            shaken = stack.enter_context(hub.raw(None))
            shaken.sendall(b"POST /in/x HTTP/1.1\r\nHost:" if _ % 2 else b"")


def test_nobody_without_a_certificate_can_shut_the_door(tmp_path: Path, authority: Authority,
                                                        portal: KeyPair) -> None:
    """Whoever hands in gets through at once, while 60 strangers of the same address hold all places."""
    few = {"max_handshakes": 12, "max_strangers": 8, "max_per_address": 10, "handshake_seconds": 300,
           "header_seconds": 300, "keep_alive_seconds": 300}
    with HttpsSite(tmp_path, authority, **few) as hub, ExitStack() as stack:
        _crowds(hub, stack)
        assert [hub.post(portal, content=b"%d" % no).status_code for no in range(20)] == [202] * 20
        assert hub.post(None).status_code == 401, "a stranger is still told why"
    assert set(hub.gate.told) == {"busy", "unknown-client"}


def test_without_giving_way_the_door_would_be_shut(tmp_path: Path, authority: Authority, portal: KeyPair,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: nobody is ever idle enough to be put out."""
    monkeypatch.setattr(_tls_server, "Crowd", type("Full", (Crowd,), {"_make_room": lambda *_: False}))
    site = HttpsSite(tmp_path, authority, max_handshakes=12, handshake_seconds=300)
    with site as hub, ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(socket.create_connection(hub.address, timeout=20))
        wait_until(lambda: not _answers(hub, portal), "the door to be shut", 10)


@pytest.mark.parametrize(("request_", "status"), [
    (b"POST /in/1/x HTTP/1.1\nHost: x\nContent-Length: 1\n\nx", 400),
    (b"POST /in/1/x HTTP/1.1\r\nHost: x\nContent-Length: 1\r\n\r\nx", 400),
    (b"POST /in/1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\nx", 400),
    (b"POST /in/1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
     b"1\r\nx\r\n0\r\n\r\n", 400),
    (b"POST /in/1/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    (b"rubbish\r\n\r\n", 400), (b"\x16\x03 \xff\r\n\r\n", 400),
    (b"POST /in/1/" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    (b"POST /in/1/" + b"x" * 40_000, 414),
    (b"POST /in/1/x HTTP/1.1\r\nHost: x\r\nA: " + b"x" * 40_000, 431),
    (b"POST /in/1/x HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 6_000 + b"\r\n", 431)])
@pytest.mark.parametrize("pair", ["portal", None])
def test_what_is_no_clear_http_is_refused_and_explained(
        tmp_path: Path, authority: Authority, portal: KeyPair, request_: bytes, status: int,
        pair: str | None) -> None:
    with HttpsSite(tmp_path, authority) as hub:
        with hub.raw(portal if pair else None) as sock:
            sock.sendall(request_)
            answer = read(sock)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:100]
        assert b"application/problem+json" in answer and b'"status":%d' % status in answer
        assert hub.post(portal).status_code == 202
        assert hub.door.asked == 1
    assert len(hub.gate.told) == 1
    assert (hub.gate.told == ["unknown-client"]) is (pair is None)


def test_a_second_request_on_a_connection_is_looked_at_as_well(tmp_path: Path, authority: Authority,
                                                               portal: KeyPair) -> None:
    with HttpsSite(tmp_path, authority) as hub, hub.raw(portal) as sock:
        sock.sendall(b"POST /in/1/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx"
                     b"POST /in/1/x HTTP/1.1\nHost: x\nContent-Length: 1\n\ny")
        answer = read(sock)
        assert (answer.count(b"HTTP/1.1 202 "), answer.count(b"HTTP/1.1 400 ")) == (1, 1)
        assert hub.door.asked == 1


def read(sock: socket.socket) -> bytes:
    """All until the end."""
    found = b""
    with suppress(ConnectionError, ssl.SSLError):
        while data := sock.recv(4096):
            found += data
    return found


def _answers(hub: HttpsSite, pair: KeyPair) -> bool:
    try:
        return hub.post(pair).status_code == 202
    except httpx2.TransportError:
        return False


@pytest.mark.parametrize("no", range(3))
def test_a_stop_lets_go_of_whoever_was_just_accepted(tmp_path: Path, authority: Authority, no: int) -> None:
    """Else its peer would wait until the process ends."""
    over = threading.Event()

    def knock(hub: HttpsSite, address: tuple[str, int]) -> None:
        while not over.is_set():
            with suppress(OSError), socket.create_connection(address, timeout=20) as plain:
                hub.tls(hub.portal).wrap_socket(plain, server_hostname=address[0]).close()

    with HttpsSite(tmp_path, authority) as hub:
        threads = [threading.Thread(target=knock, args=(hub, hub.address)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
    over.set()
    for thread in threads:
        thread.join(10)
    assert [thread for thread in threads if thread.is_alive()] == [], "somebody still waits"


def speak(hub: HttpsSite, pair: KeyPair, version: ssl.TLSVersion) -> str | None:
    """The version on which both sides agree."""
    context = hub.tls(pair)
    context.set_ciphers("ALL:@SECLEVEL=0")  # else this side would already refuse what is old
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = version
    with (socket.create_connection(hub.address, timeout=20) as plain,
          context.wrap_socket(plain, server_hostname="127.0.0.1") as sock):
        return sock.version()


def test_tls_1_1_is_refused_and_1_2_works(tmp_path: Path, authority: Authority, portal: KeyPair) -> None:
    with HttpsSite(tmp_path, authority) as hub:
        assert speak(hub, portal, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        with pytest.raises(ssl.SSLError, match=r"EOF|PROTOCOL_VERSION"):
            speak(hub, portal, ssl.TLSVersion.TLSv1_1)


def test_a_renewed_server_certificate_is_taken_up_by_itself(tmp_path: Path, portal: KeyPair,
                                                            authority: Authority) -> None:
    with HttpsSite(tmp_path, authority, watch_seconds=0.05) as hub:
        before = hub.served()
        hub.renew()
        wait_until(lambda: hub.served() != before, "the new certificate")
        assert hub.post(portal).status_code == 202


def test_faulty_new_files_leave_the_old_ones_in_force(tmp_path: Path, authority: Authority,
                                                      portal: KeyPair) -> None:
    with HttpsSite(tmp_path, authority, watch_seconds=0.05) as hub:
        assert hub.post(portal).status_code == 202
        hub.server.key.write_text("rubbish")
        with pytest.raises(ConfigError, match="certificate"):
            hub.inlet.reload()
        assert hub.post(portal).status_code == 202
        assert hub.inlet.check()[0].severity == "error"


def test_a_withdrawn_ca_ends_open_connections_too(tmp_path: Path, authority: Authority,
                                                  other: Authority) -> None:
    ca = tmp_path / "clients.pem"
    ca.write_bytes(authority.file.read_bytes() + other.file.read_bytes())
    pair = other.client("portal-test")
    with HttpsSite(tmp_path, authority, client_ca=(ca,)) as hub:
        with hub.client(pair) as client:
            assert client.post("/in/14999010/x", content=b"1").status_code == 202
            shutil.copy(authority.file, ca)
            hub.inlet.reload()
            with pytest.raises(httpx2.TransportError):
                _until_refused(client)
        with pytest.raises(httpx2.TransportError):
            hub.post(pair)


def _until_refused(client: httpx2.Client) -> None:
    """On the connection that was open, at most 401; then it is closed, and a new one fails in the handshake.
    """
    while True:
        assert client.post("/in/14999010/x", content=b"2").status_code == 401

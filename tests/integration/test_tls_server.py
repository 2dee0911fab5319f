"""The server below the HTTPS inlet: who is slow, who is one too many, and what renewed files do."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
import time
import warnings
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from connectors import https
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


def test_more_connections_than_allowed_are_closed(tmp_path: Path, authority: Authority,
                                                  portal: KeyPair) -> None:
    with HttpsSite(tmp_path, authority, max_connections=2) as hub:
        with hub.raw(portal) as one, socket.create_connection(hub.address, timeout=20) as shaking:
            with pytest.raises((OSError, ssl.SSLError)):
                hub.raw(portal)
            one.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
            assert one.recv(100).startswith(b"HTTP/1.1 202 ")
            assert shaking.fileno() > 0
        wait_until(lambda: _answers(hub, portal), "a free place")
    assert set(hub.gate.told) == {"busy"}


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

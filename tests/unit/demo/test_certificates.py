"""The authority for trying out: what it issues is trusted, kept, and renewed in time."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from cryptography import x509

from hub.demo.certificates import LIFETIME, Authority, write_private


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> dict[str, object] | None:
    """The client's certificate as the server saw it, after a real handshake over a socket pair."""
    ours, theirs = socket.socketpair()
    seen: list[dict[str, object] | None] = []

    def serve() -> None:
        with ours, contextlib.suppress(ssl.SSLError), server.wrap_socket(ours,
                                                                         server_side=True) as connection:
            seen.append(connection.getpeercert())
            connection.sendall(b"x")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with theirs, client.wrap_socket(theirs, server_hostname=name) as connection:
            assert connection.recv(1) == b"x"
    finally:
        thread.join(10)
    return seen[0] if seen else None


def contexts(authority: Authority, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    authority.server(folder / "server.pem", folder / "server.key")
    authority.client(folder / "client.pem", folder / "client.key", "CN=amt24,O=Musterland")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(authority.file))
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(folder / "server.pem", folder / "server.key")
    client = ssl.create_default_context(cafile=str(authority.file))
    client.load_cert_chain(folder / "client.pem", folder / "client.key")
    return server, client


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1"])
def test_both_sides_trust_what_it_issued(tmp_path: Path, name: str) -> None:
    seen = handshake(*contexts(Authority(tmp_path), tmp_path), name)
    assert seen is not None
    assert dict(pair[0] for pair in seen["subject"])["commonName"] == "amt24"  # type: ignore[attr-defined]


def test_another_authority_is_not_trusted(tmp_path: Path) -> None:
    server, _ = contexts(Authority(tmp_path / "one"), tmp_path / "one")
    stranger = ssl.create_default_context(cafile=str(Authority(tmp_path / "two").file))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, stranger, "localhost")


def test_certificates_are_kept_between_runs(tmp_path: Path) -> None:
    contexts(Authority(tmp_path), tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    contexts(Authority(tmp_path), tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert len(before) == 6


def test_certificates_are_renewed_before_they_expire(tmp_path: Path) -> None:
    contexts(Authority(tmp_path), tmp_path)
    before = (tmp_path / "server.pem").read_bytes()
    with time_machine.travel(datetime.now(UTC) + LIFETIME - timedelta(days=1)):
        contexts(Authority(tmp_path), tmp_path)
        renewed = x509.load_pem_x509_certificate((tmp_path / "server.pem").read_bytes())
        assert renewed.not_valid_after_utc > datetime.now(UTC) + LIFETIME - timedelta(days=1)
    assert (tmp_path / "server.pem").read_bytes() != before


@pytest.mark.parametrize("lost", ["ca.key", "ca.pem"])
def test_what_a_lost_authority_issued_is_issued_anew(tmp_path: Path, lost: str) -> None:
    contexts(Authority(tmp_path), tmp_path)
    (tmp_path / lost).unlink()
    assert handshake(*contexts(Authority(tmp_path), tmp_path), "localhost") is not None


def test_another_subject_is_issued_anew(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.client(tmp_path / "client.pem", tmp_path / "client.key", "CN=one")
    authority.client(tmp_path / "client.pem", tmp_path / "client.key", "CN=two")
    assert x509.load_pem_x509_certificate(
        (tmp_path / "client.pem").read_bytes()).subject.rfc4514_string() == "CN=two"


def test_keys_are_private(tmp_path: Path) -> None:
    contexts(Authority(tmp_path), tmp_path)
    write_private(tmp_path / "password", b"geheim\n")
    modes = {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()}
    private = {name for name, mode in modes.items() if mode == "0o600"}
    assert private == {"ca.key", "server.key", "client.key", "password"}

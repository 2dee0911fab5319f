"""The HTTPS inlet as a sender sees it: real sockets, real TLS, real certificates."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from connectors import https
from hub.errors import ConfigError, Conflict, NotAllowed, StoreUnavailable
from hub.message import Accepted, Incoming
from tests.services import wait_until
from tests.services.door import Door
from tests.services.tls import Authority, KeyPair

XML = {"content-type": "application/xml"}
FORM = b"<serviceportal-fields/>"
MAX_BYTES = 1_000_000


class Hub:
    """An inlet in its thread, and clients for it."""

    def __init__(self, folder: Path, authority: Authority, **options: Any) -> None:
        self.authority = authority
        self.door = Door(folder / "store")
        self.spool = folder / "spool"
        self.spool.mkdir()
        server = authority.server()
        given = {"port": 0, "certificate": server.certificate, "key": f"file:{server.key}",
                 "client_ca": (authority.file,), "senders": ({"name": "amt24", "subject": "CN=portal-test"},)}
        self.inlet = self.build(https.Options(**(given | options)))
        self.stop = threading.Event()
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="inlet")

    def build(self, options: https.Options) -> https.Inlet:
        return https.Inlet(options, "https", self.spool, MAX_BYTES)

    def _run(self) -> None:
        try:
            self.inlet.run(self.door, self.stop)
        except BaseException as error:
            self.failure = error

    def __enter__(self) -> Hub:
        self.thread.start()
        wait_until(lambda: self.inlet.bound is not None or not self.thread.is_alive(), "the inlet to listen")
        if self.failure:
            raise self.failure
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(30)
        assert not self.thread.is_alive(), "the inlet did not leave"
        assert self.failure is None

    @property
    def address(self) -> tuple[str, int]:
        assert self.inlet.bound
        return self.inlet.bound

    def context(self, pair: KeyPair | None, ca: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=ca or self.authority.file)
        if pair:
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    def client(self, pair: KeyPair | None) -> httpx2.Client:
        host, port = self.address
        return httpx2.Client(base_url=f"https://{host}:{port}", verify=self.context(pair), timeout=20)

    def post(self, pair: KeyPair | None, path: str = "/in/14999010/hundesteuer", content: Any = FORM,
             headers: dict[str, str] | None = None) -> httpx2.Response:
        with self.client(pair) as client:
            return client.post(path, content=content, headers=XML if headers is None else headers)

    def raw(self, pair: KeyPair | None) -> ssl.SSLSocket:
        plain = socket.create_connection(self.address, timeout=20)
        return self.context(pair).wrap_socket(plain, server_hostname=self.address[0])

    def spooled(self) -> list[Path]:
        return list(self.spool.iterdir())


@pytest.fixture
def hub(tmp_path: Path, authority: Authority) -> Iterator[Hub]:
    with Hub(tmp_path, authority) as hub:
        yield hub


def problem(response: httpx2.Response, status: int, slug: str) -> dict[str, Any]:
    """Check the answer's form and return it."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    data: dict[str, Any] = response.json()
    assert data["type"] == f"urn:datendrehscheibe:problem:{slug}"
    assert data["status"] == status
    assert data["title"] and data["detail"] and data["next"]
    assert data["en"]["title"] and data["en"]["detail"] and data["en"]["next"]
    return data


# --- accepted ---------------------------------------------------------------------------------------------------------


def test_a_document_is_answered_with_the_message_id(hub: Hub, portal: KeyPair) -> None:
    response = hub.post(portal, headers=XML | {
        "idempotency-key": '"key-1"', "drehscheibe-case": "fall-1", "drehscheibe-reply-to": "antworten",
        "drehscheibe-correlation-id": "lauf-1"})
    assert response.status_code == 202
    taken = hub.door.taken[0]
    assert response.json() == {"id": next(iter(hub.door.bodies)), "duplicate": False}
    assert response.headers["drehscheibe-message-id"] == response.json()["id"]
    assert "location" not in response.headers
    assert (taken.inlet, taken.sender, taken.ags, taken.service) == ("https", "amt24", "14999010", "hundesteuer")
    assert (taken.key, taken.case, taken.reply_to, taken.correlation) == ("key-1", "fall-1", "antworten", "lauf-1")
    assert (taken.test, taken.conflict, taken.unreadable) == (False, "refuse", None)
    part = taken.parts[0]
    assert (part.name, part.media_type, part.size, part.filename) == ("application", "application/xml", len(FORM), None)
    assert part.sha256 == hashlib.sha256(FORM).hexdigest()


@pytest.mark.parametrize(("path", "headers", "test"), [
    ("/in/14999010/hundesteuer", {}, False),
    ("/in/14999010/hundesteuer", {"drehscheibe-test": "false"}, False),
    ("/in/14999010/hundesteuer", {"drehscheibe-test": "true"}, True),
    ("/in/14999010/hundesteuer", {"drehscheibe-test": "maybe"}, True),
    ("/in/test/14999010/hundesteuer", {}, True),
    ("/in/test/14999010/hundesteuer", {"drehscheibe-test": "false"}, True),
])
def test_a_test_is_known_by_path_or_header(hub: Hub, portal: KeyPair, path: str, headers: dict[str, str],
                                           test: bool) -> None:
    assert hub.post(portal, path, headers=XML | headers).status_code == 202
    assert (hub.door.taken[0].test, hub.door.taken[0].ags, hub.door.taken[0].service) == (
        test, "14999010", "hundesteuer")


@pytest.mark.parametrize(("path", "ags", "service"), [
    ("/in/00000000/gibt-es-nicht", "00000000", "gibt-es-nicht"),
    ("/in/14999010", "14999010", ""),
    ("/in/", "", ""),
    ("/in/14999010/a/b", "14999010", "a/b"),
    ("/in/14999010/h%C3%B6he%00", "14999010", "höhe"),
])
def test_unknown_places_are_the_hubs_to_park(hub: Hub, portal: KeyPair, path: str, ags: str, service: str) -> None:
    assert hub.post(portal, path).status_code == 202
    assert (hub.door.taken[0].ags, hub.door.taken[0].service) == (ags, service)


@pytest.mark.parametrize(("content_type", "expected"), [
    ("application/xml; charset=UTF-8", "application/xml"), ("text/xml", "text/xml"),
    ("Application/JSON", "application/json"), ("image/tiff", "image/tiff"), (None, "application/octet-stream"),
    ("rubbish", "application/octet-stream"),
])
def test_any_other_content_is_one_part(hub: Hub, portal: KeyPair, content_type: str | None, expected: str) -> None:
    assert hub.post(portal, content=b"\0broken<", headers={"content-type": content_type} if content_type else {}
                    ).status_code == 202
    assert hub.door.taken[0].parts[0].media_type == expected
    assert hub.door.body() == [b"\0broken<"]


def test_form_data_is_taken_to_pieces_and_large_parts_are_spooled(hub: Hub, portal: KeyPair) -> None:
    large = bytes(range(256)) * 1000
    with hub.client(portal) as client:
        response = client.post("/in/14999010/hundesteuer", files=[
            ("document", (None, FORM, "application/xml")), ("nachweis", ("Hundefoto ä.png", large, "image/png"))])
    assert response.status_code == 202
    document, upload = hub.door.taken[0].parts
    assert (document.name, document.media_type, document.filename) == ("document", "application/xml", None)
    assert (upload.name, upload.media_type, upload.filename) == ("nachweis", "image/png", "Hundefoto ä.png")
    assert isinstance(upload.content, Path)
    assert upload.sha256 == hashlib.sha256(large).hexdigest()
    assert hub.door.body() == [FORM, large]
    assert hub.spooled() == []


def test_multipart_mixed_with_preamble_base64_and_rfc_2231_names(hub: Hub, portal: KeyPair) -> None:
    body = (b"This is a message in MIME format.\r\n--b1\r\nContent-Type: application/xml\r\n\r\n" + FORM
            + b"\r\n--b1\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: attachment; filename*=UTF-8''Antrag%20%C3%BC.pdf\r\nContent-ID: <anlage@example>\r\n"
            b"\r\nJVBERi0x\r\nLjQ=\r\n--b1--\r\nepilogue")
    assert hub.post(portal, content=body, headers={"content-type": 'multipart/mixed; boundary="b1"'}).status_code == 202
    document, upload = hub.door.taken[0].parts
    assert (document.name, upload.name) == ("part-1", "anlage@example")
    assert (upload.filename, upload.media_type) == ("Antrag ü.pdf", "application/pdf")
    assert hub.door.body() == [FORM, b"%PDF-1.4"]


def test_a_duplicate_gets_the_first_answer_and_leaves_nothing_in_the_spool(hub: Hub, portal: KeyPair) -> None:
    large = b"x" * 100_000
    first, second = hub.post(portal, content=large), hub.post(portal, content=large)
    assert second.status_code == 202
    assert second.json() == {"id": first.json()["id"], "duplicate": True}
    assert hub.spooled() == []


# --- refused ----------------------------------------------------------------------------------------------------------


def test_no_certificate_is_401(hub: Hub) -> None:
    problem(hub.post(None), 401, "unknown-client")
    assert hub.door.asked == 0


def test_an_unknown_subject_of_the_right_ca_is_401(hub: Hub, authority: Authority) -> None:
    problem(hub.post(authority.client("somebody-else")), 401, "unknown-client")


def test_the_right_subject_of_an_unknown_ca_does_not_get_in(hub: Hub, other: Authority) -> None:
    with pytest.raises(httpx2.TransportError):
        hub.post(other.client("portal-test"))
    assert hub.door.asked == 0


def test_one_ca_cannot_speak_for_the_sender_of_another(tmp_path: Path, authority: Authority, other: Authority,
                                                      portal: KeyPair) -> None:
    senders = ({"name": "amt24", "subject": "CN=portal-test", "ca": authority.file},
               {"name": "town", "san": "TOWN.example", "ca": other.file})
    with Hub(tmp_path, authority, client_ca=(), senders=senders) as hub:
        assert hub.post(portal).status_code == 202
        assert hub.post(other.client("x", "town.example")).status_code == 202
        assert [taken.sender for taken in hub.door.taken] == ["amt24", "town"]
        problem(hub.post(other.client("portal-test")), 401, "unknown-client")


def test_the_check_of_the_issuer_is_what_holds(tmp_path: Path, authority: Authority, other: Authority,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: without the issuer's check the other CA's certificate gets in."""
    monkeypatch.setattr(https, "_is_issuer", lambda ca, leaf: True)
    senders = ({"name": "amt24", "subject": "CN=portal-test", "ca": authority.file},
               {"name": "town", "san": "town.example", "ca": other.file})
    with Hub(tmp_path, authority, client_ca=(), senders=senders) as hub:
        assert hub.post(other.client("portal-test")).status_code == 202


def test_a_certificate_that_fits_two_senders_is_nobodys(tmp_path: Path, authority: Authority, portal: KeyPair) -> None:
    senders = ({"name": "a", "subject": "CN=portal-test"}, {"name": "b", "san": "portal-test.example"})
    with Hub(tmp_path, authority, senders=senders) as hub:
        problem(hub.post(portal), 401, "unknown-client")


def test_a_sender_without_a_mark_is_a_configuration_error() -> None:
    for faulty in ({"name": "x"}, {"name": "x", "subject": ""}, {"name": "x", "subject": "nonsense"}):
        with pytest.raises(ValidationError):
            https.Sender(**faulty)


def test_paths_and_methods(hub: Hub, portal: KeyPair) -> None:
    problem(hub.post(portal, "/"), 404, "not-found")
    problem(hub.post(portal, "/inn/14999010/hundesteuer"), 404, "not-found")
    with hub.client(portal) as client:
        answer = client.get("/in/14999010/hundesteuer")
    problem(answer, 405, "method")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(("error", "status", "slug"), [
    (NotAllowed("no"), 403, "not-allowed"), (Conflict("0190-id"), 409, "conflict"),
    (StoreUnavailable("disk", retry_after=12.2), 503, "unavailable"), (OSError("disk"), 500, None),
])
def test_nothing_but_accepted_is_an_acknowledgement(hub: Hub, portal: KeyPair, error: Exception, status: int,
                                                    slug: str | None) -> None:
    hub.door.refuse = error
    answer = hub.post(portal, content=b"x" * 100_000)
    if slug is None:
        assert answer.status_code == status
    else:
        problem(answer, status, slug)
    if status == 503:
        assert answer.headers["retry-after"] == "13"
    if status == 409:
        assert "0190-id" in answer.json()["detail"]
    assert (hub.door.asked, hub.spooled()) == (1, [])
    hub.door.refuse = None
    assert hub.post(portal).status_code == 202


def test_without_room_nothing_is_even_read(hub: Hub, portal: KeyPair) -> None:
    asked: list[int] = []

    def full(size: int) -> None:
        asked.append(size)
        raise StoreUnavailable("the disk fills", retry_after=30)

    hub.inlet.admit = full
    with hub.raw(portal) as sock:
        sock.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\nExpect: 100-continue\r\n\r\n")
        answer = sock.recv(4000)
    assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 30" in answer.lower()
    assert (asked, hub.door.asked, hub.spooled()) == ([999999], 0, [])
    hub.inlet.admit = lambda size: None
    assert hub.post(portal).status_code == 202


class Hasty(https.Inlet):
    """Planted fault: answers before `accept` returned."""

    async def _take(self, request: Any, accept: Any, waiting: Any) -> Accepted:
        def later(incoming: Incoming) -> Accepted:
            threading.Thread(target=lambda: _swallow(accept, incoming)).start()
            return Accepted("too-early")
        return await super()._take(request, later, waiting)


def _swallow(accept: Any, incoming: Incoming) -> None:
    try:
        accept(incoming)
    except StoreUnavailable:
        return


def test_an_inlet_that_answers_too_early_is_noticed(tmp_path: Path, authority: Authority, portal: KeyPair) -> None:
    class HastyHub(Hub):
        def build(self, options: https.Options) -> https.Inlet:
            return Hasty(options, "https", self.spool, MAX_BYTES)

    with HastyHub(tmp_path, authority) as hub:
        hub.door.refuse = StoreUnavailable("disk")
        with pytest.raises(AssertionError):
            problem(hub.post(portal), 503, "unavailable")


def test_an_announced_oversize_is_refused_before_a_byte_is_read(hub: Hub, portal: KeyPair) -> None:
    with hub.raw(portal) as sock:
        sock.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n"
                     b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_unannounced_oversize_is_cut_off(hub: Hub, portal: KeyPair) -> None:
    chunks = (b"x" * 60_000 for _ in range(20))
    problem(hub.post(portal, content=chunks), 413, "too-large")
    assert (hub.door.asked, hub.spooled()) == (0, [])


def test_too_many_parts(hub: Hub, portal: KeyPair) -> None:
    with hub.client(portal) as client:
        fine = client.post("/in/14999010/x", files=[("f", (None, b"x", "text/plain"))] * 200)
        over = client.post("/in/14999010/x", files=[("f", (None, b"x", "text/plain"))] * 201)
    assert fine.status_code == 202
    problem(over, 413, "too-large")


@pytest.mark.parametrize(("content_type", "body"), [
    ("multipart/form-data", b"--b\r\n\r\nx\r\n--b--\r\n"),
    ("multipart/form-data; boundary=", b"--b\r\n\r\nx\r\n--b--\r\n"),
    ("multipart/form-data; boundary=" + "b" * 300, b"x"),
    ("multipart/mixed; boundary=b", b"--b\r\n\r\ncut off"),
    ("multipart/mixed; boundary=b", b"--b--\r\n"),
    ("multipart/mixed; boundary=b", b"no boundary at all"),
    ("multipart/mixed; boundary=b", b"x" * 20_000),
    ("multipart/mixed; boundary=b", b"--b\r\nbad header\r\n\r\nx\r\n--b--\r\n"),
    ("multipart/mixed; boundary=b", b"--b\r\nX: " + b"x" * 9000 + b"\r\n\r\nx\r\n--b--\r\n"),
    ("multipart/mixed; boundary=b", b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\n%%%%\r\n--b--\r\n"),
    ("multipart/mixed; boundary=b", b"--b\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJ\r\n--b--\r\n"),
])
def test_broken_framing_is_415(hub: Hub, portal: KeyPair, content_type: str, body: bytes) -> None:
    problem(hub.post(portal, content=body, headers={"content-type": content_type}), 415, "unreadable-framing")
    assert (hub.door.asked, hub.spooled()) == (0, [])


def test_compressed_bodies_are_not_unpacked(hub: Hub, portal: KeyPair) -> None:
    problem(hub.post(portal, headers=XML | {"content-encoding": "gzip"}), 415, "unreadable-framing")


def test_a_full_spool_is_503(hub: Hub, portal: KeyPair) -> None:
    hub.spool.rmdir()
    problem(hub.post(portal, content=b"x" * 100_000), 503, "unavailable")


def test_what_the_inlet_refuses_is_counted_once(hub: Hub, portal: KeyPair, other: Authority) -> None:
    told: list[str] = []
    hub.inlet.turned_away = told.append
    hub.post(None)
    with pytest.raises(httpx2.TransportError):
        hub.post(other.client("portal-test"))
    for path in ("/", "/inn/14999010/hundesteuer"):
        hub.post(portal, path)
    hub.post(portal, content=(b"x" * 60_000 for _ in range(20)))
    hub.post(portal, headers=XML | {"content-encoding": "gzip"})
    with socket.create_connection(hub.address, timeout=20):
        pass  # a probe whether the port is open is nobody who wants to hand in
    for error in (NotAllowed("no"), Conflict("0190-id"), StoreUnavailable("disk")):
        hub.door.refuse = error  # the hub's own refusals are counted at its door
        hub.post(portal)
    hub.door.refuse = None
    assert hub.post(portal).status_code == 202
    hub.spool.rmdir()
    hub.post(portal, content=b"x" * 100_000)
    assert told == ["unknown-client", "unknown-client", "wrong-address", "wrong-address", "too-large", "unreadable",
                    "unavailable"]


# --- slow and many ----------------------------------------------------------------------------------------------------


def closed(sock: socket.socket) -> bool:
    """The peer ended the connection (an answer before the end is read over)."""
    try:
        while sock.recv(4096):
            pass
    except (ConnectionError, ssl.SSLError):
        return True
    return True


def test_slow_senders_are_cut_off(tmp_path: Path, authority: Authority, portal: KeyPair) -> None:
    told: list[str] = []
    with Hub(tmp_path, authority, handshake_seconds=0.3, header_seconds=0.3, grace_seconds=0.3) as hub:
        hub.inlet.turned_away = told.append
        with socket.create_connection(hub.address, timeout=20) as never_shakes:
            assert closed(never_shakes)
        with hub.raw(portal) as half_header:
            half_header.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost:")
            assert closed(half_header)
        with hub.raw(portal) as second_header:
            second_header.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nxPOST /in/")
            assert second_header.recv(100).startswith(b"HTTP/1.1 202 ")
            assert closed(second_header)
        with hub.raw(portal) as half_body:
            half_body.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 300)
            assert half_body.recv(100).startswith(b"HTTP/1.1 408 ")
            assert closed(half_body)
        assert (hub.door.asked, hub.spooled()) == (1, [])
    assert told == ["too-slow"], "who sends no request at all is nobody to be counted"


def test_without_the_header_deadline_the_connection_would_stay(tmp_path: Path, authority: Authority, portal: KeyPair,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted fault: with the watch switched off, the half header is still waited for."""
    monkeypatch.setattr(https._Protocol, "_watch_header", lambda self: None)
    with Hub(tmp_path, authority, header_seconds=0.1) as hub, hub.raw(portal) as half_header:
        half_header.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost:")
        half_header.settimeout(1)
        with pytest.raises(TimeoutError):
            half_header.recv(1)


def test_more_connections_than_allowed_are_closed(tmp_path: Path, authority: Authority, portal: KeyPair) -> None:
    told: list[str] = []
    with Hub(tmp_path, authority, max_connections=2) as hub:
        hub.inlet.turned_away = told.append
        with hub.raw(portal) as one, socket.create_connection(hub.address, timeout=20) as shaking:
            with pytest.raises((OSError, ssl.SSLError)):
                hub.raw(portal)
            one.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
            assert one.recv(100).startswith(b"HTTP/1.1 202 ")
            assert shaking.fileno() > 0
        wait_until(lambda: _answers(hub, portal), "a free place")
    assert set(told) == {"busy"}


def _answers(hub: Hub, pair: KeyPair) -> bool:
    try:
        return hub.post(pair).status_code == 202
    except httpx2.TransportError:
        return False


def test_many_senders_at_once(hub: Hub, portal: KeyPair) -> None:
    answers: list[int] = []

    def send(no: int) -> None:
        with hub.client(portal) as client:
            for count in range(10):
                answers.append(client.post("/in/14999010/x", content=f"{no}/{count}", headers=XML).status_code)

    threads = [threading.Thread(target=send, args=(no,)) for no in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 80
    assert len({body[0] for body in hub.door.bodies.values()}) == 80


# --- certificates -----------------------------------------------------------------------------------------------------


def test_tls_1_1_is_refused_and_1_2_works(hub: Hub, portal: KeyPair) -> None:
    context = hub.context(portal)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with context.wrap_socket(socket.create_connection(hub.address, timeout=20), server_hostname="127.0.0.1") as sock:
        assert sock.version() == "TLSv1.2"
    assert hub.inlet.trust.context.minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_renewed_server_certificate_is_taken_up_by_itself(tmp_path: Path, portal: KeyPair,
                                                            authority: Authority) -> None:
    server = authority.server(file="renewed")
    with Hub(tmp_path, authority, certificate=server.certificate, key=f"file:{server.key}", watch_seconds=0.05) as hub:
        before = _served(hub, portal)
        authority.server(file="renewed")
        wait_until(lambda: _served(hub, portal) != before, "the new certificate")
        assert hub.post(portal).status_code == 202


def _served(hub: Hub, pair: KeyPair) -> bytes:
    with hub.raw(pair) as sock:
        certificate = sock.getpeercert(True)
        assert certificate
        return certificate


def test_faulty_new_files_leave_the_old_ones_in_force(tmp_path: Path, authority: Authority, portal: KeyPair) -> None:
    server = authority.server(file="spoiled")
    with Hub(tmp_path, authority, certificate=server.certificate, key=f"file:{server.key}", watch_seconds=0.05) as hub:
        server.key.write_text("rubbish")
        with pytest.raises(ConfigError, match="certificate"):
            hub.inlet.reload()
        assert hub.post(portal).status_code == 202
        assert hub.inlet.check()[0].severity == "error"


def test_a_withdrawn_ca_ends_open_connections_too(tmp_path: Path, authority: Authority, other: Authority) -> None:
    ca = tmp_path / "clients.pem"
    ca.write_bytes(authority.file.read_bytes() + other.file.read_bytes())
    pair = other.client("portal-test")
    with Hub(tmp_path, authority, client_ca=(ca,)) as hub:
        with hub.client(pair) as client:
            assert client.post("/in/14999010/x", content=b"1").status_code == 202
            shutil.copy(authority.file, ca)
            hub.inlet.reload()
            with pytest.raises(httpx2.TransportError):
                _until_refused(client)
        with pytest.raises(httpx2.TransportError):
            hub.post(pair)


def _until_refused(client: httpx2.Client) -> None:
    """On the connection that was open, at most 401; then it is closed, and a new one fails in the handshake."""
    while True:
        assert client.post("/in/14999010/x", content=b"2").status_code == 401


def test_check_speaks_german(tmp_path: Path, authority: Authority) -> None:
    hub = Hub(tmp_path, authority)
    assert [finding.severity for finding in hub.inlet.check()] == ["ok"]
    lonely = Hub(tmp_path / "second", authority, client_ca=()) if (tmp_path / "second").mkdir() is None else None
    assert lonely
    assert "nie erkannt" in lonely.inlet.check()[-1].text


def test_leftovers_of_a_killed_process_are_swept_and_others_are_not(tmp_path: Path, authority: Authority) -> None:
    hub = Hub(tmp_path, authority)
    (hub.spool / "https~abc").write_bytes(b"left over")
    (hub.spool / "https.b~abc").write_bytes(b"of another inlet")
    with hub:
        assert [path.name for path in hub.spooled()] == ["https.b~abc"]


def test_answers_are_json_and_name_no_server(hub: Hub, portal: KeyPair) -> None:
    answer = hub.post(portal)
    assert "server" not in answer.headers
    assert json.loads(answer.text)["duplicate"] is False

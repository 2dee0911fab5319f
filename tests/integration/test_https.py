"""The HTTPS inlet as a sender sees it: real sockets, real TLS, real certificates."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from hub.endpoint import InletBase
from hub.errors import Conflict, NotAllowed, StoreUnavailable
from hub.job import Limits
from hub.parsing.charset import of_media_type
from hub.parsing.xml import parse
from tests.integration import inlet_contract
from tests.integration.https_site import XML, HttpsSite
from tests.integration.inlet_contract import SMALL, Fault, InletContract
from tests.integration.planted_inlets import PlantedInlets
from tests.services.tls import Authority, KeyPair


class TestContract(InletContract, PlantedInlets):
    """What every inlet promises."""

    @pytest.fixture
    def site(self, tmp_path: Path, authority: Authority) -> Iterator[HttpsSite]:
        site = HttpsSite(tmp_path, authority, watch_seconds=3600)
        yield site
        site.close()

    def test_the_suite_notices_that_nothing_is_read_at_reload(self, site: HttpsSite) -> None:
        def forgetful(kind: type[InletBase[Any]]) -> type[InletBase[Any]]:
            class Forgetful(kind):  # type: ignore[misc, valid-type]
                def reload(self) -> None:
                    if not self.ready():
                        super().reload()
            return Forgetful

        site.fault, site.patience = Fault(kind=forgetful), 6.0
        with pytest.raises(pytest.fail.Exception, match="the new files to be in force"):
            inlet_contract.takes_up_new_files_at_reload(site)


@pytest.fixture
def hub(tmp_path: Path, authority: Authority) -> Iterator[HttpsSite]:
    with HttpsSite(tmp_path, authority) as hub:
        yield hub
    assert hub.spooled() == []
    assert hub.failures == []


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


# --- accepted -----------------------------------------------------------------------------------------------


def test_a_document_is_answered_with_the_message_id(hub: HttpsSite, portal: KeyPair) -> None:
    response = hub.post(portal, headers=XML | {
        "idempotency-key": '"key-1"', "drehscheibe-case": "fall-1", "drehscheibe-reply-to": "antworten",
        "drehscheibe-correlation-id": "lauf-1"})
    assert response.status_code == 202
    taken = hub.door.taken[0]
    assert response.json() == {"id": next(iter(hub.door.bodies)), "duplicate": False}
    assert response.headers["drehscheibe-message-id"] == response.json()["id"]
    assert "location" not in response.headers
    assert (taken.inlet, taken.sender, taken.ags, taken.service) == (
        "inlet", "amt24", "14999010", "hundesteuer")
    assert (taken.key, taken.case, taken.reply_to, taken.correlation) == (
        "key-1", "fall-1", "antworten", "lauf-1")
    assert (taken.test, taken.conflict, taken.unreadable) == (False, "refuse", None)
    part = taken.parts[0]
    assert (part.name, part.media_type, part.size, part.filename) == (
        "application", "application/xml", len(SMALL), None)
    assert part.sha256 == hashlib.sha256(SMALL).hexdigest()


@pytest.mark.parametrize(("path", "headers", "test"), [
    ("/in/14999010/hundesteuer", {}, False),
    ("/in/14999010/hundesteuer", {"drehscheibe-test": "false"}, False),
    ("/in/14999010/hundesteuer", {"drehscheibe-test": "true"}, True),
    ("/in/14999010/hundesteuer", {"drehscheibe-test": "maybe"}, True),
    ("/in/test/14999010/hundesteuer", {}, True),
    ("/in/test/14999010/hundesteuer", {"drehscheibe-test": "false"}, True),
])
def test_a_test_is_known_by_path_or_header(hub: HttpsSite, portal: KeyPair, path: str,
                                           headers: dict[str, str], test: bool) -> None:
    assert hub.post(portal, path, headers=XML | headers).status_code == 202
    assert (hub.door.taken[0].test, hub.door.taken[0].ags, hub.door.taken[0].service) == (
        test, "14999010", "hundesteuer")


@pytest.mark.parametrize(("path", "ags", "service"), [
    ("/in/00000000/gibt-es-nicht", "00000000", "gibt-es-nicht"),
    ("/in/14999010", "14999010", ""),
    ("/in/", "", ""),
    ("/in/14999010/a/b", "14999010", "a/b"),
    ("/in/14999010/h%C3%B6he%00", "14999010", "höhe"), ("/in/14999010/h%F6he", "14999010", "höhe"),
])
def test_unknown_places_are_the_hubs_to_park(hub: HttpsSite, portal: KeyPair, path: str, ags: str,
                                             service: str) -> None:
    assert hub.post(portal, path).status_code == 202
    assert (hub.door.taken[0].ags, hub.door.taken[0].service) == (ags, service)


@pytest.mark.parametrize(("content_type", "expected"), [
    ("application/xml; charset=UTF-8", "application/xml; charset=utf-8"), ("text/xml", "text/xml"),
    ("Application/JSON", "application/json"), ("image/tiff", "image/tiff"),
    (None, "application/octet-stream"),
    ("rubbish", "application/octet-stream"),
])
def test_any_other_content_is_one_part(hub: HttpsSite, portal: KeyPair, content_type: str | None,
                                       expected: str) -> None:
    headers = {"content-type": content_type} if content_type else {}
    assert hub.post(portal, content=b"\0broken<", headers=headers).status_code == 202
    assert hub.door.taken[0].parts[0].media_type == expected
    assert hub.door.body() == [b"\0broken<"]


def test_form_data_is_taken_to_pieces_and_large_parts_are_spooled(hub: HttpsSite, portal: KeyPair) -> None:
    large = bytes(range(256)) * 1000
    with hub.client(portal) as client:
        response = client.post("/in/14999010/hundesteuer", files=[
            ("document", (None, SMALL, "application/xml")),
            ("nachweis", ("Hundefoto ä.png", large, "image/png"))])
    assert response.status_code == 202
    document, upload = hub.door.taken[0].parts
    assert (document.name, document.media_type, document.filename) == ("document", "application/xml", None)
    assert (upload.name, upload.media_type, upload.filename) == ("nachweis", "image/png", "Hundefoto ä.png")
    assert isinstance(upload.content, Path)
    assert upload.sha256 == hashlib.sha256(large).hexdigest()
    assert hub.door.body() == [SMALL, large]


def test_multipart_mixed_with_preamble_base64_and_rfc_2231_names(hub: HttpsSite, portal: KeyPair) -> None:
    body = (b"This is a message in MIME format.\r\n--b1\r\nContent-Type: application/xml\r\n\r\n" + SMALL
            + b"\r\n--b1\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n"
            b"Content-Disposition: attachment; filename*=UTF-8''Antrag%20%C3%BC.pdf\r\n"
            b"Content-ID: <anlage@example>\r\n"
            b"\r\nJVBERi0x\r\nLjQ=\r\n--b1--\r\nepilogue")
    headers = {"content-type": 'multipart/mixed; boundary="b1"'}
    assert hub.post(portal, content=body, headers=headers).status_code == 202
    document, upload = hub.door.taken[0].parts
    assert (document.name, upload.name) == ("part-1", "anlage@example")
    assert (upload.filename, upload.media_type) == ("Antrag ü.pdf", "application/pdf")
    assert hub.door.body() == [SMALL, b"%PDF-1.4"]


@pytest.mark.parametrize("form", ["https://hub.example:8443", "HTTP://x"])
def test_a_target_may_have_its_absolute_form(hub: HttpsSite, portal: KeyPair, form: str) -> None:
    with hub.raw(portal) as sock:
        sock.sendall(f"POST {form}/in/Test/14999010/x?y HTTP/1.1\r\n".encode()
                     + b"Host: x\r\nContent-Length: 1\r\n\r\nx")
        assert sock.recv(100).startswith(b"HTTP/1.1 202 ")
    taken = hub.door.taken[0]
    assert (taken.ags, taken.service, taken.test) == ("14999010", "x", True)


@pytest.mark.parametrize("written", [
    "Fall-Ü/7 Großröhrsdorf".encode(), "Fall-Ü/7 Großröhrsdorf".encode("latin-1"),
    b"Fall-%C3%9C/7%20Gro%C3%9Fr%C3%B6hrsdorf", "Fall-U\u0308/7 Großro\u0308hrsdorf".encode()])
def test_a_case_is_the_same_however_it_is_written(hub: HttpsSite, portal: KeyPair, written: bytes) -> None:
    with hub.client(portal) as client:
        headers = [(name, written) for name in (
            b"drehscheibe-case", b"drehscheibe-reply-to", b"idempotency-key")]
        assert client.post("/in/14999010/x", content=b"x", headers=headers).status_code == 202
    assert hub.door.taken[0].case == "Fall-Ü/7 Großröhrsdorf"
    assert "�" not in f"{hub.door.taken[0]}"


def test_a_duplicate_gets_the_first_answer(hub: HttpsSite, portal: KeyPair) -> None:
    first, second = hub.post(portal), hub.post(portal)
    assert second.status_code == 202
    assert second.json() == {"id": first.json()["id"], "duplicate": True}


CASES = Path(__file__).parents[1] / "transfers"


@pytest.mark.parametrize(("case", "files"), [
    ("blank-after-boundary", ["antrag.xml"]), ("folded-header", ["antrag.xml", "Impfpass.pdf"]),
    ("filename-star", ["antrag.xml", "Führerschein.pdf"]),
    ("filename-rfc2047", ["antrag.xml", "Führerschein.pdf"]),
    ("name-in-content-type", [None, "Impfpass.pdf"]), ("nested", ["antrag.xml", "a.pdf", "b.pdf"]),
    ("nfd-name", ["antrag.xml", "Gebu\u0308hrenbescheid Mu\u0308ller.pdf"]),
    ("cyrillic-names", ["antrag.xml", "Договор.docx", "Паспорт.heic", "Свідоцтво.docx",
                        "Łukasz Żółć résumé.odt"]),
    ("xml-attachment-first", ["rechnung.xml", "antrag.xml"]), ("two-applications", ["eins.xml", "zwei.xml"])])
def test_multipart_as_real_senders_write_it(hub: HttpsSite, portal: KeyPair, case: str,
                                            files: list[str | None]) -> None:
    headers = {"content-type": "multipart/form-data; boundary=XyZ"}
    content = (CASES / f"multipart-{case}.bin").read_bytes()
    assert hub.post(portal, content=content, headers=headers).status_code == 202
    assert [part.filename for part in hub.door.taken[0].parts] == files
    for part, body in zip(hub.door.taken[0].parts, hub.door.body(), strict=True):
        assert b"--XyZ" not in body and b"--inner" not in body
        begins = {"application/xml": b"<", "application/pdf": b"%PDF"}
        assert body.startswith(begins.get(part.media_type, b""))


@pytest.mark.parametrize(("case", "content_type", "expected"), [
    ("charset-only-in-header.latin1.xml", "text/xml; charset=ISO-8859-1", "Jürgens"),
    ("cp1252-labelled-8859-1.xml", "application/xml", "Müller–Los €")])
def test_the_charset_of_the_header_is_there_when_the_document_is_read(
        hub: HttpsSite, portal: KeyPair, case: str, content_type: str, expected: str) -> None:
    content = (CASES / case).read_bytes()
    assert hub.post(portal, content=content, headers={"content-type": content_type}).status_code == 202
    assert hub.door.body() == [content], "the bytes are kept as they came"
    outside = of_media_type(hub.door.taken[0].parts[0].media_type)
    text = "".join(parse(hub.door.body()[0], Limits(), outside).getroot().itertext())
    assert expected in text


# --- refused ------------------------------------------------------------------------------------------------


def test_no_certificate_is_401(hub: HttpsSite) -> None:
    problem(hub.post(None), 401, "unknown-client")
    assert hub.door.asked == 0


def test_an_unknown_subject_of_the_right_ca_is_401(hub: HttpsSite, authority: Authority) -> None:
    problem(hub.post(authority.client("somebody-else")), 401, "unknown-client")


def test_the_right_subject_of_an_unknown_ca_does_not_get_in(hub: HttpsSite, other: Authority) -> None:
    with pytest.raises(httpx2.TransportError):
        hub.post(other.client("portal-test"))
    assert hub.door.asked == 0


def test_one_ca_cannot_speak_for_the_sender_of_another(tmp_path: Path, authority: Authority, other: Authority,
                                                      portal: KeyPair) -> None:
    senders = ({"name": "amt24", "subject": "CN=portal-test", "ca": authority.file},
               {"name": "town", "san": "TOWN.example", "ca": other.file})
    with HttpsSite(tmp_path, authority, client_ca=(), senders=senders) as hub:
        assert hub.post(portal).status_code == 202
        assert hub.post(other.client("x", "town.example"), content=b"2").status_code == 202
        assert [taken.sender for taken in hub.door.taken] == ["amt24", "town"]
        problem(hub.post(other.client("portal-test")), 401, "unknown-client")


def test_paths_and_methods(hub: HttpsSite, portal: KeyPair) -> None:
    problem(hub.post(portal, "/"), 404, "not-found")
    problem(hub.post(portal, "/inn/14999010/hundesteuer"), 404, "not-found")
    with hub.client(portal) as client:
        answer = client.get("/in/14999010/hundesteuer")
    problem(answer, 405, "method")
    assert answer.headers["allow"] == "POST"


@pytest.mark.parametrize(("error", "status", "slug"), [
    (NotAllowed("no"), 403, "not-allowed"), (Conflict("0190-id"), 409, "conflict"),
    (StoreUnavailable("disk", retry_after=12.2), 503, "unavailable")])
def test_what_the_hub_refuses_is_explained(hub: HttpsSite, portal: KeyPair, error: Exception, status: int,
                                           slug: str) -> None:
    hub.door.refuse = error
    answer = hub.post(portal)
    problem(answer, status, slug)
    assert answer.headers.get("retry-after") == ("13" if status == 503 else None)
    assert ("0190-id" in answer.json()["detail"]) is (status == 409)


def test_without_room_nothing_is_even_read(hub: HttpsSite, portal: KeyPair) -> None:
    hub.gate.room = False
    with hub.raw(portal) as sock:
        sock.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n"
                     b"Expect: 100-continue\r\n\r\n")
        answer = sock.recv(4000)
    assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in answer.lower()
    assert (hub.gate.asked, hub.door.asked) == ([999999], 0)


def test_an_announced_oversize_is_refused_before_a_byte_is_read(hub: HttpsSite, portal: KeyPair) -> None:
    with hub.raw(portal) as sock:
        sock.sendall(b"POST /in/14999010/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n"
                     b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 413 ")


def test_an_unannounced_oversize_is_cut_off(hub: HttpsSite, portal: KeyPair) -> None:
    chunks = (b"x" * 60_000 for _ in range(20))
    problem(hub.post(portal, content=chunks), 413, "too-large")
    assert hub.door.asked == 0


def test_too_many_parts(hub: HttpsSite, portal: KeyPair) -> None:
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
def test_broken_framing_is_415(hub: HttpsSite, portal: KeyPair, content_type: str, body: bytes) -> None:
    problem(hub.post(portal, content=body, headers={"content-type": content_type}), 415, "unreadable-framing")
    assert hub.door.asked == 0


def test_compressed_bodies_are_not_unpacked(hub: HttpsSite, portal: KeyPair) -> None:
    problem(hub.post(portal, headers=XML | {"content-encoding": "gzip"}), 415, "unreadable-framing")


def test_a_full_spool_is_503(hub: HttpsSite, portal: KeyPair) -> None:
    hub.spool.rmdir()
    problem(hub.post(portal, content=b"x" * 100_000), 503, "unavailable")
    hub.spool.mkdir()


def test_every_way_to_be_turned_away_is_counted_once(hub: HttpsSite, portal: KeyPair,
                                                     other: Authority) -> None:
    hub.post(None)
    with pytest.raises(httpx2.TransportError):
        hub.post(other.client("portal-test"))
    for path in ("/", "/inn/14999010/hundesteuer"):
        hub.post(portal, path)
    hub.post(portal, content=(b"x" * 60_000 for _ in range(20)))
    hub.post(portal, headers=XML | {"content-encoding": "gzip"})
    with socket.create_connection(hub.address, timeout=20):
        pass  # a probe whether the port is open is nobody who wants to hand in
    assert hub.post(portal).status_code == 202
    hub.spool.rmdir()
    hub.post(portal, content=b"x" * 100_000)
    hub.spool.mkdir()
    assert hub.gate.told == ["unknown-client", "unknown-client", "wrong-address", "wrong-address",
                             "too-large", "unreadable", "unavailable"]


def test_many_senders_at_once(hub: HttpsSite, portal: KeyPair) -> None:
    answers: list[int] = []

    def send(no: int) -> None:
        with hub.client(portal) as client:
            for count in range(10):
                answer = client.post("/in/14999010/x", content=f"{no}/{count}", headers=XML)
                answers.append(answer.status_code)

    threads = [threading.Thread(target=send, args=(no,)) for no in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [202] * 80
    assert len({body[0] for body in hub.door.bodies.values()}) == 80


def test_check_speaks_german(tmp_path: Path, authority: Authority) -> None:
    assert [finding.severity for finding in HttpsSite(tmp_path / "a", authority).inlet.check()] == ["ok"]
    without_ca = HttpsSite(tmp_path / "b", authority, client_ca=())
    assert "nie erkannt" in without_ca.inlet.check()[-1].text
    nobody = HttpsSite(tmp_path / "c", authority, senders=())
    assert "kein Absender" in nobody.inlet.check()[-1].text
    missing = HttpsSite(tmp_path / "d", authority, certificate=tmp_path / "missing.pem")
    assert [finding.severity for finding in missing.inlet.check()] == ["error"]


def test_answers_are_json_and_name_no_server(hub: HttpsSite, portal: KeyPair) -> None:
    answer = hub.post(portal)
    assert "server" not in answer.headers
    assert json.loads(answer.text)["duplicate"] is False

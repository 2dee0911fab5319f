"""CMIS by its browser binding: what an answer means, and how addresses and forms are written."""

from __future__ import annotations

import httpx2
import pytest

from connectors._cmis_wire import (
    exception_of,
    form,
    multipart,
    numbered,
    object_of,
    on_our_host,
    path_url,
    with_query,
)
from connectors._http_answer import Answer
from hub.endpoint import is_certain
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary, TooLarge
from tests.integration.contract import make_delivery


def answer(status: int, content: bytes | None, **headers: str) -> Answer:
    return Answer(status, httpx2.Headers(headers), content)


@pytest.mark.parametrize(("said", "kind", "certain"), [
    (answer(400, b'{"exception":"invalidArgument"}'), Permanent, True),
    (answer(401, b""), Misconfigured, True),
    (answer(403, b'{"exception":"permissionDenied"}'), Misconfigured, True),
    (answer(404, b'{"exception":"objectNotFound"}'), Misconfigured, True),
    (answer(405, b'{"exception":"notSupported"}'), Misconfigured, True),
    (answer(302, b"", Location="https://login.example"), Misconfigured, True),
    (answer(409, b'{"exception":"constraint"}'), Permanent, True),
    (answer(409, b'{"exception":"updateConflict"}'), Temporary, True),
    (answer(413, b""), TooLarge, True),
    (answer(429, b"", **{"Retry-After": "7"}), Temporary, True),
    (answer(500, b'{"exception":"storage"}'), Temporary, False),
    (answer(503, b"<html>Wartung</html>", **{"Retry-After": "7"}), Temporary, False),
    (answer(201, b"<html>Anmeldung</html>"), Temporary, False),
    (answer(201, b'{"id": 1}'), Temporary, False),
    (answer(201, None), Temporary, False),
])
def test_what_an_answer_to_a_create_means(said: Answer, kind: type[DeliveryError], certain: bool) -> None:
    """Certain is only what the server itself has refused; a broken answer may stand for a success."""
    with pytest.raises(kind) as raised:
        object_of(said, "Beim Anlegen", created=True)
    assert type(raised.value) is kind
    assert is_certain(raised.value) == certain
    if "Retry-After" in said.headers:
        assert raised.value.retry_after == 7


@pytest.mark.parametrize(("said", "name"), [
    (answer(409, b'{"exception":"constraint"}'), "constraint"),
    (answer(200, b'{"exception":"constraint"}'), ""),
    (answer(409, b"<html>"), ""), (answer(409, b"[1]"), ""), (answer(409, None), ""),
    (answer(400, b'{"exception":"Erika Mustermann"}'), "unzulässiger Code")])
def test_the_name_of_an_exception(said: Answer, name: str) -> None:
    assert exception_of(said) == name


class TestAddresses:
    """What the server names is used on the host that we were told."""

    @pytest.mark.parametrize("named", [
        "https://fremd.example/cmis/A1", "http://127.0.0.1:99/cmis/A1", "/cmis/A1", "//fremd.example/cmis/A1",
        "https://u:p@fremd.example/cmis/A1"])
    def test_our_host(self, named: str) -> None:
        assert on_our_host(httpx2.URL("https://dms.example:8443/cmis"),
                           named) == "https://dms.example:8443/cmis/A1"

    def test_no_address(self) -> None:
        with pytest.raises(Misconfigured, match="unbrauchbare Adresse"):
            on_our_host(httpx2.URL("https://dms.example/"), "https://x:y/")

    def test_queries_and_paths(self) -> None:
        assert with_query("https://x/a", q="a b&c") == "https://x/a?q=a+b%26c"
        assert with_query("https://x/a?r=1", q="ä") == "https://x/a?r=1&q=%C3%A4"
        assert path_url("https://x/root/", "/Eingang/Größe?/") == "https://x/root/Eingang/Gr%C3%B6%C3%9Fe%3F"


class TestForms:
    """What is sent."""

    def test_properties_are_numbered(self) -> None:
        fields = numbered({"cmis:name": "a&b", "mst:x": ""})
        assert fields == {"propertyId[0]": "cmis:name", "propertyValue[0]": "a&b", "propertyId[1]": "mst:x",
                          "propertyValue[1]": ""}
        assert b"propertyValue%5B0%5D=a%26b" in b"".join(form(fields).pieces())

    def test_a_file_comes_last_and_whole(self) -> None:
        delivery = make_delivery()
        part = delivery.manifest.parts[2]
        body = multipart({"cmisaction": "createDocument"}, delivery, part, "antrag.pdf")
        sent = b"".join(body.pieces())
        assert len(sent) == body.size
        boundary = body.media_type.partition("boundary=")[2].encode()
        first, last = sent.split(b"--" + boundary)[1:3]
        assert b'name="cmisaction"' in first
        assert b'filename="antrag.pdf"\r\nContent-Type: application/pdf\r\n' in last
        assert last.endswith(b"\r\n\r\n" + delivery.read(part) + b"\r\n")
        assert multipart({}, delivery, part,
                         "a").media_type != body.media_type, "a boundary is never used twice"

    @pytest.mark.parametrize("kind", ["text/plain; x=y", "text/plain; charset=a b", "a", "a/b\r\nX: y", ""])
    def test_an_odd_media_type_is_bytes(self, kind: str) -> None:
        delivery = make_delivery([("xml", "a", kind, b"x")])
        sent = b"".join(multipart({}, delivery, delivery.manifest.parts[0], "a").pieces())
        assert b"Content-Type: application/octet-stream\r\n" in sent

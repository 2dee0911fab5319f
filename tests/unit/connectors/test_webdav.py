"""A WebDAV server that answers what no server should; test_webdav of integration speaks with a real one."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2
import pytest

from connectors._http import AskMethod, Body, Line
from connectors._http_answer import Answer
from connectors.webdav import Collection, Options
from hub.errors import Misconfigured

OPTIONS = Options(url="http://127.0.0.1/eingang/", layout="single")


class Odd(Line):
    """Each question gets `content`."""

    def __init__(self, content: bytes, content_type: str = "application/xml") -> None:
        super().__init__(OPTIONS)
        self.answer = Answer(207, httpx2.Headers({"Content-Type": content_type}), content)

    def ask(self, url: str, headers: Mapping[str, str] | None = None, method: AskMethod = "GET",
            body: Body | None = None) -> Answer:
        return self.answer


def listing(href: str, size: str = "5", declaration: str = "") -> str:
    return (f"{declaration}<d:multistatus xmlns:d='DAV:'><d:response><d:href>{href}</d:href><d:propstat>"
            f"<d:prop><d:getcontentlength>{size}</d:getcontentlength></d:prop></d:propstat></d:response>"
            "</d:multistatus>")


@pytest.mark.parametrize("content", [
    listing("http://[").encode(), listing("/a", "9" * 10_000).encode(), b"<a>" * 100_000, b"", b"\0",
    listing("/a", declaration="<?xml version='1.0' encoding='UTF-16'?>").encode()])
def test_what_nobody_can_read(content: bytes) -> None:
    with pytest.raises(Misconfigured, match="unverständlich"):
        Collection(OPTIONS, Odd(content)).size("a")


def test_names_in_the_characters_of_the_media_type() -> None:
    content = listing("/eingang/Größe").encode("latin-1")
    line = Odd(content, "text/xml; charset=ISO-8859-1")
    assert Collection(OPTIONS, line).size("Größe") == 5
    assert Collection(OPTIONS, Odd(b"\r\n" + listing("/a").encode())).size("a") == 5

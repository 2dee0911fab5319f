"""Answers in several parts: which one is the root, and what it refers to."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from lxml import etree

from connectors._charset import Garbled
from connectors._related import is_related, split_parts

XOP = "http://www.w3.org/2004/08/xop/include"


def mime(parts: Sequence[tuple[str, bytes]], boundary: str = "grenze") -> bytes:
    """Parts with their headers."""
    return b"".join(b"--%s\r\n%s\r\n\r\n%s\r\n" % (boundary.encode(), head.encode(), body)
                    for head, body in parts) + b"--%s--\r\n" % boundary.encode()


def include(name: str) -> str:
    return f'<x:Include xmlns:x="{XOP}" href="cid:{name}"/>'


ROOT = ('Content-Type: application/xop+xml; charset=utf-8; type="text/xml"\r\nContent-ID: <wurzel@fach>',
        b"<a/>")
OTHER = ("Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\nContent-ID: <bild@fach>",
         b"\x89PNG\r\n\0\r")


class TestRoot:
    """By `start`, by `type`, or the first."""

    @pytest.mark.parametrize(("parameters", "parts"), [
        ('start="<wurzel@fach>"', (OTHER, ROOT)), ("start=wurzel@fach", (OTHER, ROOT)),
        ('type="application/xop+xml"', (OTHER, ROOT)), ("", (ROOT, OTHER)),
        ('start="<gibtesnicht>"; type="application/XOP+xml"', (OTHER, ROOT)), ('type="a/b"', (ROOT, OTHER))])
    @pytest.mark.parametrize("boundary", ["grenze", "uuid:1a-2b", "=_Part 1"])
    def test_it_is_found(self, parameters: str, parts: Sequence[Any], boundary: str) -> None:
        content_type = f'Multipart/Related; boundary="{boundary}"; {parameters}'
        assert is_related(content_type)
        found = split_parts(b"Vorwort\r\n" + mime(parts, boundary), content_type)
        assert found.root == b"<a/>"
        assert found.parts == {"bild@fach": OTHER[1]}
        assert "charset=utf-8" in found.content_type

    @pytest.mark.parametrize("content_type", ["text/xml", "", None, "multipart/mixed; boundary=a"])
    def test_something_else(self, content_type: str | None) -> None:
        assert not is_related(content_type)


class TestReferences:
    """XOP: an element stands for the base64 of a part."""

    def resolved(self, root: str, parts: dict[str, bytes]) -> etree._Element:
        heads = [(f"Content-ID: <{name}>\r\nContent-Transfer-Encoding: binary", body)
                 for name, body in parts.items()]
        found = split_parts(mime([("Content-Type: text/xml", root.encode()), *heads]),
                           "multipart/related; boundary=grenze")
        tree = etree.fromstring(found.root)
        found.resolve(tree)
        return tree

    @pytest.mark.parametrize("content", [bytes(range(256)) * 50, b"\r\n\r\n", b"", b"\n--grenz\r",
                                         b"\r" * 99])
    def test_byte_by_byte(self, content: bytes) -> None:
        tree = self.resolved(f"<a><b>{include('teil%201@fach')}</b><c>{include('fehlt')}</c></a>",
                             {"teil 1@fach": content})
        assert base64.b64decode(tree.findtext("b") or "") == content
        assert tree.find("c/*") is not None

    def test_a_bomb_of_references_ends(self) -> None:
        with pytest.raises(Garbled, match="zu oft"):
            self.resolved("<a>" + f"<b>{include('x')}</b>" * 5000 + "</a>", {"x": bytes(100_000)})


@pytest.mark.parametrize(("content", "content_type"), [
    (b"", "multipart/related; boundary=a"), (b"<a/>", "multipart/related; boundary=a"),
    (b"--a\r\n\r\n<a/>", "multipart/related"), (b"--a\r\n" * 5000, "multipart/related; boundary=a"),
    (b"--a\r\n\r\n", "multipart/related; boundary=")])
def test_what_cannot_be_split(content: bytes, content_type: str) -> None:
    with pytest.raises(Garbled):
        split_parts(content, content_type)


def test_multiparts_in_multiparts_without_end() -> None:
    content, names = b"", [f"g{number}" for number in range(3000)]
    for name in names[1:]:
        content += b"--%s\r\nContent-Type: multipart/mixed; boundary=%s\r\n\r\n" % (b"g0", name.encode())
    with pytest.raises(Garbled):
        split_parts(content, "multipart/related; boundary=g0")
    nested = b"".join(b"--%s\r\nContent-Type: multipart/mixed; boundary=%s\r\n\r\n" % (
        here.encode(), there.encode()) for here, there in pairwise(names[:999]))
    with pytest.raises(Garbled, match="tief"):
        split_parts(nested, "multipart/related; boundary=g0")

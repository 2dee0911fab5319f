"""Reading a peer's answer: documents, paths into them, characters, and what nobody can read."""

from __future__ import annotations

import json
import time
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors._document import Json, Kind, Unreadable, parse_json, read
from connectors._http_answer import Answer

NAMESPACES = {"a": "urn:a"}
STEPS = {"UTF-8": "ÄÖÜ ß €", "ISO-8859-1": "ÄÖÜ ß", "windows-1252": "Ä „€“ –"}


def answer(content: bytes | None, content_type: str = "", why: str = "") -> Answer:
    headers = {"Content-Type": content_type} if content_type else {}
    return Answer(200, httpx2.Headers(headers), content, why)


def found(kind: Kind, content: bytes, path: str, content_type: str = "") -> str | None:
    document = read(kind, answer(content, content_type), NAMESPACES)
    assert not isinstance(document, Unreadable), document.why
    return document.find(path)


def why(kind: Kind, content: bytes | None, content_type: str = "") -> str:
    document = read(kind, answer(content, content_type), NAMESPACES)
    assert isinstance(document, Unreadable)
    assert document.find("/a") is None
    return document.why


class TestPaths:
    """JSON by pointer, XML by XPath."""

    @pytest.mark.parametrize(("path", "expected"), [
        ("/a", "x"), ("/n", "7"), ("/f", "1.5"), ("/t", "true"), ("/l/1", "b"), ("/l/2", None),
        ("/l/-1", None),
        ("/l/x", None), ("/o", None), ("/z", None), ("/o/~1~0", "y"), ("/fehlt", None), ("/a/b", None),
        ("/l/²", None)])
    def test_json(self, path: str, expected: str | None) -> None:
        content = b'{"a": " x ", "n": 7, "f": 1.5, "t": true, "l": ["a", "b"], "o": {"/~": "y"}, "z": null}'
        assert found("json", content, path) == expected

    @pytest.mark.parametrize(("path", "expected"), [
        ("/a:w/a:rc", "+17"), ("//a:rc/@az", "K 7"), ("count(//a:rc)", "2.0"), ("//a:rc = 'x'", "false"),
        ("//a:no", None),
        ("string(//a:no)", None), ("//a:leer", None)])
    def test_xml(self, path: str, expected: str | None) -> None:
        content = b'<w xmlns="urn:a"><rc az="K 7"> +<b>17</b> </rc><rc/><leer> </leer></w>'
        assert found("xml", content, path) == expected


class TestCharacters:
    """The document's own word, then its media type's, then UTF-8."""

    @pytest.mark.parametrize("name", STEPS)
    @pytest.mark.parametrize("quoted", [False, True])
    def test_the_media_type_where_the_document_says_nothing(self, name: str, quoted: bool) -> None:
        text = STEPS[name]
        parameter = f'charset="{name}"' if quoted else f"Charset={name.lower()}"
        assert found("xml", f"<a>{text}</a>".encode(name), "/a", f"text/xml; {parameter}") == text
        assert found("json", f'{{"a": "{text}"}}'.encode(name), "/a", f"application/json;{parameter}") == text

    def test_a_declaration_without_an_encoding_says_nothing(self) -> None:
        content = '<?xml version="1.0"?><a>Größe</a>'.encode("latin-1")
        assert found("xml", content, "/a", "text/xml; charset=iso-8859-1") == "Größe"

    @pytest.mark.parametrize(("declared", "outside"), [("UTF-8", "iso-8859-1"), ("ISO-8859-1", "utf-8"),
                                                       ("ISO-8859-15", "utf-8"), ("utf-8", "utf-16")])
    def test_the_declaration_wins(self, declared: str, outside: str) -> None:
        """RFC 7303 would have it the other way."""
        content = f"<?xml version='1.0' encoding='{declared}'?><a>Größe</a>".encode(declared)
        assert found("xml", content, "/a", f"application/xml; charset={outside}") == "Größe"

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
    @pytest.mark.parametrize("before", ["", "\r\n", " \n\t"])
    def test_a_mark_or_zeros_win(self, encoding: str, before: str) -> None:
        for kind, text in (("xml", f'{before}<?xml version="1.0" encoding="ISO-8859-1"?><a>Größe</a>'),
                           ("json", before + '{"a": "Größe"}')):
            said = found(kind, text.encode(encoding), "/a", "x/y; charset=latin1")  # type: ignore[arg-type]
            assert said == "Größe"

    @pytest.mark.parametrize("before", [b"\r\n", b"\xef\xbb\xbf", b" \t\n", b"\xef\xbb\xbf\r\n",
                                        b"\r\n\xef\xbb\xbf"])
    def test_what_stands_before_a_declaration(self, before: bytes) -> None:
        content = '<?xml version="1.0" encoding="utf-8"?><a>Größe</a>'.encode()
        assert found("xml", before + content, "/a") == "Größe"

    @pytest.mark.parametrize("name", ["ISO-8859-1", "latin1", "windows-1252", "cp1252"])
    def test_c1_bytes_are_windows_1252(self, name: str) -> None:
        declared = f"<?xml version='1.0' encoding='{name}'?>".encode()
        content = declared + b"<a>\x84M\xfcller\x93 \x96 5\x80\x81</a>"
        assert found("xml", content, "/a") == "„Müller“ – 5€\x81"
        assert found("json", b'{"a": "\x845\x80\x93"}', "/a", f"application/json; charset={name}") == "„5€“"

    @pytest.mark.parametrize("name", ["UTF-16", "utf-16le", "UTF-32", "ISO-10646-UCS-2", "UTF_16"])
    def test_what_calls_itself_utf_16_and_is_not(self, name: str) -> None:
        said = why("xml", f'<?xml version="1.0" encoding="{name}"?><a>Größe</a>'.encode())
        assert "UTF-16" in said
        for kind, content in (("xml", b"<a>x</a>"), ("json", b'{"a": 1}')):
            assert why(kind, content, f"x/y; charset={name}")  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["binary", "utf8mb4", "rot13", "zip", "idna", "unicode_escape", "",
                                      "x" * 5000, "utf-7"])
    def test_a_name_of_no_charset(self, name: str) -> None:
        """A parameter is passed over, for UTF-8; a declaration makes it unreadable."""
        assert found("xml", "<a>Größe</a>".encode(), "/a", f"text/xml; charset={name}") == "Größe"
        if name.isascii() and 0 < len(name) < 40:
            assert why("xml", f"<?xml version='1.0' encoding='{name}'?><a/>".encode())

    @pytest.mark.parametrize(("kind", "content"), [
        ("xml", b"<a>\xfc</a>"), ("json", b'{"a": "\xfc"}'), ("json", b'{"a": "\xed\xa0\x80"}')])
    def test_bytes_that_are_not_what_they_are_said_to_be(self, kind: Kind, content: bytes) -> None:
        assert "UTF-8" in why(kind, content)


class TestUnreadable:
    """It ends with a reason, never with a traceback, and soon."""

    @pytest.mark.parametrize(("kind", "content", "says"), [
        ("json", b"{", "kein JSON"), ("json", b"", "kein JSON"), ("json", b"[" * 100_000, "tief"),
        ("json", b'{"a":' * 100_000, "tief"), ("json", b"[" * 100_000 + b"]" * 100_000, "tief"),
        ("json", b"9" * 10_000_000, "zu lang"), ("json", b'{"a": -%s}' % (b"1" * 5000), "zu lang"),
        ("json", b'{"a": NaN}', "Zahl"), ("json", b"[-Infinity]", "Zahl"), ("json", b"1e999999", "Zahl"),
        ("json", b"1" * 10_000_000 + b".5", "Zahl"), ("json", b'{"a": 1, "b": {"c": 1, "c": 2}}', "doppelt"),
        ("json", b'["\\ud800"]', "halbes"), ("json", b'{"\\uDFFF": 1}', "halbes"),
        ("json", b'{"a": "\\ude00\\ud83d"}', "halbes"),
        ("xml", b"<a>", "kein XML"), ("xml", b"", "kein XML"), ("xml", b"\r\n", "kein XML"),
        ("xml", b"<a>" * 100_000 + b"</a>" * 100_000, "kein XML"), ("xml", b"<a>&#xd800;</a>", "kein XML"),
        ("xml", b"<!DOCTYPE a><a/>", "DOCTYPE"),
        ("xml", b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>', "DOCTYPE"),
        ("none", b"{}", ""), ("json", None, "")])
    def test_why(self, kind: Kind, content: bytes | None, says: str) -> None:
        began = time.monotonic()
        said = why(kind, content)
        assert time.monotonic() - began < 10
        assert says in said
        assert bool(says) == bool(said)

    def test_an_answer_that_is_cut_says_how(self) -> None:
        document = read("json", answer(None, why="zu groß"), {})
        assert document == Unreadable("sie ist zu groß")

    def test_a_whole_character_in_two_halves(self) -> None:
        assert found("json", b'{"a": "\\ud83d\\ude00"}', "/a") == "😀"

    @settings(deadline=None)
    @given(st.binary(max_size=200), st.sampled_from(["json", "xml"]),
           st.sampled_from(["", "text/xml; charset=utf-16", "x; charset*=a'b'%ff",
                            "multipart/related; boundary=b",
                            'multipart/related; boundary="b"; start="<a>"; type="text/xml"']))
    def test_nothing_raises(self, content: bytes, kind: Kind, content_type: str) -> None:
        for body in (content, b"<a>" + content + b"</a>", b'{"a": "' + content + b'"}',
                     b"--b\r\n" + content + b"\r\n\r\n<a/>\r\n--b--"):
            read(kind, answer(body, content_type), {}).find("/a")

    @settings(max_examples=25, deadline=None)
    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text() |
                        st.floats(allow_nan=False, allow_infinity=False),
                        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
    def test_what_is_right_stays_as_it_is(self, value: Any) -> None:
        assert parse_json(json.dumps(value).encode()) == value
        assert Json(value).root == value

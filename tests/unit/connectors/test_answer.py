"""Reading a Fachverfahren's answer: documents, paths into them, and codes."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from connectors import _answer
from connectors._answer import AnswerOptions, Kind, check_path, judge, matches, read, reference
from connectors._http_answer import Answer
from hub.endpoint import is_certain
from hub.errors import DeliveryError, InDoubt, Misconfigured, Permanent, Temporary

NAMESPACES = {"a": "urn:a"}


class TestDocuments:
    """JSON by pointer, XML by XPath; what is neither is None."""

    @pytest.mark.parametrize(("path", "found"), [
        ("/a", "x"), ("/n", "7"), ("/f", "1.5"), ("/t", "true"), ("/l/1", "b"), ("/l/2", None),
        ("/l/-1", None),
        ("/l/x", None), ("/o", None), ("/z", None), ("/o/~1~0", "y"), ("/fehlt", None), ("/a/b", None),
        ("/l/²", None)])
    def test_json(self, path: str, found: str | None) -> None:
        content = b'{"a": " x ", "n": 7, "f": 1.5, "t": true, "l": ["a", "b"], "o": {"/~": "y"}, "z": null}'
        document = read("json", content, {})
        assert document is not None
        assert document.find(path) == found

    @pytest.mark.parametrize(("path", "found"), [
        ("/a:w/a:rc", "+17"), ("//a:rc/@az", "K 7"), ("count(//a:rc)", "2.0"), ("//a:rc = 'x'", "false"),
        ("//a:no", None),
        ("string(//a:no)", None), ("//a:leer", None)])
    def test_xml(self, path: str, found: str | None) -> None:
        content = b'<w xmlns="urn:a"><rc az="K 7"> +<b>17</b> </rc><rc/><leer> </leer></w>'
        document = read("xml", content, NAMESPACES)
        assert document is not None
        assert document.find(path) == found

    @pytest.mark.parametrize(("kind", "content"), [
        ("json", b"{"), ("json", b"\xff"), ("json", b"[" * 100_000), ("json", None), ("xml", b"<a>"),
        ("xml", b""),
        ("xml", b"<!DOCTYPE a><a/>"), ("xml", b'<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>'), ("none", b"{}")])
    def test_none(self, kind: Kind, content: bytes | None) -> None:
        assert read(kind, content, {}) is None


@pytest.mark.parametrize(("kind", "path", "complaint"), [
    ("json", "a/b", "JSON pointer"), ("xml", "/b:a", "no XPath"), ("xml", "///", "no XPath"),
    ("none", "/a", "answer =")])
def test_paths_that_lead_nowhere(kind: Kind, path: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_path(kind, path, NAMESPACES)


@pytest.mark.parametrize(("code", "wanted", "expected"), [
    ("+1", ["+*"], True), ("-1", ["+*"], False), ("+1", ["+"], False), ("+", ["+"], True),
    (None, ["+*"], False), ("x", [], False)])
def test_codes_whole_or_by_their_beginning(code: str | None, wanted: list[str], expected: bool) -> None:
    assert matches(code, wanted) == expected


@pytest.mark.parametrize(("options", "complaint"), [
    ({"code_success": ["+"]}, "need code_path"), ({"code_path": "/rc"}, "code_success"),
    ({"code_path": "/rc", "code_success": ["*"]}, "says nothing"),
    ({"code_path": "/rc", "code_success": [""]}, "says nothing")])
def test_options_that_say_nothing(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        AnswerOptions(**options)


class TestJudge:
    """The table of the module; over a real line it is tried in test_rest and test_soap."""

    OPTIONS = AnswerOptions(code_path="/rc", code_success=("+*",), code_known=("K",), code_temporary=("T",),
                            code_in_doubt=("D",), status_known=(409,), reference_path="/nr")

    def judged(self, status: int, content: bytes, **how: bool) -> dict[str, str] | DeliveryError:
        answer = Answer(status, httpx2.Headers(), content)
        try:
            return judge(self.OPTIONS, answer, read("json", content, {}), **how)
        except DeliveryError as error:
            return error

    @pytest.mark.parametrize(("status", "content", "detail"), [
        (200, b'{"rc": "+1", "nr": "AZ 1/26"}', {"status": "200", "code": "+1", "number": "AZ 1/26"}),
        (200, b'{"rc": "+1", "nr": "<b>"}', {"status": "200", "code": "+1"}), (409, b"", {"status": "409"}),
        (500, b'{"rc": "K"}', {"status": "500", "code": "K"})])
    def test_success(self, status: int, content: bytes, detail: dict[str, str]) -> None:
        assert self.judged(status, content) == detail
        assert reference("id-1", detail) == ("AZ 1/26 (id-1)" if "number" in detail else "id-1")

    @pytest.mark.parametrize(("status", "content", "how", "kind", "certain"), [
        (200, b'{"rc": "T"}', {}, Temporary, True), (500, b'{"rc": "T"}', {}, Temporary, True),
        (200, b'{"rc": "D"}', {}, InDoubt, False), (200, b"{}", {}, InDoubt, False),
        (200, b'{"rc": "-"}', {}, Permanent, True),
        (500, b'{"rc": "+1"}', {}, InDoubt, False), (404, b"", {}, Misconfigured, True),
        (404, b"", {"own_path": True}, Permanent, True), (302, b"", {}, Misconfigured, False),
        (307, b"", {}, Misconfigured, True)])
    def test_no_success(self, status: int, content: bytes, how: dict[str, bool], kind: type[DeliveryError],
                        certain: bool) -> None:
        error = self.judged(status, content, **how)
        assert isinstance(error, kind)
        assert is_certain(error) == certain

    def test_a_conflict_of_a_receiver_that_acts_once_is_still_at_work(self) -> None:
        answer = Answer(409, httpx2.Headers(), b"")
        options = AnswerOptions()
        for idempotent, kind in ((True, Temporary), (False, Permanent)):
            with pytest.raises(kind):
                _answer.judge(options, answer, None, idempotent=idempotent)

"""What a Fachverfahren's answer means: codes, and statuses."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from connectors import _answer
from connectors._answer import AnswerOptions, check_path, judge, matches, reference
from connectors._document import Kind, Unreadable, read
from connectors._http_answer import Answer
from hub.endpoint import is_certain
from hub.errors import DeliveryError, InDoubt, Misconfigured, Permanent, Temporary

NAMESPACES = {"a": "urn:a"}


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
            return judge(self.OPTIONS, answer, read("json", answer, {}), **how)
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
                _answer.judge(options, answer, Unreadable(""), idempotent=idempotent)

    @pytest.mark.parametrize(("status", "kind"), [
        (200, InDoubt), (500, InDoubt), (503, Temporary), (400, Permanent), (401, Misconfigured)])
    @pytest.mark.parametrize("content", [
        b"[" * 100_000, b'{"rc": ' + b"9" * 10_000 + b"}", b'{"rc": NaN}', b'{"rc": "+1", "rc": "-1"}',
        b'{"rc": "\\ud800"}'])
    def test_what_cannot_be_read_is_judged_by_its_status(self, status: int, kind: type[DeliveryError],
                                                         content: bytes) -> None:
        error = self.judged(status, content)
        assert isinstance(error, kind)
        assert ("unverständlich" in str(error)) == (status == 200)
        assert "nachsehen" in str(error) or status != 200

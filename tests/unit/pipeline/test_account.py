"""The applicant's account as the portal's form content tells it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from hub.pipeline.account import account_of
from tests.services import standards
from tests.unit.pipeline.envelope_kit import E, Result, content, part


def token(level: object, **more: Any) -> str:
    """A JWT of the portal; its signature is not looked at."""
    body = {"content":
            {"hashedValue": "eA==", "verificationInfoList": [{"verificationLevel": level}], **more}}
    return ".".join(base64.urlsafe_b64encode(piece).decode().rstrip("=")
                    for piece in (b'{"alg":"RS256"}', json.dumps(body).encode(), b"geheim"))


def test_kind_of_account_and_what_was_read_out_of_it() -> None:
    account = account_of({"servicekontoContextType": "BUND", "servicekontoNpaAuthenticated": True,
                          "firstname": "Erika"}, {"g:0:name": token("VN_BASIS_READOUT"), "g:0:ort": "x.y"})
    assert account is not None
    assert (account.type, account.identified) == ("BUND", True)
    assert account.verified == {"g:0:name": "VN_BASIS_READOUT"}


@pytest.mark.parametrize("context", [None, [], "BUND", {}, {"servicekontoContextType": "<b>"},
                                     {"servicekontoContextType": 5, "servicekontoNpaAuthenticated": "ja"}])
def test_a_form_content_that_says_nothing_of_an_account_has_none(context: Any) -> None:
    assert account_of(context, {}) is None


@pytest.mark.parametrize("odd", [
    None, 5, "", "a.b", "a.%.c", "a.bm8ganNvbg.c", token(None), token("klein geschrieben"), token("A" * 41),
    "a." + "W1tb" * 4000 + ".c", "a." * 2 + "x" * 30_000,
    "a." + base64.urlsafe_b64encode(b'{"content": {"verificationInfoList": []}}').decode() + ".c",
], ids=str)
def test_a_token_that_is_not_understood_is_left_out(odd: object) -> None:
    assert account_of({"servicekontoContextType": "ELSTER"}, {"g:0:name": odd}) == ("ELSTER", None, {})


def test_the_envelope_has_the_account_and_the_digest_has_not() -> None:
    fields = {"g:0:name": {"value": "Erika", "verificationToken": token("VN_BASIS_READOUT")}, "g:00:ort": "x"}
    with_account = Result(content(fields, context={"servicekontoContextType": "BUND"}))
    account = with_account.envelope.find(f"{E}metadata/{E}account")
    assert account is not None and account.get("type") == "BUND" and account.get("identified") is None
    assert [(each.get("field"), each.get("level")) for each in account] == [("g:0:name", "VN_BASIS_READOUT")]
    without = Result(content({"g:0:name": "Erika", "g:0:ort": "x"}))
    assert without.envelope.find(f"{E}metadata/{E}account") is None
    assert without.normal.facts.canonical_digest == with_account.normal.facts.canonical_digest


def test_the_portals_own_sample() -> None:
    sample = (standards() / "amt24-forms/formContent_trustLevel.json").read_bytes()
    account = Result(part(sample, media_type="application/json")).envelope.find(f"{E}metadata/{E}account")
    assert account is not None and dict(account.attrib) == {"type": "BUND", "identified": "false"}
    assert [(each.get("field"), each.get("level")) for each in account] == [
        ("nameGroup:0:name", "VN_BASIS_READOUT")]

"""`drehscheibe send` against the HTTPS inlet: what reaches it, and what is said when nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hub.cli import app
from hub.errors import Conflict, NotAllowed, StoreUnavailable
from tests.integration.https_site import HttpsSite
from tests.services.tls import Authority, KeyPair

UNREAD = "https://127.0.0.1:9"


@pytest.fixture
def hub(tmp_path: Path, authority: Authority) -> Iterator[HttpsSite]:
    with HttpsSite(tmp_path, authority) as hub:
        yield hub


def send(tmp_path: Path, pair: KeyPair, ca: Path, *more: str, url: str = UNREAD, language: str = "en",
         size: int = 10,
         **path: str) -> Result:
    document = tmp_path / "antrag.xml"
    document.write_text(f"<a>{'x' * size}</a>")
    where = {"ags": "14999010", "service": "hundesteuer"} | path
    return CliRunner().invoke(app.main, [
        "send", str(document), "--ags", where["ags"], "--service", where["service"], "--cert",
        str(pair.certificate),
        "--key", str(pair.key), "--ca", str(ca), "--url", url, *more], env={"DREHSCHEIBE_LANG": language})


def address(hub: HttpsSite) -> str:
    host, port = hub.address
    return f"https://{host}:{port}"


@pytest.mark.parametrize("key", ["käse", "a\nb: c", "a\0", "", " ", "schlüssel\x7f"])
def test_a_key_that_no_header_takes_is_a_usage_error(tmp_path: Path, authority: Authority, portal: KeyPair,
                                                     key: str) -> None:
    result = send(tmp_path, portal, authority.file, "--idempotency-key", key)
    assert result.exit_code == 2, result.output
    assert "--idempotency-key" in result.output


@pytest.mark.parametrize("url",
                         ["http://127.0.0.1:9", "https://127.0.0.1:99999", "https://127.0.0.1:x",
                          "127.0.0.1:9", "https://:9"])
def test_an_address_where_nothing_can_be_sent_is_no_silence(tmp_path: Path, authority: Authority,
                                                            portal: KeyPair,
                                                            url: str) -> None:
    result = send(tmp_path, portal, authority.file, url=url)
    assert result.exit_code == 78, result.output
    assert f"--url: {url}: is no address of an inlet" in result.output


def test_nobody_there_is_temporary(tmp_path: Path, authority: Authority, portal: KeyPair) -> None:
    result = send(tmp_path, portal, authority.file)
    assert result.exit_code == 75
    assert "is the hub running" in result.output


def test_a_ca_that_does_not_fit_is_said(hub: HttpsSite, tmp_path: Path, other: Authority,
                                        portal: KeyPair) -> None:
    result = send(tmp_path, portal, other.file, url=address(hub))
    assert result.exit_code == 78, result.output
    assert f"--ca: {other.file}: does not vouch for the certificate of {address(hub)} (" in result.output
    assert "bürgt nicht für" in send(tmp_path, portal, other.file, url=address(hub), language="de").output


@pytest.mark.parametrize("size", [10, 5_000_000])
def test_a_certificate_of_an_unknown_ca_is_said(hub: HttpsSite, tmp_path: Path, authority: Authority,
                                                other: Authority,
                                                size: int) -> None:
    result = send(tmp_path, other.client("portal-test"), authority.file, url=address(hub), size=size)
    assert result.exit_code == 78, result.output
    assert "--cert: " in result.output and "is not taken by" in result.output


@pytest.mark.parametrize(("ags", "service"),
                         [("14999010", "x?y=1"), ("14999010", "a/b#c"), ("test/14999010", "hundesteuer"),
                          ("14999010/a", "höhe%41")])
def test_what_was_named_is_what_arrives(hub: HttpsSite, tmp_path: Path, authority: Authority, portal: KeyPair,
                                        ags: str,
                                        service: str) -> None:
    result = send(tmp_path, portal, authority.file, url=f"{address(hub)}/", ags=ags, service=service)
    assert result.exit_code == 0, result.output
    [taken] = hub.door.taken
    assert (taken.ags, taken.service, taken.test) == (ags, service, False)


@pytest.mark.parametrize(("option", "value"), [("ags", "test"), ("ags", ".."), ("service", ".")])
def test_what_the_path_itself_reads_otherwise_is_a_usage_error(tmp_path: Path, authority: Authority,
                                                               portal: KeyPair, option: str,
                                                               value: str) -> None:
    result = send(tmp_path, portal, authority.file, **{option: value})
    assert result.exit_code == 2
    assert f"--{option}" in result.output


@pytest.mark.parametrize(("error", "code", "english", "german"), [
    (NotAllowed("no"), 1, ["403 This sender may not", "next:\n  Check AGS and service"],
     ["403 Dieser Absender darf", "Nächster Schritt:\n  AGS und Leistung"]),
    (Conflict("019"), 1, ["409 This Idempotency-Key", "next:\n  Use a new"],
     ["409 Unter diesem", "Schritt:\n  Für einen neuen"]),
    (StoreUnavailable("no"), 75, ["503 The hub cannot", "next:\n  Send again"],
     ["503 Die Drehscheibe", "Schritt:\n  Nach der Zeit"]),
])
def test_a_refusal_says_why_and_what_next_in_the_callers_language(
        hub: HttpsSite, tmp_path: Path, authority: Authority, portal: KeyPair, error: Any, code: int,
        english: list[str],
        german: list[str]) -> None:
    hub.door.refuse = error
    for language, said in (("en", english), ("de", german)):
        result = send(tmp_path, portal, authority.file, url=address(hub), language=language)
        assert result.exit_code == code
        assert [text for text in said if text not in result.output] == [], result.output

"""How a line shows who it is: API key, password, token, against a server that looks at it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors._http import Body, Line
from connectors._http_options import HttpOptions
from hub.endpoint import is_certain
from hub.errors import DeliveryError, Misconfigured, Temporary
from tests.integration.contract import Effect
from tests.services.fachverfahren import Fachverfahren
from tests.services.tls import Authority

BODY = Body.of(b"Antrag", "text/plain")


class Office:
    """The server, and lines to it."""

    def __init__(self) -> None:
        self.server = Fachverfahren(dedupe=False)
        self.base = f"http://127.0.0.1:{self.server.port}"
        self.lines: list[Line] = []

    def line(self, **options: Any) -> Line:
        self.lines.append(Line(HttpOptions(timeout=5, **options)))
        return self.lines[-1]

    def send(self, line: Line, effect: Callable[[], None] | None = None) -> int:
        """One application; the status of the answer."""
        return line.send("POST", f"{self.base}/antraege", {}, BODY, effect or Effect()).status

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.server.requests]

    def close(self) -> None:
        for line in self.lines:
            line.close()
        self.server.stop()


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.close()


@pytest.fixture
def secret(tmp_path: Path) -> str:
    (tmp_path / "pw").write_text("geheim\n")
    return f"file:{tmp_path / 'pw'}"


class TestSecrets:
    """API key and password."""

    def test_basic_and_api_key(self, office: Office, secret: str) -> None:
        office.server.login = "Basic " + base64.b64encode(b"hub:geheim").decode()
        line = office.line(user="hub", password=secret, api_key=secret, api_key_header="X-Schluessel")
        assert office.send(line) == 200
        assert office.server.taken[0].headers["X-Schluessel"] == "geheim"
        assert office.send(office.line()) == 401

    def test_a_secret_is_read_anew_for_each_request(self, office: Office, secret: str,
                                                    tmp_path: Path) -> None:
        line = office.line(api_key=secret)
        office.send(line)
        (tmp_path / "pw").write_text("neu\n")
        office.send(line)
        assert [taken.headers["X-API-Key"] for taken in office.server.taken] == ["geheim", "neu"]

    @pytest.mark.parametrize("content", [None, "", "a\nb\n", "größe", "a\tb", b"gr\xf6\xdfe"])
    def test_a_missing_or_odd_secret(self, office: Office, tmp_path: Path,
                                     content: str | bytes | None) -> None:
        if content is not None:
            (tmp_path / "odd").write_bytes(content if isinstance(content, bytes) else content.encode())
        effect = Effect()
        with pytest.raises(Misconfigured) as raised:
            office.send(office.line(api_key=f"file:{tmp_path / 'odd'}"), effect)
        assert effect.begun == 0
        assert is_certain(raised.value)
        assert office.server.requests == []


class TestToken:
    """OAuth 2, client credentials."""

    def line(self, office: Office, secret: str, **options: Any) -> Line:
        office.server.protected = True
        return office.line(token_url=f"{office.base}/token", client_id="hub", client_secret=secret, **options)

    @pytest.mark.parametrize("how", ["client_secret_basic", "client_secret_post"])
    def test_a_token_serves_many(self, office: Office, secret: str, how: str) -> None:
        line = self.line(office, secret, token_auth=how, scope="antraege")
        assert [office.send(line) for _ in range(3)] == [200, 200, 200]
        assert office.paths().count("/token") == 1
        assert len(office.server.taken) == 3

    def test_a_token_that_ended_is_renewed_once(self, office: Office, secret: str) -> None:
        line, effect = self.line(office, secret), Effect()
        office.send(line)
        office.server.tokens.clear()
        assert office.send(line, effect) == 200
        assert effect.begun == 2, "the hub may have given it up between the two"
        assert len(office.server.taken) == 2
        office.server.login = "nobody"
        before = len(office.server.requests)
        assert office.send(line) == 401
        assert len(office.server.requests) == before + 3, "one try, one token, one try"

    def test_so_it_is_for_questions(self, office: Office, secret: str) -> None:
        line = self.line(office, secret)
        for ask in (lambda: line.ask(f"{office.base}/status").status,
                    lambda: line.fetch(f"{office.base}/status", at_most=1000).answer.status):
            office.server.tokens.clear()
            assert ask() == 200

    def test_a_hub_that_has_given_it_up_stops_the_second_try(self, office: Office, secret: str) -> None:
        line = self.line(office, secret)
        office.send(line)
        office.server.tokens.clear()
        effect = Effect()

        def stop() -> None:
            if effect.begun == 2:
                raise RuntimeError

        effect.then = stop
        with pytest.raises(RuntimeError):
            office.send(line, effect)
        assert len(office.server.taken) == 1

    @pytest.mark.parametrize(("status", "body", "kind"), [
        (401, b'{"error":"invalid_client"}', Misconfigured),
        (400, b'{"error":"invalid_scope"}', Misconfigured),
        (403, b"<html>", Misconfigured), (200, b"{}", Misconfigured), (503, b"<html>", Temporary),
        (429, b"<html>", Temporary), (200, b"<html>", Temporary), (200, b"[" * 2_000_000, Temporary),
        (302, b"", Misconfigured), (200, b"[" * 100_000, Temporary), (200, b"[]", Temporary),
        (200, b'"a"', Temporary), (200, b"null", Temporary), (200, b"9" * 10_000, Temporary),
        (200, b'{"access_token": "a", "expires_in": ["x"]}', Temporary),
        (200, b'{"access_token": "a", "expires_in": 1e999}', Temporary),
        (200, b'{"access_token": ["a"]}', Misconfigured),
        (400, b'{"error": {"a": "Mustermann"}}', Misconfigured),
        (200, b'{"access_token": "\\ud800"}', Misconfigured)])
    def test_no_token_before_any_effect(self, office: Office, secret: str, status: int, body: bytes,
                                        kind: type[DeliveryError]) -> None:
        office.server.token_faults = [(status, {"Retry_After": "60"}, body)]
        effect = Effect()
        with pytest.raises(kind) as raised:
            office.send(self.line(office, secret), effect)
        assert effect.begun == 0
        assert office.paths() == ["/token"]
        if status in (503, 429):
            assert isinstance(raised.value, Temporary)
            assert raised.value.retry_after == 60
        assert "Mustermann" not in str(raised.value)

    def test_no_new_token_after_a_clear_no_is_certain(self, office: Office, secret: str) -> None:
        """The effect was announced for the first try, which was answered by 401: nothing has happened."""
        line, effect = self.line(office, secret), Effect()
        office.send(line)
        office.server.tokens.clear()
        office.server.token_faults = [(503, {}, b"")]
        with pytest.raises(Temporary) as raised:
            office.send(line, effect)
        assert effect.begun == 1
        assert is_certain(raised.value)


def renew(secret: str, content: str) -> None:
    Path(secret.removeprefix("file:")).write_text(content)


class TestRenewal:
    """A secret that somebody changes while the line lives, on both sides, one after the other."""

    @pytest.mark.parametrize("kind", ["file", "credential"])
    def test_a_password(self, office: Office, secret: str, kind: str, tmp_path: Path,
                        monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
        line = office.line(user="hub", password=secret if kind == "file" else "credential:pw")
        for word, taken in (("geheim", 1), ("neu", 2)):
            office.server.login = "Basic " + base64.b64encode(f"hub:{word}".encode()).decode()
            if taken == 2:
                assert office.send(line) == 401, "the server was first"
            renew(secret, f"{word}\n")
            assert office.send(line) == 200
            assert len(office.server.taken) == taken

    @pytest.mark.parametrize("how", ["client_secret_basic", "client_secret_post"])
    def test_a_client_secret(self, office: Office, secret: str, how: str) -> None:
        """The token of the old one serves as long as the server takes it."""
        office.server.protected = True
        line = office.line(token_url=f"{office.base}/token", client_id="hub", client_secret=secret,
                           token_auth=how)
        assert office.send(line) == 200
        office.server.client_secret = "neu"
        assert office.send(line) == 200
        office.server.tokens.clear()
        with pytest.raises(Misconfigured, match="Tokenserver lehnt uns ab"):
            office.send(line)
        renew(secret, "neu\n")
        assert office.send(line) == 200

    def test_a_certificate(self, tmp_path: Path) -> None:
        """At the next request, not after the next restart; half a renewal harms nobody."""
        authority = Authority(tmp_path)
        server = Fachverfahren(authority.server(), client_ca=authority)
        ours, theirs = authority.client("alt"), authority.client("neu")
        line = Line(HttpOptions(timeout=5, ca_file=authority.file, certificate=ours.certificate,
                                key=f"file:{ours.key}"))

        def send() -> str:
            assert line.send("POST", f"https://localhost:{server.port}/a", {}, BODY, Effect()).status == 200
            return server.peers[-1]

        try:
            assert [send(), send()] == ["alt", "alt"]
            ours.certificate.write_bytes(theirs.certificate.read_bytes())
            assert send() == "alt", "its key is not there yet"
            ours.key.write_bytes(theirs.key.read_bytes())
            assert [send(), send()] == ["neu", "neu"]
            authority.file.write_text("Unfug")
            assert send() == "neu"
            line.close()
            with pytest.raises(Misconfigured, match="ca_file"):
                send()
        finally:
            line.close()
            server.stop()

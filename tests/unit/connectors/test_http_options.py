"""What every HTTP destination can be told, and what is refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from connectors._http_options import HttpOptions, check_header, is_loopback


class TestCredentials:
    """Secrets are named, whole, and never two of a kind."""

    @pytest.mark.parametrize(("options", "complaint"), [
        ({"user": "hub"}, "belong together"), ({"password": "file:/x"}, "belong together"),
        ({"certificate": "/c.pem"}, "belong together"), ({"key": "file:/x"}, "belong together"),
        ({"client_id": "x"}, "belong together"), ({"token_url": "https://x.example/"}, "belong together"),
        ({"token_url": "https://x.example/", "client_id": "a", "client_secret": "file:/x", "user": "a",
          "password": "file:/x"}, "exclude each other"),
        ({"token_url": "http://x.example/", "client_id": "a", "client_secret": "file:/x"}, "in the clear"),
        ({"api_key": "abc"}, "never written"), ({"api_key_header": "Host"}, "connector itself"),
        ({"timeout": 0}, "greater than 0"), ({"connect_timeout": -1}, "greater than 0"),
        ({"max_answer": 0}, "greater"),
        ({"verify": False}, "Extra")])
    def test_refused(self, options: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ValidationError, match=complaint):
            HttpOptions(**options)

    def test_every_option_is_described(self) -> None:
        assert [name for name, field in HttpOptions.model_fields.items() if not field.description] == []


class TestUrl:
    """Where a request may go."""

    @pytest.mark.parametrize(("url", "complaint"), [
        ("ftp://x/", "is no URL"), ("nur/pfad", "is no URL"), ("https://", "is no URL"),
        ("https://x:y/", "is no URL"),
        ("https://u:p@x.example/", "no password"), ("https://x.example/#teil", "no fragment"),
        ("http://verfahren.example/a", "in the clear"), ("http://10.0.0.1/a", "in the clear")])
    def test_refused(self, url: str, complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            HttpOptions().require_url(url)

    @pytest.mark.parametrize("url", ["https://x.example/a?b=c", "http://127.0.0.1:8080/a",
                                     "http://localhost/", "http://[::1]/"])
    def test_good(self, url: str) -> None:
        assert HttpOptions().require_url(url) == url

    @pytest.mark.parametrize("secret", [
        {"api_key": "file:/x"}, {"user": "a", "password": "file:/x"},
        {"token_url": "https://x.example/", "client_id": "a", "client_secret": "file:/x"}])
    def test_no_secret_over_a_line_that_others_read(self, secret: dict[str, Any]) -> None:
        url = "http://x.example/a"
        assert HttpOptions(plaintext_accepted=True).require_url(url) == url
        with pytest.raises(ValueError, match="without TLS"):
            HttpOptions(plaintext_accepted=True, **secret).require_url(url)

    @pytest.mark.parametrize(("host", "expected"), [
        ("localhost", True), ("127.0.0.7", True), ("[::1]", True), ("::1", True), ("10.0.0.1", False),
        ("localhost.example", False), ("", False)])
    def test_loopback(self, host: str, expected: bool) -> None:
        assert is_loopback(host) == expected


@pytest.mark.parametrize(("name", "complaint"), [
    ("X:Y", "no header name"), ("", "no header name"), ("Größe", "no header name"),
    ("a\nb", "no header name"),
    ("x" * 61, "no header name"), ("HOST", "connector itself"), ("Content-Length", "connector itself"),
    ("transfer-encoding", "connector itself"), ("Authorization", "connector itself")])
def test_headers_that_are_not_to_be_set(name: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        check_header(name)
    assert check_header("X-Fachverfahren") == "X-Fachverfahren"

"""The HTTP library's errors in the hub's words, and what proves that a server did not act."""

from __future__ import annotations

import socket
import ssl
import threading

import httpx2
import pytest

from connectors._http import Line
from connectors._http_errors import says_no, shown, translated
from connectors._http_options import HttpOptions
from hub.errors import ConfigError, DeliveryError, Misconfigured, Permanent, Temporary


def caused(error: Exception, cause: Exception) -> Exception:
    """The library wraps what happened below it."""
    error.__cause__ = cause
    return error


ALERT = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
TOO_OLD = ssl.SSLError(1, "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol")
TOO_OLD.reason = "UNSUPPORTED_PROTOCOL"
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")


@pytest.mark.parametrize(("error", "kind", "text", "no"), [
    (httpx2.ConnectTimeout("x"), Temporary, "Zeitüberschreitung", False),
    (httpx2.ReadTimeout("x"), Temporary, "Zeitüberschreitung", False),
    (httpx2.ConnectError("x"), Temporary, "nicht erreichbar", False),
    (httpx2.ReadError("x"), Temporary, "abgebrochen", False),
    (httpx2.RemoteProtocolError("x"), Temporary, "abgebrochen", False),
    (caused(httpx2.ConnectError("x"), socket.gaierror()), Temporary, "Namen nicht zu finden", False),
    (caused(httpx2.ConnectError("x"), TOO_OLD), Misconfigured, "keine gemeinsame", False),
    (caused(httpx2.ConnectError("x"), ssl.SSLEOFError()), Temporary, "nicht erreichbar", False),
    (caused(httpx2.ReadError("x"), ssl.SSLEOFError()), Temporary, "abgebrochen", False),
    (caused(httpx2.ReadError("x"), ALERT), Misconfigured, "certificate_required", True),
    (caused(httpx2.ReadError("x"), ssl.SSLError(1, "[SSL: SSLV3_ALERT_BAD_RECORD_MAC]")), Temporary,
     "abgebrochen", False),
    (httpx2.LocalProtocolError("x"), Permanent, "Kopfzeile oder Länge", False),
    (httpx2.InvalidURL("Erika"), Permanent, "InvalidURL", False),
    (ConfigError("a: b: c: d"), Misconfigured, "a: b: c: d", False)])
def test_the_table(error: Exception, kind: type[DeliveryError], text: str, no: bool) -> None:
    with pytest.raises(DeliveryError, match=text) as raised, translated():
        raise error
    assert type(raised.value) is kind
    assert says_no(raised.value) == no
    assert "Erika" not in str(raised.value)


def test_a_certificate_that_we_do_not_trust() -> None:
    UNTRUSTED.verify_message = "self-signed certificate"
    with pytest.raises(Misconfigured, match="self-signed") as raised, translated():
        raise caused(httpx2.ConnectError("x"), UNTRUSTED)
    assert says_no(raised.value)


def test_what_is_ours_passes() -> None:
    for error in (OSError("x"), Temporary("y"), RuntimeError("z")):
        with pytest.raises(type(error)) as raised, translated():
            raise error
        assert raised.value is error


@pytest.mark.parametrize(("code", "expected"), [
    ("+0000", "+0000"), ("urn:fach/E-17", "urn:fach/E-17"), ("Erika Mustermann", "unzulässiger Code"),
    ("", "unzulässiger Code"), ("x" * 61, "unzulässiger Code"), ("a\n", "unzulässiger Code"),
    ("ä", "unzulässiger Code")])
def test_a_code_is_shown_and_nothing_else(code: str, expected: str) -> None:
    assert shown(code) == expected


def test_a_line_cut_while_tls_is_agreed_is_temporary() -> None:
    """A load balancer without a server behind it does that: nobody has to mend the destination."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            line, _ = listener.accept()
            line.recv(65536)
            line.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        line = Line(HttpOptions(timeout=5, connect_timeout=5))
        with pytest.raises(Temporary, match="nicht erreichbar"):
            line.ask(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        line.close()
        thread.join(5)

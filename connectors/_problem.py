"""The HTTPS inlet's answers other than 202 (RFC 9457): German, with the same in English under ``en``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from starlette.responses import JSONResponse, Response

from hub.endpoint import Outdated, TurnedAway


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer other than 202. `turned_away`: as what it is counted, where the inlet itself gives it."""

    status: int
    slug: str
    title: str
    detail: str
    remedy: str
    title_en: str
    detail_en: str
    remedy_en: str
    retry_after: float | None = None
    allow: str | None = None
    turned_away: TurnedAway | None = None

    def response(self) -> Response:
        """``application/problem+json`` with its headers. `retry_after` is in seconds, rounded up."""
        headers = {"Retry-After": str(math.ceil(self.retry_after))} if self.retry_after is not None else {}
        headers |= {"Allow": self.allow} if self.allow else {}
        headers |= {"WWW-Authenticate": "Certificate"} if self.status == 401 else {}
        return JSONResponse({
            "type": f"urn:datendrehscheibe:problem:{self.slug}", "title": self.title, "status": self.status,
            "detail": self.detail, "next": self.remedy,
            "en": {"title": self.title_en, "detail": self.detail_en, "next": self.remedy_en},
        }, self.status, headers, "application/problem+json")


class RefusedError(Exception):
    """Ends a request with a problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.slug)
        self.problem = problem


NOT_FOUND = Problem(
    404, "not-found", "Kein Eingang", "Unter diesem Pfad wird nichts angenommen.",
    "An /in/<AGS>/<Leistung> senden.",
    "No inlet", "Nothing is accepted at this path.", "Send to /in/<AGS>/<service>.",
    turned_away="wrong-address")
METHOD = Problem(
    405, "method", "Falsche Methode", "Der Eingang nimmt nur POST an.", "Mit POST senden.",
    "Wrong method", "The inlet takes POST only.", "Use POST.", allow="POST", turned_away="wrong-address")
UNKNOWN_CLIENT = Problem(
    401, "unknown-client", "Absender nicht erkannt",
    "Es wurde kein Client-Zertifikat vorgelegt, oder es gehört zu keinem eingerichteten Absender.",
    "Client-Zertifikat prüfen (ausstellende CA, Subject, SAN) "
    "oder es vom Betrieb der Drehscheibe einrichten lassen.",
    "Sender not recognised", "There was no client certificate, or it belongs to no configured sender.",
    "Check the client certificate (issuing CA, subject, SAN), or ask the hub's operators to configure it.",
    turned_away="unknown-client")


def _outdated(what: str, what_en: str, remedy: str, remedy_en: str) -> Problem:
    return Problem(
        401, "certificate-outdated", "Zertifikat nicht gültig", f"{what} Nichts wurde angenommen.", remedy,
        "Certificate not valid", f"{what_en} Nothing was accepted.", remedy_en, turned_away="unknown-client")


OUTDATED: Mapping[Outdated, Problem] = {
    "expired": _outdated(
        "Das Client-Zertifikat ist abgelaufen.", "The client certificate has expired.",
        "Das Zertifikat erneuern und erneut senden.", "Renew the certificate and send again."),
    "not-yet-valid": _outdated(
        "Das Client-Zertifikat ist noch nicht gültig.", "The client certificate is not valid yet.",
        "Die Uhr prüfen oder das bisherige Zertifikat verwenden.",
        "Check the clock, or use the certificate before it."),
    "authority-expired": _outdated(
        "Die CA, die das Client-Zertifikat ausgestellt hat, ist abgelaufen.",
        "The CA that issued the client certificate has expired.",
        "Ein Zertifikat der neuen CA verwenden; der Betrieb der Drehscheibe muss diese CA eintragen.",
        "Use a certificate of the new CA; the hub's operators must add that CA."),
}
"""A certificate of a CA that is trusted, at the wrong time."""
NOT_ALLOWED = Problem(
    403, "not-allowed", "Nicht erlaubt",
    "Dieser Absender darf diese Leistung nicht an diese Kommune senden.",
    "AGS und Leistung im Pfad prüfen; sonst den Betrieb der Drehscheibe um Freischaltung bitten.",
    "Not allowed", "This sender may not send this service to this municipality.",
    "Check AGS and service in the path, or ask the hub's operators for permission.")
MALFORMED = Problem(
    400, "malformed", "Kein gültiges HTTP",
    "Die Anfrage ist kein eindeutiges HTTP/1.1; nichts wurde angenommen.",
    "Zeilen mit CRLF beenden und entweder Content-Length oder Transfer-Encoding senden, nie beide.",
    "No valid HTTP", "The request is no unambiguous HTTP/1.1; nothing was accepted.",
    "End lines with CRLF, and send either Content-Length or Transfer-Encoding, never both.",
    turned_away="unreadable")
TARGET_TOO_LONG = Problem(
    414, "target-too-long", "Adresse zu lang",
    "Die Adresse der Anfrage ist zu lang; nichts wurde angenommen.",
    "An /in/<AGS>/<Leistung> senden.",
    "Target too long", "The request's target is too long; nothing was accepted.",
    "Send to /in/<AGS>/<service>.",
    turned_away="wrong-address")
HEADER_TOO_LARGE = Problem(
    431, "header-too-large", "Kopf zu groß", "Der Kopf der Anfrage ist zu groß; nichts wurde angenommen.",
    "Weniger oder kürzere Kopfzeilen senden.",
    "Header too large", "The request's header is too large; nothing was accepted.",
    "Send fewer or shorter header fields.", turned_away="unreadable")
CODED = Problem(
    501, "transfer-encoding", "Übertragung nicht lesbar",
    "Von Transfer-Encoding wird nur chunked verstanden; nichts wurde angenommen.", "Nur chunked verwenden.",
    "Transfer encoding unknown", "Of Transfer-Encoding only chunked is understood; nothing was accepted.",
    "Use chunked only.", turned_away="unreadable")
BY_STATUS = {problem.status: problem for problem in (MALFORMED, TARGET_TOO_LONG, HEADER_TOO_LARGE, CODED)}
"""What the protocol itself refuses."""
TOO_SLOW = Problem(
    408, "too-slow", "Zu langsam",
    "Die Nachricht kam nicht in der vorgesehenen Zeit an; nichts wurde angenommen.",
    "Erneut senden, mit demselben Idempotency-Key.",
    "Too slow", "The message did not arrive in time; nothing was accepted.",
    "Send again with the same Idempotency-Key.", turned_away="too-slow")


def too_large(limit: str, limit_en: str) -> Problem:
    """413. `limit` with its unit, in both languages."""
    return Problem(
        413, "too-large", "Zu groß",
        f"Die Nachricht überschreitet die Grenze von {limit}; nichts wurde angenommen.",
        "Anlagen verkleinern oder den Betrieb der Drehscheibe nach einer höheren Grenze fragen.",
        "Too large", f"The message is over the limit of {limit_en}; nothing was accepted.",
        "Make attachments smaller or ask the hub's operators for a higher limit.", turned_away="too-large")


def unreadable(why: str) -> Problem:
    """415. `why` names what cannot be read, never its value."""
    return Problem(
        415, "unreadable-framing", "Übertragung nicht lesbar",
        f"Die Übertragung lässt sich nicht in ihre Teile zerlegen ({why}); nichts wurde angenommen.",
        "Content-Type mit boundary, abschließende Trennzeile und Content-Encoding (nur identity) prüfen.",
        "Framing unreadable", f"The transfer cannot be taken apart ({why}); nothing was accepted.",
        "Check the content type's boundary, the closing boundary, and Content-Encoding (identity only).",
        turned_away="unreadable")


def conflict(message_id: str) -> Problem:
    """409. The key belongs to the message `message_id`, which has other content."""
    return Problem(
        409, "conflict", "Gleicher Schlüssel, anderer Inhalt",
        f"Unter diesem Idempotency-Key liegt bereits die Nachricht {message_id} mit anderem Inhalt.",
        "Für einen neuen Antrag einen neuen Idempotency-Key verwenden.",
        "Same key, other content",
        f"This Idempotency-Key belongs to message {message_id} with other content.",
        "Use a new Idempotency-Key for a new application.")


def unavailable(retry_after: float, turned_away: TurnedAway | None = None) -> Problem:
    """503. The sender may ask again after `retry_after` seconds."""
    return Problem(
        503, "unavailable", "Vorübergehend nicht möglich",
        "Die Drehscheibe kann zurzeit nichts dauerhaft speichern; nichts wurde angenommen.",
        "Nach der Zeit in Retry-After erneut senden, mit demselben Idempotency-Key.",
        "Temporarily unavailable", "The hub cannot store anything durably now; nothing was accepted.",
        "Send again after Retry-After with the same Idempotency-Key.",
        retry_after=retry_after, turned_away=turned_away)

"""When the certificates of the configuration end: our own ones and those that we trust, of inlets and of
destinations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from cryptography import x509

from hub.config.configuration import Configuration
from hub.config.marks import marked
from hub.endpoint import Finding, Mark, OptionsModel
from hub.message import BERLIN

_OURS, _TRUSTED = Mark("certificate"), Mark("authority")


SOON = 30
"""Days before the end at which somebody must know of it: as DrehscheibeCertificateEndsSoon does
(etc/prometheus/rules/drehscheibe.yml)."""


def certificates(configuration: Configuration) -> dict[Path, tuple[str, float]]:
    """The files of all options that are a `Certificate` or an `Authority` of `hub.endpoint`.

    For each: who names it first, and when it ends (Unix time; 0: unreadable).
    """
    users: list[User] = [(f"inlet {inlet.name}", inlet.options) for inlet in configuration.inlets]
    users += [(destination.key, destination.options) for destination in configuration.all_destinations()]
    return _ends(users)


def findings(configuration: Configuration, destinations: Collection[str] | None = None,
             ) -> Iterator[tuple[str, Finding]]:
    """What ``drehscheibe check`` says of them: German, with who uses the certificate.

    With `destinations` only of these, by their keys. A file that cannot be read is said of a destination
    only, because an inlet says it itself.
    """
    users: list[User] = [(each.key, each.options) for each in configuration.all_destinations()
                         if destinations is None or each.key in destinations]
    if destinations is None:
        users = [(f"inlet {inlet.name}", inlet.options) for inlet in configuration.inlets] + users
    for file, (user, end) in _ends(users).items():
        left = (end - time.time()) / 86400
        day = f"{datetime.fromtimestamp(end, BERLIN):%d.%m.%Y}"
        if not end:
            if not user.startswith("inlet "):
                yield user, Finding("error", f"{file} ist kein lesbares Zertifikat (PEM)",
                                    "Datei berichtigen, für den Benutzer der Drehscheibe lesbar anlegen")
        elif left < 0:
            yield user, Finding("error", f"Das Zertifikat {file} ist am {day} abgelaufen", _RENEW)
        elif left < SOON:
            yield user, Finding("warning", f"Das Zertifikat {file} läuft am {day} ab (in {left:.0f} Tagen)",
                                _RENEW)


User = tuple[str, OptionsModel]
"""Who uses certificates, and the options that name them."""
_RENEW = "Erneuern, an seinen Platz legen; die nächste Verbindung nimmt es"


def _ends(users: Iterable[User]) -> dict[Path, tuple[str, float]]:
    found: dict[Path, tuple[str, float]] = {}
    for user, options in users:
        for mark, which in ((_OURS, min), (_TRUSTED, max)):
            for _, file in marked(options, mark):
                if file not in found:
                    found[file] = (user, _end(file, which))
    return found


def _end(file: Path, which: Callable[[Iterable[float]], float]) -> float:
    try:
        return which([found.not_valid_after_utc.timestamp()
                      for found in x509.load_pem_x509_certificates(file.read_bytes())])
    except (OSError, ValueError):
        return 0.0  # a scrape must not fail over a file; the alert on certificates does not miss it

"""When the certificates of the configuration end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from cryptography import x509

from hub.config.configuration import Configuration
from hub.config.marks import marked
from hub.endpoint import Mark, OptionsModel

_OURS, _TRUSTED = Mark("certificate"), Mark("authority")


def certificates(configuration: Configuration) -> dict[Path, tuple[str, float]]:
    """The files of all options that are a `Certificate` or an `Authority` of `hub.endpoint`.

    For each: who names it first, and when it ends (Unix time; 0: unreadable).
    """
    users: list[tuple[str, OptionsModel]] = [(f"inlet {inlet.name}", inlet.options)
                                             for inlet in configuration.inlets]
    users += [(destination.key, destination.options) for destination in configuration.all_destinations()]
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

"""When the certificates of the configuration end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cryptography import x509

from hub.config.configuration import Configuration

_OWN = frozenset({"certificate", "client_certificate"})
_AUTHORITIES = frozenset({"ca", "ca_file", "client_ca"})


def certificates(configuration: Configuration) -> dict[Path, tuple[str, float]]:
    """The certificate files that options name: who names each first, and when it ends (Unix time; 0:
    unreadable)."""
    users = [(f"inlet {inlet.name}", inlet.options) for inlet in configuration.inlets]
    users += [(destination.key, destination.options) for destination in configuration.all_destinations()]
    found: dict[Path, tuple[str, float]] = {}
    for user, options in users:
        for name, file in _files(options):
            if file not in found:
                found[file] = (user, _end(file, min if name in _OWN else max))
    return found


def _files(options: Mapping[str, Any]) -> Iterator[tuple[str, Path]]:
    """Options that name certificates, at any depth."""
    for name, value in options.items():
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, Mapping):
                yield from _files(item)
            elif isinstance(item, Path) and name in _OWN | _AUTHORITIES:
                yield name, item


def _end(file: Path, which: Callable[[Iterable[float]], float]) -> float:
    try:
        return which([found.not_valid_after_utc.timestamp()
                      for found in x509.load_pem_x509_certificates(file.read_bytes())])
    except (OSError, ValueError):
        return 0.0  # a scrape must not fail over a file; the alert on certificates does not miss it

"""Which versions of lxml and libxml2 are safe: older ones are refused at the start."""

from __future__ import annotations

from collections.abc import Sequence

from lxml import etree

from hub.errors import ConfigError

OLDEST_LXML = (6, 1, 1)
OLDEST_LIBXML2 = (2, 14, 0)


def check_versions(lxml: Sequence[int] = etree.LXML_VERSION,
                   libxml2: Sequence[int] = etree.LIBXML_VERSION) -> None:
    """Raises `ConfigError` when lxml or libxml2 is older than the first one with the fixes the hub relies
    on."""
    problems = []
    if tuple(lxml) < OLDEST_LXML:
        problems.append(f"lxml: version: {_dotted(lxml)} is too old: install lxml {_dotted(OLDEST_LXML)} or "
                        "newer")
    if tuple(libxml2) < OLDEST_LIBXML2:
        problems.append(f"libxml2: version: {_dotted(libxml2)} is too old: install an lxml wheel that brings "
                        "libxml2 "
                        f"{_dotted(OLDEST_LIBXML2)} or newer")
    if problems:
        raise ConfigError(problems)


def _dotted(version: Sequence[int]) -> str:
    return ".".join(str(number) for number in version[:3])

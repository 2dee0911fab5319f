"""Which connectors there are, and their modules by their names.

A connector is a file in `connectors/`, or an entry point of another distribution in the group `GROUP`
(docs/connectors.md). What a connector is stands in `hub.endpoint`.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from hub.errors import ConfigError

Side = Literal["Inlet", "Outlet"]
GROUP = "drehscheibe.connectors"
"""The group of entry points in which other distributions bring connectors. An entry point's name is the
connector's name, its value the connector's module."""


def own() -> list[str]:
    """The names of the connectors in `connectors/`."""
    import connectors

    return sorted(found.name for found in pkgutil.iter_modules(connectors.__path__)
                  if not found.name.startswith("_"))


def installed() -> Mapping[str, EntryPoint]:
    """The connectors that other distributions bring, by name.

    Raises `ConfigError` for a name that is none, or that belongs to somebody else already.
    """
    return _installed(tuple(sys.path))


@lru_cache(maxsize=1)
def _installed(path: tuple[str, ...]) -> Mapping[str, EntryPoint]:  # noqa: ARG001
    """Looks through every distribution on the path: once, for a running hub does not change its programs."""
    found: dict[str, EntryPoint] = {}
    ours = frozenset(own())
    for each in entry_points(group=GROUP):
        if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", each.name):
            raise ConfigError(f"connector: {origin(each)} brings {each.name!r}, which is no connector's "
                              "name: take a name of small letters, digits and hyphens there")
        if each.name in ours:
            raise ConfigError(f"connector: {origin(each)} brings {each.name!r}, which the hub has itself: "
                              "give it another name there, or uninstall it")
        if each.name in found:
            raise ConfigError(f"connector: {origin(found[each.name])} and {origin(each)} both bring "
                              f"{each.name!r}: uninstall one of them")
        found[each.name] = each
    return found


def origin(connector: EntryPoint) -> str:
    """Distribution and version that bring a connector, as pip names them."""
    return f"{connector.dist.name} {connector.dist.version}" if connector.dist else connector.value


def names() -> list[str]:
    """All connectors there are. Raises `ConfigError` like `installed`."""
    return sorted([*own(), *installed()])


_INSTALLED: dict[str, Any] = {}
"""The modules of installed connectors, once they are loaded."""


def module(name: str, side: Side | None = None) -> Any:
    """A connector's module. Raises `ConfigError` with what there is, of those with that `side`."""
    loaded = None if name.startswith("_") else sys.modules.get(f"connectors.{name}") or _INSTALLED.get(name)
    if loaded is not None:
        return loaded  # a large configuration asks often, and names() finds none while descriptors are short
    if name not in names():
        known = [each for each in names() if not side or hasattr(module(each), side)]
        close = get_close_matches(name, known, 1)
        if not name:
            raise ConfigError(f"connector: is missing: add it, one of {', '.join(known)}")
        raise ConfigError(f"connector: unknown connector {name!r}: "
                          + (f"did you mean {close[0]!r}?" if close else f"one of {', '.join(known)}"))
    entry = installed().get(name)
    if entry is None:
        return importlib.import_module(f"connectors.{name}")
    try:
        _INSTALLED[name] = entry.load()
    except Exception as error:
        raise ConfigError(f"connector: {name!r} of {origin(entry)} cannot be loaded "
                          f"({type(error).__name__}): install a version of it that fits this hub") from error
    return _INSTALLED[name]


def loaded() -> list[str]:
    """The connectors that this process has used until now. Never raises."""
    return [*(name for name in own() if f"connectors.{name}" in sys.modules), *_INSTALLED]


def has(name: str, side: Side) -> bool:
    """Whether a connector has that side. Raises `ConfigError` like `module`."""
    return hasattr(module(name), side)

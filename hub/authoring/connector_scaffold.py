"""``drehscheibe connector new``: a connector and its test, which passes from the first minute.

There are four to begin with: a drop, an outlet over HTTP, an outlet of any other kind, an inlet. Each works
as it stands against something that its test brings, and passes the contract suites of ``tests/integration``.
From there on it is changed until it speaks the real protocol: docs/connectors.md says how. The files come
from ``hub/authoring/new_connector/``.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

from hub import endpoint, registry
from hub.errors import ConfigError

TEMPLATES = Path(__file__).with_name("new_connector")
Template = Literal["drop", "http", "other", "inlet"]
_PLACES = ("connectors", "tests/integration")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,30}")


def new_connector(repository: Path, name: str, template: Template) -> list[Path]:
    """Write ``connectors/<name>.py`` and ``tests/integration/test_<name>.py``; return both.

    Raises `ConfigError` when the name does not fit or is taken, or when this is no copy of the repository.
    """
    for place in _PLACES:
        if not (repository / place).is_dir():
            raise ConfigError.at(repository, place, "is missing",
                                 "call this in a clone of the repository, or name it: --repository")
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ConfigError.at(repository, f"connector {name}", "is no name of a connector",
                             "small letters, digits and underscores, beginning with a letter, e.g. webdav")
    files = {repository / _PLACES[0] / f"{name}.py": f"{template}.py.txt",
             repository / _PLACES[1] / f"test_{name}.py": f"test_{template}.py.txt"}
    for file in files:
        if file.exists() or name in registry.names():
            raise ConfigError.at(file, "(file)", "is there already",
                                 "choose another name, or edit what is there")
    for file, source in files.items():
        text = (TEMPLATES / source).read_text(encoding="utf-8")
        file.write_text(re.sub(r"\bNAME\b", name, text), encoding="utf-8")
    return list(files)


def overview() -> Sequence[dict[str, str]]:
    """One row per connector: its name, its sides, its kind, whether it is a drop, and where it comes from.

    Raises `ConfigError` for a connector that cannot be used.
    """
    installed = registry.installed()
    rows = []
    for name in registry.names():
        sides = [side for side in get_args(registry.Side) if registry.has(name, side)]
        outlet = endpoint.outlet_class(name) if "Outlet" in sides else None
        rows.append({"name": name, "sides": ", ".join(map(str.lower, sides)),
                     "kind": outlet.kind if outlet else "", "drop": "drop" if outlet and outlet.drop else "",
                     "comes from": registry.origin(installed[name]) if name in installed else "hub",
                     "about": (registry.module(name).__doc__ or "").strip().partition("\n")[0]})
    return rows

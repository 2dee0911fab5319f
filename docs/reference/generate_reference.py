"""Writes the reference pages beside this file from the code.

``make docs`` runs it (``python docs/reference/generate_reference.py docs/reference``). The pages on
configuration and connectors come from the pydantic models that check the files, the page on commands comes
from click. A test keeps the committed pages equal to what this module writes.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

sys.path.insert(0, str(Path(__file__).parents[2]))

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hub import endpoint, registry
from hub.administration.prices import BillingFile
from hub.config.municipality_file import DefaultsFile, MunicipalityFile, Policy
from hub.config.sections import HubFile
from hub.config.window import Rate
from hub.mapping.model import FieldTable, MappingFile

_GENERATED = "<!-- Written by `make docs` from the code: change it there. -->"
CONFIGURATION = (
    ("hub.toml", "The hub itself. Relative paths are relative to this file's folder.", (HubFile,)),
    ("defaults.toml",
     "What every municipality inherits; it lies beside hub.toml. `[policy]` takes the policy keys below.",
     (DefaultsFile, Policy)),
    ("municipalities/&lt;AGS&gt;.toml",
     "One municipality. A destination takes `connector`, that connector's options "
     "(connectors.md), and the policy keys above.", (MunicipalityFile,)),
    ("billing.toml", "Prices, providers and agreements for `drehscheibe bill`; it lies beside hub.toml.",
     (BillingFile,)),
    ("mappings/&lt;service&gt;/mapping.toml", "One service.", (MappingFile,)),
    ("mappings/&lt;service&gt;/&lt;version&gt;/fields.toml", "The fields of one version of a form.",
     (FieldTable,)),
)


def pages() -> Mapping[str, str]:
    """The pages, by file name."""
    return {"cli.md": _commands(), "configuration.md": _configuration(), "connectors.md": _connectors()}


def _configuration() -> str:
    lines = ["# Configuration", "", _GENERATED, "",
             "Every key of every file. Durations are written `90s`, `5m`, `4h` or `14d`; secrets are named, "
             "never written: `file:/path` or `credential:name`. `drehscheibe schema` prints the same for "
             "editors."]
    seen: set[type[BaseModel]] = set()
    for file, about, models in CONFIGURATION:
        lines += ["", f"## {file}", "", about]
        for model in models:
            lines += _sections(model, seen)
    return "\n".join(lines) + "\n"


def _connectors() -> str:
    lines = ["# Connectors", "", _GENERATED, "",
             "What stands under `[inlets.<name>]` in hub.toml and `[destinations.<name>]` in a "
             "municipality's file. "
             "`defaults.toml` may give defaults for a connector under `[connectors.<name>]`."]
    installed = registry.installed()
    for name in registry.names():
        found = registry.module(name)
        lines += ["", f"## {name}"]
        if name in installed:
            lines += ["", f"Brought by {registry.origin(installed[name])}."]
        lines += ["", "```", _plain(found.__doc__ or ""), "```"]
        for side in ("Inlet", "Outlet"):
            if hasattr(found, side):
                lines += ["", f"As an {side.lower()}:"]
                lines += _sections(endpoint.options_model(name, side), set())
    return "\n".join(lines) + "\n"


def _sections(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """A table for a model, then one for each model inside it."""
    if model in seen:
        return
    seen.add(model)
    if model.model_fields:
        yield from ("", f"### {model.__name__}", "", _cell((model.__doc__ or "").split("\n\n")[0]), "",
                    "| key | type | default | meaning |", "| --- | --- | --- | --- |")
    for name, info in model.model_fields.items():
        key, kind, default = info.alias or name, _cell(_type(info.annotation)), _default(info)
        yield f"| `{key}` | {kind} | {default} | {_cell(info.description or '')} |"
    for info in model.model_fields.values():
        for inner in _models(info.annotation):
            yield from _sections(inner, seen)


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for inner in get_args(kind):
        yield from _models(inner)


def _type(kind: Any) -> str:
    """A type in words: ``list of text``, ``text or none``."""
    if kind is endpoint.OptionsModel:
        return "options of a drop, with its `connector`"
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind.__name__
    inner = [item for item in get_args(kind) if item is not Ellipsis]
    origin = getattr(kind, "__origin__", None)
    if str(kind).startswith("typing.Literal"):
        return " or ".join(f'"{item}"' for item in inner)
    if hasattr(kind, "__metadata__"):
        return "rate" if kind == Rate else _type(inner[0])
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of {_type(inner[1])}"
    if origin in (tuple, list, frozenset, set):
        return f"list of {_type(inner[0])}"
    if inner:
        return " or ".join(dict.fromkeys(_type(item) for item in inner))
    names = {"str": "text", "int": "number", "float": "number", "bool": "true or false", "Path": "path",
             "NoneType": "none", "timedelta": "duration", "date": "date", "Any": "any", "Span": "window"}
    name = getattr(kind, "__name__", str(kind))
    return names.get(name, name)


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value in ((), {}, "") or isinstance(value, BaseModel):
        return ""
    if hasattr(value, "total_seconds"):
        value = f"{value.total_seconds():g}s"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{_cell(text)}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("``", "`")).replace("|", "\\|").replace("<", "&lt;").strip()


def _plain(doc: str) -> str:
    return "\n".join(line.rstrip() for line in doc.strip().splitlines())


def _commands() -> str:
    from hub.cli.app import main

    lines = ["# Commands", "", _GENERATED, "",
             "Exit codes: 0 fine, 1 findings, 2 usage, 75 temporary, 78 configuration. "
             'Completion in bash: `eval "$(_DREHSCHEIBE_COMPLETE=bash_source drehscheibe)"` (also '
             '`zsh_source`, `fish_source`).']
    for context in _walk(click.Context(main, info_name="drehscheibe", terminal_width=110,
                                       **main.context_settings)):
        lines += ["", f"## {context.command_path}", "", "```", context.get_help().strip(), "```"]
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines()) + "\n"


def _walk(context: click.Context) -> Iterable[click.Context]:
    """A command and all commands below it, each with the settings that it inherits when it is called."""
    yield context
    if isinstance(context.command, click.Group):
        for name, command in sorted(context.command.commands.items()):
            yield from _walk(click.Context(command, parent=context, info_name=name))


def write(into: Path) -> None:
    """Write every page into a folder."""
    into.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (into / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    os.environ["DREHSCHEIBE_LANG"] = "en"  # help texts are chosen when hub.cli.app is imported: `_commands`
    write(Path(sys.argv[1]))

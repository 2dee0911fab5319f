"""What is wrong in a file that a person wrote, in plain words with an example that fits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hub.files.toml_lines import line_at, lines_of

_PLAIN = {
    "extra_forbidden": ("unknown key", "remove it or correct its spelling"),
    "missing": ("is missing", "add it"),
    "string_type": ("is no text", 'write it in quotes, like "text"'),
    "tuple_type": ("is no list", 'write it in brackets, like ["a", "b"]'),
    "dict_type": ("is no table", "write it below a heading of its own, like [section]"),
    "mapping_type": ("is no table", "write it below a heading of its own, like [section]"),
    "model_type": ("is no table", 'write it in braces, like { name = "text" }, or below a heading of its '
                                  'own, like [section]'),
    "union_tag_not_found": ("names no connector", "name one that is a drop (drehscheibe connector list)"),
    "union_tag_invalid": ("names a connector that cannot stand here",
                          "name one that is a drop (drehscheibe connector list)"),
    "int_type": ("is no whole number", "write a number without quotes, like 9464"),
    "int_parsing": ("is no whole number", "write a number without quotes, like 9464"),
    "int_from_float": ("is no whole number", "write it without a fraction"),
    "float_type": ("is no number", "write a number without quotes, like 2.5"),
    "float_parsing": ("is no number", "write a number without quotes, like 2.5"),
    "decimal_type": ("is no number", "write a number without quotes, like 2.5"),
    "decimal_parsing": ("is no number", "write a number without quotes, like 2.5"),
    "finite_number": ("is no number", "write a number without quotes, like 2.5"),
    "bool_type": ("is neither true nor false", "write true or false, without quotes"),
    "bool_parsing": ("is neither true nor false", "write true or false, without quotes"),
    "string_too_short": ("is empty", "write something between the quotes"),
    "path_type": ("is no path", 'write it in quotes, like "/srv/data"'),
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"),
                    ("is no date", "write it without quotes, like 2026-01-31")),
    **dict.fromkeys(("time_type", "time_parsing"),
                    ("is no time of day", "write it without quotes, like 02:30:00")),
}
"""pydantic's kinds of complaints in an operator's words, with what to do; others keep pydantic's sentence."""

_QUOTED = {"mode": "0640", "ags": "14999010", "formerly": "14999010", "municipalities": "14999010",
           "ars": "149990000010"}
"""What a text looks like that is easily taken for a number; by its key."""

SHAPES = {
    r"^[a-z0-9][a-z0-9-]{0,62}$":
    ("is no key", 'write small letters, digits and hyphens, like "musterstadt"'),
    r"^(\d{8}|\d{5})$": ("is no AGS", 'write eight digits (for a district five), like "14999010"'),
    r"^([0-9]{5}|[0-9]{8})$": ("is no AGS", 'write eight digits (for a district five), like "14999010"'),
    r"^(\d{12}|\d{9}|\d{5})$": ("is no ARS", 'write twelve digits, like "149990000010"'),
    r"^(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])/(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$":
    ("is no span of the year", 'write it as month and day, like "12-22/01-06"'),
    r"^postgresql://": ("is no address of a PostgreSQL", 'write it like "postgresql://user@host/database"'),
    r"^(\.[A-Za-z0-9_-]{1,16})?$": ("is no ending of a file's name", 'write it with its dot, like ".tmp"'),
    r"^0[0-7]{3}$": ("is no mode of a file", 'write four digits from 0 to 7, the first a 0, like "0640"'),
    r"^[A-Za-z0-9._\[\]-]{1,60}$":
    ("is no name of a form's field", 'write letters, digits and . _ [ ] -, like "antrag"'),
    r"^[a-z]+/[A-Za-z0-9.+_-]+(; ?charset=[A-Za-z0-9-]+)?$":
    ("is no media type", 'write it like "application/xml"'),
    r"^[A-Za-z0-9_-]{1,60}$": ("is no name at the broker", 'write letters, digits, _ and -, like "amt24"'),
}
"""The patterns that a text must have, in words."""


def problems_in(file: Path | str, error: ValidationError, data: Mapping[str, Any],
                text: str) -> list[str]:
    """pydantic's complaints about a file of lists, as ``file: line 16: field halter:name, type: …: …``.

    `data` is what was read of it, `text` the file itself. What stands in a list is called by its own id.
    """
    lines = lines_of(text)
    told = []
    for item in errors_of(error):
        faults = getattr(item.get("ctx", {}).get("error"), "faults", None)
        for place, fault in faults or [(item["loc"], None)]:
            key = _called(place, data)
            what, remedy = (fault, "correct the value") if fault else _said(item, key or "(file)")
            line = line_at(lines, place)
            told.append(": ".join(filter(None, (str(file), f"line {line}" if line else "",
                                                "" if fault else key, what, remedy))))
    return told


def _called(place: Sequence[str | int], data: object) -> str:
    """``field halter:name, type`` for ``("field", 15, "type")``: the item of a list by what it calls
    itself."""
    said: list[str] = []
    for number, step in enumerate(place):
        if step == "[key]":
            continue
        above = data
        data = _inside(data, step)
        if isinstance(step, int):
            said[-1:] = [f"{said[-1] if said else ''} {_name_of(data) or step + 1}".strip()]
        elif (number and isinstance(place[number - 1], int)) or not said or isinstance(above, list):
            said.append(step)
        else:
            said[-1] = f"{said[-1]}.{step}"
    return ", ".join(said)


def _inside(data: object, step: str | int) -> object:
    try:
        return data[step]  # type: ignore[index]
    except (LookupError, TypeError):
        return None


def _name_of(item: object) -> str | None:
    """What an entry of a list calls itself, if it does."""
    if not isinstance(item, dict):
        return None
    name = item.get("id", item.get("name"))
    group = item.get("group")
    return f"{group}:{name}" if isinstance(name, str) and isinstance(group, str) else (
        name if isinstance(name, str) else None)


def problems_of(file: Path | str, error: ValidationError, below: str = "") -> list[str]:
    """pydantic's complaints as lines ``file: key: what is wrong: what to do``; `below`: the key of what was
    judged."""
    lines = []
    for item in errors_of(error):
        key = ".".join(str(step) for step in (below, *item["loc"]) if step not in ("", "[key]")) or "(file)"
        what, remedy = _said(item, key)
        lines.append(f"{file}: {key}: {what}: {remedy}")
    return lines


def _said(item: Mapping[str, Any], key: str) -> tuple[str, str]:
    """What is wrong, and what to do."""
    names = [step for step in key.split(".") if not step.isdigit()]
    if item["type"] == "string_type" and names[-1] in _QUOTED:
        return "is no text", f'write it in quotes, like "{_QUOTED[names[-1]]}"'
    if item["type"] == "string_pattern_mismatch" and item["ctx"]["pattern"] in SHAPES:
        return SHAPES[item["ctx"]["pattern"]]
    if item["type"] == "too_short" and names[-1] == "window":
        return "names no time", "leave it out, or write ['Mo-So 00:00-24:00'], if it is always open"
    if item["type"] == "tuple_type" and isinstance(item["input"], dict):
        heading = ".".join(names)
        return "is a table, not a list of tables", f"write [[{heading}]] instead of [{heading}]"
    return _PLAIN.get(item["type"], (item["msg"].removeprefix("Value error, "), "correct the value"))


def errors_of(error: ValidationError) -> Sequence[Mapping[str, Any]]:
    """pydantic's complaints, without the one that a list is too short because what stands in it is faulty."""
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    return [item for item in items if item["type"] != "too_short"
            or not any(len(place) > len(item["loc"]) and place[:len(item["loc"])] == item["loc"]
                       for place in places)]

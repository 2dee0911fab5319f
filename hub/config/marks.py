"""What a connector's options mean to the hub: certificates, secrets, senders, by the types of the options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from hub.endpoint import Mark
from hub.files.model import parts_of


def marked(options: BaseModel, mark: Mark) -> Iterator[tuple[str, Any]]:
    """The key and the value of every option that has this mark, at any depth; options without a value not."""
    for name, key, has_mark in _fields_with(type(options), mark):
        for where, value in _items(key, getattr(options, name)):
            if isinstance(value, BaseModel):
                yield from ((f"{where}.{below}", found) for below, found in marked(value, mark))
            elif has_mark and value is not None:
                yield where, value


@cache
def _fields_with(model: type[BaseModel], mark: Mark) -> tuple[tuple[str, str, bool], ...]:
    """Name and key of the fields that have the mark (then True), or hold a model that may have it."""
    found = []
    for name, info in model.model_fields.items():
        parts = [*info.metadata, *parts_of(info.annotation)]
        if mark in parts or any(isinstance(each, type) and issubclass(each, BaseModel) for each in parts):
            found.append((name, info.alias or name, mark in parts))
    return tuple(found)


def _items(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values in a list or a table with their keys; anything else is its own only value."""
    if isinstance(value, list | tuple):
        yield from ((f"{key}.{number}", each) for number, each in enumerate(value))
    elif isinstance(value, Mapping):
        yield from ((f"{key}.{name}", each) for name, each in value.items())
    else:
        yield key, value

"""The base of everything that is read from a file that people write: configuration, mappings, prices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler


class FaultsError(ValueError):
    """Several things of one file that do not fit each other, each with the place where it stands.

    What a model's validator raises; `hub.files.problems` tells each of them.
    """

    def __init__(self, faults: Sequence[tuple[tuple[str | int, ...], str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(text for _place, text in faults))


def _take_literally(schema: Any) -> None:
    """Numbers and booleans, at any depth. A model that pydantic calls strict would take no list as a tuple,
    no text as a path."""
    if isinstance(schema, dict):
        if schema.get("type") in ("int", "float", "bool"):
            schema["strict"] = True
        schema = list(schema.values())
    if isinstance(schema, list | tuple):
        for each in schema:
            _take_literally(each)


class FileModel(BaseModel):
    """Base of what stands in a file. It is frozen, and unknown keys are errors. A number is a number: neither
    "2" nor true is 2."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler, /) -> Any:
        schema = handler(source)
        _take_literally(schema)
        return schema


def parts_of(kind: Any) -> Iterator[Any]:
    """A type, and all types and marks that it is made of: of ``tuple[Annotated[Path, MARK], ...] | None``
    among others Path and MARK."""
    yield kind
    for each in get_args(kind):
        yield from parts_of(each)

"""The base of everything that is read from a file that people write: configuration, mappings, prices."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler


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

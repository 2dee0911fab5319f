"""What is wrong in a file that a person wrote, in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from hub import endpoint, registry
from hub.administration.prices import BillingFile
from hub.authoring.examples import ExampleFile
from hub.config.loader import FILES
from hub.config.municipality_file import Policy
from hub.files.problems import SHAPES
from hub.mapping.model import MappingFile


def patterns(schema: object) -> Iterator[str]:
    """What pydantic will compare texts with."""
    if isinstance(schema, dict):
        if schema.get("type") == "str" and "pattern" in schema:
            yield schema["pattern"]
        schema = list(schema.values())
    if isinstance(schema, list | tuple):
        for each in schema:
            yield from patterns(each)


def test_every_pattern_is_said_in_words() -> None:
    models = [*FILES.values(), Policy, MappingFile, ExampleFile, BillingFile]
    for name in registry.names():
        models += [endpoint.options_model(name, side) for side in ("Inlet", "Outlet")
                   if registry.has(name, side)]
    assert {pattern for model in models
            for pattern in patterns(model.__pydantic_core_schema__)} == set(SHAPES)

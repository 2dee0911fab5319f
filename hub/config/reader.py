"""Data from files becomes checked models; every fault becomes a line ``file: key: what is wrong: what to
do``.

A country has thousands of municipalities that are configured alike: what was checked once is not checked
again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from hub import endpoint
from hub.endpoint import OptionsModel, OutletBase
from hub.errors import ConfigError
from hub.files.model import parts_of
from hub.files.problems import errors_of, problems_of
from hub.registry import Side


def suggest(wrong: str, known: Iterable[str], *, german: bool = False) -> str:
    """``did you mean 'x'?``, or what there is; `german` for a parked message's reason."""
    english = ("did you mean", "one of", "there is none yet")
    mean, one_of, none = ("gemeint", "es gibt", "es gibt noch keinen") if german else english
    names = sorted(known)
    close = near(wrong, names) if wrong.isdigit() else get_close_matches(wrong, names, 1)
    if close:
        return f"{mean} {close[0]!r}?"
    return f"{one_of} {', '.join(names[:12])}{' …' if len(names) > 12 else ''}" if names else none


def near(wrong: str, known: Iterable[str]) -> list[str]:
    """The known AGS that differ in one digit, or in two neighbours that are swapped.

    All AGS of a county look alike, so a looser likeness names a town that has nothing to do with it.
    """
    return [each for each in known if _one_slip(wrong, each)]


def _one_slip(one: str, other: str) -> bool:
    """One character is another one, is missing, is too many; or two neighbours are swapped."""
    short, long = sorted((one, other), key=len)
    if len(long) - len(short) == 1:
        return any(long[:at] + long[at + 1:] == short for at in range(len(long)))
    wrong = [at for at, (left, right) in enumerate(zip(short, long, strict=False)) if left != right]
    if len(long) != len(short) or not 1 <= len(wrong) <= 2:
        return False
    first, last = wrong[0], wrong[-1]
    return first == last or (last == first + 1 and (one[first], one[last]) == (other[last], other[first]))


ModelT = TypeVar("ModelT", bound=BaseModel)


class Reader:
    """Judges what was read, and collects what is wrong in `problems`. Relative paths are relative to
    `base`."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.problems: list[str] = []
        self._models: dict[tuple[str, str], type[OptionsModel]] = {}
        self._places: dict[type[BaseModel], frozenset[str]] = {}
        self._outlets: dict[str, type[OutletBase[Any]]] = {}
        self._same: dict[tuple[str, str], tuple[OptionsModel, type[OutletBase[Any]]]] = {}

    def model(self, model: type[ModelT], data: Mapping[str, Any], file: Path, key: str = "") -> ModelT | None:
        """The model of the data in `file`, which stand below `key`; None: it is faulty."""
        try:
            return model(**data)
        except ValidationError as error:
            self.problems += [line for _, line in _told(model, error, file, key)]
            return None

    def options(self, connector: str, side: Side, data: Mapping[str, Any], file: Path,
                key: str) -> OptionsModel | None:
        """The options of one side of a connector, which stand below `key`; None: they are faulty."""
        try:
            model = self._options_model(connector, side)
        except ConfigError as error:
            misspelt = [] if connector else get_close_matches("connector", data, 1)
            self.problems += ([f"{file}: {key}.{wrong}: unknown key: did you mean 'connector'?"
                               for wrong in misspelt]
                              or [f"{file}: {key}.{problem}" for problem in error.problems])
            return None
        return self.model(model, self.resolved(model, data), file, key)

    def inherited(self, connector: str, data: Mapping[str, Any], file: Path, key: str) -> None:
        """Judge what every destination of a connector inherits: what is given. The rest may stand with the
        destinations."""
        try:
            model = self._options_model(connector, "Outlet")
        except ConfigError as error:
            self.problems += [f"{file}: {key}{problem.removeprefix('connector')}"
                              for problem in error.problems]
            return
        try:
            model(**self.resolved(model, data))
        except ValidationError as error:
            self.problems += [line for item, line in _told(model, error, file, key)
                              if item["loc"] and (item["type"] != "missing" or len(item["loc"]) > 1)]

    def outlet(self, connector: str, data: Mapping[str, Any], file: Path,
               key: str) -> tuple[OptionsModel, type[OutletBase[Any]]] | None:
        """The checked options of a destination, and its outlet's class. Equal data gives the same object."""
        same = connector, repr(data)
        if same in self._same:
            return self._same[same]
        options = self.options(connector, "Outlet", data, file, key)
        if options is None:
            return None
        if connector not in self._outlets:
            try:
                self._outlets[connector] = endpoint.outlet_class(connector)
            except ConfigError as error:
                self.problems += [f"{file}: {key}.{problem}" for problem in error.problems]
                return None
        self._same[same] = options, self._outlets[connector]
        return self._same[same]

    def resolved(self, model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
        """The same data with its relative paths made absolute, before the model judges them."""
        places, fields = self._places_of(model), model.model_fields
        return {key: self._resolve(fields[key].annotation, value)
                if key in places or (key in fields and _names_file(value)) else value
                for key, value in data.items()}

    def _resolve(self, kind: Any, value: Any) -> Any:
        kinds = list(parts_of(kind))
        inner = [item for item in kinds if isinstance(item, type) and issubclass(item, BaseModel)]
        if isinstance(value, list | tuple):
            return [self._resolve(kind, item) for item in value]
        if isinstance(value, Mapping):
            return self.resolved(_named(inner, value), value) if inner else dict(value)
        if isinstance(value, str) and value.startswith("file:") and not value.startswith("file:/"):
            return f"file:{self._place(value.removeprefix('file:'))}"
        if Path in kinds and isinstance(value, str):
            return self._place(value) if value.strip() else ()  # the model will say that this is no path
        return value

    def _place(self, path: str) -> str:
        """Absolute, without the ``..`` that operators would have to undo in their heads."""
        return os.path.normpath(os.path.join(self.base, path))  # noqa: PTH118 - a country has thousands

    def _places_of(self, model: type[BaseModel]) -> frozenset[str]:
        """The fields of a model that may hold a path, or a model that may."""
        if model not in self._places:
            self._places[model] = frozenset(
                name for name, info in model.model_fields.items()
                if any(kind is Path or (isinstance(kind, type) and issubclass(kind, BaseModel))
                       for kind in parts_of(info.annotation)))
        return self._places[model]

    def _options_model(self, connector: str, side: Side) -> type[OptionsModel]:
        """`endpoint.options_model`, which looks through a folder, asked once. Raises `ConfigError`."""
        if (connector, side) not in self._models:
            self._models[connector, side] = endpoint.options_model(connector, side)
        return self._models[connector, side]


def _names_file(value: Any) -> bool:
    """Whether a text, or one in a list, is the ``file:…`` of a secret."""
    if isinstance(value, list | tuple):
        return any(map(_names_file, value))
    return isinstance(value, str) and value.startswith("file:")


def _named(models: Sequence[type[BaseModel]], data: Mapping[str, Any]) -> type[BaseModel]:
    """Of models that differ by their `connector`: the one that the data names, also where any drop may
    stand."""
    if models[0] is OptionsModel:
        try:
            return endpoint.drop_options(str(data.get("connector")))
        except ConfigError:
            return models[0]
    for model in models:
        if (field := model.model_fields.get("connector")) and data.get("connector") in get_args(
            field.annotation):
            return model
    return models[0]


def _told(model: type[BaseModel], error: ValidationError, file: Path,
          key: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """pydantic's complaints with their lines; a key that is missing because it is misspelt is told as
    misspelt only."""
    told = list(zip(errors_of(error), problems_of(file, error, key), strict=True))
    names = {item["loc"]: _meant(model, item["loc"]) for item, _ in told if item["type"] == "extra_forbidden"}
    misspelt = {(*place[:-1], name) for place, known in names.items()
                for name in get_close_matches(str(place[-1]), sorted(known), 1)}
    for item, line in told:
        if known := names.get(item["loc"]) if item["type"] == "extra_forbidden" else None:
            yield item, f"{line.rpartition(': ')[0]}: {suggest(str(item['loc'][-1]), known)}"
        elif item["type"] != "missing" or item["loc"] not in misspelt:
            yield item, line


def _meant(model: type[BaseModel], place: Sequence[int | str]) -> set[str]:
    """The names among which an unknown one finds its like, those of its own place first; like nothing: all of
    a connector's."""
    wrong, own = str(place[-1]), set(_names(_at(model, place[:-1])))
    choices = own, set(_keys(model)) - {wrong}
    close = next((names for names in choices if get_close_matches(wrong, names, 1)), None)
    return close or (own if issubclass(model, OptionsModel) else set())


def _at(model: type[BaseModel], place: Iterable[int | str]) -> list[type[BaseModel]]:
    """The models at a place; numbers and names within a field (``route.0``, ``destinations.postfach``) lead
    no further."""
    models = [model]
    for step in place:
        models = [inner for each in models for name, info in each.model_fields.items()
                  if step in (name, info.alias)
                  for inner in _inner(info.annotation)] or models
    return models


def _inner(kind: Any) -> Iterator[type[BaseModel]]:
    """The models in a field's type; where any drop may stand, those of all drops."""
    for each in (kind, *get_args(kind)):
        if each is OptionsModel:
            yield from map(endpoint.drop_options, endpoint.drops())
        elif isinstance(each, type) and issubclass(each, BaseModel):
            yield each


def _names(models: Iterable[type[BaseModel]]) -> Iterator[str]:
    return (info.alias or name for model in models for name, info in model.model_fields.items())


def _keys(model: type[BaseModel]) -> Iterator[str]:
    """Its names, and those of all that may stand in it."""
    yield from _names([model])
    for info in model.model_fields.values():
        for inner in _inner(info.annotation):
            yield from _keys(inner)

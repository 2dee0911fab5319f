"""From a mapping's folder to its model: everything that is wrong with it is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar
from xml.parsers import expat

from pydantic import ValidationError

from hub.errors import ConfigError
from hub.files.model import FileModel
from hub.files.problems import problems_in
from hub.files.toml import parse_toml, read_file
from hub.files.toml_lines import line_at, lines_of
from hub.mapping.model import FieldTable, MappingFile

Model = TypeVar("Model", bound=FileModel)


def load_mapping(folder: Path) -> MappingFile:
    """``mapping.toml`` of a service's folder, with every file it names present. Raises `ConfigError`."""
    file = folder / "mapping.toml"
    mapping = _read(MappingFile, file)
    problems = []
    if mapping.service != folder.name and len(folder.name) != 64:
        problems.append(f"{file}: service: {mapping.service!r} in folder {folder.name!r}: give both the same "
                        "name")
    for number, version in enumerate(mapping.version):
        named: dict[tuple[str, ...], str | None] = {
            ("fields",): version.fields, ("schema",): version.schema_, ("rules",): version.rules,
                 **{("renderings", key, "stylesheet"): made.stylesheet
                    for key, made in version.renderings.items()}}
        for place, name in named.items():
            if name and not name.startswith("common:") and not (folder / version.name / name).is_file():
                line = line_at(lines_of(read_file(file).decode()), ("version", number, *place))
                problems.append(f"{file}: line {line}: version {version.name}, {'.'.join(place)}: "
                                f"{version.name}/{name} is missing: add the file")
    problems += stylesheet_problems(folder)
    if problems:
        raise ConfigError(problems)
    return mapping


def stylesheet_problems(folder: Path) -> list[str]:
    """Stylesheets below a folder that are no whole XML, as after a copy that broke off: no message must meet
    them.

    Whether they can be compiled, the workers find out: nothing is compiled in the main process.
    """
    problems = []
    for file in sorted(folder.rglob("*.xsl")):
        try:
            expat.ParserCreate().Parse(file.read_bytes(), True)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code)
            problems.append(f"{file}: line {error.lineno}: is no whole XML ({why}): mend the stylesheet")
        except OSError as error:
            problems.append(f"{file}: cannot be read ({error.strerror}): mend its rights")
    return problems


def load_fields(file: Path) -> FieldTable:
    """The field table. Raises `ConfigError`."""
    return _read(FieldTable, file)


def _read(model: type[Model], file: Path) -> Model:
    content = read_file(file)
    data = parse_toml(file, content)
    try:
        return model(**data)
    except ValidationError as error:
        raise ConfigError(problems_in(file, error, data, content.decode())) from error

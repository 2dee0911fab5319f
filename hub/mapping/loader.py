"""From a mapping's folder to its model: everything that is wrong with it is told at once."""

from __future__ import annotations

from pathlib import Path
from xml.parsers import expat

from pydantic import ValidationError

from hub.errors import ConfigError
from hub.files.problems import problems_of
from hub.files.toml import read_toml
from hub.mapping.model import FieldTable, MappingFile


def load_mapping(folder: Path) -> MappingFile:
    """``mapping.toml`` of a service's folder, with every file it names present. Raises `ConfigError`."""
    file = folder / "mapping.toml"
    try:
        mapping = MappingFile(**read_toml(file))
    except ValidationError as error:
        raise ConfigError(problems_of(file, error)) from error
    problems = []
    if mapping.service != folder.name and len(folder.name) != 64:
        problems.append(f"{file}: service: {mapping.service!r} in folder {folder.name!r}: give both the same "
                        "name")
    for version in mapping.version:
        named = [version.fields, version.schema_, version.rules,
                 *(r.stylesheet for r in version.renderings.values())]
        for name in named:
            if name and not name.startswith("common:") and not (folder / version.name / name).is_file():
                problems.append(f"{file}: version {version.name}: {name} is missing: add the file")
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
    try:
        return FieldTable(**read_toml(file))
    except ValidationError as error:
        raise ConfigError(problems_of(file, error)) from error

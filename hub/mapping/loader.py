"""From a mapping's folder to its model: everything that is wrong with it is told at once."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TypeVar
from xml.parsers import expat

from pydantic import ValidationError

from hub.errors import ConfigError
from hub.files.model import FileModel
from hub.files.problems import problems_in
from hub.files.toml import parse_toml, read_file
from hub.files.toml_lines import line_at, lines_of
from hub.mapping.model import FieldTable, MappingFile, MappingVersion, Rendering
from hub.mapping.versions import spans_overlap, takes_any

_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\s;\"]+)", re.IGNORECASE)

Model = TypeVar("Model", bound=FileModel)


def load_mapping(folder: Path) -> MappingFile:
    """``mapping.toml`` of a service's folder, with every file it names present. Raises `ConfigError`."""
    file = folder / "mapping.toml"
    mapping = _read(MappingFile, file)
    problems = []
    mapping = _inherited(mapping, folder)
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
    problems += [f"{file}: {problem}" for problem in _version_problems(mapping)]
    problems += stylesheet_problems(folder)
    if problems:
        raise ConfigError(problems)
    return mapping


def _inherited(mapping: MappingFile, folder: Path) -> MappingFile:
    """Each version with the renderings of the one before it that it does not name itself.

    A rendering by a file of its own folder is inherited where the file of that name is there.
    """
    versions: list[MappingVersion] = []
    for version in mapping.version:
        before = versions[-1].renderings if versions else {}
        taken = {name: rendering for name, rendering in before.items() if name not in version.renderings
                 and _has(folder / version.name, rendering.stylesheet)}
        versions.append(version.model_copy(update={"renderings": {**taken, **version.renderings}}))
    return mapping.model_copy(update={"version": tuple(versions)})


def _has(folder: Path, stylesheet: str | None) -> bool:
    return stylesheet is None or stylesheet.startswith("common:") or (folder / stylesheet).is_file()


def _version_problems(mapping: MappingFile) -> Iterator[str]:
    """What is wrong with the versions beside each other: a form has exactly one."""
    names = [version.name for version in mapping.version]
    for number, version in enumerate(mapping.version):
        where = f"version {version.name}"
        if version.name in names[:number]:
            yield f"{where}: the name stands twice: give each version its own name and folder"
        if not takes_any(version.versions):
            yield f"{where}: versions: no form lies in {version.versions!r}: correct the bounds"
        if version.valid_from and version.valid_until and version.valid_from >= version.valid_until:
            yield (f"{where}: valid_until: is not after valid_from: name the first day it is not valid any "
                   "more")
        for key, rendering in version.renderings.items():
            yield from (f"{where}: {key}: {problem}" for problem in _encoding_problems(rendering))
        for other in mapping.version[:number]:
            if _same_form(version, other):
                yield (f"{where}: versions: takes a form that version {other.name} takes too: separate them "
                       "by "
                       "forms, versions or validity dates")


def _encoding_problems(rendering: Rendering) -> Iterator[str]:
    """Whoever reads a rendering knows its encoding: of XML by its declaration, of CSV by agreement, of the
    others because it is UTF-8."""
    encoding = _codec(rendering.encoding)
    if encoding is None:
        yield f"encoding: {rendering.encoding!r} is unknown: write utf-8"
        return
    if rendering.role not in ("csv", "xml") and encoding != "utf-8":
        yield f"encoding: {rendering.role} is UTF-8 and nothing else: remove the key"
    charset = _CHARSET.search(rendering.media_type)
    if charset and (_codec(charset[1]) or "").removesuffix("-sig") != encoding.removesuffix("-sig"):
        yield f"media_type: its charset is not {rendering.encoding}: remove the charset"


def _codec(encoding: str) -> str | None:
    """The one name of an encoding of text; None: there is none of that name."""
    try:
        "".encode(encoding)
    except (LookupError, ValueError):
        return None
    return codecs.lookup(encoding).name


def _same_form(one: MappingVersion, other: MappingVersion) -> bool:
    """Whether some form on some day belongs to both. A form that names no version names no form either."""
    first = max(one.valid_from or date.min, other.valid_from or date.min)
    last = min(one.valid_until or date.max, other.valid_until or date.max)
    if first >= last or not spans_overlap(one.versions, other.versions):
        return False
    named = not one.forms or not other.forms or not set(one.forms).isdisjoint(other.forms)
    return named or all(version.versions.endswith(" or none") for version in (one, other))


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


def names_applicant(folder: Path, mapping: MappingFile) -> bool:
    """Whether every version says which of its groups is the applicant's. Tables that cannot be read say
    nothing."""
    try:
        return all(version.fields is not None
                   and any(group.applicant
                           for group in load_fields(folder / version.name / version.fields).group)
                   for version in mapping.version)
    except ConfigError:
        return False


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

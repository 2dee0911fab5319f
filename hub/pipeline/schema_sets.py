"""Schema sets of public standards (XÖV), found on disk and never over the network.

An operator installs a set as it was published, unpatched (`install`, the command ``drehscheibe schemas
install``)::

    schemas/xwasser/1.0.0/xwasser.xsd …                  the set's files
    schemas/xwasser/1.0.0/catalogue.toml                 where the URLs of its imports are
    schemas/xoev-base/2024-09/xoev-code.xsd …            another set, which it imports by URL

    valid_from = 2024-11-01                              optional, half open, by the day of acceptance
    [files]                                              relative to this folder, inside of schemas/
    "http://xoev.de/schemata/code/1_0/xoev-code.xsd" = "../../xoev-base/2024-09/xoev-code.xsd"

A URL that no catalogue knows is refused by name; so is every file outside of ``schemas/``.
"""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from lxml import etree

from hub.errors import ConfigError
from hub.files.toml import read_toml
from hub.mapping.model import SchemaSet
from hub.message import safe_name

XS = "{http://www.w3.org/2001/XMLSchema}"
CATALOGUE = "catalogue.toml"
MAX_FILES = 5_000
MAX_BYTES = 200_000_000
_ELSEWHERE = re.compile(r"(?:https?|urn|ftp):", re.IGNORECASE)


class Catalogue:
    """The installed schema sets below one folder. They do not change while a worker lives: a new set needs a
    reload."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()

    def entry(self, wanted: SchemaSet, day: date | None = None) -> Path:
        """The entry file of a set. Raises `ConfigError` when it is not installed, or not valid on that
        day."""
        home = self.folder / safe_name(wanted.set) / safe_name(wanted.version)
        file = home / wanted.entry
        if not self.contains(file) or not file.is_file():
            raise ConfigError.at(home, wanted.entry,
                                 f"schema set {wanted.set} {wanted.version} is not installed",
                                 "install it with 'drehscheibe schemas install'")
        catalogue = _read_catalogue(home)
        begins, ends = catalogue.get("valid_from"), catalogue.get("valid_until")
        if day is not None and ((begins and day < begins) or (ends and day >= ends)):
            raise ConfigError.at(home / CATALOGUE, "valid_from, valid_until",
                                 f"the set is not valid on {day}",
                                 "name the set of that day in the mapping's version")
        return file

    def contains(self, file: Path) -> bool:
        """Whether a path lies inside of the folder, symbolic links followed."""
        return file.resolve().is_relative_to(self.folder)

    def urls(self, file: Path) -> Mapping[str, Path]:
        """URL to file for everything that the set of `file` and the sets it leads to may import."""
        found: dict[str, Path] = {}
        waiting = [self._home(file)]
        seen: set[Path] = set()
        while waiting:
            home = waiting.pop(0)
            if home in seen:
                continue
            seen.add(home)
            for url, name in _read_catalogue(home).get("files", {}).items():
                target = (home / name).resolve()
                if not self.contains(target) or not target.is_file():
                    raise ConfigError.at(home / CATALOGUE, url, f"{name} is no file inside of {self.folder}",
                                         "correct the path or install that set")
                found.setdefault(url, target)
                waiting.append(self._home(target))
        return found

    def locate(self, url: str, urls: Mapping[str, Path]) -> Path | None:
        """The file of a URL or of a path, or None where it may not be read."""
        if url in urls:
            return urls[url]
        parts = urlsplit(url)
        if parts.scheme not in ("", "file"):
            return None
        file = Path(unquote(parts.path) if parts.scheme else url)
        return file.resolve() if file.is_absolute() and self.contains(file) and file.is_file() else None

    def parser(self, file: Path) -> etree.XMLParser:
        """A parser that finds the imports of `file` by the catalogue and refuses everything else."""
        parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)
        parser.resolvers.add(_Resolver(self, self.urls(file)))
        return parser

    def _home(self, file: Path) -> Path:
        steps = file.resolve().relative_to(self.folder).parts
        return self.folder.joinpath(*steps[:2]) if len(steps) > 2 else self.folder


class _Resolver(etree.Resolver):
    def __init__(self, catalogue: Catalogue, urls: Mapping[str, Path]) -> None:
        self.catalogue = catalogue
        self.urls = urls

    def resolve(self, system_url: str, _public_id: str,  # type: ignore[override]
                context: Any) -> Any:
        file = self.catalogue.locate(system_url, self.urls)
        if file is None:
            raise ConfigError.at(self.catalogue.folder, system_url, "no catalogue knows this schema",
                                 "install the set it belongs to, or name its file in catalogue.toml")
        return self.resolve_filename(str(file), context)  # type: ignore[attr-defined]


def compile_schema(file: Path, parser: etree.XMLParser) -> etree.XMLSchema:
    """A schema ready for use. Raises `ConfigError` with file and line, without libxml2's words."""
    try:
        tree = etree.parse(str(file), parser)
        info: Any = tree.docinfo
        if info.doctype:
            raise ConfigError.at(file, "DOCTYPE", "a schema needs none", "remove it")
        return etree.XMLSchema(tree)
    except etree.XMLSyntaxError as error:
        raise ConfigError.at(file, f"line {error.lineno}", "is no XML", "mend that line") from error
    except etree.XMLSchemaParseError as error:
        first = next((entry for entry in error.error_log if entry.line), None)
        place = f"line {first.line}" if first else "(file)"
        raise ConfigError.at(file, place, "the schema cannot be used",
                             "mend it, or install what it imports") from error
    except OSError as error:
        raise ConfigError.at(file, "(file)", f"cannot be read ({error.strerror})",
                             "mend its rights") from error


@dataclass(frozen=True, slots=True)
class Installed:
    """What `install` did; `unresolved` are finished lines ``URL: what is wrong: what to do``."""

    folder: Path
    files: int
    resolved: Mapping[str, str]
    unresolved: tuple[str, ...]

    def lines(self) -> list[str]:
        """For a terminal: what was done, then what is left to do."""
        done = f"{self.files} files in {self.folder}, {len(self.resolved)} imports by URL resolved"
        return [done, *(f"✗ {line}" for line in self.unresolved)]

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        return {**asdict(self), "folder": str(self.folder)}


def install(source: Path, set_: str, version: str, target: Path,
            urls: Mapping[str, str] | None = None) -> Installed:
    """Copy a published set, a folder or a ZIP, to ``target/<set>/<version>`` and write its catalogue.

    `urls` names files of the set (relative) for URLs that cannot be found out. Imports by URL are looked for
    in this set and in the others that are installed, by namespace and file name. Raises `ConfigError` for an
    unsafe or too large source and for a set that is there already (an installed set never changes under a
    message).
    """
    home = target / safe_name(set_) / safe_name(version)
    if home.exists():
        raise ConfigError.at(home, "(folder)", "this version is installed already",
                             "choose another, or remove it")
    home.parent.mkdir(parents=True, exist_ok=True)
    temporary = home.with_name(f".{home.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        files = _copy_zip(source, temporary) if source.is_file() else _copy_folder(source, temporary)
        resolved, unresolved = _resolve(temporary, home, target, urls or {})
        (temporary / CATALOGUE).write_text(_catalogue_text(resolved), encoding="utf-8")
        temporary.rename(home)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Installed(home, files, resolved, unresolved)


def _copy_folder(source: Path, into: Path) -> int:
    files = sorted(file for file in source.rglob("*") if file.is_file() and not file.is_symlink())
    _within_limits(source, len(files), sum(file.stat().st_size for file in files))
    for file in files:
        copy = into / file.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
    return len(files)


def _copy_zip(source: Path, into: Path) -> int:
    """Unpack regular files only; names that leave the folder and lies about sizes are refused."""
    try:
        with zipfile.ZipFile(source) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _within_limits(source, len(entries), sum(entry.file_size for entry in entries))
            for entry in entries:
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                kind = (entry.external_attr >> 16) & 0o170000
                if path.is_absolute() or ".." in path.parts or ":" in entry.filename or kind not in (
                    0, 0o100000):
                    raise ConfigError.at(source, entry.filename,
                                         "this name leaves the folder, or is no plain file",
                                         "use the archive as it was published")
                copy = into.joinpath(*path.parts)
                copy.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(entry) as packed, copy.open("wb") as plain:
                    shutil.copyfileobj(packed, plain)
            return len(entries)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ConfigError.at(source, "(file)", f"is no usable ZIP ({error})",
                             "use the archive as published") from error


def _within_limits(source: Path, files: int, size: int) -> None:
    if not 0 < files <= MAX_FILES or size > MAX_BYTES:
        raise ConfigError.at(source, "(size)",
                             f"{files} files with {size} bytes: at most {MAX_FILES} files and "
                             f"{MAX_BYTES} bytes, at least one", "check that this is the schema set")


def _schemas_in(folder: Path) -> Iterator[tuple[Path, etree._Element]]:
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)
    for file in sorted(folder.rglob("*.xsd")):
        try:
            yield file, etree.parse(str(file), parser).getroot()
        except etree.XMLSyntaxError as error:
            raise ConfigError.at(file, f"line {error.lineno}", "is no XML",
                                 "use the set as published") from error


def _resolve(folder: Path, home: Path, root: Path, given: Mapping[str, str]) -> tuple[dict[str, str],
                                                                                      tuple[str, ...]]:
    """The catalogue of the set in `folder`, which will lie at `home`."""
    own = [(file.relative_to(folder).as_posix(), schema) for file, schema in _schemas_in(folder)]
    offers = [(schema.get("targetNamespace", ""), name) for name, schema in own]
    for file, schema in _schemas_in(root) if root.is_dir() else ():
        if not any(step.startswith(".") for step in file.relative_to(root).parts):
            offers.append((schema.get("targetNamespace", ""), Path(os.path.relpath(file, home)).as_posix()))
    resolved = dict(given)
    unresolved = [f"{url}: {name} is not in the set: correct the path" for url, name in given.items()
                  if not (folder / name).is_file()]
    for url, namespace in _imports(folder, own, unresolved).items():
        if url in resolved:
            continue
        candidates = [name for offered, name in offers if offered == namespace
                      and Path(name).name == _basename(url)]
        if candidates:
            resolved[url] = candidates[0]
        else:
            unresolved.append(_advice(url, [name for offered, name in offers if offered == namespace]))
    return resolved, tuple(unresolved)


def _imports(folder: Path, own: Sequence[tuple[str, etree._Element]], problems: list[str]) -> dict[str, str]:
    """URL to namespace of every import, include and redefine that names a URL. A relative file that is
    missing is a problem."""
    found: dict[str, str] = {}
    for name, schema in own:
        for reference in schema.iterchildren(f"{XS}import", f"{XS}include", f"{XS}redefine", f"{XS}override"):
            location = reference.get("schemaLocation")
            if location is None:
                continue
            if _ELSEWHERE.match(location):
                found[location] = reference.get("namespace", schema.get("targetNamespace", ""))
            elif not (folder / name).parent.joinpath(location).is_file():
                problems.append(f"{location}: {name} needs it, but it is not in the set: take the complete "
                                "set")
    return found


def _basename(url: str) -> str:
    return PurePosixPath(urlsplit(url).path).name


def _advice(url: str, same_namespace: Sequence[str]) -> str:
    if same_namespace:
        return (f"{url}: no such file, but {same_namespace[0]} has its namespace: if it serves, name it in "
                f"{CATALOGUE}")
    return (f"{url}: no installed set has it: install the set it belongs to before this one, or name it in "
            f"{CATALOGUE}")


def _catalogue_text(files: Mapping[str, str]) -> str:
    lines = [f"{_quoted(url)} = {_quoted(name)}" for url, name in sorted(files.items())]
    return "\n".join(["# Where the URLs of this set's imports are; relative to this folder.", "[files]",
                      *lines, ""])


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _read_catalogue(home: Path) -> dict[str, Any]:
    file = home / CATALOGUE
    return read_toml(file) if file.is_file() else {}

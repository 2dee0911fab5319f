"""The names that a schema declares: what of a document's names is ours to tell.

The names of a document's elements and attributes come from its sender. One that the schema declares too is a
name of the schema's. Any other is told by position and length (`hub.pipeline.places`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

from lxml import etree

XS = "{http://www.w3.org/2001/XMLSchema}"
_REFERENCES = (f"{XS}import", f"{XS}include", f"{XS}redefine", f"{XS}override")


def names_of(file: Path, uri_mapper: Callable[[str], str]) -> frozenset[str]:
    """The local names of all elements, attributes and types of a schema and of what it imports.

    `uri_mapper` gives the file of an import's URL. A file that is not there is left out.
    """
    return _names_of(str(file.resolve()), file.stat().st_mtime_ns, uri_mapper)


@lru_cache(maxsize=16)
def _names_of(file: str, _mtime: int, uri_mapper: Callable[[str], str]) -> frozenset[str]:
    names: set[str] = set()
    waiting, seen = [Path(file)], {Path(file)}
    while waiting:
        here = waiting.pop()
        root = _root(here)
        if root is None:
            continue
        names.update(_declared(root))
        for reference in root.iterchildren(*_REFERENCES):
            location = reference.get("schemaLocation", "")
            target = (here.parent / uri_mapper(location)).resolve()
            if location and target not in seen:
                seen.add(target)
                waiting.append(target)
    return frozenset(names)


def _root(file: Path) -> etree._Element | None:
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)
    try:
        return etree.parse(str(file), parser).getroot()
    except (OSError, etree.XMLSyntaxError):
        return None


def _declared(root: etree._Element) -> Iterator[str]:
    for element in root.iter(f"{XS}element", f"{XS}attribute", f"{XS}simpleType", f"{XS}complexType"):
        for attribute in ("name", "ref"):
            name = element.get(attribute, "").rpartition(":")[2]
            if name:
                yield name

"""A mail that is too large goes without its files, which go to the fallback; the mail says where they lie.

The mail keeps its delivery, its name and its place in the books; its manifest is exchanged for
a slim one. Files that another delivery of the message brings to the fallback anyway are left
to that one; if that is not enough, the others get a delivery of their own. The mail waits for
these, because only then their places are known.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from hub.message import NOTE, Manifest, ManifestPart, unique_names

_FILES, _NAMES, _WHY = "hub:files-of", "hub:files", "hub:why"
_BODY = ("text", "html")


def files(manifest: Manifest) -> tuple[ManifestPart, ...]:
    """What travels as a file, in the manifest's order."""
    return tuple(part for part in manifest.parts if part.role not in _BODY)


def shared(manifest: Manifest, other: Manifest) -> tuple[ManifestPart, ...]:
    """The files of a manifest that the other one has too, byte by byte."""
    there = {part.sha256 for part in other.parts}
    return tuple(part for part in files(manifest) if part.sha256 in there)


def slim(manifest: Manifest, gone: Collection[ManifestPart], files_of: str, why: str) -> Manifest:
    """Without some of its files; these travel with the delivery `files_of`."""
    names = unique_names([part.name for part in gone])
    old = manifest.properties
    return replace(manifest, parts=tuple(part for part in manifest.parts if part not in gone), properties={
        **old, _FILES: " ".join(filter(None, [old.get(_FILES), files_of])), _WHY: why,
        _NAMES: ", ".join(filter(None, [old.get(_NAMES), *names]))})


def files_of(manifest: Manifest) -> list[str]:
    """The deliveries that have a slim manifest's files; none: it is whole."""
    return manifest.properties.get(_FILES, "").split()


def noted(manifest: Manifest, places: Sequence[str | None]) -> Manifest:
    """A slim manifest with the words for the clerk; a place None: those files were discarded."""
    where = [f"Sie liegen hier: {place}" if place
             else "Sie wurden verworfen: bitte bei der Datendrehscheibe nachfragen."
             for place in places]
    note = "\n".join([f"Diese Dateien zum Antrag sind nicht in der Mail: {manifest.properties[_NAMES]}",
                      *where, manifest.properties[_WHY]])
    return replace(manifest, properties={**manifest.properties, NOTE: note})

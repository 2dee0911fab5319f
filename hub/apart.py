"""A mail that is too large goes without its files, which go to the fallback; the mail says where they lie.

The mail keeps its delivery, its name and its place in the books; its manifest is exchanged for a slim one that names the
delivery which has the files: an own one, or one to the same fallback that the route makes anyway and that has all of them. The
mail waits for that one, because only then its place is known.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from hub.message import NOTE, Manifest, ManifestPart, unique_names

_FILES, _NAMES, _WHY = "hub:files-of", "hub:files", "hub:why"
_BODY = ("text", "html")


def files(manifest: Manifest) -> tuple[ManifestPart, ...]:
    """What travels as a file, in the manifest's order."""
    return tuple(part for part in manifest.parts if part.role not in _BODY)


def has_all(manifest: Manifest, wanted: Collection[ManifestPart]) -> bool:
    """Whether these files, byte by byte, are among the parts."""
    return {part.sha256 for part in wanted} <= {part.sha256 for part in manifest.parts}


def slim(manifest: Manifest, files_of: str, why: str) -> Manifest:
    """Without the files; they travel with the delivery `files_of`."""
    names = ", ".join(unique_names([part.name for part in files(manifest)]))
    return replace(manifest, parts=manifest.of_role(*_BODY),
                   properties={**manifest.properties, _FILES: files_of, _NAMES: names, _WHY: why})


def files_of(manifest: Manifest) -> str | None:
    """The delivery that has a slim manifest's files; None: it is whole."""
    return manifest.properties.get(_FILES)


def noted(manifest: Manifest, place: str | None) -> Manifest:
    """A slim manifest with the words for the clerk; `place` None: the files were discarded."""
    where = f"Sie liegen hier: {place}" if place else "Sie wurden verworfen: bitte bei der Datendrehscheibe nachfragen."
    note = (f"Die Dateien zu diesem Antrag sind nicht in dieser Mail. {manifest.properties[_WHY]}\n{where}\n"
            f"Dateien: {manifest.properties[_NAMES]}")
    return replace(manifest, properties={**manifest.properties, NOTE: note})

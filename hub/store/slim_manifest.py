"""Slim manifests: a mail that is too large travels without its files, and says where they are.

The files go to the fallback destination. The mail keeps its delivery and its id; only its manifest is
exchanged for a slim one. If another delivery of the message brings files to the fallback anyway, those files
are left to it. The remaining files get a delivery of their own. The mail waits for these deliveries, because
their receipts tell the places.

Functions on records, without the store. Used by `hub.delivery.deliverer` and `hub.store.store`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from hub.message import NOTE, Manifest, ManifestPart, unique_names

_FILES, _NAMES, _WHY = "hub:files-of", "hub:files", "hub:why"
_BODY = ("text", "html")


def files(manifest: Manifest) -> tuple[ManifestPart, ...]:
    """The parts that travel as files, in the manifest's order."""
    return tuple(part for part in manifest.parts if part.role not in _BODY)


def shared(manifest: Manifest, other: Manifest) -> tuple[ManifestPart, ...]:
    """The files of a manifest that the other manifest has too, byte by byte."""
    there = {part.sha256 for part in other.parts}
    return tuple(part for part in files(manifest) if part.sha256 in there)


def slim(manifest: Manifest, gone: Collection[ManifestPart], files_of: str, why: str) -> Manifest:
    """The manifest without the files in `gone`, which travel with the delivery `files_of`.

    `why` is German and tells the clerk the reason.
    """
    names = unique_names([part.name for part in gone])
    old = manifest.properties
    return replace(manifest, parts=tuple(part for part in manifest.parts if part not in gone), properties={
        **old, _FILES: " ".join(filter(None, [old.get(_FILES), files_of])), _WHY: why,
        _NAMES: ", ".join(filter(None, [old.get(_NAMES), *names]))})


def files_of(manifest: Manifest) -> list[str]:
    """The ids of the deliveries that have the files of a slim manifest. A whole manifest has none."""
    return manifest.properties.get(_FILES, "").split()


def noted(manifest: Manifest, places: Sequence[str | None]) -> Manifest:
    """A slim manifest with a German note for the clerk. A place of None means: those files were discarded."""
    where = [f"Sie liegen hier: {place}" if place
             else "Sie wurden verworfen: bitte bei der Datendrehscheibe nachfragen."
             for place in places]
    note = "\n".join([f"Diese Dateien zum Antrag sind nicht in der Mail: {manifest.properties[_NAMES]}",
                      *where, manifest.properties[_WHY]])
    return replace(manifest, properties={**manifest.properties, NOTE: note})

"""The index file of a "Vorgangsordner": what it is, when it came, and the digest of each file.

It is for people and for machines: a head of labels and values, then one line for each file as ``sha256sum``
writes it, so that ``sha256sum --check --ignore-missing _inhalt.txt`` checks the folder. The short number is
the one in the subject of the mail about the same application.

The same delivery gives the same bytes on every try. The index says nothing that the folder's name, the
delivery and the files do not say, so a folder without it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from connectors._template import arrival_day, one_line
from hub.message import BERLIN, Delivery, ManifestPart

INDEX = "_inhalt.txt"
"""No part is called so: no safe name begins with ``_`` (`hub.names`), but for devices of Windows."""

_MARKS = {"program": "Programm", "script": "enthält ein Skript", "macro": "enthält Makros",
          "archive": "Archiv, nicht ausgepackt", "locked": "Archiv mit Kennwort",
          "other-type": "Inhalt passt nicht zum Namen"}


def index_of(delivery: Delivery, files: Sequence[tuple[str, ManifestPart]]) -> bytes:
    """The index of these files of a delivery, in UTF-8. Times are those of Europe/Berlin."""
    return "".join(f"{line}\n" for line in [*_head(delivery), "", *_files(files)]).encode("utf-8", "replace")


def _head(delivery: Delivery) -> Iterator[str]:
    known = delivery.manifest.name_parts
    if delivery.test:
        yield "Testnachricht: bitte nicht bearbeiten"
    rows = {"Betreff": delivery.manifest.subject, "Nummer": known.get("short", ""),
            "Nachricht": delivery.message_id, "Vorgang": delivery.case or "",
            "Leistung": " ".join(filter(None, [delivery.service, known.get("version", "")])),
            "AGS": delivery.ags, "Eingegangen": f"{arrival_day(delivery):%d.%m.%Y}",
            "Weitergegeben": f"{delivery.created_at.astimezone(BERLIN):%d.%m.%Y, %H:%M:%S} Uhr",
            "Zustellung": delivery.id}
    for label, value in rows.items():
        if line := one_line(value):
            yield f"{label + ':':15}{line}"


def _files(files: Sequence[tuple[str, ManifestPart]]) -> Iterator[str]:
    yield f"Dateien: {len(files)} (SHA-256, Name; darunter Bytes und der Name im Original)"
    for name, part in files:
        yield f"{part.sha256}  {name}"
        original = f", im Original: {one_line(part.filename)}" if part.filename else ""
        yield f"    {part.size} Bytes{original}"
        if part.marks:
            seen = ", ".join(_MARKS.get(mark, mark) for mark in part.marks)
            yield f"    Achtung: {seen}; vor dem Öffnen prüfen"

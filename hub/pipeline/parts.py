"""The parts beside the document: what each of them is.

An attachment keeps its own name, and nothing is read out of a name that a citizen chose. Two things a name
tells all the same, because it is the sender's by convention:

* the applicant's own printout has an exact part name, or the document's own with ``.pdf`` (`Job.printout`);
* ``<prefix>_anhang_<field>.<ext>`` is a file of that field, as Amt24's blueprint process names files that the
  dump does not hold. A field with other content never gives way to a file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hub.job import FILE_NAME, STEM, JobPart, ReadBody
from hub.parsing.xml import Buffer
from hub.pipeline.envelope import CHUNK, EnvelopeBuilder, Role, Upload, clean_name
from hub.pipeline.form_xml import is_lost_upload
from hub.pipeline.places import table_for

_ANHANG = re.compile(r".*_anhang_(?P<key>.+?)(?:\.[^.]*)?", re.DOTALL)
_FILES = ("file", "files")


def take_part(work: EnvelopeBuilder, part: JobPart, document: JobPart, read_body: ReadBody,
              brought: list[Upload]) -> None:
    """Make an attachment of a part, unless the document `brought` it itself: the same bytes under the same
    name, or in the same field. Two parts of the same bytes are two: a citizen gave them two names, and a
    clerk looks for both. Raises `Rejected` (``limit``)."""
    name = part.filename or part.name
    place = place_of(work, name)
    content = read_body(part.body)
    is_printout = place is None and is_printout_among(part, document, work.job.printout, content)
    for upload in brought:
        if upload.sha256 == part.sha256 and _is_brought(upload, part, place, is_printout=is_printout):
            brought.remove(upload)
            return
    first = not any(upload.role == "applicant-pdf" for upload in work.uploads)
    role: Role = "applicant-pdf" if is_printout and first else "upload"
    number = work.attach(_pieces(content), name, part.media_type, role, place)
    if place is not None:
        work.refer(work.elements[place], number)


def _is_brought(upload: Upload, part: JobPart, place: str | None, *, is_printout: bool) -> bool:
    if upload.role == "applicant-pdf" and is_printout:
        return True
    if place is not None:
        return upload.field == place
    return part.filename is None or upload.name == clean_name(part.filename)


def _pieces(content: Buffer) -> Iterator[bytes]:
    view = memoryview(content)
    for start in range(0, view.nbytes, CHUNK):
        yield bytes(view[start:start + CHUNK])


# --- the applicant's printout -------------------------------------------------------------------------------


def is_printout_among(part: JobPart, document: JobPart, names: Sequence[str], content: Buffer) -> bool:
    """Whether a part is the applicant's own printout, by one of the `names` (see `Job.printout`), and a
    PDF."""
    return _is_pdf(part, content) and any(_is_called(part, document, name) for name in names)


def is_printout_of(part: JobPart, document: JobPart, names: Sequence[str]) -> bool:
    """Whether the document's own name makes a part its printout."""
    return any(STEM in name and _is_called(part, document, name) for name in names)


def _is_called(part: JobPart, document: JobPart, name: str) -> bool:
    if name.startswith(FILE_NAME):
        name, mine, its = name.removeprefix(FILE_NAME), part.filename, document.filename
    else:
        mine, its = part.name, document.name
    if STEM in name:
        if not its:
            return False
        name = name.replace(STEM, its.rpartition(".")[0] or its)
    return mine is not None and _ending_small(mine) == _ending_small(name)


def _ending_small(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return f"{stem}{dot}{ending.lower()}" if dot else name


def _is_pdf(part: JobPart, content: Buffer) -> bool:
    return (part.media_type.partition(";")[0].strip().lower() == "application/pdf"
            or (part.filename or "").lower().endswith(".pdf") or bytes(memoryview(content)[:5]) == b"%PDF-")


# --- the fields of files ------------------------------------------------------------------------------------


def place_of(work: EnvelopeBuilder, name: str) -> str | None:
    """The field of a file called ``<prefix>_anhang_<field>.<ext>``; several files of one field may be
    numbered. None where the field holds something else than files."""
    match = _ANHANG.fullmatch(name)
    if match is None:
        return None
    places: dict[str, str | None] = {}
    for place in work.elements:
        short = _file_key(place.rpartition(":")[2])
        places[short] = None if short in places else place
    places |= {_file_key(place): place for place in work.elements}
    key = match["key"]
    found = places.get(key) or places.get(re.sub(r"_\d{1,3}$", "", key))
    return found if found is not None and _takes_files(work, found) else None


def _file_key(place: str) -> str:
    """As the blueprint process names files: every other character than a word's becomes ``_``."""
    return re.sub(r"[^\w|]", "_", place, flags=re.ASCII)


def _takes_files(work: EnvelopeBuilder, place: str) -> bool:
    """Whether nothing is lost when the field refers to a file instead of what it holds."""
    element = work.elements[place]
    texts = [text.strip() for each in (element, *element.findall("value")) if (text := each.text)]
    if not any(texts) or all(is_lost_upload(text) for text in texts if text):
        return True
    group, _, field_id = place.split(":", 2)
    row = table_for(work.job.rules, group, field_id).rows.get((group, field_id))
    return row is not None and row.type in _FILES

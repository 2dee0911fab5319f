"""Whatever Amt24 or an authority sends becomes one envelope (schema: ``envelope.xsd`` beside this file).

One part of the message is the document. It says by its root or its keys which generation it is; the envelope
names that as ``e:source``:

* a form dump in XML, of three generations: `hub.pipeline.form_xml`;
* a form content or a form dump in JSON: `hub.pipeline.form_json`;
* a XÖV document: `hub.pipeline.xoev`.

The other parts become attachments. Values are text exactly as sent; nothing is guessed from the look of a
value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Sentence, say
from hub.job import Facts, Job, JobPart, Output, ReadBody
from hub.message import Reason
from hub.parsing.charset import of_media_type
from hub.parsing.json import parse_json
from hub.parsing.xml import Buffer, parse
from hub.pipeline.envelope import CHUNK, EnvelopeBuilder, Normalized, Role, Upload
from hub.pipeline.form_json import from_json
from hub.pipeline.form_xml import form_fields, form_metadata, known
from hub.pipeline.xoev import from_xoev, is_xoev

_ANHANG = re.compile(r".*_anhang_(?P<key>.+?)(?:\.[^.]*)?", re.DOTALL)
_APPLICANT_PDF = re.compile(r"pdf|antrag", re.IGNORECASE)


class NotNormal(Rejected):
    """What could not be normalized, with the `facts` (see `Facts.told`) and `notes` known by then."""

    def __init__(self, cause: Rejected, facts: Facts, notes: tuple[Sentence, ...] = ()) -> None:
        super().__init__(cause.reason, cause.text, cause.trace)
        self.facts = facts
        self.notes = notes


def normalize(job: Job, read_body: ReadBody, out: Output) -> Normalized:
    """The envelope of a job. `out` stands at its end; bodies of attachments are slices of it.

    Raises `NotNormal`: ``unreadable``, ``doctype``, ``limit``, ``unknown-form``, ``invalid``.
    """
    work = EnvelopeBuilder(job, out)
    try:
        part, kind = find_document(job.parts, read_body)
        outside = of_media_type(part.media_type)
        if kind == "json":
            from_json(work, parse_json(read_body(part.body), job.limits, outside, work.note))
        else:
            _from_xml(work, parse(read_body(part.body), job.limits, outside, work.note))
        brought = tuple(work.uploads)
        for other in job.parts:
            if other is not part:
                _take_part(work, other, part, read_body, brought)
        return work.finish()
    except Rejected as error:
        raise NotNormal(error, Facts(**work.facts), tuple(work.notes)) from error


def find_document(parts: Iterable[JobPart], read_body: ReadBody) -> tuple[JobPart, Literal["xml", "json"]]:
    """The part that is the application: the one called so, else the first that says and looks like XML or
    JSON."""
    found: list[tuple[int, int, JobPart, Literal["xml", "json"]]] = []
    for number, part in enumerate(parts):
        kind = _sniff(read_body(part.body))
        if kind is not None:
            rank = 0 if part.name == "application" else _says(part.media_type, kind)
            found.append((rank, number, part, kind))
    if not found:
        raise Rejected(Reason.UNREADABLE, say("kein Teil der Nachricht ist XML oder JSON"))
    _rank, _number, part, kind = min(found, key=lambda item: item[:2])
    return part, kind


def _sniff(content: Buffer) -> Literal["xml", "json"] | None:
    """By the first character, in whatever encoding; the parser has the last word."""
    head = bytes(memoryview(content)[:200]).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    if head.startswith(b"<"):
        return "xml"
    return "json" if head.startswith((b"{", b"[")) else None


def _says(media_type: str, kind: str) -> int:
    """1: the media type says so; 2: it says nothing; 3: it says something else (an image in SVG, a page in
    HTML)."""
    plain = media_type.partition(";")[0].strip().lower()
    if plain in (f"application/{kind}", f"text/{kind}") or (plain.startswith("application/")
                                                            and plain.endswith(kind)):
        return 1
    return 2 if plain in ("", "application/octet-stream", "text/plain") else 3


def _from_xml(work: EnvelopeBuilder, tree: etree._ElementTree) -> None:
    root = tree.getroot()
    if root.tag == "serviceportal-fields":
        form_fields(work, root, "serviceportal-fields")
    elif root.tag == "serviceportal" and root.find("serviceportal-fields") is not None:
        has_lists = next(root.iter("selectedValue"), None) is not None
        work.facts["source"] = "serviceportal-lists" if has_lists else "serviceportal"
        form_metadata(work, root.find("metadata"))
        for fields in root.findall("serviceportal-fields"):
            form_fields(work, fields, work.facts["source"])
    elif is_xoev(root):
        from_xoev(work, tree)
    else:
        raise Rejected(Reason.UNKNOWN_FORM, say("das Wurzelelement gehört zu keiner bekannten Form"),
                       known(root))


# --- further parts ------------------------------------------------------------------------------------------


def _take_part(work: EnvelopeBuilder, part: JobPart, document: JobPart, read_body: ReadBody,
               brought: Sequence[Upload]) -> None:
    """A part beside the document becomes an attachment, unless the envelope itself `brought` the same bytes
    there. Two parts of the same bytes are two: a citizen gave them two names, and a clerk looks for both."""
    name = part.filename or part.name
    place = _place_of(work, name)
    role: Role = "applicant-pdf" if place is None and _is_applicant_pdf(work, part, document) else "upload"
    if any(upload.sha256 == part.sha256 and (upload.field == place or place is None) for upload in brought):
        return
    number = work.attach(_pieces(read_body(part.body)), name, part.media_type, role, place)
    if place is not None:
        work.refer(work.elements[place], number)


def _pieces(content: Buffer) -> Iterator[bytes]:
    view = memoryview(content)
    for start in range(0, view.nbytes, CHUNK):
        yield bytes(view[start:start + CHUNK])


def _place_of(work: EnvelopeBuilder, name: str) -> str | None:
    """The field of a file called ``<prefix>_anhang_<field>.<ext>``; several files of one field may be
    numbered."""
    match = _ANHANG.fullmatch(name)
    if match is None:
        return None
    places: dict[str, str | None] = {}
    for place in work.elements:
        short = _file_key(place.rpartition(":")[2])
        places[short] = None if short in places else place
    places |= {_file_key(place): place for place in work.elements}
    key = match["key"]
    return places.get(key) or places.get(re.sub(r"_\d{1,3}$", "", key))


def _file_key(place: str) -> str:
    """As the blueprint process names files: every other character than a word's becomes ``_``."""
    return re.sub(r"[^\w|]", "_", place, flags=re.ASCII)


def _is_applicant_pdf(work: EnvelopeBuilder, part: JobPart, document: JobPart) -> bool:
    """The first PDF whose part is called so, or whose file is called like the document's
    (``<prefix>.xml``)."""
    stem, dot, extension = (part.filename or "").rpartition(".")
    if not (part.media_type.startswith("application/pdf") or extension.lower() == "pdf"):
        return False
    if any(upload.role == "applicant-pdf" for upload in work.uploads):
        return False
    beside = bool(dot) and stem == (document.filename or "").rpartition(".")[0]
    return beside or _APPLICANT_PDF.search(part.name) is not None or "antrag" in stem.lower()

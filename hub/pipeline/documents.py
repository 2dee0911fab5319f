"""Which part of a message is the application.

A part that begins like XML or JSON may be it. Where there are several such parts, each is looked into: the
one of a known form is the application, whatever its order. Several of known forms are one application when
they say the same, as XML and as JSON; else they are several applications, and that is never decided by a
guess.

A part with the name ``application`` is the document by its sender's own word, even when its form is unknown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, NamedTuple

from hub.errors import Rejected
from hub.i18n.sentence import Name, Sentence, Shape, Version, lines, say
from hub.job import Facts, Job, JobPart, ReadBody, SplitGroup
from hub.message import BERLIN, Reason
from hub.parsing.charset import Note, of_media_type, unheard
from hub.parsing.json import parse_json
from hub.parsing.xml import Buffer, parse
from hub.pipeline.envelope import EnvelopeBuilder
from hub.pipeline.form_json import from_json, is_form_json
from hub.pipeline.form_xml import from_form, is_form, known
from hub.pipeline.parts import is_printout_of, place_of
from hub.pipeline.xoev import from_xoev, is_xoev

Kind = Literal["xml", "json"]

HEAD = 1 << 16
"""Bytes of a document that cannot be read in which its root is looked for."""
_KINDS = {"xml": Name("XML"), "json": Name("JSON")}
_NO_ELEMENT = re.compile(r"<!--.*?-->|<\?.*?\?>", re.DOTALL)
_FIRST_ELEMENT = re.compile(r"<([A-Za-z_][\w.-]*:)?(?P<name>[A-Za-z_][\w.-]*)(?P<more>[^<>]*)")
_JSON_OF_A_FORM = re.compile(r'"formId"\s*:|"fields"\s*:\s*\{\s*"[^"]+[:_]\d{1,6}[:_]')
_CLOCK = re.compile(r"\d\d:\d\d:\d\d", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,30})(?:\.\d{1,30})?", re.ASCII)
_ROOTS = ("serviceportal", "serviceportal-fields")


class Document(NamedTuple):
    """A part that may be the application. `number` is its place in the message, counted from 0."""

    part: JobPart
    kind: Kind
    number: int


class Chosen(NamedTuple):
    """The application. `twins` are the parts that say the same in another way."""

    document: Document
    twins: tuple[Document, ...] = ()


class SeveralApplicationsError(Rejected):
    """A message holds several applications. `groups` says which parts belong to each."""

    def __init__(self, text: Sentence, trace: Sequence[Sentence], groups: tuple[SplitGroup, ...]) -> None:
        super().__init__(Reason.SEVERAL_APPLICATIONS, text, trace)
        self.groups = groups


def find_document(job: Job, read_body: ReadBody) -> Chosen:
    """The one application among the parts. Raises `Rejected` (``unreadable``) where no part can be it, and
    `SeveralApplicationsError`."""
    found = [Document(part, kind, number) for number, part in enumerate(job.parts)
             if (kind := _sniff(read_body(part.body))) is not None]
    if not found:
        raise Rejected(Reason.UNREADABLE, say("kein Teil der Nachricht ist XML oder JSON"))
    if len(found) == 1:
        return Chosen(found[0])
    known_ones = [each for each in found if _is_known(job, each, read_body)]
    named = min(found, key=_rank)
    if not known_ones or (_rank(named)[0] == 0 and named not in known_ones):
        return Chosen(named)
    if len(known_ones) == 1:
        return Chosen(known_ones[0])
    groups = _groups([_Candidate.of(job, each, read_body) for each in known_ones])
    if len(groups) > 1:
        raise _several(job, groups)
    first, *twins = sorted(groups[0], key=lambda each: (_rank(each.document)[0] != 0, each.lost,
                                                        _rank(each.document)))
    return Chosen(first.document, tuple(each.document for each in twins))


def read_document(work: EnvelopeBuilder, document: Document, read_body: ReadBody, note: Note) -> None:
    """Take over what the document holds. Raises `Rejected`: ``unreadable``, ``doctype``, ``limit``,
    ``unknown-form``, ``invalid``."""
    content, outside = read_body(document.part.body), of_media_type(document.part.media_type)
    if document.kind == "json":
        from_json(work, parse_json(content, work.job.limits, outside, note))
        return
    tree = parse(content, work.job.limits, outside, note)
    root = tree.getroot()
    if is_form(root):
        from_form(work, root)
    elif is_xoev(root):
        from_xoev(work, tree)
    else:
        raise Rejected(Reason.UNKNOWN_FORM, say("das Wurzelelement gehört zu keiner bekannten Form"),
                       known(root))


def same_as(chosen: Chosen) -> Sentence:
    """What the history says of an application that came in several ways."""
    first = chosen.document
    return say("Derselbe Antrag kam mehrfach: {which}. Es gilt Teil {number} ({kind}), das Übrige geht als "
               "Anlage mit", which=lines([_told(each) for each in (first, *chosen.twins)], ", "),
               number=first.number + 1, kind=_KINDS[first.kind])


# --- does it look like one ----------------------------------------------------------------------------------


def _sniff(content: Buffer) -> Kind | None:
    """By the first character, in whatever encoding; the parser has the last word."""
    head = bytes(memoryview(content)[:200]).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    if head.startswith(b"<"):
        return "xml"
    return "json" if head.startswith((b"{", b"[")) else None


def _rank(document: Document) -> tuple[int, int]:
    """Which comes first where the content does not tell."""
    part = document.part
    return (0 if part.name == "application" else _says(part.media_type, document.kind)), document.number


def _says(media_type: str, kind: str) -> int:
    """1: the media type says so; 2: it says nothing; 3: it says something else (an image in SVG, a page in
    HTML)."""
    plain = media_type.partition(";")[0].strip().lower()
    if plain in (f"application/{kind}", f"text/{kind}") or (plain.startswith("application/")
                                                            and plain.endswith(kind)):
        return 1
    return 2 if plain in ("", "application/octet-stream", "text/plain") else 3


def _is_known(job: Job, document: Document, read_body: ReadBody) -> bool:
    """Whether it is of a known form. One that cannot be read is, when it begins like one: a broken
    application must not go out as the attachment of another."""
    content, outside = read_body(document.part.body), of_media_type(document.part.media_type)
    try:
        if document.kind == "json":
            return is_form_json(parse_json(content, job.limits, outside))
        root = parse(content, job.limits, outside).getroot()
    except Rejected:
        return _begins_like_one(content, document.kind)
    return root.tag in _ROOTS or is_xoev(root)


def _begins_like_one(content: Buffer, kind: Kind) -> bool:
    head = bytes(memoryview(content)[:HEAD])
    text = head.replace(b"\0", b"").decode("latin-1")  # the zeros of UTF-16
    if kind == "json":
        return _JSON_OF_A_FORM.search(text) is not None
    first = _FIRST_ELEMENT.search(_NO_ELEMENT.sub("", text))
    return first is not None and (first["name"] in _ROOTS or "xoev-de" in first["more"])


# --- is it the same -----------------------------------------------------------------------------------------


@dataclass
class _Candidate:
    """A document of a known form, and what it says."""

    document: Document
    work: EnvelopeBuilder
    readable: bool
    texts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By place, without what is empty."""
    files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The digests of uploads, by place."""

    @classmethod
    def of(cls, job: Job, document: Document, read_body: ReadBody) -> _Candidate:
        """Reads it, for itself alone."""
        work = EnvelopeBuilder(job, _Nowhere())
        try:
            read_document(work, document, read_body, unheard)
        except Rejected:
            return cls(document, work, readable=False)
        found = cls(document, work, readable=work.payload is None)
        for place, element in work.elements.items():
            numbers = [int(each.get("ref", "0")) for each in element.findall("attachment")]
            if numbers or place in work.lost:
                found.files[place] = tuple(sorted(work.uploads[number - 1].sha256 for number in numbers))
            values = [each.text for each in element.findall("value")] or [element.text]
            if texts := tuple(filter(None, map(_even, values))):
                found.texts[place] = texts
        return found

    @property
    def lost(self) -> int:
        """How many of its uploads it does not hold itself."""
        return sum(self.work.lost.values())

    def is_same(self, other: _Candidate) -> bool:
        """Whether both are the same application. What cannot be compared is the same byte by byte only."""
        if self.document.part.sha256 == other.document.part.sha256:
            return True
        if not (self.readable and other.readable) or not self._is_of_one_form(other):
            return False
        files = self.files.keys() | other.files.keys()
        if any(not _same_files(self.files.get(place), other.files.get(place),
                               self.work.lost.get(place, 0) + other.work.lost.get(place, 0))
               for place in files):
            return False
        return all(_same_texts(self.texts.get(place, ()), other.texts.get(place, ()))
                   for place in (self.texts.keys() | other.texts.keys()) - files)

    def _is_of_one_form(self, other: _Candidate) -> bool:
        mine, its = self.work, other.work
        pairs = ((mine.facts.get("form_id"), its.facts.get("form_id")), (mine.postfach, its.postfach))
        return all(one is None or another is None or one == another for one, another in pairs)

    def names(self, part: JobPart) -> bool:
        """Whether the document itself names a part as its own: as its printout, or in one of its fields."""
        filename = part.filename or part.name
        return (is_printout_of(part, self.document.part, self.work.job.printout)
                or place_of(self.work, filename) is not None
                or _even(filename) in self._filenames())

    def _filenames(self) -> set[str]:
        return {text for texts in self.texts.values() for text in texts} | {
            _even(name) for name in self.work.named}


class _Nowhere:
    """An output that keeps nothing."""

    def __init__(self) -> None:
        self._size = 0

    def write(self, data: bytes, /) -> int:
        """Count."""
        self._size += len(data)
        return len(data)

    def tell(self) -> int:
        """How many bytes it got."""
        return self._size


def _groups(candidates: Sequence[_Candidate]) -> list[list[_Candidate]]:
    """The candidates by application, in their order."""
    groups: list[list[_Candidate]] = []
    for candidate in candidates:
        group = next((group for group in groups if all(candidate.is_same(each) for each in group)), None)
        if group is None:
            groups.append([candidate])
        else:
            group.append(candidate)
    return groups


def _even(text: str | None) -> str:
    """A text without the differences that the two formats make."""
    return unicodedata.normalize("NFC", (text or "").replace("\r\n", "\n")).strip()


def _same_files(mine: tuple[str, ...] | None, its: tuple[str, ...] | None, lost: int) -> bool:
    """One of the two formats may have lost the files."""
    return mine == its or bool(lost) or not mine or not its


def _same_texts(mine: Sequence[str], its: Sequence[str]) -> bool:
    return len(mine) == len(its) and all(map(_same_text, mine, its))


def _same_text(one: str, another: str) -> bool:
    """The same text, number or moment: JSON has moments in UTC, and numbers without zeros at their end."""
    if one == another:
        return True
    if _NUMBER.fullmatch(one) and _NUMBER.fullmatch(another):
        return Decimal(one) == Decimal(another)
    mine, its = set(_moments(one)), set(_moments(another))
    return bool(mine & its)


def _moments(text: str) -> Iterator[str]:
    """Ways to write a moment: with its zone the same instant, and what a clock in Germany shows."""
    try:
        moment = datetime.fromisoformat(text)
        local = moment.astimezone(BERLIN) if moment.tzinfo else moment
    except (ValueError, OverflowError):
        if _CLOCK.fullmatch(text):
            yield f"1970-01-01T{text}"
        return
    yield local.replace(tzinfo=None).isoformat()


# --- several ------------------------------------------------------------------------------------------------


def _several(job: Job, groups: Sequence[Sequence[_Candidate]]) -> SeveralApplicationsError:
    trace = [say("{number}. Antrag: {which}", number=number, which=lines(
        [say("{told}, {form}", told=_told(each.document), form=_form(each, job)) for each in group],
        "; ")) for number, group in enumerate(groups, 1)]
    text = say("Die Übergabe enthält {count} Anträge: {which}. Beim Absender einzeln anfordern und diese "
               "verwerfen, oder für diesen Absender several = \"split\" einrichten, neu laden, dann erneut "
               "verarbeiten", count=len(groups), which=lines(trace, "; "))
    return SeveralApplicationsError(text, trace, _split(job, groups))


def _told(document: Document) -> Sentence:
    return say("Teil {number} ({kind})", number=document.number + 1, kind=_KINDS[document.kind])


def _form(candidate: _Candidate, job: Job) -> Sentence:
    """The form of a document. A name that no rule has is told by its length only."""
    work = candidate.work
    facts = Facts(**{name: work.facts.get(name) for name in ("form_name", "form_version", "mandant")})
    version = Version(facts.form_version)
    name = next((form for rule in job.rules for form in rule.forms if form == facts.form_name), None)
    if name is None:
        return (say("Formular mit unbekanntem Namen ({shape}), Version {version}",
                    shape=Shape(facts.form_name), version=version) if facts.form_name
                else say("Formular unbekannt"))
    mandant = facts.told(job).mandant
    if mandant is None:
        return say("Formular {name}, Version {version}", name=Name(name), version=version)
    return say("Formular {mandant}:{name}:v{version}", mandant=int(mandant), name=Name(name),
               version=version)


def _split(job: Job, groups: Sequence[Sequence[_Candidate]]) -> tuple[SplitGroup, ...]:
    """Which parts go with which application: those that its document names, and those that none names."""
    documents = {each.document.number for group in groups for each in group}
    others = [(number, part) for number, part in enumerate(job.parts) if number not in documents]
    owners = {number: [place for place, group in enumerate(groups) if any(each.names(part) for each in group)]
              for number, part in others}
    return tuple(SplitGroup(
        parts=tuple(sorted([each.document.number for each in group]
                           + [number for number, found in owners.items() if place in found])),
        shared=tuple(number for number, found in owners.items() if not found))
        for place, group in enumerate(groups))

"""The envelope while it is being built, and as it is handed on (schema: ``envelope.xsd`` beside this file).

Bodies are decoded once, in chunks, straight into the job's output. The envelope has references to them (Claim
Check). `EnvelopeBuilder.finish` puts everything in its place and takes the digest of what is written.

Names of groups and fields come from the sender. A reason tells a place by the field tables of the message's
service, and by numbers where those do not know a name (`hub.pipeline.places`).
"""

from __future__ import annotations

import binascii
import hashlib
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import PurePath
from typing import Any, Literal, NamedTuple

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Name, Place, Sentence, say
from hub.job import Body, Facts, Job, OutAttachment, Output
from hub.message import BERLIN, Reason
from hub.names import shown_name, unique_names, upload_name, with_ending
from hub.parsing.charset import labelled
from hub.parsing.file_type import FileType, Inspection
from hub.pipeline.places import field_place, table_for

NAMESPACE = "urn:datendrehscheibe:envelope:1"
SCHEMA = PurePath(__file__).with_name("envelope.xsd")

Role = Literal["applicant-pdf", "upload", "payload"]

E = f"{{{NAMESPACE}}}"
CHUNK = 1 << 20
"""Bytes that are decoded at once."""

_ID = re.compile(r"[A-Za-z_][\w.-]{0,199}", re.ASCII)
_FORM_ID = re.compile(r"(?P<mandant>[\w.-]{1,40}):(?P<name>[\w .-]{1,150})"
                      r":v(?P<version>\d{1,6}(?:\.\d{1,6}){0,3})")
_ESCAPED = re.compile(r"[^&<>\"']*(?:&(?:amp|lt|gt|quot|apos);[^&<>\"']*)*")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos);")
_CHARACTER = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}", re.ASCII)
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_CONTROL = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f]")
_TYPES = mimetypes.MimeTypes().types_map[True]


class Account(NamedTuple):
    """What the sender says of the applicant's account; nobody here has checked a signature.

    `type` is the portal's own word (BUND, ELSTER, …); `identified` says whether the identity card was used
    to sign in; `verified` are places of fields whose values were read out of the account, with the level.
    """

    type: str | None
    identified: bool | None
    verified: Mapping[str, str]


class Normalized(NamedTuple):
    """`payload` is the XÖV document as received, to be validated; None for every other source."""

    envelope: etree._Element
    facts: Facts
    attachments: tuple[OutAttachment, ...]
    payload: etree._ElementTree | None
    notes: tuple[Sentence, ...] = ()


@lru_cache(maxsize=10_000)
def _is_id(name: str) -> bool:
    return _ID.fullmatch(name) is not None


@dataclass
class Upload:
    """An attachment as the sender described it; `body` is a slice of the job's output."""

    name: str
    media_type: str
    role: Role
    field: str | None
    size: int
    sha256: str
    body: Body
    seen: FileType


@dataclass
class EnvelopeBuilder:
    """The envelope while it is being built."""

    job: Job
    out: Output
    facts: dict[str, Any] = field(default_factory=dict)
    created: str | None = None
    postfach: str | None = None
    account: Account | None = None
    groups: dict[str, tuple[etree._Element, dict[int, etree._Element]]] = field(default_factory=dict)
    elements: dict[str, etree._Element] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    """File names of uploads that the document names and does not hold."""
    payload: etree._ElementTree | None = None
    payload_copy: etree._Element | None = None
    notes: list[Sentence] = field(default_factory=list)
    replaced: int = 0
    """Control characters that XML does not allow."""

    def __post_init__(self) -> None:
        self.facts["test"] = self.job.test
        self.root = etree.Element(E + "envelope", nsmap={"e": NAMESPACE}, version="1")
        self.metadata = etree.SubElement(self.root, E + "metadata")
        self.fields = etree.SubElement(self.root, E + "fields")

    def note(self, sentence: Sentence) -> None:
        """Say something in the history of the message, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def set_text(self, element: etree._Element, text: str, where: Callable[[], Sentence]) -> None:
        """Put the text into an element; `where` names the place.

        A control character is replaced, and a note says how many were. Raises `Rejected` (``invalid``) for
        any other sign that XML does not allow.
        """
        try:
            element.text = text or None
        except ValueError:
            clean, count = _CONTROL.subn(_instead, text)
            try:
                element.text = clean
            except ValueError:
                raise Rejected(Reason.INVALID, say(
                    "{where} enthält ein Zeichen, das in XML nicht erlaubt ist", where=where())) from None
            self.replaced += count

    def form(self, form_id: str | None) -> None:
        """Take the form id apart, ``<mandant>:<name>:v<version>``. One of another shape is not kept as a
        fact."""
        match = _FORM_ID.fullmatch(form_id or "")
        if match:
            self.facts |= {"form_id": match[0], "mandant": match["mandant"], "form_name": match["name"],
                           "form_version": match["version"]}

    def place(self, prefix: str, name: str) -> str:
        """The place of a field, ``group:instance:field``, that must not have come before."""
        if not _is_id(name):
            raise Rejected(Reason.INVALID, say("ein Feldname ist als Name nicht erlaubt: {place}",
                                               place=self.told(f"{prefix}{name}")))
        where = f"{prefix}{name}"
        if where in self.elements:
            raise Rejected(Reason.INVALID, say("das Feld {place} kommt zweimal vor", place=self.told(where)))
        return where

    def told(self, where: str) -> Place:
        """A place as a reason may name it: by labels and ids of the service's field tables, and by
        numbers."""
        group, n, field_id = where.split(":", 2)
        instance = f"{group}:{n}:"
        before = [each for each in self.elements if each.startswith(instance)]
        position = before.index(where) if where in before else len(before)
        groups = list(self.groups)
        number = groups.index(group) if group in groups else len(groups)
        return field_place(table_for(self.job.rules, group, field_id), (group, number + 1), int(n),
                           (field_id, position + 1))

    def field_element(self, instance: etree._Element, place: str, name: str) -> etree._Element:
        """The new element of a field, at the end of an instance."""
        element = self.elements[place] = etree.SubElement(instance, name)
        return element

    def instance(self, group: str, instance: int, sent: etree._Element | None = None) -> etree._Element:
        """An instance of a group, with or without fields.

        One that was `sent` as XML is itself taken over with its fields: making forty elements costs more than
        moving one. A second one of that number adds its fields to the first. Raises `Rejected` (``invalid``).
        """
        if group not in self.groups:
            if not _is_id(group):
                raise Rejected(Reason.INVALID, say(
                    "der Name der {position}. Gruppe ist als Name nicht erlaubt ({length} Zeichen)",
                    position=len(self.groups) + 1, length=len(group)))
            self.groups[group] = etree.SubElement(self.fields, group), {}
        parent, instances = self.groups[group]
        if sent is not None:
            sent.attrib.clear()
            if instance in instances:
                instances[instance].extend(list(sent))
            else:
                sent.tag, sent.text, sent.tail = "instance", None, None
                parent.append(sent)
        if instance not in instances:
            instances[instance] = etree.SubElement(parent, "instance") if sent is None else sent
            instances[instance].set("n", str(instance))
        return instances[instance]

    def attach(self, content: Iterable[bytes], filename: str, media_type: str, role: Role,
               place: str | None = None) -> int:
        """Write a body to the output, and give the number of the attachment. Raises `Rejected` (``invalid``,
        ``limit``)."""
        if len(self.uploads) >= self.job.limits.max_attachments:
            raise Rejected(Reason.LIMIT, say("mehr als {most} Anlagen", most=self.job.limits.max_attachments))
        start, size, digest, inspection = self.out.tell(), 0, hashlib.sha256(), Inspection()
        try:
            for chunk in content:
                self.out.write(chunk)
                digest.update(chunk)
                inspection.add(chunk)
                size += len(chunk)
        except ValueError:
            where = self.told(place) if place in self.elements else say("{role}", role=Name(role))
            raise Rejected(Reason.INVALID, say("die Anlage {number} ({where}) ist nicht richtig kodiert",
                                               number=len(self.uploads) + 1, where=where)) from None
        self.uploads.append(Upload(
            clean_name(filename), _clean_type(media_type, filename), role, place,
            size, digest.hexdigest(), Body(fd=0, offset=start, length=size),
            inspection.finish(filename, media_type)))
        return len(self.uploads)

    def refer(self, element: etree._Element, number: int) -> None:
        """A field's reference to an attachment, in place of whatever named it before."""
        element.text = None
        for value in element.findall("value"):
            element.remove(value)
        etree.SubElement(element, "attachment", ref=str(number))

    def finish(self) -> Normalized:
        """The envelope with everything in its place, and the digest of how it is written.

        White space and the order of attributes of the sender's fields are not in the digest, because every
        envelope is built here in the same way.
        """
        names = unique_names([with_ending(upload_name(upload.name), upload.media_type)
                              for upload in self.uploads])
        root, metadata = self.root, self.metadata
        self._describe(metadata)
        for parent, instances in self.groups.values():
            if list(instances) != sorted(instances):
                parent[:] = [instances[number] for number in sorted(instances)]
        self._attachments(etree.SubElement(root, E + "attachments"), names)
        if self.payload_copy is not None:
            etree.SubElement(root, E + "payload").append(self.payload_copy)
        self.facts["canonical_digest"] = hashlib.sha256(etree.tostring(root, encoding="utf-8")).hexdigest()
        metadata.insert(0, self._message())
        self._account(metadata)
        if self.replaced:
            self.note(say("{count} Steuerzeichen, die in XML nicht erlaubt sind, sind ersetzt (ein "
                          "senkrechter Tabulator durch einen Zeilenumbruch)", count=self.replaced))
        return Normalized(root, Facts(**self.facts), tuple(self._out(names)), self.payload, tuple(self.notes))

    def _message(self) -> etree._Element:
        """What is this message's alone, and no part of its digest."""
        job = self.job
        message = etree.SubElement(
            self.metadata, E + "message", id=job.message_id, ags=job.ags, service=job.service,
            received=job.received_at.astimezone(BERLIN).isoformat(timespec="seconds"),
            day=job.accepted_day.isoformat(),
            test="true" if self.facts["test"] else "false")
        for name, text in (("case", job.case), ("correlation", job.correlation)):
            if text is not None:
                message.set(name, _NOT_XML.sub("_", text))
        return message

    def _describe(self, metadata: etree._Element) -> None:
        etree.SubElement(metadata, E + "source").text = self.facts["source"]
        if "form_id" in self.facts:
            form = etree.SubElement(metadata, E + "form", id=self.facts["form_id"])
            for attribute, fact in (("mandant", "mandant"), ("name", "form_name"),
                                    ("version", "form_version")):
                if self.facts.get(fact):
                    form.set(attribute, self.facts[fact])
        for name, text in (("created", self.created), ("postfachHandle", self.postfach)):
            if text:
                where = say("das Feld {name} der Metadaten", name=Name(name))
                self.set_text(etree.SubElement(metadata, E + name), text, partial(_same, where))

    def _account(self, metadata: etree._Element) -> None:
        """How somebody signed in is no part of the digest: it may differ between two hand-overs of one
        application."""
        if self.account is None:
            return
        element = etree.SubElement(metadata, E + "account")
        if self.account.type is not None:
            element.set("type", self.account.type)
        if self.account.identified is not None:
            element.set("identified", "true" if self.account.identified else "false")
        for place, level in self.account.verified.items():
            etree.SubElement(element, E + "verified", field=place, level=level)

    def _attachments(self, parent: etree._Element, names: list[str]) -> None:
        for number, (upload, name) in enumerate(zip(self.uploads, names, strict=True), 1):
            element = etree.SubElement(
                parent, E + "attachment", id=str(number), name=name,
                mediaType=upload.media_type.partition(";")[0],
                size=str(upload.size), sha256=upload.sha256, role=upload.role)
            if upload.field is not None:
                element.set("field", upload.field)
            if upload.name != name:
                element.set("filename", upload.name)
            _describe_content(element, upload.seen)
        for place, count in self.lost.items():
            missing = count - len(self.elements[place].findall("attachment"))
            if missing > 0:
                etree.SubElement(parent, E + "lost", field=place, count=str(missing))

    def _out(self, names: list[str]) -> Iterator[OutAttachment]:
        for upload, name in zip(self.uploads, names, strict=True):
            yield OutAttachment(name=name, filename=upload.name, media_type=upload.media_type,
                                role=upload.role,
                                field=upload.field, size=upload.size, sha256=upload.sha256, body=upload.body,
                                marks=upload.seen.marks)


def _describe_content(element: etree._Element, seen: FileType) -> None:
    """Say of a marked attachment what was seen in it; of an archive what it lists."""
    if seen.marks:
        element.set("marks", " ".join(seen.marks))
    if seen.family is not None and "other-type" in seen.marks:
        element.set("content", seen.family)
    if seen.entry_count is not None:
        element.set("entries", str(seen.entry_count))
    for entry in seen.entries:
        etree.SubElement(element, E + "entry").text = _NOT_XML.sub("_", entry)[:255]


def _same(where: Sentence) -> Sentence:
    return where


def _instead(sign: re.Match[str]) -> str:
    """A vertical tab or form feed ends a line in word processors; all others have no meaning."""
    return "\n" if sign[0] in "\v\f" else "\N{REPLACEMENT CHARACTER}"


def clean_name(filename: str) -> str:
    """A file name as the envelope keeps it."""
    return shown_name(_NOT_XML.sub("_", filename))


def _clean_type(media_type: str, filename: str) -> str:
    """A media type with nothing but its charset; where none was sent, by the file name's extension."""
    if _MEDIA_TYPE.fullmatch(media_type.partition(";")[0].strip().lower()):
        return labelled(media_type)
    return _TYPES.get(PurePath(filename).suffix.lower(), "application/octet-stream")


def undouble(text: str) -> str:
    """One level of ``escapeXml`` taken off, if the text can be its result; else the text as it is."""
    if "&" not in text or not _ESCAPED.fullmatch(text):
        return text
    return _ENTITY.sub(lambda match: _CHARACTER[match[1]], text)


def decode_base64(text: str) -> Iterator[bytes]:
    """The bytes in chunks. Raises ValueError when the text is not base64 (RFC 4648 §4, white space
    allowed)."""
    rest, padded = b"", False
    for start in range(0, len(text), CHUNK):
        piece = rest + text[start:start + CHUNK].encode("ascii").translate(None, b" \t\r\n")
        cut = len(piece) - len(piece) % 4
        piece, rest = piece[:cut], piece[cut:]
        if (piece and padded) or piece.endswith(b"==="):
            raise ValueError("text after the padding, or too much of it")
        padded = piece.endswith(b"=")
        yield binascii.a2b_base64(piece, strict_mode=True)
    if rest:
        raise ValueError("the last group is not complete")

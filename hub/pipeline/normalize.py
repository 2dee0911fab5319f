"""Whatever Amt24 or an authority sends becomes one envelope (schema: ``envelope.xsd`` beside this file).

=====================  ==============================================================================================
``e:source``           what came in
=====================  ==============================================================================================
serviceportal-fields   form dump in XML before version 1.6 of the blueprint: no metadata; of a multi-upload only
                       its objects' ``toString()``, the files come as parts ``<prefix>_anhang_<field>.<ext>``
serviceportal          form dump in XML since version 1.6: metadata in any order, the applicant's PDF among them
serviceportal-lists    the same with lists or complete multi-uploads (``selectedValue``)
formcontent-json       the form content itself: fields by ``group:instance:field``, uploads as Java byte arrays
json                   form dump in JSON: fields by ``group_instance_field``, with or without metadata
xoev                   a XÖV document: carried untouched; only its copy for stylesheets has its bodies taken out
=====================  ==============================================================================================

Values are text exactly as sent; nothing is guessed from the look of a value. One thing is undone: the dumpers escape
list values, file names, media types and metadata twice (``escapeXml`` and then ``MarkupBuilder``; OZG-Hub
serviceportale-commons 9965d7c, blueprint process 4556da3), so one level is taken off there, and only where the text can
be what ``escapeXml`` writes. A text field is escaped once, and nothing in a XÖV document is touched.

Bodies are decoded once, in chunks, straight into the job's output; the envelope has references (Claim Check).
"""

from __future__ import annotations

import binascii
import copy
import hashlib
import mimetypes
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePath
from typing import Any, Literal, NamedTuple, Protocol

from lxml import etree

from hub.errors import Rejected
from hub.job import Body, Facts, Job, JobPart, OutAttachment
from hub.message import BERLIN, Reason, unique_names
from hub.parsing.json import ByteArray, json_text, parse_json
from hub.parsing.xml import Buffer, parse

NAMESPACE = "urn:datendrehscheibe:envelope:1"
SCHEMA = PurePath(__file__).with_name("envelope.xsd")
LARGE_BODY = 4096

ReadBody = Callable[[Body], Buffer]


class Output(Protocol):
    """Where bodies of attachments go: grows at its end."""

    def write(self, data: bytes, /) -> int:
        """Append."""

    def tell(self) -> int:
        """Where the next byte goes."""

Role = Literal["applicant-pdf", "upload", "payload"]

_E = f"{{{NAMESPACE}}}"
CHUNK = 1 << 20
_ID = re.compile(r"[A-Za-z_][\w.-]{0,199}", re.ASCII)
_FORM_ID = re.compile(r"(?P<mandant>[\w.-]{1,40}):(?P<name>[\w .-]{1,150}):v(?P<version>\d{1,6}(?:\.\d{1,6}){0,3})")
_INSTANCE = re.compile(r"instance_(\d{1,6})", re.ASCII)
_COLON_KEY = re.compile(r"([^:]+):(\d{1,6}):([^:]+)", re.ASCII)
_FLAT_KEY = re.compile(r"(.+?)_(\d{1,6})_(.+)", re.ASCII)
_ESCAPED = re.compile(r"[^&<>\"']*(?:&(?:amp|lt|gt|quot|apos);[^&<>\"']*)*")
_ENTITY = re.compile(r"&(amp|lt|gt|quot|apos);")
_CHARACTER = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_LOST_UPLOAD = re.compile(r"(?:[\w$]+\.)*BinaryContent(?:V1)?(?:@[0-9a-f]+|[\[({].*)", re.DOTALL)
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}", re.ASCII)
_NOT_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
_ANHANG = re.compile(r".*_anhang_(?P<key>.+?)(?:\.[^.]*)?", re.DOTALL)
_APPLICANT_PDF = re.compile(r"pdf|antrag", re.IGNORECASE)
_BASE64_LINE = re.compile(r"[ \t]*[A-Za-z0-9+/=]+[ \t]*")
_BODY_NAMES = frozenset({"inhalt", "base64", "base64data", "binaerdaten", "binaryobject", "datei", "dokumentinhalt",
                         "embeddeddocumentbinaryobject"})
_FILENAME_NAMES = frozenset({"dateiname", "dateinameoriginal", "filename"})
_MEDIA_NAMES = frozenset({"mimetype", "mimecode", "mediatype"})
_TYPES = mimetypes.MimeTypes().types_map[True]


class Normalized(NamedTuple):
    """`payload` is the XÖV document as received, to be validated; None for every other source."""

    envelope: etree._Element
    facts: Facts
    attachments: tuple[OutAttachment, ...]
    payload: etree._ElementTree | None


class NotNormal(Rejected):
    """What could not be normalized, with the `facts` that were known by then."""

    def __init__(self, cause: Rejected, facts: Facts) -> None:
        super().__init__(cause.reason, cause.text, cause.trace)
        self.facts = facts


def normalize(job: Job, read_body: ReadBody, out: Output) -> Normalized:
    """The envelope of a job. `out` stands at its end; bodies of attachments are slices of it.

    Raises `NotNormal`: ``unreadable``, ``doctype``, ``limit``, ``unknown-form``, ``invalid``.
    """
    work = _Work(job, out)
    try:
        part, kind = find_document(job.parts, read_body)
        if kind == "json":
            _from_json(work, parse_json(read_body(part.body), job.limits))
        else:
            _from_xml(work, parse(read_body(part.body), job.limits))
        brought = tuple(work.uploads)
        for other in job.parts:
            if other is not part:
                _take_part(work, other, part, read_body, brought)
        return work.finish()
    except Rejected as error:
        raise NotNormal(error, Facts(**work.facts)) from error


def find_document(parts: Iterable[JobPart], read_body: ReadBody) -> tuple[JobPart, Literal["xml", "json"]]:
    """The part that is the application: the one called so, else the first that says and looks like XML or JSON."""
    found: list[tuple[int, int, JobPart, Literal["xml", "json"]]] = []
    for number, part in enumerate(parts):
        kind = _sniff(read_body(part.body))
        if kind is not None:
            rank = 0 if part.name == "application" else _says(part.media_type, kind)
            found.append((rank, number, part, kind))
    if not found:
        raise Rejected(Reason.UNREADABLE, "kein Teil der Nachricht ist XML oder JSON")
    _rank, _number, part, kind = min(found, key=lambda item: item[:2])
    return part, kind


def _sniff(content: Buffer) -> Literal["xml", "json"] | None:
    """By the first character, in whatever encoding; the parser has the last word."""
    head = bytes(memoryview(content)[:200]).lstrip(b"\xef\xbb\xbf\xff\xfe\0 \t\r\n")
    if head.startswith(b"<"):
        return "xml"
    return "json" if head.startswith((b"{", b"[")) else None


def _says(media_type: str, kind: str) -> int:
    """1: the media type says so; 2: it says nothing; 3: it says something else (an image in SVG, a page in HTML)."""
    plain = media_type.partition(";")[0].strip().lower()
    if plain in (f"application/{kind}", f"text/{kind}") or (plain.startswith("application/") and plain.endswith(kind)):
        return 1
    return 2 if plain in ("", "application/octet-stream", "text/plain") else 3


@lru_cache(maxsize=10_000)
def _is_id(name: str) -> bool:
    return _ID.fullmatch(name) is not None


@dataclass
class _Upload:
    name: str
    media_type: str
    role: Role
    field: str | None
    size: int
    sha256: str
    body: Body


@dataclass
class _Work:
    """The envelope while it is being built."""

    job: Job
    out: Output
    facts: dict[str, Any] = field(default_factory=dict)
    created: str | None = None
    postfach: str | None = None
    groups: dict[str, tuple[etree._Element, dict[int, etree._Element]]] = field(default_factory=dict)
    elements: dict[str, etree._Element] = field(default_factory=dict)
    uploads: list[_Upload] = field(default_factory=list)
    lost: dict[str, int] = field(default_factory=dict)
    payload: etree._ElementTree | None = None
    payload_copy: etree._Element | None = None

    def __post_init__(self) -> None:
        self.facts["test"] = self.job.test
        self.root = etree.Element(_E + "envelope", nsmap={"e": NAMESPACE}, version="1")
        self.metadata = etree.SubElement(self.root, _E + "metadata")
        self.fields = etree.SubElement(self.root, _E + "fields")

    def form(self, form_id: str | None) -> None:
        """Take the form id apart, ``<mandant>:<name>:v<version>``; one of another shape is not kept as a fact."""
        match = _FORM_ID.fullmatch(form_id or "")
        if match:
            self.facts |= {"form_id": match[0], "mandant": match["mandant"], "form_name": match["name"],
                           "form_version": match["version"]}

    def place(self, prefix: str, name: str) -> str:
        """The place of a field, ``group:instance:field``, that must not have come before."""
        if not _is_id(name):
            raise Rejected(Reason.INVALID, "ein Feldname ist als Name nicht erlaubt")
        place = f"{prefix}{name}"
        if place in self.elements:
            raise Rejected(Reason.INVALID, f"das Feld {place} kommt zweimal vor")
        return place

    def field_element(self, instance: etree._Element, place: str, name: str) -> etree._Element:
        """The new element of a field, at the end of an instance."""
        element = self.elements[place] = etree.SubElement(instance, name)
        return element

    def instance(self, group: str, instance: int, sent: etree._Element | None = None) -> etree._Element:
        """An instance of a group, with or without fields. One that was sent as XML is itself taken over with its fields,
        because making forty elements costs more than moving one; a second one of that number adds its fields to the first.
        """
        if group not in self.groups:
            if not _is_id(group):
                raise Rejected(Reason.INVALID, "ein Gruppenname ist als Name nicht erlaubt")
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
        """Write a body to the output; the number of the attachment. Raises `Rejected` (``invalid``, ``limit``)."""
        if len(self.uploads) >= self.job.limits.max_attachments:
            raise Rejected(Reason.LIMIT, f"mehr als {self.job.limits.max_attachments} Anlagen")
        start, size, digest = self.out.tell(), 0, hashlib.sha256()
        try:
            for chunk in content:
                self.out.write(chunk)
                digest.update(chunk)
                size += len(chunk)
        except ValueError:
            raise Rejected(Reason.INVALID, f"die Anlage {place or role} ist nicht richtig kodiert") from None
        self.uploads.append(_Upload(
            _NOT_XML.sub("_", filename)[:255] or "datei", _clean_type(media_type, filename), role, place, size,
            digest.hexdigest(), Body(fd=0, offset=start, length=size)))
        return len(self.uploads)

    def refer(self, element: etree._Element, number: int) -> None:
        """A field's reference to an attachment, in place of whatever named it before."""
        element.text = None
        for value in element.findall("value"):
            element.remove(value)
        etree.SubElement(element, "attachment", ref=str(number))

    def finish(self) -> Normalized:
        """The envelope with everything in its place, and the digest of how it is written: what is built here the same way is
        written the same way, whatever white space and order of attributes the sender's fields had."""
        names = unique_names([upload.name for upload in self.uploads])
        root, metadata = self.root, self.metadata
        self._describe(metadata)
        for parent, instances in self.groups.values():
            if list(instances) != sorted(instances):
                parent[:] = [instances[number] for number in sorted(instances)]
        self._attachments(etree.SubElement(root, _E + "attachments"), names)
        if self.payload_copy is not None:
            etree.SubElement(root, _E + "payload").append(self.payload_copy)
        self.facts["canonical_digest"] = hashlib.sha256(etree.tostring(root, encoding="utf-8")).hexdigest()
        metadata.insert(0, self._message())
        return Normalized(root, Facts(**self.facts), tuple(self._out(names)), self.payload)

    def _message(self) -> etree._Element:
        """What is this message's alone, and no part of its digest."""
        job = self.job
        message = etree.SubElement(
            self.metadata, _E + "message", id=job.message_id, ags=job.ags, service=job.service,
            received=job.received_at.astimezone(BERLIN).isoformat(timespec="seconds"), day=job.accepted_day.isoformat(),
            test="true" if self.facts["test"] else "false")
        if job.case is not None:
            message.set("case", _NOT_XML.sub("_", job.case))
        return message

    def _describe(self, metadata: etree._Element) -> None:
        etree.SubElement(metadata, _E + "source").text = self.facts["source"]
        if "form_id" in self.facts:
            form = etree.SubElement(metadata, _E + "form", id=self.facts["form_id"])
            for attribute, fact in (("mandant", "mandant"), ("name", "form_name"), ("version", "form_version")):
                if self.facts.get(fact):
                    form.set(attribute, self.facts[fact])
        for name, text in (("created", self.created), ("postfachHandle", self.postfach)):
            if text:
                _set_text(etree.SubElement(metadata, _E + name), text, name)

    def _attachments(self, parent: etree._Element, names: list[str]) -> None:
        for number, (upload, name) in enumerate(zip(self.uploads, names, strict=True), 1):
            element = etree.SubElement(
                parent, _E + "attachment", id=str(number), name=name, mediaType=upload.media_type,
                size=str(upload.size), sha256=upload.sha256, role=upload.role)
            if upload.field is not None:
                element.set("field", upload.field)
            if upload.name != name:
                element.set("filename", upload.name)
        for place, count in self.lost.items():
            missing = count - len(self.elements[place].findall("attachment"))
            if missing > 0:
                etree.SubElement(parent, _E + "lost", field=place, count=str(missing))

    def _out(self, names: list[str]) -> Iterator[OutAttachment]:
        for upload, name in zip(self.uploads, names, strict=True):
            yield OutAttachment(name=name, filename=upload.name, media_type=upload.media_type, role=upload.role,
                                field=upload.field, size=upload.size, sha256=upload.sha256, body=upload.body)


def _set_text(element: etree._Element, text: str, place: str) -> None:
    try:
        element.text = text or None
    except ValueError:
        raise Rejected(Reason.INVALID, f"{place} enthält ein Zeichen, das in XML nicht erlaubt ist") from None


def _clean_type(media_type: str, filename: str) -> str:
    """A media type without parameters; where none was sent, by the file name's extension."""
    plain = media_type.partition(";")[0].strip().lower()
    if _MEDIA_TYPE.fullmatch(plain):
        return plain
    return _TYPES.get(PurePath(filename).suffix.lower(), "application/octet-stream")


def undouble(text: str) -> str:
    """One level of ``escapeXml`` taken off, if the text can be its result; else the text as it is."""
    if "&" not in text or not _ESCAPED.fullmatch(text):
        return text
    return _ENTITY.sub(lambda match: _CHARACTER[match[1]], text)


def decode_base64(text: str) -> Iterator[bytes]:
    """The bytes in chunks. Raises ValueError when the text is not base64 (RFC 4648 §4, white space allowed)."""
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


# --- XML --------------------------------------------------------------------------------------------------------------


def _from_xml(work: _Work, tree: etree._ElementTree) -> None:
    root = tree.getroot()
    if root.tag == "serviceportal-fields":
        _form_fields(work, root, "serviceportal-fields")
    elif root.tag == "serviceportal" and root.find("serviceportal-fields") is not None:
        has_lists = next(root.iter("selectedValue"), None) is not None
        work.facts["source"] = "serviceportal-lists" if has_lists else "serviceportal"
        _metadata(work, root.find("metadata"))
        for fields in root.findall("serviceportal-fields"):
            _form_fields(work, fields, work.facts["source"])
    elif _is_xoev(root):
        _from_xoev(work, tree)
    else:
        raise Rejected(Reason.UNKNOWN_FORM, "das Wurzelelement gehört zu keiner bekannten Form", _known(_shown(root)))


def _known(seen: str) -> tuple[str, ...]:
    return (f"gefunden: {seen}", "bekannt: serviceportal, serviceportal-fields, XÖV-Nachrichten, Formulare in JSON")


def _shown(element: etree._Element) -> str:
    """An element's name, cut to what a name may be."""
    return re.sub(r"[^\w.:/{}-]", "?", element.tag)[:120]


def _metadata(work: _Work, metadata: etree._Element | None) -> None:
    values: dict[str, str] = {}
    for element in metadata if metadata is not None else ():
        if element.tag == "pdfApplicantFormBase64":
            if element.text and element.text.strip():
                work.attach(decode_base64(element.text), "antrag.pdf", "application/pdf", "applicant-pdf")
                element.text = None
        else:
            values[element.tag] = undouble(element.text or "")
    work.form(values.get("formId"))
    work.created = values.get("creationDate")
    work.postfach = values.get("postfachHandleId")


def _form_fields(work: _Work, fields: etree._Element, source: str) -> None:
    work.facts["source"] = source
    for group in fields:
        for instance in list(group):
            number = _INSTANCE.fullmatch(instance.tag)
            if number is None:
                raise Rejected(Reason.UNKNOWN_FORM, "unter einer Feldgruppe steht etwas anderes als instance_<n>",
                               _known(_shown(instance)))
            name, index = group.tag, int(number[1])
            sent, prefix = list(instance), f"{name}:{index}:"
            parent = work.instance(name, index, instance)
            for element in sent:
                place = work.place(prefix, element.tag)
                if len(element):
                    target = work.field_element(parent, place, element.tag)
                    _form_values(work, place, target, element)
                    parent.replace(element, target)
                else:
                    work.elements[place] = element
                if element.keys():
                    element.attrib.clear()
                if element.tail:
                    element.tail = None
    etree.cleanup_namespaces(work.fields)


def _form_values(work: _Work, place: str, target: etree._Element, element: etree._Element) -> None:
    if element.find("base64Data") is not None:
        _form_upload(work, place, target, element)
    else:
        for child in element:
            _form_list_item(work, place, target, child)


def _form_list_item(work: _Work, place: str, target: etree._Element, child: etree._Element) -> None:
    if child.tag != "selectedValue":
        raise Rejected(Reason.UNKNOWN_FORM, f"das Feld {place} hat einen unbekannten Aufbau", _known(_shown(child)))
    if child.find("base64Data") is not None:
        _form_upload(work, place, target, child)
    elif len(child):
        raise Rejected(Reason.UNKNOWN_FORM, f"das Feld {place} hat einen unbekannten Aufbau", _known(_shown(child[0])))
    else:
        text = undouble(child.text or "")
        if work.facts["source"] == "serviceportal-fields" and _LOST_UPLOAD.fullmatch(text):
            work.lost[place] = work.lost.get(place, 0) + 1
        else:
            etree.SubElement(target, "value").text = text


def _form_upload(work: _Work, place: str, target: etree._Element, element: etree._Element) -> None:
    data = element.find("base64Data")
    if data is None or len(data) or {child.tag for child in element} - {"base64Data", "mimetype", "filename"}:
        raise Rejected(Reason.UNKNOWN_FORM, f"das Feld {place} hat einen unbekannten Aufbau")
    number = work.attach(decode_base64(data.text or ""), undouble(element.findtext("filename") or ""),
                         undouble(element.findtext("mimetype") or ""), "upload", place)
    data.text = None
    work.refer(target, number)


# --- XÖV --------------------------------------------------------------------------------------------------------------


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname


def _is_xoev(root: etree._Element) -> bool:
    """In a namespace, and with a head as the XÖV Basisnachricht has it, or in one of XÖV's own namespaces."""
    namespace = etree.QName(root).namespace
    return bool(namespace) and ("xoev-de" in str(namespace)
                                or any(_local(child).startswith("nachrichtenkopf") for child in root))


def _from_xoev(work: _Work, tree: etree._ElementTree) -> None:
    root = tree.getroot()
    name, version = _local(root), root.get("version", "")
    work.payload = tree
    work.facts |= {"source": "xoev", "form_id": name[:200], "form_name": name[:200]}
    if re.fullmatch(r"\d{1,6}(?:\.\d{1,6}){0,3}", version):
        work.facts["form_version"] = version
    work.facts["test"] = work.facts["test"] or root.get("test", "").strip() in ("true", "1")
    work.created = next((element.text for element in root.iter("{*}erstellungszeitpunkt")), None)
    work.payload_copy = _copy_without_bodies(work, root)


def _copy_without_bodies(work: _Work, root: etree._Element) -> etree._Element:
    """A copy with references in place of bodies. The bodies are set aside while copying, so that none is copied; the
    document itself is left as it was."""
    bodies: list[tuple[etree._Element, str]] = []
    try:
        for element in [element for element in root.iter() if _may_be_body(element)]:
            text, number = element.text or "", _xoev_body(work, element)
            if number is not None:
                bodies.append((element, text))
                element.text = None
                etree.SubElement(element, _E + "attachment-ref", ref=str(number))
        return copy.deepcopy(root)
    finally:
        for element, text in bodies:
            element.remove(element[0])
            element.text = text or None


def _may_be_body(element: etree._Element) -> bool:
    text = element.text
    if not text or len(element):
        return False
    if len(text) <= LARGE_BODY and (_local(element).lower() not in _BODY_NAMES or not any(_described(element))):
        return False
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(_BASE64_LINE.fullmatch(line) for line in lines)


def _described(element: etree._Element) -> tuple[str, str]:
    """File name and media type, from attributes or from the elements beside it."""
    found = {etree.QName(str(name)).localname.lower(): str(value) for name, value in element.items()}
    for sibling in (*element.itersiblings(preceding=True), *element.itersiblings()):
        if not len(sibling):
            found.setdefault(_local(sibling).lower(), sibling.text or "")
    return (next((found[name] for name in sorted(_FILENAME_NAMES) if found.get(name)), ""),
            next((found[name] for name in sorted(_MEDIA_NAMES) if found.get(name)), ""))


def _xoev_body(work: _Work, element: etree._Element) -> int | None:
    filename, media_type = _described(element)
    ancestors = [_local(step) for step in element.iterancestors()]
    try:
        return work.attach(decode_base64(element.text or ""), filename or f"anlage-{len(work.uploads) + 1}", media_type,
                           "payload", "/".join([*reversed(ancestors[:-1]), _local(element)])[-900:])
    except Rejected as error:
        if error.reason == Reason.INVALID:  # it only looked like base64, and stays in the copy as it is
            return None
        raise


# --- JSON -------------------------------------------------------------------------------------------------------------


def _from_json(work: _Work, value: Any) -> None:
    fields = value.get("fields") if isinstance(value, dict) else None
    if isinstance(fields, dict) and ("formId" in value or any(_COLON_KEY.fullmatch(key) for key in fields)):
        work.facts["source"] = "formcontent-json"
        work.form(_string(value.get("formId")))
        work.created = _string(value.get("createdOn"))
        _json_fields(work, _COLON_KEY, {key: _content(field) for key, field in fields.items()})
    elif isinstance(fields, dict) and isinstance(value.get("metadata", {}), dict):
        work.facts["source"] = "json"
        _json_metadata(work, value.get("metadata", {}))
        _json_fields(work, _FLAT_KEY, fields)
    elif isinstance(value, dict) and value and all(_FLAT_KEY.fullmatch(key) for key in value):
        work.facts["source"] = "json"
        _json_fields(work, _FLAT_KEY, value)
    else:
        raise Rejected(Reason.UNKNOWN_FORM, "das JSON gehört zu keiner bekannten Form")


def _string(value: Any) -> str | None:
    return str(value) if isinstance(value, str) else None


def _content(form_field: Any) -> Any:
    return form_field.get("value") if isinstance(form_field, dict) else form_field


def _json_metadata(work: _Work, metadata: dict[str, Any]) -> None:
    work.form(_string(metadata.get("formId")))
    work.created = _string(metadata.get("creationDate"))
    work.postfach = _string(metadata.get("postfachHandleId"))
    pdf = _string(metadata.get("pdfApplicantFormBase64"))
    if pdf:
        work.attach(decode_base64(pdf), "antrag.pdf", "application/pdf", "applicant-pdf")


def _json_fields(work: _Work, pattern: re.Pattern[str], fields: dict[str, Any]) -> None:
    """Ids that themselves hold ``_<digits>_`` cannot be told in the flat form: the first number is the instance."""
    for key, value in fields.items():
        match = pattern.fullmatch(key)
        if match is None:
            raise Rejected(Reason.UNKNOWN_FORM, "ein Schlüssel unter fields ist nicht Gruppe, Instanz und Feld")
        group, index = match[1], int(match[2])
        parent, place = work.instance(group, index), work.place(f"{group}:{index}:", match[3])
        target = work.field_element(parent, place, match[3])
        _json_field(work, place, target, value)


def _json_field(work: _Work, place: str, target: etree._Element, value: Any) -> None:
    value = _verified(value)
    if isinstance(value, list):
        for item in map(_verified, value):
            if not _json_upload(work, place, target, item):
                _set_text(etree.SubElement(target, "value"), _text(item), place)
    elif not _json_upload(work, place, target, value):
        _set_text(target, _text(value), place)


def _verified(value: Any) -> Any:
    """The value inside a value that an identity card has verified."""
    while isinstance(value, dict) and "verificationToken" in value and "value" in value:
        value = value["value"]
    return value


def _text(value: Any) -> str:
    if value is None:
        return ""
    return str(value) if isinstance(value, str) else json_text(value)


def _json_upload(work: _Work, place: str, target: etree._Element, value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    if "uploadedFilename" in value:
        name, data = value["uploadedFilename"], value.get("data")
    elif "fileAsBase64" in value:
        name, data = value.get("filename"), value["fileAsBase64"]
    else:
        return False
    if data is None:
        work.lost[place] = work.lost.get(place, 0) + 1
        return True
    number = work.attach(_json_bytes(data), _string(name) or "", _string(value.get("mimetype")) or "", "upload", place)
    work.refer(target, number)
    return True


def _json_bytes(data: Any) -> Iterator[bytes]:
    if isinstance(data, ByteArray):
        yield from data
    elif isinstance(data, str):
        yield from decode_base64(data)
    elif data != []:
        raise ValueError("no bytes")


# --- further parts ----------------------------------------------------------------------------------------------------


def _take_part(work: _Work, part: JobPart, document: JobPart, read_body: ReadBody, brought: Sequence[_Upload]) -> None:
    """A part beside the document becomes an attachment, unless the envelope itself `brought` the same bytes there. Two parts of
    the same bytes are two: a citizen gave them two names, and a clerk looks for both."""
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


def _place_of(work: _Work, name: str) -> str | None:
    """The field of a file called ``<prefix>_anhang_<field>.<ext>``; several files of one field may be numbered."""
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


def _is_applicant_pdf(work: _Work, part: JobPart, document: JobPart) -> bool:
    """The first PDF whose part is called so, or whose file is called like the document's (``<prefix>.xml``)."""
    stem, dot, extension = (part.filename or "").rpartition(".")
    if not (part.media_type.startswith("application/pdf") or extension.lower() == "pdf"):
        return False
    if any(upload.role == "applicant-pdf" for upload in work.uploads):
        return False
    beside = bool(dot) and stem == (document.filename or "").rpartition(".")[0]
    return beside or _APPLICANT_PDF.search(part.name) is not None or "antrag" in stem.lower()

"""A DMS that imports xdomea: one ZIP per application, with the message and its documents, in a drop.

What arrives
    ``<delivery id>_FVDaten.SGOErstellen.0604.zip``: the message of the same name (``.xml``) and every part of
    the manifest as ``<UUID>.<extension>``, flat beside it. The application is a *Vorgang*, each part a
    *Dokument* in it.
Message
    ``FVDaten.SGOErstellen.0604`` ("Übergabe von neuen Schriftgutobjekten zur Erstellung im DMS") is made for
    a procedure that hands something new to a DMS. ``0605`` would not do: it makes a new document on every
    import. A DMS that imports only the hand-over between authorities takes ``Abgabe.Abgabe.0401``.
A second delivery
    gives the same bytes: all UUIDs come from the delivery's id, all times from its creation, and the ZIP is
    not compressed, since compressed bytes change with the library. So it finds its own file, and nothing is
    written.
The drop
    is a destination of its own, of any connector that is a drop: its steps, its errors, its probe.
Not asked
    The standard fixes *Importbestaetigung* to 1, so a DMS may answer with 0630 (0402). The hub reads no
    answers.

Sources: xdomea 3.0.0, XSD; specification 2.4.2 and 2.4.4 (UUIDs), p. 11 (names), 5.1.35 (names of primary
documents).
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from typing import Any, BinaryIO, Literal

from lxml import etree
from pydantic import Field, field_validator

from connectors._layout import chunks
from connectors._template import Template, arrival_day, document_kind, one_line, record_line
from hub.endpoint import (
    Done,
    Drop,
    Finding,
    Needs,
    OptionsModel,
    OutletBase,
    ProbeResult,
    build_drop,
    drop_class,
)
from hub.errors import Temporary
from hub.message import BERLIN, Delivery, ManifestPart, Receipt, safe_name

NAMESPACE = "urn:xoev-de:xdomea:schema:3.0.0"
_CODES = "urn:xoev-de:xdomea:codeliste:"
_FORMATS = {  # code list dateiformat 1.0; what is not in it is 100, "Sonstiges"
    "bmp": "001", "csv": "002", "eml": "006", "htm": "007", "html": "008", "jpe": "009", "jpeg": "010",
    "jpg": "011", "msg": "012", "odp": "013", "ods": "014", "odt": "015", "pdf": "018", "png": "019",
    "rtf": "022", "tif": "023",
    "tiff": "024", "xml": "030", "docx": "035", "xlsx": "036", "pptx": "037", "txt": "045",
}


class Options(OptionsModel):
    """``connector = "xdomea"``"""

    drop: Drop = Field(
        description="where the ZIP goes: connector = directory, sftp or another drop, and its options; "
                    "not layout, role, name, index")
    version: str = Field("3.0.0", description="version of the standard; 3.0.0 is the one there is")
    message: Literal["FVDaten.SGOErstellen.0604", "Abgabe.Abgabe.0401"] = Field(
        "FVDaten.SGOErstellen.0604", description="kind of message, as the DMS imports it")
    sender: str = Field("Datendrehscheibe", min_length=1, description="institution that hands over")
    sender_unit: str | None = Field(None, description="its organisational unit")
    receiver: str = Field(min_length=1, description="institution that takes over, e.g. Stadt Musterstadt")
    receiver_unit: str | None = Field(None, description="its organisational unit")
    receiver_system: str | None = Field(None, description="name of the DMS product (only 0604)")
    creator: str = Field(
        "datendrehscheibe", min_length=1, description="user id of the message's creator (only 0604)")
    subject: Template = Field("{subject}", description="template: subject of the Vorgang")
    file_subject: Template = Field(
        "", description="template: subject of the file (Akte) that the Vorgang belongs to")
    reference: Template = Field("", description="template: Kennzeichen (Aktenzeichen) of the Vorgang")
    file_plan: Template = Field(
        "", description="template: Kennzeichen in the Aktenplan, e.g. {property:file_plan}")
    lead: Template = Field("", description="template: Federführung")
    kind: Template = Field("{service}", description="template: type of the Vorgang")
    container: Template = Field(
        "", description="template: id of the object in the DMS to create it in (only 0604)")
    fields: Mapping[str, Template] = Field({}, description="further fields of the Vorgang: name = template")
    original_names: bool = Field(
        False, description="DateinameOriginal is what the citizen called a file, not its safe name")

    @field_validator("version")
    @classmethod
    def _known_version(cls, value: str) -> str:
        if value != "3.0.0":
            raise ValueError(
                f"xdomea {value} is not built: write version = \"3.0.0\", or ask the DMS to import 3.0.0")
        return value

    @field_validator("drop")
    @classmethod
    def _names_are_the_standards(cls, value: OptionsModel) -> OptionsModel:
        fields = type(value).model_fields
        defaults = {key: fields[key].default for key in ("layout", "name", "role", "index") if key in fields}
        if taken := [key for key, default in defaults.items() if getattr(value, key) != default]:
            raise ValueError(f"{', '.join(taken)}: the standard rules name and layout of the ZIP; remove it")
        return value


class Outlet(OutletBase[Options]):
    """A ZIP into a drop, by the drop's own outlet."""

    repeat = "probe"
    kind = "dms"
    whom = "die DMS-Betreuung der Kommune (Übergabeordner, Rechte)"

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """What its drop needs."""
        return drop_class(options.drop).needs(options.drop)

    @classmethod
    def arrivals(cls, options: Options, reference: str) -> Sequence[str]:
        """Where its drop puts it."""
        return drop_class(options.drop).arrivals(options.drop, reference)

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        name = f"{{id}}_{options.message}"
        self._drop = build_drop(options.drop, layout="single", role="xdomea", name=name)

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Build and drop. Raises what the drop raises, and `Temporary` when the ZIP cannot be built now."""
        with parcel(self.options, delivery) as packed:
            return self._named(self._drop.deliver(packed, effect_begins))

    def probe(self, delivery: Delivery) -> ProbeResult:
        """Whether the same ZIP is in the drop. Raises what the drop raises."""
        with parcel(self.options, delivery) as packed:
            result = self._drop.probe(packed)
        return Done(self._named(result.receipt)) if isinstance(result, Done) else result

    def check(self) -> Sequence[Finding]:
        """Try the drop."""
        return self._drop.check()

    def close(self) -> None:
        """Close the drop."""
        self._drop.close()

    def _named(self, receipt: Receipt) -> Receipt:
        ours = {"message": self.options.message, "version": self.options.version}
        return replace(receipt, detail={**receipt.detail, **ours})


@contextmanager
def parcel(options: Options, delivery: Delivery) -> Iterator[Delivery]:
    """The delivery with the ZIP as its only part. Raises `Temporary`, and `Permanent` of a damaged body."""
    with closing(_spool(options, delivery)) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        part = ManifestPart("xdomea", f"{options.message}.zip", "application/zip", size, digest, "xdomea")
        manifest = replace(delivery.manifest, parts=(part,))
        yield replace(delivery, manifest=manifest, open_blob=lambda _: _again(file))


def _spool(options: Options, delivery: Delivery) -> Any:
    try:
        with ExitStack() as on_error:
            file = on_error.enter_context(tempfile.TemporaryFile())
            pack(options, delivery, file)
            on_error.pop_all()
            return file
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise Temporary(f"Das xdomea-Paket kann nicht gebaut werden: {why}.") from error


def _again(file: Any) -> BinaryIO:
    file.seek(0)
    return os.fdopen(os.dup(file.fileno()), "rb")


def pack(options: Options, delivery: Delivery, target: Any) -> None:
    """Write the ZIP: the message first, then the documents in the manifest's order; always the same bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        first = zip_entry(f"{delivery.id}_{options.message}.xml", delivery)
        archive.writestr(first, message(options, delivery))
        for number, part in enumerate(delivery.manifest.parts, 1):
            entry = zip_entry(primary_name(delivery, number, part), delivery)
            entry.file_size = part.size
            with closing(delivery.open(part)) as source, archive.open(entry, "w") as sink:
                for piece in chunks(source):
                    sink.write(piece)


def zip_entry(name: str, delivery: Delivery) -> zipfile.ZipInfo:
    """A file's entry in the ZIP: its time is the delivery's, so that every try gives the same bytes."""
    entry = zipfile.ZipInfo(name, delivery.created_at.astimezone(BERLIN).timetuple()[:6])
    entry.create_system = 3
    entry.external_attr = 0o100640 << 16
    return entry


def object_id(delivery: Delivery, what: str) -> str:
    """The UUID of one object of this delivery: the same on every try."""
    return str(uuid.uuid5(uuid.UUID(delivery.id), what))


def primary_name(delivery: Delivery, number: int, part: ManifestPart) -> str:
    """``<UUID>.<extension>``"""
    _, dot, extension = safe_name(part.name).rpartition(".")
    return object_id(delivery, f"file/{number}") + (f".{extension.lower()}" if dot else "")


# --- the message --------------------------------------------------------------------------------------


class _Node:
    """An element that gets its children in the order of the schema; what has no text is left out."""

    def __init__(self, element: etree._Element) -> None:
        self.element = element

    def text(self, name: str, value: str) -> None:
        if value := one_line(value):
            self.child(name).element.text = value

    def child(self, name: str) -> _Node:
        return _Node(etree.SubElement(self.element, f"{{{NAMESPACE}}}{name}"))

    def code(self, name: str, codelist: str, version: str, value: str) -> None:
        node = self.child(name).element
        node.attrib["listURI"] = _CODES + codelist
        node.attrib["listVersionID"] = version
        etree.SubElement(node, "code").text = value  # unqualified, as the schema has it


def message(options: Options, delivery: Delivery) -> bytes:
    """The xdomea message as XML."""
    root = _Node(etree.Element(f"{{{NAMESPACE}}}{options.message}", nsmap={"xdomea": NAMESPACE}))
    _head(root.child("Kopf"), options, delivery)
    if options.message == "FVDaten.SGOErstellen.0604":
        created = root.child("SchriftgutobjektZumErstellen")
        created.text("FachverfahrenObjektID", delivery.message_id)
        created.text("IDContainer", record_line(options.container, delivery))
        root = created
    _process(root.child("Schriftgutobjekt").child("Vorgang"), options, delivery)
    tree = root.element.getroottree()
    return bytes(etree.tostring(tree, xml_declaration=True, encoding="UTF-8", pretty_print=True))


def _head(head: _Node, options: Options, delivery: Delivery) -> None:
    head.text("ProzessID", delivery.id)
    head.code("Nachrichtentyp", "nachrichtentyp", "2.0", options.message.rpartition(".")[2])
    head.text("Erstellungszeitpunkt", _moment(delivery))
    _contact(head.child("Absender"), options.sender, options.sender_unit)
    _contact(head.child("Empfaenger"), options.receiver, options.receiver_unit)
    head.child("SendendesSystem").text("Produktname", "Datendrehscheibe")
    if delivery.test:
        head.text("Hinweis", "Testnachricht: kein echter Antrag")
    if options.message == "Abgabe.Abgabe.0401":
        head.text("Importbestaetigung", "1")
        head.text("Empfangsbestaetigung", "0")
        return
    if options.receiver_system:
        head.child("EmpfangendesSystem").text("Produktname", options.receiver_system)
    head.text("Empfangsbestaetigung", "0")
    head.text("Importbestaetigung", "1")
    head.text("Erstellerkennung", options.creator)
    head.text("Stapel", "0")


def _contact(contact: _Node, institution: str, unit: str | None) -> None:
    contact.child("Institution").text("Name", institution)
    if unit:
        contact.child("Organisationseinheit").text("Name", unit)


def _process(process: _Node, options: Options, delivery: Delivery) -> None:
    process.child("Identifikation").text("ID", object_id(delivery, "process"))
    about = process.child("AllgemeineMetadaten")
    about.text("Betreff", record_line(options.subject, delivery))
    about.text("Kennzeichen", record_line(options.reference, delivery))
    about.text("Federfuehrung", record_line(options.lead, delivery))
    about.code("Medium", "medium", "1.0", "001")
    if plan := record_line(options.file_plan, delivery):
        about.child("Aktenplaneinheit").text("Kennzeichen", plan)
    process.text("Aktenbetreff", record_line(options.file_subject, delivery))
    process.text("Typ", record_line(options.kind, delivery))
    for number, part in enumerate(delivery.manifest.parts, 1):
        _document(process.child("Dokument"), options, delivery, number, part)
    if options.fields:
        _extension(process.child("AnwendungsspezifischeErweiterung"), options, delivery)


def _document(document: _Node, options: Options, delivery: Delivery, number: int,
              part: ManifestPart) -> None:
    identity = document.child("Identifikation")
    identity.text("ID", object_id(delivery, f"document/{number}"))
    identity.text("NummerImUebergeordnetenContainer", str(number))
    about = document.child("AllgemeineMetadaten")
    about.text("Betreff", safe_name(part.name))
    about.code("Medium", "medium", "1.0", "001")
    document.text("FremdesGeschaeftszeichen", delivery.case or "")
    document.text("Posteingangsdatum", arrival_day(delivery).isoformat())
    document.text("Typ", document_kind(part))
    version = document.child("Version")
    version.text("Nummer", "1")
    _format(version.child("Format"), options, delivery, number, part)


def _format(form: _Node, options: Options, delivery: Delivery, number: int, part: ManifestPart) -> None:
    name = primary_name(delivery, number, part)
    code = _FORMATS.get(name.rpartition(".")[2], "100")
    form.code("Name", "dateiformat", "1.0", code)
    if code == "100":
        form.text("SonstigerName", part.media_type or "application/octet-stream")
    form.text("Version", "unbekannt")
    file = form.child("Primaerdokument")
    file.text("Dateiname", name)
    file.text("DateinameOriginal", part.title if options.original_names else safe_name(part.name))
    file.text("DatumUhrzeit", _moment(delivery))


def _extension(extension: _Node, options: Options, delivery: Delivery) -> None:
    extension.text("Kennung", "urn:datendrehscheibe:xdomea:felder:1")
    extension.text("Name", "Datendrehscheibe")
    for name, template in options.fields.items():
        field = extension.child("Feld")
        field.text("Name", name)
        field.text("Wert", record_line(template, delivery))


def _moment(delivery: Delivery) -> str:
    return delivery.created_at.astimezone(BERLIN).isoformat(timespec="seconds")

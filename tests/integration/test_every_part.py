"""Every part received reaches every recipient that asks for attachments: under a name made of its own, byte
by byte, exactly once.

Hand-overs that a machine thinks of go through the real pipeline and through what each connector writes. One
that has all odd things at once goes through the real connectors to real receivers.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import tempfile
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lxml import etree

from connectors import _cmis_wire, _mail, _tree, cmis, directory, xdomea
from hub.endpoint import OutletBase
from hub.job import OutDelivery, OutPart, Recipient, Rule, Translated
from hub.message import Delivery, ManifestPart
from hub.pipeline.process import process
from hub.pipeline.translate import render
from tests.integration import soap_site, test_cmis, test_rest, test_sftp, test_smtp, test_webdav
from tests.integration.contract import Effect, make_delivery
from tests.services.apache import Apache
from tests.services.cmis import Chemistry
from tests.services.mailsink import MailSink
from tests.services.openssh import OpenSsh
from tests.services.tls import Authority
from tests.unit.connectors.test_mail import Addresses
from tests.unit.pipeline.envelope_kit import job_of

MAPPINGS = Path(__file__).parents[2] / "mappings"
DOCUMENT = re.sub(rb"<pdfApplicantFormBase64>.*?</pdfApplicantFormBase64>", b"", (
    MAPPINGS / "hundesteuer" / "examples" / "v2-smallest" / "message.xml").read_bytes(), flags=re.DOTALL)
EMBEDDED = b"%PDF-1.4 in der Nachricht"
WITH_PRINTOUT = DOCUMENT.replace(
    b"<metadata>",
    b"<metadata><pdfApplicantFormBase64>" + base64.b64encode(EMBEDDED) + b"</pdfApplicantFormBase64>", 1)
SENDS = (("mail-text", "attachments"), ("attachments", "xml"), ("attachments",),
         ("mail-text", "mail-html", "xml", "attachments"))
WITH_PDF = (("pdf", "attachments"), ("mail-text", "attachments", "pdf", "xml"))

Part = tuple[bytes, str, str, str | None]
Files = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, repr=False)
class HandOver:
    """What a sender hands in beside the application."""

    parts: tuple[Part, ...] = ()
    document: bytes = DOCUMENT
    files: tuple[bytes, ...] = field(init=False)
    """What was received, beside the document's fields."""

    def __post_init__(self) -> None:
        brought = (EMBEDDED,) if self.document is WITH_PRINTOUT else ()
        object.__setattr__(self, "files", (*brought, *(content for content, *_ in self.parts)))

    def __repr__(self) -> str:
        """Short, for the report of a test."""
        return repr([(short(content), *rest) for content, *rest in self.parts])


def short(content: bytes) -> str:
    """A body in a report."""
    return f"{hashlib.sha256(content).hexdigest()[:8]} ({len(content)}, {content[:12]!r})"


def counted(contents: Iterable[bytes]) -> Counter[str]:
    """How often each body is there."""
    return Counter(map(short, contents))


def deliveries(hand_over: HandOver) -> list[tuple[Delivery, list[bytes]]]:
    """What the real pipeline makes of it for each recipient, and which bodies it made itself."""
    received: tuple[Part, ...] = ((hand_over.document, "application", "application/xml", "antrag.xml"),
                                  *hand_over.parts)
    printed = any(name == "pdf" and content[:4] == b"%PDF" for content, name, *_ in hand_over.parts) or \
        hand_over.document is WITH_PRINTOUT
    sends = SENDS + WITH_PDF if printed else SENDS
    rule = Rule(id="t/hundesteuer/v2", tenant="t", service="hundesteuer", forms=("Hundesteuer",),
                mapping_version="v2", mapping_digest="0", package=str(MAPPINGS / "hundesteuer"),
                common=str(MAPPINGS / "_common"), municipality={"name": "Musterstadt", "ags": "14999010"},
                recipients=tuple(Recipient(name=f"r{number}", destination="d", connector="x", send=send)
                                 for number, send in enumerate(sends)))
    job = job_of(*received, message_id="01936d2e-7c00-7000-8000-000000000001", rules=(rule,),
                 accepted_day=date(2026, 11, 22))
    out = io.BytesIO()
    outcome = process(job, lambda body: received[body.fd][0], out)
    assert isinstance(outcome, Translated), outcome
    made = out.getvalue()

    def content(part: OutPart) -> bytes:
        if part.received is not None:
            return received[part.received][0]
        body = part.body or outcome.attachments[part.attachment or 0].body
        return made[body.offset:][:body.length]

    return [(make_delivery([(part.role, part.name, part.media_type, content(part)) for part in each.parts]),
             [content(part) for part in each.parts if part.body is not None]) for each in outcome.deliveries]


# --- what each connector writes -----------------------------------------------------------------------------


def as_mail(delivery: Delivery) -> Files:
    mail = test_smtp.parsed(b"".join(_mail.build(Addresses(), delivery).lines(delivery)))
    texts = [part.get_payload(decode=True) for part in mail.walk()
             if not part.is_multipart() and part.get_content_disposition() != "attachment"]
    assert len(texts) == max(1, len(delivery.manifest.of_role("text", "html")))
    inside = [("text", delivery.read(part)) for part in delivery.manifest.of_role("text", "html")]
    return inside + [(part.get_filename() or "", part.get_payload(decode=True) or b"")  # type: ignore[misc]
                     for part in mail.iter_attachments()]


def in_a_folder(delivery: Delivery) -> Files:
    with tempfile.TemporaryDirectory() as folder:
        outlet = directory.Outlet(directory.Options(path=Path(folder)))
        outlet.deliver(delivery, Effect())
        (found,) = Path(folder).iterdir()
        return [(file.name, file.read_bytes()) for file in found.iterdir()]


def as_tree(delivery: Delivery) -> Files:
    """What JSON of REST and the parameters of SOAP are made of."""
    rows = _tree.fill({"teile": [{"each": "*", "name": "{part:name}", "inhalt": "{part:base64}"}]}, delivery)
    return [(row["name"], delivery.read(row["inhalt"].part)) for row in rows["teile"]]


def in_a_dms(delivery: Delivery) -> Files:
    options = cmis.Options(url="https://dms.example/browser", folder="/Eingang", user="u",
                           password="file:/nowhere")
    found = []
    for wanted in cmis.Outlet(options).wanted(delivery):
        body = b"".join(_cmis_wire.multipart({}, delivery, wanted.part, wanted.name).pieces())
        head, _, content = body.partition(b"\r\n\r\n")
        named = re.search(rb'filename="([^"]*)"', head)
        assert named
        found.append((named[1].decode(), content.rpartition(b"\r\n--")[0]))
    return found


def as_xdomea(delivery: Delivery) -> Files:
    options = xdomea.Options(receiver="Musterstadt", drop={"connector": "directory", "path": "/nowhere"})
    target = io.BytesIO()
    xdomea.pack(options, delivery, target)
    with zipfile.ZipFile(target) as archive:
        message, *files = archive.infolist()
        named = {row.findtext("{*}Dateiname"): row.findtext("{*}DateinameOriginal") or ""
                 for row in etree.fromstring(archive.read(message)).iter("{*}Primaerdokument")}
        assert len(named) == len(files)
        return [(named[file.filename], archive.read(file)) for file in files]


WRITERS: Mapping[str, Callable[[Delivery], Files]] = {
    "mail": as_mail, "folder": in_a_folder, "tree": as_tree, "dms": in_a_dms, "xdomea": as_xdomea}


def arrives(hand_over: HandOver, made: Sequence[bytes], files: Files) -> None:
    """The property: beside what the hub made, exactly what was received."""
    assert counted(content for _, content in files) == counted([*made, *hand_over.files])
    names = [unicodedata.normalize("NFC", name).casefold() for name, _ in files if name != "text"]
    assert len(names) == len(set(names)), "two files have one name"
    assert all(name.strip(" .") and not set(name) & set("/\\\0\r\n") for name in names)


# --- hand-overs that a machine thinks of --------------------------------------------------------------------

NAMES = st.sampled_from([
    "antrag.pdf", "Antrag.PDF", "antrag.xml", "hundesteuer.xml", "Kaufvertrag.pdf", "a/b.pdf", "..",
    "CON.pdf", "Gebu\u0308hren.pdf", "Gebühren.pdf", "Договор.docx", "Łukasz Żółć.odt",
    "x" * 300 + ".pdf", "", "p_anhang_art.pdf", "p_anhang_nachweise.pdf", "antrag-2.pdf",
    "a\x00b.txt", ".versteckt", "😀.png"])
BODIES = st.sampled_from([b"", b"%PDF-1.4 a", b"%PDF-1.4 b", b"<a/>", b"{}", EMBEDDED, b"\x89PNG\r\n\x1a\n",
                          b"\r\n.\r\n--=_\r\n", "ä".encode("latin-1")]) | st.binary(max_size=20)
PARTS = st.tuples(BODIES, st.sampled_from(["file", "pdf", "nachweise", "antragsunterlagen", "part-2"]),
                  st.sampled_from(["application/pdf", "application/octet-stream",
                                   "text/plain; charset=latin1", "image/png", "text/xml"]),
                  NAMES | st.text(st.characters(exclude_categories=("Cs",)), max_size=12) | st.none())
HAND_OVERS = st.builds(HandOver, st.lists(PARTS, max_size=6).map(tuple),
                       st.sampled_from([DOCUMENT, WITH_PRINTOUT]))
SAME = (b"%PDF-1.4 a", "file", "application/pdf", "antrag.pdf")
ODD = HandOver((SAME, SAME, (b"%PDF-1.4 a", "pdf", "application/pdf", None),
                (b"%PDF-1.4 b", "file", "application/pdf", "Antrag.PDF"), (b"", "file", "", ""),
                (b"<a/>", "file", "text/xml", "antrag.xml"), ("ä".encode("latin-1"), "file",
                                                              "text/plain; charset=iso-8859-1", "ä.txt"),
                (b"\r\n.\r\n--=_\r\n", "file", "image/png", "a\u0308.txt"),
                (b"\x00\xff" * 40, "nachweise", "application/pdf", "CON")))


def embedded_once(hand_over: HandOver) -> bool:
    """A part of the same bytes as the embedded printout that says it is the printout, or has no other name,
    is the same file."""
    return not any(content == EMBEDDED and (name == "pdf" or filename in (None, "antrag.pdf"))
                   for content, name, _, filename in hand_over.parts)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow,
                                                                HealthCheck.filter_too_much])
@given(HAND_OVERS.filter(embedded_once))
@example(ODD)
@example(HandOver(ODD.parts, WITH_PRINTOUT))
@pytest.mark.slow
def test_every_part_arrives_once_whoever_brings_it(hand_over: HandOver) -> None:
    for delivery, made in deliveries(hand_over):
        for write in WRITERS.values():
            arrives(hand_over, made, write(delivery))


@pytest.mark.parametrize("document", [DOCUMENT, WITH_PRINTOUT], ids=["no-printout", "printout"])
def test_whatever_is_odd_at_once(document: bytes) -> None:
    test_every_part_arrives_once_whoever_brings_it.hypothesis.inner_test(  # type: ignore[attr-defined]
        HandOver(ODD.parts, document))


def test_a_planted_loss_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted fault: the printout goes nowhere where it is not the application's PDF, as it once was."""
    def careless(*given: Any) -> tuple[OutDelivery, ...]:
        attachments = given[4]
        return tuple(each.model_copy(update={"parts": tuple(
            part for part in each.parts if part.role != "attachment"
            or attachments[part.attachment or 0].role == "upload")}) for each in render(*given))

    monkeypatch.setattr("hub.pipeline.process.render", careless)
    with pytest.raises(AssertionError):
        test_whatever_is_odd_at_once(DOCUMENT)


# --- real connectors, real receivers ------------------------------------------------------------------------


@pytest.fixture
def receiver(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> Iterator[Any]:
    made: Any
    match request.param:
        case "smtp":
            postal = test_smtp.Authority(tmp_path)
            made = test_smtp.Mailbox(MailSink(postal.server_context()), postal)
        case "sftp":
            made = test_sftp.Drop(OpenSsh(tmp_path))
        case "webdav":
            made = test_webdav.Drop(Apache(authority), authority, tmp_path)
        case "rest":
            made = test_rest.office(authority)
        case "soap":
            wsdl = soap_site.write_wsdl(tmp_path / "wsdl")
            made = soap_site.Office(authority, wsdl, "p12", idempotent=True)
        case _:
            made = test_cmis.Dms(Chemistry(tmp_path), tmp_path)
    yield made
    made.close()
    if isinstance(made, test_cmis.Dms):
        made.server.close()


@pytest.mark.parametrize("receiver", ["smtp", "sftp", "webdav", "rest", "soap", "cmis"], indirect=True)
def test_real_receivers_get_every_part_once(receiver: Any) -> None:
    is_mail = isinstance(receiver, test_smtp.Mailbox)
    known: set[str] = set()
    for number, (made_of, made) in enumerate(deliveries(ODD)):
        outlet: OutletBase[Any] = receiver.outlet()
        delivery = renumbered(made_of, number)
        outlet.deliver(delivery, Effect())
        (arrival,) = (each for each in receiver.arrivals() if each.name not in known)
        known.add(arrival.name)
        texts = {delivery.read(part) for part in delivery.manifest.of_role("text", "html")}
        assert counted(content for name, content in arrival.bodies.items()
                       if name not in ("plain", "html")) == counted(
            [content for content in made if not is_mail or content not in texts] + [*ODD.files])


def renumbered(delivery: Delivery, number: int) -> Delivery:
    """The same with another id."""
    parts = [(part.role, part.name, part.media_type, delivery.read(part)) for part in delivery.manifest.parts]
    return make_delivery(parts, number=number + 1)


def test_the_digest_names_what_is_sent() -> None:
    for delivery, _ in deliveries(ODD):
        for part in delivery.manifest.parts:
            assert isinstance(part, ManifestPart)
            assert hashlib.sha256(delivery.read(part)).hexdigest() == part.sha256

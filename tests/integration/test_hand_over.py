"""Through the real inlets into the pipeline: which part is the application, and what the other parts are."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

from hub.message import Incoming
from hub.pipeline.documents import SeveralApplicationsError
from tests.integration.amqp_site import AmqpSite
from tests.integration.https_site import HttpsSite
from tests.integration.inbox_site import PLACE, InboxSite
from tests.services.rabbitmq import RabbitMQ, rabbitmq
from tests.services.tls import Authority
from tests.unit.pipeline.envelope_kit import Result

__all__ = ["rabbitmq"]
CASES = Path(__file__).parents[1] / "transfers"
MULTIPART = "multipart/form-data; boundary=XyZ"
File = tuple[str, str, bytes]
"""The name of the part, the file's, and its bytes."""


def case_of(case: str) -> list[File]:
    """The parts of one of the multiparts."""
    body = (CASES / f"multipart-{case}.bin").read_bytes().replace(b"\r\n", b"\n")
    found = []
    for part in body.split(b"--XyZ")[1:-1]:
        head, _, content = part.partition(b"\n\n")
        names = dict(re.findall(rb'(name|filename)="([^"]+)"', head))
        found.append((names[b"name"].decode(), names[b"filename"].decode(), content.removesuffix(b"\n")))
    return found


class Sender(Protocol):
    """Somebody who hands in files, and the hub's door."""

    site: Any

    def hand_in(self, files: Sequence[File]) -> None: ...


class ByHttps:
    """As a multipart."""

    def __init__(self, site: HttpsSite) -> None:
        self.site = site

    def hand_in(self, files: Sequence[File]) -> None:
        answer = self.site.post(self.site.portal, content=multipart(files),
                                headers={"content-type": MULTIPART})
        assert answer.status_code == 202


class ByAmqp:
    """As a multipart, too."""

    def __init__(self, site: AmqpSite) -> None:
        self.site = site

    def hand_in(self, files: Sequence[File]) -> None:
        self.site.publish(multipart(files), content_type=MULTIPART)


class ByFolder:
    """As a folder that is moved to its place."""

    def __init__(self, site: InboxSite) -> None:
        self.site = site

    def hand_in(self, files: Sequence[File]) -> None:
        place = self.site.root / PLACE
        (place / ".neu").mkdir(parents=True)
        for _, name, content in files:
            (place / ".neu" / name).write_bytes(content)
        (place / ".neu").rename(place / "fall-1")


def multipart(files: Sequence[File]) -> bytes:
    types = {"xml": "application/xml", "json": "application/json", "pdf": "application/pdf"}
    return b"".join(
        f'--XyZ\r\nContent-Disposition: form-data; name="{part}"; filename="{name}"\r\nContent-Type: '
        f"{types[name.rpartition('.')[2]]}\r\n\r\n".encode() + content + b"\r\n"
        for part, name, content in files) + b"--XyZ--\r\n"


@pytest.fixture(params=["https", "amqp", "folder"])
def sender(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sender]:
    site: Any
    made: Any
    if request.param == "https":
        authority: Authority = request.getfixturevalue("authority")
        site = HttpsSite(tmp_path, authority)
        made = ByHttps(site)
    elif request.param == "amqp":
        broker: RabbitMQ = request.getfixturevalue("rabbitmq")
        site = AmqpSite(broker, tmp_path)
        made = ByAmqp(site)
    else:
        site = InboxSite(tmp_path)
        made = ByFolder(site)
    with site:
        yield made
    site.close()


def arrived(sender: Sender, files: Sequence[File], **changes: Any) -> Result:
    """What the pipeline makes of what the inlet handed over."""
    sender.hand_in(files)
    sender.site.wait(lambda: len(sender.site.door.taken) == 1, "the message")
    incoming: Incoming = sender.site.door.taken[0]
    (bodies,) = sender.site.door.bodies.values()
    return Result(*((body, part.name, part.media_type, part.filename)
                    for body, part in zip(bodies, incoming.parts, strict=True)), **changes)


def named(result: Result) -> Mapping[str, str]:
    return {str(each.filename): each.role for each in result.normal.attachments}


def folder_with_pdfs() -> list[File]:
    return [(f"datei-{number}", file.name, file.read_bytes())
            for number, file in enumerate(sorted((CASES / "folder-with-pdfs").iterdir()))]


def test_no_pdf_of_a_citizen_becomes_the_applications(sender: Sender) -> None:
    result = arrived(sender, [*folder_with_pdfs(), ("antragsunterlagen", "Mietantrag.pdf", b"%PDF-1.4 x")])
    assert named(result) == dict.fromkeys(("Impfpass.pdf", "Kaufvertrag.pdf", "Mietantrag.pdf"), "upload")
    assert result.text("halter:0:familienname") == "Pone"


def test_the_printout_is_known_by_its_part_or_in_a_folder_by_the_documents_name(sender: Sender) -> None:
    result = arrived(sender, [*folder_with_pdfs(), ("applicant-pdf", "antrag.pdf", b"%PDF-1.4 Ausdruck")])
    assert named(result) == {"Impfpass.pdf": "upload", "Kaufvertrag.pdf": "upload",
                             "antrag.pdf": "applicant-pdf"}


def test_the_one_of_a_known_form_is_the_application(sender: Sender) -> None:
    files = case_of("xml-attachment-first")
    first = [(part, name.replace("rechnung", "anlage"), content) for part, name, content in files]
    result = arrived(sender, first)  # in a folder the names make the order
    assert named(result) == {"anlage.xml": "upload"}
    assert result.text("halter:0:familienname") == "Mustermann"


def test_two_applications_are_parked_with_both_named(sender: Sender) -> None:
    with pytest.raises(SeveralApplicationsError) as caught:
        arrived(sender, case_of("two-applications"))
    assert "enthält 2 Anträge" in caught.value.text
    assert [line[:10] for line in caught.value.trace] == ["1. Antrag:", "2. Antrag:"]
    assert not {"eins", "zwei", "Falke", "Geier"} & set(re.findall(r"\w+", caught.value.text))


def test_the_same_application_as_xml_and_json_is_one(sender: Sender) -> None:
    xml = (b"<serviceportal><metadata><formId>1:a:v1</formId></metadata><serviceportal-fields><g><instance_0>"
           b"<a>x</a></instance_0></g></serviceportal-fields></serviceportal>")
    json = b'{"formId": "1:a:v1", "fields": {"g:0:a": {"value": "x"}}}'
    result = arrived(sender, [("eins", "antrag.json", json), ("zwei", "antrag.xml", xml)])
    assert result.text("g:0:a") == "x"
    assert len(result.normal.notes) == 1


def test_a_file_called_like_the_application_is_an_upload_beside_it(sender: Sender) -> None:
    document = (CASES / "upload-called-antrag-pdf.xml").read_bytes()
    result = arrived(sender, [("daten", "daten.xml", document), ("file", "antrag.pdf", b"%PDF-1.4 Upload")])
    beside = [each for each in result.normal.attachments if each.field is None and each.role == "upload"]
    assert [each.filename for each in beside] == ["antrag.pdf"]
    assert len({each.name.lower() for each in result.normal.attachments}) == len(result.normal.attachments)

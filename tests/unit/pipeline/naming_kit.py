"""What the tests of names share: an application that goes through all stages, and its deliveries."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.sax.saxutils import escape

from lxml import etree

from hub.job import Job, OutDelivery, Recipient, Rule, Translated
from hub.message import Delivery, Manifest, ManifestPart
from hub.pipeline.process import process
from tests.integration.contract import make_delivery
from tests.mapping_kit import MAPPINGS
from tests.unit.pipeline.envelope_kit import b64, job_of, part

FORM = re.sub(rb"<pdfApplicantFormBase64>.*</pdfApplicantFormBase64>", b"", (
    MAPPINGS / "hundesteuer" / "examples" / "v2-smallest" / "message.xml").read_bytes(), flags=re.DOTALL)
"""An application without any file."""
FILE = {"pdf": "application/pdf", "png": "image/png"}
Sent = tuple[bytes, str, str, str | None]


def upload(name: str, content: bytes | None = None) -> Sent:
    """A citizen's file beside the application; its bytes tell it apart."""
    media_type = FILE.get(name.rpartition(".")[2].lower(), "application/octet-stream")
    return part(content or b"%PDF-" + name.encode("utf-8", "replace"), "anlage", media_type, name)


def holding(*names: str) -> Sent:
    """An application that holds a citizen's files, each with bytes of its own."""
    files = "".join(f"<selectedValue><base64Data>{b64(str(number).encode())}</base64Data><mimetype>"
                    f"{FILE.get(name[-3:].lower(), '')}</mimetype><filename>{escape(name)}</filename>"
                    "</selectedValue>" for number, name in enumerate(names))
    field = f"<nachweise>{files}</nachweise></instance_0></hunde>"
    return part(re.sub(rb"</instance_0>\s*</hunde>", lambda _: field.encode(), FORM), filename="antrag.xml")


def rule(*recipients: Sequence[str], **first: Any) -> Rule:
    """One way for the example's form: a recipient for each list of what it gets; `first` is said of the first
    one only."""
    package = MAPPINGS / "hundesteuer"
    return Rule(id="r", tenant="musterstadt", service="hundesteuer", mapping_version="v2", mapping_digest="0",
                subject="Hundesteuer: An-, Ab- oder Ummeldung", package=str(package),
                common=str(MAPPINGS / "_common"), recipients=tuple(
Recipient(name=f"r{number}", destination=f"d{number}", connector="directory",
send=tuple(send), **({} if number else first))
for number, send in enumerate(recipients)))


@dataclass
class Sending:
    """One application with its deliveries."""

    job: Job
    outcome: Translated
    out: bytes
    received: Sequence[bytes]

    def delivery(self, number: int = 0) -> Delivery:
        """One of them, as an outlet gets it."""
        made: OutDelivery = self.outcome.deliveries[number]
        bodies = [self.content(number, place) for place in range(len(made.parts))]
        parts = tuple(ManifestPart(each.role, each.name, each.media_type, each.size, each.sha256, str(place),
                                   each.filename) for place, each in enumerate(made.parts))
        assert [hashlib.sha256(body).hexdigest() for body in bodies] == [each.sha256 for each in parts]
        manifest = Manifest(made.subject, made.name_parts, made.path, made.headers, made.properties, parts)
        return replace(make_delivery(), manifest=manifest,
                       open_blob=lambda blob: io.BytesIO(bodies[int(blob)]))

    def content(self, number: int, place: int) -> bytes:
        made = self.outcome.deliveries[number].parts[place]
        if made.received is not None:
            return self.received[made.received]
        body = (made.body if made.attachment is None
                else self.outcome.attachments[made.attachment].body)
        assert body is not None
        return self.out[body.offset:body.offset + body.length]

    def names(self, number: int = 0, *roles: str) -> list[str]:
        return [each.name for each in self.outcome.deliveries[number].parts if not roles
                or each.role in roles]

    def rendered(self, role: str, number: int = 0) -> bytes:
        place, = (place for place, each in enumerate(self.outcome.deliveries[number].parts)
                  if each.role == role)
        return self.content(number, place)

    def in_xml(self, number: int = 0) -> dict[str, str]:
        """What the Fachverfahren's XML says of the citizen's files: name to what the citizen called it."""
        root = etree.fromstring(self.rendered("xml", number))
        return {str(each.text): each.get("dateiname", str(each.text))
                for each in root.iter("{*}Anlage") if each.get("art") == "upload"}


def applied(content: bytes, way: Rule, **changes: Any) -> Translated:
    """An application without files through all stages."""
    job = job_of(part(content), rules=(way,), message_id="01936f00-0000-7000-8000-00000000abcd", **changes)
    outcome = process(job, lambda body: content, io.BytesIO())
    assert isinstance(outcome, Translated), outcome.text
    return outcome


def send(*parts: Sent, way: Rule) -> Sending:
    """The application through all stages."""
    contents = [content for content, *_ in parts]
    job = job_of(*parts, rules=(way,), message_id="01936f00-0000-7000-8000-00000000abcd")
    out = io.BytesIO()
    outcome = process(job, lambda body: contents[body.fd], out)
    assert isinstance(outcome, Translated), outcome.text
    return Sending(job, outcome, out.getvalue(), contents)

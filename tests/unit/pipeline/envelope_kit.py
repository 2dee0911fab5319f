"""What the tests of the envelope share: documents as the portal sends them, and what became of them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from lxml import etree

from hub.job import Body, Job, JobPart, Limits
from hub.pipeline.envelope import NAMESPACE, SCHEMA, Normalized
from hub.pipeline.normalize import NotNormal, normalize

E = f"{{{NAMESPACE}}}"
PDF = b"%PDF-1.4 erfunden"
SCHEMA_OF_OURS = etree.XMLSchema(etree.parse(SCHEMA))


def part(content: bytes, name: str = "application", media_type: str = "application/xml",
         filename: str | None = None) -> tuple[bytes, str, str, str | None]:
    return content, name, media_type, filename


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


class Result:
    """A normalized job and its output, validated against the envelope's schema."""

    def __init__(self, *parts: tuple[bytes, str, str, str | None], **changes: Any) -> None:
        self.out = io.BytesIO(b"already there: ")
        self.out.seek(0, io.SEEK_END)
        contents = [content for content, *_ in parts]
        self.normal: Normalized = normalize(job_of(*parts, **changes), lambda body: contents[body.fd],
                                            self.out)
        self.envelope = self.normal.envelope
        SCHEMA_OF_OURS.assertValid(etree.fromstring(etree.tostring(self.envelope)))

    def source(self) -> str | None:
        return self.envelope.findtext(f"{E}metadata/{E}source")

    def field(self, path: str) -> etree._Element:
        """``group:instance:field``."""
        group, instance, name = path.split(":")
        found = self.envelope.findall(f"{E}fields/{group}/instance[@n='{instance}']/{name}")
        assert len(found) == 1, path
        return found[0]

    def text(self, path: str) -> str:
        assert not len(self.field(path))
        return self.field(path).text or ""

    def values(self, path: str) -> list[str]:
        return [value.text or "" for value in self.field(path).findall("value")]

    def bodies(self, path: str) -> list[bytes]:
        return [self.body(int(reference.get("ref", "")))
                for reference in self.field(path).findall("attachment")]

    def body(self, number: int) -> bytes:
        attachment = self.normal.attachments[number - 1]
        content = self.out.getvalue()[attachment.body.offset:][:attachment.body.length]
        element = self.envelope.find(f"{E}attachments/{E}attachment[@id='{number}']")
        assert element is not None
        assert (len(content), hashlib.sha256(content).hexdigest()) == (attachment.size, attachment.sha256)
        assert (element.get("size"), element.get("sha256")) == (str(attachment.size), attachment.sha256)
        return content


def job_of(*parts: tuple[bytes, str, str, str | None], **changes: Any) -> Job:
    values: dict[str, Any] = {
        "message_id": "m1", "tenant": "musterstadt", "ags": "14999010", "service": "hundesteuer",
        "test": False,
        "received_at": datetime(2026, 11, 22, 23, 30, tzinfo=UTC), "accepted_day": date(2026, 11, 23),
        "case": None,
        "parts": tuple(
            JobPart(name=name, filename=filename, media_type=media_type,
                    sha256=hashlib.sha256(content).hexdigest(),
                    body=Body(fd=number, offset=0, length=len(content)))
            for number, (content, name, media_type, filename) in enumerate(parts)),
        "rules": (), "limits": Limits()} | changes
    return Job(**values)


def form(fields: str, metadata: str = "") -> tuple[bytes, str, str, str | None]:
    inner = f"<serviceportal-fields>{fields}</serviceportal-fields>"
    return part(f"<serviceportal>{metadata}{inner}</serviceportal>".encode())


def old_form(fields: str, filename: str | None = None) -> tuple[bytes, str, str, str | None]:
    return part(f"<serviceportal-fields>{fields}</serviceportal-fields>".encode(), filename=filename)


def rejection(*parts: tuple[bytes, str, str, str | None], **changes: Any) -> NotNormal:
    with pytest.raises(NotNormal) as caught:
        Result(*parts, **changes)
    return caught.value


def upload(content: bytes, name: str, media_type: str = "application/pdf") -> str:
    return (f"<base64Data>{b64(content)}</base64Data><mimetype>{media_type}</mimetype>"
            f"<filename>{name}</filename>")


def content(fields: dict[str, Any], **more: Any) -> tuple[bytes, str, str, str | None]:
    wrapped = {key: {"value": value, "valid": True} for key, value in fields.items()}
    document = {"formId": "6000357:testform:v1.0", "fields": wrapped} | more
    return part(json.dumps(document).encode(), media_type="application/json")


def xoev(inner: str, attributes: str = 'version="1.2.0" standard="XTest"') -> tuple[bytes, str, str,
                                                                                    str | None]:
    return part('<x:antrag.0010 xmlns:x="urn:test" '
                f'{attributes}><nachrichtenkopf.g2g><identifikation.nachricht>'
                "<erstellungszeitpunkt>2026-01-01T00:00:00</erstellungszeitpunkt></identifikation.nachricht>"
                f"</nachrichtenkopf.g2g>{inner}</x:antrag.0010>".encode())

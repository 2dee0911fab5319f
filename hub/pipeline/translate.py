"""One application, rendered for each recipient: XML, HTML, text, CSV, JSON, PDF, attachments, the original.

`render` reads the annotated envelope (`hub.pipeline.fields.annotate`) and writes each new body once, however
many recipients get it. Attachments and the original are named by number, never copied. No file name or
subject made here holds personal data, except the names that citizens gave to their own uploads, which are
made safe and unique.

Stylesheets get these parameters, all strings: everything of the rule's municipality (``name``, ``ags``, …),
``message-id``, ``case``, ``day`` (YYYY-MM-DD), ``subject``, ``service`` and ``version``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Name, lines, say
from hub.job import Body, Job, OutAttachment, OutDelivery, OutPart, Output, Recipient, Rule
from hub.mapping.by_rule import known_name, name_parts, subject
from hub.mapping.model import MappingVersion, Rendering
from hub.message import Reason, safe_name, unique_names
from hub.pipeline import pdf, xslt

_EXTENSIONS = {"application/xml": "xml", "text/xml": "xml", "application/json": "json",
               "application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg", "text/plain": "txt"}


def render(job: Job, rule: Rule, version: MappingVersion, annotated: etree._Element,
           attachments: Sequence[OutAttachment], out: Output) -> tuple[OutDelivery, ...]:
    """A delivery for each recipient of the rule, in its order.

    New bodies are written to `out`, which stands at its end. Raises `Rejected`: ``invalid`` when a stylesheet
    ends with a message of its own or a character does not fit the rendering's encoding, ``configuration``
    when a stylesheet, an import or the PDF engine is at fault.
    """
    renderer = _Renderer(rule, version, annotated, attachments, out, job, name_parts(job, rule))
    return tuple(_delivery(renderer, recipient) for recipient in rule.recipients)


def problems_of(version: MappingVersion, package: Path, common: Path | None) -> list[str]:
    """What of a version's stylesheets cannot be compiled; those of a municipality's own are not looked
    at."""
    problems: list[str] = []
    for rendering in version.renderings.values():
        try:
            if rendering.stylesheet is not None:
                xslt.compiled(xslt.Layers(package, version.name, common), rendering.stylesheet)
        except Rejected as error:
            problems += error.trace or (error.text,)
    return problems


@dataclass
class _Renderer:
    """What is at hand while one message is rendered; `done` holds what was rendered already."""

    rule: Rule
    version: MappingVersion
    annotated: etree._Element
    attachments: Sequence[OutAttachment]
    out: Output
    job: Job
    name_parts: Mapping[str, str]
    done: dict[str, OutPart] = field(default_factory=dict)


def _delivery(renderer: _Renderer, recipient: Recipient) -> OutDelivery:
    parts: list[OutPart] = []
    for wanted in recipient.send:
        if wanted == "attachments":
            parts += _attachments(renderer)
        elif wanted == "original":
            parts += _originals(renderer.job)
        else:
            parts.append(_rendering(renderer, wanted))
    names = unique_names([part.name for part in parts])
    return OutDelivery(
        recipient=recipient.name, destination=recipient.destination,
        subject=subject(renderer.rule, recipient, renderer.job.message_id),
        name_parts=renderer.name_parts, path=recipient.path, headers=recipient.headers,
        properties=recipient.properties, parts=tuple(
            part if part.name == name else part.model_copy(update={"name": name})
            for part, name in zip(parts, names, strict=True)))


def _attachments(renderer: _Renderer) -> list[OutPart]:
    return [_attachment(number, attachment, "attachment")
            for number, attachment in enumerate(renderer.attachments)
            if attachment.role == "upload"]


def _attachment(number: int, attachment: OutAttachment, role: str) -> OutPart:
    name = safe_name(attachment.filename or attachment.name)
    if "." not in name and attachment.media_type in _EXTENSIONS:
        name = f"{name}.{_EXTENSIONS[attachment.media_type]}"
    return OutPart(role=role, name=name, media_type=attachment.media_type, size=attachment.size,
                   sha256=attachment.sha256, attachment=number)


def _originals(job: Job) -> list[OutPart]:
    return [OutPart(role="original", name=_original_name(number, part.filename, part.media_type),
                    media_type=part.media_type.partition(";")[0], size=part.body.length, sha256=part.sha256,
                    received=number)
            for number, part in enumerate(job.parts)]


def _original_name(number: int, filename: str | None, media_type: str) -> str:
    if filename:
        return safe_name(filename)
    extension = _EXTENSIONS.get(media_type.partition(";")[0], "bin")
    return f"original{f'-{number + 1}' if number else ''}.{extension}"


def _rendering(renderer: _Renderer, name: str) -> OutPart:
    if name not in renderer.done:
        rendering = renderer.version.renderings.get(name)
        if rendering is None:
            known = lines([say("{name}", name=Name(each)) for each in sorted(renderer.version.renderings)],
                          ", ")
            raise Rejected(Reason.CONFIGURATION, say(
                "Die Abbildung {service} ({version}) hat keine Ausgabe '{name}', nur: {known}",
                service=Name(renderer.rule.service), version=Name(renderer.version.name), name=Name(name),
                known=known))
        renderer.done[name] = _applicants_pdf(renderer, rendering) or _rendered(renderer, name, rendering)
    return renderer.done[name]


def _applicants_pdf(renderer: _Renderer, rendering: Rendering) -> OutPart | None:
    if not rendering.applicant_pdf:
        return None
    for number, attachment in enumerate(renderer.attachments):
        if attachment.role == "applicant-pdf":
            part = _attachment(number, attachment, rendering.role)
            return part.model_copy(update={"name": known_name(rendering.file),
                                           "media_type": rendering.media_type})
    return None


def _rendered(renderer: _Renderer, name: str, rendering: Rendering) -> OutPart:
    href = renderer.rule.stylesheets.get(name)
    href = f"town:{href}" if href and renderer.rule.municipality_folder else rendering.stylesheet
    if href is None:
        raise Rejected(Reason.INVALID, say(
            "Die Nachricht enthält kein PDF des Antrags, und für die Ausgabe '{name}' gibt es kein "
            "Stylesheet.", name=Name(name)))
    content = _content(renderer, rendering, href)
    if not content:
        raise Rejected(Reason.CONFIGURATION, say(
            "Das Stylesheet {href} hat nichts ausgegeben (Ausgabe '{name}').", href=Name(href),
            name=Name(name)))
    return OutPart(role=rendering.role, name=known_name(rendering.file), media_type=rendering.media_type,
                   size=len(content), sha256=hashlib.sha256(content).hexdigest(),
                   body=_write(renderer.out, content))


def _write(out: Output, content: bytes) -> Body:
    start = out.tell()
    out.write(content)
    return Body(offset=start, length=len(content))


def _content(renderer: _Renderer, rendering: Rendering, href: str) -> bytes:
    """The bytes of a rendering: text with LF, CSV with CRLF, everything in the rendering's encoding."""
    rule = renderer.rule
    layers = _layers(rule.package, renderer.version.name, rule.common, rule.municipality_folder)
    if rendering.role in ("text", "csv", "json"):
        return _plain(_run(renderer, layers, href, "utf-8").decode(), rendering, href)
    if rendering.role == "pdf":
        return pdf.print_pdf(_run(renderer, layers, href, "utf-8").decode(), renderer.version.subject)
    return _run(renderer, layers, href, None if _is_utf8(rendering.encoding) else rendering.encoding)


def _run(renderer: _Renderer, layers: xslt.Layers, href: str, encoding: str | None) -> bytes:
    return xslt.compiled(layers, href, encoding).run(renderer.annotated, _parameters(renderer))


def _plain(text: str, rendering: Rendering, href: str) -> bytes:
    if rendering.role == "json":
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Rejected(Reason.CONFIGURATION, say("Das Stylesheet {href} hat kein JSON ausgegeben.",
                                                     href=Name(href))) from error
    text = re.sub(r"\r\n|\r|\n", "\r\n" if rendering.role == "csv" else "\n", text)
    try:
        return text.encode(rendering.encoding)
    except UnicodeEncodeError as error:
        raise Rejected(Reason.INVALID, say(
            "Ein Zeichen in Zeile {line} von {file} lässt sich nicht in {encoding} schreiben: die Kodierung "
            "der Ausgabe ändern oder das Zeichen im Stylesheet umschreiben, dann erneut verarbeiten.",
            line=text.count("\n", 0, error.start) + 1, file=Name(rendering.file),
            encoding=Name(rendering.encoding))) from error
    except LookupError as error:
        raise Rejected(Reason.CONFIGURATION, say("Die Kodierung '{encoding}' ist unbekannt.",
                                                 encoding=Name(rendering.encoding))) from error


def _parameters(renderer: _Renderer) -> Mapping[str, str]:
    job = renderer.job
    return {**renderer.rule.municipality, "message-id": job.message_id, "case": job.case or "",
            "day": job.accepted_day.isoformat(), "subject": renderer.version.subject, "service": job.service,
            "version": renderer.version.name}


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8")


@lru_cache(maxsize=256)
def _layers(package: str, version: str, common: str | None, municipality: str | None) -> xslt.Layers:
    return xslt.Layers(Path(package), version, Path(common) if common else None, Path(municipality)
                       if municipality else None)

"""One application, rendered for each recipient: XML, HTML, text, CSV, JSON, PDF, attachments, the original.

`render` reads the annotated envelope (`hub.pipeline.fields.annotate`) and writes each new body once, however
many recipients get it. Attachments and the original are named by number, never copied. No file name or
subject made here holds personal data, except the names that citizens gave to their own uploads. What each
file is called says `hub.pipeline.file_names`.

Stylesheets get these parameters, all strings: everything of the rule's municipality (``name``, ``ags``, …),
``message-id``, ``case``, ``day`` (YYYY-MM-DD), ``subject``, ``service`` and ``version``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Name, lines, say
from hub.job import Body, Job, OutAttachment, OutDelivery, OutPart, Output, Recipient, Rule
from hub.mapping.model import MappingVersion, Rendering
from hub.message import Reason
from hub.names import safe_name, unique_names
from hub.pipeline import pdf, xslt
from hub.pipeline.file_names import attachment_of, known_name, received_name


def render(job: Job, rule: Rule, version: MappingVersion, annotated: etree._Element,
           attachments: Sequence[OutAttachment], out: Output) -> tuple[OutDelivery, ...]:
    """A delivery for each recipient of the rule, in its order.

    New bodies are written to `out`, which stands at its end. Raises `Rejected`: ``invalid`` when a stylesheet
    ends with a message of its own or a character does not fit the rendering's encoding, ``configuration``
    when a stylesheet, an import or the PDF engine is at fault.
    """
    renderer = _Renderer(rule, version, annotated, attachments, out, job, name_parts(job, version))
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
            parts += _originals(renderer)
        else:
            parts.append(_rendering(renderer, wanted))
    return OutDelivery(
        recipient=recipient.name, destination=recipient.destination, subject=_subject(renderer, recipient),
        name_parts=renderer.name_parts, path=recipient.path, headers=recipient.headers,
        properties=recipient.properties, parts=tuple(_named(renderer, parts)))


def _named(renderer: _Renderer, parts: Sequence[OutPart]) -> Iterator[OutPart]:
    """The parts of one recipient with names of their own. Attachments keep theirs; then comes what no citizen
    named, and last what goes out a second time."""
    places = [_place(renderer, part) for part in parts]
    names: dict[int, str] = {}
    for place in sorted(set(places)):
        numbers = [number for number, each in enumerate(places) if each == place]
        given = unique_names([parts[number].name for number in numbers], names.values())
        names |= zip(numbers, given, strict=True)
    for number, part in enumerate(parts):
        yield part if part.name == names[number] else part.model_copy(update={"name": names[number]})


def _place(renderer: _Renderer, part: OutPart) -> int:
    """When it is named: 0 first."""
    if part.role == "attachment":
        return 0
    again = part.received is not None and attachment_of(renderer.job.parts[part.received],
                                                        renderer.attachments) is not None
    return 2 if again else 1


def name_parts(job: Job, version: MappingVersion) -> dict[str, str]:
    """Safe building blocks for file names; none names a person."""
    short = short_id(job.message_id)
    return {"id": job.message_id, "short": short, "service": known_name(job.service),
            "ags": known_name(job.ags), "day": job.accepted_day.isoformat().replace("-", ""),
            "version": known_name(version.name), "case": safe_name(job.case) if job.case else short}


def short_id(message_id: str) -> str:
    """What a person can read out: the time's first eight digits and four that are random."""
    return f"{message_id[:8]}-{message_id[-4:]}"


def _subject(renderer: _Renderer, recipient: Recipient) -> str:
    return f"{recipient.subject or renderer.version.subject} [{short_id(renderer.job.message_id)}]"


def _attachments(renderer: _Renderer) -> list[OutPart]:
    return [_attachment(number, attachment, "attachment")
            for number, attachment in enumerate(renderer.attachments)
            if attachment.role == "upload"]


def _attachment(number: int, attachment: OutAttachment, role: str) -> OutPart:
    return OutPart(role=role, name=attachment.name, filename=_beside(attachment.name, attachment.filename),
                   media_type=attachment.media_type, size=attachment.size, sha256=attachment.sha256,
                   attachment=number)


def _beside(name: str, filename: str | None) -> str | None:
    return None if filename == name else filename


def _originals(renderer: _Renderer) -> list[OutPart]:
    parts = []
    for number, part in enumerate(renderer.job.parts):
        same = attachment_of(part, renderer.attachments)
        name = received_name(number, part) if same is None else same.name
        parts.append(OutPart(
            role="original", name=name,
            filename=_beside(name, part.filename if same is None else same.filename),
            media_type=part.media_type.partition(";")[0], size=part.body.length, sha256=part.sha256,
            received=number))
    return parts


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
            return part.model_copy(update={"name": known_name(rendering.file), "filename": None,
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

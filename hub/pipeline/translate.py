"""One application, rendered for each recipient: XML, HTML, text, CSV, JSON, PDF, attachments, the original.

`render` reads the annotated envelope (`hub.pipeline.fields.annotate`) and writes each new body once, however
many recipients get it. Attachments and the original are named by number, never copied. No file name or
subject made here holds personal data, except the names that citizens gave to their own uploads, and what a
recipient asks for (`hub.mapping.addressing`). What each file is called says `hub.pipeline.file_names`.

Stylesheets get these parameters, all strings: everything of the rule's municipality (``name``, ``ags``, …),
``message-id``, ``case``, ``day`` (YYYY-MM-DD), ``subject``, ``service`` and ``version``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Name, lines, say
from hub.job import Applicant, Body, Job, OutAttachment, OutDelivery, OutPart, Output, Recipient, Rule
from hub.mapping import addressing
from hub.mapping.by_rule import known_name, name_parts
from hub.mapping.model import MappingVersion, Rendering
from hub.message import Reason
from hub.names import unique_names
from hub.parsing.charset import labelled
from hub.pipeline import pdf, xslt
from hub.pipeline.file_names import attachment_of, received_name, stylesheet_of


def render(job: Job, rule: Rule, version: MappingVersion, annotated: etree._Element,
           attachments: Sequence[OutAttachment], out: Output,
           applicant: Applicant | None = None) -> tuple[OutDelivery, ...]:
    """A delivery for each recipient of the rule, in its order. Of the applicant subjects and headers tell
    what the rule wants.

    New bodies are written to `out`, which stands at its end. Raises `Rejected`: ``mapping`` when a
    stylesheet, an import or an encoding is at fault, ``configuration`` when the PDF engine is missing.
    """
    renderer = _Renderer(rule, version, annotated, attachments, out, job, name_parts(job, rule), applicant)
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
    applicant: Applicant | None = None
    done: dict[str, tuple[OutPart, ...]] = field(default_factory=dict)


def _delivery(renderer: _Renderer, recipient: Recipient) -> OutDelivery:
    parts: list[OutPart] = []
    for wanted in recipient.send:
        if wanted == "attachments":
            parts += _attachments(renderer)
        elif wanted == "original":
            parts += _originals(renderer)
        else:
            parts += _rendering(renderer, wanted)
    if "attachments" in recipient.send:
        parts += _others(renderer, {part.attachment for part in parts})
    return OutDelivery(
        recipient=recipient.name, destination=recipient.destination,
        subject=addressing.subject(renderer.rule, recipient, renderer.job, renderer.applicant),
        name_parts=renderer.name_parts, path=recipient.path, headers=recipient.headers,
        properties=addressing.properties(recipient, renderer.applicant),
        parts=tuple(_named(renderer, parts)))


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


def _attachments(renderer: _Renderer) -> list[OutPart]:
    return [_attachment(number, attachment, "attachment")
            for number, attachment in enumerate(renderer.attachments)
            if attachment.role == "upload"]


def _others(renderer: _Renderer, sent: Collection[int | None]) -> list[OutPart]:
    """The other files that were received: the applicant's printout, unless it is sent as the application's
    PDF, and what a XÖV document holds. They come last, so that all other parts keep names and numbers."""
    return [_attachment(number, attachment, "attachment")
            for number, attachment in enumerate(renderer.attachments)
            if attachment.role != "upload" and number not in sent]


def _attachment(number: int, attachment: OutAttachment, role: str) -> OutPart:
    return OutPart(role=role, name=attachment.name, filename=_beside(attachment.name, attachment.filename),
                   media_type=attachment.media_type, size=attachment.size, sha256=attachment.sha256,
                   attachment=number, marks=attachment.marks)


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
            media_type=labelled(part.media_type), size=part.body.length, sha256=part.sha256,
            received=number))
    return parts


def _rendering(renderer: _Renderer, name: str) -> tuple[OutPart, ...]:
    """What goes out as a rendering: one part, or two where the applicant's printout goes beside it."""
    if name not in renderer.done:
        rendering = renderer.version.renderings.get(name)
        if rendering is None:
            known = lines([say("{name}", name=Name(each)) for each in sorted(renderer.version.renderings)],
                          ", ")
            raise Rejected(Reason.MAPPING, say(
                "Die Abbildung {service} ({version}) hat keine Ausgabe '{name}', nur: {known}",
                service=Name(renderer.rule.service), version=Name(renderer.version.name), name=Name(name),
                known=known))
        renderer.done[name] = _made(renderer, name, rendering)
    return renderer.done[name]


def _made(renderer: _Renderer, name: str, rendering: Rendering) -> tuple[OutPart, ...]:
    printout = _applicants_pdf(renderer, rendering)
    choice = renderer.rule.pdf_of(name)
    if printout is None or (choice != "applicant"
                            and stylesheet_of(renderer.rule, name, rendering) is not None):
        made = _rendered(renderer, name, rendering)
        return (made,) if printout is None or choice == "stylesheet" else (made, printout)
    return (printout.model_copy(update={"role": rendering.role, "name": known_name(rendering.file),
                                        "filename": None, "media_type": rendering.media_type}),)


def _applicants_pdf(renderer: _Renderer, rendering: Rendering) -> OutPart | None:
    """The applicant's printout, as what it is beside a PDF of ours: an attachment."""
    if not rendering.applicant_pdf:
        return None
    for number, attachment in enumerate(renderer.attachments):
        if attachment.role == "applicant-pdf":
            return _attachment(number, attachment, "attachment")
    return None


def _rendered(renderer: _Renderer, name: str, rendering: Rendering) -> OutPart:
    href = stylesheet_of(renderer.rule, name, rendering)
    if href is None:
        raise Rejected(Reason.MAPPING, say(
            "Die Nachricht enthält kein PDF des Antrags, und für die Ausgabe '{name}' gibt es kein "
            "Stylesheet: in mapping.toml eines nennen, dann erneut verarbeiten.", name=Name(name)))
    content = _content(renderer, rendering, href)
    if not content:
        raise Rejected(Reason.MAPPING, say(
            "Das Stylesheet {file} hat nichts ausgegeben (Ausgabe '{name}'): das Stylesheet berichtigen, "
            "dann erneut verarbeiten.", file=Name(_shown(renderer, href)), name=Name(name)))
    return OutPart(role=rendering.role, name=known_name(rendering.file), media_type=rendering.media_type,
                   size=len(content), sha256=hashlib.sha256(content).hexdigest(),
                   body=_write(renderer.out, content))


def _write(out: Output, content: bytes) -> Body:
    start = out.tell()
    out.write(content)
    return Body(offset=start, length=len(content))


def _content(renderer: _Renderer, rendering: Rendering, href: str) -> bytes:
    """The bytes of a rendering: text with LF, CSV with CRLF, everything in the rendering's encoding."""
    if rendering.role in ("text", "csv", "json"):
        return _plain(_run(renderer, href, "utf-8").decode(), rendering, _shown(renderer, href))
    if rendering.role == "pdf":
        page = _run(renderer, href, "utf-8").decode()
        embedded = [_embedded(renderer, name) for name in renderer.rule.pdf_embeds]
        return pdf.print_pdf(page, renderer.version.subject, embedded,
                             stylesheet=_shown(renderer, href)) if page else b""
    content = _run(renderer, href, None if _is_utf8(rendering.encoding) else rendering.encoding)
    return _well_formed(content, _shown(renderer, href)) if rendering.role == "xml" and content else content


def _well_formed(content: bytes, file: str) -> bytes:
    try:
        etree.fromstring(content, etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False,
                                                  huge_tree=True))
    except etree.XMLSyntaxError as error:
        raise Rejected(Reason.MAPPING, say(
            "Das Stylesheet {file} hat kein wohlgeformtes XML ausgegeben (Zeile {line}): das Stylesheet "
            "berichtigen, dann erneut verarbeiten.", file=Name(file), line=error.lineno or 0)) from error
    return content


def _embedded(renderer: _Renderer, name: str) -> pdf.Embedded:
    """A rendering as a file inside of a PDF, whether or not a recipient gets it by itself."""
    rendering = renderer.version.renderings.get(name)
    href = stylesheet_of(renderer.rule, name, rendering) if rendering else None
    if rendering is None or href is None or rendering.role == "pdf":
        raise Rejected(Reason.CONFIGURATION, say(
            "Die Ausgabe '{name}' lässt sich nicht in ein PDF einbetten: pdf_embeds der Route ändern, dann "
            "erneut verarbeiten.", name=Name(name)))
    return pdf.Embedded(known_name(rendering.file), _content(renderer, rendering, href),
                        renderer.job.received_at)


def _run(renderer: _Renderer, href: str, encoding: str | None) -> bytes:
    return xslt.compiled(_layers_of(renderer), href, encoding).run(renderer.annotated, _parameters(renderer))


def _layers_of(renderer: _Renderer) -> xslt.Layers:
    rule = renderer.rule
    return _layers(rule.package, renderer.version.name, rule.common, rule.municipality_folder,
                   tuple(rule.homes.items()))


def _shown(renderer: _Renderer, href: str) -> str:
    """The path under which people find a stylesheet."""
    layers = _layers_of(renderer)
    return layers.shown(layers.resolve(href))


def _plain(text: str, rendering: Rendering, file: str) -> bytes:
    if rendering.role == "json":
        try:
            json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Rejected(Reason.MAPPING, say(
                "Das Stylesheet {file} hat kein JSON ausgegeben: das Stylesheet berichtigen, dann erneut "
                "verarbeiten.", file=Name(file))) from error
    if rendering.encoding.lower().replace("_", "-") == "utf-8-sig":
        text = text.removeprefix("\ufeff")  # its stylesheet writes the BOM, too: one is enough
    text = re.sub(r"\r\n|\r|\n", "\r\n" if rendering.role == "csv" else "\n", text)
    try:
        return text.encode(rendering.encoding)
    except UnicodeEncodeError as error:
        raise Rejected(Reason.MAPPING, say(
            "Ein Zeichen in Zeile {line} von {file} lässt sich nicht in {encoding} schreiben: die Kodierung "
            "der Ausgabe ändern oder das Zeichen im Stylesheet umschreiben, dann erneut verarbeiten.",
            line=text.count("\n", 0, error.start) + 1, file=Name(rendering.file),
            encoding=Name(rendering.encoding))) from error
    except LookupError as error:
        raise Rejected(Reason.MAPPING, say(
            "Die Kodierung '{encoding}' von {file} gibt es nicht: encoding in mapping.toml berichtigen, dann "
            "erneut verarbeiten.", encoding=Name(rendering.encoding), file=Name(rendering.file))) from error


def _parameters(renderer: _Renderer) -> Mapping[str, str]:
    job = renderer.job
    return {**renderer.rule.municipality, "message-id": job.message_id, "case": job.case or "",
            "day": job.accepted_day.isoformat(), "subject": renderer.version.subject, "service": job.service,
            "version": renderer.version.name}


def _is_utf8(encoding: str) -> bool:
    return encoding.lower().replace("_", "-") in ("utf-8", "utf8")


@lru_cache(maxsize=256)
def _layers(package: str, version: str, common: str | None, municipality: str | None,
            homes: tuple[tuple[str, str], ...]) -> xslt.Layers:
    return xslt.Layers(Path(package), version, Path(common) if common else None, Path(municipality)
                       if municipality else None, homes)

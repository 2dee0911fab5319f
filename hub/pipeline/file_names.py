"""What each file of an application is called: the same in the mail's text, in XML, in a folder, in a request.

Names are given once, after the route is known and before anything prints them:

1. What the hub makes of an application is called as its mapping says, and the application itself as its
   sender called it. Where two of these want one name, the order of ``send`` decides.
2. A citizen's file gets a safe name that none of those has at any recipient of the rule. The envelope tells
   it as ``name``, and beside it what the citizen called the file, as ``filename``.
3. An applicant's own printout that stands in for a rendering is called like that rendering; one that goes
   beside it like that with ``-ausdruck``.

A citizen's file that goes out as it was received (``original``) has the name that it has as an attachment.
Where one recipient gets both, the second one has a number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lxml import etree

from hub.job import JobPart, OutAttachment, Recipient, Rule
from hub.mapping.by_rule import known_name
from hub.mapping.model import MappingVersion, Rendering
from hub.names import safe_name, unique_names, upload_name, usual_ending, with_ending
from hub.pipeline.envelope import E


def name_files(envelope: etree._Element, attachments: Sequence[OutAttachment], rule: Rule,
               version: MappingVersion, parts: Sequence[JobPart]) -> tuple[OutAttachment, ...]:
    """The attachments with their names, in their order. The names are written into the envelope, too."""
    if not attachments:
        return ()
    taken = {name for recipient in rule.recipients
             for name in own_names(recipient, version, parts, attachments)}
    printout = _printout_name(rule, version)
    uploads_first = sorted(range(len(attachments)), key=lambda number: attachments[number].role != "upload")
    stands_in = next((number for number in uploads_first if attachments[number].role == "applicant-pdf"),
                     None) if printout else None
    if stands_in is not None and printout:
        taken.add(printout)
    others = [number for number in uploads_first if number != stands_in]
    names = dict(zip(others, unique_names([_wanted(attachments[number]) for number in others], taken),
                     strict=True))
    if stands_in is not None and printout:
        names[stands_in] = printout
    named = tuple(each if each.name == names[number] else each.model_copy(update={"name": names[number]})
                  for number, each in enumerate(attachments))
    _tell(envelope, named)
    return named


def _wanted(attachment: OutAttachment) -> str:
    return with_ending(upload_name(attachment.filename or attachment.name), attachment.media_type)


def own_names(recipient: Recipient, version: MappingVersion, parts: Sequence[JobPart],
              attachments: Sequence[OutAttachment]) -> list[str]:
    """The names of what one recipient gets and no citizen named: renderings, and the application as it was
    received. In the order of ``send``."""
    return unique_names([name for wanted in recipient.send
                         for name in _own(wanted, version, parts, attachments)])


def _own(wanted: str, version: MappingVersion, parts: Sequence[JobPart],
         attachments: Sequence[OutAttachment]) -> Iterator[str]:
    if wanted == "original":
        for number, part in enumerate(parts):
            if attachment_of(part, attachments) is None:
                yield received_name(number, part)
    elif wanted in version.renderings:
        yield known_name(version.renderings[wanted].file)


def attachment_of(part: JobPart, attachments: Sequence[OutAttachment]) -> OutAttachment | None:
    """The attachment that a received part became, or None: it is the application itself."""
    found = [each for each in attachments if each.sha256 == part.sha256]
    called = part.filename or part.name
    return next((each for each in found if each.filename == called), found[0] if found else None)


def received_name(number: int, part: JobPart) -> str:
    """What a received part is called that is no attachment; `number` counts from 0."""
    if part.filename:
        return safe_name(part.filename)
    return f"original{f'-{number + 1}' if number else ''}.{usual_ending(part.media_type) or 'bin'}"


def _printout_name(rule: Rule, version: MappingVersion) -> str | None:
    """What the applicant's printout is called where it goes as a rendering, or beside one; None: like any
    other file."""
    beside = None
    for wanted in dict.fromkeys(wanted for recipient in rule.recipients for wanted in recipient.send):
        rendering = version.renderings.get(wanted)
        if rendering is None or not rendering.applicant_pdf:
            continue
        choice = rule.pdf_of(wanted)
        if choice == "applicant" or stylesheet_of(rule, wanted, rendering) is None:
            return known_name(rendering.file)
        if choice == "both":
            stem, _, ending = known_name(rendering.file).rpartition(".")
            beside = beside or f"{stem}-ausdruck.{ending}"
    return beside


def stylesheet_of(rule: Rule, name: str, rendering: Rendering) -> str | None:
    """The stylesheet of a rendering: the municipality's own before the mapping's."""
    href = rule.stylesheets.get(name)
    return f"town:{href}" if href and rule.municipality_folder else rendering.stylesheet


def _tell(envelope: etree._Element, attachments: Sequence[OutAttachment]) -> None:
    """Write the names into the envelope; ``filename`` stands there where it differs."""
    for element in envelope.iterfind(f"{E}attachments/{E}attachment"):
        named = attachments[int(element.get("id", "0")) - 1]
        element.set("name", named.name)
        if named.filename is not None and named.filename != named.name:
            element.set("filename", named.filename)
        elif "filename" in element.attrib:
            del element.attrib["filename"]

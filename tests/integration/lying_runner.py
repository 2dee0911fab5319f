"""An engine that was taken over: it answers well in form, and tells one lie, which the job's case names."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import date
from typing import Any

from hub.i18n.sentence import Sentence
from hub.job import Body, Facts, Job, OutAttachment, OutDelivery, OutPart, Parked, Recipient, Translated
from hub.message import safe_name
from hub.workers.child import Bodies, OutFile

Lie = Callable[[Translated], Translated | Parked]
RENDERED = b"<hund/>"


def process(job: Job, bodies: Bodies, out: OutFile) -> Translated | Parked:
    """The truth, or the lie that the job's case names."""
    truth = honest(job, bytes(bodies(job.parts[0].body)), out)
    return LIES[job.case](truth) if job.case in LIES else truth


def honest(job: Job, upload: bytes, out: OutFile) -> Translated:
    """What the pipeline would answer: a citizen's upload, the applicant's PDF, and a rendering."""
    attachments = []
    for role, name, content in (("upload", "foto.png", upload), ("upload", "plan.png", upload),
                                ("applicant-pdf", "antrag.pdf", b"%PDF")):
        attachments.append(OutAttachment(name=name, filename=name, media_type="image/png", role=role,
                                         size=len(content), sha256=hashlib.sha256(content).hexdigest(),
                                         body=Body(offset=out.tell(), length=len(content))))
        out.write(content)
    made = {"size": len(RENDERED), "sha256": hashlib.sha256(RENDERED).hexdigest(),
            "body": Body(offset=out.tell(), length=len(RENDERED))}
    out.write(RENDERED)
    rule = job.rules[0]
    sources = {
        "xml": [OutPart(role="xml", name="hund.xml", media_type="application/xml", **made)],
        "pdf": [OutPart(role="pdf", name="antrag.pdf", media_type="application/pdf", size=4,
                        sha256=attachments[2].sha256, attachment=2)],
        "attachments": [OutPart(role="attachment", name=each.name, media_type=each.media_type, size=each.size,
                                sha256=each.sha256, attachment=number)
                        for number, each in enumerate(attachments[:2])],
        "original": [OutPart(role="original", name="application.xml", media_type="application/xml",
                             size=part.body.length, sha256=part.sha256, received=number)
                     for number, part in enumerate(job.parts)],
        "last": [OutPart(role="attachment", name="antrag.pdf", media_type="image/png", size=4,
                         sha256=attachments[2].sha256, attachment=2)]}
    short = f"{job.message_id[:8]}-{job.message_id[-4:]}"
    return Translated(
        message_id=job.message_id, facts=Facts(source="json", form_name="Hund", form_version="1.0"),
        rule=rule.id, mapping_digest=rule.mapping_digest, attachments=tuple(attachments), order=rule.order,
        deliveries=tuple(OutDelivery(
            recipient=each.name, destination=each.destination, path=each.path, headers=each.headers,
            properties=each.properties, subject=f"{each.subject or 'Anmeldung'} [{short}]",
            name_parts={"id": job.message_id, "short": short, "service": job.service, "ags": job.ags,
                        "day": f"{job.accepted_day:%Y%m%d}", "version": "v1",
                        "case": safe_name(job.case or "")},
            parts=tuple(part for wanted in _wanted(each) for part in sources[wanted]))
                         for each in rule.recipients))


def _wanted(recipient: Recipient) -> list[str]:
    """Who gets attachments gets the applicant's printout last, where it is no rendering."""
    return [*recipient.send, *(["last"] if "attachments" in recipient.send else [])]


def _first(**changes: Any) -> Lie:
    """Something else in the first delivery."""
    return lambda truth: truth.model_copy(update={"deliveries": (
        truth.deliveries[0].model_copy(update=changes), *truth.deliveries[1:])})


def _parts(change: Callable[[tuple[OutPart, ...]], Any]) -> Lie:
    """Other parts in the first delivery: xml, foto, plan, original, antrag."""
    return lambda truth: _first(parts=tuple(change(truth.deliveries[0].parts)))(truth)


def _part(number: int, **changes: Any) -> Lie:
    return _parts(lambda parts: (*parts[:number], parts[number].model_copy(update=changes),
                                 *parts[number + 1:]))


def _all(change: Callable[[tuple[OutDelivery, ...]], Any]) -> Lie:
    return lambda truth: truth.model_copy(update={"deliveries": tuple(change(truth.deliveries))})


def _said(**changes: Any) -> Lie:
    return lambda truth: truth.model_copy(update=changes)


def _fact(**changes: Any) -> Lie:
    return lambda truth: truth.model_copy(update={"facts": truth.facts.model_copy(update=changes)})


def _attachment(**changes: Any) -> Lie:
    return lambda truth: truth.model_copy(update={"attachments": (
        truth.attachments[0].model_copy(update=changes), *truth.attachments[1:])})


def _parked(**changes: Any) -> Lie:
    return lambda truth: Parked(message_id=truth.message_id, facts=Facts(), reason="invalid",
                                text=Sentence.heard("nein")).model_copy(update=changes)


def _as_test(truth: Translated) -> Translated:
    """An application becomes a test, and goes where tests go."""
    test = truth.deliveries[0].model_copy(update={
        "recipient": "probe", "destination": "musterstadt/probe", "path": None, "headers": {},
        "properties": {}})
    return truth.model_copy(update={"facts": truth.facts.model_copy(update={"test": True}),
                                    "rule": "musterstadt/hund/v1/test", "deliveries": (test,), "order": None})


LIES: dict[str, Lie] = {
    "no delivery at all": _all(lambda each: ()),
    "a recipient is left out": _all(lambda each: each[:1]),
    "a recipient is there twice": _all(lambda each: (*each, each[0])),
    "one twice instead of another": _all(lambda each: (each[0], each[0])),
    "recipients are exchanged": _all(lambda each: (each[1], each[0])),
    "a recipient of nobody's": _first(recipient="ich"),
    "another's destination": _first(destination="musterstadt/fach"),
    "a destination of nobody's": _first(destination="fremdstadt/amt"),
    "foreign headers": _first(headers={"Bcc": "ich@example.org"}),
    "headers are dropped": _first(headers={}),
    "another path": _first(path="../fremdstadt"),
    "the path is dropped": _first(path=None),
    "another subject": _first(subject="Rechnung"),
    "a subject with a header": _first(subject="Anmeldung\r\nBcc: ich@example.org"),
    "foreign properties": _first(properties={"art": "fremd"}),
    "properties are dropped": _first(properties={}),
    "other name parts": _first(name_parts={"id": "../../fremdstadt", "short": "x"}),
    "the order is dropped": _said(order=None),
    "another mapping": _said(mapping_digest="e" * 64),
    "a rule of nobody's": _said(rule="fremdstadt/hund/v1"),
    "a rule of another version": _said(rule="musterstadt/hund/v2"),
    "a rule of another form": _said(rule="musterstadt/hund/v3"),
    "a rule of another time": _said(rule="musterstadt/hund/v0"),
    "two rules fit": _fact(form_version="3.0"),
    "an application turned into a test": _as_test,
    "a test in its facts only": _fact(test=True),
    "a source of its own": _fact(source="Erika Mustermann"),
    "a form of its own": _fact(form_name="Mustermann"),
    "an attachment is left out": _parts(lambda parts: (parts[0], *parts[2:])),
    "an attachment is there twice": _parts(lambda parts: (parts[0], parts[1], parts[1], *parts[3:])),
    "attachments are exchanged": _parts(lambda parts: (parts[0], parts[2], parts[1], *parts[3:])),
    "the original is left out": _parts(lambda parts: (*parts[:3], parts[4])),
    "the applicant's printout is left out": _parts(lambda parts: parts[:4]),
    "the rendering is left out": _parts(lambda parts: parts[1:]),
    "no part at all": _parts(lambda parts: ()),
    "a part more": _parts(lambda parts: (*parts, parts[0].model_copy(update={"name": "mehr.xml"}))),
    "a rendering is a citizen's file": _part(0, body=None, attachment=0),
    "another role": _part(0, role="html"),
    "another type": _part(0, media_type="text/html"),
    "an attachment of another type": _part(1, media_type="text/html"),
    "two sources": _part(1, body=Body(offset=0, length=1)),
    "a name that leads elsewhere": _part(1, name="../foto.png"),
    "a name that is there twice": _part(1, name="PLAN.png"),
    "a name with a header": _part(1, name="foto.png\r\nBcc: ich@example.org"),
    "an attachment's name leads elsewhere": _attachment(name="../foto.png"),
    "an attachment's type has a header": _attachment(media_type="image/png\r\nBcc: ich@example.org"),
    "an attachment outside": _attachment(body=Body(offset=1 << 40, length=1), size=1),
    "parked for a reason of the deliverer": _parked(reason="in-doubt"),
    "parked as damaged": _parked(reason="damaged"),
    "parked, and a test from now on": _parked(facts=Facts(test=True)),
    "parked under another mapping": _parked(mapping_digest="e" * 64),
    "parked with a source of its own": _parked(facts=Facts(source="Erika Mustermann")),
}

UNTIL = date(2026, 1, 1)

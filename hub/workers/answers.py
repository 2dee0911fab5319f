"""What of a worker's answer may be believed.

A worker has read what a citizen wrote, and may have been taken over. It tells only what needs the document:
the bodies, the facts, the reason for parking. Everything else of an `Outcome` is taken from the rule here:
recipients, destinations, paths, headers, properties, subjects, name parts, the order, the digest of the
mapping. So nobody is left out, and nobody gets something twice.

Checked is, beside the slices: that the rule is one of the job's and fits the facts, that no other one does,
that a test is one for a reason the rules know, that each recipient gets the parts that its rule lists, in
their order, with their roles and types, and that names are harmless.

BUGS: The content of a body, a fact or a reason's text is the worker's word. A worker that was taken over can
still write nonsense into a rendering, leave out a citizen's attachment, or park.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from hub.i18n.sentence import Sentence, say
from hub.job import (
    Answer,
    Body,
    Job,
    OutAttachment,
    Outcome,
    OutDelivery,
    OutPart,
    OutParts,
    Parked,
    Recipient,
    Rendered,
    Rule,
    Translated,
)
from hub.mapping import by_rule
from hub.message import Reason, safe_name

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}", re.ASCII)
_LONGEST_NAME = 120
"""Signs of a name; `unique_names` adds a number to one of 80."""
_NOT_A_WORKERS = frozenset({Reason.CONFLICT, Reason.PERMANENT, Reason.EXPIRED, Reason.IN_DOUBT,
                            Reason.MISCONFIGURED, Reason.DAMAGED})
_REASONS = frozenset(reason.value for reason in Reason if reason not in _NOT_A_WORKERS)


def check(job: Job, answer: Answer, out_size: int) -> Sentence | None:
    """What about an answer is not true, or None. A compromised worker must not send one municipality's data
    to another."""
    if answer.message_id != job.message_id:
        return say("the answer is about another message")
    if job.test and not answer.facts.test:
        return say("a test is no test any more")
    if answer.facts.told(job) is not answer.facts:
        return say("a fact is only the sender's word")
    if isinstance(answer, Parked):
        return _check_parked(job, answer)
    rule = _rule(job, answer)
    if rule is None:
        return say("the rule is none of the job's")
    lie = _check_choice(job, answer, rule) or _check_attachments(rule, answer, out_size)
    if lie:
        return lie
    if len(answer.deliveries) != len(rule.recipients):
        return say("a recipient is left out, or there twice")
    for recipient, delivery in zip(rule.recipients, answer.deliveries, strict=True):
        lie = _check_parts(job, rule, recipient, answer.attachments, delivery, out_size)
        if lie:
            return lie
    return None


def taken(job: Job, answer: Answer) -> Outcome:
    """The outcome of an answer that was checked: the worker's bodies, and of the rule all that it says."""
    if isinstance(answer, Parked):
        return answer
    rule = _rule(job, answer)
    if rule is None:
        raise ValueError("the answer was not checked")
    parts = by_rule.name_parts(job, rule)
    return Translated.model_construct(
        outcome="translated", message_id=job.message_id, facts=answer.facts, rule=rule.id,
        mapping_digest=rule.mapping_digest, trace=answer.trace, notes=answer.notes,
        attachments=answer.attachments, order=rule.order, deliveries=tuple(
            OutDelivery.model_construct(
                recipient=recipient.name, destination=recipient.destination,
                subject=by_rule.subject(rule, recipient, job.message_id), name_parts=parts,
                path=recipient.path, headers=recipient.headers, properties=recipient.properties,
                parts=delivery.parts)
            for recipient, delivery in zip(rule.recipients, answer.deliveries, strict=True)))


def _rule(job: Job, answer: Rendered) -> Rule | None:
    return next((rule for rule in job.rules if rule.id == answer.rule), None)


def _check_parked(job: Job, parked: Parked) -> Sentence | None:
    if parked.reason not in _REASONS:
        return say("unknown reason")
    if parked.mapping_digest is not None and parked.mapping_digest not in {rule.mapping_digest
                                                                           for rule in job.rules}:
        return say("the mapping is none of the job's")
    return None


def _check_choice(job: Job, answer: Rendered, chosen: Rule) -> Sentence | None:
    """The rule fits what is said of the message, and no other one does.

    A form's name that no rule knows is not among the facts. So without a name nobody can say here whether a
    rule with forms of its own fits.
    """
    facts, test = answer.facts, answer.facts.test
    for rule in job.rules:
        fits = by_rule.objection(rule, job, facts, test) is None
        if rule is chosen and not fits:
            return say("the rule does not fit the message")
        if rule is not chosen and fits and (facts.form_name is not None or not rule.forms):
            return say("another rule fits the message, too")
    return None


def _check_attachments(rule: Rule, answer: Rendered, out_size: int) -> Sentence | None:
    for attachment in answer.attachments:
        if not _inside(attachment.body, attachment.size, out_size):
            return say("an attachment lies outside of the output")
        if not _harmless(attachment.name) or not _MEDIA_TYPE.fullmatch(attachment.media_type):
            return say("the name or type of an attachment is not clean")
        if not set(rule.parked_attachments).isdisjoint(attachment.marks):
            return say("an attachment is of a kind that parks")
    return None


def _check_parts(job: Job, rule: Rule, recipient: Recipient, attachments: Sequence[OutAttachment],
                 delivery: OutParts, out_size: int) -> Sentence | None:
    names = {part.name.lower() for part in delivery.parts}
    if len(names) != len(delivery.parts) or not all(_harmless(part.name) for part in delivery.parts):
        return say("the name of a part is not clean, or there twice")
    lies = (_lie(job, rule, attachments, wanted, part, out_size)
            for wanted, part in _pairs(job, recipient, attachments, delivery.parts))
    return next(filter(None, lies), None)


def _pairs(job: Job, recipient: Recipient, attachments: Sequence[OutAttachment],
           parts: Sequence[OutPart]) -> Iterator[tuple[str | tuple[str, int] | None, OutPart | None]]:
    """What a recipient's rule asks for beside what is there, in order. None stands for what is missing."""
    left = iter(parts)
    for wanted in recipient.send:
        if wanted == "attachments":
            for number, attachment in enumerate(attachments):
                if attachment.role == "upload":
                    yield ("attachment", number), next(left, None)
        elif wanted == "original":
            for number in range(len(job.parts)):
                yield ("original", number), next(left, None)
        else:
            yield wanted, next(left, None)
    for part in left:
        yield None, part


def _lie(job: Job, rule: Rule, attachments: Sequence[OutAttachment], wanted: str | tuple[str, int] | None,
         part: OutPart | None, out_size: int) -> Sentence | None:
    """What is wrong with a part where something is wanted."""
    if part is None:
        return say("a part is left out")
    if wanted is None:
        return say("a part is none of the rule's")
    if sum(source is not None for source in (part.body, part.attachment, part.received)) != 1:
        return say("a part has not exactly one source")
    if isinstance(wanted, str):
        return _lie_of_rendering(rule, attachments, wanted, part, out_size)
    role, number = wanted
    if role == "attachment":
        source = attachments[number]
        true = (part.attachment == number
                and (part.size, part.sha256, part.media_type) == (source.size, source.sha256,
                                                                  source.media_type))
    else:
        received = job.parts[number]
        true = (part.received == number
                and (part.size, part.sha256, part.media_type) == (received.body.length, received.sha256,
                                                                  received.media_type.partition(";")[0]))
    return None if true and part.role == role else say("a part is not what the rule asks for")


def _lie_of_rendering(rule: Rule, attachments: Sequence[OutAttachment], name: str, part: OutPart,
                      out_size: int) -> Sentence | None:
    rendering = rule.renderings.get(name)
    if rendering is None or (part.role, part.media_type) != (rendering.role, rendering.media_type):
        return say("a part is not what the rule asks for")
    if part.body is not None:
        return None if _inside(part.body, part.size, out_size) else say("a part lies outside of the output")
    if part.attachment is None or not rendering.applicant_pdf or part.attachment >= len(attachments):
        return say("a part has no source")
    source = attachments[part.attachment]
    if source.role != "applicant-pdf" or (part.size, part.sha256) != (source.size, source.sha256):
        return say("a part has no source")
    return None


def _harmless(name: str) -> bool:
    return safe_name(name, _LONGEST_NAME) == name


def _inside(body: Body, size: int, out_size: int) -> bool:
    return body.fd == 0 and body.length == size and body.offset + body.length <= out_size

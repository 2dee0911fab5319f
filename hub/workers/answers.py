"""What of a worker's answer may be believed.

A worker has read what a citizen wrote, and may have been taken over. It tells only what needs the document:
the bodies, the facts, the reason for parking and, where a recipient asks for them, the applicant's name and
mail address. Everything else of an `Outcome` is taken from the rule here: recipients, destinations, paths,
headers, properties, subjects, name parts, the order, the digest of the mapping. So nobody is left out, and
nobody gets something twice.

Checked is, beside the slices: that the rule is one of the job's and fits the facts, that no other one does,
that a test is one for a reason the rules know, that each recipient gets the parts that its rule lists, in
their order, with their roles and types, and that names are harmless.

BUGS: The content of a body, a fact or a reason's text is the worker's word. A worker that was taken over can
still write nonsense into a rendering, leave out a citizen's attachment, or park.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

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
    Split,
    Translated,
)
from hub.mapping import addressing, by_rule
from hub.message import Reason, safe_name
from hub.parsing.charset import labelled

_MEDIA_TYPE = re.compile(r"[\w.+-]{1,100}/[\w.+-]{1,100}(?:; charset=[\w.:()+-]{1,60})?", re.ASCII)
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
    if isinstance(answer, Split):
        return _check_split(job, answer)
    rule = _rule(job, answer)
    if rule is None:
        return say("the rule is none of the job's")
    lie = (_check_choice(job, answer, rule) or _check_applicant(rule, answer)
           or _check_attachments(rule, answer, out_size))
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
    if not isinstance(answer, Rendered):
        return answer
    rule = _rule(job, answer)
    if rule is None:
        raise ValueError("the answer was not checked")
    parts = by_rule.name_parts(job, rule)
    return Translated.model_construct(
        outcome="translated", message_id=job.message_id, facts=answer.facts, rule=rule.id,
        mapping_digest=rule.mapping_digest, trace=answer.trace, notes=answer.notes,
        attachments=answer.attachments, order=rule.order, applicant=answer.applicant, deliveries=tuple(
            OutDelivery.model_construct(
                recipient=recipient.name, destination=recipient.destination,
                subject=addressing.subject(rule, recipient, job, answer.applicant), name_parts=parts,
                path=recipient.path, headers=recipient.headers,
                properties=addressing.properties(recipient, answer.applicant), parts=delivery.parts)
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


def _check_split(job: Job, outcome: Split) -> Sentence | None:
    """Each part goes on, no group is the whole (else there would be no end), and what is shared goes with
    each."""
    if job.several != "split":
        return say("its sender does not want it split")
    places = set(range(len(job.parts)))
    shared = outcome.groups[0].shared
    own = [set(group.parts) for group in outcome.groups]
    if any(group.shared != shared for group in outcome.groups) or set(shared) & set().union(*own):
        return say("the applications do not share the same parts")
    if set().union(*own, shared) != places or any(len(each) + len(shared) >= len(places) for each in own):
        return say("the applications are not made of the message's parts")
    if any(len(set(each)) != len(each) for group in outcome.groups for each in (group.parts, group.shared)):
        return say("an application has a part twice")
    return None


def _check_choice(job: Job, answer: Rendered, chosen: Rule) -> Sentence | None:
    """The rule fits what is said of the message, and no other one does.

    A form's name that no rule knows is not among the facts. So without a name nobody can say here whether a
    rule with forms of its own fits.
    """
    verdicts, _ = by_rule.verdicts(job, answer.facts)
    for rule, objection in verdicts:
        if rule is chosen and objection is not None:
            return say("the rule does not fit the message")
        if rule is not chosen and objection is None and (answer.facts.form_name is not None
                                                         or not rule.forms):
            return say("another rule fits the message, too")
    return None


def _check_applicant(rule: Rule, answer: Rendered) -> Sentence | None:
    """A name is one line, and nothing is told of the applicant that no recipient asks for. Of an address the
    model knows the form; whose it is, is the worker's word."""
    if answer.applicant is None:
        return None
    if not any(map(addressing.asks_for_applicant, rule.recipients)):
        return say("nobody asks for the applicant")
    if not (answer.applicant.name or "").isprintable():
        return say("the applicant's name is not one line")
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
    wanted = tuple(_wanted(job, rule, recipient, attachments))
    if len(wanted) > len(delivery.parts):
        return say("a part is left out")
    if len(wanted) < len(delivery.parts):
        return say("a part is none of the rule's")
    lies = (_lie(each, part, out_size) for each, part in zip(wanted, delivery.parts, strict=True))
    return next(filter(None, lies), None)


class _Wanted(NamedTuple):
    """A part as the rule asks for it. Without a size it is a body that the worker made."""

    role: str
    media_type: str
    size: int | None = None
    sha256: str | None = None
    attachment: int | None = None
    received: int | None = None


def _wanted(job: Job, rule: Rule, recipient: Recipient,
            attachments: Sequence[OutAttachment]) -> Iterator[_Wanted]:
    """The parts of a delivery, in their order. The files that no rendering and no upload is come last."""
    sent: set[int | None] = set()
    for name in recipient.send:
        if name == "attachments":
            some = [_of_attachment(number, each) for number, each in enumerate(attachments)
                    if each.role == "upload"]
        elif name == "original":
            some = [_Wanted("original", labelled(part.media_type), part.body.length, part.sha256,
                            received=number) for number, part in enumerate(job.parts)]
        else:
            some = list(_of_rendering(rule, name, attachments))
        yield from some
        sent.update(each.attachment for each in some)
    if "attachments" in recipient.send:
        yield from (_of_attachment(number, each) for number, each in enumerate(attachments)
                    if each.role != "upload" and number not in sent)


def _of_attachment(number: int, attachment: OutAttachment) -> _Wanted:
    return _Wanted("attachment", attachment.media_type, attachment.size, attachment.sha256, number)


def _of_rendering(rule: Rule, name: str, attachments: Sequence[OutAttachment]) -> Iterator[_Wanted]:
    """A body of the worker's, or the applicant's printout in its place, or both."""
    rendering = rule.renderings.get(name)
    if rendering is None:
        yield _Wanted("", "")  # the mapping does not have it: nothing is true here
        return
    printout = next((number for number, each in enumerate(attachments) if each.role == "applicant-pdf"),
                    None) if rendering.applicant_pdf else None
    made = rendering.stylesheet or (name in rule.stylesheets and rule.municipality_folder is not None)
    choice = rule.pdf_of(name)
    if printout is None or (made and choice != "applicant"):
        yield _Wanted(rendering.role, rendering.media_type)
        if printout is not None and choice == "both":
            yield _of_attachment(printout, attachments[printout])
        return
    yield _of_attachment(printout, attachments[printout])._replace(
        role=rendering.role, media_type=rendering.media_type)


def _lie(wanted: _Wanted, part: OutPart, out_size: int) -> Sentence | None:
    """What is wrong with a part where something is wanted."""
    if sum(source is not None for source in (part.body, part.attachment, part.received)) != 1:
        return say("a part has not exactly one source")
    if (part.role, part.media_type, part.attachment, part.received) != (
            wanted.role, wanted.media_type, wanted.attachment, wanted.received):
        return say("a part is not what the rule asks for")
    if wanted.size is not None and (part.size, part.sha256) != (wanted.size, wanted.sha256):
        return say("a part is not what the rule asks for")
    if part.body is not None and not _inside(part.body, part.size, out_size):
        return say("a part lies outside of the output")
    return None


def _harmless(name: str) -> bool:
    return safe_name(name, _LONGEST_NAME) == name


def _inside(body: Body, size: int, out_size: int) -> bool:
    return body.fd == 0 and body.length == size and body.offset + body.length <= out_size

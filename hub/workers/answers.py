"""Whether a worker's answer may be believed."""

from __future__ import annotations

from collections.abc import Mapping

from hub.i18n.sentence import Sentence, say
from hub.job import Body, Job, Outcome, OutDelivery, OutPart, Parked, Split, Translated
from hub.message import Reason


def check(job: Job, outcome: Outcome, out_size: int) -> Sentence | None:
    """What about an answer is not true, or None. A compromised worker must not send one municipality's data
    to another."""
    if outcome.message_id != job.message_id:
        return say("the answer is about another message")
    if job.test and not outcome.facts.test:
        return say("a test is no test any more")
    if outcome.facts.told(job.rules) is not outcome.facts:
        return say("a fact is only the sender's word")
    if isinstance(outcome, Parked):
        return None if outcome.reason in {reason.value for reason in Reason} else say("unknown reason")
    if isinstance(outcome, Split):
        return _check_split(job, outcome)
    rule = next((rule for rule in job.rules if rule.id == outcome.rule), None)
    if rule is None or rule.mapping_digest != outcome.mapping_digest:
        return say("the rule is none of the job's")
    allowed = {(recipient.name, recipient.destination) for recipient in rule.recipients}
    for attachment in outcome.attachments:
        if not _inside(attachment.body, attachment.size, out_size):
            return say("an attachment lies outside of the output")
    for delivery in outcome.deliveries:
        if (delivery.recipient, delivery.destination) not in allowed:
            return say("a recipient is none of the rule's")
        lie = _check_parts(job, outcome, delivery, out_size)
        if lie:
            return lie
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


def _check_parts(job: Job, outcome: Translated, delivery: OutDelivery, out_size: int) -> Sentence | None:
    for part in delivery.parts:
        sources = (part.body, part.attachment, part.received)
        if sum(source is not None for source in sources) != 1:
            return say("a part has not exactly one source")
        if not _source_exists(job, outcome, part, out_size):
            return say("a part has no source")
    return None


def _source_exists(job: Job, outcome: Translated, part: OutPart, out_size: int) -> bool:
    if part.body is not None:
        return _inside(part.body, part.size, out_size)
    if part.attachment is not None:
        return (part.attachment < len(outcome.attachments)
                and (part.size, part.sha256) == (outcome.attachments[part.attachment].size,
                                                 outcome.attachments[part.attachment].sha256))
    if part.received is None or part.received >= len(job.parts):
        return False
    received = job.parts[part.received]
    return (part.size, part.sha256) == (received.body.length, received.sha256)


def _inside(body: Body, size: int, out_size: int) -> bool:
    return body.fd == 0 and body.length == size and body.offset + body.length <= out_size


_GERMAN: Mapping[str, Sentence] = {
    "the answer is about another message": say("die Antwort betrifft eine andere Nachricht"),
    "a test is no test any more": say("aus einem Test wurde keiner"),
    "a fact is only the sender's word": say("eine Angabe ist nur die des Absenders"),
    "unknown reason": say("unbekannter Grund"),
    "the rule is none of the job's": say("die Regel gehört nicht zum Auftrag"),
    "an attachment lies outside of the output": say("eine Anlage liegt außerhalb der Ausgabe"),
    "a recipient is none of the rule's": say("ein Empfänger gehört nicht zur Regel"),
    "its sender does not want it split": say("der Absender will nicht, dass geteilt wird"),
    "the applications do not share the same parts": say("die Anträge teilen nicht dieselben Teile"),
    "the applications are not made of the message's parts":
    say("die Anträge bestehen nicht aus den Teilen der Nachricht"),
    "an application has a part twice": say("ein Antrag hat einen Teil zweimal"),
    "a part has not exactly one source": say("ein Teil hat nicht genau eine Quelle"),
    "a part has no source": say("ein Teil hat keine Quelle"),
    "the answer is malformed": say("die Antwort ist nicht lesbar"),
    "the answer is too long": say("die Antwort ist zu lang"),
}
"""What is wrong with an answer stands in the log in English, and in a reason in German."""


def in_german(detail: Sentence) -> Sentence:
    """What is wrong with an answer, for a reason; the place of a crash as it is."""
    return _GERMAN.get(detail, detail)

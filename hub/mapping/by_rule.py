"""What a rule alone decides of a message and its deliveries.

The worker that follows a rule and the hub that checks the worker ask the same functions: whether the rule
fits, and what a delivery says on its outside. Nothing here reads a document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import lru_cache

from hub.i18n.sentence import Name, Sentence, Version, lines, say
from hub.job import Facts, Job, Recipient, Rule, RuleRendering
from hub.mapping.model import MappingVersion
from hub.mapping.versions import version_in
from hub.message import safe_name

Verdicts = list[tuple[Rule, Sentence | None]]
"""Each rule of a job, and why it does not match: None where it does."""


def verdicts(job: Job, facts: Facts) -> tuple[Verdicts, list[Rule]]:
    """What each rule says of the message. Beside it the rules that fit, but begin later; empty where another
    one fits now.

    Where no rule holds for the day of acceptance, the one that has begun first since then takes the message.
    """
    test = facts.is_test(job)
    found = [(rule, objection(rule, job, facts, test)) for rule in job.rules]
    if any(verdict is None for _, verdict in found):
        return found, []
    early = [rule for rule in job.rules if rule.valid_from and rule.valid_from > job.accepted_day
             and objection(rule, job, facts, test, rule.valid_from) is None]
    begins = min((rule.valid_from for rule in early if rule.valid_from), default=None)
    early = [rule for rule in early if rule.valid_from == begins]
    if begins and job.today and job.today >= begins:
        found = [(rule, None if rule in early else verdict) for rule, verdict in found]
    return found, early


def objection(rule: Rule, job: Job, facts: Facts, test: bool, day: date | None = None) -> Sentence | None:
    """Why the rule does not match, or None when it does. A rule that begins
    later is judged as on `day`, where that is later than the day of acceptance."""
    first = max(job.accepted_day, day or job.accepted_day)
    if rule.test != test:
        return say("nur für Testnachrichten") if rule.test else say("nicht für Testnachrichten")
    if rule.valid_from and first < rule.valid_from:
        return say("gilt erst ab {day}", day=rule.valid_from)
    if rule.valid_until and job.accepted_day >= rule.valid_until:
        return say("galt nur bis vor {day}", day=rule.valid_until)
    if rule.forms and facts.form_name is not None and facts.form_name not in rule.forms:
        return say("das Formular ist keines von {forms}", forms=names(rule.forms))
    for span in (rule.route_versions, rule.mapping_versions):
        if not version_in(facts.form_version, span):
            return say("Formularversion {version} liegt nicht in {span}",
                       version=Version(facts.form_version), span=Name(span))
    return None


def names(words: Iterable[str]) -> Sentence:
    """Words of the configuration, with commas between."""
    return lines([say("{name}", name=Name(word)) for word in words], ", ")


def renderings(version: MappingVersion, recipients: Iterable[Recipient]) -> dict[str, RuleRendering]:
    """What of a version's renderings these recipients get, by name. Names that the version does not have are
    left out."""
    wanted = {name for recipient in recipients for name in recipient.send}
    return {name: RuleRendering(role=rendering.role, file=safe_name(rendering.file),
                                media_type=rendering.media_type, applicant_pdf=rendering.applicant_pdf,
                                stylesheet=rendering.stylesheet is not None)
            for name, rendering in version.renderings.items() if name in wanted}


def name_parts(job: Job, rule: Rule) -> Mapping[str, str]:
    """Safe building blocks for file names; none names a person."""
    short = short_id(job.message_id)
    return {"id": job.message_id, "short": short, "service": known_name(job.service),
            "ags": known_name(job.ags), "day": job.accepted_day.isoformat().replace("-", ""),
            "version": known_name(rule.mapping_version), "case": safe_name(job.case) if job.case else short}


known_name = lru_cache(maxsize=4096)(safe_name)
"""For names that come from the configuration, and so come again."""


def short_id(message_id: str) -> str:
    """What a person can read out: the time's first eight digits and four that are random."""
    return f"{message_id[:8]}-{message_id[-4:]}"

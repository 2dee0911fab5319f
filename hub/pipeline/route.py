"""Which way a message goes: exactly one rule, or an explanation. Never "first wins".

A pure function over the rules that the main process found for the message's municipality and service. Each
rule is judged by form name, form version (numbers: 1.10 > 1.9), day of acceptance in Europe/Berlin
(half-open) and test flag. The trace says for each rule why it did not match, in German, for the operator.

A form may be used before the day its rule begins. Such a message is parked with that day. Where no rule holds
for its day of acceptance, one that has begun since takes it: so a replay after that day goes through.
"""

from __future__ import annotations

from datetime import date

from hub.errors import Rejected
from hub.i18n.sentence import Address, Name, Sentence, Shape, Version, lines, say
from hub.job import Facts, Job, Rule
from hub.mapping.versions import version_in
from hub.message import Reason


def route(job: Job, facts: Facts) -> tuple[Rule, tuple[Sentence, ...]]:
    """The one rule for this message, and the trace. Raises `Rejected` where none or several match."""
    if not job.rules:
        raise Rejected(job.why_no_rules_reason or Reason.NO_ROUTE, job.why_no_rules or say(
            "Für {service} in {ags} ist kein Weg eingerichtet.", service=Address(job.service),
            ags=Address(job.ags)))
    test = job.test or facts.test
    verdicts = [(rule, objection(rule, job, facts, test)) for rule in job.rules]
    early = [] if any(verdict is None for _, verdict in verdicts) else _early(job, facts, test)
    begins = min((rule.valid_from for rule in early if rule.valid_from), default=None)
    if begins and job.today and job.today >= begins:
        verdicts = [(rule, None if rule in early and rule.valid_from == begins else verdict)
                    for rule, verdict in verdicts]
    trace = tuple(say("Regel {rule}: {verdict}", rule=Name(rule.id), verdict=verdict or say("passt"))
                  for rule, verdict in verdicts)
    matching = [rule for rule, verdict in verdicts if verdict is None]
    if len(matching) == 1:
        return matching[0], trace
    form = _form(job, facts)
    if matching:
        raise Rejected(Reason.SEVERAL_ROUTES, say(
            "Mehrere Wege passen ({rules}) auf {form}: die Wege in der Datei der Kommune durch Versionen "
            "oder Gültigkeit trennen, dann erneut verarbeiten.",
            rules=_names(tuple(rule.id for rule in matching)), form=form), trace)
    if begins:
        raise Rejected(Reason.NO_ROUTE, say(
            "{form}: dafür gilt {rules} erst ab {day}: an diesem Tag erneut verarbeiten, oder valid_from "
            "berichtigen.", form=form, day=begins,
            rules=_names(tuple(rule.id for rule in early if rule.valid_from == begins))), trace)
    if test and not any(rule.test for rule in job.rules):
        raise Rejected(Reason.NO_ROUTE, say(
            "Testnachricht, aber der Weg hat keine Testziele (test_recipients): Testziele einrichten, dann "
            "erneut verarbeiten, oder verwerfen."), trace)
    raise Rejected(Reason.NO_ROUTE, say(
        "Kein Weg passt auf {form}{test}: Versionen und Gültigkeit der Wege und der Abbildung prüfen, dann "
        "erneut verarbeiten.", form=form, test=say(", Testnachricht") if test else say("")), trace)


def _early(job: Job, facts: Facts, test: bool) -> list[Rule]:
    """The rules that only begin after the day of acceptance, and fit else."""
    return [rule for rule in job.rules if rule.valid_from and rule.valid_from > job.accepted_day
            and objection(rule, job, facts, test, rule.valid_from) is None]


def _form(job: Job, facts: Facts) -> Sentence:
    """The form of a message. A name that no rule has is told by its length only."""
    known = next((form for rule in job.rules for form in rule.forms if form == facts.form_name), None)
    name = (say("{name}", name=Name(known)) if known is not None
            else say("(unbekannter Name: {shape})", shape=Shape(facts.form_name)) if facts.form_name
            else say("(unbekannt)"))
    return say("Formular {name}, Version {version}, Tag {day}", name=name,
               version=Version(facts.form_version), day=job.accepted_day)


def _names(names: tuple[str, ...]) -> Sentence:
    return lines([say("{name}", name=Name(name)) for name in names], ", ")


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
        return say("das Formular ist keines von {forms}", forms=_names(rule.forms))
    for span in (rule.route_versions, rule.mapping_versions):
        if not version_in(facts.form_version, span):
            return say("Formularversion {version} liegt nicht in {span}",
                       version=Version(facts.form_version), span=Name(span))
    return None

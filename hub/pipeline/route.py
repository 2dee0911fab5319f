"""Which way a message goes: exactly one rule, or an explanation. Never "first wins".

A pure function over the rules that the main process found for the message's municipality and service. Each
rule is judged by form name, form version (numbers: 1.10 > 1.9), day of acceptance in Europe/Berlin
(half-open) and test flag. The trace says for each rule why it did not match, in German, for the operator.

A form may be used before the day its rule begins. Such a message is parked with that day. Where no rule holds
for its day of acceptance, one that has begun since takes it: so a replay after that day goes through.
"""

from __future__ import annotations

from hub.errors import Rejected
from hub.i18n.sentence import Address, Name, Sentence, Shape, Version, say
from hub.job import Facts, Job, Rule
from hub.mapping.by_rule import names, verdicts
from hub.message import Reason


def route(job: Job, facts: Facts) -> tuple[Rule, tuple[Sentence, ...]]:
    """The one rule for this message, and the trace. Raises `Rejected` where none or several match."""
    if not job.rules:
        raise Rejected(job.why_no_rules_reason or Reason.NO_ROUTE, job.why_no_rules or say(
            "Für {service} in {ags} ist kein Weg eingerichtet.", service=Address(job.service),
            ags=Address(job.ags)))
    test = facts.is_test(job)
    if facts.test and not test:
        raise Rejected(Reason.NO_ROUTE, say(
            "Das Dokument ist als Test gekennzeichnet, aber der Dienst nimmt keine XÖV-Nachrichten an: als "
            "Test übertragen, oder verwerfen."))
    found, early = verdicts(job, facts)
    trace = tuple(say("Regel {rule}: {verdict}", rule=Name(rule.id), verdict=verdict or say("passt"))
                  for rule, verdict in found)
    matching = [rule for rule, verdict in found if verdict is None]
    if len(matching) == 1:
        return matching[0], trace
    form = _form(job, facts)
    if matching:
        raise Rejected(Reason.SEVERAL_ROUTES, say(
            "Mehrere Wege passen ({rules}) auf {form}: die Wege in der Datei der Kommune durch Versionen "
            "oder Gültigkeit trennen, dann erneut verarbeiten.",
            rules=names(rule.id for rule in matching), form=form), trace)
    if early:
        raise Rejected(Reason.NO_ROUTE, say(
            "{form}: dafür gilt {rules} erst ab {day}: an diesem Tag erneut verarbeiten, oder valid_from "
            "berichtigen.", form=form, day=early[0].valid_from or job.accepted_day,
            rules=names(rule.id for rule in early)), trace)
    if test and not any(rule.test for rule in job.rules):
        raise Rejected(Reason.NO_ROUTE, say(
            "Testnachricht, aber der Weg hat keine Testziele (test_recipients): Testziele einrichten, dann "
            "erneut verarbeiten, oder verwerfen."), trace)
    raise Rejected(Reason.NO_ROUTE, say(
        "Kein Weg passt auf {form}{test}: Versionen und Gültigkeit der Wege und der Abbildung prüfen, dann "
        "erneut verarbeiten.", form=form, test=say(", Testnachricht") if test else say("")), trace)


def _form(job: Job, facts: Facts) -> Sentence:
    """The form of a message. A name that no rule has is told by its length only."""
    known = next((form for rule in job.rules for form in rule.forms if form == facts.form_name), None)
    name = (say("{name}", name=Name(known)) if known is not None
            else say("(unbekannter Name: {shape})", shape=Shape(facts.form_name)) if facts.form_name
            else say("(unbekannt)"))
    return say("Formular {name}, Version {version}, Tag {day}", name=name,
               version=Version(facts.form_version), day=job.accepted_day)

"""Which way a message goes: exactly one rule, or an explanation. Never "first wins".

A pure function over the rules that the main process found for the message's municipality and service. Each
rule is judged by form name, form version (numbers: 1.10 > 1.9), day of acceptance in Europe/Berlin
(half-open) and test flag; the trace says for each rule why it did not match, in German, for the operator.
"""

from __future__ import annotations

from hub.errors import Rejected
from hub.job import Facts, Job, Rule
from hub.mapping.versions import version_in
from hub.message import Reason


def route(job: Job, facts: Facts) -> tuple[Rule, tuple[str, ...]]:
    """The one rule for this message, and the trace. Raises `Rejected` where none or several match."""
    if not job.rules:
        raise Rejected(job.why_no_rules_reason or Reason.NO_ROUTE,
                       job.why_no_rules or f"Für {job.service!r} in {job.ags!r} ist kein Weg eingerichtet.")
    test = job.test or facts.test
    verdicts = [(rule, _objection(rule, job, facts, test)) for rule in job.rules]
    trace = tuple(f"Regel {rule.id}: {objection or 'passt'}" for rule, objection in verdicts)
    matching = [rule for rule, objection in verdicts if objection is None]
    if len(matching) == 1:
        return matching[0], trace
    form = f"Formular {facts.form_name or '(unbekannt)'}, Version {facts.form_version or '(unbekannt)'}, Tag {job.accepted_day}"
    if matching:
        names = ", ".join(rule.id for rule in matching)
        raise Rejected(Reason.SEVERAL_ROUTES,
                       f"Mehrere Wege passen ({names}) auf {form}: die Wege in der Datei der Kommune "
                       "durch Versionen oder Gültigkeit trennen, dann erneut verarbeiten.", trace)
    if test and not any(rule.test for rule in job.rules):
        raise Rejected(Reason.NO_ROUTE, "Testnachricht, aber der Weg hat keine Testziele (test_recipients): "
                       "Testziele einrichten, dann erneut verarbeiten, oder verwerfen.", trace)
    raise Rejected(Reason.NO_ROUTE,
                   f"Kein Weg passt auf {form}{', Testnachricht' if test else ''}: Versionen und Gültigkeit "
                   "der Wege und der Abbildung prüfen, dann erneut verarbeiten.", trace)


def _objection(rule: Rule, job: Job, facts: Facts, test: bool) -> str | None:
    """Why the rule does not match, or None when it does."""
    if rule.test != test:
        return "nur für Testnachrichten" if rule.test else "nicht für Testnachrichten"
    if rule.valid_from and job.accepted_day < rule.valid_from:
        return f"gilt erst ab {rule.valid_from}"
    if rule.valid_until and job.accepted_day >= rule.valid_until:
        return f"galt nur bis vor {rule.valid_until}"
    if rule.forms and facts.form_name is not None and facts.form_name not in rule.forms:
        return f"Formular {facts.form_name} ist keines von {', '.join(rule.forms)}"
    for span in (rule.route_versions, rule.mapping_versions):
        if not version_in(facts.form_version, span):
            return f"Formularversion {facts.form_version or '(unbekannt)'} liegt nicht in {span}"
    return None

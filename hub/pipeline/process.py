"""What happens to a message between the store and the outbox, in order: this file is the story.

::

    normalize ► route ► name ► type ► validate ► annotate ► translate per recipient

Runs in a worker process without secrets, database or network, because it reads what a citizen wrote.
Everything that is wrong with a message ends as `Parked`, with a reason that a person can act on; anything
else that is raised is a fault of the hub itself and costs the worker, not the message.

No reason holds what a citizen wrote: it is a sentence (`hub.i18n.sentence`). Engines (libxml2, libxslt,
Saxon, xmlschema, json) put values into their errors, so their words are never passed on. Instead the reason
names the place, the type and the length of a value, the file and the line of a stylesheet, and the kind of
the error.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from hub.errors import ConfigError, Rejected
from hub.i18n.sentence import Sentence
from hub.job import Facts, Job, Outcome, Output, Parked, ReadBody, Rule, Split, Translated
from hub.mapping.addressing import asks_for_applicant
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.model import FieldTable, MappingVersion
from hub.pipeline.applicant import applicant_of
from hub.pipeline.attachment_policy import notes_of, refuse
from hub.pipeline.documents import SeveralApplicationsError
from hub.pipeline.fields import annotate, type_values
from hub.pipeline.file_names import name_files
from hub.pipeline.mapping_faults import unusable
from hub.pipeline.normalize import NotNormal, normalize
from hub.pipeline.route import route
from hub.pipeline.translate import render
from hub.pipeline.validate import validate


def process(job: Job, read_body: ReadBody, out: Output) -> Outcome:
    """One message through all stages. Never raises for content."""
    facts, digest = Facts(test=job.test), None
    notes: tuple[Sentence, ...] = ()
    try:
        envelope, facts, attachments, payload, notes = normalize(job, read_body, out)
        notes += tuple(notes_of(attachments))
        rule, trace = route(job, facts)
        refuse(rule, attachments)
        digest = rule.mapping_digest
        version, table = _files(rule)
        attachments = name_files(envelope, attachments, rule, version, job.parts)
        typed = type_values(envelope, table)
        validate(typed, version, rule, job.accepted_day, payload)
        applicant = (applicant_of(typed, table) if any(map(asks_for_applicant, rule.recipients)) else None)
        deliveries = render(job, rule, version, annotate(typed, table), attachments, out, applicant)
    except SeveralApplicationsError as error:
        if job.several == "split":
            return Split(message_id=job.message_id, facts=facts, groups=error.groups, trace=error.trace)
        return _parked(job, error, facts, digest, notes)
    except Rejected as error:
        return _parked(job, error, facts, digest, notes)
    return Translated(message_id=job.message_id, facts=facts.told(job), rule=rule.id,
                      mapping_digest=digest, trace=trace, notes=notes, attachments=attachments,
                      deliveries=deliveries, applicant=applicant, order=rule.order)


def _parked(job: Job, error: Rejected, facts: Facts, digest: str | None,
            notes: tuple[Sentence, ...]) -> Parked:
    if isinstance(error, NotNormal):
        facts, notes = error.facts, error.notes
    return Parked(message_id=job.message_id, facts=facts.told(job), reason=error.reason,
                  text=error.text, trace=error.trace, notes=notes, mapping_digest=digest)


def _files(rule: Rule) -> tuple[MappingVersion, FieldTable]:
    """The rule's mapping version with its field table. Raises `Rejected` where they cannot be used."""
    try:
        return _mapping(rule.package, rule.mapping_version)
    except ConfigError as error:
        raise unusable(error, rule) from error


@lru_cache(maxsize=512)
def _mapping(package: str, name: str) -> tuple[MappingVersion, FieldTable]:
    """A mapping version with its field table; `package` is a snapshot named by its digest, so it never
    changes."""
    folder = Path(package)
    version = next(version for version in load_mapping(folder).version if version.name == name)
    return version, load_fields(folder / name / version.fields) if version.fields else FieldTable()

"""Whatever Amt24 or an authority sends becomes one envelope (schema: ``envelope.xsd`` beside this file).

One part of the message is the document (`hub.pipeline.documents`). It says by its root or its keys which
generation it is; the envelope names that as ``e:source``:

* a form dump in XML, of three generations: `hub.pipeline.form_xml`;
* a form content or a form dump in JSON: `hub.pipeline.form_json`;
* a XÖV document: `hub.pipeline.xoev`.

The other parts become attachments (`hub.pipeline.parts`). Values are text exactly as sent; nothing is guessed
from the look of a value.
"""

from __future__ import annotations

from hub.errors import Rejected
from hub.i18n.sentence import Sentence
from hub.job import Facts, Job, Output, ReadBody
from hub.pipeline.documents import SeveralApplicationsError, find_document, read_document, same_as
from hub.pipeline.envelope import EnvelopeBuilder, Normalized
from hub.pipeline.parts import take_part


class NotNormal(Rejected):
    """What could not be normalized, with the `facts` (see `Facts.told`) and `notes` known by then."""

    def __init__(self, cause: Rejected, facts: Facts, notes: tuple[Sentence, ...] = ()) -> None:
        super().__init__(cause.reason, cause.text, cause.trace)
        self.facts = facts
        self.notes = notes


def normalize(job: Job, read_body: ReadBody, out: Output) -> Normalized:
    """The envelope of a job. `out` stands at its end; bodies of attachments are slices of it.

    Raises `NotNormal`: ``unreadable``, ``doctype``, ``limit``, ``unknown-form``, ``invalid``; and
    `SeveralApplicationsError`.
    """
    work = EnvelopeBuilder(job, out)
    try:
        chosen = find_document(job, read_body)
        document = chosen.document
        read_document(work, document, read_body, work.note)
        if chosen.twins:
            work.note(same_as(chosen))
        brought = list(work.uploads)
        for other in job.parts:
            if other is not document.part:
                take_part(work, other, document.part, read_body, brought)
        return work.finish()
    except SeveralApplicationsError:
        raise
    except Rejected as error:
        raise NotNormal(error, Facts(**work.facts), tuple(work.notes)) from error

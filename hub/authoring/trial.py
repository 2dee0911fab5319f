"""One example through the pipeline, with the envelope beside what came of it.

`process` is the runner of the workers that try examples (`hub.operations.trials`): what a message goes
through, and the annotated envelope as one more attachment, the last, named `CANONICAL`.
"""

from __future__ import annotations

import hashlib
import io
import re
import resource
from contextlib import suppress
from pathlib import Path

from lxml import etree

from hub.job import Body, Job, OutAttachment, Outcome, Output, ReadBody, Translated
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.model import FieldTable
from hub.pipeline import process as pipeline
from hub.pipeline.fields import annotate, type_values
from hub.pipeline.normalize import normalize

CANONICAL = "canonical.xml"


def process(job: Job, read_body: ReadBody, out: Output) -> Outcome:
    """The outcome for an example; what is translated has its envelope among the attachments. Raises
    MemoryError where an engine failed because there was no more."""
    _forget_peak()
    outcome = pipeline.process(job, read_body, out)
    if not isinstance(outcome, Translated):
        if _near_the_limit():  # libxslt says that a variable is not declared, or nothing at all
            raise MemoryError
        return outcome
    content = _canonical(job, outcome.rule, read_body)
    start = out.tell()
    out.write(content)
    envelope = OutAttachment(
        name=CANONICAL, filename=CANONICAL, media_type="application/xml", role="envelope", size=len(content),
        sha256=hashlib.sha256(content).hexdigest(), body=Body(offset=start, length=len(content)))
    return outcome.model_copy(update={"attachments": (*outcome.attachments, envelope)})


def _canonical(job: Job, rule_id: str, read_body: ReadBody) -> bytes:
    rule = next(rule for rule in job.rules if rule.id == rule_id)
    version = next(version for version in load_mapping(Path(rule.package)).version
                   if version.name == rule.mapping_version)
    table = (load_fields(Path(rule.package) / version.name / version.fields) if version.fields
             else FieldTable())
    envelope = annotate(type_values(normalize(job, read_body, io.BytesIO()).envelope, table), table)
    etree.indent(envelope)
    return etree.tostring(envelope, encoding="utf-8", xml_declaration=True) + b"\n"


def _forget_peak() -> None:
    """Let the kernel measure the largest resident memory anew (proc(5), clear_refs)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _near_the_limit() -> bool:
    """Whether more than half of what this process may have was in use."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    peak = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"),
                     re.MULTILINE)
    return limit != resource.RLIM_INFINITY and peak is not None and int(peak[1]) << 10 > limit >> 1


def here(job: Job, content: bytes) -> tuple[Outcome, bytes]:
    """An example in this process: for mappings that can be trusted not to use up the machine."""
    out = io.BytesIO()
    outcome = process(job, lambda body: content[body.offset:body.offset + body.length], out)
    return outcome, out.getvalue()

"""What the tests of mappings share: where they are, and what the hub makes of an example."""

from __future__ import annotations

import hashlib
import io
from datetime import date, datetime, time
from pathlib import Path
from unittest import mock

from lxml import etree

from hub.files.toml import read_toml
from hub.job import PRINTOUT, Body, Job, JobPart, Parked, Rule
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.model import PRINTED, FieldTable, MappingVersion
from hub.mapping.versions import version_in
from hub.message import BERLIN
from hub.pipeline.envelope import Normalized
from hub.pipeline.normalize import normalize
from hub.pipeline.process import process

ROOT = Path(__file__).parents[1]
MAPPINGS = ROOT / "mappings"
SERVICES = sorted(file.parent for file in MAPPINGS.glob("*/mapping.toml"))
VERSIONS = [(folder, version) for folder in SERVICES for version in load_mapping(folder).version]
EXAMPLES = sorted(file.parent for file in MAPPINGS.glob("*/examples/*/example.toml"))
DAY = date(2026, 11, 22)
E = "{urn:datendrehscheibe:envelope:1}"
XS = "{http://www.w3.org/2001/XMLSchema}"
XSL = "{http://www.w3.org/1999/XSL/Transform}"
DOG = "{urn:datendrehscheibe:hundesteuer:1}"
SCH = "{http://purl.oclc.org/dsdl/schematron}"


def id_of(value: object) -> str:
    if isinstance(value, MappingVersion):
        return value.name
    return value.relative_to(MAPPINGS).as_posix().replace("/examples/",
                                                          "/") if isinstance(value, Path) else str(value)


def example(name: str) -> Path:
    """The folder of ``service/example``."""
    service, _, own = name.partition("/")
    return MAPPINGS / service / "examples" / own


def normalized(folder: Path, day: date = DAY) -> tuple[Job, Normalized]:
    """An example as a job with every version's rule, which lead to nobody, and what normalize makes of it."""
    service = folder.parents[1]
    beside = read_toml(folder / "example.toml").get("attachments", ())
    files = [min(folder.glob("message.*")), *(folder / name for name in beside)]
    stored, parts = io.BytesIO(), []
    for number, file in enumerate(files):
        content = file.read_bytes()
        name = "application" if not number else PRINTOUT[0] if file.name == PRINTED else "attachment"
        parts.append(JobPart(name=name, filename=file.name,
                             media_type={".xml": "application/xml",
                                         ".json": "application/json"}.get(file.suffix, ""),
                             sha256=hashlib.sha256(content).hexdigest(),
                             body=Body(offset=stored.tell(), length=len(content))))
        stored.write(content)
    rules = tuple(Rule(id=version.name, tenant="beispiel", service=service.name, forms=version.forms,
                       mapping_versions=version.versions, valid_from=version.valid_from,
                       valid_until=version.valid_until,
                       mapping_version=version.name, mapping_digest="0", package=str(service), recipients=())
                  for version in load_mapping(service).version)
    job = Job(message_id="019a0000-0000-7000-8000-000000000001", tenant="beispiel", ags="14999010",
              service=service.name,
              test=False, received_at=datetime.combine(day, time(10), BERLIN), accepted_day=day, case=None,
              parts=tuple(parts), rules=rules)
    content = stored.getvalue()
    return job, normalize(job, lambda body: content[body.offset:body.offset + body.length], io.BytesIO())


def canonical(folder: Path) -> etree._Element:
    """The envelope of an example."""
    return normalized(folder)[1].envelope


def version_of(folder: Path, envelope: etree._Element) -> tuple[MappingVersion, FieldTable]:
    """The one version of an example's mapping that takes its form."""
    service = folder.parents[1]
    form = envelope.find(f"{E}metadata/{E}form")
    number = form.get("version") if form is not None else None
    version, = (version for version in load_mapping(service).version if version_in(number, version.versions))
    return version, load_fields(service / version.name / str(version.fields))


def verdict(folder: Path, envelope: etree._Element | None = None, day: date = DAY) -> str:
    """Why the hub would park the example, if its envelope were this one; empty when it would not."""
    job, ready = normalized(folder, day)
    ready = ready if envelope is None else ready._replace(envelope=envelope)
    with mock.patch("hub.pipeline.process.normalize", lambda *_: ready):
        outcome = process(job, mock.Mock(), mock.Mock())
    return outcome.text if isinstance(outcome, Parked) else ""

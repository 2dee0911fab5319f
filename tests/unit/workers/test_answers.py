"""What the pipeline itself answers is believed, for every example of every service, and comes out unchanged.

Lies are in tests/integration/test_workers_lies.py.
"""

from __future__ import annotations

import io
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.files.toml import read_toml
from hub.job import Body, Facts, Job, JobPart, Recipient, Rendered, Rule, Translated
from hub.mapping import by_rule
from hub.mapping.loader import load_mapping
from hub.message import safe_name, unique_names
from hub.pipeline.process import process
from hub.workers.answers import check, taken
from tests.unit.pipeline.leaks import EXAMPLES, sent

MAPPINGS = Path(__file__).resolve().parents[3] / "mappings"
XML = [folder for folder in EXAMPLES if (folder / "message.xml").is_file()
       and not read_toml(folder / "example.toml").get("parked")]


def rules_of(package: Path) -> tuple[Rule, ...]:
    """Each version goes to two recipients: one gets everything but PDFs, which take a second."""
    rules = []
    for version in load_mapping(package).version:
        texts = tuple(name for name, each in version.renderings.items() if each.role != "pdf")
        recipients = (Recipient(name="amt", destination="a/amt", connector="smtp", subject="Neu",
                                send=(*texts, "attachments", "original"), headers={"X": "1"}),
                      Recipient(name="fach", destination="a/fach", connector="directory", send=texts[:1],
                                path="ein", properties={"art": "x"}))
        rules.append(Rule(
            id=f"beispiel/{package.name}/{version.name}", tenant="beispiel", service=package.name,
            forms=version.forms, mapping_versions=version.versions, mapping_version=version.name,
            valid_from=version.valid_from, valid_until=version.valid_until, mapping_digest="0",
            package=str(package), common=str(MAPPINGS / "_common"), subject=version.subject,
            xoev=version.xoev, recipients=recipients, order="case",
            renderings=by_rule.renderings(version, recipients), municipality={"name": "Musterstadt"}))
    return tuple(rules)


@pytest.mark.parametrize("example", XML, ids=lambda folder: f"{folder.parents[1].name}/{folder.name}")
def test_what_the_pipeline_says_is_believed_and_comes_out_as_it_was_meant(example: Path) -> None:
    day = read_toml(example / "example.toml").get("day", date(2026, 11, 22))
    parts = sent(example, (example / "message.xml").read_bytes())
    contents = [content for *_, content in parts]
    job = Job(message_id="019a0000-0000-7000-8000-000000000001", tenant="beispiel", ags="14999010",
              service=example.parents[1].name, test=False, received_at=datetime(2026, 11, 22, 9, tzinfo=UTC),
              accepted_day=day, case="Az. 32/1", rules=rules_of(example.parents[1]), parts=tuple(
                  JobPart(name=name, filename=filename, media_type=media_type, sha256="0" * 64,
                          body=Body(fd=number, length=len(content)))
                  for number, (name, filename, media_type, content) in enumerate(parts)))
    out = io.BytesIO()
    outcome = process(job, lambda body: contents[body.fd], out)
    assert isinstance(outcome, Translated), outcome.text
    answer = Rendered.model_validate_json(Rendered.frame(outcome))
    assert check(job, answer, len(out.getvalue())) is None
    assert taken(job, answer) == outcome
    assert [each.recipient for each in outcome.deliveries] == ["amt", "fach"]


def test_what_was_not_checked_is_not_taken() -> None:
    job = Job(message_id="m", tenant="t", ags="14999010", service="s", test=False,
              received_at=datetime(2026, 11, 22, 9, tzinfo=UTC), accepted_day=date(2026, 11, 22), case=None,
              parts=())
    with pytest.raises(ValueError, match="not checked"):
        taken(job, Rendered(message_id="m", facts=Facts(), rule="t/s/v1", deliveries=()))


@given(st.lists(st.text(max_size=200), max_size=4))
def test_every_name_that_the_pipeline_makes_is_harmless_to_the_check(names: list[str]) -> None:
    """`safe_name` of what it made itself is the same: else an honest worker would be called a liar."""
    assert [safe_name(name, 120) for name in unique_names(names)] == unique_names(names)

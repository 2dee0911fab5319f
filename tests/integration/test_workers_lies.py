"""A worker that was taken over answers well in form and lies: nothing of it comes true."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest

from hub.job import Job, JobPart, Outcome, OutParts, Recipient, Rendered, Rule, RuleRendering, Translated
from hub.workers import process
from hub.workers.pool import BatchResult, WorkerPool, pack
from hub.workers.process import Why
from tests.integration.lying_runner import LIES, UNTIL
from tests.integration.test_workers import SETTINGS

CONTENT = b"Hund von Erika Mustermann"
RENDERINGS = {"xml": RuleRendering(role="xml", file="hund.xml", media_type="application/xml"),
              "pdf": RuleRendering(role="pdf", file="antrag.pdf", media_type="application/pdf",
                                   applicant_pdf=True)}
AMT = Recipient(name="amt", destination="musterstadt/amt", connector="smtp", subject="Hund",
                send=("xml", "attachments", "original"), path="eingang", headers={"X-Amt": "32"},
                properties={"art": "hund"})
FACH = Recipient(name="fach", destination="musterstadt/fach", connector="directory", send=("xml", "pdf"))
PROBE = Recipient(name="probe", destination="musterstadt/probe", connector="smtp", send=AMT.send)


def rule(name: str, *recipients: Recipient, **changes: Any) -> Rule:
    return Rule(**{"id": f"musterstadt/hund/{name}", "tenant": "musterstadt", "service": "hund",
                   "mapping_version": "v1", "mapping_digest": "d" * 64, "package": "/nowhere",
                   "subject": "Anmeldung", "renderings": RENDERINGS, "forms": ("Hund",),
                   "mapping_versions": ">=1.0,<2.0", "recipients": recipients, **changes})


RULES = (rule("v1", AMT, FACH, order="case", mapping_versions=">=1.0,<2.0 or none"),
         rule("v1/test", PROBE, test=True), rule("v2", AMT, FACH, mapping_versions=">=2.0"),
         rule("v3", AMT, FACH, forms=("Gewerbe",)), rule("v0", AMT, FACH, valid_until=UNTIL))


def job(lie: str = "", *rules: Rule, **changes: Any) -> Job:
    fd, (body,) = pack([CONTENT])
    os.close(fd)
    return Job(**{"message_id": "01900000-message-1", "tenant": "musterstadt", "ags": "14999010",
                  "service": "hund", "test": False, "received_at": datetime(2026, 11, 22, 10, tzinfo=UTC),
                  "accepted_day": date(2026, 11, 22), "case": lie, "rules": rules or RULES,
                  "parts": (JobPart(name="application", filename=None, media_type="application/xml",
                                    sha256=hashlib.sha256(CONTENT).hexdigest(), body=body),), **changes})


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(1, SETTINGS, "tests.integration.lying_runner") as pool:
        yield pool


def run(pool: WorkerPool, job: Job) -> BatchResult:
    fd, _ = pack([CONTENT])
    with tempfile.TemporaryFile() as out:
        try:
            return pool.run([job], [fd], out.fileno())
        finally:
            os.close(fd)


def nothing_came_true(result: BatchResult, job: Job) -> None:
    """The answer is refused, or what is taken of it is the truth."""
    if result.outcomes:
        true(result.outcomes[0], job)
    else:
        assert result.why is Why.PROTOCOL


def true(outcome: Outcome, job: Job) -> None:
    """Written by hand from the rule above."""
    assert isinstance(outcome, Translated)
    assert (outcome.rule, outcome.mapping_digest, outcome.order) == ("musterstadt/hund/v1", "d" * 64, "case")
    assert (outcome.facts.test, outcome.facts.form_name, outcome.facts.source) == (False, "Hund", "json")
    amt, fach = outcome.deliveries
    assert (amt.recipient, amt.destination, amt.path) == ("amt", "musterstadt/amt", "eingang")
    assert (dict(amt.headers), dict(amt.properties)) == ({"X-Amt": "32"}, {"art": "hund"})
    assert amt.subject == "Hund [01900000-ge-1]"
    assert (fach.recipient, fach.destination, fach.path) == ("fach", "musterstadt/fach", None)
    assert (dict(fach.headers), dict(fach.properties)) == ({}, {})
    assert fach.subject == "Anmeldung [01900000-ge-1]"
    for each in outcome.deliveries:
        assert each.name_parts["id"] == job.message_id
        assert {"id", "short", "service", "ags", "day", "version", "case"} == set(each.name_parts)
        assert (each.name_parts["ags"], each.name_parts["day"]) == ("14999010", "20261122")
    assert [(part.role, part.name, part.media_type, part.attachment, part.received)
            for part in amt.parts] == [
        ("xml", "hund.xml", "application/xml", None, None), ("attachment", "foto.png", "image/png", 0, None),
        ("attachment", "plan.png", "image/png", 1, None),
        ("original", "application.xml", "application/xml", None, 0),
        ("attachment", "antrag.pdf", "image/png", 2, None)]
    assert [(part.role, part.name, part.attachment) for part in fach.parts] == [
        ("xml", "hund.xml", None), ("pdf", "antrag.pdf", 2)]
    assert [(each.name, each.media_type) for each in outcome.attachments] == [
        ("foto.png", "image/png"), ("plan.png", "image/png"), ("antrag.pdf", "image/png")]


def test_the_truth_is_believed(pool: WorkerPool) -> None:
    found = run(pool, job("Az. 32/1"))
    assert found.complete, found.detail
    true(found.outcomes[0], job())


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_or_has_no_effect(pool: WorkerPool, lie: str) -> None:
    sent = job(lie, *(rule("v1", AMT, FACH, order="case"), rule("again", AMT)) if lie == "two rules fit"
               else ())
    nothing_came_true(run(pool, sent), sent)
    true(run(pool, job()).outcomes[0], job())


REFUSED = ("a recipient is left out", "an application turned into a test", "a rule of another version",
           "a rule of another form", "a rule of another time", "an attachment is left out",
           "the original is left out", "no part at all", "a rendering is a citizen's file", "another type",
           "a name that leads elsewhere", "parked as damaged", "parked, and a test from now on")


@pytest.mark.parametrize("lie", REFUSED)
def test_planted_a_hub_that_checks_nothing_is_found(pool: WorkerPool, lie: str,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "check", lambda *_: None)
    sent = job(lie)
    with pytest.raises((AssertionError, ValueError)):
        nothing_came_true(run(pool, sent), sent)


@pytest.mark.parametrize("name", ["recipient", "destination", "subject", "headers", "path", "properties",
                                  "name_parts", "order", "mapping_digest"])
def test_what_is_the_rules_has_no_word_in_an_answer(name: str) -> None:
    """A frame that says it all the same is malformed."""
    fields = Rendered.model_fields | OutParts.model_fields
    assert name not in fields
    for model in (Rendered, OutParts):
        assert model.model_config["extra"] == "forbid"


def test_a_xoev_document_may_say_that_it_is_a_test(pool: WorkerPool) -> None:
    rules = (rule("v1", AMT, FACH, order="case", xoev=True), rule("v1/test", PROBE, test=True, xoev=True))
    found = run(pool, job("an application turned into a test", *rules))
    assert found.complete, found.detail
    outcome = found.outcomes[0]
    assert isinstance(outcome, Translated)
    assert outcome.facts.test
    assert [each.destination for each in outcome.deliveries] == ["musterstadt/probe"]


def test_a_test_stays_one(pool: WorkerPool) -> None:
    found = run(pool, job(test=True))
    assert (found.outcomes, found.why) == ((), Why.PROTOCOL)

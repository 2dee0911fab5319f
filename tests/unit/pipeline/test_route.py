"""Exactly one route, or an explanation."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.errors import Rejected
from hub.i18n.sentence import Sentence, say
from hub.job import Facts, Job, Rule
from hub.mapping.versions import version_in, version_key
from hub.pipeline.route import route

FACTS = Facts(form_name="Hundesteuer", form_version="1.10")


def rule(name: str = "musterstadt/hundesteuer/v1", **given: object) -> Rule:
    values = {"id": name, "tenant": "musterstadt", "service": "hundesteuer", "mapping_version": "v1",
              "mapping_digest": "0" * 64,
              "package": "/nowhere", "recipients": (), **given}
    return Rule.model_validate(values)


def job(*rules: Rule, test: bool = False, day: date = date(2026, 5, 1), why: Sentence | None = None) -> Job:
    return Job(message_id="m", tenant="musterstadt", ags="14999010", service="hundesteuer", test=test,
               received_at=datetime.now(UTC), accepted_day=day, case=None, parts=(), rules=rules,
               why_no_rules=why,
               why_no_rules_reason="unknown-service" if why else None)


def test_the_one_that_matches_is_taken_and_the_others_are_explained() -> None:
    one, other = rule("a", mapping_versions=">=1.0,<2.0"), rule("b", mapping_versions=">=2.0")
    found, trace = route(job(one, other), FACTS)
    assert found is one
    assert trace == ("Regel a: passt", "Regel b: Formularversion 1.10 liegt nicht in >=2.0")


@pytest.mark.parametrize(("given", "words"), [
    ({"route_versions": "<1.10"}, "liegt nicht in <1.10"),
    ({"valid_from": date(2026, 5, 2)}, "gilt erst ab 2026-05-02"),
    ({"valid_until": date(2026, 5, 1)}, "galt nur bis vor 2026-05-01"),
    ({"forms": ("Gewerbe",)}, "ist keines von Gewerbe"),
    ({"test": True}, "nur für Testnachrichten"),
])
def test_none_that_matches_parks_with_a_trace_of_every_rule(given: dict[str, object], words: str) -> None:
    with pytest.raises(Rejected) as error:
        route(job(rule(**given), rule("z", **given)), FACTS)
    assert error.value.reason == "no-route"
    assert len(error.value.trace) == 2
    assert all(words in line for line in error.value.trace)


def test_several_that_match_are_no_choice() -> None:
    with pytest.raises(Rejected) as error:
        route(job(rule("a"), rule("b")), FACTS)
    assert error.value.reason == "several-routes"
    assert "a, b" in error.value.text


def test_half_open_ranges_hand_over_on_one_day() -> None:
    old, new = rule("old", valid_until=date(2026, 5, 1)), rule("new", valid_from=date(2026, 5, 1))
    assert route(job(old, new, day=date(2026, 4, 30)), FACTS)[0] is old
    assert route(job(old, new, day=date(2026, 5, 1)), FACTS)[0] is new


def test_a_test_goes_to_test_destinations_only_whoever_says_that_it_is_one() -> None:
    real, test = rule("real"), rule("test", test=True)
    assert route(job(real, test, test=True), FACTS)[0] is test
    says_so = FACTS.model_copy(update={"test": True})
    assert route(job(*(each.model_copy(update={"xoev": True}) for each in (real, test))), says_so)[0].test
    with pytest.raises(Rejected, match="keine XÖV-Nachrichten"):
        route(job(real, test), says_so)  # only a XÖV document can say so: it goes nowhere
    with pytest.raises(Rejected, match="keine Testziele"):
        route(job(real, test=True), FACTS)


def test_no_rules_at_all_keep_the_reason_of_the_main_process() -> None:
    with pytest.raises(Rejected) as error:
        route(job(why=say("Den Dienst gibt es nicht.")), FACTS)
    assert (error.value.reason, error.value.text) == ("unknown-service", "Den Dienst gibt es nicht.")


@given(st.lists(st.integers(0, 30), min_size=1, max_size=3),
       st.lists(st.integers(0, 30), min_size=1, max_size=3))
def test_versions_compare_as_numbers(one: list[int], other: list[int]) -> None:
    left, right = ".".join(map(str, one)), ".".join(map(str, other))
    padded = [numbers + [0] * (3 - len(numbers)) for numbers in (one, other)]
    assert (version_key(left) < version_key(right)) == (padded[0] < padded[1])
    assert version_in(left, f">={right}") != version_in(left, f"<{right}")
    assert not version_in(None, ">=0") and version_in(None, "*")


COMES = {"mapping_versions": ">=1.0", "valid_from": date(2026, 12, 1)}


@pytest.mark.parametrize("today", [None, date(2026, 5, 1), date(2026, 11, 30)])
def test_a_form_before_its_day_is_parked_with_that_day(today: date | None) -> None:
    early = job(rule("a", mapping_versions="<1.0"), rule("b", **COMES))
    with pytest.raises(Rejected) as error:
        route(early.model_copy(update={"today": today}), FACTS)
    assert error.value.reason == "no-route"
    assert "dafür gilt b erst ab 2026-12-01" in error.value.text


@pytest.mark.parametrize("today", [date(2026, 12, 1), date(2029, 1, 1)])
def test_a_replay_on_that_day_or_later_goes_through(today: date) -> None:
    later = rule("c", mapping_versions=">=1.0", valid_from=date(2028, 1, 1))
    replayed = job(rule("b", **COMES, valid_until=date(2028, 1, 1)),
                   later).model_copy(update={"today": today})
    found, trace = route(replayed, FACTS)
    assert found.id == "b", "the first one to begin"
    assert trace == ("Regel b: passt", "Regel c: gilt erst ab 2028-01-01")


def test_the_day_of_acceptance_decides_where_a_rule_holds_on_it() -> None:
    old, new = rule("old", valid_until=date(2026, 12, 1)), rule("new", **COMES)
    late = job(old, new).model_copy(update={"today": date(2026, 12, 1)})
    assert route(late, FACTS)[0].id == "old"

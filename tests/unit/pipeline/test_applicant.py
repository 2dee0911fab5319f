"""Who applies, for a mail's subject and its answers: nothing is guessed, and nothing else gets into a
header."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.job import Applicant
from hub.mapping.model import FieldTable
from hub.pipeline import applicant
from hub.pipeline.applicant import applicant_of
from tests.unit.pipeline.naming_kit import FORM, applied, rule

HEAD = Path(__file__).parents[3] / "mappings" / "_common" / "kopf.xsl"
TABLE = FieldTable(group=[{"id": "berater", "title": "Beratung"},
                          {"id": "betrieb", "title": "Betrieb", "applicant": True},
                          {"id": "person", "title": "Person", "applicant": True, "instances": True}])


def of(fields: str, table: FieldTable = TABLE) -> Applicant | None:
    return applicant_of(
        etree.fromstring(f'<e:envelope xmlns:e="urn:datendrehscheibe:envelope:1"><e:fields>{fields}'
                                         "</e:fields></e:envelope>"), table)


def person(**fields: str) -> str:
    inner = "".join(f"<{name}>{text}</{name}>" for name, text in fields.items())
    return f'<instance n="0">{inner}</instance>'


ADVISER = f"<berater>{person(name='Fremd', email='berater@example.org')}</berater>"


def test_the_first_group_with_a_name_and_the_first_address() -> None:
    company = f"<betrieb>{person(firma='Größe &amp; Co.')}</betrieb>"
    owner = f"<person>{person(familienname='Müßig', vorname='Jo', email='jo@example.org')}</person>"
    assert of(ADVISER + company + owner) == Applicant(name="Größe & Co.", mail="jo@example.org")
    assert of(ADVISER + owner) == Applicant(name="Müßig", mail="jo@example.org")


def test_a_second_person_of_a_group_is_never_the_applicant() -> None:
    people = person(name="Erste") + person(name="Zweite", email="zweite@example.org")
    assert of(f"<person>{people}</person>") == Applicant(name="Erste")


def test_where_no_group_is_called_the_applicants_nobody_is() -> None:
    table = FieldTable(group=[{"id": "antragsteller", "title": "Antrag"}])
    assert of(f"<antragsteller>{person(name='Muster', email='m@example.org')}</antragsteller>", table) is None
    assert of(ADVISER) is None


@pytest.mark.parametrize("address", [
    "a@b", "a b@example.org", "a@example.org, c@example.org", "a@example.org\nBcc: c@example.org",
    "@example.org",
    "A &lt;a@example.org&gt;", "a@@example.org", "a@exa mple.org", "ä@example.org", "a@-example.org",
    f"{'a' * 65}@example.org", f"a@{'b' * 250}.org", "a@example..org", ".a@example.org", "a@example.org."])
def test_what_is_not_one_address_is_none(address: str) -> None:
    assert of(f"<person>{person(name='Muster', email=address)}</person>") == Applicant(name="Muster")


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=200))
def test_a_name_is_one_short_line(text: str) -> None:
    name = etree.Element("name")
    name.text = text.replace("\ufffe", "").replace("\uffff", "")
    found = of(f"<person><instance>{etree.tostring(name, encoding='unicode')}</instance></person>")
    if found is not None:
        assert found.name and len(found.name) <= 60
        assert found.name.isprintable()


def test_the_ids_are_those_of_the_head() -> None:
    """One list would be better; a stylesheet and a module cannot share one."""
    sheet = HEAD.read_text(encoding="utf-8")
    for name, ids in (("name", applicant.FAMILY_NAMES), ("firma", applicant.COMPANIES),
                      ("email", applicant.MAILS)):
        listed = re.search(rf'name="ids-{name}"\s+select="\'\|([^\']*)\|\'"', sheet)
        assert listed is not None
        assert set(listed[1].split("|")) == set(ids)


# --- what recipients get of it ------------------------------------------------------------------------------


def with_mail(address: str = "erika@example.org") -> bytes:
    return FORM.replace(b"<familienname>", f"<email>{address}</email><familienname>".encode(), 1)


def test_without_a_word_in_the_configuration_nobody_is_told() -> None:
    outcome = applied(with_mail(), rule(["xml"]), case="HS 1")
    assert outcome.applicant is None
    assert outcome.deliveries[0].subject == "Hundesteuer: An-, Ab- oder Ummeldung [01936f00-abcd]"
    assert "hub:reply-to" not in outcome.deliveries[0].properties


@pytest.mark.parametrize(("words", "subject"), [
    (("name",), "Hundesteuer: An-, Ab- oder Ummeldung – Mustermann [01936f00-abcd]"),
    (("case",), "Hundesteuer: An-, Ab- oder Ummeldung – HS 1 [01936f00-abcd]"),
    (("case", "name"), "Hundesteuer: An-, Ab- oder Ummeldung – HS 1 – Mustermann [01936f00-abcd]")])
def test_a_subject_says_the_words_that_are_wanted(words: tuple[str, ...], subject: str) -> None:
    way = rule(["xml"], ["xml"], subject_with=words)
    outcome = applied(with_mail(), way, case="HS 1")
    assert outcome.deliveries[0].subject == subject
    plain = outcome.deliveries[1].subject
    assert plain == "Hundesteuer: An-, Ab- oder Ummeldung [01936f00-abcd]", "the other recipient did not ask"


def test_a_long_case_does_not_push_the_short_number_out() -> None:
    outcome = applied(with_mail(), rule(["xml"], subject_with=("case",)), case="x" * 255)
    assert outcome.deliveries[0].subject.endswith("x… [01936f00-abcd]")
    assert len(outcome.deliveries[0].subject) < 200


def test_answers_go_to_the_applicant_where_the_route_says_so() -> None:
    outcome = applied(with_mail(), rule(["xml"], ["xml"], reply_to="applicant"))
    assert [each.properties.get("hub:reply-to") for each in outcome.deliveries] == ["erika@example.org", None]
    nobody = applied(FORM, rule(["xml"], reply_to="applicant"))
    assert "hub:reply-to" not in nobody.deliveries[0].properties

"""A place is told by labels and ids of ours; what the sender named otherwise is told by number and length."""

from __future__ import annotations

from lxml import etree

from hub.mapping.model import FieldTable
from hub.pipeline.places import field_place, line_of, path_of, table_for
from tests.unit.pipeline.leaks import CANARY, MAPPINGS, rules_of

TABLE = FieldTable(
    group=[{"id": "halter", "title": "Halterin oder Halter"},
           {"id": "hund", "title": "Hund", "instances": True}],
    field=[{"group": "halter", "id": "name", "label": "Name"},
           {"group": "hund", "id": "rasse", "label": "Rasse"}])


def test_a_place_is_named_in_a_clerks_words() -> None:
    assert field_place(TABLE, ("halter", 1), 0, ("name", 1)) == "Halterin oder Halter › Name (halter:0:name)"
    assert field_place(TABLE, ("hund", 2), 1, ("rasse", 1)) == "Hund (2.) › Rasse (hund:1:rasse)"
    assert field_place(TABLE, ("hund", 2), 0) == "Hund (1.) (hund:0)"
    assert field_place(TABLE, ("hund", 2)) == "Hund (hund)"


def test_a_name_that_no_table_knows_is_told_by_number_and_length() -> None:
    assert field_place(TABLE, ("hund", 2), 1, (CANARY, 3)) == (
        "Hund (2.) › 3. Feld (unbekannter Name mit 13 Zeichen)")
    assert field_place(TABLE, (CANARY, 4), 0, ("name", 1)) == (
        "4. Gruppe (unbekannter Name mit 13 Zeichen) › 1. Feld (unbekannter Name mit 4 Zeichen)")


def test_a_name_that_only_the_schema_knows_is_told() -> None:
    assert field_place(TABLE, ("hund", 2), 0, ("betrag", 3), {"betrag"}) == (
        "Hund (1.) › betrag (hund:0:betrag)")
    assert field_place(TABLE, ("ort", 2), 0, schema={"ort"}) == "ort (ort:0)"


def test_a_path_has_names_of_the_schema_only() -> None:
    root = etree.fromstring(f"<a><b/><b><{CANARY}/><c/></b></a>")
    known = {"a", "b", "c"}
    assert path_of(root[1][1], root, known) == "/a/b[2]/c"
    assert path_of(root[1][0], root, known) == "/a/b[2]/*[1]"
    assert path_of(root, root, {"b"}) == "/*"
    assert line_of(root[1]) == 1


def test_the_table_that_knows_a_field_is_found_among_the_versions() -> None:
    rules = rules_of(MAPPINGS / "hundesteuer")
    group, field = next(iter(table_for(rules, "hund").rows))
    assert (group, field) in table_for(rules, group, field).rows
    assert table_for(rules, CANARY).groups == {}
    broken = [rule.model_copy(update={"package": "/nonexistent"}) for rule in rules]
    assert table_for(broken, "hund").groups == {}

"""Trees that a delivery fills in: which strings may stand in them, and what becomes of each."""

from __future__ import annotations

import re
from typing import Any

import pytest

from connectors import _tree
from connectors._tree import Kind, PartValue
from hub.errors import Misconfigured, Permanent
from tests.integration.contract import APPLICATION, make_delivery

JSON: tuple[Kind, ...] = ("base64", "text", "json")
SOAP: tuple[Kind, ...] = ("base64", "text", "xml")


class TestCheck:
    """Before anything runs."""

    @pytest.mark.parametrize("tree", [
        {"a": "{id}", "b": 7, "c": None, "d": [True, 1.5, "{{x}}", {"e": "{base64:pdf}"}]}, "{text:xml}", [],
        {},
        {"each": "attachment", "n": "{part:name}", "in": {"b": "{part:base64}", "t": ["{part:size} {id}"]}}])
    @pytest.mark.parametrize("kinds", [JSON, SOAP])
    def test_good(self, tree: Any, kinds: tuple[Kind, ...]) -> None:
        _tree.check(tree, kinds)

    @pytest.mark.parametrize(("tree", "kinds", "complaint"), [
        ({"a": ["{dog}"]}, JSON, "unknown placeholder {dog}"), ("{xml:xml}", JSON, "only as a whole value"),
        ("{json:json}", SOAP, "only as a whole value"), ("a{base64:pdf}", JSON, "only as a whole value"),
        ("{base64:pdf}{text:xml}", JSON, "only as a whole value"),
        ("{part:name}", JSON, "only in a table with each"),
        ("{part:base64}", JSON, "only as a whole value"), ("{", JSON, "no template"),
        ({"each": 7}, JSON, "names a role"),
        ({"each": "x", "a": "{part:nmae}"}, JSON, "did you mean {part:name}"),
        ({"each": "x", "a": "x{part:base64}"}, JSON, "only as a whole value"),
        ([{"each": "x", "a": "{part:name}"}, "{part:name}"], JSON, "only in a table with each")])
    def test_refused(self, tree: Any, kinds: tuple[Kind, ...], complaint: str) -> None:
        with pytest.raises(ValueError, match=re.escape(complaint)):
            _tree.check(tree, kinds)

    def test_the_known_ones_are_those_of_the_format(self) -> None:
        with pytest.raises(ValueError, match="unknown") as raised:
            _tree.check({"each": "x", "a": "{xml:xml}"}, JSON)
        assert "{base64:…}, {text:…}, {json:…}, {part:base64}" in str(raised.value)
        assert "{xml:…}" not in str(raised.value)


class TestFill:
    """With a delivery."""

    def test_everything(self) -> None:
        delivery = make_delivery([*APPLICATION, ("attachment", "Impfpaß Bello.pdf", "image/png", b"zwei")],
                                 subject="{id}\x00")
        tree = {"id": "{id}", "n": 7, "b": {"s": "{subject}"}, "p": "{base64:pdf}", "x": "{text:xml}",
                "l": ["a", {"each": "attachment", "n": "{part:name} {part:size} {part:media_type}",
                            "c": "{part:base64}"}, "z"]}
        parts = delivery.manifest.parts
        assert _tree.fill(tree, delivery) == {
            "id": delivery.id, "n": 7, "b": {"s": "{id} "}, "p": PartValue("base64", parts[2]),
            "x": PartValue("text", parts[3]), "l": [
                "a", {"n": "Impfpass_Bello.pdf 1013 application/pdf", "c": PartValue("base64", parts[4])},
                {"n": "Impfpass_Bello-2.pdf 4 image/png", "c": PartValue("base64", parts[5])}, "z"]}

    def test_each_of_nothing(self) -> None:
        assert _tree.fill([{"each": "csv", "n": "{part:name}"}], make_delivery()) == []

    @pytest.mark.parametrize(("text", "kind"), [("{base64:csv}", Permanent), ("{property:a}", Misconfigured)])
    def test_what_a_delivery_lacks(self, text: str, kind: type[Exception]) -> None:
        with pytest.raises(kind):
            _tree.fill([text], make_delivery())

    def test_one_of_several(self) -> None:
        assert len(_tree.parts(make_delivery(), "*")) == len(APPLICATION)
        with pytest.raises(Permanent, match="5 Teile"):
            _tree.the_part(make_delivery(), "*")


@pytest.mark.parametrize(("tree", "roles"), [
    ({"a": "{base64:pdf}", "b": ["{text:xml}", {"c": "{id}", "d": 7}]}, {"pdf", "xml"}),
    ({"a": [{"each": "attachment", "n": "{part:name}", "b": "{part:base64}"}]}, {"attachment"}),
    ({"a": [{"each": "*", "n": "{part:name}"}], "b": "{base64:pdf}"}, None), ("{id}", set()), (None, set())])
def test_which_roles_a_tree_takes_up(tree: Any, roles: set[str] | None) -> None:
    assert _tree.roles(tree) == roles

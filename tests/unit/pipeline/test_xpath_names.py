"""The names in an expression, of XPath 1.0 to 3.1."""

from __future__ import annotations

import pytest

from hub.pipeline.xpath_names import Context, expressions_in, names_in

HERE: Context = ("hund", "instance")


@pytest.mark.parametrize(("expression", "steps"), [
    ("a/b[c = 'd']/@e", ["a", "b", "c"]),
    ("count(a) + b * c - d div e", ["a", "b", "c", "d", "e"]),
    ("div div div", ["div", "div"]),
    ("a and not(or) or and", ["a", "or", "and"]),
    ("@x | attribute::y | namespace::z", []),
    ("text() | node() | comment()", []),
    ("$a/b[$c]", ["b"]),
    ("'a' or \"b\" or 1.5e3", []),
    ("for $x in a return $x/b", ["a", "b"]),
    ("if (a) then b else c", ["a", "b", "c"]),
    ("some $x in a satisfies $x eq b", ["a", "b"]),
    ("let $x := a return $x", ["a"]),
    ("a instance of xs:string", ["a"]),
    ("a cast as xs:date", ["a"]),
    ("map{'k': a, 'l': b}?k", ["a", "b"]),
    ("(: c :) a => upper-case()", ["a"]),
    ("a except (b, c)", ["a", "b", "c"]),
    ("p:a/*:b/q:*/c", ["c"]),
    ("self::a/ancestor::b", ["a", "b"]),
    ("a-b - c", ["a-b", "c"]),
    ("größe/straße", ["größe", "straße"])])
def test_elements_without_a_prefix_are_named(expression: str, steps: list[str]) -> None:
    assert [step.name for step in names_in(expression).steps] == steps


@pytest.mark.parametrize(("expression", "befores"), [
    ("rasse", {"rasse": HERE}),
    ("../../halter/instance/name", {"name": ("halter", "instance")}),
    ("$fields/halter/instance[ort]/name", {"ort": ("halter", "instance"), "name": ("halter", "instance")}),
    ("$fields/halter/instance/(name, ort)", {"name": ("halter", "instance"), "ort": ("halter", "instance")}),
    ("concat(rasse, //x)", {"rasse": HERE, "x": (None,)}),
    ("rasse | farbe", {"rasse": HERE, "farbe": HERE}),
    ("(a | b)/c", {"c": (None,)})])
def test_a_name_has_the_steps_before_it(expression: str, befores: dict[str, Context]) -> None:
    found = {step.name: step.before[-2:] for step in names_in(expression, HERE).steps}
    assert {name: found[name] for name in befores} == befores


def test_functions_variables_and_prefixes_are_named() -> None:
    names = names_in("f:x($p:y, document('')) | key('k', a) | q:b")
    assert [(call.name, call.first, call.alone) for call in names.calls] == [
        ("f:x", None, False), ("document", "", True), ("key", "k", False)]
    assert names.variables == ["p:y"]
    assert names.prefixes == {"f", "p", "q"}


def test_braces_hold_expressions() -> None:
    assert list(expressions_in("a{b}c{{d}}{concat('}', x)}{map{'k': 1}?k}")) == [
        "b", "concat('}', x)", "map{'k': 1}?k"]

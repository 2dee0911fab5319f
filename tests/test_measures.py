"""The measures of the house: how large a class, a file and a function may grow before they are split.

They are limits to think at, not targets. What is better larger says why in its docstring, with the words
``Larger than the measure:`` and the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_house import ROOT, tracked

MOST_LINES, MOST_FUNCTION, MOST_METHODS = 500, 60, 30
REASON = "arger than the measure:"
TO_BE_SPLIT = {"hub/store/store.py", "hub/delivery/deliverer.py"}
"""`Store` and `Deliverer` move whole; the engine's rewrite splits them."""

Named = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def too_large(source: str) -> Iterator[str]:
    """What in a module's source is over a measure and does not say why."""
    tree = ast.parse(source)
    lines = source.count("\n")
    if lines > MOST_LINES and REASON not in (ast.get_docstring(tree) or ""):
        yield f"{lines} lines"
    for node in ast.walk(tree):
        if isinstance(node, Named) and (found := _measured(node)) and REASON not in (ast.get_docstring(node)
                                                                                     or ""):
            yield f"{node.name}: {found}"


def _measured(node: Named) -> str | None:
    if isinstance(node, ast.ClassDef):
        methods = sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
                      and not item.name.startswith("_")
                      for item in node.body)
        return f"{methods} public methods" if methods > MOST_METHODS else None
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    return f"{lines} lines" if lines > MOST_FUNCTION else None


MODULES = sorted(file for file in tracked() if file.suffix == ".py")


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_outgrows_its_measure(module: Path) -> None:
    if module.relative_to(ROOT).as_posix() not in TO_BE_SPLIT:
        assert list(too_large(
            module.read_text(encoding="utf-8"))) == [], "split it, or say 'Larger than the measure: …'"


def test_what_waits_for_its_split_still_needs_it() -> None:
    assert [name for name in TO_BE_SPLIT
            if not list(too_large((ROOT / name).read_text(encoding="utf-8")))] == []


def test_what_outgrows_its_measure_is_noticed() -> None:
    methods = "".join(f"    def m{number}(self): ...\n" for number in range(31))
    body = "    x = 1\n" * 60
    assert list(too_large("x = 1\n" * 501)) == ["501 lines"]
    assert list(too_large(f"class Large:\n{methods}")) == ["Large: 31 public methods"]
    assert list(too_large(f"def long():\n{body}")) == ["long: 61 lines"]
    assert list(too_large(f'def long():\n    """Long. L{REASON} a table."""\n{body}')) == []

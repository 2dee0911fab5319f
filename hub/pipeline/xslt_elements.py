"""The elements of XSLT 1.0 with their attributes, and which attributes hold an expression."""

from __future__ import annotations

from collections.abc import Mapping

_NOTHING: frozenset[str] = frozenset()


def _row(words: str) -> frozenset[str]:
    return frozenset(words.split())


ATTRIBUTES_1: Mapping[str, frozenset[str]] = {
    "stylesheet": _row("id extension-element-prefixes exclude-result-prefixes version"),
    "transform": _row("id extension-element-prefixes exclude-result-prefixes version"),
    "import": _row("href"), "include": _row("href"),
    "strip-space": _row("elements"), "preserve-space": _row("elements"),
    "output": _row("method version encoding omit-xml-declaration standalone doctype-public doctype-system "
                   "cdata-section-elements indent media-type"),
    "key": _row("name match use"),
    "decimal-format": _row("name decimal-separator grouping-separator infinity minus-sign NaN percent "
                           "per-mille zero-digit digit pattern-separator"),
    "namespace-alias": _row("stylesheet-prefix result-prefix"),
    "attribute-set": _row("name use-attribute-sets"),
    "variable": _row("name select"), "param": _row("name select"), "with-param": _row("name select"),
    "template": _row("match name priority mode"),
    "apply-templates": _row("select mode"), "apply-imports": _NOTHING, "call-template": _row("name"),
    "element": _row("name namespace use-attribute-sets"), "attribute": _row("name namespace"),
    "text": _row("disable-output-escaping"), "processing-instruction": _row("name"), "comment": _NOTHING,
    "copy": _row("use-attribute-sets"), "copy-of": _row("select"),
    "value-of": _row("select disable-output-escaping"),
    "number": _row("level count from value format lang letter-value grouping-separator grouping-size"),
    "for-each": _row("select"), "if": _row("test"), "choose": _NOTHING, "when": _row("test"),
    "otherwise": _NOTHING, "sort": _row("select lang data-type order case-order"),
    "message": _row("terminate"), "fallback": _NOTHING,
}
"""XSLT 1.0, appendix B; libxslt passes over what is not in it."""

EXPRESSIONS = _row("select match test use value count from group-by group-adjacent group-starting-with "
                   "group-ending-with initial-value use-when key xpath context-item with-params")
"""Attributes of XSLT's own elements (1.0 to 3.0) that are an expression as a whole; others may hold some in
braces."""

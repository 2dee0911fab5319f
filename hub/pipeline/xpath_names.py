"""The names in an XPath expression: elements with the group they stand in, functions, variables, prefixes.

An expression is taken apart into words, not understood. That is enough to say which fields it names, which
functions it calls and which prefixes it uses. Versions 1.0 to 3.1 are read.

A name is looked at together with the steps before it: in ``$fields/hund/instance/rasse`` the field ``rasse``
stands in the group ``hund``. `Context` says where an expression begins, for one within
``<xsl:template match="hund/instance">``.

BUGS: what a variable or a function returns is not known, so the steps after it have no group.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

Context = tuple[str | None, ...]
"""The last steps before an expression; None: any element."""

UNKNOWN: Context = (None,)

_NC = r"[^\W\d][\w.·-]*"
_TOKEN = re.compile(
    rf"""(?P<space>\s+) | (?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*") | (?P<braced>Q\{{[^{{}}]*\}}(?:{_NC}|\*))
    | (?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | \$\s*(?P<variable>{_NC}(?::{_NC})?) | (?P<any>\*:{_NC}|{_NC}:\*) | (?P<name>{_NC}(?::(?!:){_NC})?)
    | (?P<sign>::|:=|//|\.\.|<=|>=|!=|<<|>>|\|\||=>|[()\[\]{{}},/@.*|+<>=!?:\#-])""", re.VERBOSE)
_KINDS = frozenset({
    "text", "node", "comment", "processing-instruction", "element", "attribute", "document-node", "item",
    "schema-element", "schema-attribute", "namespace-node", "empty-sequence", "map", "array", "function",
    "if", "switch", "typeswitch"})
"""What looks like a call and is none."""
_BESIDE = frozenset({"attribute", "namespace"})
_DOWN = frozenset({"child"})
_OF_TYPE = frozenset({"instance", "cast", "castable", "treat"})


@dataclass(frozen=True, slots=True)
class Step:
    """An element's name without prefix, and the steps before it."""

    name: str
    before: Context


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function; `first` is its first argument where that is a literal text."""

    name: str
    first: str | None = None
    alone: bool = False
    """Whether the first argument is the only one."""


@dataclass(slots=True)
class Names:
    """What an expression names. `end` is where it leads to, when it is one path."""

    steps: list[Step] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    prefixes: set[str] = field(default_factory=set)
    end: Context = UNKNOWN


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def names_in(expression: str, context: Context = UNKNOWN) -> Names:
    """The names of an expression that begins at `context`."""
    reader = _Reader(_tokens(expression), context)
    reader.read()
    return reader.names


def expressions_in(text: str) -> Iterator[str]:
    """The expressions between the braces of an attribute value template (or of a text value template)."""
    depth, begin, quote, at = 0, 0, "", 0
    while at < len(text):
        sign = text[at]
        if not depth and text[at:at + 2] in ("{{", "}}"):
            at += 1
        elif quote:
            quote = "" if sign == quote else quote
        elif depth and sign in "'\"":
            quote = sign
        elif sign == "{":
            depth += 1
            begin = at + 1 if depth == 1 else begin
        elif sign == "}" and depth:
            depth -= 1
            if not depth:
                yield text[begin:at]
        at += 1


def _tokens(expression: str) -> list[_Token]:
    return [_Token(str(found.lastgroup), found[str(found.lastgroup)])
            for found in _TOKEN.finditer(_without_comments(expression)) if found.lastgroup != "space"]


def _without_comments(expression: str) -> str:
    return re.sub(r"\(:.*?:\)", " ", expression, flags=re.DOTALL) if "(:" in expression else expression


class _Reader:
    """Goes through the words once. `trail` are the steps of the path at hand; `begin` is where a new path of
    the same bracket begins."""

    def __init__(self, tokens: list[_Token], context: Context) -> None:
        self.names = Names()
        self._tokens = tokens
        self._begin = self._trail = context
        self._brackets: list[tuple[str, Context, Context]] = []
        self._axis = ""
        self._operand = False
        self._paths = 0
        self._kinds: Mapping[str, Callable[[str, str, str, int], None]] = {
            "text": self._value, "number": self._value, "braced": self._value, "variable": self._variable,
            "any": self._any, "name": self._name, "sign": self._sign}

    def read(self) -> None:
        """Fill `names`."""
        for at, token in enumerate(self._tokens):
            after = self._tokens[at + 1].text if at + 1 < len(self._tokens) else ""
            before = self._tokens[at - 1].text if at else ""
            self._kinds[token.kind](token.text, before, after, at)
        self.names.end = self._trail if not self._paths else UNKNOWN

    def _value(self, _text: str, _before: str, _after: str, _at: int) -> None:
        self._is_operand(UNKNOWN)

    def _variable(self, text: str, _before: str, _after: str, _at: int) -> None:
        self.names.variables.append(text)
        self._prefix(text)
        self._is_operand(UNKNOWN)

    def _any(self, text: str, _before: str, _after: str, _at: int) -> None:
        if text.endswith(":*"):
            self._prefix(text)
        self._is_operand((*self._trail, None))

    def _name(self, text: str, before: str, after: str, at: int) -> None:
        if after == "::":
            self._axis = text
        elif self._operand and before not in ("/", "//", "@", "::", "?"):
            self._operator()
        elif before == "?" or (after in ("$", "{") and ":" not in text) or self._is_binding(text, at):
            self._operand = before == "?"
        elif before in _OF_TYPE | {"of"} and text in ("of", "as") and not self._operand:
            pass
        elif after in ("(", "#"):
            self._call(text, at)
        else:
            self._step(text, before)

    def _is_binding(self, text: str, at: int) -> bool:
        """Whether it is the ``for`` of ``for $x in …``."""
        return (text in ("for", "let", "some", "every") and at + 1 < len(self._tokens)
                and self._tokens[at + 1].kind == "variable")

    def _call(self, text: str, at: int) -> None:
        self._prefix(text)
        if text in _KINDS:
            return
        inside = self._tokens[at + 2:at + 4]
        first = inside[0].text[1:-1] if inside and inside[0].kind == "text" else None
        self.names.calls.append(Call(text, first, len(inside) > 1 and inside[1].text == ")"))

    def _step(self, text: str, before: str) -> None:
        self._prefix(text)
        beside = before == "@" or self._axis in _BESIDE
        if not beside and ":" not in text:
            straight = not self._axis or self._axis in _DOWN
            self.names.steps.append(Step(text, self._trail if straight else UNKNOWN))
        if beside or ":" in text:
            trail: Context = UNKNOWN if beside else (*self._trail, None)
        elif not self._axis or self._axis in _DOWN:
            trail = (*self._trail, text)
        else:
            trail = (None, text)
        self._axis = ""
        self._is_operand(trail)

    def _sign(self, text: str, before: str, _after: str, at: int) -> None:
        if text in "([{":
            self._open(text, before, at)
        elif text in ")]}":
            self._close()
        elif text in ("/", "//"):
            absolute = not self._operand
            self._trail = UNKNOWN if absolute or text == "//" else self._trail
            self._operand = False
        elif text == "..":
            self._is_operand(self._trail[:-1] or UNKNOWN)
        elif text == ".":
            self._is_operand(self._trail)
        elif text == "*" and not self._operand:
            self._axis = ""
            self._is_operand((*self._trail, None))
        elif text not in ("@", "::", "?", "#"):
            self._operator()

    def _open(self, text: str, before: str, at: int) -> None:
        within = text == "[" or before == "/"
        called = text == "(" and at > 0 and self._tokens[at - 1].kind == "name"
        begin = self._trail if within else self._begin
        kind = "[" if text == "[" else "call" if called else "path" if before == "/" else text
        self._brackets.append((kind, self._begin, self._trail))
        self._begin = self._trail = begin
        self._operand = False

    def _close(self) -> None:
        if not self._brackets:
            return
        kind, begin, trail = self._brackets.pop()
        self._begin = begin
        self._trail = trail if kind == "[" else UNKNOWN
        self._axis = ""
        self._operand = True

    def _operator(self) -> None:
        if not self._brackets:
            self._paths += 1
        self._trail = self._begin
        self._operand = False

    def _is_operand(self, trail: Context) -> None:
        self._trail = trail
        self._operand = True

    def _prefix(self, text: str) -> None:
        prefix, colon, _ = text.partition(":")
        if colon and prefix != "*":
            self.names.prefixes.add(prefix)

"""The schema of a field table: ``fields.xsd`` written from ``fields.toml``, so that the two agree from the
first day.

Every field is optional and may be empty, because whether one is needed depends on others and stands in the
rules. A text whose id names its format (`FORMATS`) gets that format. What comes out is an ordinary file: a
mapping may go on by hand, with formats of its own; the repository's tests compare table and schema whoever
wrote them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import quoteattr

from hub.mapping.model import FieldRow, FieldTable, GroupRow

FORMATS = {  # by the field's id: a pattern of XML Schema
    "plz": r"\d{5}",
    "email": r"[^@\s]+@[^@\s]+",
    "iban": r"[A-Z]{2}\d{2}( ?[A-Z0-9]){11,30} ?",  # structure only; check digits are a rule
    "bic": "[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?",
}
_TYPES = {"integer": "e:ganzzahl", "decimal": "e:dezimalzahl", "money": "e:geld", "boolean": "e:jaNein",
          "date": "e:datum",
          "time": "e:uhrzeit", "file": "e:datei", "files": "e:dateien"}
_SIMPLE = {  # name of the type: its base and facets
    "ganzzahl": ("xs:nonNegativeInteger", ()),
    "dezimalzahl": ("xs:decimal", (("fractionDigits", "4"), ("minInclusive", "0"))),
    "geld": ("xs:decimal", (("fractionDigits", "2"), ("minInclusive", "0"), ("maxInclusive", "9999999.99"))),
    "jaNein": ("xs:boolean", (("pattern", "true|false"),)),
    "datum": ("xs:date", (("pattern", r"\d{4}-\d{2}-\d{2}"), ("minInclusive", "1900-01-01"),
                          ("maxInclusive", "2199-12-31"))),
    "uhrzeit": ("xs:time", (("pattern", r"\d{2}:\d{2}:\d{2}"),)),
    **{name: ("xs:string", (("pattern", pattern),)) for name, pattern in FORMATS.items()},
}
_HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!-- The typed fields of the form. Every field is optional and may be empty: whether one is needed depends \
on others, so
     that stands in rules.sch. A field unknown here parks the message; otherwise the procedure would \
silently miss it. -->
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:e="urn:datendrehscheibe:envelope:1"
           targetNamespace="urn:datendrehscheibe:envelope:1" elementFormDefault="unqualified">
"""
_EMPTY = """
  <xs:simpleType name="leer">
    <xs:restriction base="xs:string"><xs:length value="0"/></xs:restriction>
  </xs:simpleType>
"""
_FILES = """
  <xs:complexType name="anlage">
    <xs:attribute name="ref" type="xs:positiveInteger" use="required"/>
  </xs:complexType>
"""
_FILE = """
  <!-- mixed: the oldest forms leave a text here and send the file beside the document -->
  <xs:complexType name="{name}" mixed="true">
    <xs:sequence><xs:element name="attachment" type="e:anlage" minOccurs="0"{most}/></xs:sequence>
  </xs:complexType>
"""


def schema_of(table: FieldTable) -> str:
    """The text of ``fields.xsd`` for a field table."""
    used = {type_of(row) for row in table.field}
    lists = dict.fromkeys(row.values for row in table.field if row.values)
    several = {row.values for row in table.field if row.type == "choices"}
    parts = [_HEAD, _root(table.group), *(_group(group, table) for group in table.group), _EMPTY,
             *(_simple(name, base, facets) for name, (base, facets) in _SIMPLE.items()
               if f"e:{name}" in used)]
    for name in lists:
        parts.append(_values(str(name), table.values[str(name)]))
        parts += [_list(str(name))] if name in several else []
    if used & {"e:datei", "e:dateien"}:
        parts.append(_FILES)
    parts += [_FILE.format(name=name, most=most)
              for name, most in (("datei", ""), ("dateien", ' maxOccurs="unbounded"'))
              if f"e:{name}" in used]
    return "".join([*parts, "</xs:schema>\n"])


def type_of(row: FieldRow) -> str:
    """The name of the schema's type for a field."""
    if row.type == "choice":
        return f"e:wert.{row.values}"
    if row.type == "choices":
        return f"e:werte.{row.values}"
    if row.type == "text" and row.id in FORMATS:
        return f"e:{row.id}"
    return _TYPES.get(row.type, "xs:string")


def _root(groups: Iterable[GroupRow]) -> str:
    lines = ['  <xs:element name="fields">', "    <xs:complexType>", "      <xs:all>"]
    for group in groups:
        most = ' maxOccurs="unbounded"' if group.instances else ""
        lines += [f'        <xs:element name="{group.id}" minOccurs="0">', "          <xs:complexType>",
                  "            <xs:sequence>",
                  f'              <xs:element name="instance" type="e:gruppe.{group.id}" '
                  f'minOccurs="0"{most}/>',
                  "            </xs:sequence>", "          </xs:complexType>", "        </xs:element>"]
    return "\n".join([*lines, "      </xs:all>", "    </xs:complexType>", "  </xs:element>", ""])


def _group(group: GroupRow, table: FieldTable) -> str:
    rows = [row for row in table.field if row.group == group.id]
    return "\n".join(["", f'  <xs:complexType name="gruppe.{group.id}">', "    <xs:all>",
                      *(f'      <xs:element name="{row.id}" type="{type_of(row)}" minOccurs="0"/>'
                        for row in rows),
                      "    </xs:all>",
                      '    <xs:attribute name="n" type="xs:nonNegativeInteger" use="required"/>',
                      "  </xs:complexType>", ""])


def _simple(name: str, base: str, facets: Iterable[tuple[str, str]]) -> str:
    return "\n".join(["", f'  <xs:simpleType name="{name}">', *_or_empty(base, facets), "  </xs:simpleType>",
                      ""])


def _values(name: str, values: Iterable[str]) -> str:
    return _simple(f"wert.{name}", "xs:string", [("enumeration", value) for value in values])


def _or_empty(base: str, facets: Iterable[tuple[str, str]]) -> Iterator[str]:
    yield '    <xs:union memberTypes="e:leer">'
    yield "      <xs:simpleType>"
    yield f'        <xs:restriction base="{base}">'
    for facet, value in facets:
        yield f"          <xs:{facet} value={quoteattr(value)}/>"
    yield from ("        </xs:restriction>", "      </xs:simpleType>", "    </xs:union>")


def _list(name: str) -> str:
    return "\n".join(["", f'  <xs:complexType name="werte.{name}">', "    <xs:sequence>",
                      f'      <xs:element name="value" type="e:wert.{name}" minOccurs="0" '
                      'maxOccurs="unbounded"/>',
                      "    </xs:sequence>", "  </xs:complexType>", ""])

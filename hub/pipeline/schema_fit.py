"""Do field table, schema and rules of a mapping's version speak of the same fields?

The schema is asked, not read: an element for each field of the table is shown to it, so it may be written in
any way. Only the other direction, fields that stand in the schema alone, is found by their names.

Faults are lines ``fields.xsd: hund:rasse: what is wrong: what to do``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from lxml import etree

from hub.mapping.model import FieldRow, FieldTable
from hub.pipeline.fields import E
from hub.pipeline.places import line_of
from hub.pipeline.schema_faults import entries
from hub.pipeline.schema_sets import XS, Catalogue, compile_schema
from hub.pipeline.schematron import SCH
from hub.pipeline.xpath_names import UNKNOWN, Context, names_in

OWN = frozenset({"fields", "instance", "value", "attachment"})
"""Elements of the envelope that are no field."""

_NOT_EXPECTED = "SCHEMAV_ELEMENT_CONTENT"
"""libxml2's kind of the error that an element must not stand here."""

_EXAMPLES: Mapping[str, Sequence[str]] = {
    "integer": ("1", "0", "10", "100", "2000", "20000", "5"), "decimal": ("1", "0.5", "10", "100", "1000"),
    "money": ("1.00", "10.00", "100.00", "1000.00", "0.50"), "boolean": ("true", "false"),
    "date": ("2026-06-20", "2000-01-01", "1970-01-01", "2030-12-31"),
    "time": ("10:00:00", "23:59:00", "00:00:00")}
"""Values of a type as the typed envelope has them. A schema that takes none of them is of another type."""


def schema_faults(table: FieldTable, file: Path) -> Iterator[str]:
    """What the table has and the schema does not take, and the other way round. Raises `ConfigError` when the
    schema cannot be compiled."""
    file = file.resolve()
    schema = compile_schema(file, Catalogue(file.parent).parser(file))
    form = _Form(table, [name for name, _ in _names(file)])
    for group in table.group:
        if not form.takes_group(schema, group.id):
            yield f"{file.name}: {group.id}: the schema has no such group: drehscheibe mapping schema --write"
            continue
        if group.instances and not _takes_two(schema, group.id):
            yield (f"{file.name}: {group.id}: the schema takes one instance only: "
                   "drehscheibe mapping schema --write")
        for row in table.rows_of.get(group.id, {}).values():
            yield from _field_faults(schema, form, row, file)
    known = {*OWN, *table.groups, *(row.id for row in table.field)}
    for name, line in _names(file):
        if name not in known:
            yield (f"{file.name}: line {line}: {name} is no field of fields.toml: add it there, "
                   "or remove it here")


def rule_faults(table: FieldTable, file: Path) -> Iterator[str]:
    """Fields that the rules name and the table does not have."""
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False, remove_comments=True)
    known = {*OWN, *table.groups, *(row.id for row in table.field)}
    for element, expression, context in _rule_expressions(etree.parse(str(file), parser).getroot()):
        for step in names_in(expression, context).steps:
            group = step.before[-2] if step.before[-1:] == ("instance",) and len(step.before) > 1 else None
            where = f"{file.name}: line {line_of(element)}"
            if step.name not in known:
                yield f"{where}: {step.name} is no field of the form: correct the name, or the field table"
            elif group in table.groups and step.name not in {*table.rows_of.get(str(group), {}), *OWN}:
                yield f"{where}: {step.name} is no field of {group}: correct the name, or the field table"


def _rule_expressions(root: etree._Element) -> Iterator[tuple[etree._Element, str, Context]]:
    """Each expression of the rules with the context that it begins at."""
    for element in root.iter(etree.Element):
        above = element.getparent()
        if above is not None and above.get("abstract") == "true":
            continue  # it names what another pattern hands to it
        rule = next(element.iterancestors(f"{SCH}rule"), None)
        context = names_in(rule.get("context", "")).end if rule is not None else UNKNOWN
        for name in ("context", "test", "select", "value", "path"):
            if element.get(name) and str(element.tag).startswith(SCH):
                yield element, element.get(name, ""), UNKNOWN if name == "context" else context


class _Form:
    """The groups and fields of a table that the schema declares, in its order: one that asks for an order
    takes a field only behind those before it."""

    def __init__(self, table: FieldTable, declared: Sequence[str]) -> None:
        place = {name: number for number, name in reversed(list(enumerate(declared)))}
        self.table = table
        self._strange = not set(declared) <= {*OWN, *table.groups, *(row.id for row in table.field)}
        self._declared = frozenset(declared)
        self._groups = sorted((group.id for group in table.group if group.id in place), key=place.__getitem__)
        self._fields = {group: sorted((name for name in table.rows_of.get(group, {}) if name in place),
                                      key=place.__getitem__) for group in self._groups}

    def shown(self, group: str | None = None, field: etree._Element | None = None) -> etree._Element:
        """``e:fields`` with everything empty but this field of the group."""
        root = etree.Element(f"{E}fields")
        for name in self._groups:
            instance = etree.SubElement(etree.SubElement(root, name), "instance")
            instance.set("n", "0")
            instance.extend(field if field is not None and (name, each) == (group, field.tag)
                            else etree.Element(each) for each in self._fields[name])
        return root

    def may_be_held_up(self, name: str) -> bool:
        """Whether a field may be missed because the schema asks for one before it that the table does not
        have. That one is told of, and this one is judged once it is gone."""
        return self._strange and name in self._declared

    def takes_group(self, schema: etree.XMLSchema, group: str) -> bool:
        """Whether the schema takes the group, alone or among all others."""
        return _takes(schema, _shown(group, []), group) or (
            group in self._groups and _takes(schema, self.shown(), group))

    def takes(self, schema: etree.XMLSchema, row: FieldRow, make: Callable[[], etree._Element],
              *names: str, empty: bool = False) -> bool:
        """Whether the schema takes what is made for the row, alone or among all others."""
        if _takes(schema, _shown(row.group, [make()]), *names, group=row.group, empty=empty):
            return True
        return (row.id in self._fields.get(row.group, ())
                and _takes(schema, self.shown(row.group, make()), *names, group=row.group, empty=empty))


def _field_faults(schema: etree.XMLSchema, form: _Form, row: FieldRow, file: Path) -> Iterator[str]:
    where = f"{file.name}: {row.group}:{row.id}"
    if not form.takes(schema, row, lambda: etree.Element(row.id), row.id, empty=True):
        if not form.may_be_held_up(row.id):
            yield f"{where}: the schema has no such field: drehscheibe mapping schema --write"
        return
    examples = _EXAMPLES.get(row.type, ())
    if examples and not any(form.takes(schema, row, partial(_with, row, text), row.id) for text in examples):
        yield f"{where}: the schema takes no {row.type}: correct the type here or there"
    for code in form.table.values.get(row.values or "", {}):
        if not form.takes(schema, row, partial(_with, row, code), row.id, "value"):
            yield (f"{where}: the schema does not take the code {code!r} of values.{row.values}: correct the "
                   "list here or there")
    if row.type in ("file", "files") and not form.takes(schema, row, partial(_with_file, row), row.id,
                                                        "attachment"):
        yield f"{where}: the schema takes no {row.type}: correct the type here or there"


def _with_file(row: FieldRow) -> etree._Element:
    carrier = etree.Element(row.id)
    etree.SubElement(carrier, "attachment").set("ref", "1")
    return carrier


def _with(row: FieldRow, text: str) -> etree._Element:
    field = etree.Element(row.id)
    carrier = etree.SubElement(field, "value") if row.type == "choices" else field
    carrier.text = text
    return field


def _shown(group: str, fields: Sequence[etree._Element], instances: int = 1) -> etree._Element:
    """``e:fields`` with one group, and within it these fields."""
    root = etree.Element(f"{E}fields")
    holder = etree.SubElement(root, group)
    for number in range(instances):
        instance = etree.SubElement(holder, "instance")
        instance.set("n", str(number))
        instance.extend(fields)
    return root


def _takes(schema: etree.XMLSchema, shown: etree._Element, *names: str, group: str | None = None,
           empty: bool = False) -> bool:
    """Whether the schema has no objection to an element of these names in the group, nor to the group: what
    stands in one that is not expected is not looked at. That another field is missing beside it is none, nor,
    of one that is shown `empty`, that it must not be."""
    if schema.validate(shown):
        return True
    places = ([step.partition("[")[0] for step in str(entry.path or "").split("/")]
              for entry in entries(schema) if not empty or entry.type_name == _NOT_EXPECTED)
    return not any(steps[-1] == group or (steps[-1] in names and (group is None or group in steps))
                   for steps in places)


def _takes_two(schema: etree.XMLSchema, group: str) -> bool:
    """Whether the schema objects to a second instance no more than to the first."""
    schema.validate(_shown(group, [], instances=2))
    places: list[str] = [str(entry.path or "") for entry in entries(schema)]
    first, second = (any(place.endswith(f"/instance[{n}]") for place in places) for n in (1, 2))
    return first or not second


def _names(file: Path) -> Iterator[tuple[str, int]]:
    """The elements that a schema declares, by name, with their lines."""
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)
    for element in etree.parse(str(file), parser).getroot().iter(f"{XS}element"):
        if element.get("name"):
            yield element.get("name", ""), line_of(element)

"""Where something is in a message, said by a mapping's labels and ids and by numbers.

Names of groups, fields and elements come from the sender. A name is told where a field table or a schema
knows it. Any other is told by its position and its length::

    Angaben zum Hund (2.) › Rasse (hund:1:rasse)
    Angaben zum Hund (2.) › 3. Feld (unbekannter Name mit 12 Zeichen)
    /fields/hund/instance[2]/*[3]
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from lxml import etree

from hub.errors import ConfigError
from hub.i18n.sentence import Name, Place, Words, place
from hub.job import Rule
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.model import FieldTable, GroupRow

NOWHERE = place("gesamte Nachricht")


def field_place(table: FieldTable, group: tuple[str, int], n: int | None = None,
                field: tuple[str, int] | None = None, schema: Collection[str] = ()) -> Place:
    """Where a group or a field is. `group` and `field` are each the sender's name and the position, counted
    from 1; `n` is the number of the instance, counted from 0. `schema` has further names of ours."""
    name, position = group
    row = table.groups.get(name)
    if row is None and name not in schema:
        title = unknown("Gruppe", name, position)
        return title if field is None else place("{title} › {field}", title=title,
                                                 field=unknown("Feld", *field))
    title, id_ = _title(name, row)
    if n is not None and (n > 0 or (row is not None and row.instances)):
        title = place("{title} ({number}.)", title=title, number=n + 1)
    if n is not None:
        id_ = place("{id}:{n}", id=id_, n=n)
    if field is None:
        return place("{title} ({id})", title=title, id=id_)
    known = table.rows.get((name, field[0]))
    if known is None and field[0] not in schema:
        return place("{title} › {field}", title=title, field=unknown("Feld", *field))
    label = place("{label}", label=Words(known.label) if known else Name(field[0]))
    return place("{title} › {label} ({id}:{field})", title=title, label=label, id=id_, field=Name(field[0]))


def _title(name: str, row: GroupRow | None) -> tuple[Place, Place]:
    """What a group of ours is called, and its id."""
    if row is not None:
        return place("{title}", title=Words(row.title)), place("{id}", id=Name(row.id))
    return place("{name}", name=Name(name)), place("{name}", name=Name(name))


def unknown(what: str, name: str, position: int) -> Place:
    """Something whose name no table knows: ``3. Feld (unbekannter Name mit 12 Zeichen)``."""
    return place("{position}. {what} (unbekannter Name mit {length} Zeichen)", position=position,
                 what=Name(what), length=len(name))


def table_for(rules: Sequence[Rule], group: str, field: str | None = None) -> FieldTable:
    """The field table, of those of the rules, that knows a field, or at least its group; else an empty one.

    Asked before a route is found, so all rules of the message's service are looked into.
    """
    tables: list[FieldTable] = []
    for rule in rules:
        with suppress(ConfigError):  # the message has its reason already: a broken table is no second one
            tables += _tables(rule)
    for table in tables:
        if field is not None and (group, field) in table.rows:
            return table
    return next((table for table in tables if group in table.groups), FieldTable())


def _tables(rule: Rule) -> list[FieldTable]:
    folder = Path(rule.package)
    return [load_fields(folder / version.name / version.fields) for version in load_mapping(folder).version
            if version.name == rule.mapping_version and version.fields]


def path_of(element: etree._Element, root: etree._Element, known: Collection[str]) -> Place:
    """Where an element is, by local names that a schema knows: ``/fields/halter/instance[2]/name``."""
    steps = [_step(step, known) for step in _down_to(element, root)]
    path = place("/{name}", name=Name(_local(root))) if _local(root) in known else place("/*")
    for step in steps:
        path = place("{path}/{step}", path=path, step=step)
    return path


def line_of(element: etree._Element) -> int:
    """The line of an element in its file; 0 where it is not known."""
    line: object = element.sourceline
    return line if isinstance(line, int) else 0


def _down_to(element: etree._Element, root: etree._Element) -> list[etree._Element]:
    steps: list[etree._Element] = []
    here: etree._Element | None = element
    while here is not None and here is not root:
        steps.append(here)
        here = here.getparent()
    return steps[::-1]


def _step(element: etree._Element, known: Collection[str]) -> Place:
    parent = element.getparent()
    name = _local(element)
    if name not in known:
        position = parent.index(element) + 1 if parent is not None else 1
        return place("*[{position}]", position=position)
    same = parent.findall(str(element.tag)) if parent is not None else [element]
    if len(same) == 1:
        return place("{name}", name=Name(name))
    return place("{name}[{number}]", name=Name(name), number=same.index(element) + 1)


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname

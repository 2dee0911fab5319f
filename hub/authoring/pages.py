"""A mapping's own page, written from the mapping: ``drehscheibe mapping doc``, and ``make docs`` for
`docs/services/`.

For the people who talk about a service without reading its files: which fields a form has, what a clerk may
be told, what each receiver can get, from when to when a version holds. A test keeps the committed pages equal
to what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lxml import etree

from hub.files.toml import read_toml
from hub.mapping.loader import load_fields, load_mapping
from hub.mapping.model import FieldTable, MappingFile, MappingVersion

_SCH = "{http://purl.oclc.org/dsdl/schematron}"
_GENERATED = "<!-- Written by `make docs` from the mapping: change it there. -->"


def write_pages(mappings: Path, into: Path) -> list[Path]:
    """A page for every service, and the list of them. Raises `ConfigError` when a mapping is faulty."""
    into.mkdir(parents=True, exist_ok=True)
    wanted = pages(mappings)
    for old in into.glob("*.md"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (into / name).write_text(text, encoding="utf-8")
    return [into / name for name in wanted]


def pages(mappings: Path) -> dict[str, str]:
    """The texts by file name."""
    folders = sorted(file.parent for file in mappings.glob("*/mapping.toml"))
    return {"README.md": _overview([load_mapping(folder) for folder in folders]),
            **{f"{folder.name}.md": page(folder) for folder in folders}}


def page(folder: Path) -> str:
    """The page of one service."""
    mapping = load_mapping(folder)
    lines = [f"# {mapping.title}", "", _GENERATED, "", *_remarks(folder / "mapping.toml"),
             f"Service `{mapping.service}`, category *{mapping.category}*"
             + (f", Leistungsschlüssel {mapping.leistung}" if mapping.leistung else "") + ".", ""]
    for version in mapping.version:
        lines += _version(folder, version)
    return "\n".join([*lines, "## Examples", "", *_examples(folder)]) + "\n"


def _overview(found: Sequence[MappingFile]) -> str:
    rows = [(f"[{mapping.title}]({mapping.service}.md)", f"`{mapping.service}`", mapping.category,
             "<br>".join(f"{version.name}: {_valid(version)}" for version in mapping.version))
            for mapping in found]
    return "\n".join(["# The services", "", _GENERATED, "",
                      *_table(("", "service", "category", "versions"), rows)]) + "\n"


def _remarks(file: Path) -> Iterator[str]:
    """The comment at the head of ``mapping.toml``: what the mapping rests on."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        yield line.removeprefix("#").strip()
    yield ""


def _version(folder: Path, version: MappingVersion) -> list[str]:
    forms = ", ".join(f"`{form}`" for form in version.forms) or "any form"
    lines = [f"## Version {version.name}", "",
             f"{version.subject}. Takes {forms} `{version.versions}`, {_valid(version)}.", ""]
    if version.fields:
        lines += _fields(load_fields(folder / version.name / version.fields))
    if version.rules:
        lines += ["### Rules", "", "An application that breaks one is parked, and the clerk reads:", "",
                  *(f"* {text}" for text in rule_texts(folder / version.name / version.rules)), ""]
    rows = [(f"`{name}`", rendering.role, f"`{rendering.file}`", rendering.media_type,
             _source(rendering.stylesheet,
rendering.applicant_pdf)) for name, rendering in version.renderings.items()]
    return [*lines, "### Renderings", "", *_table(("`send`", "role", "file", "media type", "from"), rows)]


def _valid(version: MappingVersion) -> str:
    begin = f"from {version.valid_from}" if version.valid_from else "always"
    return f"{begin}, until before {version.valid_until}" if version.valid_until else begin


def _source(stylesheet: str | None, applicant_pdf: bool) -> str:
    made = f"`{stylesheet}`" if stylesheet else ""
    return " else ".join(part for part in ("the applicant's PDF" if applicant_pdf else "", made) if part)


def _fields(table: FieldTable) -> Iterator[str]:
    yield from ("### Fields", "")
    for group in table.group:
        rows = [(f"`{row.id}`", row.label, row.type, f"`{row.values}`" if row.values else "")
                for row in table.field if row.group == group.id]
        yield from (f"**{group.title}** (`{group.id}`{', several' if group.instances else ''})", "")
        yield from _table(("id", "label", "type", "values"), rows)
    if table.values:
        yield from ("### Value lists", "")
    for name, values in table.values.items():
        yield from (f"`{name}`: " + ", ".join(f"`{value}` {label}" for value, label in values.items()), "")


def rule_texts(file: Path) -> Iterator[str]:
    """The sentences of a rule file; a counted number becomes *n*."""
    for rule in etree.parse(str(file)).iter(f"{_SCH}assert", f"{_SCH}report"):
        parts = [rule.text or "", *(f"*n*{child.tail or ''}" for child in rule)]
        yield " ".join("".join(parts).split()) + (" (warning only)" if rule.get("role") == "warning" else "")


def _examples(folder: Path) -> Iterator[str]:
    rows = []
    for file in sorted(folder.glob("examples/*/example.toml")):
        settings = read_toml(file)
        parked = settings.get("parked")
        outcome = f"parked: {parked}" if parked else f"delivered ({settings.get('version', 'any version')})"
        rows.append((f"`{file.parent.name}`", settings.get("description", ""), outcome))
    yield from _table(("example", "what it is", "ends"), rows)
    first = rows[0][0].strip("`") if rows else "<example>"
    yield f"Look at one: `drehscheibe mapping preview {folder.name} {first}`"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |"
    yield ""

"""``drehscheibe mapping new``: the folder of a new service, complete from the first minute.

What it makes passes its own ``mapping test`` and every check of the repository on mappings: field table,
schema, rules, stylesheet, and three examples (smallest, full, parked) with their expected outputs. From there
on it is changed until it is the real form: `docs/mappings.md` says how. The files come from
``hub/authoring/new_service/``, the examples from the new field table.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from hub.authoring.examples import Result, run_examples
from hub.authoring.schema_writer import schema_of
from hub.errors import ConfigError
from hub.mapping.loader import load_fields

TEMPLATES = Path(__file__).with_name("new_service")
DEFAULT_GROUPS = {"anliegen": "Anliegen"}
MOST_GROUPS = 7  # the parked example must show every rule, and a clerk is told ten
_SERVICE = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_GROUP = re.compile(r"(?!xml)[a-z][A-Za-z0-9_]*")
_TAKEN = ("antragsteller", "nachweise", "erklaerung")

_Form = Mapping[str, Sequence[Mapping[str, str]]]


def new_service(mappings: Path, service: str, title: str | None = None,
                groups: Mapping[str, str] | None = None,
                category: str = "einfach") -> list[Result]:
    """Make ``mappings/<service>`` and run its examples; `groups` are ids with titles, in reading order.

    Raises `ConfigError` when the name or a group does not fit, or the folder exists.
    """
    folder, groups = mappings / service, groups or DEFAULT_GROUPS
    _check(mappings, service, groups)
    title = title or service.replace("-", " ").capitalize()
    words = _words(service, title, groups, category)
    (folder / "v1").mkdir(parents=True)
    for name in ("mapping.toml", "fields.toml", "rules.sch", "fachverfahren.xsl"):
        place = folder if name == "mapping.toml" else folder / "v1"
        (place / name).write_text(_filled((TEMPLATES / name).read_text(encoding="utf-8"), words),
                                  encoding="utf-8")
    (folder / "v1/fields.xsd").write_text(schema_of(load_fields(folder / "v1/fields.toml")), encoding="utf-8")
    for name, settings, form in _examples(groups):
        _write_example(folder / "examples" / name, words["FORM"], settings, form)
    return run_examples(mappings, service, update=True)


def _check(mappings: Path, service: str, groups: Mapping[str, str]) -> None:
    if not _SERVICE.fullmatch(service) or len(service) > 63:
        raise ConfigError.at(mappings, service, "is no name of a service",
                             "small letters, digits and single hyphens, beginning with a letter, e.g. "
                             "hundesteuer")
    if (mappings / service).exists():
        raise ConfigError.at(mappings / service, "(folder)", "is there already",
                             "choose another name, or edit what is there")
    if not (mappings / "_common").is_dir():
        raise ConfigError.at(mappings, "_common", "is missing",
                             "name the folder with the mappings: --mappings")
    for group in groups:
        if not _GROUP.fullmatch(group) or group in _TAKEN:
            raise ConfigError.at(mappings / service, f"group {group}",
                                 "is no id of a group, or is in every form already",
                                 "letters and digits, beginning with a small letter; not "
                                 f"{', '.join(_TAKEN)}")
    if len(groups) > MOST_GROUPS:
        raise ConfigError.at(mappings / service, "groups", f"{len(groups)} at once",
                             f"begin with {MOST_GROUPS} and add the others")


def _words(service: str, title: str, groups: Mapping[str, str], category: str) -> dict[str, str]:
    return {
        "SERVICE": service, "TITLE": " ".join(title.split()), "TITLE_TOML": _toml(title),
        "TITLE_XML": escape(title),
        "CATEGORY": category, "FORM": "".join(part.capitalize() for part in service.split("-")),
        "GROUPS":
        "\n".join(f'    {{ id = "{group}", title = {_toml(text)} }},' for group, text in groups.items()),
        "FIELDS": "".join(
            f'    {{ group = "{group}", id = "beschreibung", type = "textarea", label = "Beschreibung" }},\n'
                          f'    {{ group = "{group}", id = "datum", type = "date", label = "Datum" }},\n\n'
                          for group in groups).rstrip("\n") + "\n",
        "RULES": "\n".join(f'      <sch:assert test="normalize-space({group}/instance/beschreibung)">'
                           f"{escape(text)}: Die Beschreibung fehlt.</sch:assert>"
                           for group, text in groups.items()),
    }


def _toml(text: str) -> str:
    return json.dumps(" ".join(text.split()), ensure_ascii=False)


def _filled(template: str, words: Mapping[str, str]) -> str:
    return re.sub(r"@([A-Z_]+)@", lambda found: words[found[1]], template)


def _examples(groups: Mapping[str, str]) -> list[tuple[str, str, _Form]]:
    """Name, settings and fields of the three examples. All persons are invented."""
    person = {"anrede": "frau", "name": "Mustermann", "vorname": "Erika", "strasse": "Musterstraße",
              "hausnummer": "1",
              "plz": "00000", "ort": "Musterstadt"}
    more = {"anrede": "divers", "name": "Größe-Öztürk", "vorname": "Änne Łucja", "geburtsdatum": "1984-08-12",
            "strasse": "Große Gasse", "hausnummer": "3 a", "plz": "00000", "ort": "Beispielberg",
            "telefon": "0000 111111",
            "email": "aenne@example.org"}
    agreed = {"richtigkeit": "true", "datenschutz": "true"}
    described = {group: [{"beschreibung": "Ein Beispiel."}] for group in groups}
    dated = {group: [{"beschreibung": "Erste Zeile, mit äöüß.\nZweite Zeile.", "datum": "2025-11-01"}]
             for group in groups}
    return [
        ("smallest", 'description = "Form 1.0 with as little as it takes."\nversion = "v1"\n',
         {"antragsteller": [person], **described, "erklaerung": [agreed]}),
        ("full", 'description = "Form 1.1 with everything: umlauts, two files."\nversion = "v1"\n',
         {"antragsteller": [more], **dated, "nachweise": [{"dateien": "Größe & Umfang.pdf\nNachweis.pdf"}],
          "erklaerung": [{**agreed, "bemerkung": "Mit Bemerkung."}]}),
        ("parked", 'description = "Form 1.1: almost everything is missing."\nparked = "invalid"\n',
         {"antragsteller": [{"anrede": "herr"}], "erklaerung": [{"richtigkeit": "false"}]}),
    ]


def _write_example(folder: Path, form: str, settings: str, fields: _Form) -> None:
    folder.mkdir(parents=True)
    (folder / "example.toml").write_text(settings, encoding="utf-8")
    version = "1.0" if folder.name == "smallest" else "1.1"
    pdf = base64.b64encode((TEMPLATES / "antrag.pdf").read_bytes()).decode()
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<serviceportal>", "  <metadata>",
             f"    <formId>6000663:{form}:v{version}</formId>",
             "    <postfachHandleId>bsp-postfach-0001</postfachHandleId>",
             f"    <pdfApplicantFormBase64>{pdf}</pdfApplicantFormBase64>",
             "    <creationDate>2026-11-20T09:30:00.000+01:00</creationDate>", "  </metadata>",
             "  <serviceportal-fields>"]
    for group, instances in fields.items():
        lines.append(f"    <{group}>")
        for number, instance in enumerate(instances):
            values = [_field(name, value, pdf) for name, value in instance.items()]
            lines += [f"      <instance_{number}>", *values, f"      </instance_{number}>"]
        lines.append(f"    </{group}>")
    text = "\n".join([*lines, "  </serviceportal-fields>", "</serviceportal>", ""])
    (folder / "message.xml").write_text(text, encoding="utf-8")


def _field(name: str, value: str, pdf: str) -> str:
    if name != "dateien":
        return f"        <{name}>{escape(value)}</{name}>"
    files = [f"          <selectedValue><base64Data>{pdf}</base64Data><mimetype>application/pdf</mimetype>"
             f"<filename>{escape(file)}</filename></selectedValue>" for file in value.splitlines()]
    return "\n".join([f"        <{name}>", *files, f"        </{name}>"])

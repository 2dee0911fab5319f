"""Examples of a mapping, run through the very stages a message goes through.

They are what ``drehscheibe mapping test`` and ``preview`` look at::

    mappings/<service>/examples/<name>/
        example.toml          what is known beside the document; every key may be left out:
            description = "Zwei Hunde, einer mit Bescheinigung"
            ags = "14999010"
            day = 2026-11-22               # of acceptance
            test = false
            case = "…"
            attachments = ["antrag.pdf"]   # files of this folder that come as parts of their own; one of
                                           # this name is the applicant's own printout
            version = "v2"                 # the mapping's version it must reach
            parked = "invalid"             # it must be parked for this reason
        message.xml | .json   the document as Amt24 sends it
        expected/             what must come out:
            canonical.xml     the annotated envelope
            …                 each rendering under its file's name
            delivery.txt      what one recipient of everything gets
            reason.txt        instead of all these, for what must be parked

Message id and times are fixed, so outputs are stable. Of a PDF only its being one with pages is compared.
"""

from __future__ import annotations

import difflib
import hashlib
import mimetypes
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints, ValidationError

from hub.authoring import trial
from hub.authoring.trial import CANONICAL
from hub.errors import ConfigError
from hub.files.model import FileModel
from hub.files.problems import problems_of
from hub.files.snapshot import snapshot
from hub.files.toml import read_toml
from hub.job import PRINTOUT, Body, Job, JobPart, Outcome, OutPart, Parked, Recipient, Rule, Split, Translated
from hub.mapping import by_rule
from hub.mapping.loader import load_mapping
from hub.mapping.model import PRINTED
from hub.message import BERLIN, Reason

MESSAGE_ID = "019a0000-0000-7000-8000-000000000001"
DAY = date(2026, 11, 22)
MUNICIPALITY = {"name": "Stadt Musterstadt", "behoerde": "Stadt Musterstadt, Bürgeramt",
                "anschrift": "Am Mustermarkt 1, 00000 Musterstadt", "hub": "Datendrehscheibe"}
_MOST_LINES = 200


class ExampleFile(FileModel):
    """``example.toml``."""

    description: str = ""
    ags: Annotated[str, StringConstraints(pattern=r"^([0-9]{5}|[0-9]{8})$")] = "14999010"
    day: date = DAY
    test: bool = False
    case: str | None = None
    attachments: tuple[str, ...] = ()
    version: str | None = None
    parked: Reason | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One example: `difference` is empty, or says in German what is not as expected."""

    service: str
    name: str
    difference: str = ""

    @property
    def ok(self) -> bool:
        """As expected."""
        return not self.difference


@dataclass(frozen=True, slots=True)
class Made:
    """What the hub made of an example: files by name, and why it was parked if it was."""

    files: Mapping[str, bytes]
    version: str | None = None
    parked: Parked | None = None


Trial = Callable[[Job, bytes], tuple[Outcome, bytes]]
"""Brings a job, whose bodies lie in the bytes, to its outcome and to the bytes that it made."""


def run_examples(mappings: Path, service: str | None = None, name: str | None = None, *,
                 update: bool = False, trial: Trial = trial.here) -> list[Result]:
    """Every example below `mappings`, or those of one service, or one. `update` writes what came as what is
    expected; `trial` is where they run.

    Raises `ConfigError` when a mapping or an example.toml cannot be read.
    """
    results = []
    with tempfile.TemporaryDirectory(prefix="drehscheibe-examples-") as scratch:
        for folder in _folders(mappings, service, name):
            outcome = _run(mappings, folder, Path(scratch), trial)
            if update:
                _write_expected(folder / "expected", outcome)
            results.append(Result(folder.parents[1].name, folder.name, _difference(folder, outcome)))
    return results


def preview(mappings: Path, service: str, example: str, *, trial: Trial = trial.here,
            rules: Sequence[Rule] | None = None) -> dict[str, bytes]:
    """What a mapping makes of one of its examples, or of a file: outputs by name, for a person to look at.

    By default for a municipality that takes everything; `rules` are those of a real one.
    """
    file = Path(example)
    with tempfile.TemporaryDirectory(prefix="drehscheibe-preview-") as scratch:
        folder = mappings / service / "examples" / example
        if (folder / "example.toml").is_file():
            return dict(_run(mappings, folder, Path(scratch), trial, rules).files)
        if not file.is_file():
            known = ", ".join(found.name for found in _folders(mappings, service, None)) or "none"
            raise ConfigError.at(mappings / service / "examples", example, "is neither an example nor a file",
                                 f"choose one of: {known}")
        return dict(_made(mappings, service, ExampleFile(), [file], Path(scratch), trial, rules).files)


def _folders(mappings: Path, service: str | None, name: str | None) -> Iterator[Path]:
    for file in sorted(mappings.glob("*/examples/*/example.toml")):
        folder = file.parent
        if service in (None, folder.parents[1].name) and name in (None, folder.name):
            yield folder


def _run(mappings: Path, folder: Path, scratch: Path, trial: Trial,
         rules: Sequence[Rule] | None = None) -> Made:
    settings = _settings(folder)
    documents = [folder / f"message{suffix}" for suffix in (".xml", ".json")
                 if (folder / f"message{suffix}").is_file()]
    if len(documents) != 1:
        raise ConfigError.at(folder, "message", f"{len(documents)} documents",
                             "put message.xml or message.json there")
    files = [*documents, *(folder / name for name in settings.attachments)]
    return _made(mappings, folder.parents[1].name, settings, files, scratch, trial, rules)


def _settings(folder: Path) -> ExampleFile:
    file = folder / "example.toml"
    try:
        return ExampleFile(**read_toml(file))
    except ValidationError as error:
        raise ConfigError(problems_of(file, error)) from error


def _made(mappings: Path, service: str, settings: ExampleFile, files: Sequence[Path],
          scratch: Path, trial: Trial, rules: Sequence[Rule] | None = None) -> Made:
    contents = [file.read_bytes() for file in files]
    if rules is not None:
        settings = settings.model_copy(update={"ags": rules[0].municipality["ags"]})
    job = _job(service, settings, files, contents,
               _rules(mappings, service, settings, scratch) if rules is None else tuple(rules))
    outcome, out = trial(job, b"".join(contents))
    assert not isinstance(outcome, Split)  # noqa: S101 - nobody asked for it
    if isinstance(outcome, Parked):
        return Made({"reason.txt": f"{outcome.reason}\n\n{outcome.text}\n".encode()}, parked=outcome)
    rule = next(rule for rule in job.rules if rule.id == outcome.rule)
    return Made(_outputs(outcome, out), rule.mapping_version)


def _rules(mappings: Path, service: str, settings: ExampleFile, scratch: Path) -> tuple[Rule, ...]:
    """A municipality that takes every version of the mapping and has one recipient, who gets everything."""
    mapping = load_mapping(mappings / service)
    package = snapshot(mappings / service, scratch)
    common = snapshot(mappings / "_common", scratch) if (mappings / "_common").is_dir() else None
    recipients = {version.name: (Recipient(name="alles", destination="alles", connector="beispiel",
                                           send=(*version.renderings, "attachments", "original")),)
                  for version in mapping.version}
    return tuple(Rule(
        id=f"beispiel/{service}/{version.name}", tenant="beispiel", service=service, forms=version.forms,
        mapping_versions=version.versions, valid_from=version.valid_from, valid_until=version.valid_until,
        test=settings.test, mapping_version=version.name, mapping_digest=package.name, package=str(package),
        common=str(common) if common else None,
        homes={"mapping": f"{mappings.name}/{service}", "common": f"{mappings.name}/_common"},
        municipality={**MUNICIPALITY, "ags": settings.ags},
        subject=version.subject, xoev=version.xoev, recipients=recipients[version.name],
        renderings=by_rule.renderings(version, recipients[version.name]),
    ) for version in mapping.version)


def _job(service: str, settings: ExampleFile, files: Sequence[Path], contents: Sequence[bytes],
         rules: tuple[Rule, ...]) -> Job:
    parts: list[JobPart] = []
    offset = 0
    for file, content in zip(files, contents, strict=True):
        name = "application" if not parts else PRINTOUT[0] if file.name == PRINTED else "attachment"
        parts.append(JobPart(name=name, filename=file.name if parts else None,
                             media_type=_media_type(file), sha256=hashlib.sha256(content).hexdigest(),
                             body=Body(offset=offset, length=len(content))))
        offset += len(content)
    return Job(message_id=MESSAGE_ID, tenant="beispiel", ags=settings.ags, service=service,
               test=settings.test,
               received_at=datetime.combine(settings.day, time(10, 11, 12), BERLIN),
               accepted_day=settings.day,
               case=settings.case, parts=tuple(parts), rules=rules)


def _media_type(file: Path) -> str:
    known = {".xml": "application/xml", ".json": "application/json"}
    return known.get(file.suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def _outputs(outcome: Translated, out: bytes) -> dict[str, bytes]:
    """The renderings by their file names, and a list of all that the recipient gets."""
    (delivery,) = outcome.deliveries
    bodies = {part.name: part.body for part in delivery.parts if part.body is not None}
    files = {name: out[body.offset:body.offset + body.length]
             for name, body in {CANONICAL: outcome.attachments[-1].body, **bodies}.items()}
    lines = [f"Betreff: {delivery.subject}", *(_part_line(part) for part in delivery.parts)]
    return {**files, "delivery.txt": ("\n".join(lines) + "\n").encode()}


def _part_line(part: OutPart) -> str:
    source = ("erzeugt" if part.body else "aus der Nachricht" if part.attachment is not None
              else "wie empfangen")
    return f"{part.role}: {part.name} ({part.media_type}, {source})"


def _difference(folder: Path, outcome: Made) -> str:
    settings, expected = _settings(folder), folder / "expected"
    problems = _outcome_problems(settings, outcome)
    known = {file.name for file in expected.iterdir()} if expected.is_dir() else set()
    if not known:
        problems.append("Es gibt noch keine erwarteten Ausgaben: mit --update schreiben und dann durchsehen.")
    for name in sorted(known | {name for name in outcome.files if not _is_pdf(name)}) if known else ():
        problems += _file_problems(name, expected / name, outcome.files.get(name))
    problems += [f"{name}: kein PDF mit Seiten." for name, content in outcome.files.items()
                 if _is_pdf(name) and count_pages(content) < 1]
    return "\n".join(problems)


def _outcome_problems(settings: ExampleFile, outcome: Made) -> list[str]:
    if outcome.parked is not None and settings.parked != outcome.parked.reason:
        wanted = f"geparkt ({settings.parked})" if settings.parked else "zugestellt"
        return [f"Erwartet: {wanted}. Gekommen: geparkt ({outcome.parked.reason}): {outcome.parked.text}"]
    if outcome.parked is None and settings.parked is not None:
        return [f"Erwartet: geparkt ({settings.parked}). Gekommen: zugestellt."]
    if settings.version is not None and outcome.version != settings.version:
        return [f"Erwartet: Fassung {settings.version}. Gekommen: Fassung {outcome.version or 'keine'}."]
    return []


def _file_problems(name: str, file: Path, content: bytes | None) -> list[str]:
    if content is None:
        return [f"{name}: erwartet, aber nicht entstanden."]
    if not file.is_file():
        return [f"{name}: entstanden, aber nicht erwartet: mit --update aufnehmen."]
    wanted = file.read_bytes()
    if wanted == content:
        return []
    before, after = (_lines(text) for text in (wanted, content))
    found = list(difflib.unified_diff(before, after, f"erwartet/{name}", f"gekommen/{name}", lineterm=""))
    if len(found) > _MOST_LINES:
        found = [*found[:_MOST_LINES], f"… und {len(found) - _MOST_LINES} Zeilen mehr"]
    return found or [f"{name}: verschieden nur in Zeilenenden oder Kodierung."]


def _lines(content: bytes) -> list[str]:
    return content.decode("utf-8", "backslashreplace").splitlines()


def _write_expected(folder: Path, outcome: Made) -> None:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in outcome.files.items():
        if not _is_pdf(name):
            (folder / name).write_bytes(content)


def _is_pdf(name: str) -> bool:
    return name.lower().endswith(".pdf")


def count_pages(content: bytes) -> int:
    """Pages of a PDF made by WeasyPrint, whose objects lie in compressed streams."""
    if not content.startswith(b"%PDF-"):
        return 0
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", content, re.DOTALL)
    inside = content + b"".join(zlib.decompressobj().decompress(stream) for stream in streams
                                if stream[:1] == b"x")
    return len(re.findall(rb"/Type\s*/Page\b", inside))

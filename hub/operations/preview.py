"""What a municipality would get: of an example, or of a message that is stored. Nothing is delivered.

The mappings and stylesheets are those that lie in the folders now, also where the hub has not read them yet.
They run in a worker, under the limits of a message (`hub.operations.trials`).

What is made of a stored message is what a citizen wrote. It goes into a new folder that only its owner can
read (`make_private`), never onto a terminal or into a log; who looked stands in the message's history
(`Operator.read_content`).
"""

from __future__ import annotations

import dataclasses
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hub.authoring.trial import CANONICAL
from hub.config.configuration import Configuration
from hub.config.municipalities import Municipality
from hub.config.reader import suggest
from hub.config.rules import rules_for, why_none
from hub.errors import ConfigError, HubError
from hub.files.snapshot import snapshot
from hub.job import (
    Body,
    Job,
    JobPart,
    Outcome,
    OutDelivery,
    OutPart,
    Parked,
    Recipient,
    Rule,
    Split,
    Translated,
)
from hub.message import BERLIN, StoredMessage, safe_name, unique_names

if TYPE_CHECKING:
    from hub.store.store import Store

REASON = "reason.txt"
"""The file that says why a message would be parked."""

Trial = Callable[[Job, bytes], tuple[Outcome, bytes]]


@dataclasses.dataclass(frozen=True, slots=True)
class Preview:
    """What would go out, by path (``<recipient>/<file>``), and why it would be parked if it would."""

    files: Mapping[str, bytes]
    parked: Parked | None = None


def municipality_of(configuration: Configuration, name: str) -> Municipality:
    """The municipality with this AGS or tenant. Raises `HubError` when there is none."""
    tenant = configuration.tenant_of(name) or name
    if tenant not in configuration.municipalities:
        known = suggest(name, [*configuration.by_ags, *configuration.municipalities], german=True)
        raise HubError(f"Keine Kommune {name!r}: {known}")
    return configuration.municipalities[tenant]


def everything_for(configuration: Configuration, municipality: Municipality, service: str,
                   scratch: Path) -> tuple[Rule, ...]:
    """The municipality's rules for a service, each with one recipient who gets all renderings and files.

    Its stylesheets and parameters are as for a message. Raises `HubError` when it has no route for it.
    """
    ags = municipality.row.ags
    rules = rules_for(_as_it_lies(configuration, municipality, service, scratch), ags, service)
    if not rules:
        raise HubError(f"{municipality.row.name} hat keinen Weg für {service!r}: "
                       + suggest(service, municipality.routes, german=True))
    versions = {version.name: version for version in configuration.mappings[service].version}
    return tuple(rule.model_copy(update={"recipients": (Recipient(
        name="alles", destination="alles", connector="beispiel",
        send=(*versions[rule.mapping_version].renderings, "attachments", "original")),)})
        for rule in rules)


def of_message(configuration: Configuration, store: Store, message: StoredMessage, trial: Trial,
               scratch: Path, now: datetime) -> Preview:
    """What each recipient of a stored message would get, by the files as they lie now.

    Raises `HubError` for one that would be split: each of its applications is a message of its own then.
    """
    tenant = configuration.tenant_of(message.ags)
    if tenant is not None:
        configuration = _as_it_lies(configuration, configuration.municipalities[tenant], message.service,
                                    scratch)
    received = [part for part in message.parts if part.role == "received"]
    bodies = store.bodies([part.blob for part in received])
    contents = [bodies[part.blob].read() for part in received]
    places = _places([len(content) for content in contents])
    rules = rules_for(configuration, message.ags, message.service)
    reason, why = (None, None) if rules else why_none(configuration, message)
    job = Job(message_id=message.id, tenant=tenant or message.tenant, ags=message.ags,
              service=message.service, test=message.test, received_at=message.received_at,
              accepted_day=message.accepted_day, today=now.astimezone(BERLIN).date(), case=message.case,
              rules=rules, why_no_rules=why, why_no_rules_reason=reason, limits=configuration.settings.limits,
              parts=tuple(JobPart(name=part.name, filename=part.filename, media_type=part.media_type,
                                  sha256=part.sha256, body=body)
                          for part, body in zip(received, places, strict=True)))
    content = b"".join(contents)
    outcome, out = trial(job, content)
    if isinstance(outcome, Split):
        raise HubError(f"Die Nachricht enthält {len(outcome.groups)} Anträge und wird in so viele "
                       "Nachrichten geteilt: nach dem Teilen jede für sich ansehen.")
    if isinstance(outcome, Parked):
        return Preview({REASON: f"{outcome.reason}\n\n{outcome.text}\n".encode()}, outcome)
    return Preview(dict(_files(outcome, job, content, out)))


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can read; an empty one that is so already will do.

    Raises `ConfigError` for any other folder.
    """
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        state = folder.lstat()
        if not stat.S_ISDIR(state.st_mode) or state.st_mode & 0o077 or state.st_uid != os.geteuid():
            raise ConfigError.at("--out", str(folder), "others could read what is put there",
                                 "name a folder that does not exist yet") from None
        if any(folder.iterdir()):
            raise ConfigError.at("--out", str(folder), "is not empty",
                                 "name a folder that does not exist yet") from None
    except OSError as error:
        raise ConfigError.at("--out", str(folder), f"cannot be made ({error.strerror})",
                             "name a new folder within one that exists") from error
    folder.chmod(0o700)  # whatever the umask is


def write_private(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder that `make_private` made, readable for nobody else."""
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600),
                       "wb") as opened:
            opened.write(content)


def _as_it_lies(configuration: Configuration, municipality: Municipality, service: str,
                scratch: Path) -> Configuration:
    """The configuration with snapshots of what one municipality's rules for one service need."""
    mappings = configuration.settings.hub.mappings
    folders = {service: configuration.mapping_folder(service), "_common": mappings / "_common",
               f"town/{municipality.row.tenant}": municipality.folder}
    return dataclasses.replace(configuration, known_rules={}, snapshots={
        name: snapshot(folder, scratch) for name, folder in folders.items() if folder and folder.is_dir()})


def _places(sizes: list[int]) -> Iterator[Body]:
    offset = 0
    for size in sizes:
        yield Body(offset=offset, length=size)
        offset += size


def _files(outcome: Translated, job: Job, content: bytes, out: bytes) -> Iterator[tuple[str, bytes]]:
    yield CANONICAL, _cut(out, outcome.attachments[-1].body)
    folders = unique_names([safe_name(delivery.recipient) for delivery in outcome.deliveries])
    for folder, delivery in zip(folders, outcome.deliveries, strict=True):
        yield f"{folder}/delivery.txt", _described(delivery).encode()
        names = unique_names([safe_name(part.name) for part in delivery.parts])
        for name, part in zip(names, delivery.parts, strict=True):
            yield f"{folder}/{'part-' if name == 'delivery.txt' else ''}{name}", _content(part, outcome, job,
                                                                                        content, out)


def _content(part: OutPart, outcome: Translated, job: Job, content: bytes, out: bytes) -> bytes:
    if part.body is not None:
        return _cut(out, part.body)
    if part.attachment is not None:
        return _cut(out, outcome.attachments[part.attachment].body)
    assert part.received is not None  # noqa: S101  # one of the three is set
    return _cut(content, job.parts[part.received].body)


def _described(delivery: OutDelivery) -> str:
    return "\n".join([f"Betreff: {delivery.subject}", f"Ziel: {delivery.destination}",
                      *(f"{part.role}: {part.name} ({part.media_type})" for part in delivery.parts), ""])


def _cut(content: bytes, body: Body) -> bytes:
    return content[body.offset:body.offset + body.length]

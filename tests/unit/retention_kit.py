"""What the tests of retention and erasure share: applications with a secret, and how long things are kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import time, timedelta
from pathlib import Path

from hub.administration.retention import Retention
from hub.config.configuration import Kept
from hub.store.store import Store
from tests.unit.store_kit import (
    MINUTE,
    Clock,
    Output,
    accept,
    deliver,
    incoming,
    spooled,
    translated,
)

DAY = timedelta(days=1)


@dataclass
class _Defaults:
    at: time = time(2, 30)
    case_key: str | None = None


@dataclass
class _File:
    retention: _Defaults = field(default_factory=_Defaults)


@dataclass
class Periods:
    """A configuration that knows only how long things are kept."""

    kept: Callable[[str, str], Kept] = lambda tenant, service: Kept(30, 730)
    defaults: _File = field(default_factory=_File)

    def retention(self, tenant: str, service: str) -> Kept:
        return self.kept(tenant, service)


def retention(store: Store, clock: Clock, kept: Callable[[str, str], Kept] | None = None) -> Retention:
    return Retention(store, lambda: Periods(kept) if kept else Periods(), now=clock)


def secret(number: int) -> bytes:
    """What must not be found any more: invented, and different for each application."""
    return b"GEHEIM-%06d-ERIKA;" % number


def application(store: Store, number: int, size: int = 1, *, upload: Path | None = None, end: bool = True,
                **changes: object) -> str:
    """An application with its secret in every body, in the name of its upload, and in what is sent; delivered
    if `end`."""
    body = secret(number) * max(1, size // len(secret(number)))
    parts = [*incoming(b"<a>" + body + b"</a>").parts]
    if upload is not None:
        parts.append(spooled(upload, body * 40))
    message = accept(store, incoming(**{"parts": tuple(parts), "key": str(number), **changes}), **(
        {"tenant": changes["service"]} if "service" in changes else {}))
    store.claim_messages(1, MINUTE, only=[message.id])
    output = Output()
    attachment = output.attachment(b"upload "
                                   + body).model_copy(update={"filename": f"{secret(number).decode()}.pdf"})
    store.record([translated(message.id, output.delivery(b"<r>" + body + b"</r>"), attachments=[attachment])],
                 output.fd,
                 config_digest="c")
    if end:
        deliver(store)
    return message.id


def found(directory: Path) -> set[int]:
    """The applications of which any file of the store still holds something."""
    return {int(number) for file in directory.rglob("*") if file.is_file()
            for number in re.findall(rb"GEHEIM-(\d{6})", file.read_bytes())}

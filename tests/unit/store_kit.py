"""What the store's tests share: small messages, worker's answers, a clock, and a way to plant faults."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from hub.config.sections import StoreSection
from hub.i18n.sentence import say
from hub.job import Body, Facts, OutAttachment, OutDelivery, OutPart, Parked, Translated
from hub.message import Accepted, Incoming, IncomingPart, Receipt
from hub.store.blobs.files import FileBlobs
from hub.store.store import Store
from hub.store.transitions.deliveries import ClaimedDelivery, Settlement

DAY = date(2026, 11, 22)
MINUTE = timedelta(minutes=1)
RECEIPT = Receipt("INBOX/1")


class Clock:
    """Time that moves when it is told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def incoming(content: bytes = b"<a/>", **changes: Any) -> Incoming:
    """A message of one small part."""
    return Incoming(**{"inlet": "https", "sender": "portal", "ags": "14999010", "service": "hundesteuer",
                       "parts": (IncomingPart.of(content),), **changes})


def spooled(folder: Path, content: bytes, name: str = "body") -> IncomingPart:
    """A part that lies in a file."""
    file = folder / name
    file.write_bytes(content)
    return IncomingPart(name, "application/pdf", file, len(content), hashlib.sha256(content).hexdigest())


def accept(store: Store, message: Incoming, **changes: Any) -> Accepted:
    """As the hub's door does it."""
    return store.accept(message,
                        **{"tenant": "musterstadt", "day": DAY, "config_digest": "config-1", **changes})


class Output:
    """A worker's output: bodies one after the other in one descriptor."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("output")
        self._at = 0

    def body(self, content: bytes) -> dict[str, Any]:
        """Append it: size, digest and slice."""
        os.pwrite(self.fd, content, self._at)
        self._at += len(content)
        return {"size": len(content), "sha256": hashlib.sha256(content).hexdigest(),
                "body": Body(offset=self._at - len(content), length=len(content))}

    def attachment(self, content: bytes) -> OutAttachment:
        """Something taken out of the envelope."""
        return OutAttachment(name="upload.pdf", filename="upload.pdf", media_type="application/pdf",
                             role="upload",
                             **self.body(content))

    def delivery(self, content: bytes, destination: str = "mail-musterstadt", recipient: str = "mail",
                 parts: Sequence[OutPart] = ()) -> OutDelivery:
        """One rendering, and what else is given."""
        part = OutPart(role="xml", name="antrag.xml", media_type="application/xml", **self.body(content))
        return OutDelivery(recipient=recipient, destination=destination, subject="Antrag",
                           name_parts={"service": "hundesteuer"},
                           parts=(part, *parts))


def translated(message_id: str, *deliveries: OutDelivery, attachments: Sequence[OutAttachment] = (),
               facts: Facts | None = None) -> Translated:
    """A worker's good answer."""
    return Translated(message_id=message_id, facts=facts or Facts(form_id="1:Hund:v1.0", form_version="1.0"),
                      rule="musterstadt/hundesteuer/v1", mapping_digest="mapping-1", deliveries=deliveries,
                      attachments=tuple(attachments))


def parked(message_id: str, reason: str = "invalid") -> Parked:
    """A worker's other answer."""
    return Parked(message_id=message_id, facts=Facts(), reason=reason, text=say("Pflichtfeld fehlt"),
                  trace=(say("rule 1: no"),))


def routed(store: Store, destinations: Sequence[str] = ("mail-musterstadt",),
           content: bytes = b"<a/>") -> str:
    """A message that is routed to these destinations."""
    message_id = accept(store, incoming(content)).id
    [message] = store.claim_messages(1, MINUTE, only=[message_id])
    output = Output()
    store.record([translated(message.id, *(output.delivery(b"<r/>", name, name) for name in destinations))],
                 output.fd,
                 config_digest="config-1")
    return message_id


def claim_one(store: Store, destination: str = "mail-musterstadt") -> ClaimedDelivery:
    """The next delivery of a destination."""
    [claimed] = store.claim_deliveries(destination, 1, MINUTE)
    return claimed


def deliver(store: Store, destination: str = "mail-musterstadt") -> str:
    """Deliver one: its id."""
    claimed = claim_one(store, destination)
    store.begin_effect(claimed.delivery.id)
    assert store.settle([Settlement.done(claimed.delivery.id, RECEIPT)]) == 1
    return claimed.delivery.id


def unbalanced(store: Store) -> list[str]:
    """What is wrong with the books: balances that do not hold, tallies that are not what the rows say."""
    wrong = [f"balance {balance}" for balance in store.balances() if not balance.holds]
    truth = store.recount()
    tallies = {key: count for key, count in store.tallies().items() if key.kind in {"message", "delivery"}}
    wrong += [f"{key}: {tallies.get(key, 0)} in the books, {truth.get(key, 0)} there"
              for key in {*truth, *tallies} if truth.get(key, 0) != tallies.get(key, 0)]
    return wrong


def served(directory: Path) -> StoreSection | None:
    """Which database stands for the store in this folder; the fixture `backend` puts another function
    here."""
    return None


@cache
def template() -> bytes:
    """A new store's file, so that the schema is made once and not for every test."""
    with tempfile.TemporaryDirectory() as folder:
        Store.open(Path(folder)).close()
        return (Path(folder) / "store.sqlite3").read_bytes()


def prepare(directory: Path) -> Path:
    """A folder whose store has its tables already, unless there is a store."""
    if not (directory / "store.sqlite3").exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "store.sqlite3").write_bytes(template())
    return directory


def open_store(directory: Path, **options: Any) -> Store:
    """A store of the kind that is being tested."""
    section = served(directory)
    return Store.open(directory if section else prepare(directory), **{"served": section, **options})


@contextmanager
def opened(directory: Path, **options: Any) -> Iterator[Store]:
    """A store that is closed at the end."""
    store = open_store(directory, **options)
    try:
        yield store
    finally:
        store.close()


def abandon(store: Store) -> None:
    """Leave the store as a killed process would: the lock is gone, nothing is said to be clean."""
    store.let_go()


def orphans(store: Store) -> list[Path]:
    """Files that no row names; there are none where bodies are rows."""
    with store.reading() as connection:
        return store.blobs.orphans(connection) if isinstance(store.blobs, FileBlobs) else []

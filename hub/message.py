"""The records of the hub: incoming transfers, stored messages, deliveries and receipts.

All records are frozen. A record holds no large body: a body is a `Path`, a few bytes, or a reference to a
blob (Claim Check). The words are those of *Enterprise Integration Patterns* (Hohpe, Woolf): Message, Claim
Check, Idempotent Receiver, Correlation Identifier.

Also here: ids (`new_message_id`, `delivery_id`), the digest over content, and the duplicate key. Digests and
ids are stored, so their form must never change. Safe file names (`hub.names`) are handed on from here.

Used by every module and every connector.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Literal
from zoneinfo import ZoneInfo

from hub.names import safe_name as safe_name  # noqa: PLC0414  # connectors take them from here
from hub.names import unique_names as unique_names  # noqa: PLC0414

BERLIN = ZoneInfo("Europe/Berlin")
encode_json = json.JSONEncoder(ensure_ascii=False).encode
"""``json.dumps(value, ensure_ascii=False)`` without a new encoder for each call.

Digests depend on this form: never change it."""
DELIVERY_NAMESPACE = uuid.UUID("6f0d6a0e-6b0c-5d0a-9a53-d7f4b6c0d1e5")
"""The namespace of `delivery_id`. Stored ids depend on it: never change it."""
UNKNOWN_TENANT = "unknown"
"""The tenant of a message whose AGS belongs to no municipality (yet)."""
RESTORED = "restored"
"""Marks what came out of a backup. Nobody knows whether it was delivered after the backup
(`hub.store.transitions.restored`)."""
NOTE = "hub:note"
"""A property of a manifest: a note of the hub for the clerk. A connector with `notes` puts it before the
text of the body."""
REPLY_TO = "hub:reply-to"
"""A property of a manifest: the mail address of the applicant, where the route wants answers to go there."""


class MessageState(StrEnum):
    """The states of a message. Each accepted message is in exactly one; the counts add up to all accepted."""

    RECEIVED = "received"
    ROUTED = "routed"
    DEFERRED = "deferred"
    PARKED = "parked"
    COMPLETED = "completed"
    DISCARDED = "discarded"


class DeliveryState(StrEnum):
    """The states of a delivery. Each delivery is in exactly one; the counts add up to all created."""

    DUE = "due"
    DELIVERING = "delivering"
    IN_DOUBT = "in_doubt"
    DONE = "done"
    PARKED = "parked"
    DISCARDED = "discarded"


class Reason(StrEnum):
    """Why a message or a delivery is parked. The set is bounded, so it can be a metric label."""

    UNREADABLE = "unreadable"  # the transfer's framing, or no XML, no JSON
    DOCTYPE = "doctype"
    LIMIT = "limit"  # too many bytes, elements, levels, attributes
    UNKNOWN_FORM = "unknown-form"  # readable, but none of the shapes the hub knows
    UNKNOWN_MUNICIPALITY = "unknown-municipality"
    UNKNOWN_SERVICE = "unknown-service"
    NO_ROUTE = "no-route"
    SEVERAL_ROUTES = "several-routes"
    SEVERAL_APPLICATIONS = "several-applications"  # in one hand-over
    INVALID = "invalid"  # schema or rules
    ATTACHMENT = "attachment"  # a file of a kind that the route does not take
    CONFLICT = "conflict"  # same duplicate key, other content
    MAPPING = "mapping"  # a stylesheet, schema, table or rule file of the mapping or the municipality fails
    CONFIGURATION = "configuration"  # a schema set or a renderer is broken or missing
    RUNAWAY = "runaway"  # the worker overran its limits or died, three times, alone
    PERMANENT = "permanent"  # the receiver refused
    EXPIRED = "expired"  # the retry policy gave up
    IN_DOUBT = "in-doubt"  # nobody but a person can know
    MISCONFIGURED = "misconfigured"  # the destination must be mended first
    DAMAGED = "damaged"  # a stored body does not have its digest any more


def time_text(moment: datetime | None) -> str | None:
    """A moment in Europe/Berlin, with its offset, whatever the machine's own zone; None stays None."""
    return moment.astimezone(BERLIN).isoformat(timespec="milliseconds") if moment else None


def new_message_id() -> str:
    """A UUIDv7 (RFC 9562 §5.7) as text. Such ids sort by their time of creation."""
    return _uuid((time.time_ns() // 1_000_000 << 80) | _random(), 7)


def delivery_id(message_id: str, recipient: str, generation: int = 0) -> str:
    """The stable id of one delivery, a UUIDv5 (RFC 9562 §5.5) as text.

    Only "send again as new" raises the generation.
    """
    name = f"{message_id}/{recipient}/{generation}".encode()
    digest = hashlib.sha1(DELIVERY_NAMESPACE.bytes + name, usedforsecurity=False).digest()
    return _uuid(int.from_bytes(digest[:16], "big"), 5)


def split_id(message_id: str, number: int) -> str:
    """The stable id of the message that holds one of several applications of a hand-over, counted from 1: a
    UUIDv7 of the hand-over's own time."""
    digest = hashlib.sha256(DELIVERY_NAMESPACE.bytes + f"{message_id}/split/{number}".encode()).digest()
    return _uuid(uuid.UUID(message_id).int >> 80 << 80 | int.from_bytes(digest[:10], "big"), 7)


def _uuid(value: int, version: int) -> str:
    """128 bits as the text of a UUID, with its version and variant (RFC 9562 §4).

    `uuid.UUID` would cost several times as much.
    """
    text = f"{value & ~(0xF << 76 | 0x3 << 62) | version << 76 | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _random() -> int:
    """80 random bits. One system call fetches many of them, because each call may switch threads."""
    while True:
        try:
            return _bits.pop()
        except IndexError:
            more = os.urandom(10 * 256)
            _bits.extend(int.from_bytes(more[at:at + 10], "big") for at in range(0, len(more), 10))


_bits: deque[int] = deque()


@dataclass(frozen=True, slots=True)
class IncomingPart:
    """One body as the sender framed it.

    `content` is a few bytes, or a spooled file that the store takes over.
    """

    name: str
    media_type: str
    content: bytes | Path
    size: int
    sha256: str
    filename: str | None = None

    @classmethod
    def of(cls, content: bytes, name: str = "application", media_type: str = "application/xml",
           filename: str | None = None) -> IncomingPart:
        """A part from bytes in memory."""
        return cls(name, media_type, content, len(content), hashlib.sha256(content).hexdigest(), filename)


@dataclass(frozen=True, slots=True)
class Incoming:
    """One transfer that an inlet hands to `accept`.

    `sender` is the configured name of the recognised sender. `key` is its Idempotency-Key or AMQP message id.
    `unreadable` is set when the inlet could not read the framing; the message is then stored as it came, and
    parked. `conflict` says what happens when the key is known with other content: HTTPS refuses (409), AMQP
    and folders park.
    `notes` are for the history of the message: what the inlet left out or found strange, in German, without a
    word that a citizen wrote.
    """

    inlet: str
    sender: str
    ags: str
    service: str
    parts: tuple[IncomingPart, ...]
    test: bool = False
    key: str | None = None
    case: str | None = None
    correlation: str | None = None
    reply_to: str | None = None
    unreadable: str | None = None
    conflict: Literal["refuse", "park"] = "park"
    notes: tuple[str, ...] = ()

    def content_digest(self) -> str:
        """SHA-256 over each part's name, type and bytes (by their own digest), in order."""
        return content_digest(self.parts)

    def duplicate_key(self, content: str | None = None) -> str:
        """The key of the Idempotent Receiver, made of sender, AGS, service, test flag, and key or content.

        `content` is the digest of the content, if the caller has computed it already.
        """
        content = content or self.content_digest()
        return duplicate_key(self.sender, self.ags, self.service, self.test, self.key, content)


def content_digest(parts: Iterable[IncomingPart | StoredPart]) -> str:
    """The digest that `Incoming.content_digest` describes, for parts of either kind."""
    rows = [[part.name, part.media_type, part.size, part.sha256] for part in parts]
    return hashlib.sha256(encode_json(rows).encode()).hexdigest()


def duplicate_key(sender: str, ags: str, service: str, test: bool, key: str | None, content: str) -> str:
    """The key that `Incoming.duplicate_key` describes. `content` is the digest of the content."""
    identity = ["key", key] if key else ["content", content]
    return hashlib.sha256(encode_json([sender, ags, service, test, *identity]).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The answer OK: the message is on disk. `duplicate`: it was there before, and nothing new was stored."""

    id: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A stored body of a message. `role` is ``received`` (as it came) or ``attachment`` (taken out of it)."""

    no: int
    role: Literal["received", "attachment"]
    name: str
    filename: str | None
    media_type: str
    size: int
    sha256: str
    blob: str


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A stored message, as the pipeline and the operator see it."""

    id: str
    tenant: str
    ags: str
    service: str
    sender: str
    inlet: str
    test: bool
    state: MessageState
    received_at: datetime
    accepted_day: date
    case: str | None = None
    reason: str | None = None
    reason_text: str | None = None
    form_id: str | None = None
    form_version: str | None = None
    deaths: int = 0
    parts: tuple[StoredPart, ...] = ()
    payload_deleted_at: datetime | None = None
    damaged: bool = False
    """The row differs from what was accepted. The store checks this when it claims the message."""
    correlation: str | None = None
    """What belongs together has the same one (Correlation Identifier)."""


@dataclass(frozen=True, slots=True)
class ManifestPart:
    """One body of a delivery, by reference.

    `role` says what the body is for, whatever the connector: ``text`` and ``html`` (a mail's body), ``pdf``,
    ``xml``, ``csv``, ``json`` (renderings), ``original`` (as received), ``attachment`` (a citizen's upload).
    """

    role: str
    name: str
    media_type: str
    size: int
    sha256: str
    blob: str
    filename: str | None = None
    """What a citizen called it, where `name` is another (`hub.names`)."""
    marks: tuple[str, ...] = ()
    """What was seen in a citizen's file (`hub.job.Mark`): a program, macros …"""

    @property
    def title(self) -> str:
        """Its name as people know it."""
        return self.filename or self.name


@dataclass(frozen=True, slots=True)
class Manifest:
    """The rendered body of a delivery, free of any protocol and of secrets.

    A connector builds the bytes to send from it. The same manifest gives the same bytes on every try.
    `name_parts` are safe building blocks for file names (see `safe_name`).
    """

    subject: str
    name_parts: Mapping[str, str] = field(default_factory=dict)
    path: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    parts: tuple[ManifestPart, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The manifest as it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Manifest:
        """The inverse of `to_json`."""
        return cls(**{**data, "parts": tuple(
            ManifestPart(**{**part, "marks": tuple(part.get("marks", ()))}) for part in data["parts"])})

    def of_role(self, *roles: str) -> tuple[ManifestPart, ...]:
        """The parts with one of these roles, in the manifest's order."""
        return tuple(part for part in self.parts if part.role in roles)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery as an outlet sees it.

    `created_at` never changes between tries, so it serves as the date of mails and archives. `repeat_marked`
    is set when an earlier try may have arrived and the destination asked for a marked repetition.
    """

    id: str
    message_id: str
    tenant: str
    ags: str
    service: str
    recipient: str
    destination: str
    attempt: int
    test: bool
    created_at: datetime
    manifest: Manifest
    open_blob: Callable[[str], BinaryIO]
    repeat_marked: bool = False
    case: str | None = None

    def open(self, part: ManifestPart) -> BinaryIO:
        """The bytes of a part, checked against its digest. Raises `hub.errors.Permanent` when it differs."""
        return self.open_blob(part.blob)

    def read(self, part: ManifestPart) -> bytes:
        """All bytes of a part at once. Raises as `open` does."""
        with self.open(part) as file:
            return file.read()


@dataclass(frozen=True, slots=True)
class Receipt:
    """The receiver's proof. `reference` says where the delivery is now: a path, a mailbox, a number.

    Neither field carries personal data.
    """

    reference: str
    detail: Mapping[str, str] = field(default_factory=dict)

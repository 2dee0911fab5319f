"""The store's tables, with types that SQLite and PostgreSQL both have.

::

    store ─ one row: fencing number, clean or not    event ─ each change of state, with its reason; final
    message ─┬─ part ──► blob                        tally ─ how many are in each state
             ├─ delivery ──► blob (its manifest)     usage ─ what was used when: bills are made from it
             └─ duplicate (kept 30 days)             action ─ what a person asked for, once
    node ─ one row for each run of a hub on a shared database    chunk ─ the bytes of large bodies there

Times are integers: microseconds since 1970 in UTC. Flags are 0 and 1.

Waiting work is found by partial indexes that hold waiting rows only. So a claim costs the same at any size of
the table. A delivery has `due_at` exactly while the hub shall act on it by itself, and `lease_until` exactly
while a claim holds it. A delivery that is due but has no `due_at` waits within its case
(`hub.store.transitions.case_order`).

Payload (the content of `blob`) and proof (everything else) are kept in separate tables, each with its own
retention.

`hub.store.database.migrations` makes the same tables step by step. Used by every module of the store.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    text,
)

from hub.message import DeliveryState, MessageState

REVISION = "0006"
"""The revision of the schema that this version of the hub writes."""
COPY = 2
"""The value of `store.clean` in a copy that was never opened for writing. `opened_at` is when it was made."""

Micros = BigInteger().with_variant(Integer, "sqlite")
Number = BigInteger().with_variant(Integer, "sqlite")
metadata = MetaData()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """An aware moment as it is stored. Raises `TypeError` for a naive one."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(stored: int) -> datetime:
    """The inverse of `micros`, in UTC."""
    return _EPOCH + timedelta(microseconds=stored)


def span(length: timedelta) -> int:
    """A length of time as it is stored."""
    return length // _MICROSECOND


def day(stored: str) -> date:
    """A stored day (ISO 8601)."""
    return date.fromisoformat(stored)


class Lock(IntEnum):
    """The first of the two numbers of PostgreSQL's advisory locks: what a lock is for.

    Nothing else may use these numbers in the database.
    """

    OPEN = 0x44520000  # "DR": while the schema is checked and upgraded
    NODE = 0x44520001  # shared: this node writes; exclusive: it is being ended
    NAME = 0x44520002  # duplicate keys and actions that two nodes must not judge at once
    JOB = 0x44520003  # a job that only one node may do at a time


def _one_of(states: type[MessageState] | type[DeliveryState]) -> str:
    return f"state IN ({', '.join(repr(state.value) for state in states)})"


store = Table(
    "store", metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("fencing", Number, nullable=False),
    Column("clean", Integer, nullable=False),
    Column("opened_at", Micros, nullable=False),
    CheckConstraint("id = 1", name="store_one_row"),
    sqlite_strict=True,
)

message = Table(
    "message", metadata,
    Column("no", Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("tenant", Text, nullable=False),
    Column("ags", Text, nullable=False),
    Column("ars", Text),
    Column("service", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("inlet", Text, nullable=False),
    Column("test", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("received_at", Micros, nullable=False),
    Column("accepted_day", Text, nullable=False),
    Column("finished_at", Micros),
    Column("case", Text),
    Column("correlation", Text),
    Column("reply_to", Text),
    Column("order_key", Text),
    Column("key", Text),
    Column("content_digest", Text, nullable=False),
    Column("canonical_digest", Text),
    Column("source", Text),
    Column("form_id", Text),
    Column("form_name", Text),
    Column("form_version", Text),
    Column("mandant", Text),
    Column("reason", Text),
    Column("reason_text", Text),
    Column("trace", Text),
    Column("rule", Text),
    Column("config_digest", Text, nullable=False),
    Column("mapping_digest", Text),
    Column("deaths", Integer, nullable=False, server_default="0"),
    Column("suspect", Integer, nullable=False, server_default="0"),
    Column("lease_owner", Text),
    Column("lease_until", Micros, nullable=False, server_default="0"),
    Column("lease_fencing", Number, nullable=False, server_default="0"),
    Column("payload_deleted_at", Micros),
    CheckConstraint(_one_of(MessageState), name="message_state"),
    sqlite_strict=True,
)
MESSAGE_WAITS = text("state = 'received'")
MESSAGE_OPEN = text("state IN ('received', 'deferred', 'routed')")
Index("message_waiting", message.c.suspect, message.c.lease_until, message.c.no,
      sqlite_where=MESSAGE_WAITS, postgresql_where=MESSAGE_WAITS)
Index("message_open", message.c.received_at, sqlite_where=MESSAGE_OPEN, postgresql_where=MESSAGE_OPEN)
Index("message_by_ags", message.c.ags, message.c.no)
MESSAGE_REAL = text("test = 0")
Index("message_by_sender", message.c.sender, message.c.received_at,
      sqlite_where=MESSAGE_REAL, postgresql_where=MESSAGE_REAL)
MESSAGE_UNROUTED = text("\"case\" IS NOT NULL AND state IN ('received', 'deferred', 'parked')")
Index("message_unrouted", message.c.tenant, message.c.case,
      sqlite_where=MESSAGE_UNROUTED, postgresql_where=MESSAGE_UNROUTED)
MESSAGE_PARKED = text("state = 'parked'")
Index("message_parked", message.c.tenant, message.c.reason,
      sqlite_where=MESSAGE_PARKED, postgresql_where=MESSAGE_PARKED)
HAS_PAYLOAD = text("finished_at IS NOT NULL AND payload_deleted_at IS NULL")
IS_PROOF = text("finished_at IS NOT NULL AND payload_deleted_at IS NOT NULL")
Index("message_payload", message.c.tenant, message.c.service, message.c.finished_at,
      sqlite_where=HAS_PAYLOAD, postgresql_where=HAS_PAYLOAD)
Index("message_proof", message.c.tenant, message.c.service, message.c.finished_at,
      sqlite_where=IS_PROOF, postgresql_where=IS_PROOF)

duplicate = Table(
    "duplicate", metadata,
    Column("key", Text, primary_key=True),
    Column("message_id", Text, nullable=False),
    Column("content_digest", Text, nullable=False),
    Column("kept_until", Micros, nullable=False),
    sqlite_strict=True, sqlite_with_rowid=False,
)
Index("duplicate_kept_until", duplicate.c.kept_until)

blob = Table(
    "blob", metadata,
    Column("id", Text, primary_key=True),
    Column("message_id", Text, ForeignKey("message.id"), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("size", Number, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("content", LargeBinary),  # format byte, key id, payload; empty: it is a file
    sqlite_strict=True,
)
Index("blob_by_message", blob.c.message_id)

chunk = Table(
    "chunk", metadata,
    Column("blob_id", Text, ForeignKey("blob.id", ondelete="CASCADE"), primary_key=True),
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("content", LargeBinary, nullable=False),  # the first one begins with format byte and key id
    sqlite_strict=True, sqlite_with_rowid=False,
)

part = Table(
    "part", metadata,
    Column("message_id", Text, ForeignKey("message.id"), primary_key=True),
    Column("no", Integer, primary_key=True, autoincrement=False),
    Column("role", Text, nullable=False),
    Column("kind", Text),
    Column("field", Text),
    Column("name", Text, nullable=False),
    Column("filename", Text),
    Column("media_type", Text, nullable=False),
    Column("size", Number, nullable=False),
    Column("sha256", Text, nullable=False),
    Column("blob", Text, nullable=False),
    sqlite_strict=True, sqlite_with_rowid=False,
)

delivery = Table(
    "delivery", metadata,
    Column("no", Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("message_id", Text, ForeignKey("message.id"), nullable=False),
    Column("tenant", Text, nullable=False),
    Column("ags", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("destination", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("test", Integer, nullable=False),
    Column("case", Text),
    Column("order_key", Text),
    Column("state", Text, nullable=False),
    Column("created_at", Micros, nullable=False),
    Column("first_due_at", Micros, nullable=False),
    Column("due_at", Micros),
    Column("fresh", Integer, nullable=False, server_default="1"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("effect_at", Micros),
    Column("repeat_marked", Integer, nullable=False, server_default="0"),
    Column("error", Text),
    Column("reason", Text),
    Column("reason_text", Text),
    Column("receipt", Text),
    Column("finished_at", Micros),
    Column("manifest", Text, nullable=False),
    Column("config_digest", Text, nullable=False),
    Column("mapping_digest", Text, nullable=False),
    Column("lease_owner", Text),
    Column("lease_until", Micros),
    Column("lease_fencing", Number, nullable=False, server_default="0"),
    CheckConstraint(_one_of(DeliveryState), name="delivery_state"),
    sqlite_strict=True,
)
COPIED = ("tenant", "ags", "service", "test", "case")
"""The columns that a delivery's row copies from its message's row. `hub.store.transitions.deliveries` claims
both, the message's as ``own_tenant`` …: where they differ, a bit has flipped."""
DELIVERY_WAITS = text("due_at IS NOT NULL")
DELIVERY_LEASED = text("lease_until IS NOT NULL")
DELIVERY_OPEN = text("state IN ('due', 'delivering', 'in_doubt')")
Index("delivery_waiting", delivery.c.destination, delivery.c.fresh, delivery.c.due_at, delivery.c.no,
      sqlite_where=DELIVERY_WAITS, postgresql_where=DELIVERY_WAITS)
Index("delivery_leased", delivery.c.lease_until, sqlite_where=DELIVERY_LEASED,
      postgresql_where=DELIVERY_LEASED)
Index("delivery_open", delivery.c.destination, delivery.c.created_at,
      sqlite_where=DELIVERY_OPEN, postgresql_where=DELIVERY_OPEN)
Index("delivery_by_message", delivery.c.message_id)
DELIVERY_ORDERED = text("order_key IS NOT NULL AND state IN ('due', 'delivering', 'in_doubt', 'parked')")
Index("delivery_ordered", delivery.c.order_key, delivery.c.destination,
      sqlite_where=DELIVERY_ORDERED, postgresql_where=DELIVERY_ORDERED)

event = Table(
    "event", metadata,
    Column("no", Number, primary_key=True),
    Column("at", Micros, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("delivery_id", Text),
    Column("name", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("reason", Text),
    Column("detail", Text),
    Column("who", Text),
    sqlite_strict=True,
)
Index("event_by_message", event.c.message_id, event.c.no)

tally = Table(
    "tally", metadata,
    Column("kind", Text, primary_key=True),
    Column("service", Text, primary_key=True),
    Column("destination", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("count", Number, nullable=False),
    sqlite_strict=True, sqlite_with_rowid=False,
)

usage = Table(
    "usage", metadata,
    Column("tenant", Text, primary_key=True),
    Column("service", Text, primary_key=True),
    Column("month", Text, primary_key=True),  # 2026-11, in Europe/Berlin
    Column("destination", Text, primary_key=True),  # empty: messages completed; else deliveries done there
    # what the destination was then (mail, file, dms, fachverfahren …); empty: unknown
    Column("kind", Text, primary_key=True),
    Column("count", Number, nullable=False),
    Column("first_at", Micros, nullable=False),
    Column("last_at", Micros, nullable=False),
    sqlite_strict=True, sqlite_with_rowid=False,
)

action = Table(
    "action", metadata,
    Column("id", Text, primary_key=True),
    Column("at", Micros, nullable=False),
    Column("who", Text, nullable=False),
    Column("verb", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("result", Text, nullable=False),
    sqlite_strict=True,
)

node = Table(
    "node", metadata,
    Column("fencing", Number, primary_key=True, autoincrement=False),
    Column("identity", Text, nullable=False),  # of the machine and the folder: the same after a new start
    Column("name", Text, nullable=False),
    Column("started_at", Micros, nullable=False),
    # how its sessions call themselves: whoever takes it over ends them
    Column("session", Text, nullable=False),
    Column("beat", Number, nullable=False),  # counts up while the node lives and reaches the database
    Column("beat_at", Micros, nullable=False),  # by the database's clock
    Column("ended_at", Micros),
    Column("ended", Text),  # stopped, or taken over
    sqlite_strict=True,
)
NODE_LIVES = text("ended_at IS NULL")
Index("node_alive", node.c.fencing, sqlite_where=NODE_LIVES, postgresql_where=NODE_LIVES)

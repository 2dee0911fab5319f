"""The changes of a message's state: it is accepted, claimed, and recorded with its deliveries.

::

    accept ─► received ─ claim ─► in a worker ─ record ─► routed, with deliveries │ parked │ completed

`accept` answers a known duplicate key with the message that has it (Idempotent Receiver). `record` writes the
outcome of the pipeline only while this process still holds the message. `damaged` finds messages whose row no
longer is what was accepted.

Functions on one `Transaction`; `hub.store.store.Store` provides threads, bodies and connections. What happens
to the deliveries is in `hub.store.transitions.deliveries`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, literal_column, null, select, update

from hub.errors import Conflict, HubError
from hub.job import Facts, Outcome, Parked
from hub.message import (
    RESTORED,
    Accepted,
    DeliveryState,
    Incoming,
    MessageState,
    Reason,
    StoredMessage,
    StoredPart,
    content_digest,
    duplicate_key,
    encode_json,
    new_message_id,
)
from hub.store.blobs.payload import Staged
from hub.store.blobs.protocol import Blobs
from hub.store.database.statements import Many, Query, batches
from hub.store.database.tables import blob, day, delivery, duplicate, message, moment, part, span
from hub.store.database.transaction import Transaction
from hub.store.transitions import case_order

KEY_KEPT = timedelta(days=30)
# not bound: the planner must see that the partial index fits
RECEIVED: ColumnElement[str] = literal_column(f"'{MessageState.RECEIVED.value}'")
_KEYS = Query(select(duplicate).where(duplicate.c.key.in_(bindparam("keys", expanding=True))))
_KEEP_KEYS = Many.insert(duplicate, [column.name for column in duplicate.c])
INSERT = Many.insert(message,
                     ["id", "tenant", "ags", "service", "sender", "inlet", "test", "state", "received_at",
                       "accepted_day", "case", "correlation", "reply_to", "key", "content_digest", "reason",
                       "reason_text", "config_digest"])
_INSERT_PARTS = Many.insert(part, [column.name for column in part.c])
WAITING = Query(select(message.c.id)
                 .where(message.c.state == RECEIVED, message.c.suspect == literal_column("0"),
                        message.c.lease_until <= bindparam("now"))
                 .order_by(message.c.lease_until,
                           message.c.no).limit(bindparam("limit")).with_for_update(skip_locked=True))
_LEASE = Query(update(message).where(message.c.id.in_(bindparam("ids", expanding=True))).values(
    lease_owner=bindparam("owner"), lease_until=bindparam("until"), lease_fencing=bindparam("fencing")))
_OWNED = Query(select(message.c.id, message.c.tenant, message.c.ags, message.c.service, message.c.test,
                      message.c.case,
                message.c.order_key, message.c.reason).where(
    message.c.id.in_(bindparam("ids", expanding=True)), message.c.state == RECEIVED,
    message.c.lease_fencing == bindparam("fencing"), message.c.lease_until > literal_column("0")))
_INSERT_DELIVERIES = Many.insert(delivery, ["id", "recipient", "destination", "generation", "manifest",
                                            "message_id", "tenant",
                                            "ags", "service", "test", "case", "order_key", "state", "error",
                                            "created_at", "first_due_at", "due_at", "config_digest",
                                            "mapping_digest"])
_RECORDED = ("state", "reason", "reason_text", "trace", "rule", "config_digest", "mapping_digest",
             "finished_at", "source",
             "form_id", "form_name", "form_version", "mandant", "canonical_digest", "test")
_RECORD = Many(update(message).where(message.c.id == bindparam("b_id")).values(
    **{name: bindparam(name) for name in _RECORDED}, lease_owner=null(), lease_until=literal_column("0"),
    lease_fencing=literal_column("0"), suspect=literal_column("0")), (*_RECORDED, "b_id"))
_OWNERS = Query(select(blob.c.message_id,
                       blob.c.tenant).where(blob.c.message_id.in_(bindparam("ids", expanding=True))))
_PARTS = Query(select(part).where(part.c.message_id.in_(bindparam("ids", expanding=True)))
               .order_by(part.c.message_id, part.c.no))


@dataclass(frozen=True, slots=True)
class Arrival:
    """An `Incoming` with all that is computed before the transaction."""

    incoming: Incoming
    tenant: str
    day: date
    config_digest: str
    key: str
    content_digest: str
    staged: tuple[Staged, ...]
    blobs: Blobs
    parked: tuple[str, str] | None
    new_id: Callable[[], str] = new_message_id


def accept(tx: Transaction, arrivals: Sequence[Arrival]) -> list[Accepted | Conflict]:
    """Store the new arrivals. An arrival with a known key is answered with the message that has the key.

    When its content differs, `Incoming.conflict` decides: it is answered
    with `Conflict`, or stored and parked.
    """
    tx.one_by_one(arrival.key for arrival in arrivals)
    known = known_keys(tx, arrivals)
    answers: list[Accepted | Conflict] = []
    new: list[tuple[str, Arrival, tuple[str, str] | None]] = []
    keys: list[dict[str, Any]] = []
    for arrival in arrivals:
        message_id, digest = known.get(arrival.key, (None, ""))
        if message_id is None:
            message_id = arrival.new_id()
            known[arrival.key] = (message_id, arrival.content_digest)
            keys.append({"key": arrival.key, "message_id": message_id,
                         "content_digest": arrival.content_digest,
                         "kept_until": tx.now + span(KEY_KEPT)})
            new.append((message_id, arrival, arrival.parked))
            answers.append(Accepted(message_id))
        elif digest == arrival.content_digest:
            tx.ledger.happened("message", arrival.incoming.service, "", "duplicate")
            answers.append(Accepted(message_id, duplicate=True))
        elif arrival.incoming.conflict == "refuse":
            tx.ledger.happened("message", arrival.incoming.service, "", "conflict")
            answers.append(Conflict(message_id))
        else:
            text = f"Gleicher Schlüssel wie Nachricht {message_id}, aber anderer Inhalt"
            new.append((arrival.new_id(), arrival, (Reason.CONFLICT.value, text)))
            answers.append(Accepted(new[-1][0]))
    insert_messages(tx, new)
    _KEEP_KEYS(tx.connection, keys)
    return answers


def known_keys(tx: Transaction, arrivals: Sequence[Arrival]) -> dict[str, tuple[str | None, str]]:
    """The message and the content digest of each known key. Expired keys are deleted."""
    known: dict[str, tuple[str | None, str]] = {}
    expired = []
    for some in batches([arrival.key for arrival in arrivals]):
        for row in _KEYS(tx.connection, keys=some):
            if row.kept_until > tx.now:
                known[row.key] = (row.message_id, row.content_digest)
            else:
                expired.append(row.key)
    for some in batches(expired):
        tx.connection.execute(delete(duplicate).where(duplicate.c.key.in_(some)))
    return known


def insert_messages(tx: Transaction, new: Sequence[tuple[str, Arrival, tuple[str, str] | None]]) -> None:
    """Write the rows of new messages, with their parts and bodies."""
    rows, parts, blobs = [], [], []
    for message_id, arrival, parked in new:
        incoming = arrival.incoming
        state = MessageState.PARKED if parked else MessageState.RECEIVED
        reason, text = parked or (None, None)
        rows.append({
            "id": message_id, "tenant": arrival.tenant, "ags": incoming.ags, "service": incoming.service,
            "sender": incoming.sender, "inlet": incoming.inlet, "test": int(incoming.test),
            "state": state.value, "received_at": tx.now, "accepted_day": arrival.day.isoformat(),
            "case": incoming.case, "correlation": incoming.correlation, "reply_to": incoming.reply_to,
            "key": incoming.key, "content_digest": arrival.content_digest, "reason": reason,
            "reason_text": text, "config_digest": arrival.config_digest})
        for no, (body, staged) in enumerate(zip(incoming.parts, arrival.staged, strict=True), 1):
            parts.append({"message_id": message_id, "no": no, "role": "received", "kind": None, "field": None,
                          "name": body.name, "filename": body.filename, "media_type": body.media_type,
                          "size": staged.size, "sha256": staged.sha256, "blob": staged.id})
            blobs.append((staged, message_id, arrival.tenant))
        tx.ledger.happened("message", incoming.service, "", "accepted")
        tx.ledger.moved("message", incoming.service, "", None, state.value)
        told = " ".join(filter(None, (text, *incoming.notes))) or None
        tx.ledger.event(tx.now, message_id, "accepted", after=state.value, reason=reason, detail=told)
        if reason is not None:
            tx.ledger.happened("message", incoming.service, "", f"parked:{reason}")
    INSERT(tx.connection, rows)
    if blobs:
        new[0][1].blobs.insert(tx.connection, blobs)
    _INSERT_PARTS(tx.connection, parts)


def claim(tx: Transaction, limit: int, lease: timedelta, owner: str,
          only: Sequence[str] | None = None) -> list[str]:
    """Lease up to `limit` received messages, the oldest first. With `only` these alone, suspects too."""
    if only is None:
        ids = [row.id for row in WAITING(tx.connection, now=tx.now, limit=limit)]
    else:
        ids = [row.id for some in batches(only) for row in tx.connection.execute(
            select(message.c.id).where(message.c.id.in_(some), message.c.state == RECEIVED,
                                       message.c.lease_until <= tx.now).order_by(message.c.no)
            .with_for_update(skip_locked=True))][:limit]
    for some in batches(ids):
        _LEASE(tx.connection, ids=some, owner=owner, until=tx.now + span(lease), fencing=tx.fencing)
    return ids


def release(tx: Transaction, ids: Sequence[str]) -> None:
    """Give the leases back, because nothing happened to these messages."""
    for some in batches(ids):
        tx.connection.execute(update(message).where(
            message.c.id.in_(some), message.c.state == RECEIVED, message.c.lease_fencing == tx.fencing,
        ).values(lease_owner=None, lease_until=0, lease_fencing=0))


def adopt(tx: Transaction, message_id: str, tenant: str) -> None:
    """Give a message of an unknown AGS, with its bodies, to the municipality that now has the AGS."""
    for table, key in ((message, message.c.id), (blob, blob.c.message_id)):
        tx.connection.execute(update(table).where(key == message_id).values(tenant=tenant))
    tx.ledger.event(tx.now, message_id, "adopted", detail=tenant)


def count_death(tx: Transaction, message_id: str) -> int:
    """Count a death of a worker over this message. Returns the number of deaths.

    Raises `HubError` for an unknown message.
    """
    deaths = tx.connection.execute(
        update(message).where(message.c.id == message_id).values(deaths=message.c.deaths + 1)
        .returning(message.c.deaths)).scalar()
    if deaths is None:
        raise HubError(f"no message {message_id}")
    tx.ledger.event(tx.now, message_id, "death", detail=str(deaths))
    return int(deaths)


@dataclass(frozen=True, slots=True)
class Recording:
    """An outcome of the pipeline with all that is computed before the transaction: staged blobs, and rows."""

    outcome: Outcome
    config_digest: str
    blobs: Blobs
    staged: tuple[Staged, ...] = ()
    parts: tuple[dict[str, Any], ...] = ()
    deliveries: tuple[dict[str, Any], ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    """What a hand-over with several applications is split into (`hub.store.transitions.split`)."""

    @property
    def everything(self) -> list[Staged]:
        """All staged bodies."""
        return [*self.staged, *(staged for arrival in self.arrivals for staged in arrival.staged)]


def record(tx: Transaction, recordings: Sequence[Recording]) -> list[list[str] | None]:
    """Write the outcomes of the messages that this process still holds.

    Returns the destinations of each recording, or None where this process no longer holds the message.
    """
    owned = _owned(tx, [recording.outcome.message_id for recording in recordings])
    written: list[tuple[Row[Any], Recording]] = []
    answers: list[list[str] | None] = []
    for recording in recordings:
        row = owned.pop(recording.outcome.message_id, None)
        answers.append(None if row is None else [new["destination"] for new in recording.deliveries])
        if row is not None:
            written.append((row, recording))
    if written:
        _write_bodies(tx, written)
        _write_deliveries(tx, written)
        for row, recording in written:
            if recording.arrivals:
                _accept_parts_of(tx, row, recording.arrivals)
        _RECORD(tx.connection, [_finish(tx, row, recording) for row, recording in written])
        case_order.free(tx, [(row.tenant, row.case) for row, _ in written])
    return answers


def _owned(tx: Transaction, ids: Sequence[str]) -> dict[str, Row[Any]]:
    rows: dict[str, Any] = {}
    for some in batches(ids):
        rows.update((row.id, row) for row in _OWNED(tx.connection, ids=some, fencing=tx.fencing))
    return rows


def _write_bodies(tx: Transaction, written: Sequence[tuple[Row[Any], Recording]]) -> None:
    written[0][1].blobs.insert(tx.connection, [(staged, row.id, row.tenant)
                                               for row, recording in written for staged in recording.staged])
    parts = [new for _, recording in written for new in recording.parts]
    _INSERT_PARTS(tx.connection, parts)


def _write_deliveries(tx: Transaction, written: Sequence[tuple[Row[Any], Recording]]) -> None:
    rows = []
    for row, recording in written:
        state, error = ((DeliveryState.IN_DOUBT.value, RESTORED) if row.reason == RESTORED
                        else (DeliveryState.DUE.value, None))
        for new in recording.deliveries:
            rows.append({
                **new, "message_id": row.id, "tenant": row.tenant, "ags": row.ags, "service": row.service,
                "test": int(row.test or recording.outcome.facts.test), "case": row.case,
                "order_key": row.case if getattr(recording.outcome, "order", None) == "case"
                else row.order_key,
                "state": state, "error": error, "created_at": tx.now, "first_due_at": tx.now,
                "due_at": tx.now,
                "config_digest": recording.config_digest, "mapping_digest": recording.outcome.mapping_digest})
            tx.ledger.happened("delivery", row.service, new["destination"], "created")
            tx.ledger.moved("delivery", row.service, new["destination"], None, state)
            tx.ledger.event(tx.now, row.id, "created", delivery_id=new["id"], after=state)
    _INSERT_DELIVERIES(tx.connection, rows)


def _accept_parts_of(tx: Transaction, row: Row[Any], arrivals: Sequence[Arrival]) -> None:
    """Accept the messages that a hand-over is split into. All share its correlation, or its id instead."""
    of = tx.connection.execute(select(message.c.correlation, message.c.reply_to)
                               .where(message.c.id == row.id)).one()
    common = of.correlation or row.id
    new = [(arrival.new_id(), replace(arrival, tenant=row.tenant, incoming=replace(
        arrival.incoming, correlation=common, reply_to=of.reply_to)), None) for arrival in arrivals]
    insert_messages(tx, new)
    taken = known_keys(tx, arrivals)  # a sender that chooses such keys itself stops nothing
    _KEEP_KEYS(tx.connection, [
        {"key": arrival.key, "message_id": message_id, "content_digest": arrival.content_digest,
         "kept_until": tx.now + span(KEY_KEPT)}
        for message_id, arrival, _ in new if arrival.key not in taken])
    ids = [message_id for message_id, _, _ in new]
    changes: dict[str, Any] = {"correlation": common}
    if row.reason == RESTORED:
        changes["reason"] = RESTORED
    tx.connection.execute(update(message).where(message.c.id.in_(ids)).values(**changes))
    tx.connection.execute(update(message).where(message.c.id == row.id).values(correlation=common))
    tx.ledger.event(tx.now, row.id, "split", detail=" ".join(ids))


def _finish(tx: Transaction, row: Row[Any], recording: Recording) -> dict[str, Any]:
    """Write the events of an outcome. Returns the new values of the message's row."""
    outcome = recording.outcome
    reason = text = None
    if isinstance(outcome, Parked):
        state, reason, text = MessageState.PARKED, outcome.reason, outcome.text
        tx.ledger.happened("message", row.service, "", f"parked:{reason}")
    elif recording.deliveries:
        state = MessageState.ROUTED
    else:
        state = MessageState.COMPLETED
        tx.ledger.happened("message", row.service, "", "completed")
    tx.ledger.moved("message", row.service, "", MessageState.RECEIVED.value, state.value)
    tx.ledger.event(tx.now, row.id, state.value, before=MessageState.RECEIVED.value, after=state.value,
                    reason=reason,
                    detail=" ".join(filter(None, (text or getattr(outcome, "rule", None),
                                                  *(f"[{note}]" for note in outcome.notes)))) or None)
    return {"b_id": row.id, "state": state.value, "reason": reason, "reason_text": text,
            "trace": encode_json(outcome.trace) if outcome.trace else None,
            "rule": getattr(outcome, "rule", None), "config_digest": recording.config_digest,
            "mapping_digest": outcome.mapping_digest,
            "finished_at": tx.now if state is MessageState.COMPLETED else None,
            **_facts(outcome.facts, row)}


def _facts(facts: Facts, row: Row[Any]) -> dict[str, Any]:
    return {"source": facts.source, "form_id": facts.form_id, "form_name": facts.form_name,
            "form_version": facts.form_version,
            "mandant": facts.mandant, "canonical_digest": facts.canonical_digest,
            "test": int(row.test or facts.test)}


def read_messages(connection: Connection, rows: Iterable[Row[Any]]) -> list[StoredMessage]:
    """The messages of these rows, with their parts."""
    rows = list(rows)
    parts: dict[str, list[StoredPart]] = {row.id: [] for row in rows}
    for some in batches(list(parts)):
        for found in _PARTS(connection, ids=some):
            parts[found.message_id].append(StoredPart(found.no, found.role, found.name, found.filename,
                                                      found.media_type,
                                                      found.size, found.sha256, found.blob))
    return [StoredMessage(
        row.id, row.tenant, row.ags, row.service, row.sender, row.inlet, bool(row.test),
        MessageState(row.state), moment(row.received_at), day(row.accepted_day), row.case, row.reason,
        row.reason_text, row.form_id, row.form_version, row.deaths, tuple(parts[row.id]),
        None if row.payload_deleted_at is None else moment(row.payload_deleted_at),
        correlation=row.correlation) for row in rows]


def damaged(connection: Connection, rows: Sequence[Row[Any]], messages: Sequence[StoredMessage]) -> set[str]:
    """The ids of messages whose row or parts differ from what was accepted.

    A flipped bit must not send a message to another place. Three things are compared:

    * the digest over the parts;
    * the duplicate key (`hub.message.duplicate_key`), as long as it is kept: the key computed from the row
      must be the one that names the message. A message that came with the key of another one has no key. A
      message that translation recognised as a test has the key of one that is no test;
    * the tenant, which the bodies name too.
    """
    found = {each.id for row, each in zip(rows, messages, strict=True)
             if content_digest(each for each in each.parts if each.role == "received") != row.content_digest}
    keys = {row.id: {duplicate_key(row.sender, row.ags, row.service, test, row.key, row.content_digest)
                     for test in {False, bool(row.test)}} for row in rows}
    known = {row.key: row.message_id for some in batches([key for each in keys.values() for key in each])
             for row in _KEYS(connection, keys=some)}
    doubtful = [name for name, each in keys.items() if name not in {known.get(key) for key in each}]
    for some in batches(doubtful):  # slow, and rare: a key that has expired
        found.update(connection.execute(
            select(duplicate.c.message_id).where(duplicate.c.message_id.in_(some))).scalars())
    tenants = {row.id: row.tenant for row in rows}
    found.update(row.message_id for some in batches(list(tenants)) for row in _OWNERS(connection, ids=some)
                 if row.tenant != tenants[row.message_id])
    return found

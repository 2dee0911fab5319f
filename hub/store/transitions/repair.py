"""Repairs what `hub.store.integrity` found, where that is safe. It deletes nothing and makes no content up.

* ``orphan``: the file is moved to ``<state>/quarantine/<moment>/``. A person looks at it and deletes it.
* ``tally``: the tally is set to the number of rows.
* ``missing``, ``damaged``: what needs this body to be delivered is parked with a reason. What was delivered
  already keeps its state. In both cases the history of the message notes the loss.
* ``database``, ``reference``: not repaired. A store with damaged tables is restored from a backup
  (docs/operate-backup.md).
* ``leftover``: left to the retention's next run.

Functions on one `Transaction`. Used by `hub.store.store` for ``drehscheibe
store repair``, while the hub is stopped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from hub.message import DeliveryState, MessageState, Reason
from hub.store.blobs.files import FileBlobs
from hub.store.blobs.payload import Damaged
from hub.store.blobs.protocol import Blobs
from hub.store.database.ledger import TallyKey
from hub.store.database.statements import batches
from hub.store.database.tables import action, delivery, message
from hub.store.database.transaction import Transaction
from hub.store.integrity import EVENT, Fault, Report

QUARANTINE = "quarantine"
"""The folder of orphans, below the state folder."""
HOPELESS = frozenset({"database", "reference"})
"""The kinds of faults that cannot be repaired."""
_FINAL = (DeliveryState.DONE.value, DeliveryState.DISCARDED.value)
_LOST = "Der gespeicherte Inhalt ist beschädigt oder fehlt (Prüfung des Speichers). "
_ASK_SENDER = _LOST + ("Aus einer Sicherung zurückholen (docs/operate-backup.md), sonst beim Absender neu "
                       "anfordern und diese Nachricht verwerfen.")
_ASK_RECEIVER = _LOST + ("Ob der Empfänger sie schon hat, ist unbekannt: dort nachsehen, dann 'confirm' "
                         "(ist da); sonst aus einer Sicherung zurückholen oder beim Absender neu anfordern.")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a repair will do.

    It has the ids of messages and deliveries to park, the faults to note in histories, the ids of orphans,
    what to add to tallies, and the faults that cannot be repaired.
    """

    park_messages: tuple[str, ...]
    park_deliveries: tuple[str, ...]
    note: tuple[Fault, ...]
    orphans: tuple[str, ...]
    tallies: Mapping[TallyKey, int]
    hopeless: tuple[Fault, ...]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.park_messages or self.park_deliveries or self.note or self.orphans or self.tallies)

    def to_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return {"park_messages": self.park_messages, "park_deliveries": self.park_deliveries,
                "note": sorted({fault.message for fault in self.note if fault.message}),
                "quarantine": self.orphans,
                "tallies": {"/".join(filter(None, key)): count for key, count in self.tallies.items()},
                "not_mended": [f"{fault.kind}: {fault.id}: {fault.text}" for fault in self.hopeless]}


def plan(connection: Connection, blobs: Blobs, report: Report) -> Plan:
    """The plan for the faults of a report."""
    lost = [fault for fault in report.faults if fault.kind in ("missing", "damaged") and fault.message
            and not fault.known]
    by_message: dict[str, set[str]] = {}
    for fault in lost:
        by_message.setdefault(fault.message or "", set()).add(fault.id)
    messages: list[str] = []
    deliveries: list[str] = []
    for some in batches(sorted(by_message)):
        rows = connection.execute(select(message.c.id, message.c.state).where(message.c.id.in_(some)))
        messages += [row.id for row in rows
                     if row.state in (MessageState.RECEIVED, MessageState.DEFERRED, MessageState.PARKED)]
        for row in connection.execute(select(delivery).where(delivery.c.message_id.in_(some),
                                                             delivery.c.state.not_in(_FINAL))
                                      .order_by(delivery.c.no)):
            if _needs(connection, blobs, row, by_message[row.message_id]):
                deliveries.append(row.id)
    return Plan(tuple(messages), tuple(deliveries), tuple(lost),
                tuple(fault.id for fault in report.faults if fault.kind == "orphan"), dict(report.tallies),
                tuple(fault for fault in report.faults if fault.kind in HOPELESS))


def _needs(connection: Connection, blobs: Blobs, row: Row[Any], lost: set[str]) -> bool:
    """Whether a delivery needs one of the lost bodies."""
    if row.manifest in lost:
        return True
    body = blobs.fetch(connection, [row.manifest]).get(row.manifest)
    try:
        parts = json.loads(body.read())["parts"] if body else ()
    except Damaged:
        return True
    return any(part["blob"] in lost for part in parts)


def carry_out(tx: Transaction, todo: Plan, who: str) -> dict[str, Any]:
    """Carry out what concerns the tables. The answer is kept as an operator's action."""
    for fault in todo.note:
        tx.ledger.event(tx.now, fault.message or "", EVENT, detail=fault.id, reason=fault.kind, who=who)
    for some in batches(todo.park_messages):
        for row in tx.connection.execute(select(message).where(message.c.id.in_(some))).all():
            _park_message(tx, row, who)
    for some in batches(todo.park_deliveries):
        for row in tx.connection.execute(select(delivery).where(delivery.c.id.in_(some))).all():
            _park_delivery(tx, row, who)
    for key, count in todo.tallies.items():
        tx.ledger.tallies[key] += count
    result = {name: len(found) for name, found in todo.to_json().items()}
    tx.connection.execute(insert(action),
                          [{"id": f"store-repair-{tx.now}", "at": tx.now, "who": who, "verb": "store-repair",
                            "target": "store", "result": json.dumps(result)}])
    return result


def _park_message(tx: Transaction, row: Row[Any], who: str) -> None:
    tx.connection.execute(update(message).where(message.c.no == row.no).values(
        state=MessageState.PARKED.value, reason=Reason.DAMAGED.value, reason_text=_ASK_SENDER, suspect=0,
        lease_owner=None, lease_until=0, lease_fencing=0))
    tx.ledger.moved("message", row.service, "", row.state, MessageState.PARKED.value)
    tx.ledger.happened("message", row.service, "", f"parked:{Reason.DAMAGED.value}")
    tx.ledger.event(tx.now, row.id, "parked", before=row.state, after=MessageState.PARKED.value,
                    reason=Reason.DAMAGED.value, detail=_ASK_SENDER, who=who)


def _park_delivery(tx: Transaction, row: Row[Any], who: str) -> None:
    asked = row.state in (DeliveryState.DELIVERING, DeliveryState.IN_DOUBT) or row.reason == Reason.IN_DOUBT
    why = _ASK_RECEIVER if asked else _ASK_SENDER
    tx.connection.execute(update(delivery).where(delivery.c.no == row.no).values(
        state=DeliveryState.PARKED.value, due_at=None, reason=Reason.DAMAGED.value, reason_text=why,
        lease_owner=None, lease_until=None, lease_fencing=0))
    tx.ledger.moved("delivery", row.service, row.destination, row.state, DeliveryState.PARKED.value)
    tx.ledger.happened("delivery", row.service, row.destination, "parked")
    tx.ledger.event(tx.now, row.message_id, "parked", delivery_id=row.id, before=row.state,
                    after=DeliveryState.PARKED.value, reason=Reason.DAMAGED.value, detail=why, who=who)


def quarantine(blobs: Blobs, names: Sequence[str], folder: Path) -> int:
    """Move files without a row to the new folder `folder`. Returns how many. It never deletes or replaces."""
    if not names or not isinstance(blobs, FileBlobs):
        return 0
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)
    moved = 0
    for name in names:
        with suppress(FileNotFoundError):
            blobs.path(name).rename(folder / name)
            moved += 1
    return moved

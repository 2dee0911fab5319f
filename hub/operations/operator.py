"""What an operator can ask and do, each as plain data: the one implementation behind command line, socket and
console.

Every change names the person and, where it is final, a reason; it stands in the message's history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.errors import HubError
from hub.message import BERLIN, DeliveryState, MessageState, Reason, StoredMessage
from hub.operations.long_task import LongWork
from hub.store.backup import take
from hub.store.database.tables import moment
from hub.store.integrity import Progress
from hub.store.store import DeliveryRow
from hub.store.transitions.operator_actions import Ambiguous, NotFound

if TYPE_CHECKING:
    from hub.administration.retention import Retention
    from hub.delivery.deliverer import Deliverer
    from hub.intake.disk_space import Space
    from hub.store.store import Store


class Operator:
    """Verbs for people, on an open store; beside a running hub it also wakes what must go on."""

    READING = frozenset({"show", "why", "queue", "messages", "status", "usages", "expiring", "begin",
                         "progress"})
    LONG = frozenset({"check_store", "backup"})
    CHANGING = frozenset({"replay", "discard", "confirm", "resend", "reload", "expire"})

    def __init__(self, store: Store, deliverer: Deliverer | None = None,
                 wake: Callable[[], None] = lambda: None,
                 reload: Callable[[], list[str]] | None = None, retention: Retention | None = None,
                 space: Space | None = None, awaits_restart: Callable[[], list[str]] = list) -> None:
        self._space = space
        self._long = LongWork()
        self._store = store
        self._deliverer = deliverer
        self._wake = wake
        self._reload = reload
        self._awaits_restart = awaits_restart
        self._retention = retention

    def show(self, id: str) -> dict[str, Any]:
        """One message with its parts, deliveries and history. A part is told by its number: its name and its
        type are the sender's words."""
        message = self._message(id)
        return {**_message(message),
                "parts":
                [{"role": part.role, "no": part.no, "size": part.size, "sha256": part.sha256}
                 for part in message.parts],
                "deliveries": [_delivery(row) for row in self._store.deliveries_of(message.id)],
                "events": [{"at": _time(event.at), "event": event.name, "delivery": event.delivery_id,
                            "reason": event.reason,
                            "detail": event.detail, "who": event.who}
                           for event in self._store.events_of(message.id)]}

    def why(self, id: str) -> dict[str, Any]:
        """Why a message is where it is, and what to do next, in German."""
        message = self._message(id)
        rows = self._store.deliveries_of(message.id)
        lines, steps = [_MESSAGE_TEXT[message.state]], []
        if self._space is not None and self._space.why and message.state is MessageState.RECEIVED:
            lines.append(f"Der Datenträger ist fast voll ({self._space.room.free >> 20} MiB frei): Es wird "
                         "nichts angenommen"
                         + ("." if self._space.may_translate()
                            else ", und Angenommenes wartet auf die Verarbeitung."))
            steps.append("Platz schaffen (df -h); es geht von selbst weiter")
        trace = list(self._store.trace_of(message.id))
        if message.reason:
            lines.append(f"Grund: {message.reason}: {_untold(message.reason_text or '', trace)}")
        if message.payload_deleted_at:
            lines.append(f"Der Inhalt wurde am {message.payload_deleted_at.astimezone(BERLIN):%d.%m.%Y} nach "
                         "Ablauf der "
                         "Aufbewahrungsfrist gelöscht; der Nachweis bleibt.")
        if message.state is MessageState.PARKED:
            steps += [f"{_REMEDY.get(message.reason or '', 'Ursache beheben')}, dann: drehscheibe replay "
                      f"{message.id}"
                      if message.reason not in _SENT_AGAIN else
                      f"{_SENT_AGAIN[message.reason]} (hat sich die Prüfung geändert: drehscheibe replay "
                      f"{message.id})",
                      f"oder endgültig verwerfen: drehscheibe discard {message.id} --reason …"]
        for row in rows:
            lines.append(f"Zustellung an {row.destination} ({row.recipient}): {_DELIVERY_TEXT[row.state]}"
                         + (f", Versuch {row.attempts}" if row.attempts else "") + (f": {row.text}"
                                                                                    if row.text else ""))
            circuit = self._deliverer.circuits().get(row.destination) if self._deliverer else None
            lines += self._held(row)
            if row.state is DeliveryState.DUE and circuit and circuit.open(datetime.now(UTC)):
                lines.append(f"  Das Ziel {row.destination} ruht bis {_time(circuit.resting_until)}: "
                             f"{circuit.why}")
                steps.append(f"{row.destination} in Ordnung bringen (prüfen: drehscheibe check --connect); "
                             "es geht von selbst "
                             "weiter")
            if row.state is DeliveryState.PARKED:
                steps += [f"Ziel in Ordnung bringen, dann: drehscheibe replay {row.id}",
                          f"oder: drehscheibe confirm {row.id} --reason … (ist angekommen), "
                          f"drehscheibe discard {row.id} --reason … (wird nicht mehr gebraucht)"]
        return {"id": message.id, "state": message.state, "lines": lines, "trace": trace, "next": steps}

    def _held(self, row: DeliveryRow) -> list[str]:
        """Why a waiting delivery waits though nothing is wrong with its destination."""
        if row.state is not DeliveryState.DUE:
            return []
        opens = self._deliverer.closed_until(row.destination) if self._deliverer else None
        lines = [
            f"  Das Ziel {row.destination} nimmt erst ab {_time(opens)} wieder etwas an (window)."
        ] if opens else []
        before = self._store.predecessor(row.id) if row.due_at is None else None
        if before:
            lines.append(f"  Vorher muss die frühere Nachricht {before.message_id} desselben Vorgangs "
                         "zugestellt oder verworfen "
                         f"sein ({before.state}): drehscheibe why {before.message_id}")
        return lines

    def queue(self) -> list[dict[str, Any]]:
        """What waits, by destination: counts by state, age of the oldest, whether it rests."""
        now = datetime.now(UTC)
        circuits = self._deliverer.circuits() if self._deliverer else {}
        in_order = self._store.waiting_in_order()
        result = []
        for row in self._store.queue():
            circuit = circuits.get(row.destination)
            rests = circuit is not None and circuit.open(now)
            opens = self._deliverer.closed_until(row.destination) if self._deliverer else None
            waiting = {str(state): row.states.get(state, 0) for state in _WAITING}
            result.append({"destination": row.destination, **waiting,
                           "oldest_seconds": round((now - row.oldest).total_seconds(), 1) if row.oldest
                           else None,
                           "resting_until": _time(circuit.resting_until) if circuit and rests else None,
                           "why": circuit.why if circuit and rests else None,
                           "closed_until": _time(opens),
                            "waiting_for_turn": in_order.get(row.destination, 0)})
        return result

    def messages(self, state: str | None = None, ags: str | None = None, service: str | None = None,
                 limit: int = 50) -> list[dict[str, Any]]:
        """The newest messages, by state, AGS, service."""
        wanted = MessageState(state) if state else None
        return [_message(message)
                for message in self._store.find_messages(state=wanted, ags=ags, service=service,
                                                         limit=min(limit, 10_001))]

    def status(self) -> dict[str, Any]:
        """The two balances and the oldest undelivered message."""
        messages, deliveries = self._store.balances()
        return {"messages": {"accepted": messages.total, **messages.states, "balanced": messages.holds},
                "deliveries":
                {"created": deliveries.total, **deliveries.states, "balanced": deliveries.holds},
                "oldest_undelivered": _time(self._store.oldest_undelivered()), **self._room(),
                **self._nodes()}

    def _nodes(self) -> dict[str, Any]:
        """The hubs on a shared store; nothing for a store of one's own."""
        if not self._store.shared:
            return {}
        return {"nodes": [{"name": node.name, "since": _time(moment(node.started_at)),
                           "silent_seconds": round(node.silent, 1),
                           "ended": node.ended, "own": node.fencing == self._store.fencing}
                          for node in self._store.nodes() if node.ended is None or node.silent < RECENT]}

    def _room(self) -> dict[str, Any]:
        """Whether there is room on the disk; nothing without a running hub."""
        if self._space is None:
            return {}
        why = self._space.why
        return {"accepting": {"now": why is None, "why": why, "disk_free_bytes": self._space.room.free,
                              "reserve_bytes": self._space.reserve}}

    def replay(self, id: str, who: str, action: str | None = None) -> dict[str, Any]:
        """Try again what is parked: a message goes through the pipeline, a delivery sends the same bytes."""
        found = self._find(id)
        if isinstance(found, DeliveryRow):
            changed, destinations = self._store.replay_delivery(found.id, who,
                                                                action=action), [found.destination]
        else:
            changed = self._store.replay(found.id, who, action=action)
            destinations = [row.destination for row in self._store.deliveries_of(found.id)]
        if self._deliverer:
            for destination in destinations:
                self._deliverer.reset(destination)
        self._wake()
        return {"id": found.id, "changed": changed}

    def discard(self, id: str, who: str, reason: str, action: str | None = None) -> dict[str, Any]:
        """Give up for good, with a person and a reason."""
        found = self._find(id)
        changed = self._store.discard(found.id, who, reason, action=action)
        self._wake()  # it may have been what later messages of its case wait for
        return {"id": found.id, "changed": changed}

    def confirm(self, id: str, who: str, reason: str, action: str | None = None) -> dict[str, Any]:
        """A person saw that the receiver has it."""
        found = self._delivery(id)
        changed = self._store.confirm(found.id, who, reason, action=action)
        self._wake()
        return {"id": found.id, "changed": changed}

    def resend(self, id: str, who: str, action: str | None = None) -> dict[str, Any]:
        """Send a delivery once more as a new one (new generation, new names at the receiver)."""
        found = self._delivery(id)
        new = self._store.resend_as_new(found.id, who, action=action)
        self._wake()
        return {"id": found.id, "new": new}

    def reload(self) -> dict[str, Any]:
        """Read the configuration again; a faulty one changes nothing. `restart` names what a restart alone
        takes up."""
        if self._reload is None:
            raise HubError("Es läuft keine Drehscheibe, die neu laden könnte.")
        problems = self._reload()
        return {"reloaded": not problems, "problems": problems, "restart": self._awaits_restart()}

    def expiring(self) -> dict[str, Any]:
        """How much the next run of the retention would delete."""
        return self._kept().ask(dry_run=True)

    def expire(self, who: str) -> dict[str, Any]:  # noqa: ARG002  that it was asked for, and by whom: logged
        """Delete now what need not be kept any more."""
        return self._kept().ask()

    def _kept(self) -> Retention:
        if self._retention is None:
            raise HubError("Ohne Konfiguration ist nicht bekannt, was wie lange aufzubewahren ist.")
        return self._retention

    def begin(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Start one of the long verbs; `progress` tells how far it is."""
        if verb not in self.LONG:
            raise HubError(f"unknown verb {verb!r}")
        return {"id": self._long.begin(verb, partial(getattr(self, verb), **arguments))}

    def progress(self, id: str) -> dict[str, Any]:
        """How far the long work is, and at its end its result."""
        return self._long.look(id)

    def check_store(self, progress: Progress, deep: bool = False) -> dict[str, Any]:
        """Is the store sound? Beside the running hub, too."""
        return self._store.examine(deep=deep, progress=progress).to_json()

    def backup(self, progress: Progress, target: str) -> dict[str, Any]:
        """Copy the store to a new folder or tar file, beside the running hub."""
        with self._retention.paused() if self._retention else nullcontext():
            return take.take(self._store, Path(target), progress)

    def usages(self, first: str, last: str) -> list[dict[str, Any]]:
        """What was used in the months from `first` to `last`: the facts that a bill rests on."""
        return [{**use._asdict(), "count": used.count, "first_at": _time(moment(used.first_at)),
                 "last_at": _time(moment(used.last_at))}
                for use, used in self._store.usages(first, last).items()]

    def _message(self, id: str) -> StoredMessage:
        found = self._find(id)
        return self._store.get_message(found.message_id) if isinstance(found, DeliveryRow) else found

    def _delivery(self, id: str) -> DeliveryRow:
        found = self._find(id)
        if not isinstance(found, DeliveryRow):
            raise NotFound(f"{id} is a message: name one of its deliveries: drehscheibe show {id}")
        return found

    def _find(self, id: str) -> StoredMessage | DeliveryRow:
        for find in (self._store.get_message, self._store.get_delivery):
            try:
                return find(id)
            except Ambiguous:
                raise
            except NotFound:
                continue
        raise NotFound(
            f"no message and no delivery begins with {id[:40]!r}: the newest: drehscheibe messages")


RECENT = 24 * 3600
"""Seconds for which a node that ended is still shown."""
_WAITING = (DeliveryState.DUE, DeliveryState.DELIVERING, DeliveryState.IN_DOUBT, DeliveryState.PARKED)
_MESSAGE_TEXT = {
    MessageState.RECEIVED: "Angenommen und gespeichert; wartet auf die Verarbeitung.",
    MessageState.ROUTED: "Verarbeitet; mindestens eine Zustellung ist noch nicht fertig.",
    MessageState.DEFERRED: "Wartet auf die Antwort eines Registers.",
    MessageState.PARKED: "Geparkt: es geht erst weiter, wenn jemand eingreift.",
    MessageState.COMPLETED: "Fertig: alle Zustellungen sind erledigt.",
    MessageState.DISCARDED: "Verworfen.",
}
_SENT_AGAIN: dict[str, str] = dict.fromkeys(
    (Reason.UNREADABLE, Reason.DOCTYPE, Reason.LIMIT, Reason.INVALID, Reason.CONFLICT),
    "Den Inhalt ändert niemand hier: beim Absender neu anfordern, diese Nachricht verwerfen")
"""Reasons that lie in what was sent: another try gives the same answer."""
_REMEDY: dict[str, str] = {
    Reason.CONFIGURATION: "Was oben genannt ist berichtigen, neu laden (drehscheibe reload)",
    Reason.RUNAWAY: "Stylesheets und Schema dieses Dienstes prüfen (drehscheibe mapping test), neu laden "
                    "(drehscheibe reload)",
}
_DELIVERY_TEXT = {
    DeliveryState.DUE: "wartet",
    DeliveryState.DELIVERING: "ist unterwegs",
    DeliveryState.IN_DOUBT: "unklar, der Empfänger wird gefragt",
    DeliveryState.DONE: "zugestellt",
    DeliveryState.PARKED: "geparkt",
    DeliveryState.DISCARDED: "verworfen",
}


def _untold(text: str, trace: Sequence[str]) -> str:
    """A reason without the points that the trace says again, with their places."""
    return "\n".join(line for line in text.splitlines()
                     if not (line.startswith("- ") and any(said.startswith(line[2:]) for said in trace)))


def _time(moment: datetime | None) -> str | None:
    return moment.astimezone().isoformat(timespec="milliseconds") if moment else None


def _message(message: StoredMessage) -> dict[str, Any]:
    return {"id": message.id, "state": message.state, "tenant": message.tenant, "ags": message.ags,
            "service": message.service,
            "sender": message.sender, "inlet": message.inlet, "test": message.test,
            "received_at": _time(message.received_at),
            "form": message.form_id, "case": message.case, "reason": message.reason,
            "reason_text": message.reason_text,
            "payload_deleted_at": _time(message.payload_deleted_at)}


def _delivery(row: DeliveryRow) -> dict[str, Any]:
    return {"id": row.id, "recipient": row.recipient, "destination": row.destination, "state": row.state,
            "attempts": row.attempts, "due_at": _time(row.due_at), "finished_at": _time(row.finished_at),
            "error": row.error, "reason": row.reason,
            "text": row.text, "receipt": row.receipt, "generation": row.generation}

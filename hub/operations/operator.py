"""What an operator can ask and do, each as plain data.

This is the one implementation behind command line, socket and console. Every change names the person and,
where it is final, a reason: both stand in the message's history. `hub.operations.verbs` says which right each
verb needs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hub.errors import HubError
from hub.message import DeliveryState, MessageState, StoredMessage, time_text
from hub.operations.long_task import LongWork
from hub.operations.verbs import VERBS
from hub.operations.why import explain
from hub.store.backup import take
from hub.store.database.tables import moment
from hub.store.integrity import Progress
from hub.store.store import DeliveryRow
from hub.store.transitions import operator_actions
from hub.store.transitions.operator_actions import Ambiguous, NotFound

if TYPE_CHECKING:
    from hub.administration.retention import Retention
    from hub.operations.running_hub import RunningHub
    from hub.store.store import Store


class Operator:
    """Verbs for people, on an open store.

    `running` is the hub that runs around the store: it is asked about destinations, and woken when something
    must go on. It is None where no hub runs.
    """

    def __init__(self, store: Store, retention: Retention, running: RunningHub | None) -> None:
        self._store = store
        self._retention = retention
        self._running = running
        self._long = LongWork()

    def show(self, id: str) -> dict[str, Any]:
        """One message with its parts, deliveries and history.

        A part is told by its number: its name and its type are the sender's words.
        """
        message = self._message(id)
        return {**_message(message),
                "parts": [{"role": part.role, "no": part.no, "size": part.size, "sha256": part.sha256}
                          for part in message.parts],
                "deliveries": [_delivery(row) for row in self._store.deliveries_of(message.id)],
                "events": [{"at": time_text(event.at), "event": event.name, "delivery": event.delivery_id,
                            "reason": event.reason, "detail": event.detail, "who": event.who}
                           for event in self._store.events_of(message.id)]}

    def why(self, id: str) -> dict[str, Any]:
        """Why a message is where it is, and what to do next, in German."""
        return explain(self._store, self._running, self._message(id))

    def queue(self) -> list[dict[str, Any]]:
        """What waits, by destination: counts by state, age of the oldest, whether it rests."""
        now = datetime.now(UTC)
        deliverer = self._running.deliverer if self._running else None
        circuits = deliverer.circuits() if deliverer else {}
        in_order = self._store.waiting_in_order()
        result = []
        for row in self._store.queue():
            circuit = circuits.get(row.destination)
            rests = circuit is not None and circuit.open(now)
            opens = deliverer.closed_until(row.destination) if deliverer else None
            waiting = {str(state): row.states.get(state, 0) for state in _WAITING}
            result.append({"destination": row.destination, **waiting,
                           "oldest_seconds": (round((now - row.oldest).total_seconds(), 1) if row.oldest
                                              else None),
                           "resting_until": time_text(circuit.resting_until) if circuit and rests else None,
                           "why": circuit.why if circuit and rests else None,
                           "closed_until": time_text(opens),
                           "waiting_for_turn": in_order.get(row.destination, 0)})
        return result

    def messages(self, state: str | None = None, ags: str | None = None, service: str | None = None,
                 limit: int = 50, before: str | None = None,
                 reason: str | None = None) -> list[dict[str, Any]]:
        """The newest messages, by state, AGS, service, reason: at most `PAGE` of them in one answer.

        With `before`, a message's whole id, only those that were stored before it: the last id of one answer
        asks for the next one. Raises `HubError` for a state or a limit that there is not, and `NotFound` when
        the message of `before` is gone.
        """
        if state and state not in list(MessageState):
            raise HubError(f"unknown state {state!r}")
        if not 1 <= limit <= PAGE:
            raise HubError(f"unknown limit {limit}: ask for 1 to {PAGE} messages at once")
        wanted = MessageState(state) if state else None
        found = self._store.find_messages(state=wanted, ags=ags, service=service, limit=limit, before=before,
                                          reason=reason)
        if before is not None and not found:
            self._store.get_message(before)  # without it nobody knows what comes next
        return [_message(message) for message in found]

    def status(self) -> dict[str, Any]:
        """The two balances and the oldest undelivered message."""
        messages, deliveries = self._store.balances()
        return {"messages": {"accepted": messages.total, **messages.states, "balanced": messages.holds},
                "deliveries": {"created": deliveries.total, **deliveries.states,
                               "balanced": deliveries.holds},
                "oldest_undelivered": time_text(self._store.oldest_undelivered()), **self._room(),
                **self._nodes()}

    def _nodes(self) -> dict[str, Any]:
        """The hubs on a shared store; nothing for a store of one's own."""
        if not self._store.shared:
            return {}
        return {"nodes": [{"name": node.name, "since": time_text(moment(node.started_at)),
                           "silent_seconds": round(node.silent, 1), "ended": node.ended,
                           "own": node.fencing == self._store.fencing}
                          for node in self._store.nodes() if node.ended is None or node.silent < RECENT]}

    def _room(self) -> dict[str, Any]:
        """Whether there is room on the disk; nothing without a running hub."""
        if self._running is None:
            return {}
        space = self._running.space
        return {"accepting": {"now": space.why is None, "why": space.why,
                              "disk_free_bytes": space.room.free, "reserve_bytes": space.reserve}}

    def replay(self, id: str, who: str, action: str | None = None,
               ask_first: bool = False) -> dict[str, Any]:
        """Try again what is parked: a message goes through the pipeline, a delivery sends the same bytes.

        With `ask_first` a parked message's deliveries may have arrived already: their receivers are asked.

        `changed` is how many messages and deliveries were. `woken` names the destinations whose rest this
        ended: what waits there is tried now, whether it was changed or not. `closed` says of each destination
        whose window is closed when it opens, and `in_order` how many of these deliveries wait for their turn
        within a case. `running` is whether a hub is there to try.
        """
        found = self._find(id)
        if isinstance(found, DeliveryRow):
            changed = self._store.replay_delivery(found.id, who, action=action)
            rows = [self._store.get_delivery(found.id)]
        else:
            changed = self._store.replay(found.id, who, action=action, ask_first=ask_first)
            rows = self._store.deliveries_of(found.id)
        waiting = [row for row in rows if row.state is DeliveryState.DUE]
        answer = {"id": found.id, "changed": changed, "running": self._running is not None, "woken": [],
                  "closed": {}, "in_order": sum(row.due_at is None for row in waiting)}
        if self._running:
            deliverer, now = self._running.deliverer, datetime.now(UTC)
            resting = {key for key, circuit in deliverer.circuits().items() if circuit.open(now)}
            for destination in {row.destination for row in rows}:
                deliverer.reset(destination)
            due = sorted({row.destination for row in waiting})
            answer["woken"] = [key for key in due if key in resting]
            answer["closed"] = {key: time_text(opens) for key in due
                                if (opens := deliverer.closed_until(key))}
        self._wake()
        return answer

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

    def read_content(self, id: str, who: str) -> dict[str, Any]:
        """Note that a person is going to look at what a citizen wrote, and that it is still there.

        Raises `NotNow` when the retention deleted it.
        """
        message = self._message(id)
        self._store.transact(lambda tx: operator_actions.content_read(tx, message.id, who))
        return {"id": message.id}

    def reload(self) -> dict[str, Any]:
        """Read the configuration again; a faulty one changes nothing.

        `restart` names what a restart alone takes up.
        """
        if self._running is None:
            raise HubError("Es läuft keine Drehscheibe, die neu laden könnte.")
        problems = self._running.reload()
        return {"reloaded": not problems, "problems": problems, "restart": self._running.awaits_restart()}

    def expiring(self) -> dict[str, Any]:
        """How much the next run of the retention would delete."""
        return self._retention.ask(dry_run=True)

    def expire(self) -> dict[str, Any]:
        """Delete now what need not be kept any more."""
        return self._retention.ask()

    def begin(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Start one of the long verbs; `progress` tells how far it is.

        Raises `HubError` for any other verb, and `Busy` while another one runs.
        """
        if verb not in VERBS or not VERBS[verb].long:
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
        with self._retention.paused():
            return take.take(self._store, Path(target), progress)

    def usages(self, first: str, last: str) -> list[dict[str, Any]]:
        """What was used in the months from `first` to `last`: the facts that a bill rests on."""
        return [{**use._asdict(), "count": used.count, "first_at": time_text(moment(used.first_at)),
                 "last_at": time_text(moment(used.last_at))}
                for use, used in self._store.usages(first, last).items()]

    def _wake(self) -> None:
        if self._running:
            self._running.wake()

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


PAGE = 1000
"""Messages in one answer."""
RECENT = 24 * 3600
"""Seconds for which a node that ended is still shown."""
_WAITING = (DeliveryState.DUE, DeliveryState.DELIVERING, DeliveryState.IN_DOUBT, DeliveryState.PARKED)


def _message(message: StoredMessage) -> dict[str, Any]:
    return {"id": message.id, "state": message.state, "tenant": message.tenant, "ags": message.ags,
            "service": message.service, "sender": message.sender, "inlet": message.inlet,
            "test": message.test, "received_at": time_text(message.received_at), "form": message.form_id,
            "case": message.case, "correlation": message.correlation, "reason": message.reason,
            "reason_text": message.reason_text, "payload_deleted_at": time_text(message.payload_deleted_at)}


def _delivery(row: DeliveryRow) -> dict[str, Any]:
    return {"id": row.id, "recipient": row.recipient, "destination": row.destination, "state": row.state,
            "attempts": row.attempts, "due_at": time_text(row.due_at),
            "finished_at": time_text(row.finished_at), "error": row.error, "reason": row.reason,
            "text": row.text, "receipt": row.receipt, "generation": row.generation}

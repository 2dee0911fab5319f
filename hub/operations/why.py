"""Why a message is where it is, and what to do next, in German: ``drehscheibe why``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hub.i18n.texts import STATES
from hub.message import BERLIN, DeliveryState, MessageState, Reason, StoredMessage, time_text
from hub.store.store import DeliveryRow

if TYPE_CHECKING:
    from hub.intake.disk_space import Space
    from hub.operations.running_hub import RunningHub
    from hub.store.store import Store

MESSAGE_TEXT = {
    MessageState.RECEIVED: "Angenommen und gespeichert; wartet auf die Verarbeitung.",
    MessageState.ROUTED: "Verarbeitet; mindestens eine Zustellung ist noch nicht fertig.",
    MessageState.DEFERRED: "Wartet auf die Antwort eines Registers.",
    MessageState.PARKED: "Geparkt: es geht erst weiter, wenn jemand eingreift.",
    MessageState.COMPLETED: "Fertig: alle Zustellungen sind erledigt.",
    MessageState.DISCARDED: "Verworfen.",
}
SENT_AGAIN: dict[str, str] = dict.fromkeys(
    (Reason.UNREADABLE, Reason.DOCTYPE, Reason.LIMIT, Reason.INVALID, Reason.CONFLICT),
    "Den Inhalt ändert niemand hier: beim Absender neu anfordern, diese Nachricht verwerfen")
"""Reasons that lie in what was sent: another try gives the same answer."""
REMEDY: dict[str, str] = {
    Reason.MAPPING: "Die genannte Datei berichtigen (drehscheibe mapping test), neu laden (drehscheibe "
                    "reload)",
    Reason.SEVERAL_APPLICATIONS: "Die Anträge beim Absender einzeln anfordern und diese Nachricht verwerfen; "
                                 "oder für diesen Absender several = \"split\" einrichten, neu laden "
                                 "(drehscheibe reload)",
    Reason.CONFIGURATION: "Was oben genannt ist berichtigen, neu laden (drehscheibe reload)",
    Reason.RUNAWAY: "Stylesheets und Schema dieses Dienstes prüfen (drehscheibe mapping test), neu laden "
                    "(drehscheibe reload)",
}
DELIVERY_TEXT = {
    DeliveryState.DUE: "wartet",
    DeliveryState.DELIVERING: "ist unterwegs",
    DeliveryState.IN_DOUBT: "unklar, der Empfänger wird gefragt",
    DeliveryState.DONE: "zugestellt",
    DeliveryState.PARKED: "geparkt",
    DeliveryState.DISCARDED: "verworfen",
}


def explain(store: Store, running: RunningHub | None, message: StoredMessage) -> dict[str, Any]:
    """What holds this message, line by line, with the trace and the next steps."""
    trace = list(store.trace_of(message.id))
    lines, steps = [MESSAGE_TEXT[message.state]], []
    if running is not None and running.space.why and message.state is MessageState.RECEIVED:
        lines.append(_full(running.space))
        steps.append("Platz schaffen (df -h); es geht von selbst weiter")
    if message.reason:
        lines.append(f"Grund: {message.reason}: {_untold(message.reason_text or '', trace)}")
    if message.correlation:
        lines += _together(store, message)
    if message.payload_deleted_at:
        lines.append(f"Der Inhalt wurde am {message.payload_deleted_at.astimezone(BERLIN):%d.%m.%Y} nach "
                     "Ablauf der Aufbewahrungsfrist gelöscht; der Nachweis bleibt.")
    if message.state is MessageState.PARKED:
        steps += _parked(message)
    for row in store.deliveries_of(message.id):
        rests = _rests(running, row)
        lines += _delivery(store, running, row, rests)
        steps += _steps(row, rests)
    return {"id": message.id, "state": message.state, "lines": lines, "trace": trace, "next": steps}


def _full(space: Space) -> str:
    """Why nothing goes on while the disk is full."""
    return (f"Der Datenträger ist fast voll ({space.room.free >> 20} MiB frei): Es wird nichts angenommen"
            + ("." if space.may_translate() else ", und Angenommenes wartet auf die Verarbeitung."))


def _together(store: Store, message: StoredMessage) -> Iterator[str]:
    """What belongs together with this message."""
    yield f"Gemeinsame Kennung (correlation): {message.correlation}"
    for event in store.events_of(message.id):
        if event.name == "split":
            yield f"Mehrere Anträge in einer Übergabe, jeder ist eine eigene Nachricht: {event.detail}"


def _parked(message: StoredMessage) -> list[str]:
    """What a person can do with a parked message."""
    if message.reason in SENT_AGAIN:
        first = (f"{SENT_AGAIN[message.reason]} (hat sich die Prüfung geändert: drehscheibe replay "
                 f"{message.id})")
    else:
        first = (f"{REMEDY.get(message.reason or '', 'Ursache beheben')}, dann: drehscheibe replay "
                 f"{message.id}")
    return [first, f"oder endgültig verwerfen: drehscheibe discard {message.id} --reason …"]


def _delivery(store: Store, running: RunningHub | None, row: DeliveryRow, rests: str | None) -> Iterator[str]:
    """Where a delivery stands, and what holds it."""
    tries = f", Versuch {row.attempts}" if row.attempts else ""
    text = f": {row.text}" if row.text else ""
    yield f"Zustellung an {row.destination} ({row.recipient}): {DELIVERY_TEXT[row.state]}{tries}{text}"
    if row.state is not DeliveryState.DUE:
        return
    if running is not None and (opens := running.deliverer.closed_until(row.destination)):
        yield f"  Das Ziel {row.destination} nimmt erst ab {time_text(opens)} wieder etwas an (window)."
    before = store.predecessor(row.id) if row.due_at is None else None
    if before:
        yield (f"  Vorher muss die frühere Nachricht {before.message_id} desselben Vorgangs zugestellt oder "
               f"verworfen sein ({STATES[before.state]}): drehscheibe why {before.message_id}")
    if rests is not None:
        yield f"  Das Ziel {row.destination} ruht bis {rests}"


def _steps(row: DeliveryRow, rests: str | None) -> list[str]:
    """What a person can do about a delivery."""
    if rests is not None:
        return [f"{row.destination} in Ordnung bringen (prüfen: drehscheibe check --connect); es geht von "
                "selbst weiter"]
    if row.state is DeliveryState.PARKED:
        return [f"Ziel in Ordnung bringen, dann: drehscheibe replay {row.id}",
                f"oder: drehscheibe confirm {row.id} --reason … (ist angekommen), "
                f"drehscheibe discard {row.id} --reason … (wird nicht mehr gebraucht)"]
    return []


def _rests(running: RunningHub | None, row: DeliveryRow) -> str | None:
    """Until when a due delivery's destination rests, and why; None where it does not."""
    circuit = running.deliverer.circuits().get(row.destination) if running is not None else None
    if circuit is None or row.state is not DeliveryState.DUE or not circuit.open(datetime.now(UTC)):
        return None
    return f"{time_text(circuit.resting_until)}: {circuit.why}"


def _untold(text: str, trace: Sequence[str]) -> str:
    """A reason without the points that the trace says again, with their places."""
    return "\n".join(line for line in text.splitlines()
                     if not (line.startswith("- ") and any(said.startswith(line[2:]) for said in trace)))

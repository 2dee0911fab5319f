"""A store whose bytes differ from what was written: flipped bits,
truncated files, zeroed sectors, in each file.

Everything is read from the damaged copy as the hub reads it, and compared with what was put in. A row with
a wrong municipality or a body with a wrong byte must never come out. What does not come out must be
noticed: by a refusal, an error, a parked message, or by ``drehscheibe store check``.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from hub.job import Body, Facts, OutDelivery, OutPart, Translated
from hub.message import Incoming, IncomingPart, Reason
from hub.store.store import Store
from tests.torture.checker import VERDICTS
from tests.torture.document import MUNICIPALITIES, SERVICE, document, filling, municipality_of, number
from tests.torture.steps import Progress, Result

LEASE = timedelta(minutes=15)
RECIPIENTS = ("ablage", "postfach")
ResultT = TypeVar("ResultT")
Things = dict[str, Any]
"""What is read from a store, by id."""

DIGITS = str.maketrans("abcdef", "012345")


def build(folder: Path, count: int) -> tuple[Things, Things]:
    """Make a store of `count` messages, as a killed hub leaves it: its log is not in its tables yet.

    Half of the messages are routed and their deliveries wait; the other half waits for a worker. Returns what
    must be read from the store, and what may be read instead if it has lost its last commits and says so.
    """
    store = Store.open(folder)
    store.recover()
    earlier: Things = {}
    for index in range(count):
        name = number("d", index)
        municipality = municipality_of(name)
        store.accept(Incoming("portal", "amt24", municipality, SERVICE, (IncomingPart.of(document(name)),),
                              key=name),
                     tenant=MUNICIPALITIES[municipality], day=datetime.now(UTC).date(),
                     config_digest="c" * 64)
        if index == count // 2 - 1:
            earlier, _ = handed_out(store)
            store.release_messages(list(earlier))
            route(store)
    truth, complaints = handed_out(store)
    assert not complaints, complaints
    store.release_messages([name for name in truth if truth[name][0] == "message"])
    store.release_deliveries([name for name in truth if truth[name][0] == "delivery"])
    return truth, earlier


def route(store: Store) -> None:
    """Give each waiting message two deliveries."""
    with tempfile.TemporaryFile() as out:
        outcomes, at = [], 0
        for message in store.claim_messages(10_000, LEASE):
            deliveries = []
            for recipient in RECIPIENTS:
                body = filling(
                    f"x-{message.id.encode().hex()[-7:].translate(DIGITS)}").encode()
                out.write(body)
                part = OutPart(role="xml", name="probe.xml", media_type="application/xml",
                               body=Body(offset=at, length=len(body)),
                               **_facts(body))
                at += len(body)
                deliveries.append(OutDelivery(recipient=recipient,
                                              destination=f"{message.tenant}/{recipient}",
                                              subject=message.id, name_parts={},
                                              parts=(part, _original(message))))
            outcomes.append(Translated(message_id=message.id, facts=Facts(), rule="r",
                                       mapping_digest="m" * 64,
                                       deliveries=tuple(deliveries), attachments=()))
        out.flush()
        store.record(outcomes, out.fileno(), config_digest="c" * 64)


def _facts(body: bytes) -> dict[str, Any]:
    return {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}


def _original(message: Any) -> OutPart:
    [part] = message.parts
    return OutPart(role="original", name="application", media_type=part.media_type, received=0,
                   size=part.size,
                   sha256=part.sha256)


def handed_out(store: Store) -> tuple[Things, list[str]]:
    """Everything that can be claimed and read, as dispatcher and deliverer do it; and the complaints."""
    got: Things = {}
    complaints: list[str] = []

    def attempt(work: Callable[[], ResultT], nothing: ResultT) -> ResultT:
        try:
            return work()
        except Exception as error:  # after any error the hub would not hand on what caused it
            complaints.append(type(error).__name__)
            return nothing

    for message in attempt(lambda: store.claim_messages(10_000, LEASE), []):
        if message.damaged:
            complaints.append("Damaged row")
            continue

        def bodies(message: Any = message) -> list[bytes]:
            stored = store.bodies([part.blob for part in message.parts])
            return [stored[part.blob].read() for part in message.parts]

        read = attempt(bodies, None)
        if read is not None:
            got[message.id] = ("message", message.tenant, message.ags, message.service, message.sender,
                               message.test, read,
                               [(part.name, part.filename, part.media_type) for part in message.parts])
    for destination, _ in attempt(store.due_destinations, []):
        for claimed in attempt(lambda destination=destination: store.claim_deliveries(destination, 10_000,
                                                                                      LEASE), []):
            delivery = claimed.delivery
            read = attempt(lambda delivery=delivery: [delivery.read(part)
                                                      for part in delivery.manifest.parts], None)
            if read is not None:
                got[delivery.id] = ("delivery", delivery.message_id, delivery.tenant, delivery.ags,
                                    delivery.service,
                                    delivery.destination, destination, delivery.recipient, delivery.test,
                                    delivery.manifest.to_json(), read)
    return got, complaints


@dataclass
class Findings:
    """The findings of many injuries."""

    kinds: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unnoticed: list[str] = field(default_factory=list)


def judge(folder: Path, truth: Things, earlier: Things, injury: str, findings: Findings) -> None:
    """Open the damaged store, and judge what is read from it."""
    try:
        store = Store.open(folder)
    except Exception as error:  # any error is a refusal
        findings.kinds["detected"] += 1
        findings.ways[f"refused to open: {type(error).__name__}"] += 1
        return
    try:
        lost = ["the log has lost pages"] if store.lost_pages else []
        recover_complaints = _complaint(store.recover)
        got, complaints = handed_out(store)
        complaints += lost + recover_complaints + _parked_as_damaged(store)
        true = truth | earlier
        wrong = [f"{injury}: {name} {_difference(thing, true.get(name))}" for name, thing in got.items()
                 if thing != true.get(name)]
        missing = truth.keys() - got.keys()
        if wrong:
            findings.kinds["wrong"] += 1
            findings.wrong += wrong
        elif complaints:
            findings.kinds["detected"] += 1
            findings.ways[complaints[0]] += 1
        elif not missing and got.keys() == truth.keys():
            findings.kinds["harmless"] += 1
        elif _complaint(lambda: _must(store.examine(deep=True))):
            findings.kinds["detected"] += 1
            findings.ways["store check"] += 1
        else:
            findings.kinds["unnoticed"] += 1
            findings.unnoticed.append(f"{injury}: {len(missing)} missing")
    finally:
        _complaint(store.close)


def _parked_as_damaged(store: Store) -> list[str]:
    """The deliveries that a claim has parked as damaged."""
    found: list[str] = []
    _complaint(lambda: found.extend("parked: damaged" for message in store.find_messages(limit=10_000)
                                    for row in store.deliveries_of(message.id)
                                    if row.reason == Reason.DAMAGED))
    return found


def _complaint(work: Callable[[], Any]) -> list[str]:
    try:
        work()
    except Exception as error:  # the error is the finding
        return [type(error).__name__]
    return []


def _must(report: Any) -> None:
    if not report.sound:
        raise ValueError("the store is not sound")


def _difference(thing: Sequence[Any], truth: Sequence[Any] | None) -> str:
    if truth is None:
        return "was never put in"
    return "; ".join(f"{was!r:.60} came out as {now!r:.60}" for was, now in zip(truth, thing, strict=True)
                     if was != now)


def injure(folder: Path, dice: random.Random) -> str:
    """Injure one file of a store once. Returns what was done."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file.stat().st_size
                   and file.name != "lock"
                   and not file.name.endswith("-shm"))
    tables = [file for file in files if file.name.startswith("store")]
    file = dice.choice(tables if dice.random() < 0.8 else files)
    size = file.stat().st_size
    where = dice.randrange(size)
    kind = dice.choices(("bit", "cut", "zeroes"), (7, 2, 1))[0]
    with file.open("r+b") as target:
        if kind == "cut":
            target.truncate(where)
        else:
            target.seek(where)
            byte = target.read(1)[0]
            target.seek(where)
            target.write(bytes([byte ^ 1 << dice.randrange(8)]) if kind == "bit"
                         else bytes(min(512, size - where)))
    return f"{kind} at {where} of {file.name if file in tables else 'a body'}"


def damaged_stores(folder: Path, seed: int, *, count: int, messages: int = 60,
                   progress: Progress = print) -> Findings:
    """Judge `count` injuries, each to a new copy of a sound store."""
    folder.mkdir(parents=True)
    dice, findings = random.Random(seed), Findings()
    truth, earlier = build(folder / "open", messages)
    for name in ("killed", "closed"):
        shutil.copytree(folder / "open", folder / name)
    Store.open(folder / "closed").close()
    for index in range(count):
        copy = folder / "copy"
        shutil.copytree(folder / dice.choice(("killed", "closed")), copy)
        judge(copy, truth, earlier, injure(copy, dice), findings)
        shutil.rmtree(copy)
        if index % 200 == 199:
            progress(f"{index + 1} injuries: {dict(findings.kinds)}")
    return findings



def damage(folder: Path, seed: int, *, count: int, progress: Progress = print) -> Result:
    """`damaged_stores` as a scenario: nothing wrong comes out, and nothing is lost silently."""
    found = damaged_stores(folder, seed, count=count, progress=progress)
    progress(f"{dict(found.kinds)}; detected by {dict(found.ways.most_common())}")
    return {"acknowledged": 0, "kills": 0, "hits": count - found.kinds["harmless"], "messages parked": 0,
            "deliveries parked": 0,
            "parked for deaths": 0, "verdicts": {name: [] for name in (*VERDICTS, "flagged duplicate")},
            "faults": [*found.wrong, *found.unnoticed], "injuries": dict(found.kinds),
            "ways": dict(found.ways)}

"""The checker compares what the producers were answered, what the receivers have, and what the hub says.

``python -m tests.torture.checker <world>`` prints one JSON object: figures, and for each verdict the names of
the probes. The verdicts:

=================  =================================================================================
It reads the store's tables itself and imports nothing from the hub, so that it shares none of its errors.
"""

from __future__ import annotations

import json
import re
import sys
from base64 import b64decode
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

from tests.torture.document import ALL_MUNICIPALITIES, Found, municipality_of, recognise
from tests.torture.records import records
from tests.torture.world import World

VERDICTS = ("lost", "torn", "silent duplicate", "phantom", "misrouted", "invisible", "unexplained",
            "unbalanced")
RECIPIENTS = ("ablage", "postfach")
FINAL = {"completed", "parked", "discarded", "done"}
MARK = "möglicherweise doppelt: "


@dataclass
class Evidence:
    """Everything that was collected, before it is judged."""

    sent: set[str] = field(default_factory=set)
    told: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    cut: int = 0
    refused: int = 0
    copies: list[tuple[str, str, Found, bool]] = field(default_factory=list)
    """(municipality, recipient, what it is, whether it says that it may be a second copy)"""
    mail_ids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    litter: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    deliveries: list[dict[str, Any]] = field(default_factory=list)
    tallies: dict[tuple[str, str], int] = field(default_factory=dict)
    """The count of each (kind, name)."""
    metrics: dict[tuple[str, str], float] = field(default_factory=dict)


def collect(world: World) -> Evidence:
    """Collect everything that a run left."""
    seen = Evidence()
    for line in world.ledger.read_text().splitlines():
        row = json.loads(line)
        if "sent" in row:
            seen.sent.add(row["sent"])
        elif "ok" in row:
            seen.told[row["ok"]].append(row["id"])
        elif "cut" in row:
            seen.cut += 1
        elif "refused" in row:
            seen.refused += 1
    municipalities = [municipality for municipality in ALL_MUNICIPALITIES.values()
                      if (world.drop / municipality).is_dir()]
    seen.copies += [copy for municipality in municipalities
                    for copy in folders(world.drop / municipality, municipality)]
    seen.litter = sum(1 for municipality in municipalities for entry in (world.drop / municipality).iterdir()
                      if entry.name.startswith("."))
    seen.copies += mails(world.mails, seen.mail_ids)
    _read_store(world, seen)
    if world.metrics.exists():
        seen.metrics = dict(metrics(world.metrics.read_text()))
    return seen


def folders(place: Path, municipality: str) -> Iterator[tuple[str, str, Found, bool]]:
    """The copies in a drop folder."""
    for entry in place.iterdir():
        if entry.name.startswith("."):
            continue
        files = {file.name: file.read_bytes() for file in entry.iterdir()} if entry.is_dir() else {}
        originals = [content for name, content in files.items() if name != "probe.xml"]
        whole = len(files) == 2 and len(originals) == 1
        found = recognise(originals[0] if originals else b"", files.get("probe.xml", b""))
        yield municipality, "ablage", Found(found.name, found.whole and whole), False


def mails(file: Path, ids: dict[str, set[str]]) -> Iterator[tuple[str, str, Found, bool]]:
    """The copies in mailboxes. The Message-IDs of each probe are added to `ids`."""
    for line in file.read_text().splitlines() if file.exists() else ():
        row = json.loads(line)
        mail = message_from_bytes(b64decode(row["mail"]), policy=policy.default)
        files = [bytes(part.get_payload(decode=True) or b"") for part in mail.walk() if part.get_filename()]
        found = recognise(files[0] if files else b"", None)
        body = mail.get_body(("plain",))
        whole = len(files) == 1 and body is not None and body.get_content().strip() == f"Probe {found.name}"
        ids[str(found.name)].add(str(mail["Message-ID"]))
        for address in row["to"]:
            municipality = address.partition("@")[2].removesuffix(".example")
            yield municipality, "postfach", Found(found.name, found.whole
                                                  and whole), MARK in str(mail["Subject"])


def _read_store(world: World, seen: Evidence) -> None:
    seen.messages = records(world, "SELECT id, key, ags, state, reason, reason_text, deaths FROM message")
    seen.deliveries = records(world, "SELECT id, message_id, recipient, destination, state, reason, "
                                     "reason_text FROM delivery")
    counts: Counter[tuple[str, str]] = Counter()
    for row in records(world, "SELECT kind, name, count FROM tally"):
        counts[row["kind"], row["name"]] += row["count"]
    seen.tallies = dict(counts)


def metrics(text: str) -> Iterator[tuple[tuple[str, str], float]]:
    """The figures of the metrics that have a counterpart in the ledger, by (kind, name)."""
    counts: dict[tuple[str, str], float] = defaultdict(float)
    for name, labels, value in re.findall(r"^(drehscheibe_\w+)\{([^}]*)\} (\S+)$", text, re.MULTILINE):
        state = re.search(r'state="([^"]*)"', labels)
        if name == "drehscheibe_messages_accepted_total":
            counts["message_total", "accepted"] += float(value)
        elif name == "drehscheibe_deliveries_created_total":
            counts["delivery_total", "created"] += float(value)
        elif name in ("drehscheibe_messages", "drehscheibe_deliveries") and state:
            counts["message" if name.endswith("messages") else "delivery", state[1]] += float(value)
    yield from ((key, float(count)) for key, count in counts.items())


def judge(seen: Evidence) -> dict[str, list[str]]:
    """The names of the probes for each verdict. It judges only what it is given."""
    verdicts: dict[str, list[str]] = {name: [] for name in (*VERDICTS, "flagged duplicate")}
    rows = {row["id"]: row for row in seen.messages}
    of_message: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in seen.deliveries:
        of_message[row["message_id"]].append(row)
    copies: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for municipality, recipient, found, marked in seen.copies:
        if found.name is None or not found.whole:
            verdicts["torn"].append(f"{municipality}/{recipient}: {found.name}")
        if found.name is None:
            continue
        if found.name not in seen.sent:
            verdicts["phantom"].append(f"{municipality}/{recipient}: {found.name}")
        elif ALL_MUNICIPALITIES[municipality_of(found.name)] != municipality:
            verdicts["misrouted"].append(f"{municipality}/{recipient}: {found.name}")
        elif found.whole:
            copies[found.name, recipient].append(marked)
    for (name, recipient), marks in copies.items():
        if marks.count(False) > 1:
            verdicts["silent duplicate"].append(f"{name} {recipient} x{marks.count(False)}")
        if len(marks) > 1 and any(marks):
            verdicts["flagged duplicate"].append(f"{name} {recipient} x{len(marks)}")
    verdicts["silent duplicate"] += [f"{name}: {len(ids)} Message-IDs" for name, ids in seen.mail_ids.items()
                                     if len(ids) > 1]
    for name, ids in seen.told.items():
        for hub_id in sorted(set(ids)):
            if hub_id not in rows:
                verdicts["invisible"].append(f"{name} {hub_id}")
        parked = {row["recipient"] for hub_id in ids for row in of_message[hub_id]
                  if row["state"] in ("parked", "in_doubt")}
        if any(rows[hub_id]["state"] in ("parked", "discarded") for hub_id in ids if hub_id in rows):
            parked |= set(RECIPIENTS)
        verdicts["lost"] += [f"{name} {recipient}" for recipient in RECIPIENTS
                             if not copies[name, recipient] and recipient not in parked]
    verdicts["phantom"] += [f"message {row['id']}" for row in seen.messages if row["key"] not in seen.sent]
    for row in (*seen.messages, *seen.deliveries):
        explained = row["reason"] and row["reason_text"]
        if (row["state"] not in FINAL and row["state"] != "routed") or (row["state"] == "parked"
                                                                        and not explained):
            verdicts["unexplained"].append(f"{row['id']} {row['state']} {row['reason']}")
        if row["state"] == "routed" and all(each["state"] == "done" for each in of_message[row["id"]]):
            verdicts["unexplained"].append(f"{row['id']} routed, all delivered")
    verdicts["unbalanced"] = list(imbalances(seen))
    return verdicts


def imbalances(seen: Evidence) -> Iterator[str]:
    """Figures that contradict each other."""
    for kind, total, rows in (("message", "accepted", seen.messages),
                              ("delivery", "created", seen.deliveries)):
        counted = Counter(row["state"] for row in rows)
        tallied = {name: count for (each, name), count in seen.tallies.items() if each == kind and count}
        if tallied != dict(counted):
            yield f"{kind}: ledger {tallied}, rows {dict(counted)}"
        if seen.tallies.get((f"{kind}_total", total), 0) != len(rows):
            yield f"{kind}: {total} {seen.tallies.get((f'{kind}_total', total), 0)}, rows {len(rows)}"
        shown = {name: count for (each, name), count in seen.metrics.items() if each == kind and count}
        if seen.metrics and shown != tallied:
            yield f"{kind}: metrics {shown}, ledger {tallied}"
        if seen.metrics and seen.metrics.get((f"{kind}_total", total), 0) != len(rows):
            yield f"{kind}: metrics {total} {seen.metrics.get((f'{kind}_total', total), 0)}, rows {len(rows)}"
    for name, ids in seen.told.items():
        if len(set(ids)) > 1:
            yield f"{name} was given {len(set(ids))} ids"
    keys = Counter(row["key"] for row in seen.messages)
    yield from (f"{count} messages for {key}" for key, count in keys.items() if count > 1)
    done = Counter(row["recipient"] for row in seen.deliveries if row["state"] == "done")
    there = {recipient: {(municipality, found.name) for municipality, place, found, _ in seen.copies
                         if place == recipient
                         and found.name}
             for recipient in RECIPIENTS}
    for recipient in RECIPIENTS:
        if done[recipient] > len(there[recipient]):
            yield f"{recipient}: {done[recipient]} done, {len(there[recipient])} there"


def report(seen: Evidence) -> dict[str, Any]:
    """The figures and the verdicts."""
    return {
        "sent": len(seen.sent), "acknowledged": len(seen.told), "connections cut": seen.cut,
        "refused": seen.refused,
        "copies": len(seen.copies), "hidden files left": seen.litter,
        "messages parked": sum(row["state"] == "parked" for row in seen.messages),
        "deliveries parked": sum(row["state"] == "parked" for row in seen.deliveries),
        "parked for deaths": sum(row["reason"] == "runaway" for row in seen.messages),
        "reasons": dict(Counter(row["reason"] for row in (*seen.messages, *seen.deliveries)
                                if row["state"] == "parked")),
        "verdicts": judge(seen)}


if __name__ == "__main__":
    print(json.dumps(report(collect(World(Path(sys.argv[1]))))))

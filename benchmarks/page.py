"""Writes docs/benchmarks.md from benchmarks/results/. A test checks that the page agrees with the results."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import ROOT

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "benchmarks.md"
Result = Mapping[str, Any]

HEAD = """# Benchmarks

Made from `benchmarks/results/` by `make bench`; do not edit.

    make bench                       # everything but five million stored messages; at most an hour
    make bench QUICK=1               # whether all runs, in about ten minutes; leaves this page as it is
    make bench ARGS='--large'        # also five million stored messages (needs 40 GB of disk)
    make bench ARGS='--only latency' # one of them
    python -m benchmarks.throughput --help       # each is a command of its own: sizes, rounds, counts, --json

It needs RabbitMQ, Postfix (its `smtp-sink`), OpenSSH's server and gcc, as the tests do, and two processors
that nobody else uses.

How to read it:

* **Ratios count, rates do not.** Virtual machines drift by a factor of two. Each round measures everything in
  turn, a ratio is made within a round, and the median of the rounds is shown, with half of the distance
  between the extremes after ±. Differences under 30 % between two runs are not findings.
* **lxml chain**: parse, XSD, XSLT and serialise of the same application by lxml alone, on two threads.
* **bare**: the bare pipeline (`benchmarks/bare.py`), which does only the library calls, with the same
  durability, at the best layout known: broker or HTTPS, SQLite in WAL mode with synchronous=FULL and one
  commit per batch, two threads of XML, files written hidden, one syncfs per batch, renamed, acknowledged;
  while more than 64 are in hand, batches gather for 20 ms. It imports nothing of the hub, and it survives
  `kill -9` without a loss (a test shows it). A run from AMQP to a folder in which it reaches less than 0.35
  of the chain is invalid.
* **hub**: the real command, with two worker processes, intents, events, metrics and the check for duplicates
  on.
* The clock runs from the begin of the intake until the last result lies under its final name (mail: is
  accepted by the sink).
* The application has 40 flat fields; XSD and XSLT come from one list of fields for both. The bare pipeline
  validates and translates the document as it came; the hub validates its typed envelope and translates the
  annotated one. 5 MB are the same fields with a PDF in base64, which both take out before schema and
  stylesheet see it.
* `processor` is time of all the subject's processes for one application; broker and senders are not in it. It
  falls to a half or a third when batches are large, because waking a thread costs more than what it then
  does: compare it within a row only.
* Nothing is deleted before or between measurements: ext4 takes no inode that was freed within the last
  minutes, and passes over all of those, one by one, for each file that it makes (`recently_deleted` in the
  profile). With 3,000 of them the bare pipeline spent a fifth of its time there, and this page once showed a
  yardstick of less than half of today's rate.

## Where goals are missed, and why

**Throughput, 0.7 of the bare pipeline: missed, 0.2 to 0.6; only mail of 5 MB reaches it.** The hub needs
three to five times the processor time of the bare calls at 4 KB, and both processors are busy. Of some 2.8 ms
for one application (AMQP to folder, read from the threads' own clocks in /proc) the main process takes 1.7:
the store's writer a third of that (some 17 rows with their indexes for each message, where the bare pipeline
has one), deliveries a quarter (a quarter of it in the kernel: create, rename), to the workers and back a
fifth, acceptance and inlet a sixth. The workers take 1.1, of which parse, XSD and XSLT are a third. It is
Python for each message and each field; no single place is left that is large.

What helped: after a batch of ten pieces of work or more the store's writer lets the next one gather (AMQP to
folder, 4 KB, one sitting: 422 per second without, 461 with 5 ms, 509 with 10, 572 with 20, no more with 40 or
80; processor time for one application 4.1 ms without, 3.0 with 20 ms); savepoints by their two words
(SQLAlchemy compiled each anew); all that was claimed for a drop folder is prepared together; an instance that
was sent as XML is taken over instead of being copied; the garbage collector looks less often; sets of rules
travel as text that is read once; encoders and ids without detours. What did not: rows for SQLite in one
statement of many values (the same price as one by one), or as JSON (dearer); a list as one JSON parameter
(the planner then reads whole tables); annotations written as text and parsed again. Not tried: fewer events
for each message, claiming and recording in one transaction, compiled code.

**Latency at half of the reached rate: missed.** The main process is one Python interpreter, and one
application alone costs all processes 9 to 13 ms of processor time at 20 to 100 per second, but 2.5 to 3 in
large batches: five transactions of four to nine statements, reading back what was claimed, the scheduler's
looks, threads that wake each other some ninety times. So from about 150 per second on it works in batches,
and an application waits for a batch at each of its five stages (medians of runs of 8 s at 20, 100, 150, 200
and 300 per second: 13, 9, 28, 40 and 100 ms in a quick hour of the machine; 16, 53, 75, 170 and 455 in a slow
one). What helped: one claim for one delivery instead of four, no look in vain after each batch, who has
little in hand is let alone for 20 ms, statements compiled once. What did not: a shorter switch interval of
the interpreter, fewer threads that accept, rows in one statement of many values, rows past SQLAlchemy, 60 or
100 ms instead of 20. Whether the writer gathers could not be told from the machine's drift (at 300 per
second, in turn: with it p99 324 and 224 ms, without 426 and 178). Not tried: handing a message from
acceptance to a worker, and a delivery from the worker to its outlet, in the transaction that is written
anyway (two of five fewer).

**Memory.** Over 100,000 applications the main process once grew from 255 to 362 MB: what a thread had claimed
stood in a circle with its outcomes and waited for the garbage collector, which looks seldom here. An
application of 100 MB once took three times its size: its map stayed in memory beside its tree. Both are
repaired, each with a test.
"""


def results(folder: Path = RESULTS) -> dict[str, Result]:
    """All results, by name."""
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))}


def page(found: Mapping[str, Result]) -> str:
    """The whole page."""
    return f"{HEAD}\n{tables(found)}"


def tables(found: Mapping[str, Result]) -> str:
    """All tables, each with its sources."""
    sections = [_chain, _throughput, _latency, _growth, _config, _idle]
    return "\n".join(text for section in sections if (text := section(found)))


# --- cells --------------------------------------------------------------------------------------------------


def number(value: float) -> str:
    """A number as people read it."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(figure: Mapping[str, Any], unit: str = "") -> str:
    """A figure's median and spread."""
    return f"{number(figure['median'])}{unit} ± {figure['spread']} %"


def ratio(figure: Mapping[str, Any] | None, goal: float | None = None) -> str:
    """A ratio with its spread. A ratio below its goal is marked."""
    if figure is None:
        return "-"
    text = f"{figure['median']:.2f} ± {figure['spread']} %"
    return f"**{text}**, goal {goal}" if goal is not None and figure["median"] < goal else text


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown. The first column is text, the others are figures."""
    lines = ["| " + " | ".join(columns) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def sources(found: Sequence[Result]) -> str:
    """The commands, with date, machine, commit and versions, each once."""
    lines = []
    for result in found:
        quick = ", **quick**" if result["quick"] else ""
        invalid = f", **invalid: {'; '.join(result['invalid'])}**" if result.get("invalid") else ""
        lines.append(
            f"* `{result['command']}`: {result['date']}, commit {result['commit']}, {result['took']} s, "
            f"load of the machine at the end {result['load']}{quick}{invalid}"
        )
    versions = {f"{name} {version}" for result in found for name, version in result["versions"].items()}
    machines = {result["machine"] for result in found}
    return "\n".join([*lines, f"* {'; '.join(sorted(machines))}; {', '.join(sorted(versions))}"]) + "\n"


def _of(found: Mapping[str, Result], prefix: str) -> list[Result]:
    return [result for name, result in found.items() if name.startswith(prefix)]


def _row(result: Result, what: str) -> Mapping[str, Any]:
    return next(row for row in result["rows"] if row["what"] == what)


# --- sections -----------------------------------------------------------------------------------------------


def _chain(found: Mapping[str, Result]) -> str:
    chosen = _of(found, "chain")
    if not chosen:
        return ""
    rows = [[f"{result['bytes']:,} bytes, {row['what']}", spread(row)] for result in chosen
            for row in result["rows"]]
    return f"## lxml chain\n\n{table(['application', 'per second'], rows)}\n{sources(chosen)}"


def _throughput(found: Mapping[str, Result]) -> str:
    chosen = {name: result for name, result in found.items() if name.startswith(("throughput", "slow"))}
    if not chosen:
        return ""
    rows = []
    for name, result in chosen.items():
        bare, hub = _row(result, "bare"), _row(result, "hub")
        way = name.removeprefix("throughput-").split("-")
        title = (
            f"{way[0]} → {way[1]}, {result['size']}"
            if name.startswith("throughput")
            else f"amqp → folder, {result['size']}, each sync {result['ms']} ms slower"
        )
        rows.append(
            [
                title,
                spread(_row(result, "chain")["rate"]),
                spread(bare["rate"]),
                spread(hub["rate"]),
                ratio(hub["to_bare"], 0.7),
                ratio(hub["to_chain"]),
                ratio(bare["to_chain"]),
                f"{number(hub['cpu_ms']['median'])} ms",
                f"{number(bare['cpu_ms']['median'])} ms",
                f"{hub['memory_mb']} MB",
            ]
        )
    head = [
        "way",
        "chain/s",
        "bare/s",
        "hub/s",
        "hub : bare",
        "hub : chain",
        "bare : chain",
        "processor, hub",
        "processor, bare",
        "memory, hub",
    ]
    return f"## Throughput\n\n{table(head, rows)}\n{sources(list(chosen.values()))}"


def _latency(found: Mapping[str, Result]) -> str:
    chosen = _of(found, "latency")
    if not chosen:
        return ""
    rows = []
    for result in chosen:
        for row in result["rows"]:
            at = f"half of what the hub reached ({row['rate']}/s)" if row["at"] == "half" else row["at"]
            ms, hub = row["ms"], row["what"] == "hub"
            missed = {
                "p50": hub and row["at"] == "20/s" and ms["p50"] >= 15,
                "p99": hub and row["at"] == "half" and ms["p99"] >= 50,
            }
            goals = {"p50": 15, "p99": 50}
            cells = [
                f"**{ms[key]} ms**, goal {goals[key]} ms" if missed.get(key) else f"{ms[key]} ms"
                for key in ("p50", "p99", "max")
            ]
            rows.append([f"{row['what']}, {at}", f"{row['count']:,}", *cells])
    return (
        "## Latency\n\n"
        "From publishing (before acceptance) to the file's final name, AMQP to folder, 4 KB.\n\n"
        f"{table(['what', 'applications', 'p50', 'p99', 'longest'], rows)}\n{sources(chosen)}"
    )


def _growth(found: Mapping[str, Result]) -> str:
    chosen = _of(found, "growth")
    if not chosen:
        return ""
    filled = [row for result in chosen for row in result["rows"]]
    text = "## Growth\n\n"
    if filled:
        rows = [
            [
                row["what"],
                spread(row["empty"]),
                spread(row["full"]),
                ratio(row["to_empty"], 0.9),
                f"{row['start_seconds']} s",
                f"{row['memory_mb']['empty']} MB",
                f"{row['memory_mb']['full']} MB",
                f"{row['store_mb']:,} MB",
            ]
            for row in filled
        ]
        text += (
            table(
                ["in the store", "empty/s", "filled/s", "filled : empty", "start", "main process, empty",
                 "filled", "store"], rows
            )
            + "\n"
        )
    for result in chosen:
        if over := result.get("memory"):
            early, end = over["early"], over["end"]
            text += (
                f"Memory over {end['after']:,} applications: main process {early['main']} MB after "
                f"{early['after']:,}, {end['main']} MB at the end; workers "
                f"{_megabytes(early['workers'])} MB and {_megabytes(end['workers'])} MB.\n\n"
            )
        if large := result.get("large"):
            words = f"{large['times']} times its size"
            text += (
                f"An application of {large['bytes'] / 1e6:,.0f} MB by HTTPS to a folder: "
                f"{large['seconds']} s; the processes' peaks add up to {large['peaks_mb']} MB more than "
                "before, "
                f"{words if large['times'] <= 3 else f'**{words}**, goal 3'}.\n\n"
            )
    return text + sources(chosen)


def _megabytes(sizes: Sequence[int]) -> str:
    return " and ".join(map(str, sizes))


def _config(found: Mapping[str, Result]) -> str:
    chosen = _of(found, "scale")
    if not chosen:
        return ""
    text = "## A whole country's configuration\n\n"
    for result in chosen:
        rows = []
        for row in result["rows"]:
            goal, cell = row.get("goal"), spread(row["seconds"], " s")
            missed = goal is not None and row["seconds"]["median"] > goal
            rows.append([row["what"], f"**{cell}**, goal {goal} s" if missed else cell])
        memory, sheets = result["memory_mb"], result["stylesheets"]
        most = f"{memory['after reloads']} MB"
        text += (
            f"{result['municipalities']:,} municipalities with {result['services']} services each.\n\n"
            f"{table(['what', 'seconds'], rows)}\n"
            f"Main process: {memory['after start']} MB after the start, "
            f"{most if memory['after reloads'] <= 400 else f'**{most}**, goal 400 MB,'} after the reloads. "
            f"During a reload applications took {result['latency_ms']['p50']} ms (p50), "
            f"{result['latency_ms']['p99']} ms (p99). Stylesheets of {sheets['services']} services: "
            f"{number(sheets['first'])}/s while they are compiled, {number(sheets['again'])}/s when they are "
            f"kept; a worker has {memory['workers before']} MB before and "
            f"{memory['workers after all services']} MB after.\n\n"
        )
    return text + sources(chosen)


def _idle(found: Mapping[str, Result]) -> str:
    chosen = _of(found, "idle")
    if not chosen:
        return ""
    rows = [
        [
            f"{row['what']} inlet",
            ("**{} %**, goal 1 %" if row["percent"]["median"] >= 1
             else "{} %").format(f"{row['percent']['median']:.2f}"),
            f"{row['memory_mb']} MB",
        ]
        for result in chosen
        for row in result["rows"]
    ]
    columns = table(["hub with", "of one core", "memory of all processes"], rows)
    return f"## Idle\n\n{columns}\n{sources(chosen)}"

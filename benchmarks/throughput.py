"""Throughput of the hub beside the bare pipeline and the lxml chain, in the same run.

``python -m benchmarks.throughput --in amqp --out folder --size "4 KB" --rounds 7 --count 3000``

Each round measures the chain, the bare pipeline and the hub, in an order that rotates. With AMQP the subject
is stopped (SIGSTOP), its queue is filled, and the subject goes on; then the clock begins. With HTTPS the
clock begins at the first request. It ends when the last result is there under its final name.

A run is invalid when anything is missing or there twice. From AMQP to a folder it is also invalid when the
bare pipeline reaches less than 0.35 of the lxml chain on two threads, because then it is no yardstick. HTTPS,
mail and SFTP cost more than the XML, so there the chain is not compared.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import application, chain, figures, load
from benchmarks.arrivals import Arrivals, number_of
from benchmarks.subjects import Bare, Hub, Subject, place

LEAST = 0.35
"""What the bare pipeline must reach of the lxml chain."""
COUNTS = {"4 KB": 3000, "40 KB": 800, "5 MB": 40}
"""Applications per round, by size."""
CONNECTIONS = 24
"""Connections of the HTTPS sender."""


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = figures.parser("throughput", __doc__, rounds=7)
    parser.add_argument("--in", dest="way_in", choices=["amqp", "https"], default="amqp")
    parser.add_argument("--out", dest="way_out", choices=["folder", "smtp", "sftp"], default="folder")
    parser.add_argument("--size", choices=list(application.SIZES), default="4 KB")
    parser.add_argument("--count", type=int, default=None, help="applications per round and subject")
    parser.add_argument("--bare-processes", type=int, default=1)
    parser.add_argument("--only", choices=["hub", "bare"], default=None, help="for profiling")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="a setting of the hub, as its own --set",
    )
    options = parser.parse_args()
    return figures.run(
        options,
        measure,
        options.way_in,
        options.way_out,
        options.size,
        options.rounds,
        options.count,
        options.bare_processes,
        options.overrides,
        options.only,
    )


def measure(
    way_in: str = "amqp",
    way_out: str = "folder",
    size: str = "4 KB",
    rounds: int = 7,
    count: int | None = None,
    bare_processes: int = 1,
    overrides: Sequence[str] = (),
    only: str | None = None,
    *,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Measure one way in, one way out and one size."""
    count = count or COUNTS[size]
    with place([way_in], [way_out]) as here:
        subjects: list[Subject] = []
        if only != "hub":
            subjects.append(Bare(here, way_in, way_out, size, processes=bare_processes,
                                 environment=environment))
        if only != "bare":
            subjects.append(Hub(here, way_in, way_out, size, environment=environment, overrides=overrides))
        return compare(subjects, size, rounds, count)


def compare(subjects: Sequence[Subject], size: str, rounds: int, count: int) -> dict[str, Any]:
    """Start the subjects, let each process a few applications, and measure them in turn."""
    documents = chain.samples(size)
    rates: dict[str, list[float]] = {"chain": [], **{subject.name: [] for subject in subjects}}
    cpu: dict[str, list[float]] = {subject.name: [] for subject in subjects}
    memory: dict[str, int] = {}
    faults: list[str] = []
    for subject in subjects:
        subject.start()
        run(subject, "warm", 0, max(8, count // 10), size)
    for number in range(rounds):
        rates["chain"].append(chain.rate(documents, 2, 1.5))
        turn = number % len(subjects)
        for subject in [*subjects[turn:], *subjects[:turn]]:
            found = run(subject, f"r{number}", 0, count, size)
            rates[subject.name].append(found["rate"])
            cpu[subject.name].append(found["cpu"])
            memory[subject.name] = max(memory.get(subject.name, 0), sum(subject.memory().values()))
            faults += [f"{subject.name}, round {number + 1}: {fault}" for fault in found["faults"]]
        figures.progress(
            f"round {number + 1} of {rounds}: "
            + ", ".join(f"{name} {values[-1]:,.0f}/s" for name, values in rates.items())
        )
    judged = all((subject.way_in, subject.way_out) == ("amqp", "folder") for subject in subjects)
    return result(size, count, rates, cpu, memory, faults, judged=judged)


def result(
    size: str,
    count: int,
    rates: dict[str, list[float]],
    cpu: dict[str, list[float]],
    memory: dict[str, int],
    faults: list[str],
    *,
    judged: bool,
) -> dict[str, Any]:
    """The medians and ratios, and why the run is invalid. `judged`: the lxml chain is the measure."""
    rows = []
    for name, values in rates.items():
        row: dict[str, Any] = {"what": name, "rate": figures.summary(values),
                               "to_chain": figures.ratios(values, rates["chain"])}
        if name in cpu:
            row |= {"cpu_ms": figures.summary([value * 1000 for value in cpu[name]]),
                    "memory_mb": memory[name] >> 20}
        if name == "hub" and "bare" in rates:
            row["to_bare"] = figures.ratios(values, rates["bare"])
        rows.append(row)
    bare = next((row for row in rows if row["what"] == "bare"), None)
    if judged and bare and bare["to_chain"]["median"] < LEAST:
        faults.append(f"the bare pipeline reached only {bare['to_chain']['median']:.2f} of the lxml chain; "
                      f"{LEAST} are needed")
    return {"size": size, "count": count, "rounds": len(rates["chain"]), "rows": rows, "invalid": faults}


def run(subject: Subject, prefix: str, first: int, count: int, size: str,
        seconds: float = 300) -> dict[str, Any]:
    """Measure one subject once.

    Returns its rate per second, the processor seconds per application, and what was wrong.
    """
    names = load.numbers(f"{subject.name}-{prefix}", first, count)
    with Arrivals(subject.drop, renamed=subject.way_out != "smtp") as arrivals:
        used = subject.cpu()
        began, refused = (_https if subject.way_in == "https" else _amqp)(subject, names, size)
        last = arrivals.wait(count, seconds)
        subject.settle()
        used = subject.cpu() - used
        faults = refused + wrong(arrivals, names, subject.way_out)
    subject.clear()
    return {"rate": count / (last - began), "cpu": used / count, "faults": faults}


def wrong(arrivals: Arrivals, names: Sequence[str], way_out: str) -> list[str]:
    """What is missing, there twice, or not sent by this run."""
    faults = [f"{arrivals.twice} twice"] if arrivals.twice else []
    if way_out == "smtp":  # the sink names its files itself
        return faults + ([f"{arrivals.count()} mails instead of {len(names)}"]
                         if arrivals.count() != len(names) else [])
    seen = [number_of(name) for name in arrivals.seen]
    if set(seen) != set(names) or len(seen) != len(names):
        faults.append(
            f"{len(set(names) - set(seen))} missing, {len(seen) - len(set(seen))} twice, "
            f"{len(set(seen) - set(names))} foreign"
        )
    return faults


def _amqp(subject: Subject, names: Sequence[str], size: str) -> tuple[float, list[str]]:
    subject.freeze()
    try:
        with subject.publisher() as publisher:
            load.publish(publisher, names, application.SIZES[size])
    finally:
        began = time.monotonic()
        subject.thaw()
    return began, []


def _https(subject: Subject, names: Sequence[str], size: str) -> tuple[float, list[str]]:
    prefix, _, first = names[0].rpartition("-")
    told = send_https(subject, prefix, int(first), len(names), size, connections=min(CONNECTIONS, len(names)))
    return told["began"], [f"{len(told['refused'])} refused"] if told["refused"] else []


def send_https(
    subject: Subject, prefix: str, first: int, count: int, size: str, connections: int, rate: float = 0.0
) -> dict[str, Any]:
    """Send from a process of its own. Returns what it was answered."""
    sender = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "benchmarks.load",
            str(subject.https),
            str(subject.place.tls),
            prefix,
            str(first),
            str(count),
            size,
            str(connections),
            str(rate),
        ],
        cwd=figures.ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with sender:
        assert sender.stdin is not None and sender.stdout is not None
        if sender.stdout.readline().strip() != b"ready":
            raise RuntimeError("the sender did not come to its begin")
        sender.stdin.write(b"go\n")
        sender.stdin.flush()
        told: dict[str, Any] = json.loads(sender.stdout.read())
    return told


if __name__ == "__main__":
    raise SystemExit(main())

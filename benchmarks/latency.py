"""Latency at a steady rate: from publishing to the file under its final name.

``python -m benchmarks.latency --rate 20 --rate 500 --seconds 20``

The hub and the bare pipeline are measured. Applications of 4 KB come in by AMQP at the given rates, by
default at 20/s and at half of the rate that the hub reaches in the same run. The clock of an application
begins when it is published, so its acceptance is included. The longest wait would show polling: nothing in
the hub may wait for a poll.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import application, figures, load
from benchmarks.arrivals import Arrivals, number_of
from benchmarks.subjects import Bare, Hub, Subject, place
from benchmarks.throughput import run, wrong

SIZE = "4 KB"
GOALS = {"half": {"p99": 50.0}, "20/s": {"p50": 15.0}}


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = figures.parser("latency", __doc__, rounds=3)
    parser.add_argument(
        "--rate",
        type=float,
        action="append",
        default=[],
        help="applications per second; default: 20 and half of the reached rate",
    )
    parser.add_argument("--seconds", type=float, default=15.0, help="length of a round")
    options = parser.parse_args()
    return figures.run(options, measure, options.rounds, options.seconds, options.rate)


def measure(rounds: int = 3, seconds: float = 15.0, rates: Sequence[float] = (),
            count: int = 1500) -> dict[str, Any]:
    """Measure all rates with both subjects in turn."""
    with place(["amqp"]) as here:
        subjects: list[Subject] = [Bare(here, "amqp", "folder"), Hub(here, "amqp", "folder")]
        for subject in subjects:
            subject.start()
            run(subject, "warm", 0, 200, SIZE)
        reached = max(run(subjects[1], f"reach{turn}", 0, count, SIZE)["rate"] for turn in range(2))
        wanted = {f"{rate:.0f}/s": rate for rate in rates} or {"20/s": 20.0, "half": reached / 2}
        rows, faults = [], []
        for name, rate in wanted.items():
            waits: dict[str, list[float]] = {subject.name: [] for subject in subjects}
            for turn in range(rounds):
                for subject in subjects if turn % 2 else subjects[::-1]:
                    found, wrongs = one(subject, f"{name.replace('/', '-')}-{turn}", rate, seconds)
                    waits[subject.name] += found
                    faults += [f"{subject.name}, {name}: {fault}" for fault in wrongs]
                figures.progress(
                    f"{name}, round {turn + 1} of {rounds}: "
                    + ", ".join(f"{key} p99 {figures.quantiles(values)['p99']:.0f} ms"
                                for key, values in waits.items() if values)
                )
            rows += [
                {"what": key, "at": name, "rate": round(rate), "count": len(values),
                 "ms": figures.quantiles(values)}
                for key, values in waits.items()
            ]
    return {"reached": reached, "rows": rows, "invalid": faults}


def one(subject: Subject, prefix: str, rate: float, seconds: float) -> tuple[list[float], list[str]]:
    """Measure one subject at one rate.

    Returns the seconds from publishing to the final name of each application, and what was wrong.
    """
    names = load.numbers(f"{subject.name}-{prefix}", 0, max(5, int(rate * seconds)))
    with Arrivals(subject.drop) as arrivals, subject.publisher() as publisher:
        sent = load.paced(publisher, names, application.SIZES[SIZE], rate)
        arrivals.wait(len(names), 120)
        found = [moment - sent[number_of(name)] for name, moment in arrivals.seen.items()]
        faults = wrong(arrivals, names, subject.way_out)
    subject.clear()
    return found, faults


if __name__ == "__main__":
    raise SystemExit(main())

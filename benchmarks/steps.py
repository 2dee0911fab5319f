"""The list of benchmarks that `make bench` runs: command, arguments, and how long each may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One command with its arguments, for a full and for a quick run. `large`: only on request."""

    name: str
    module: str
    full: tuple[str, ...]
    quick: tuple[str, ...]
    full_seconds: int
    quick_seconds: int = 90
    large: bool = False


def _throughput(way_in: str, way_out: str, size: str, rounds: int, count: int, quick: int,
                minutes: int = 5) -> Step:
    way = ("--in", way_in, "--out", way_out, "--size", size)
    return Step(
        f"throughput-{way_in}-{way_out}-{size.replace(' ', '').lower()}",
        "throughput",
        (*way, "--rounds", str(rounds), "--count", str(count)),
        (*way, "--rounds", "1", "--count", str(quick)),
        minutes * 60,
    )


STEPS: tuple[Step, ...] = (
    Step("chain", "chain", ("--rounds", "5"), ("--rounds", "1", "--seconds", "0.5"), 120, 60),
    _throughput("amqp", "folder", "4 KB", 7, 3000, 500),
    _throughput("amqp", "folder", "40 KB", 5, 600, 100),
    _throughput("amqp", "folder", "5 MB", 3, 30, 8),
    _throughput("https", "folder", "4 KB", 5, 1500, 300),
    _throughput("https", "folder", "5 MB", 3, 30, 8),
    _throughput("amqp", "smtp", "4 KB", 5, 1200, 200),
    _throughput("amqp", "smtp", "5 MB", 3, 30, 8),
    _throughput("amqp", "sftp", "4 KB", 5, 1200, 200),
    Step("slow-sync", "slow", ("--rounds", "5", "--count", "1200"), ("--rounds", "1", "--count", "200"), 300),
    Step("latency", "latency", ("--rounds", "3", "--seconds", "15"), ("--rounds", "1", "--seconds", "4"), 360,
         120),
    Step(
        "growth-100000",
        "growth",
        ("--stored", "100000", "--due", "100000", "--rounds", "3", "--count", "1500"),
        ("--stored", "5000", "--due", "5000", "--rounds", "1", "--count", "200"),
        420,
        120,
    ),
    Step(
        "growth-million-due",
        "growth",
        ("--due", "1000000", "--rounds", "2", "--count", "1500"),
        ("--due", "10000", "--rounds", "1", "--count", "100"),
        480,
        90,
    ),
    Step("growth-memory", "growth", ("--run", "100000"), ("--run", "1000"), 420, 90),
    Step("growth-large", "growth", ("--large", "100000000"), ("--large", "20000000"), 120, 90),
    Step(
        "growth-5-million",
        "growth",
        ("--stored", "5000000", "--rounds", "3", "--count", "1500"),
        ("--stored", "20000", "--rounds", "1", "--count", "100"),
        2400,
        120,
        large=True,
    ),
    Step("scale", "scale", ("--rounds", "3"), ("--rounds", "1", "--municipalities", "1000"), 300, 90),
    Step("idle", "idle", ("--seconds", "30"), ("--seconds", "5"), 180),
)

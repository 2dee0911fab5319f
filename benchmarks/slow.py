"""Throughput on a disk with a slow sync: each fsync, fdatasync and syncfs of both subjects takes 5 ms longer.

``python -m benchmarks.slow --ms 5 --rounds 5 --count 1500``

This is the comparison of `benchmarks.throughput` (AMQP, folder, 4 KB). A library (slow.c, LD_PRELOAD; gcc is
needed) slows the syncs of both processes down. Here the number of syncs decides, and how many run at once.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import figures, throughput
from tests.services import need


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = figures.parser("slow", __doc__, rounds=5)
    parser.add_argument("--ms", type=int, default=5, help="how much longer a sync takes")
    parser.add_argument("--count", type=int, default=1500, help="applications per round and subject")
    options = parser.parse_args()
    return figures.run(options, measure, options.rounds, options.ms, options.count)


def measure(rounds: int = 5, ms: int = 5, count: int = 1500) -> dict[str, Any]:
    """Measure AMQP to folder, 4 KB, with slow syncs."""
    with tempfile.TemporaryDirectory(prefix="bench-slow-") as folder:
        library = Path(folder) / "slow.so"
        subprocess.run(
            [
                need("gcc", "gcc"),
                "-shared",
                "-fPIC",
                "-O1",
                "-Wall",
                "-Werror",
                "-o",
                str(library),
                str(Path(__file__).with_name("slow.c")),
                "-ldl",
            ],
            check=True,
        )
        found = throughput.measure(rounds=rounds, count=count,
                                   environment={"LD_PRELOAD": str(library), "BENCH_SLOW_MS": str(ms)})
    return {"ms": ms, **found}


if __name__ == "__main__":
    raise SystemExit(main())

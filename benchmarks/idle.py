"""What an idle hub costs: the processor time of all its processes while nothing comes in.

``python -m benchmarks.idle --seconds 30``

A hub with an AMQP inlet (which has heartbeats) and one with an HTTPS inlet are measured in turn. Each first
processes a few applications and is then left alone.
"""

from __future__ import annotations

import time
from typing import Any

from benchmarks import figures
from benchmarks.subjects import Hub, place
from benchmarks.throughput import run

GOAL = 1.0
"""Per cent of one core."""


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = figures.parser("idle", __doc__, rounds=1)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    return figures.run(options, measure, options.seconds, options.rounds)


def measure(seconds: float = 30.0, rounds: int = 1) -> dict[str, Any]:
    """Measure the processor time of an idle hub, in per cent of one core."""
    rows = []
    with place(["amqp"]) as here:
        for way_in in ("amqp", "https"):
            hub = Hub(here, way_in, "folder", name=f"hub-{way_in}")
            hub.start()
            run(hub, "warm", 0, 20, "4 KB")
            found = []
            for _ in range(rounds):
                time.sleep(2.0)  # the first applications come to their end
                used, began = hub.cpu(), time.monotonic()
                time.sleep(seconds)
                found.append((hub.cpu() - used) / (time.monotonic() - began) * 100)
            rows.append({"what": way_in, "percent": figures.summary(found),
                         "memory_mb": sum(hub.memory().values()) >> 20})
            figures.progress(f"{way_in}: {found[-1]:.2f} % of a core")
            hub.close()
    return {"seconds": seconds, "rows": rows}


if __name__ == "__main__":
    raise SystemExit(main())

"""Figures: median, spread and ratios of rounds, the machine, and how a command prints them.

Virtual machines drift by a factor of two within minutes, so a rate alone says little. Each round therefore
gives a ratio of two rates that were measured one after the other. The median of these ratios counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from _pytest.outcomes import Failed, Skipped

from benchmarks.arrivals import TooSlow

ROOT = Path(__file__).parents[1]
PACKAGES = ("lxml", "pysqlite3", "kombu", "amqp", "uvicorn", "paramiko", "sqlalchemy", "pydantic")


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Median, spread and values. The spread is half of the range, in per cent of the median."""
    middle = statistics.median(values)
    spread = (max(values) - min(values)) / 2 / middle * 100 if middle else 0.0
    return {"median": middle, "spread": round(spread), "values": [round(value, 3) for value in values]}


def ratios(ones: Sequence[float], others: Sequence[float]) -> dict[str, Any]:
    """The `summary` of the ratios, round by round. Raises `ValueError` when the numbers of rounds differ."""
    return summary([one / other for one, other in zip(ones, others, strict=True)])


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p99 and maximum in milliseconds, of values in seconds. Raises `ValueError` without values."""
    if not values:
        raise ValueError("no value")
    ordered = sorted(values)
    at = {"p50": 0.50, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000, 2)
            for name, share in at.items()}


def machine() -> str:
    """Processors, memory and kernel of this machine, without names."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    name = model[1] if model else platform.machine()
    return f"{os.cpu_count()} CPUs ({name}), {memory} GiB, Linux {platform.release()}"


def context() -> dict[str, Any]:
    """Date, machine, commit and versions, which each result carries."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": machine(),
        "commit": commit(),
        "load": round(os.getloadavg()[0], 1),
        "versions":
        {"python": platform.python_version(), **{name: metadata.version(name) for name in PACKAGES}},
    }


def commit() -> str:
    """The measured commit, with a ``+`` when the tree differs from it. ``-`` outside of a clone."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True,
                              check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "hub", "connectors",
                      "benchmarks/*.py")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "-"


# --- a command ----------------------------------------------------------------------------------------------


def parser(name: str, text: str | None, rounds: int = 3) -> argparse.ArgumentParser:
    """A parser with the options that each command has."""
    made = argparse.ArgumentParser(
        prog=f"python -m benchmarks.{name}", description=text,
        formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument(
        "--rounds", type=int, default=rounds,
        help=f"rounds, each with everything to be compared (default {rounds})"
    )
    made.add_argument("--json", action="store_true", help="print the result as JSON, with machine and commit")
    return made


def show(options: argparse.Namespace, result: Mapping[str, Any]) -> int:
    """Print a result. Returns the exit code: 1 when it is invalid."""
    if options.json:
        print(json.dumps({**context(), **result}, indent=1, ensure_ascii=False))
    else:
        for row in result.get("rows", ()):
            print("  ".join(f"{key}: {_short(value)}" for key, value in row.items() if key != "values"))
    for reason in result.get("invalid", ()):
        print(f"  invalid: {reason}", file=sys.stderr)
    return 1 if result.get("invalid") else 0


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return _short(value.get("median", "-")) + (f" ±{value['spread']} %" if "spread" in value else "")
    return (
        f"{value:,.2f}"
        if isinstance(value, float) and abs(value) < 100
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


def progress(text: str) -> None:
    """Print a line for the person who waits."""
    print(f"  {text}", file=sys.stderr, flush=True)


def run(options: argparse.Namespace, measure: Callable[..., Mapping[str, Any]], *arguments: Any) -> int:
    """Measure, and show the result. Returns the exit code.

    SIGTERM ends it in order. When something is missing on this machine, it says so instead of a traceback.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        result = measure(*arguments)
    except (Skipped, Failed, TooSlow, RuntimeError) as error:
        print(f"  no result: {error}", file=sys.stderr)
        return 75
    return show(options, result)

"""``python -m tests.torture --tier commit|nightly|release [--seed N] [--into FOLDER] [--only SCENARIO]``

Prints the seed and the scoreboard and writes them into docs/scoreboard.md. Ends with 1 when the run is red or invalid. A run
that was interrupted goes on where it stood: the same tier, seed and folder skip the scenarios whose results are there.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.torture import drives, scoreboard
from tests.torture.steps import Step
from tests.torture.tiers import TIERS


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--tier", choices=sorted(TIERS), default="commit")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--into", type=Path, default=None, help="working folder; the same one resumes an interrupted run")
    parser.add_argument("--only", default=None, help="one scenario")
    parser.add_argument("--no-page", action="store_true", help="leave docs/scoreboard.md as it is")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that processes end and disks are unmounted
    seed = random.SystemRandom().randrange(1, 1_000_000) if options.seed is None else options.seed
    folder = options.into or Path(tempfile.mkdtemp(prefix=f"torture-{options.tier}-{seed}-"))
    steps = [step for step in TIERS[options.tier] if options.only in (None, step.name)]
    print(f"tier {options.tier}, seed {seed}, in {folder}", flush=True)
    rows = [run(step, folder, seed) for step in steps]
    word = scoreboard.verdict(rows)
    text = section(options.tier, seed, rows, word, sum(row.report.get("seconds", 0) for row in rows))
    print(text)
    if not options.no_page and options.only is None:
        scoreboard.write(options.tier, text)
    return 0 if word == "green" else 1


def run(step: Step, folder: Path, seed: int) -> scoreboard.Row:
    """One scenario, or its result of an earlier attempt; or why it cannot be run here."""
    results = folder / f"results-{seed}.json"
    done = scoreboard.saved(results)
    if step.name not in done:
        print(f"-- {step.name}", flush=True)
        if lacking := step.lacks():
            print(f"   left out: {lacking}", flush=True)
            return scoreboard.Row(step.name, {"left out": lacking})
        place = folder / step.name.replace(" ", "-")
        drives.release(place)
        shutil.rmtree(place, ignore_errors=True)
        began = time.monotonic()
        report = step.run(place, seed, lambda text: print(f"   {text}", flush=True))
        report["seconds"] = round(time.monotonic() - began)
        done[step.name] = report
        folder.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(done))
    row = scoreboard.Row(step.name, done[step.name], step.unclear, step.parks)
    print(f"   {done[step.name]['seconds']} s: {'; '.join(row.faults) or 'nothing wrong'}", flush=True)
    return row


def section(tier: str, seed: int, rows: list[scoreboard.Row], word: str, seconds: float) -> str:
    """What the page says about this run."""
    return (f"## Tier {tier}\n\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.0f} minutes, {scoreboard.machine()}\n\n"
            f"    make torture TIER={tier} SEED={seed}\n\n{scoreboard.table(rows)}\n\n**{word}**\n")


if __name__ == "__main__":
    sys.exit(main())

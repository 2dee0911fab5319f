"""``python -m tests.torture --tier commit|nightly|release [--seed N] [--into FOLDER] [--board FILE] [--only
SCENARIO]``

Prints the seed and the scoreboard, and writes them into docs/scoreboard.md. The exit code is 1 when the
run is red, invalid or unfinished. A run that was interrupted goes on: scenarios with a result on the board
are not run again. The board is a file in the working folder. The board of the release tier is in
docs/scoreboard/, so that its hours can be divided among days and machines. Each result names its commit.
Several scenarios may run at the same time, each by its own ``--only``.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import commit
from tests.torture import drives, scoreboard
from tests.torture.steps import Step
from tests.torture.tiers import TIERS


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture")
    parser.add_argument("--tier", choices=sorted(TIERS), default="commit")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--into", type=Path, default=None, help="working folder")
    parser.add_argument("--board", type=Path, default=None, help="where results are kept: this resumes a run")
    parser.add_argument("--only", default=None, help="one scenario")
    parser.add_argument("--no-page", action="store_true", help="leave docs/scoreboard.md as it is")
    options = parser.parse_args()
    # so that processes are ended and disks unmounted
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    seed = random.SystemRandom().randrange(1, 1_000_000) if options.seed is None else options.seed
    folder = options.into or Path(tempfile.mkdtemp(prefix=f"torture-{options.tier}-{seed}-"))
    kept = (scoreboard.BOARDS / f"release-{seed}.json" if options.tier == "release"
            else folder / f"results-{seed}.json")
    board = options.board or kept
    print(f"tier {options.tier}, seed {seed}, in {folder}, results in {board}", flush=True)
    rows = []
    for step in TIERS[options.tier]:
        if options.only in (None, step.name):
            rows.append(run(step, folder, board, seed))
        elif step.name in scoreboard.saved(board):
            rows.append(row(step, scoreboard.saved(board)[step.name]))
        if not options.no_page and options.tier == "release":
            page(options.tier, seed, board)  # after each scenario, because the next one may take an hour
    if options.only is None and not options.no_page:
        page(options.tier, seed, board, rows)
    word = scoreboard.verdict(rows)
    print(section(options.tier, seed, rows, word))
    return 0 if word == "green" and (options.only or len(rows) == len(TIERS[options.tier])) else 1


def run(step: Step, folder: Path, board: Path, seed: int) -> scoreboard.Row:
    """Run a scenario, or take its earlier result; or say why it cannot run here."""
    done = scoreboard.saved(board)
    if step.name not in done:
        print(f"-- {step.name}", flush=True)
        if lacking := step.lacks():
            print(f"   left out: {lacking}", flush=True)
            return scoreboard.Row(step.name, {"left out": lacking})
        place = folder / step.name.replace(" ", "-")
        drives.release(place)
        shutil.rmtree(place, ignore_errors=True)
        began, of = time.monotonic(), commit()
        report = step.run(place, seed, lambda text: print(f"   {text}", flush=True))
        report |= {"seconds": round(time.monotonic() - began), "commit": of,
                   "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}"}
        done = scoreboard.save(board, step.name, report)
    result = row(step, done[step.name])
    print(f"   {done[step.name]['seconds']} s: {'; '.join(result.faults) or 'nothing wrong'}", flush=True)
    return result


def row(step: Step, report: scoreboard.Report) -> scoreboard.Row:
    """The line of a scenario."""
    return scoreboard.Row(step.name, report, step.unclear, step.parks)


def page(tier: str, seed: int, board: Path, rows: list[scoreboard.Row] | None = None) -> None:
    """Write the results so far into docs/scoreboard.md."""
    done = scoreboard.saved(board)
    rows = rows or [row(step, done[step.name]) for step in TIERS[tier] if step.name in done]
    lacking = [step.name for step in TIERS[tier] if step.name not in {each.scenario for each in rows}]
    word = scoreboard.verdict(rows)
    if lacking:
        word = f"not at its end, until here {word}; still to be run: {', '.join(lacking)}"
    scoreboard.write(tier, section(tier, seed, rows, word))


def section(tier: str, seed: int, rows: list[scoreboard.Row], word: str) -> str:
    """The section of the page about this run."""
    seconds = sum(each.report.get("seconds", 0) for each in rows)
    return (f"## Tier {tier}\n\n{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {seconds / 60:.0f} minutes, "
            f"{scoreboard.machine()}\n\n"
            f"    make torture TIER={tier} SEED={seed}\n\n{scoreboard.table(rows)}\n\n**{word}**\n")


if __name__ == "__main__":
    sys.exit(main())

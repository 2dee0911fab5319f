"""Runs all benchmarks: ``python -m benchmarks [--quick] [--only NAME]``.

The results go into benchmarks/results/, and docs/benchmarks.md is written anew. A benchmark that fails or
takes too long leaves the earlier result as it was. It is named at the end, and the exit code is 1. `--quick`
only checks that all benchmarks work (about ten minutes): its results go into a folder of their own (`--into`)
and not into the page.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import figures, page, subjects
from benchmarks.steps import STEPS, Step

ROOT = figures.ROOT


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true",
                        help="small, about ten minutes; the page stays as it is")
    parser.add_argument("--large", action="store_true",
                        help="also what takes long and much disk: five million stored messages")
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME",
        help="these alone: " + ", ".join(s.name for s in STEPS)
    )
    parser.add_argument("--into", type=Path, default=None,
                        help="folder of the results; default: benchmarks/results")
    parser.add_argument("--page", action="store_true",
                        help="only write the page from the results that are there")
    options = parser.parse_args()
    into = options.into or (Path(tempfile.mkdtemp(prefix="bench-quick-")) if options.quick else page.RESULTS)
    failed = []
    with tempfile.TemporaryDirectory(prefix="bench-bin-") as bin_:
        os.environ[subjects.BIN] = bin_
        for step in () if options.page else STEPS:
            if (options.only and step.name not in options.only) or (
                step.large and not options.large and step.name not in options.only
            ):
                continue
            if not run(step, into, quick=options.quick):
                failed.append(step.name)
    if into == page.RESULTS:
        page.PAGE.write_text(page.page(page.results()), encoding="utf-8")
        print(f"written: {page.PAGE.relative_to(ROOT)}")
    else:
        print(page.tables(page.results(into)))
    if failed:
        print(f"failed or invalid: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def run(step: Step, into: Path, *, quick: bool) -> bool:
    """Run one benchmark in a process of its own. Returns whether it has a valid result."""
    arguments, seconds = (step.quick, step.quick_seconds) if quick else (step.full, step.full_seconds)
    command = ["-m", f"benchmarks.{step.module}", *arguments]
    print(f"-- {step.name}: python {' '.join(command)}   (at most {seconds / 60:.0f} minutes)",
          file=sys.stderr, flush=True)
    began = time.monotonic()
    with subprocess.Popen([sys.executable, *command, "--json"], cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            told, _ = process.communicate(timeout=seconds)
        except BaseException as error:
            process.terminate()  # the process ends in order what it started
            try:
                process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            print("   out of time", file=sys.stderr)
            return False
    try:
        result = json.loads(told)
    except json.JSONDecodeError:
        return False
    into.mkdir(parents=True, exist_ok=True)
    result = {"command": f"python {' '.join(command)}", "quick": quick,
              "took": round(time.monotonic() - began), **result}
    (into / f"{step.name}.json").write_text(
        json.dumps(result, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
    return not result.get("invalid")


if __name__ == "__main__":
    raise SystemExit(main())

"""The seeded simulation (`tests.simulation`) with many seeds, on all processors, as a scenario."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.torture.checker import VERDICTS
from tests.torture.steps import Progress, Result

ROOT = Path(__file__).parents[3]


def simulation(folder: Path, seed: int, progress: Progress, *, seeds: int) -> Result:
    """Play `seeds` worlds, from the run's own seed on."""
    folder.mkdir(parents=True, exist_ok=True)
    share = -(-seeds // (os.cpu_count() or 1))
    processes = [_begin(seed + first, min(share, seeds - first)) for first in range(0, seeds, share)]
    failed: dict[str, list[list[str]]] = {}
    figures: Counter[str] = Counter()
    for process in processes:
        answer = json.loads(process.communicate()[0])
        failed |= answer["failed"]
        figures.update(answer["figures"])
    (folder / "failed.json").write_text(json.dumps(failed, indent=1))
    for number, faults in failed.items():
        progress(f"python -m tests.simulation --replay {number} -v    {faults[0]}")
    verdicts: dict[str, list[str]] = {name: [] for name in (*VERDICTS, "flagged duplicate")}
    others: list[str] = []
    for number, faults in failed.items():
        for verdict, what in faults:
            verdicts.get(verdict, others).append(f"seed {number}: {verdict}: {what}")
    verdicts["flagged duplicate"] = [""] * figures["flagged"]
    return {"acknowledged": figures["acknowledged"], "kills": figures["kills"], "hits": figures["hits"],
            "verdicts": verdicts,
            "messages parked": 0, "deliveries parked": 0, "parked for deaths": 0, "faults": others}


def _begin(first: int, seeds: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.simulation", "--first", str(first), "--seeds", str(seeds),
               "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)

"""``python -m tests.simulation [--seeds N] [--first SEED] [--replay SEED [-v]] [--json]``"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter

from tests.simulation.world import Faulty, World


def main() -> int:
    """Run the command. Returns the exit code: 1 when a seed found something."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first one")
    parser.add_argument("--replay", type=int, default=None, metavar="SEED", help="only this one")
    parser.add_argument("-v", "--verbose", action="store_true", help="print each step")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    options = parser.parse_args()
    seeds = [options.replay] if options.replay is not None else range(options.first,
                                                                      options.first + options.seeds)
    began = time.process_time()
    digests: dict[int, str] = {}
    figures: Counter[str] = Counter()
    failed: dict[int, list[tuple[str, str]]] = {}
    for seed in seeds:
        world = World(seed, print if options.verbose else lambda _: None)
        try:
            digests[seed] = world.run()
        except Faulty as fault:
            failed[seed] = fault.faults
            digests[seed] = fault.digest
        figures.update(world.figures())
    took = time.process_time() - began
    if options.json:
        print(json.dumps({"seeds": len(digests), "failed": failed, "figures": figures, "digests": digests,
                          "cpu_seconds": round(took, 1)}))
    else:
        for seed, faults in failed.items():
            print(f"seed {seed} {digests[seed]}", *(f"  {verdict}: {what}" for verdict, what in faults),
                  sep="\n")
        if options.replay is not None:
            print(f"trace {digests[options.replay]}")
        print(", ".join(f"{name} {count}" for name, count in sorted(figures.items())))
        print(f"{len(digests)} seeds, {len(failed)} failed, {took:.1f} CPU seconds")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

"""The bare pipeline is a yardstick of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_bare_pipeline_knows_nothing_of_the_hub() -> None:
    program = "import benchmarks.bare, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    assert "'benchmarks'" in told
    assert not {"hub", "connectors", "tests"} & set(json.loads(told.replace("'", '"')))

"""A Fachverfahren that breaks off, refuses, redirects, or never ends its answer.

For each misbehaviour and each promise of the receiver there is one right outcome. The receiver of the first
municipality acts once per Idempotency-Key. The second one can be probed. Nobody can know what the third one
did, so a person decides.
"""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path

from tests.torture.document import MUNICIPALITIES
from tests.torture.peers import Cells
from tests.torture.stage import Stage
from tests.torture.steps import Progress, Result
from tests.torture.web import RETRY_AFTER

REST = """connector = "rest"
url = "http://127.0.0.1:{port}/{tenant}"
multipart = [{{ name = "xml", role = "xml" }}, {{ name = "original", role = "original" }}]
timeout = 3
{more}"""
PROMISES = ("idempotent = true", 'probe_url = "http://127.0.0.1:{port}/{tenant}/{{id}}"', 'in_doubt = "ask"')
DOUBT = ("probed", "probed", "asked")
EARLY = tuple({"retried", late} for late in DOUBT)
"""The hub may have sent everything before it notices. Then it cannot know the outcome, else it does."""

CELLS: dict[str, tuple[str | Collection[str], ...]] = {
    "reset-at-once": EARLY, "reset-in-request": EARLY, "reset-after-request": DOUBT, "kept-reset": DOUBT,
    "reset-in-answer": DOUBT, "hang": DOUBT, "kept-hang": DOUBT, "429": ("retried",), "503": ("retried",),
    "401": ("held",), "307": ("held",), "302": DOUBT, "500": DOUBT, "kept-500": DOUBT,
    "truncated": ("delivered",),
    "huge": ("delivered",)}
SHORT = ("kept-reset", "reset-after-request", "429", "307", "302", "huge")
MOST_MEMORY = 64 << 10
"""KiB by which the hub may grow over an answer of 1 GB."""


def bad_web_server(folder: Path, seed: int, *, only: Collection[str] = tuple(CELLS),
                   progress: Progress = print,
                   launcher: Sequence[str] = ("-m", "hub")) -> Result:
    """Try each cell once for each promise."""
    with Stage(folder, seed) as stage:
        faults = folder / "web-faults.json"
        web = stage.process("web", str(stage.world.drop), str(faults))
        assert web.stdout is not None
        _municipalities(stage, int(web.stdout.readline()))
        stage.hub.launcher = launcher
        stage.hub.start()
        run = Cells(stage, "ablage", f"s{seed}")
        run.expect("nothing", run.send(), "delivered")
        for kind in only:
            before = _peak(stage)
            _fault(faults, kind)
            names = run.send()
            run.tried(names)
            _fault(faults, None)
            stage.hub.signal(signal.SIGHUP)  # a person has acted where one was needed
            run.expect(kind, names, *CELLS[kind])
            if kind == "huge" and _peak(stage) - before > MOST_MEMORY:
                run.faults.append(f"huge: the hub grew by {_peak(stage) - before} KiB")
        progress(f"{len(only)} cells, {stage.acknowledged()} acknowledged")
        stage.drain()
        return {**stage.check(), "faults": run.count() + _manners(stage.world.drop / "requests.jsonl")}


def _municipalities(stage: Stage, port: int) -> None:
    for (ags, tenant), promise in zip(MUNICIPALITIES.items(), PROMISES, strict=True):
        file = stage.world.config.parent / "municipalities" / f"{ags}.toml"
        old = f'connector = "directory"\npath = "{stage.world.drop}/{tenant}"'
        rest = REST.format(port=port, tenant=tenant, more=promise.format(port=port, tenant=tenant))
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, rest))


def _fault(file: Path, kind: str | None) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps([] if kind is None else [{"command": "POST", "kind": kind}]))
    fresh.replace(file)


def _peak(stage: Stage) -> int:
    """The peak memory of the hub's main process, in KiB."""
    assert stage.hub.process is not None
    status = Path(f"/proc/{stage.hub.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


def _manners(requests: Path) -> list[str]:
    """The redirects that the hub followed, and each Retry-After for which it did not wait."""
    faults, times = [], defaultdict(list)
    for line in requests.read_text().splitlines():
        row = json.loads(line)
        times[row["key"]].append((row["at"], row["kind"]))
    faults += [f"{len(times['trap'])} times a redirect was followed"] if "trap" in times else []
    for key, tries in times.items():
        for (first, kind), (second, _) in pairwise(tries):
            if kind in ("429", "503") and second - first < RETRY_AFTER:
                faults.append(f"{key}: tried again {second - first:.1f} s after {kind} with Retry-After "
                              f"{RETRY_AFTER}")
    return faults

"""The result of a run: whether it is valid, whether it is green, and its page in `docs/scoreboard.md`."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.torture.checker import VERDICTS

PAGE = Path(__file__).parents[2] / "docs" / "scoreboard.md"
BOARDS = PAGE.with_suffix("")
ENOUGH = 1000
Report = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """The result of a scenario.

    `unclear`: flagged duplicates are allowed. `parks`: parked messages are allowed.
    """

    scenario: str
    report: Mapping[str, Any]
    unclear: bool = True
    parks: bool = False

    @property
    def left_out(self) -> str | None:
        """What this machine lacks for the scenario, or None."""
        return self.report.get("left out")

    @property
    def faults(self) -> list[str]:
        """The faults, by name and number."""
        if self.left_out:
            return []
        verdicts = self.report["verdicts"]
        found = [f"{name} {len(verdicts[name])}" for name in VERDICTS if verdicts[name]]
        if verdicts["flagged duplicate"] and not self.unclear:
            found.append(f"flagged duplicate {len(verdicts['flagged duplicate'])}")
        parked = self.report["messages parked"] + self.report["deliveries parked"]
        if parked and not self.parks:
            found.append(f"parked {parked}")
        if self.report["parked for deaths"]:
            found.append(f"parked for deaths {self.report['parked for deaths']}")
        return found + list(self.report.get("faults", ()))


def invalid(rows: Sequence[Row]) -> list[str]:
    """The reasons why a run proves nothing."""
    ran = [row for row in rows if not row.left_out]
    acknowledged = sum(row.report["acknowledged"] for row in ran)
    reasons = [] if acknowledged >= ENOUGH else [f"only {acknowledged} acknowledged messages, {ENOUGH} are "
                                                 "needed"]
    if os.environ.get("CI") == "true":
        reasons += [f"{row.scenario}: left out, {row.left_out}" for row in rows if row.left_out]
    return reasons + [f"{row.scenario}: no hit" for row in ran if not row.report["hits"]]


def table(rows: Sequence[Row]) -> str:
    """The results as a table in Markdown."""
    columns = ("acknowledged", "kills", "hits", *VERDICTS)
    lines = ["| scenario | " + " | ".join((*columns, "flagged", "parked", "minutes")) + " | commit |",
             "| --- |" + " ---: |" * (len(columns) + 3) + " --- |"]
    for row in rows:
        if row.left_out:
            lines.append(f"| {row.scenario} | left out: {row.left_out} |" + " |" * (len(columns) + 3))
            continue
        cells = [row.report["acknowledged"], row.report["kills"], row.report["hits"],
                 *(len(row.report["verdicts"][name]) for name in VERDICTS),
                 len(row.report["verdicts"]["flagged duplicate"]),
                 row.report["messages parked"] + row.report["deliveries parked"],
                 round(row.report.get("seconds", 0) / 60, 1), row.report.get("commit", "-")]
        lines.append(f"| {row.scenario} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def verdict(rows: Sequence[Row]) -> str:
    """The verdict in one word, with its reason."""
    reasons = invalid(rows)
    if reasons:
        return "invalid: " + "; ".join(reasons)
    faults = [f"{row.scenario}: {fault}" for row in rows for fault in row.faults]
    return "red: " + "; ".join(faults) if faults else "green"


def machine() -> str:
    """Processors, memory and kernel of this machine."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return (f"{os.cpu_count()} CPUs ({model[1] if model else platform.machine()}), {memory} GiB, "
            f"Linux {platform.release()}, Python {platform.python_version()}")


def write(tier: str, section: str, page: Path = PAGE) -> None:
    """Replace the section of a tier in the page."""
    begin, end = f"<!-- {tier} -->", f"<!-- end of {tier} -->"
    text = page.read_text(encoding="utf-8")
    block = f"{begin}\n{section.strip()}\n{end}"
    if begin in text:
        text = text[:text.index(begin)] + block + text[text.index(end) + len(end):]
    else:
        text = f"{text.rstrip()}\n\n{block}\n"
    page.write_text(text, encoding="utf-8")


def saved(board: Path) -> dict[str, Report]:
    """The saved results of a run, by scenario."""
    found: dict[str, Report] = json.loads(board.read_text()) if board.exists() else {}
    return found


def save(board: Path, scenario: str, report: Report) -> dict[str, Report]:
    """Save one more result. Returns all results; others may have added theirs meanwhile."""
    board.parent.mkdir(parents=True, exist_ok=True)
    done = {**saved(board), scenario: report}
    hidden = board.with_name(f".{board.name}.{os.getpid()}")
    hidden.write_text(json.dumps(done, indent=1, sort_keys=True) + "\n")
    hidden.rename(board)
    return done

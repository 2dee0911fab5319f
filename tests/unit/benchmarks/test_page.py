"""The page is made from the results."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from benchmarks import page

ROOT = Path(__file__).parents[3]


def test_the_page_is_made_from_the_results() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(page.results()), "make bench ARGS=--page"


def test_a_missed_goal_stands_out() -> None:
    assert page.ratio({"median": 0.69, "spread": 3}, 0.7) == "**0.69 ± 3 %**, goal 0.7"
    assert page.ratio({"median": 0.7, "spread": 3}, 0.7) == "0.70 ± 3 %"


def test_results_name_no_machine() -> None:
    for name, found in page.results().items():
        text = json.dumps(found)
        assert socket.gethostname() not in text or len(socket.gethostname()) < 4, name
        assert str(ROOT) not in text, name

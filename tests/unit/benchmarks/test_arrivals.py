"""What has arrived is counted once."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import throughput
from benchmarks.arrivals import Arrivals, TooSlow, number_of


def test_arrivals_count_names_once_and_hidden_ones_never(tmp_path: Path) -> None:
    with Arrivals(tmp_path) as arrivals:
        for name in ("a-1_x.xml", "a-2.xml"):
            (tmp_path / f".{name}").write_text("")
            (tmp_path / f".{name}").rename(tmp_path / name)
        (tmp_path / "c").write_text("")
        (tmp_path / "c").rename(tmp_path / "a-1_x.xml")
        arrivals.wait(2, 5)
        with pytest.raises(TooSlow, match="2 of 3"):
            arrivals.wait(3, 0.1)
        assert arrivals.twice == 1
        assert {number_of(name) for name in arrivals.seen} == {"a-1", "a-2"}
        assert throughput.wrong(arrivals, ["a-1", "a-3"], "folder") == ["1 twice",
                                                                        "1 missing, 0 twice, 1 foreign"]

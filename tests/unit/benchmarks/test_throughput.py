"""What makes a run invalid."""

from __future__ import annotations

from benchmarks import throughput


def result(bare: float, *, judged: bool = True) -> dict[str, object]:
    return throughput.result("4 KB", 100, {"chain": [1000.0], "bare": [bare], "hub": [300.0]},
                             {"bare": [0.001], "hub": [0.002]}, {"bare": 1 << 20, "hub": 2 << 20}, [],
                             judged=judged)


def test_a_slow_yardstick_makes_a_run_invalid() -> None:
    assert result(bare=350.0)["invalid"] == []
    assert result(bare=100.0, judged=False)["invalid"] == []
    assert result(bare=349.0)["invalid"] == ["the bare pipeline reached only 0.35 of the lxml chain; 0.35 "
                                             "are needed"]

"""The benchmarks' own arithmetic."""

from __future__ import annotations

import pytest

from benchmarks import figures


def test_median_and_spread() -> None:
    assert figures.summary([100.0, 120.0, 90.0]) == {"median": 100.0, "spread": 15,
                                                     "values": [100.0, 120.0, 90.0]}
    assert figures.summary([0.0])["spread"] == 0


def test_a_ratio_is_made_within_a_round() -> None:
    """The machine was twice as fast in the second round: the ratio does not show it."""
    assert figures.ratios([70.0, 140.0, 70.0], [100.0, 200.0, 100.0])["median"] == 0.7
    with pytest.raises(ValueError, match="shorter"):
        figures.ratios([1.0, 2.0], [1.0])


def test_quantiles_in_milliseconds() -> None:
    assert figures.quantiles([number / 1000 for number in range(1, 101)]) == {"p50": 51.0, "p99": 100.0,
                                                                              "max": 100.0}
    with pytest.raises(ValueError, match="no value"):
        figures.quantiles([])

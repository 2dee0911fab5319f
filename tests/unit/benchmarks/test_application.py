"""The application of the benchmarks."""

from __future__ import annotations

from benchmarks import application


def test_sizes_are_what_they_are_called() -> None:
    for name, size in application.SIZES.items():
        wanted = {"KB": 1000, "MB": 1_000_000}[name.split()[1]] * int(name.split()[0])
        assert 0.85 < len(application.document("probe-1", *size)) / wanted < 1.15, name

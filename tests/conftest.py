"""For all tests: generated examples are judged by what comes out, never by how long it took on a busy
machine."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")

LONGEST = ("torture/test_planted.py", "integration/test_systemd.py", "torture/test_torture.py",
           "simulation/test_simulation.py",
           "acceptance/test_tutorial.py", "integration/test_prometheus.py", "acceptance/",
           "integration/test_cmis.py",
           "integration/test_amqp.py")
"""Begun first, so that no core is idle while the last one of them goes on; a file's tests stay together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first; all others in the order in which they are found."""

    def rank(item: pytest.Item) -> int:
        place = item.path.as_posix()
        return next((number for number, name in enumerate(LONGEST) if f"/tests/{name}" in place),
                    len(LONGEST))

    items.sort(key=rank)

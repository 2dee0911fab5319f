"""Libraries that are too old are refused."""

from __future__ import annotations

import pytest

from hub.errors import ConfigError
from hub.parsing.versions import check_versions


@pytest.mark.parametrize(("lxml", "libxml2", "named"), [
    ((6, 1, 0), (2, 14, 6), ["lxml"]),
    ((4, 9, 2), (2, 9, 14), ["lxml", "libxml2"]),
    ((6, 1, 1), (2, 13, 9), ["libxml2"]),
])
def test_old_libraries_are_refused(lxml: tuple[int, ...], libxml2: tuple[int, ...], named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_versions(lxml, libxml2)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == named


def test_the_installed_libraries_will_do() -> None:
    check_versions()
    check_versions((6, 1, 1, 0), (2, 14, 0))

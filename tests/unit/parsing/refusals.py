"""What the tests of parsing share: the limits, and how something is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hub.errors import Rejected
from hub.job import Limits

LIMITS = Limits()


def refusal(read: Callable[..., Any], *arguments: Any) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(*arguments)
    return caught.value

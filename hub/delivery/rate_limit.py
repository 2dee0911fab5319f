"""How fast a destination may be given deliveries: a token bucket that never saves up."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

BURST = timedelta(milliseconds=250)
"""What a destination with a rate saved up while it had nothing to do: never more than this time's worth, and
never less than one delivery."""


@dataclass
class Pace:
    """How many tries a destination with a `rate` (per second) may have now."""

    saved: float = 0.0
    looked: datetime | None = None

    def ready(self, rate: float, now: datetime) -> datetime:
        """From when on one more is allowed."""
        most = max(1.0, rate * BURST.total_seconds())
        gone = most / rate if self.looked is None else max(0.0, (now - self.looked).total_seconds())
        self.saved, self.looked = min(most, self.saved + gone * rate), now
        return now + timedelta(seconds=max(0.0, 1.0 - self.saved) / rate)

    def take(self, wanted: int) -> int:
        """So many of `wanted` are allowed; whoever does not use them gives them back."""
        taken = min(wanted, int(self.saved + 1e-6))
        self.saved -= taken
        return taken

    def give_back(self, unused: int) -> None:
        """Some that were taken were not used."""
        self.saved += unused

"""What a worker may use, from the section ``[workers]`` of the configuration."""

from __future__ import annotations

import math

from hub.config.sections import WorkersSection
from hub.workers.process import WorkerSettings


def limits_of(section: WorkersSection, most_seconds: float | None = None) -> WorkerSettings:
    """The limits of each worker; `most_seconds` lowers the time for one job."""
    seconds = section.seconds if most_seconds is None else min(section.seconds, most_seconds)
    return WorkerSettings(
        data_bytes=section.memory_mb << 20, resident_bytes=(section.memory_mb + 256) << 20,
        recycle_bytes=section.memory_mb << 19, cpu_seconds=max(1, math.ceil(seconds)),
        wall_seconds=seconds * 2)

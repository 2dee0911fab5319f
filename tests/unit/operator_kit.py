"""Operators for tests: on a store alone, and beside a deliverer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from hub.administration.retention import Retention
from hub.config.sections import DiskSection
from hub.delivery.deliverer import Deliverer
from hub.intake.disk_space import Space
from hub.operations.operator import Operator
from hub.operations.running_hub import RunningHub
from hub.store.store import Store


def unconfigured() -> NoReturn:
    """There is no configuration, and nobody should need one."""
    raise AssertionError("the test has no configuration")


def alone(store: Store) -> Operator:
    """An operator where no hub runs."""
    return Operator(store, Retention(store, unconfigured), running=None)


def beside(store: Store, deliverer: Deliverer, folder: Path, wake: Callable[[], None] | None = None, *,
           reload: Callable[[], list[str]] = list) -> Operator:
    """An operator beside a hub that has this deliverer, and always room in `folder`."""
    space = Space(folder, lambda: DiskSection(min_free_mb=0, min_free_percent=0, min_free_inodes=0,
                                              reserve_mb=0))
    return Operator(store, Retention(store, unconfigured), running=RunningHub(
        deliverer=deliverer, space=space, wake=wake or deliverer.wake, reload=reload, awaits_restart=list))

"""Fault points are inert until they are named, and a name that is none is said so."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hub import endpoint, failpoints, registry
from hub.errors import ConfigError
from hub.store.store import Store


def test_without_the_variable_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {point: getattr(*failpoints.place(point)) for point in failpoints.POINTS}
    failpoints.arm({})
    assert {point: getattr(*failpoints.place(point)) for point in failpoints.POINTS} == before


def test_every_point_names_a_function_that_is_there() -> None:
    outlets = [f"deliver/{name}" for name in registry.names() if registry.has(name, "Outlet")]
    for point in (*failpoints.POINTS, *outlets):
        owner, name = failpoints.place(point)
        assert callable(getattr(owner, name)), point


def test_what_an_outlet_has_from_its_base_is_hurt_there_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sftp, directory = (endpoint.outlet_class(name) for name in ("sftp", "directory"))
    honest, base = sftp.deliver, sftp.__mro__[1].deliver
    monkeypatch.setattr(sftp, "deliver", honest, raising=False)
    failpoints.arm({failpoints.VARIABLE: "deliver/sftp before raise 1"})
    assert sftp.deliver is not honest
    assert sftp.__mro__[1].deliver is base
    assert directory.deliver is not sftp.deliver


@pytest.mark.parametrize("text", [
    "nowhere before kill 1", "settle during kill 1", "settle before explode 1", "settle before kill",
    "settle before kill x",
    "settle before kill 1++"])
def test_a_name_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="names no fault"):
        failpoints.read(text)


@pytest.mark.parametrize(("text", "calls", "executed", "raised"), [
    ("settle before raise 2", 3, [1, 3], [2]), ("settle after raise 2", 3, [1, 2, 3], [2]),
    ("settle before raise 2+", 3, [1], [2, 3])])
def test_the_named_call_fails_before_or_after_it_is_executed(monkeypatch: pytest.MonkeyPatch, text: str,
                                                             calls: int,
                                                             executed: list[int], raised: list[int]) -> None:
    done: list[int] = []
    monkeypatch.setattr(Store, "settle", lambda self, number: done.append(number))
    failpoints.arm({failpoints.VARIABLE: text})
    failed = []
    for number in range(1, calls + 1):
        try:
            Store.settle(None, number)  # type: ignore[arg-type]
        except (failpoints.Injected, TimeoutError):
            failed.append(number)
    assert (done, failed) == (executed, raised)


def test_a_hang_hangs_only_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []
    monkeypatch.setattr(Store, "settle", lambda self, number: done.append(number))
    failpoints.arm({failpoints.VARIABLE: "settle before hang 1"})
    first = threading.Thread(target=Store.settle, args=(None, 1), daemon=True)
    first.start()
    first.join(0.2)
    assert first.is_alive()
    Store.settle(None, 2)  # type: ignore[arg-type]
    assert done == [2]

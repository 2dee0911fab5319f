"""The base of drops, with a place in memory: what it does with a place's errors, and what it asks of one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO

import pytest

from connectors._drop import DropOutlet
from connectors._layout import DropOptions
from hub.endpoint import Done, Finding, is_certain, refused
from hub.errors import DeliveryError, Misconfigured, Temporary
from tests.integration.contract import Effect, make_delivery


class Memory:
    """A `Place`: files by their paths, folders as None. `before` is called with each step's name."""

    def __init__(self) -> None:
        self.things: dict[str, bytes | None] = {}
        self.steps: list[str] = []
        self.before: Callable[[str], None] = lambda step: None

    def _step(self, name: str) -> None:
        self.steps.append(name)
        self.before(name)

    def make_folder(self, path: str, *, exist_ok: bool = False) -> None:
        self._step("make_folder")
        if path in self.things and not exist_ok:
            raise FileExistsError(path)
        self.things[path] = None

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        self._step("write")
        if path in self.things:
            raise FileExistsError(path)
        self.things[path] = source.read()

    def sync_folder(self, path: str) -> None:
        self._step("sync_folder")

    def publish(self, hidden: str, final: str) -> None:
        self._step("publish")
        if final in self.things:
            raise FileExistsError(final)
        for path in [path for path in self.things if path == hidden or path.startswith(f"{hidden}/")]:
            self.things[final + path.removeprefix(hidden)] = self.things.pop(path)

    def names(self, path: str) -> Sequence[str]:
        self._step("names")
        return [each for each in self.things if "/" not in each]

    def size(self, path: str) -> int | None:
        self._step("size")
        content = self.things.get(path, b"")
        return None if path not in self.things else -1 if content is None else len(content)

    def digest(self, path: str) -> str:
        self._step("digest")
        return hashlib.sha256(self.things[path] or b"").hexdigest()

    def remove(self, path: str) -> None:
        self._step("remove")
        for each in [each for each in self.things if each == path or each.startswith(f"{path}/")]:
            del self.things[each]


class Outlet(DropOutlet[DropOptions]):
    """A drop whose place raises `DeliveryError` itself."""

    def __init__(self, **options: object) -> None:
        super().__init__(DropOptions(**options))
        self.memory = Memory()
        self.closed = 0

    def place(self) -> Memory:
        return self.memory

    def border(self) -> AbstractContextManager[None]:
        return nullcontext()

    def remedy(self, error: DeliveryError) -> str:
        return "Nachsehen."

    def approval(self) -> Sequence[Finding]:
        return [Finding("ok", "Gut.")]

    def close(self) -> None:
        self.closed += 1


def failing(step: str, error: Exception, number: int = 1) -> Callable[[str], None]:
    """Raises at this step, the `number`-th of its kind."""
    left = [number]

    def fail(name: str) -> None:
        left[0] -= name == step
        if name == step and left[0] == 0:
            raise error

    return fail


def test_a_delivery_and_a_second_one() -> None:
    outlet, effect = Outlet(), Effect()
    receipt = outlet.deliver(make_delivery(), effect)
    assert outlet.probe(make_delivery()) == Done(receipt)
    assert outlet.deliver(make_delivery(attempt=2), effect) == receipt
    assert effect.begun == 1
    assert outlet.closed == 0


@pytest.mark.parametrize(("step", "number"), [
    ("size", 1), ("make_folder", 1), ("write", 1), ("write", 2), ("sync_folder", 1)])
def test_an_error_of_the_place_before_the_effect_passes_and_leaves_nothing(step: str, number: int) -> None:
    outlet, effect = Outlet(), Effect()
    outlet.memory.before = failing(step, Temporary("voll"), number)
    with pytest.raises(Temporary, match="voll"):
        outlet.deliver(make_delivery(), effect)
    assert effect.begun == 0
    assert outlet.memory.things == {}


@pytest.mark.parametrize("certain", [False, True])
def test_what_the_place_says_of_the_rename_is_kept(certain: bool) -> None:
    """Only the place knows whether its server has acted."""
    outlet, effect = Outlet(), Effect()
    error = Misconfigured("nein")
    outlet.memory.before = failing("publish", refused(error) if certain else error)
    with pytest.raises(Misconfigured) as raised:
        outlet.deliver(make_delivery(), effect)
    assert effect.begun == 1
    assert is_certain(raised.value) == certain


@pytest.mark.parametrize("ask", ["deliver", "probe"])
def test_every_folder_on_the_way_is_looked_at_before_it_is_used(ask: str) -> None:
    """A place that does not see links by itself shows them there."""
    outlet, delivery = Outlet(), make_delivery(manifest={"path": "a/b/c"})
    for folder in ("a", "a/b", "a/b/c"):
        outlet.memory.things[folder] = None
    looked: list[str] = []
    honest = outlet.memory.size

    def size(path: str) -> int | None:
        looked.append(path)
        return honest(path)

    outlet.memory.size = size  # type: ignore[method-assign]
    if ask == "deliver":
        outlet.deliver(delivery, Effect())
    else:
        outlet.probe(delivery)
    assert looked[:3] == ["a", "a/b", "a/b/c"]
    assert outlet.memory.steps[:3] == ["size"] * 3


def test_only_an_error_from_outside_ends_the_connection() -> None:
    outlet = Outlet(must_contain=".drehscheibe")
    with pytest.raises(Temporary, match="drehscheibe"):
        outlet.deliver(make_delivery(), Effect())
    assert outlet.closed == 0
    outlet.memory.before = failing("size", ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        outlet.deliver(make_delivery(), Effect())
    assert outlet.closed == 1


def test_a_first_try_asks_for_little() -> None:
    """Each step may be a question to a server far away."""
    outlet = Outlet(layout="single")
    outlet.deliver(make_delivery(), Effect())
    assert outlet.memory.steps == ["size", "write", "publish", "sync_folder"]


def test_later_tries_look_for_what_the_earlier_ones_left_and_list_once() -> None:
    outlet = Outlet(layout="single")
    for number in (1, 2, 3):
        outlet.deliver(make_delivery(number=number, attempt=3), Effect())
    assert outlet.memory.steps.count("names") == 1
    assert outlet.memory.steps.count("size") == 3 * (1 + 2 * 2)

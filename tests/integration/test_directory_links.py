"""Links in a drop folder that come between two steps; what lies there before is in `drop_limits`."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from connectors import _disk
from hub.errors import DeliveryError
from tests.integration.contract import Effect, make_delivery
from tests.integration.drop_folder import NAME
from tests.integration.test_directory import Drop


@pytest.fixture
def receiver(tmp_path: Path) -> Drop:
    (tmp_path / "ziel").mkdir()
    return Drop(tmp_path / "ziel")


def swap(one: Path, other: Path) -> None:
    """Both names at once (RENAME_EXCHANGE): there is no moment at which one is missing."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) == 0


class Swapping:
    """Puts a link in the place of a folder just before a certain step of the kernel's, counted from 1; with
    `back` it is gone again at the next one. Steps are those that go on from a descriptor."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, link: Path) -> None:
        self.at, self.back, self.count, self.swapped = 0, False, 0, False
        self.pair = (folder, link)
        for name in ("open", "stat", "mkdir", "unlink"):
            monkeypatch.setattr(os, name, self._counted(getattr(os, name)))
        monkeypatch.setattr(_disk, "rename_new", self._counted(_disk.rename_new))

    def _counted(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            if real.__name__ == "rename_new" or named.get("dir_fd") is not None:
                self.count += 1
                if self.count == self.at or (self.back and self.count == self.at + 1):
                    self.swap()
            return real(*arguments, **named)

        return counted

    def swap(self) -> None:
        swap(*self.pair)
        self.swapped = not self.swapped


def leaks(swapping: Swapping, receiver: Drop, outside: Path, *, together: bool,
          back: bool) -> tuple[int, int]:
    """How many steps a delivery has, and through how many links that come just before one something went."""
    outlet, leaked, at = receiver.outlet(), 0, 0
    while True:
        delivery = make_delivery(number=(at := at + 1), manifest={"path": "Steuern"})
        swapping.at, swapping.back, swapping.count = at, back, 0
        with suppress(DeliveryError):
            if together:
                outlet.prepare([delivery])
            outlet.deliver(delivery, Effect())
        with suppress(DeliveryError):
            outlet.conclude()
        if swapping.count < at:
            return at - 1, leaked
        if swapping.swapped:
            swapping.swap()
        leaked += any(outside.iterdir())
        for path in outside.iterdir():
            shutil.rmtree(path)


class TestLinks:
    """What is planted between two steps."""

    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        (tmp_path / "fremd").mkdir()
        return tmp_path / "fremd"

    @pytest.fixture
    def swapping(self, receiver: Drop, outside: Path, monkeypatch: pytest.MonkeyPatch) -> Swapping:
        (receiver.root / ".link").symlink_to(outside)
        return Swapping(monkeypatch, receiver.put("Steuern"), receiver.root / ".link")

    @pytest.mark.parametrize("together", [False, True])
    @pytest.mark.parametrize("back", [False, True])
    def test_no_byte_goes_through_a_link_whenever_it_comes(
            self, swapping: Swapping, receiver: Drop, outside: Path, together: bool, back: bool) -> None:
        steps, leaked = leaks(swapping, receiver, outside, together=together, back=back)
        assert steps > 20
        assert leaked == 0

    @pytest.mark.parametrize("together", [False, True])
    def test_the_suite_notices(self, swapping: Swapping, receiver: Drop, outside: Path, together: bool,
                               monkeypatch: pytest.MonkeyPatch) -> None:
        """Where each step is only looked at before it is taken."""
        monkeypatch.setattr(os, "O_NOFOLLOW", 0)
        _, leaked = leaks(swapping, receiver, outside, together=together, back=False)
        assert leaked > 0

    def test_no_byte_goes_through_a_link_that_comes_and_goes(self, receiver: Drop, outside: Path) -> None:
        """A thread swaps all the time; whatever is said to be delivered is there."""
        folder, link, stop = receiver.put("Steuern"), receiver.root / ".link", threading.Event()
        link.symlink_to(outside)

        def swapping() -> None:
            while not stop.wait(random.random() / 500):
                swap(folder, link)

        thread = threading.Thread(target=swapping)
        thread.start()
        outlet, receipts = receiver.outlet(), []
        try:
            for number in range(1, 100):
                delivery = make_delivery(number=number, manifest={"path": "Steuern"})
                with suppress(DeliveryError):
                    receipts.append(outlet.deliver(delivery, Effect()).reference)
                assert list(outside.iterdir()) == []
        finally:
            stop.set()
            thread.join()
        real = link if folder.is_symlink() else folder
        assert all(len(list((real / Path(reference).name).iterdir())) == 5 for reference in receipts)

    def test_a_pipe_with_the_final_name_holds_up_nothing(self, receiver: Drop) -> None:
        empty = make_delivery([("xml", "leer.xml", "application/xml", b"")])
        os.mkfifo(receiver.root / f"{NAME}.xml")
        outlet = receiver.outlet(layout="single")
        assert outlet.deliver(empty, Effect()).reference == f"{NAME}-2.xml"

    def test_no_descriptor_stays_open(self, receiver: Drop) -> None:
        """A share could not be unmounted."""
        before = len(os.listdir("/proc/self/fd"))
        outlet = receiver.outlet()
        for number in range(1, 4):
            outlet.prepare([make_delivery(number=number, manifest={"path": "Steuern"})])
            outlet.deliver(make_delivery(number=number, manifest={"path": "Steuern"}), Effect())
            outlet.conclude()
            outlet.probe(make_delivery(number=number, manifest={"path": "Steuern"}))
        outlet.check()
        assert len(os.listdir("/proc/self/fd")) == before

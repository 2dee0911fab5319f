"""What every command is given: its configuration, and the way to the store or to the hub that has it.

A configuration is never found by accident: it is the one that ``--config`` names, else the one that
``$DREHSCHEIBE_CONFIG`` names, else ``/etc/drehscheibe/hub.toml``, whatever the working directory is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress

from hub.config import loader
from hub.config.configuration import Configuration
from hub.errors import Busy, ConfigError, HubError
from hub.i18n.texts import _
from hub.operations import control_socket, systemd, wire
from hub.operations.verbs import EVERY_RIGHT, VERBS, Right
from hub.telemetry import logs

if TYPE_CHECKING:
    from hub.store.store import Store

CONFIGURATION = Path("/etc/drehscheibe/hub.toml")
"""The configuration when none is named."""
VARIABLE = "DREHSCHEIBE_CONFIG"
"""The environment's variable that names one."""
LOOK_SECONDS = 0.2
"""Seconds between two looks at long work in the running hub."""


class Context:
    """The configuration of one call, and whom the call asks.

    `named` is the file that the caller named, or None; `overrides` are its ``--set section.key=value``.
    """

    def __init__(self, named: Path | None, overrides: Sequence[str]) -> None:
        self._named = named
        self.overrides = overrides
        self._until: ExitStack | None = None
        self._kept: Store | None = None

    @cached_property
    def file(self) -> Path:
        """The configuration's absolute path. Raises `ConfigError` when there is no such file.

        A file that may not be looked for raises `PermissionError`.
        """
        file = self._named or CONFIGURATION
        try:
            file = file.absolute()
        except FileNotFoundError as error:
            raise ConfigError.at(file, "(file)", "is relative to a folder that was deleted",
                                 "name it by its whole path") from error
        if not file.exists():
            raise ConfigError.at(file, "(file)", "there is no configuration",
                                 "create it, or name another one: drehscheibe --config FILE, or "
                                 f"{VARIABLE}=FILE")
        return file

    @property
    def start(self) -> str:
        """The command that starts the hub of this configuration."""
        by_systemd = self.file == CONFIGURATION and systemd.runs_the_hub()
        return "systemctl start drehscheibe" if by_systemd else "drehscheibe run"

    @cached_property
    def places(self) -> loader.Places:
        """Where the store and the socket are: a fault elsewhere in the configuration must not blind the
        operator. Raises `ConfigError`."""
        return loader.places(self.file, self.overrides)

    def load(self) -> Configuration:
        """The whole configuration. Raises `ConfigError` with all its faults."""
        return loader.load(self.file, self.overrides)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Perform an operator's verb: through the running hub, or on the store itself.

        Raises the same error either way.
        """
        try:
            return control_socket.ask(self.places.hub.socket, verb, arguments)
        except control_socket.NotRunning:
            from hub.administration.retention import Retention
            from hub.operations.operator import Operator

            reads = VERBS[verb].right is Right.READ
            if not reads:
                logs.setup("WARNING")  # standard output is the answer's alone
            with self._opened(read_only=reads) as store:
                operator = Operator(store, Retention(store, self.load), running=None)
                return control_socket.perform(operator, verb, arguments, control_socket.whoami(),
                                              EVERY_RIGHT)

    @contextmanager
    def several(self) -> Iterator[None]:
        """Ask for verbs of one kind again and again: a store that no hub has open is opened once only."""
        with ExitStack() as until:
            self._until = until
            try:
                yield
            finally:
                self._until = self._kept = None

    @contextmanager
    def _opened(self, *, read_only: bool) -> Iterator[Store]:
        if self._until is None:
            with self.store(read_only=read_only) as store:
                yield store
            return
        if self._kept is None:
            self._kept = self._until.enter_context(self.store(read_only=read_only))
        yield self._kept

    def work(self, verb: str, **arguments: Any) -> Any:
        """Perform a long verb and show its progress: in the running hub, or on the store itself.

        Raises the same error either way.
        """
        with progress() as show:
            try:
                begun = control_socket.ask(self.places.hub.socket, "begin", {"verb": verb, **arguments})
            except control_socket.NotRunning:
                from hub.administration.retention import Retention
                from hub.operations.operator import Operator

                logs.setup("WARNING")  # standard output is the answer's alone
                with self.store(read_only=True) as store:
                    return getattr(Operator(store, Retention(store, self.load), running=None),
                                   verb)(show, **arguments)
            return self._follow(begun["id"], show)

    def _follow(self, id: str, show: Callable[[str, int, int], None]) -> Any:
        """Look at long work in the running hub until it ends. Raises the error that ended it."""
        try:
            while (state := control_socket.ask(self.places.hub.socket, "progress", {"id": id}))["running"]:
                show(state["step"], state["done"], state["of"])
                time.sleep(LOOK_SECONDS)
        except control_socket.NotRunning as error:
            raise Busy("the hub ended meanwhile: ask again") from error
        if state["error"] is not None:
            raise wire.error_from(state["error"])
        return state["result"]

    @contextmanager
    def store(self, *, read_only: bool = False) -> Iterator[Store]:
        """The store, open while no hub runs here, and closed at the end.

        Raises `HubError` when there is none yet.
        """
        from hub.store.store import Store

        places = self.places
        if places.store.url is None and not (places.hub.state / "store.sqlite3").exists():
            raise HubError(f"there is no store in {places.hub.state} yet: start the hub first "
                           f"({self.start})")
        with closing(Store.open(places.hub.state, served=places.store, read_only=read_only)) as store:
            yield store


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error, where somebody looks on."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)

        def show(step: str, done: int, of: int) -> None:
            bar.update(task, description=_(step) if step else "", completed=done, total=of or None)

        yield show


STEPS = ("tables", "files", "digests", "database", "references", "tallies", "bodies")
"""What long work may be at: `hub.store.integrity` and `hub.store.backup.take` name them."""

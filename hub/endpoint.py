"""The contract between the hub and a connector, and the way a connector is found by its name.

A connector is one module in `connectors/`. It imports `hub.endpoint`, `hub.message` and `hub.errors`, nothing else of the
hub, and has no threads, retries, metrics, leases or logs of its own: those are written once, around it. On top of the
module stands its `Options`; below it one class or both::

    class Outlet(OutletBase[Options]):   # brings deliveries to a receiver
    class Inlet(InletBase[Options]):     # takes messages from a sender
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, Protocol, TypeVar, cast

from pydantic import AfterValidator, ConfigDict, Field, SerializeAsAny, ValidationError, WrapValidator, create_model

from hub.errors import ConfigError
from hub.files.model import FileModel
from hub.message import Accepted, Delivery, Incoming, Receipt

Severity = Literal["ok", "warning", "error"]


class OptionsModel(FileModel):
    """Base of every connector's options: frozen, unknown keys are errors. Each field has a description of one line."""

    model_config = ConfigDict(str_strip_whitespace=True)


def _check_secret(value: str) -> str:
    if not value.startswith(("file:", "credential:")):
        raise ValueError("a secret is named, never written: 'file:/path' or 'credential:name'")
    return value


SecretRef = Annotated[str, AfterValidator(_check_secret)]
"""Where a secret is: ``file:/path`` or ``credential:name`` (below ``$CREDENTIALS_DIRECTORY``). Read by `read_secret`."""


def secret_path(ref: str) -> Path:
    """The file of a `SecretRef`."""
    kind, _, name = ref.partition(":")
    if kind == "credential":
        return Path(os.environ.get("CREDENTIALS_DIRECTORY", "/run/credentials/drehscheibe.service")) / name
    return Path(name)


def read_secret(ref: str) -> str:
    """The secret as text without the line's end. Raises `ConfigError` when the file cannot be read."""
    path = secret_path(ref)
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise ConfigError.at(path, ref, f"the secret cannot be read ({error.strerror})",
                             "create the file with mode 0600 for the hub's user") from error
    except UnicodeDecodeError as error:
        raise ConfigError.at(path, ref, "the secret is not UTF-8", "write it as UTF-8") from error


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of a connection check, in German, with the next step."""

    severity: Severity
    text: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Done:
    """The probe found the delivery at the receiver."""

    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Absent:
    """The probe knows that the receiver does not have it."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """The probe cannot know."""

    why: str = ""


ProbeResult = Done | Absent | Unknown
Repeat = Literal["idempotent", "probe", "ask"]
OptionsT = TypeVar("OptionsT", bound=OptionsModel)


class OutletBase(ABC, Generic[OptionsT]):
    """Brings deliveries to one destination. One object per destination and thread at a time; `close` may be followed by
    another `deliver`, which connects again.

    `repeat` says what a second try does at the receiver: ``idempotent`` (the same single copy), ``probe`` (`probe` knows),
    ``ask`` (nobody can know). A connector sets it on its class, or overrides `repeat_for` where its options decide.
    """

    repeat: Repeat
    notes: ClassVar[bool] = False
    """Whether it puts a manifest's property `hub.message.NOTE` before its body: then what is too large is split
    (`hub.store.slim_manifest`)."""
    gathers: ClassVar[bool] = False
    """Whether several deliveries cost less between `prepare` and `conclude` than each alone."""
    drop: ClassVar[bool] = False
    """Whether it puts files into a place, with the options layout, role and name: others may deliver through it (`Drop`)."""
    keeps: bool = False
    """Whether the receiver keeps for ever what it got, so that `probe` knows it after weeks, too (a DMS; no drop folder)."""

    def __init__(self, options: OptionsT) -> None:
        self.options = options
        self.repeat = self.repeat_for(options)

    @classmethod
    def repeat_for(cls, options: OptionsT) -> Repeat:  # noqa: ARG003
        """What a second try does at a destination with these options, without building the outlet."""
        return cls.repeat

    @abstractmethod
    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Deliver, or raise a `hub.errors.DeliveryError`.

        Calls `effect_begins()` just before the byte that may act at the receiver. Any error after it makes the delivery
        in doubt, whatever is raised, except an error marked by `refused`: the
        receiver's own clear no.
        """

    def prepare(self, deliveries: Sequence[Delivery]) -> None:
        """Do what comes before the effects of several deliveries at once, if the outlet `gathers`. Changes nothing that anybody
        sees, and never raises for one of them: what could not be prepared, `deliver` does by itself.
        """

    def conclude(self) -> None:
        """Let what was delivered since `prepare` last, and throw away what was prepared in vain.

        Raises a `hub.errors.DeliveryError` when nobody knows whether those deliveries will last: all of them are in doubt then.
        """

    def probe(self, delivery: Delivery) -> ProbeResult:  # noqa: ARG002
        """Does the receiver have it? Never changes anything there."""
        return Unknown("this protocol cannot be asked")

    @abstractmethod
    def check(self) -> Sequence[Finding]:
        """Try the destination for real without leaving anything behind; one German finding per step."""

    def close(self) -> None:
        """Give back connections. Never raises."""


ErrorT = TypeVar("ErrorT", bound=Exception)


def refused(error: ErrorT) -> ErrorT:
    """Mark an error as the receiver's own clear answer: it holds even after the effect began."""
    error.certain = True  # type: ignore[attr-defined]
    return error


def is_certain(error: BaseException) -> bool:
    """Whether the receiver itself said no (`refused`)."""
    return bool(getattr(error, "certain", False))


class Accept(Protocol):
    """The hub's door. Returns only after the commit.

    Raises `StoreUnavailable` (keep it and ask again later), `NotAllowed` (sender may not send this here), `Conflict`
    (same key, other content, and `Incoming.conflict` is ``refuse``).
    """

    def __call__(self, incoming: Incoming) -> Accepted: ...

    def together(self, incomings: Sequence[Incoming]) -> Sequence[Accepted | Exception]:
        """The same for several, which share a commit. What it would raise for one alone stands in that one's place."""
        ...


TurnedAway = Literal["unknown-client", "wrong-address", "too-large", "too-slow", "unreadable", "busy", "unavailable"]
"""Why an inlet itself did not take a transfer, before the hub's door saw it. ``busy``: too many connections at once."""


Lying = Literal["unfinished", "left-out", "special"]
"""What lies in an inlet's folder and is not taken. ``unfinished``: an upload whose sender does not end it;
``left-out``: names that are no part of an application; ``special``: links and the like, which nobody reads."""


def _nobody_hears(_: Mapping[Lying, int]) -> None:
    """Nobody is told."""


def _always_room(_: int) -> None:
    """There is room for every body."""


def _uncounted(_: TurnedAway) -> None:
    """Nobody counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InletContext:
    """What the hub hands to an inlet when it builds it. Nothing of it changes afterwards."""

    name: str
    """The inlet's name in the configuration, in logs and in metrics."""
    spool: Path
    """An existing folder on the store's file system. The inlet writes large bodies there while they arrive.
    The store takes such a file over by renaming it."""
    max_bytes: int
    """Largest transfer in bytes, all its parts together."""
    admit: Callable[[int], None] = _always_room
    """Is there room? The inlet asks with a body's size in bytes (at least 1) before it spools the body.
    0 only asks. Raises `StoreUnavailable` when there is no room."""
    turned_away: Callable[[TurnedAway], None] = _uncounted
    """The inlet calls it once for each transfer that it does not take itself. What `Accept` or `admit`
    refuse is counted there, not here."""
    lying: Callable[[Mapping[Lying, int]], None] = _nobody_hears
    """The inlet calls it after each look with how many lie there now and are not taken, by kind. The hub
    warns when there are more of a kind, and shows them as a metric."""


class InletBase(ABC, Generic[OptionsT]):
    """Takes messages from senders. `run` blocks in a thread of its own until `stop` is set, and then leaves.

    Nothing but `Accepted` lets an inlet acknowledge. The hub builds an inlet once and starts its `run` again
    whenever it ends. Nothing is set on an inlet from outside: what it needs is in its options and in its
    context. `tests/integration/inlet_contract.py` holds every inlet to this.
    """

    def __init__(self, options: OptionsT, context: InletContext) -> None:
        self.options: Final = options
        self.context: Final = context

    @property
    def name(self) -> str:
        """Its name in the configuration, in logs and in metrics."""
        return self.context.name

    @abstractmethod
    def run(self, accept: Accept, stop: threading.Event) -> None:
        """Serve until `stop` is set. May raise anything; the hub starts it again with a back-off."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it takes messages now: `run` is under way; it listens, is connected, sees its folder."""

    def reload(self) -> None:
        """Take up changed certificates or files named by unchanged options. Called from another thread."""

    def check(self) -> Sequence[Finding]:
        """What `drehscheibe check` says about this inlet."""
        return ()


def names() -> list[str]:
    """All connectors there are."""
    import connectors

    return sorted(found.name for found in pkgutil.iter_modules(connectors.__path__) if not found.name.startswith("_"))


def module(name: str, side: str = "") -> Any:
    """A connector's module. Raises `ConfigError` with what there is, of those with that `side`."""
    loaded = None if name.startswith("_") else sys.modules.get(f"connectors.{name}")
    if loaded is not None:
        return loaded  # a large configuration asks often, and names() finds none while descriptors are short
    if name not in names():
        known = [each for each in names() if not side or hasattr(importlib.import_module(f"connectors.{each}"), side)]
        close = get_close_matches(name, known, 1)
        if not name:
            raise ConfigError(f"connector: is missing: add it, one of {', '.join(known)}")
        raise ConfigError(f"connector: unknown connector {name!r}: "
                          + (f"did you mean {close[0]!r}?" if close else f"one of {', '.join(known)}"))
    return importlib.import_module(f"connectors.{name}")


def options_model(name: str, side: Literal["Inlet", "Outlet"]) -> type[OptionsModel]:
    """The options of one side of a connector: ``InletOptions``/``OutletOptions`` where they differ, else ``Options``."""
    found = module(name, side)
    if not hasattr(found, side):
        raise ConfigError(f"connector: {name!r} has no {side.lower()}: choose another connector")
    model: type[OptionsModel] = getattr(found, f"{side}Options", None) or found.Options
    return model


def outlet_class(name: str) -> type[OutletBase[Any]]:
    """The outlet of a connector, without building it."""
    options_model(name, "Outlet")
    outlet: type[OutletBase[Any]] = module(name).Outlet
    return outlet


def repeat_of(name: str, options: Mapping[str, Any]) -> Repeat:
    """What a second try does at a destination of the connector `name`. Raises like `build_outlet`."""
    return outlet_class(name).repeat_for(options_model(name, "Outlet")(**options))


def build_outlet(name: str, options: Mapping[str, Any]) -> OutletBase[Any]:
    """The outlet of the connector `name` with validated options. Raises `ConfigError`, pydantic's `ValidationError`."""
    return outlet_class(name)(options_model(name, "Outlet")(**options))


@lru_cache
def drop_options(name: str) -> type[OptionsModel]:
    """The options of the drop `name` as they stand within those of another connector, with the key `connector`.

    Raises `ConfigError` where there is no such connector, or its outlet is no drop.
    """
    if not outlet_class(name).drop:
        raise ConfigError(f"connector: {name!r} is no drop")
    tag: Any = Literal[name]
    return cast(type[OptionsModel], create_model(
        f"{name.capitalize()}Drop", __base__=options_model(name, "Outlet"),
        connector=(tag, Field(description="which drop"))))


def drops() -> list[str]:
    """The names of all connectors whose outlet is a drop."""
    found = ((name, getattr(module(name), "Outlet", None)) for name in names())
    return [name for name, outlet in found if outlet is not None and outlet.drop]


def _drop(value: Any, ordinary: Callable[[Any], Any]) -> Any:
    """What stands in a field of the type `Drop`, judged by the connector that it names. Raises pydantic's errors."""
    if not isinstance(value, Mapping):
        return ordinary(value)
    name = value.get("connector")
    if not isinstance(name, str):
        raise ValidationError.from_exception_data("drop", [
            {"type": "union_tag_not_found", "input": value, "ctx": {"discriminator": "connector"}}])
    try:
        model = drop_options(name)
    except ConfigError as error:
        raise ValidationError.from_exception_data("drop", [
            {"type": "union_tag_invalid", "input": value,
             "ctx": {"discriminator": "connector", "tag": name, "expected_tags": ", ".join(drops())}}]) from error
    return model(**value)


Drop = Annotated[SerializeAsAny[OptionsModel], WrapValidator(_drop)]
"""A drop within another connector's options: `connector` names it, its options stand beside. See `build_drop`."""


def build_drop(settings: OptionsModel, **fixed: Any) -> OutletBase[Any]:
    """The outlet of what stands in a field of the type `Drop`; `fixed` are options on which its user decides.

    Raises pydantic's `ValidationError` where the drop cannot take those.
    """
    values = {**settings.model_dump(by_alias=True), **fixed}
    return build_outlet(values.pop("connector"), values)


def build_inlet(connector: str, options: Mapping[str, Any], context: InletContext) -> InletBase[Any]:
    """The inlet of a connector. Raises `ConfigError`, and pydantic's `ValidationError` for its options."""
    model = options_model(connector, "Inlet")
    inlet: InletBase[Any] = module(connector).Inlet(model(**options), context)
    return inlet

"""The contract between the hub and a connector, and how outlets and inlets are built.

A connector is one module, found by its name (`hub.registry`). It imports `hub.endpoint`, `hub.message` and
`hub.errors`, and nothing else of the hub. It has no threads, retries, metrics, leases or logs of its own:
those are written once, around it. On top of the module stands its `Options`; below it one class or both::

    class Outlet(OutletBase[Options]):   # brings deliveries to a receiver
    class Inlet(InletBase[Options]):     # takes messages from a sender

What the hub wants to know of a connector stands on these classes: docs/connectors.md.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, Protocol, TypeVar, cast, get_args

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    WrapValidator,
    create_model,
)

from hub import registry
from hub.contract.dead_letter import DeadLetter, DeadLetters, Returned
from hub.contract.inlet_context import InletContext, NotTaken, Outdated, TurnedAway
from hub.errors import ConfigError
from hub.files.model import FileModel
from hub.message import Accepted, Delivery, Incoming, Receipt

__all__ = [  # of what is imported: the contract's
    "DeadLetter", "DeadLetters", "InletContext", "NotTaken", "Outdated", "Returned", "TurnedAway"]

Severity = Literal["ok", "warning", "error"]
Kind = Literal["mail", "file", "dms", "fachverfahren", "register", "account"]
"""What a destination is, for bills."""
KINDS = get_args(Kind)
InDoubtPolicy = Literal["repeat-marked", "ask"]
"""What happens to a delivery that may or may not have arrived: again with a mark, or a person is asked."""


class OptionsModel(FileModel):
    """Base of every connector's options: frozen, unknown keys are errors. Each field has a description of one
    line."""

    model_config = ConfigDict(str_strip_whitespace=True)

    german: ClassVar[Mapping[str, str]] = {}
    """The sentences of its validators, each with its German; ``{}`` stands for what a sentence names."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What an option means to the hub, in the option's type."""

    what: Literal["certificate", "authority", "secret", "sender"]


Certificate = Annotated[Path, Mark("certificate")]
"""A PEM file with a certificate of our own. The hub watches when it ends."""
Authority = Annotated[Path, Mark("authority")]
"""A PEM file with certificates that are trusted. The hub watches when the last of them ends."""
SenderName = Annotated[str, Mark("sender")]
"""The name of a ``[[sender]]`` of hub.toml. The hub checks that there is one."""


def _check_secret(value: str) -> str:
    if not value.startswith(("file:", "credential:")):
        raise ValueError("a secret is named, never written: 'file:/path' or 'credential:name'")
    return value


SecretRef = Annotated[str, Mark("secret"), AfterValidator(_check_secret)]
"""Where a secret is: ``file:/path`` or ``credential:name`` (below ``$CREDENTIALS_DIRECTORY``). Read by
`read_secret`."""


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
        handed = ("name it under LoadCredential= in the unit; outside of the service name its folder, "
                  "CREDENTIALS_DIRECTORY=/etc/drehscheibe/secrets")
        raise ConfigError.at(path, ref, f"the secret cannot be read ({error.strerror})",
                             handed if ref.startswith("credential:")
                             else "create the file with mode 0600 for the hub's user") from error
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


@dataclass(frozen=True, slots=True)
class Client:
    """Somebody who shows a certificate to an inlet."""

    name: str
    subject: str | None = None
    """RFC 4514, like ``CN=amt24,O=Land``."""
    san: str | None = None
    """A DNS name, URI or mail address among the certificate's alternative names."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What must be there before a connector works on one machine alone. `make run` makes it, and makes the
    files of options that are an `Authority` or a `SecretRef` anyway."""

    folders: tuple[Path, ...] = ()
    files: tuple[Path, ...] = ()
    """Empty files."""
    identity: tuple[Path, str] | None = None
    """Certificate and private key (a `SecretRef`) of a server on localhost."""
    clients: tuple[Client, ...] = ()
    """Who needs a certificate to come in."""
    port: int | None = None
    """Where the inlet listens, or where the outlet's receiver listens on this machine."""


class OutletBase(ABC, Generic[OptionsT]):
    """Brings deliveries to one destination. One object per destination and thread at a time; `close` may be
    followed by another `deliver`, which connects again.

    `repeat` says what a second try does at the receiver: ``idempotent`` (the same single copy), ``probe``
    (`probe` knows), ``ask`` (nobody can know). A connector sets it on its class, or overrides `repeat_for`
    where its options decide. A class without `kind` is refused when the hub looks for it.
    """

    repeat: Repeat
    kind: ClassVar[Kind]
    """What its destinations are, for bills, where they do not say so themselves."""
    whom: ClassVar[str] = ""
    """Whom to ask when a destination fails, and what about: German, in the accusative."""
    in_doubt: ClassVar[InDoubtPolicy] = "ask"
    """What happens to a delivery in doubt where the destination does not say so itself."""
    drop: ClassVar[bool] = False
    """Whether it puts files into a place, with the options layout, role and name: others may deliver through
    it (`Drop`)."""
    notes: ClassVar[bool] = False
    """Whether it puts a manifest's property `hub.message.NOTE` before its body: then what is too large is
    split (`hub.store.slim_manifest`)."""
    gathers: ClassVar[bool] = False
    """Whether several deliveries cost less between `prepare` and `conclude` than each alone."""
    keeps: bool = False
    """Whether the receiver keeps for ever what it got, so that `probe` knows it after weeks, too (a DMS; no
    drop folder)."""
    onboards: ClassVar[Literal["folder", "mailbox"] | None] = None
    """What `drehscheibe municipality add` writes it for: a folder (options ``path``, ``name``, ``index``) or
    a mailbox (option ``to``)."""

    def __init__(self, options: OptionsT) -> None:
        self.options = options
        self.repeat = self.repeat_for(options)

    @classmethod
    def repeat_for(cls, options: OptionsT) -> Repeat:  # noqa: ARG003
        """What a second try does at a destination with these options, without building the outlet."""
        return cls.repeat

    @classmethod
    def takes(cls, options: OptionsT) -> frozenset[str] | None:  # noqa: ARG003
        """The roles of the parts that it brings to a destination with these options; None: all of them."""
        return None

    @classmethod
    def needs(cls, options: OptionsT) -> Needs:  # noqa: ARG003
        """What `make run` has to make for a destination with these options."""
        return Needs()

    @classmethod
    def arrivals(cls, options: OptionsT, reference: str) -> Sequence[str]:  # noqa: ARG003
        """Where a person finds a delivery with this receipt: paths, addresses. None: only the receipt
        tells."""
        return ()

    @abstractmethod
    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Deliver, or raise a `hub.errors.DeliveryError`.

        Calls `effect_begins()` just before the byte that may act at the receiver. Any error after it makes
        the delivery in doubt, whatever is raised, except an error marked by `refused`: the receiver's own
        clear no.
        """

    def prepare(self, deliveries: Sequence[Delivery]) -> None:
        """Do what comes before the effects of several deliveries at once, if the outlet `gathers`.

        Changes nothing that anybody sees. Never raises for one of them: what could not be prepared, `deliver`
        does by itself.
        """

    def conclude(self) -> None:
        """Let what was delivered since `prepare` last, and throw away what was prepared in vain.

        Raises a `hub.errors.DeliveryError` when nobody knows whether those deliveries will last: all of them
        are in doubt then.
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

    Raises `StoreUnavailable` (keep it and ask again later), `NotAllowed` (sender may not send this here),
    `Conflict` (same key, other content, and `Incoming.conflict` is ``refuse``).
    """

    def __call__(self, incoming: Incoming) -> Accepted: ...

    def together(self, incomings: Sequence[Incoming]) -> Sequence[Accepted | Exception]:
        """The same for several, which share a commit. What it would raise for one alone stands in that one's
        place."""
        ...


class InletBase(ABC, Generic[OptionsT]):
    """Takes messages from senders. `run` blocks in a thread of its own until `stop` is set, and then leaves
    cleanly.

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

    @classmethod
    def needs(cls, options: OptionsT) -> Needs:  # noqa: ARG003
        """What `make run` has to make for an inlet with these options."""
        return Needs()

    @classmethod
    def takes_at(cls, options: OptionsT) -> str | Path | None:  # noqa: ARG003
        """Where something on this machine hands in.

        A text is a base URL: ``POST <URL>/in/<AGS>/<service>``. A path is a folder:
        ``<folder>/<AGS>/<service>/`` takes files. None: it takes neither.
        """
        return None

    @abstractmethod
    def run(self, accept: Accept, stop: threading.Event) -> None:
        """Serve until `stop` is set. May raise anything; the hub starts it again with a back-off."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it takes messages now: `run` is under way, and it listens, is connected, sees its
        folder."""

    def reload(self) -> None:
        """Take up changed certificates or files named by unchanged options. Called from another thread."""

    def check(self) -> Sequence[Finding]:
        """What `drehscheibe check` says about this inlet."""
        return ()


def options_model(name: str, side: registry.Side) -> type[OptionsModel]:
    """The options of one side of a connector: ``InletOptions``/``OutletOptions`` where they differ, else
    ``Options``."""
    found = registry.module(name, side)
    if not hasattr(found, side):
        raise ConfigError(f"connector: {name!r} has no {side.lower()}: choose another connector")
    model: type[OptionsModel] | None = (getattr(found, f"{side}Options", None)
                                        or getattr(found, "Options", None))
    if model is None:
        raise ConfigError(f"connector: {name!r} has no options: add a class Options to its module")
    return model


def outlet_class(name: str) -> type[OutletBase[Any]]:
    """The outlet of a connector, without building it.

    Raises `ConfigError`, also where its class does not say what the hub has to know: `kind` and `repeat`.
    """
    options_model(name, "Outlet")
    outlet: type[OutletBase[Any]] = registry.module(name).Outlet
    if getattr(outlet, "kind", None) not in KINDS:
        raise ConfigError(f"connector: {name!r} has no kind for bills: set kind on its class Outlet, "
                          f"one of {', '.join(KINDS)}")
    if not hasattr(outlet, "repeat") and outlet.repeat_for.__qualname__ == OutletBase.repeat_for.__qualname__:
        raise ConfigError(f"connector: {name!r} does not say what a second try does: set repeat on its class "
                          f"Outlet, one of {', '.join(get_args(Repeat))}")
    return outlet


def onboarding_outlet(what: Literal["folder", "mailbox"]) -> str:
    """The connector that `drehscheibe municipality add` writes for it. Raises `ConfigError` where there is
    none."""
    for name in (*registry.own(), *registry.installed()):
        if registry.has(name, "Outlet") and outlet_class(name).onboards == what:
            return name
    raise ConfigError(f"connector: none is for a municipality's {what}: install one")


def inlet_class(name: str) -> type[InletBase[Any]]:
    """The inlet of a connector, without building it. Raises `ConfigError`."""
    options_model(name, "Inlet")
    inlet: type[InletBase[Any]] = registry.module(name).Inlet
    return inlet


def build_outlet(name: str, options: OptionsModel) -> OutletBase[Any]:
    """The outlet of the connector `name` with these very options. Raises `ConfigError`."""
    return outlet_class(name)(options)


def build_inlet(connector: str, options: OptionsModel, context: InletContext) -> InletBase[Any]:
    """The inlet of a connector with these very options. Raises `ConfigError`."""
    return inlet_class(connector)(options, context)


def german(*, everything: bool) -> Mapping[str, str]:
    """What connectors say to operators, with its German: those that are loaded, or all.

    To load them all takes half a second. One that cannot be loaded says nothing.
    """
    names = registry.loaded()
    if everything:
        with suppress(ConfigError):
            names = registry.names()
    found: dict[str, str] = {}
    for name in names:
        with suppress(ConfigError):
            for side in get_args(registry.Side):
                if registry.has(name, side):
                    for base in reversed(options_model(name, side).__mro__):
                        found |= getattr(base, "german", {})
    return found


@lru_cache
def drop_options(name: str) -> type[OptionsModel]:
    """The options of the drop `name` as they stand within those of another connector, with the key
    `connector`.

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
    return [name for name in registry.names() if registry.has(name, "Outlet") and outlet_class(name).drop]


def _drop(value: Any, ordinary: Callable[[Any], Any]) -> Any:
    """What stands in a field of the type `Drop`, judged by the connector that it names. Raises pydantic's
    errors."""
    if isinstance(value, OptionsModel) and type(value) is drop_options(getattr(value, "connector", "")):
        return value
    if not isinstance(value, Mapping):
        return ordinary(value)
    name = value.get("connector")
    if not isinstance(name, str):
        raise ValidationError.from_exception_data("drop", [
            {"type": "union_tag_not_found", "input": value, "ctx": {"discriminator": "connector"}}])
    try:
        model = drop_options(name)
    except ConfigError as error:
        known = {"discriminator": "connector", "tag": name, "expected_tags": ", ".join(drops())}
        raise ValidationError.from_exception_data("drop", [
            {"type": "union_tag_invalid", "input": value, "ctx": known}]) from error
    return model(**value)


Drop = Annotated[SerializeAsAny[OptionsModel], WrapValidator(_drop)]
"""A drop within another connector's options: `connector` names it, its options stand beside. See
`build_drop`."""


def drop_class(settings: OptionsModel) -> type[OutletBase[Any]]:
    """The outlet of what stands in a field of the type `Drop`, without building it."""
    return outlet_class(str(getattr(settings, "connector", "")))


def build_drop(settings: OptionsModel, **fixed: Any) -> OutletBase[Any]:
    """The outlet of what stands in a field of the type `Drop`; `fixed` are options on which its user decides.

    Raises pydantic's `ValidationError` where the drop cannot take those.
    """
    return drop_class(settings)(type(settings)(**{**settings.model_dump(by_alias=True), **fixed}))

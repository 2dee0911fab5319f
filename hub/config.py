"""The configuration: ``hub.toml``, ``defaults.toml`` and one file per municipality, read once and then unchanging.

A `Configuration` is a snapshot: what was read, checked as a whole, with a digest. A message carries the digest of the
configuration that handled it. All faults of all files are reported together, as ``file: key: what is wrong: what to do``.

Relative paths are relative to the folder of ``hub.toml``.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date, time, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, cast, get_args
from urllib.parse import parse_qs, urlsplit

import rtoml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from hub import endpoint
from hub.endpoint import OptionsModel, OutletBase
from hub.errors import ConfigError
from hub.job import Limits, Recipient, Rule
from hub.mapping import (
    MappingFile,
    VersionSpan,
    load_mapping,
    parse_toml,
    problems_of,
    read_file,
    snapshot,
    stylesheet_problems,
    tree_digest,
    version_in,
)
from hub.retry import Duration, RetryPolicy
from hub.window import Rate, Window

Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Ags = Annotated[str, StringConstraints(pattern=r"^(\d{8}|\d{5})$")]
Ars = Annotated[str, StringConstraints(pattern=r"^(\d{12}|\d{9}|\d{5})$")]
InDoubtPolicy = Literal["repeat-marked", "ask"]
Kind = Literal["mail", "file", "dms", "fachverfahren", "register", "account"]
KINDS: Mapping[str, Kind] = {
    "smtp": "mail", "directory": "file", "sftp": "file", "smb": "file", "webdav": "file", "cmis": "dms", "xdomea": "dms",
    "rest": "fachverfahren", "soap": "fachverfahren", "xta": "fachverfahren", "receipts": "account",
}
"""What a destination is, by its connector, where it does not say so itself."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HubSection(_Model):
    """Where the hub keeps and finds things."""

    name: str = Field("Datendrehscheibe", description="how this hub calls itself in mails and logs")
    state: Path = Field(Path("/var/lib/drehscheibe"), description="store, spool and snapshots; one file system")
    mappings: Path = Field(Path("/usr/share/drehscheibe/mappings"), description="one folder per service")
    schemas: Path = Field(Path("/var/lib/drehscheibe/schemas"), description="installed schema sets (XÖV)")
    municipalities: Path = Field(Path("municipalities"), description="one file per municipality")
    control: Path | None = Field(None, description="socket for the command line; default: <state>/control.sock")
    max_bytes: int = Field(150_000_000, gt=0, description="largest message an inlet takes, bytes")
    shutdown: Duration = Field(timedelta(seconds=25), description="how long a stop waits for what is under way")

    @property
    def socket(self) -> Path:
        """The socket of the command line."""
        return self.control or self.state / "control.sock"


class StoreSection(_Model):
    """Where messages are kept: in the hub's own folder (SQLite), or in a PostgreSQL that several hubs share."""

    url: str | None = Field(None, pattern=r"^postgresql://", description="postgresql://user@host/database; for a database with "
                            "standbys postgresql://user@one,two/database; none: SQLite below [hub] state")
    password: endpoint.SecretRef | None = Field(None, description="the database user's password")
    tls: Literal["verify-full", "require", "disable"] = Field("verify-full", description="`verify-full`: encrypted, and the "
                                                              "server's name checked; `disable` only on the same machine")
    ca: Path | None = Field(None, description="CA of the server's certificate; default: the system's")
    certificate: Path | None = Field(None, description="client certificate, instead of a password or beside it")
    key: endpoint.SecretRef | None = Field(None, description="its private key; the file must be the hub's alone (0600)")
    node: Key | None = Field(None, description="what this hub is called among the nodes; default: the machine's name")
    takeover: Duration = Field(timedelta(seconds=15), ge=timedelta(seconds=6), description="how long a node may be silent "
                               "before another one takes over what it had in hand")

    @model_validator(mode="after")
    def _fits(self) -> StoreSection:
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.password is not None or "password" in parse_qs(parts.query):
                raise ValueError("url: a secret is named, never written: use 'password'")
        elif self.model_fields_set - {"url"}:
            raise ValueError("these keys are for a database: 'url' is missing")
        return self


class StatusSection(_Model):
    """Metrics, health and status for operators, over HTTP; never reachable from outside without a reverse proxy."""

    host: str = Field("127.0.0.1", description="address it listens on")
    port: int = Field(9464, ge=0, le=65535, description="its port; 0: a free one")


class WorkersSection(_Model):
    """The processes that read what citizens wrote."""

    count: int = Field(2, ge=1, le=64, description="how many of them")
    batch: int = Field(64, ge=1, le=500, description="messages per trip to a worker")
    memory_mb: int = Field(1024, ge=64, description="memory of one worker")
    seconds: float = Field(60.0, gt=0, description="wall and CPU time for one message")
    deaths: int = Field(3, ge=1, description="deaths alone after which a message is parked")


class DeliverSection(_Model):
    """How deliveries are worked off."""

    threads: int = Field(16, ge=1, le=256, description="deliveries under way at once")
    per_destination: int = Field(4, ge=1, description="of these for one destination")
    batch: int = Field(50, ge=1, le=500, description="deliveries claimed at once for one destination")
    lease: Duration = Field(timedelta(minutes=15), gt=timedelta(0), description="longest time one try may take")
    rest_after: int = Field(3, ge=1, description="temporary failures in a row after which a destination rests")
    rest: Duration = Field(timedelta(minutes=1), description="how long it rests before one delivery tries again")


class DiskSection(_Model):
    """When the state's disk counts as full: then nothing is accepted, and deliveries go on."""

    min_free_mb: int = Field(512, ge=0, description="below so many free MiB nothing is accepted")
    min_free_percent: float = Field(1.0, ge=0, le=50, description="nor below so much of the file system's size")
    min_free_inodes: int = Field(1000, ge=0, description="nor when fewer files than that can be made")
    reserve_mb: int = Field(64, ge=0, le=10_000, description="MiB laid by for the outcomes of deliveries on a full disk")


class Sender(_Model):
    """Who may hand in what. How a sender is recognised stands with each inlet."""

    name: Key = Field(description="its name with the inlets, in logs and proofs")
    municipalities: tuple[str, ...] = Field(("*",), description="AGS, or '*'")
    services: tuple[str, ...] = Field(("*",), description="services, or '*'")
    test: bool = Field(False, description="everything from this sender is a test")

    def may_send(self, ags: str, service: str) -> bool:
        """Whether this sender's permissions cover the municipality and the service."""
        return all("*" in allowed or value in allowed
                   for allowed, value in ((self.municipalities, ags), (self.services, service)))


class HubFile(_Model):
    """``hub.toml``"""

    hub: HubSection = Field(HubSection(), description="the hub itself: its folders and sizes")
    store: StoreSection = Field(StoreSection(), description="where messages are kept")
    status: StatusSection = Field(StatusSection(), description="the status port")
    workers: WorkersSection = Field(WorkersSection(), description="the processes that read what citizens wrote")
    deliver: DeliverSection = Field(DeliverSection(), description="how deliveries are made")
    disk: DiskSection = Field(DiskSection(), description="the room that is kept on the state's disk")
    limits: Limits = Field(Limits(), description="what a message may hold at most")
    sender: tuple[Sender, ...] = Field((), description="who may hand in what, by name")
    inlets: Mapping[Key, Mapping[str, Any]] = Field({}, description="by name: `connector`, and that connector's options")


class RecipientRow(_Model):
    """Who gets what of a route: renderings by name, ``attachments``, ``original``."""

    destination: str = Field(description="a destination of the municipality, by name")
    name: Key | None = Field(None, description="default: the destination's name")
    send: tuple[str, ...] = Field(min_length=1, description="renderings by name, `attachments`, `original`")
    subject: str | None = Field(None, description="subject, before the message's short id; default: the mapping version's")
    path: str | None = Field(None, description="folder below the destination's own")
    headers: Mapping[str, str] = Field({}, description="headers of the request, or of the mail (X-…, Keywords)")
    properties: Mapping[str, str] = Field({}, description="for the connector: `{property:…}` in its templates")


class RouteRow(_Model):
    """One way for one service. Several routes of a service must not overlap."""

    service: str = Field(description="the service; in defaults.toml also '*'")
    name: Key | None = Field(None, description="tells routes of the same service apart, in rules and logs")
    versions: VersionSpan = Field("*", description="form versions it takes, like '>=1.0,<2.0'; '*': every one, also none")
    valid_from: date | None = Field(None, description="first day of acceptance it holds for (Europe/Berlin)")
    valid_until: date | None = Field(None, description="first day it does not hold any more")
    recipients: tuple[RecipientRow, ...] = Field(min_length=1, description="who gets it: one delivery each")
    test_recipients: tuple[RecipientRow, ...] = Field((), description="who gets tests; none: tests are parked")
    stylesheets: Mapping[str, str] = Field({}, description="rendering to own stylesheet in the municipality's folder")
    order: Literal["case"] | None = Field(None, description="'case': a destination gets the messages of one case (Vorgang) in "
                                          "the order they were accepted in, each after the one before has arrived")


class Policy(_Model):
    """What the hub does around a destination, whatever its connector."""

    retry: RetryPolicy = Field(RetryPolicy(), description="how often and how long it is tried again")
    in_doubt: InDoubtPolicy | None = Field(None, description="default: mail repeats marked, everything else asks")
    fallback: str | None = Field(None, description="destination for what is too large for this one")
    test: bool = Field(False, description="for tests only; a production route may not name it")
    kind: Kind | None = Field(None, description="what it is, for bills; default: by the connector. A folder that a "
                              "Fachverfahren reads is a 'fachverfahren'")
    parallel: int | None = Field(None, ge=1, le=32, description="deliveries at once; default: [deliver] per_destination")
    window: tuple[Window, ...] = Field((), description="when it takes deliveries, like 'Mo-Fr 06:00-20:00' (Europe/Berlin); "
                                       "none: always")
    rate: Rate | None = Field(None, description="not more tries than this, like '10/s' or '600/m'; after an outage too")
    total: Duration | None = Field(None, gt=timedelta(0), description="longest time one try may take; default: [deliver] lease")


POLICY_KEYS = Policy.model_fields.keys()
"""What stands in a destination for the hub, not for the connector."""


class RetentionRow(_Model):
    """How long what is finished is kept; what is not said here is said further up."""

    payload_days: int | None = Field(None, ge=0, le=365, description="days after its end that an application's content is kept")
    proof_days: int | None = Field(None, ge=365, le=3650, description="days after its end that its proof is kept")


class RetentionSection(RetentionRow):
    """What a municipality says: for all its services, and for single ones."""

    services: Mapping[Key, RetentionRow] = Field({}, description="for single services, before the general")


AS_USUAL = RetentionSection()
"""Of all municipalities that say nothing."""


class RetentionDefaults(_Model):
    """What holds where no municipality says otherwise."""

    payload_days: int = Field(30, ge=0, le=365, description="days after its end that an application's content is kept")
    proof_days: int = Field(730, ge=365, le=3650, description="days after its end that its proof is kept")
    services: Mapping[Key, RetentionRow] = Field({}, description="for single services, before the general")
    at: time = Field(time(2, 30), description="when the running hub deletes each day (Europe/Berlin)")


@dataclass(frozen=True, slots=True)
class Kept:
    """How long a finished application is kept: its content, and its proof."""

    payload_days: int
    proof_days: int


class OnboardingDefaults(_Model):
    """What ``drehscheibe municipality add`` writes where the operator says nothing."""

    drop: str = Field("../var/drop/{tenant}", description="folder of a new municipality; {tenant} and {ags} are replaced")
    test_drop: str = Field("../var/drop/test", description="folder for tests")


class DefaultsFile(_Model):
    """``defaults.toml``: what every municipality inherits."""

    policy: Mapping[str, Any] = Field({}, description="defaults of retry, in_doubt, parallel for every destination")
    connectors: Mapping[str, Mapping[str, Any]] = Field({}, description="default options by connector")
    route: tuple[RouteRow, ...] = Field((), description="routes for `services`; service '*' serves all without an own one")
    retention: RetentionDefaults = Field(RetentionDefaults(), description="how long what is finished is kept")
    onboarding: OnboardingDefaults = Field(OnboardingDefaults(), description="what `municipality add` writes")


PopulationCount = Annotated[int, Field(ge=0)]


class Contract(_Model):
    """Each municipality has one contract, with its service provider (Dienstleister)."""

    provider: Key | None = Field(None, description="key of a provider in billing.toml")
    number: str | None = Field(None, description="the contract's number, as bills name it")


class MunicipalityFile(_Model):
    """``municipalities/<AGS>.toml``"""

    name: str = Field(description="as people call it; stylesheets get it")
    ags: Ags = Field(description="Amtlicher Gemeindeschlüssel, 8 digits (a district's 5)")
    tenant: Key = Field(description="stable key in the store; never changes, even when the AGS does")
    ars: Ars | None = Field(None, description="Amtlicher Regionalschlüssel, 12 digits")
    formerly: tuple[Ags, ...] = Field((), description="retired AGS that still route here")
    mandant: tuple[str, ...] = Field((), description="Amt24's mandant ids, the first part of form ids")
    population: PopulationCount | Mapping[date, PopulationCount] = Field({}, description="Einwohner, by the day of the count")
    contract: Contract = Field(default_factory=Contract, description="with whom, for bills")
    parameters: Mapping[str, str] = Field({}, description="for stylesheets")
    services: tuple[str, ...] = Field((), description="services that take the default route")
    destinations: Mapping[Key, Mapping[str, Any]] = Field({}, description="by name: `connector`, its options, and the policy")
    route: tuple[RouteRow, ...] = Field((), description="own routes, instead of the default one of their service")
    retention: RetentionSection = Field(default_factory=lambda: AS_USUAL,
                                        description="how long what is finished is kept, if not as usual")

    def counted(self, day: date) -> int | None:
        """Einwohner as last counted on or before the day; a number without a day holds always. None: not known."""
        if isinstance(self.population, int):
            return self.population
        known = [each for each in self.population if each <= day]
        return self.population[max(known)] if known else None


@dataclass(frozen=True, slots=True)
class Destination:
    """A place where deliveries go. `key` is ``<tenant>/<name>``."""

    key: str
    tenant: str
    connector: str
    options: Mapping[str, Any]
    policy: Policy
    repeat: endpoint.Repeat

    @property
    def kind(self) -> Kind:
        """What it is: a mailbox, a folder, a DMS, a Fachverfahren …"""
        return self.policy.kind or KINDS.get(self.connector, "file")

    @property
    def in_doubt(self) -> InDoubtPolicy:
        """Mail is repeated with a mark; everything else asks a person."""
        return self.policy.in_doubt or ("repeat-marked" if self.connector == "smtp" else "ask")

    def fingerprint(self) -> str:
        """Changes when the destination must be built anew."""
        return json.dumps([self.connector, self.options], default=str, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Municipality:
    """One tenant, checked."""

    file: Path
    row: MunicipalityFile
    destinations: Mapping[str, Destination]
    routes: Mapping[str, tuple[RouteRow, ...]]
    folder: Path | None
    fingerprint: str = ""
    """Of all that it was made from: an equal one makes an equal municipality."""


@dataclass(frozen=True, slots=True)
class Inlet:
    """An inlet as configured."""

    name: str
    connector: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Configuration:
    """Everything, checked as a whole, with the digest that messages carry."""

    file: Path
    digest: str
    settings: HubFile
    senders: Mapping[str, Sender]
    inlets: tuple[Inlet, ...]
    municipalities: Mapping[str, Municipality]
    by_ags: Mapping[str, str]
    mappings: Mapping[str, MappingFile]
    snapshots: Mapping[str, Path] = field(default_factory=dict)
    defaults: DefaultsFile = field(default_factory=DefaultsFile)
    _known_rules: dict[tuple[str, str], tuple[Rule, ...]] = field(default_factory=dict, repr=False)

    @property
    def state(self) -> Path:
        """The folder of the store."""
        return self.settings.hub.state

    @property
    def control(self) -> Path:
        """The socket of the command line."""
        return self.settings.hub.socket

    def tenant_of(self, ags: str) -> str | None:
        """The tenant that an AGS, also a retired one, belongs to."""
        return self.by_ags.get(ags)

    def destination(self, key: str) -> Destination | None:
        """A destination by ``<tenant>/<name>``."""
        town = self.municipalities.get(key.partition("/")[0])
        return town.destinations.get(key) if town else None

    def all_destinations(self) -> Iterator[Destination]:
        """Every destination of every municipality."""
        for town in self.municipalities.values():
            yield from town.destinations.values()

    def take_snapshots(self) -> Configuration:
        """The same configuration, its mappings and stylesheets copied to where no edit reaches them."""
        into = self.state / "snapshots"
        folders = {name: self.settings.hub.mappings / name for name in self.mappings}
        common = self.settings.hub.mappings / "_common"
        if common.is_dir():
            folders["_common"] = common
        folders |= {f"town/{key}": town.folder for key, town in self.municipalities.items() if town.folder}
        snapshots = {name: snapshot(folder, into) for name, folder in folders.items()}
        return Configuration(self.file, self.digest, self.settings, self.senders, self.inlets, self.municipalities,
                             self.by_ags, self.mappings, snapshots, self.defaults)

    def rules(self, ags: str, service: str) -> tuple[Rule, ...]:
        """Every way a message to this AGS for this service might go: routes times mapping versions times test."""
        rules = self._known_rules.get((ags, service))
        if rules is None:
            if len(self._known_rules) >= MOST_RULES:
                self._known_rules.clear()
            rules = self._known_rules[ags, service] = _rules(self, ags, service)
        return rules

    def retention(self, tenant: str, service: str) -> Kept:
        """How long a service's applications are kept: the municipality before the defaults, the service before the general."""
        town, defaults = self.municipalities.get(tenant), self.defaults.retention
        own = town.row.retention if town else RetentionSection()
        rows = [own.services.get(service), own, defaults.services.get(service), defaults]
        payload, proof = (next(days for row in rows if row is not None and (days := getattr(row, name)) is not None)
                          for name in ("payload_days", "proof_days"))
        return Kept(payload, proof)

    def __hash__(self) -> int:
        return hash((self.digest, len(self.snapshots)))

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Configuration)
                and (other.digest, other.file, other.snapshots) == (self.digest, self.file, self.snapshots))


MOST_RULES = 4096
"""Pairs of AGS and service whose rules are kept ready."""


def _rules(configuration: Configuration, ags: str, service: str) -> tuple[Rule, ...]:
    tenant = configuration.tenant_of(ags)
    mapping = configuration.mappings.get(service)
    if tenant is None or mapping is None:
        return ()
    town = configuration.municipalities[tenant]
    snapshots = configuration.snapshots
    package, common, own = (snapshots.get(name) for name in (service, "_common", f"town/{tenant}"))
    digest = hashlib.sha256("/".join(path.name if path else "-" for path in (package, common, own)).encode()).hexdigest()
    rules = []
    for route in town.routes.get(service, ()):
        for version in mapping.version:
            spans = [span for span in (route.valid_from, version.valid_from) if span]
            ends = [span for span in (route.valid_until, version.valid_until) if span]
            for test, rows in ((False, route.recipients), (True, route.test_recipients)):
                if not rows:
                    continue
                name = "/".join(part for part in (tenant, service, version.name, route.name, "test" if test else None) if part)
                rules.append(Rule(
                    id=name, tenant=tenant, service=service, forms=version.forms, route_versions=route.versions,
                    mapping_versions=version.versions, valid_from=max(spans, default=None),
                    valid_until=min(ends, default=None), test=test, mapping_version=version.name, mapping_digest=digest,
                    package=str(package or configuration.settings.hub.mappings / service),
                    common=str(common) if common else None, town=str(own) if own else None,
                    stylesheets=route.stylesheets, schemas=str(configuration.settings.hub.schemas),
                    recipients=tuple(_recipient(town, row) for row in rows),
                    municipality={**town.row.parameters, "name": town.row.name, "ags": town.row.ags,
                                  "hub": configuration.settings.hub.name},
                    order=route.order,
                ))
    return tuple(rules)


def _recipient(town: Municipality, row: RecipientRow) -> Recipient:
    key = f"{town.row.tenant}/{row.destination}"
    return Recipient(name=row.name or row.destination, destination=key, connector=town.destinations[key].connector,
                     send=row.send, subject=row.subject, path=row.path, headers=row.headers, properties=row.properties)


def _names_file(value: Any) -> bool:
    """Whether a text, or one in a list, is the ``file:…`` of a secret."""
    if isinstance(value, list | tuple):
        return any(map(_names_file, value))
    return isinstance(value, str) and value.startswith("file:")


def _named(models: Sequence[type[BaseModel]], data: Mapping[str, Any]) -> type[BaseModel]:
    """Of models that differ by their `connector`: the one that the data names."""
    for model in models:
        if (field := model.model_fields.get("connector")) and data.get("connector") in get_args(field.annotation):
            return model
    return models[0]


def suggest(wrong: str, known: Iterable[str], *, german: bool = False) -> str:
    """``did you mean 'x'?``, or what there is; `german` for a parked message's reason."""
    english = ("did you mean", "one of", "there is none yet")
    mean, one_of, none = ("gemeint", "es gibt", "es gibt noch keinen") if german else english
    names = sorted(known)
    close = get_close_matches(wrong, names, 1)
    if close:
        return f"{mean} {close[0]!r}?"
    return f"{one_of} {', '.join(names[:12])}{' …' if len(names) > 12 else ''}" if names else none


@dataclass(frozen=True, slots=True)
class Places:
    """Where the hub's things are, when nothing else of the configuration need be right."""

    hub: HubSection
    store: StoreSection


def load(file: Path, overrides: Sequence[str] = (), known: Configuration | None = None) -> Configuration:
    """Read and check everything. `overrides` are ``section.key=value``; a leading ``defaults.`` means defaults.toml.

    Municipalities are taken over from `known` where nothing that they are made from has changed. Raises `ConfigError` with
    every problem of every file.
    """
    collecting = gc.isenabled()
    gc.disable()  # with thousands of municipalities it would look through all of them again and again, and find nothing
    try:
        return _Loader(file.resolve(), overrides, known).load()
    finally:
        if collecting:
            gc.enable()


def places(file: Path, overrides: Sequence[str] = ()) -> Places:
    """Only the sections ``[hub]`` and ``[store]``: what an operator's command needs while the rest is faulty.

    Raises `ConfigError`.
    """
    return _Loader(file.resolve(), overrides).places()


@dataclass(slots=True)
class _Shared:
    """What thousands of municipalities have in common, made and checked once."""

    services: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)
    models: dict[tuple[str, str], type[OptionsModel]] = field(default_factory=dict)
    outlets: dict[str, type[OutletBase[Any]]] = field(default_factory=dict)
    options: dict[tuple[str, str], tuple[Mapping[str, Any], endpoint.Repeat]] = field(default_factory=dict)
    places: dict[type[BaseModel], frozenset[str]] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    defaults: dict[str, tuple[RouteRow, ...]] = field(default_factory=dict)
    routes: dict[tuple[str, ...], Mapping[str, tuple[RouteRow, ...]]] = field(default_factory=dict)
    fitting: set[tuple[Any, ...]] = field(default_factory=set)

    def strings(self, data: dict[str, Any]) -> dict[str, Any]:
        """The same data; equal lists of services hold the same objects."""
        services = data.get("services")
        if isinstance(services, list):
            known = tuple(services)
            with suppress(TypeError):  # a list or a table among them: the model will say so
                data["services"] = self.services.setdefault(known, known)
        return data

    def places_of(self, model: type[BaseModel]) -> frozenset[str]:
        """The fields of a model that may hold a path, or a model that may."""
        if model not in self.places:
            self.places[model] = frozenset(
                name for name, info in model.model_fields.items()
                if any(kind is Path or (isinstance(kind, type) and issubclass(kind, BaseModel))
                       for kind in (info.annotation, *get_args(info.annotation))))
        return self.places[model]

    def options_model(self, connector: str, side: Literal["Inlet", "Outlet"]) -> type[OptionsModel]:
        """`endpoint.options_model`, which looks through a folder, asked once. Raises `ConfigError`."""
        if (connector, side) not in self.models:
            self.models[connector, side] = endpoint.options_model(connector, side)
        return self.models[connector, side]


class _Loader:
    def __init__(self, file: Path, overrides: Sequence[str], known: Configuration | None = None) -> None:
        self.file = file
        self.base = file.parent
        self.overrides = overrides
        self.problems: list[str] = []
        self.digest = hashlib.sha256()
        self.known = {str(town.file): town for town in known.municipalities.values()} if known else {}
        self.shared = _Shared()

    def places(self) -> Places:
        hub_data = self._read(self.file)
        for override in self.overrides:
            self._override(hub_data, {}, override)
        hub = self._model(HubSection, self._section(HubSection, hub_data, "hub"), self.file)
        store = self._model(StoreSection, self._section(StoreSection, hub_data, "store"), self.file)
        if hub is None or store is None:
            raise ConfigError(self.problems)
        return Places(cast("HubSection", hub), cast("StoreSection", store))

    def _section(self, model: type[BaseModel], hub_data: Mapping[str, Any], name: str) -> dict[str, Any]:
        section = hub_data.get(name, {})
        if not isinstance(section, dict):
            return {"": section}
        return self._resolved(model, {"municipalities": "municipalities", **section} if name == "hub" else section)

    def load(self) -> Configuration:
        hub_data = self._read(self.file)
        defaults_file = self.base / "defaults.toml"
        defaults_data = self._read(defaults_file) if defaults_file.is_file() else {}
        for override in self.overrides:
            self._override(hub_data, defaults_data, override)
        for name, section in (("hub", HubSection), ("store", StoreSection)):
            hub_data[name] = self._section(section, hub_data, name)
        settings = self._model(HubFile, hub_data, self.file)
        defaults = self._model(DefaultsFile, defaults_data, defaults_file)
        if settings is None or defaults is None or self._model(Policy, defaults.policy, defaults_file) is None:
            raise ConfigError(self.problems)
        senders = {sender.name: sender for sender in settings.sender}
        if len(senders) < len(settings.sender):
            self.problems.append(f"{self.file}: sender: a name stands twice: give each sender its own name")
        inlets = tuple(filter(None, (self._inlet(name, row) for name, row in settings.inlets.items())))
        mappings = self._mappings(settings.hub.mappings)
        towns = self._municipalities(settings, defaults, mappings)
        by_ags: dict[str, str] = {}
        for town in towns.values():
            for ags in (town.row.ags, *town.row.formerly):
                if ags in by_ags:
                    self.problems.append(f"{town.file}: ags: {ags} belongs to {by_ags[ags]!r} already: "
                                         "an AGS routes to one municipality; remove it from one of the files")
                by_ags[ags] = town.row.tenant
        self._check_senders(senders, by_ags, mappings)
        self._check_retention(defaults_file, defaults.retention.services, mappings)
        for town in towns.values():
            self._check_retention(town.file, town.row.retention.services, mappings)
        if self.problems:
            raise ConfigError(self.problems)
        return Configuration(self.file, self.digest.hexdigest(), settings, senders, inlets, towns, by_ags, mappings,
                             defaults=defaults)

    def _read(self, file: Path) -> dict[str, Any]:
        content = read_file(file)
        self.digest.update(f"{file.name}\0".encode() + content + b"\0")
        return parse_toml(file, content)

    def _override(self, hub: dict[str, Any], defaults: dict[str, Any], override: str) -> None:
        path, equals, text = override.partition("=")
        steps = path.strip().split(".")
        if not equals or not all(steps):
            raise ConfigError(f"--set: {override!r}: is no 'section.key=value': e.g. --set status.port=9465")
        target = defaults if steps[0] == "defaults" else hub
        steps = steps[1:] if steps[0] == "defaults" else steps
        try:
            value = rtoml.loads(f"value = {text}")["value"]
        except rtoml.TomlParsingError:
            value = text
        for step in steps[:-1]:
            target = target.setdefault(step, {})
        target[steps[-1]] = value
        self.digest.update(override.encode() + b"\0")

    def _model(self, model: type[Any], data: Mapping[str, Any], file: Path) -> Any:
        try:
            return model(**data)
        except ValidationError as error:
            known = set(_keys(model))
            for line, item in zip(problems_of(file, error), error.errors(include_url=False, include_input=False), strict=True):
                wrong = str(item["loc"][-1]) if item["loc"] else ""
                guess = item["type"] == "extra_forbidden" and get_close_matches(wrong, known, 1)
                self.problems.append(f"{line.rpartition(': ')[0]}: {suggest(wrong, known)}" if guess else line)
            return None

    def _options(self, connector: str, side: Literal["Inlet", "Outlet"], data: Mapping[str, Any], file: Path,
                 key: str) -> OptionsModel | None:
        try:
            model = self.shared.options_model(connector, side)
        except ConfigError as error:
            self.problems += [f"{file}: {key}.{problem}" for problem in error.problems]
            return None
        try:
            options = model(**self._resolved(model, data))
        except ValidationError as error:
            for line, item in zip(problems_of(f"{file}: {key}", error),
                                  error.errors(include_url=False, include_input=False), strict=True):
                wrong = str(item["loc"][-1]) if item["loc"] else ""
                helped = line if item["type"] != "extra_forbidden" else (
                    f"{line.rpartition(': ')[0]}: {suggest(wrong, model.model_fields)}")
                self.problems.append(helped.replace(f"{key}: ", f"{key}.", 1))
            return None
        return options

    def _resolved(self, model: type[BaseModel], data: Mapping[str, Any]) -> dict[str, Any]:
        """The same data with its relative paths made absolute, before the model judges them."""
        places, fields = self.shared.places_of(model), model.model_fields
        return {key: self._resolve(fields[key].annotation, value)
                if key in places or (key in fields and _names_file(value)) else value
                for key, value in data.items()}

    def _resolve(self, kind: Any, value: Any) -> Any:
        kinds = [kind, *get_args(kind)]
        inner = [item for item in kinds if isinstance(item, type) and issubclass(item, BaseModel)]
        if isinstance(value, list | tuple):
            return [self._resolve(kind, item) for item in value]
        if isinstance(value, Mapping):
            return self._resolved(_named(inner, value), value) if inner else dict(value)
        if isinstance(value, str) and value.startswith("file:") and not value.startswith("file:/"):
            return f"file:{self._place(value.removeprefix('file:'))}"
        return self._place(value) if Path in kinds and isinstance(value, str) else value

    def _place(self, path: str) -> str:
        """Absolute, without the ``..`` that operators would have to undo in their heads."""
        return os.path.normpath(os.path.join(self.base, path))  # noqa: PTH118 - a country has thousands of them

    def _inlet(self, name: str, row: Mapping[str, Any]) -> Inlet | None:
        data = dict(row)
        connector = str(data.pop("connector", ""))
        options = self._options(connector, "Inlet", data, self.file, f"inlets.{name}")
        return Inlet(name, connector, options.model_dump(by_alias=True)) if options is not None else None

    def _mappings(self, folder: Path) -> dict[str, MappingFile]:
        if not folder.is_dir():
            self.problems.append(f"{self.file}: hub.mappings: there is no folder {folder}: correct the path")
            return {}
        mappings = {}
        self.problems += stylesheet_problems(folder / "_common")
        for place in sorted(folder.iterdir()):
            if not (place / "mapping.toml").is_file():
                continue
            self.digest.update(f"{place.name}\0{tree_digest(place)}\0".encode())
            try:
                mappings[place.name] = load_mapping(place)
            except ConfigError as error:
                self.problems += error.problems
        return mappings

    def _municipalities(self, settings: HubFile, defaults: DefaultsFile,
                        mappings: Mapping[str, MappingFile]) -> dict[str, Municipality]:
        folder = settings.hub.municipalities
        towns: dict[str, Municipality] = {}
        base = self.digest.digest()  # of hub.toml, defaults.toml, overrides and mappings
        with os.scandir(folder) if folder.is_dir() else nullcontext(()) as entries:
            kinds = {entry.name: entry.is_dir() for entry in entries}
        for name in sorted(name for name in kinds if name.endswith(".toml")):
            file = folder / name
            try:
                town = self._town(file, base, defaults, mappings, has_folder=kinds.get(name.removesuffix(".toml"), False))
            except ConfigError as error:
                self.problems += error.problems
                continue
            if town is None:
                continue
            if town.row.tenant in towns:
                self.problems.append(f"{file}: tenant: {town.row.tenant!r} is taken by {towns[town.row.tenant].file.name}: "
                                     "choose another key")
                continue
            towns[town.row.tenant] = town
        if not towns and not self.problems:
            self.problems.append(f"{self.file}: hub.municipalities: no file in {folder}: add <AGS>.toml for a municipality")
        return towns

    def _town(self, file: Path, base: bytes, defaults: DefaultsFile, mappings: Mapping[str, MappingFile], *,
              has_folder: bool) -> Municipality | None:
        """One municipality, taken over as it is when it would become the same again; None: its file is faulty."""
        content = read_file(file)
        folder = file.with_suffix("") if has_folder else None
        own = tree_digest(folder) if folder else None
        fingerprint = hashlib.sha256(base + content + (own or "").encode()).hexdigest()
        self.digest.update(f"{file.name}\0{fingerprint}\0".encode())
        before = self.known.get(str(file))
        if before is not None and before.fingerprint == fingerprint and (before.folder is None) == (own is None):
            return before
        row: MunicipalityFile | None = self._model(MunicipalityFile, self.shared.strings(parse_toml(file, content)), file)
        if row is None:
            return None
        if row.ags != file.stem:
            self.problems.append(f"{file}: ags: {row.ags} in a file named {file.stem}: give both the same AGS")
        return self._municipality(file, row, defaults, mappings, folder, fingerprint)

    def _municipality(self, file: Path, row: MunicipalityFile, defaults: DefaultsFile,
                      mappings: Mapping[str, MappingFile], folder: Path | None, fingerprint: str) -> Municipality:
        destinations: dict[str, Destination] = {}
        for name, data in row.destinations.items():
            destination = self._destination(file, row, name, data, defaults)
            if destination:
                destinations[destination.key] = destination
        routes = self._routes(file, row, defaults)
        kinds = tuple((name, found.policy.test if (found := destinations.get(f"{row.tenant}/{name}")) else None)
                      for name in row.destinations)
        town = Municipality(file, row, destinations, routes, folder, fingerprint)
        alike = id(routes), kinds  # what is shared lives as long as the loader
        if alike not in self.shared.fitting:
            before = len(self.problems)
            self._check_all_routes(town, kinds, mappings)
            shared = not self._check_stylesheets(town) and routes is self.shared.routes.get(row.services)
            if shared and len(self.problems) == before:
                self.shared.fitting.add(alike)
        if folder is not None:
            self.problems += stylesheet_problems(folder)
        return town

    def _check_all_routes(self, town: Municipality, kinds: tuple[Any, ...], mappings: Mapping[str, MappingFile]) -> None:
        """`kinds`: names of the destinations and whether each is for tests; default routes are checked once for each."""
        for service, rows in town.routes.items():
            checked = id(rows), kinds
            if checked not in self.shared.fitting:
                before = len(self.problems)
                self._check_routes(town.file, town.row, service, rows, mappings, town.destinations)
                if len(self.problems) == before and rows is self.shared.defaults.get(service):
                    self.shared.fitting.add(checked)

    def _routes(self, file: Path, row: MunicipalityFile, defaults: DefaultsFile) -> Mapping[str, tuple[RouteRow, ...]]:
        """By service. Municipalities without a route of their own that list the same services share one."""
        routes: dict[str, tuple[RouteRow, ...]] = {}
        for route in row.route:
            routes[route.service] = (*routes.get(route.service, ()), route)
        if not routes and row.services in self.shared.routes:
            return self.shared.routes[row.services]
        for service in row.services:
            if service not in routes:
                routes[service] = self._default_route(file, service, defaults)
        if not row.route and all(routes.values()):
            self.shared.routes[row.services] = routes
        return routes

    def _default_route(self, file: Path, service: str, defaults: DefaultsFile) -> tuple[RouteRow, ...]:
        if service not in self.shared.defaults:
            found = ([route for route in defaults.route if route.service == service]
                     or [route for route in defaults.route if route.service == "*"])
            self.shared.defaults[service] = tuple(route.model_copy(update={"service": service}) for route in found)
        rows = self.shared.defaults[service]
        if not rows:
            self.problems.append(f"{file}: services: defaults.toml has no route for {service!r}: "
                                 "add one there, or a [[route]] here")
        return rows

    def _destination(self, file: Path, row: MunicipalityFile, name: str, data: Mapping[str, Any],
                     defaults: DefaultsFile) -> Destination | None:
        key = f"destinations.{name}"
        own = dict(data)
        connector = str(own.pop("connector", ""))
        options = {**defaults.connectors.get(connector, {}), **own}
        policy = self._policy({**defaults.policy, **{name: options.pop(name) for name in POLICY_KEYS if name in options}},
                              file, key)
        outlet = self._outlet(connector, options, file, key)
        if policy is None or outlet is None:
            return None
        if policy.fallback and policy.fallback not in row.destinations:
            self.problems.append(f"{file}: {key}.fallback: unknown destination {policy.fallback!r}: "
                                 + suggest(policy.fallback, row.destinations))
        return Destination(f"{row.tenant}/{name}", row.tenant, connector, outlet[0], policy, outlet[1])

    def _outlet(self, connector: str, data: Mapping[str, Any], file: Path,
                key: str) -> tuple[Mapping[str, Any], endpoint.Repeat] | None:
        """The checked options of a destination, and what a second try does there."""
        same = connector, repr(data)
        if same in self.shared.options:
            return self.shared.options[same]
        options = self._options(connector, "Outlet", data, file, key)
        if options is None:
            return None
        if connector not in self.shared.outlets:
            self.shared.outlets[connector] = endpoint.outlet_class(connector)
        outlet = self.shared.options[same] = (options.model_dump(by_alias=True),
                                              self.shared.outlets[connector].repeat_for(options))
        return outlet

    def _policy(self, data: Mapping[str, Any], file: Path, key: str) -> Policy | None:
        same = repr(data)
        if same in self.shared.policies:
            return self.shared.policies[same]
        before = len(self.problems)
        policy: Policy | None = self._model(Policy, data, file)
        if policy is not None:
            self.shared.policies[same] = policy
        self.problems[before:] = [line.replace(f"{file}: ", f"{file}: {key}.", 1) for line in self.problems[before:]]
        return policy

    def _check_routes(self, file: Path, row: MunicipalityFile, service: str, routes: Sequence[RouteRow],
                      mappings: Mapping[str, MappingFile], destinations: Mapping[str, Destination]) -> None:
        mapping = mappings.get(service)
        if mapping is None:
            self.problems.append(f"{file}: route: unknown service {service!r}: {suggest(service, mappings)}")
            return
        for index, route in enumerate(routes):
            where = f"{file}: route {service}{f' ({route.name})' if route.name else ''}"
            renderings = set.intersection(*(set(version.renderings) for version in mapping.version))
            for kind, rows in (("recipients", route.recipients), ("test_recipients", route.test_recipients)):
                names = [recipient.name or recipient.destination for recipient in rows]
                if len(set(names)) < len(names):
                    self.problems.append(f"{where}: {kind}: a recipient stands twice: give the second one a name of its own")
                for recipient in rows:
                    self._check_recipient(where, kind, row, recipient, renderings, destinations)
            for other in routes[:index]:
                if _overlap(route, other):
                    self.problems.append(f"{where}: versions: overlaps another route of the same service: "
                                         "exactly one route may match; separate them by versions or validity dates")

    def _check_recipient(self, where: str, kind: str, row: MunicipalityFile, recipient: RecipientRow,
                         renderings: set[str], destinations: Mapping[str, Destination]) -> None:
        if recipient.destination not in row.destinations:
            self.problems.append(f"{where}: {kind}: unknown destination {recipient.destination!r}: "
                                 + suggest(recipient.destination, row.destinations))
        destination = destinations.get(f"{row.tenant}/{recipient.destination}")
        if destination and destination.policy.test != (kind == "test_recipients"):
            self.problems.append(f"{where}: {kind}: destination {recipient.destination!r} "
                                 + ("is for tests only: use it in test_recipients" if destination.policy.test
                                    else "is no test destination: set test = true there, or use another one"))
        for name in recipient.send:
            if name not in renderings | {"attachments", "original"}:
                self.problems.append(f"{where}: {kind}: send: {name!r} is no rendering of every version of the mapping: "
                                     + suggest(name, renderings | {"attachments", "original"}))

    def _check_stylesheets(self, town: Municipality) -> bool:
        """Whether it has any."""
        for service, routes in town.routes.items():
            for route in routes:
                for name, sheet in route.stylesheets.items():
                    place = (town.folder or town.file.with_suffix("")) / sheet
                    if not place.is_file():
                        self.problems.append(f"{town.file}: route {service}: stylesheets.{name}: {place} is missing: "
                                             "add the file, or remove the key")
        return any(route.stylesheets for routes in town.routes.values() for route in routes)

    def _check_senders(self, senders: Mapping[str, Sender], by_ags: Mapping[str, str],
                       mappings: Mapping[str, MappingFile]) -> None:
        for sender in senders.values():
            for kind, wanted, known in (("municipalities", sender.municipalities, by_ags),
                                        ("services", sender.services, mappings)):
                for value in wanted:
                    if value != "*" and value not in known:
                        self.problems.append(f"{self.file}: sender {sender.name}: {kind}: unknown {value!r}: "
                                             + suggest(value, known))

    def _check_retention(self, file: Path, services: Iterable[str], mappings: Mapping[str, MappingFile]) -> None:
        for service in services:
            if service not in mappings:
                self.problems.append(f"{file}: retention.services: unknown service {service!r}: {suggest(service, mappings)}")


def _keys(model: type[BaseModel]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield info.alias or name
        for inner in (info.annotation, *getattr(info.annotation, "__args__", ())):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _keys(inner)


def _overlap(one: RouteRow, other: RouteRow) -> bool:
    first = max(one.valid_from or date.min, other.valid_from or date.min)
    last = min(one.valid_until or date.max, other.valid_until or date.max)
    if first >= last:
        return False
    if "*" in (one.versions.strip(), other.versions.strip()):
        return True
    bounds = [term.strip().lstrip("<>=").strip() for route in (one, other) for term in route.versions.split(",")]
    # each bound, and a version just above it, stand for all versions between the bounds
    probes = ["0", *bounds, *(f"{bound}.0.0.0.1" for bound in bounds)]
    return any(version_in(probe, one.versions) and version_in(probe, other.versions) for probe in probes)


FILES: Mapping[str, type[BaseModel]] = {"hub": HubFile, "defaults": DefaultsFile, "municipality": MunicipalityFile}
"""The kinds of files, for the editors' JSON schemas (``drehscheibe schema``)."""

"""What may stand in ``hub.toml``, ``defaults.toml`` and a municipality's file: each key with its type and what it means.

Nothing is read here (`hub.config.reader`), and nothing is judged that takes a second file (`hub.config.municipalities`,
`hub.config.configuration`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

from hub import endpoint
from hub.config.retry import Duration, RetryPolicy
from hub.config.window import Rate, Window
from hub.files.model import FileModel
from hub.job import Limits
from hub.mapping.versions import VersionSpan

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


class HubSection(FileModel):
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


class StoreSection(FileModel):
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


class StatusSection(FileModel):
    """Metrics, health and status for operators, over HTTP; never reachable from outside without a reverse proxy."""

    host: str = Field("127.0.0.1", description="address it listens on")
    port: int = Field(9464, ge=0, le=65535, description="its port; 0: a free one")


class WorkersSection(FileModel):
    """The processes that read what citizens wrote."""

    count: int = Field(2, ge=1, le=64, description="how many of them")
    batch: int = Field(64, ge=1, le=500, description="messages per trip to a worker")
    memory_mb: int = Field(1024, ge=64, description="memory of one worker")
    seconds: float = Field(60.0, gt=0, description="wall and CPU time for one message")
    deaths: int = Field(3, ge=1, description="deaths alone after which a message is parked")


class DeliverSection(FileModel):
    """How deliveries are worked off."""

    threads: int = Field(16, ge=1, le=256, description="deliveries under way at once")
    per_destination: int = Field(4, ge=1, description="of these for one destination")
    batch: int = Field(50, ge=1, le=500, description="deliveries claimed at once for one destination")
    lease: Duration = Field(timedelta(minutes=15), gt=timedelta(0), description="longest time one try may take")
    rest_after: int = Field(3, ge=1, description="temporary failures in a row after which a destination rests")
    rest: Duration = Field(timedelta(minutes=1), description="how long it rests before one delivery tries again")


class DiskSection(FileModel):
    """When the state's disk counts as full: then nothing is accepted, and deliveries go on."""

    min_free_mb: int = Field(512, ge=0, description="below so many free MiB nothing is accepted")
    min_free_percent: float = Field(1.0, ge=0, le=50, description="nor below so much of the file system's size")
    min_free_inodes: int = Field(1000, ge=0, description="nor when fewer files than that can be made")
    reserve_mb: int = Field(64, ge=0, le=10_000, description="MiB laid by for the outcomes of deliveries on a full disk")


class Sender(FileModel):
    """Who may hand in what. How a sender is recognised stands with each inlet."""

    name: Key = Field(description="its name with the inlets, in logs and proofs")
    municipalities: tuple[str, ...] = Field(("*",), description="AGS, or '*'")
    services: tuple[str, ...] = Field(("*",), description="services, or '*'")
    test: bool = Field(False, description="everything from this sender is a test")

    def may_send(self, ags: str, service: str) -> bool:
        """Whether this sender's permissions cover the municipality and the service."""
        return all("*" in allowed or value in allowed
                   for allowed, value in ((self.municipalities, ags), (self.services, service)))


class HubFile(FileModel):
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


class RecipientRow(FileModel):
    """Who gets what of a route: renderings by name, ``attachments``, ``original``."""

    destination: str = Field(description="a destination of the municipality, by name")
    name: Key | None = Field(None, description="default: the destination's name")
    send: tuple[str, ...] = Field(min_length=1, description="renderings by name, `attachments`, `original`")
    subject: str | None = Field(None, description="subject, before the message's short id; default: the mapping version's")
    path: str | None = Field(None, description="folder below the destination's own")
    headers: Mapping[str, str] = Field({}, description="headers of the request, or of the mail (X-…, Keywords)")
    properties: Mapping[str, str] = Field({}, description="for the connector: `{property:…}` in its templates")


class RouteRow(FileModel):
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


class Policy(FileModel):
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


class RetentionRow(FileModel):
    """How long what is finished is kept; what is not said here is said further up."""

    payload_days: int | None = Field(None, ge=0, le=365, description="days after its end that an application's content is kept")
    proof_days: int | None = Field(None, ge=365, le=3650, description="days after its end that its proof is kept")


class RetentionSection(RetentionRow):
    """What a municipality says: for all its services, and for single ones."""

    services: Mapping[Key, RetentionRow] = Field({}, description="for single services, before the general")


AS_USUAL = RetentionSection()
"""Of all municipalities that say nothing."""


class RetentionDefaults(FileModel):
    """What holds where no municipality says otherwise."""

    payload_days: int = Field(30, ge=0, le=365, description="days after its end that an application's content is kept")
    proof_days: int = Field(730, ge=365, le=3650, description="days after its end that its proof is kept")
    services: Mapping[Key, RetentionRow] = Field({}, description="for single services, before the general")
    at: time = Field(time(2, 30), description="when the running hub deletes each day (Europe/Berlin)")


class OnboardingDefaults(FileModel):
    """What ``drehscheibe municipality add`` writes where the operator says nothing."""

    drop: str = Field("../var/drop/{tenant}", description="folder of a new municipality; {tenant} and {ags} are replaced")
    test_drop: str = Field("../var/drop/test", description="folder for tests")


class DefaultsFile(FileModel):
    """``defaults.toml``: what every municipality inherits."""

    policy: Mapping[str, Any] = Field({}, description="defaults of retry, in_doubt, parallel for every destination")
    connectors: Mapping[str, Mapping[str, Any]] = Field({}, description="default options by connector")
    route: tuple[RouteRow, ...] = Field((), description="routes for `services`; service '*' serves all without an own one")
    retention: RetentionDefaults = Field(RetentionDefaults(), description="how long what is finished is kept")
    onboarding: OnboardingDefaults = Field(OnboardingDefaults(), description="what `municipality add` writes")


PopulationCount = Annotated[int, Field(ge=0)]


def _counted(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """One fault for both ways to write it."""
    try:
        return handler(value)
    except ValidationError:
        raise ValueError("is no number of people: write it like 1800, or with the day of the count "
                         "like { 2024-12-31 = 1800 }") from None


Population = Annotated[PopulationCount | Mapping[date, PopulationCount], WrapValidator(_counted)]


class Contract(FileModel):
    """Each municipality has one contract, with its service provider (Dienstleister)."""

    provider: Key | None = Field(None, description="key of a provider in billing.toml")
    number: str | None = Field(None, description="the contract's number, as bills name it")


class MunicipalityFile(FileModel):
    """``municipalities/<AGS>.toml``"""

    name: str = Field(min_length=1, description="as people call it; stylesheets get it")
    ags: Ags = Field(description="Amtlicher Gemeindeschlüssel, 8 digits (a district's 5)")
    tenant: Key = Field(description="stable key in the store; never changes, even when the AGS does")
    ars: Ars | None = Field(None, description="Amtlicher Regionalschlüssel, 12 digits")
    formerly: tuple[Ags, ...] = Field((), description="retired AGS that still route here")
    mandant: tuple[str, ...] = Field((), description="Amt24's mandant ids, the first part of form ids")
    population: Population = Field({}, description="Einwohner, by the day of the count")
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


FILES: Mapping[str, type[BaseModel]] = {"hub": HubFile, "defaults": DefaultsFile, "municipality": MunicipalityFile}
"""The kinds of files, for the editors' JSON schemas (``drehscheibe schema``)."""

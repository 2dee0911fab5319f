"""What may stand in ``hub.toml``, ``defaults.toml`` and a municipality's file: each key with its type and
what it means.

Nothing is read here (`hub.config.reader`), and nothing is judged that takes a second file
(`hub.config.municipalities`, `hub.config.configuration`).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import (
    Field,
    model_validator,
)

from hub import endpoint
from hub.config.business_days import Season
from hub.config.retry import Duration
from hub.config.types import Key
from hub.files.model import FileModel
from hub.job import PRINTOUT, Limits, Several


class HubSection(FileModel):
    """Where the hub keeps and finds things."""

    name: str = Field("Datendrehscheibe", description="how this hub calls itself in mails and logs")
    state: Path = Field(Path("/var/lib/drehscheibe"),
                        description="store, spool and snapshots; one file system")
    mappings: Path = Field(Path("/usr/share/drehscheibe/mappings"), description="one folder per service")
    own_mappings: Path | None = Field(
        None, description="the operator's own services, outside of what a release brings: one folder per "
                          "service; a service that is in both is taken from here")
    schemas: Path = Field(Path("/var/lib/drehscheibe/schemas"), description="installed schema sets (XÖV)")
    municipalities: Path = Field(Path("municipalities"), description="one file per municipality")
    control: Path | None = Field(None,
                                 description="socket for the command line; default: <state>/control.sock")
    max_bytes: int = Field(150_000_000, gt=0, description="largest message an inlet takes, bytes")
    shutdown: Duration = Field(timedelta(seconds=25),
                               description="how long a stop waits for what is under way")

    @property
    def socket(self) -> Path:
        """The socket of the command line."""
        return self.control or self.state / "control.sock"


class StoreSection(FileModel):
    """Where messages are kept: in the hub's own folder (SQLite), or in a PostgreSQL that several hubs
    share."""

    url: str | None = Field(None, pattern=r"^postgresql://",
                            description="postgresql://user@host/database; for a database with "
                            "standbys postgresql://user@one,two/database; none: SQLite below [hub] state")
    password: endpoint.SecretRef | None = Field(None, description="the database user's password")
    tls: Literal["verify-full", "require", "disable"] = Field("verify-full",
                                                              description="`verify-full`: encrypted, and the "
                                                              "server's name checked; `disable` only on the "
                                                              "same machine")
    ca: Path | None = Field(None, description="CA of the server's certificate; default: the system's")
    certificate: Path | None = Field(None,
                                     description="client certificate, instead of a password or beside it")
    key: endpoint.SecretRef | None = Field(None, description="its private key; the file must be the hub's "
                                                             "alone (0600)")
    node: Key | None = Field(None, description="what this hub is called among the nodes; default: the "
                                               "machine's name")
    takeover: Duration = Field(timedelta(seconds=15), ge=timedelta(seconds=6),
                               description="how long a node may be silent "
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
    """Metrics, health and status for operators, over HTTP; never reachable from outside without a reverse
    proxy."""

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
    lease: Duration = Field(timedelta(minutes=15), gt=timedelta(0),
                            description="longest time one try may take")
    rest_after: int = Field(3, ge=1,
                            description="temporary failures in a row after which a destination rests")
    rest: Duration = Field(timedelta(minutes=1),
                           description="how long it rests before one delivery tries again")


class DiskSection(FileModel):
    """When the state's disk counts as full: then nothing is accepted, and deliveries go on."""

    min_free_mb: int = Field(512, ge=0, description="below so many free MiB nothing is accepted")
    min_free_percent: float = Field(1.0, ge=0, le=50,
                                    description="nor below so much of the file system's size")
    min_free_inodes: int = Field(1000, ge=0, description="nor when fewer files than that can be made")
    reserve_mb: int = Field(64, ge=0, le=10_000,
                            description="MiB laid by for the outcomes of deliveries on a full disk")


class SilenceSection(FileModel):
    """When a sender is missed that has fallen silent."""

    quiet: tuple[Season, ...] = Field(("12-20/01-07",),
                                      description="spans of the year (MM-DD/MM-DD) in which nobody is "
                                      "missed, beside weekends and the public holidays of Saxony")
    messages: int = Field(20, ge=2, description="messages that must be known of a sender before it is missed")
    business_days: int = Field(10, ge=1, description="business days on which it must be known")


class Sender(FileModel):
    """Who may hand in what. How a sender is recognised stands with each inlet."""

    name: Key = Field(description="its name with the inlets, in logs and proofs")
    municipalities: tuple[str, ...] = Field(("*",), description="AGS, or '*'")
    services: tuple[str, ...] = Field(("*",), description="services, or '*'")
    test: bool = Field(False, description="everything from this sender is a test")
    printout: tuple[str, ...] = Field(
        PRINTOUT, description="exact names of the part that is the applicant's own printout, a PDF; "
                              "`{stem}`: the document's name without its ending; `file:` before it: the "
                              "file's name is meant, not the part's")
    several: Several = Field("park", description="several applications in one hand-over: `park` them, or "
                                                 "`split` them into messages of their own")

    def may_send(self, ags: str, service: str) -> bool:
        """Whether this sender's permissions cover the municipality and the service."""
        return all("*" in allowed or value in allowed
                   for allowed, value in ((self.municipalities, ags), (self.services, service)))


class HubFile(FileModel):
    """``hub.toml``"""

    hub: HubSection = Field(HubSection(), description="the hub itself: its folders and sizes")
    store: StoreSection = Field(StoreSection(), description="where messages are kept")
    status: StatusSection = Field(StatusSection(), description="the status port")
    workers: WorkersSection = Field(WorkersSection(),
                                    description="the processes that read what citizens wrote")
    deliver: DeliverSection = Field(DeliverSection(), description="how deliveries are made")
    disk: DiskSection = Field(DiskSection(), description="the room that is kept on the state's disk")
    silence: SilenceSection = Field(SilenceSection(), description="when a silent sender is missed")
    limits: Limits = Field(Limits(), description="what a message may hold at most")
    sender: tuple[Sender, ...] = Field((), description="who may hand in what, by name")
    inlets: Mapping[Key, Mapping[str, Any]] = Field({}, description="by name: `connector`, and that "
                                                                    "connector's options")

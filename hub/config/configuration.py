"""The configuration: ``hub.toml``, ``defaults.toml`` and one file per municipality, read once and then
unchanging.

A `Configuration` is a snapshot: what was read, checked as a whole, with a digest. A message carries the
digest of the configuration that handled it. All faults of all files are reported together, as ``file: key:
what is wrong: what to do``.

Relative paths are relative to the folder of ``hub.toml``. What may stand in the files is in
`hub.config.sections`, how a municipality's becomes destinations and routes in `hub.config.municipalities`;
how all of them are read in `hub.config.loader`, which way a message may go in `hub.config.rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hub.config.municipalities import Destination, Municipality
from hub.config.municipality_file import DefaultsFile, RetentionSection
from hub.config.sections import HubFile, Sender
from hub.endpoint import OptionsModel
from hub.files.snapshot import snapshot
from hub.job import Rule
from hub.mapping.model import MappingFile


@dataclass(frozen=True, slots=True)
class Inlet:
    """An inlet as configured."""

    name: str
    connector: str
    options: OptionsModel
    """As they were checked when the configuration was read: the inlet gets this object."""


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
    known_rules: dict[tuple[str, str], tuple[Rule, ...]] = field(default_factory=dict, repr=False)
    """By AGS and service, made when they are first asked for: `hub.config.rules`."""

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

    def mapping_folder(self, service: str) -> Path:
        """Where a service's mapping is: among the operator's own ones, else among those of the release."""
        hub = self.settings.hub
        own = hub.own_mappings / service if hub.own_mappings else None
        return own if own and (own / "mapping.toml").is_file() else hub.mappings / service

    def destination(self, key: str) -> Destination | None:
        """A destination by ``<tenant>/<name>``."""
        municipality = self.municipalities.get(key.partition("/")[0])
        return municipality.destinations.get(key) if municipality else None

    def all_destinations(self) -> Iterator[Destination]:
        """Every destination of every municipality."""
        for municipality in self.municipalities.values():
            yield from municipality.destinations.values()

    def take_snapshots(self) -> Configuration:
        """The same configuration, its mappings and stylesheets copied to where no edit reaches them."""
        into = self.state / "snapshots"
        folders = {name: self.mapping_folder(name) for name in self.mappings}
        common = self.settings.hub.mappings / "_common"
        if common.is_dir():
            folders["_common"] = common
        folders |= {f"town/{key}": municipality.folder for key, municipality in self.municipalities.items()
                    if municipality.folder}
        snapshots = {name: snapshot(folder, into) for name, folder in folders.items()}
        return Configuration(self.file, self.digest, self.settings, self.senders, self.inlets,
                             self.municipalities,
                             self.by_ags, self.mappings, snapshots, self.defaults)

    def retention(self, tenant: str, service: str) -> Kept:
        """How long a service's applications are kept: the municipality before the defaults, the service
        before the general."""
        municipality, defaults = self.municipalities.get(tenant), self.defaults.retention
        own = municipality.row.retention if municipality else RetentionSection()
        rows = [own.services.get(service), own, defaults.services.get(service), defaults]
        payload, proof = (next(days for row in rows if row is not None
                               and (days := getattr(row, name)) is not None)
                          for name in ("payload_days", "proof_days"))
        return Kept(payload, proof)

    def __hash__(self) -> int:
        return hash((self.digest, len(self.snapshots)))

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Configuration)
                and (other.digest, other.file, other.snapshots) == (self.digest, self.file, self.snapshots))

@dataclass(frozen=True, slots=True)
class Kept:
    """How long a finished application is kept: its content, and its proof."""

    payload_days: int
    proof_days: int

"""From the files to one checked snapshot: every fault of every file is told at once."""

from __future__ import annotations

import gc
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rtoml
from pydantic import BaseModel

from hub.config.configuration import Configuration, Inlet
from hub.config.marks import marked
from hub.config.municipalities import Municipalities, Municipality
from hub.config.municipality_file import POLICY_KEYS, DefaultsFile, MunicipalityFile, Policy
from hub.config.reader import Reader, suggest
from hub.config.sections import HubFile, HubSection, Sender, StoreSection
from hub.endpoint import Mark
from hub.errors import ConfigError
from hub.files.snapshot import tree_digest
from hub.files.toml import parse_toml, read_file
from hub.mapping.loader import load_mapping, names_applicant, stylesheet_problems
from hub.mapping.model import MappingFile


@dataclass(frozen=True, slots=True)
class Places:
    """Where the hub's things are, when nothing else of the configuration need be right."""

    hub: HubSection
    store: StoreSection


def load(file: Path, overrides: Sequence[str] = (), known: Configuration | None = None) -> Configuration:
    """Read and check everything. `overrides` are ``section.key=value``; a leading ``defaults.`` means
    defaults.toml.

    Municipalities are taken over from `known` where nothing that they are made from has changed. Raises
    `ConfigError` with every problem of every file.
    """
    collecting = gc.isenabled()
    # with thousands of municipalities it would look through all of them again and again, and find nothing
    gc.disable()
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


class _Loader:
    def __init__(self, file: Path, overrides: Sequence[str], known: Configuration | None = None) -> None:
        self.file = file
        self.overrides = overrides
        self.known = tuple(known.municipalities.values()) if known else ()
        self.digest = hashlib.sha256()
        self.reader = Reader(file.parent)
        self.problems = self.reader.problems
        self.faulty: set[str] = set()
        self.applicants: set[str] = set()
        """Services whose mapping is faulty: they are there all the same, and their fault is told once."""

    def places(self) -> Places:
        hub_data = self._read(self.file)
        for override in self.overrides:
            self._override(hub_data, {}, override)
        hub = self.reader.model(HubSection, self._section(HubSection, hub_data, "hub"), self.file, "hub")
        store = self.reader.model(StoreSection, self._section(StoreSection, hub_data, "store"), self.file,
                                  "store")
        if hub is None or store is None or self.problems:
            raise ConfigError(self.problems)
        return Places(hub, store)

    def _section(self, model: type[BaseModel], hub_data: Mapping[str, Any], name: str) -> dict[str, Any]:
        section = hub_data.get(name, {})
        if not isinstance(section, dict):
            self.problems.append(f"{self.file}: {name}: is no table: write it below a heading of its own, "
                                 "like [section]")
            return {}
        return self.reader.resolved(model, {"municipalities": "municipalities", **section} if name == "hub"
                                    else section)

    def load(self) -> Configuration:
        hub_data = self._read(self.file)
        defaults_file = self.file.with_name("defaults.toml")
        defaults_data = self._read(defaults_file) if defaults_file.is_file() else {}
        for override in self.overrides:
            self._override(hub_data, defaults_data, override)
        for name, section in (("hub", HubSection), ("store", StoreSection)):
            hub_data[name] = self._section(section, hub_data, name)
        settings = self.reader.model(HubFile, hub_data, self.file)
        defaults = self.reader.model(DefaultsFile, defaults_data, defaults_file)
        if defaults is not None:
            self._check_defaults(defaults_file, defaults)
        if settings is None or defaults is None or self.problems:
            raise ConfigError(self.problems)
        senders = {sender.name: sender for sender in settings.sender}
        if len(senders) < len(settings.sender):
            self.problems.append(f"{self.file}: sender: a name stands twice: give each sender its own name")
        inlets = tuple(filter(None, (self._inlet(name, row) for name, row in settings.inlets.items())))
        mappings = self._mappings("mappings", settings.hub.mappings)
        self.problems += stylesheet_problems(settings.hub.mappings / "_common")
        if settings.hub.own_mappings is not None:
            mappings |= self._mappings("own_mappings", settings.hub.own_mappings)
        municipalities = self._municipalities(settings.hub.municipalities, defaults, mappings)
        by_ags: dict[str, str] = {}
        for municipality in municipalities.values():
            for ags in (municipality.row.ags, *municipality.row.formerly):
                if ags in by_ags:
                    self.problems.append(f"{municipality.file}: ags: {ags} belongs to {by_ags[ags]!r} "
                                         "already: "
                                         "an AGS routes to one municipality; remove it from one of the files")
                by_ags[ags] = municipality.row.tenant
        # a municipality whose file is faulty is there all the same: its fault is told once
        faulty = (file.stem for file in settings.hub.municipalities.glob("*.toml")) if self.problems else ()
        services = {*mappings, *self.faulty}
        self._check_senders(senders, {*by_ags, *faulty}, services)
        self._check_inlets(inlets, senders)
        self._check_retention(defaults_file, defaults.retention.services, services)
        for municipality in municipalities.values():
            self._check_retention(municipality.file, municipality.row.retention.services, services)
        if self.problems:
            raise ConfigError(self.problems)
        return Configuration(self.file, self.digest.hexdigest(), settings, senders, inlets, municipalities,
                             by_ags,
                             mappings,
                             defaults=defaults)

    def _check_defaults(self, file: Path, defaults: DefaultsFile) -> None:
        """What is wrong there, every municipality would inherit: it is told once, before they are read."""
        self.reader.model(Policy, defaults.policy, file, "policy")
        for connector, data in defaults.connectors.items():
            key = f"connectors.{connector}"
            self.reader.inherited(connector, {name: value for name, value in data.items()
                                              if name not in POLICY_KEYS}, file, key)
            self.reader.model(Policy, {name: value for name, value in data.items() if name in POLICY_KEYS},
                              file, key)

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

    def _inlet(self, name: str, row: Mapping[str, Any]) -> Inlet | None:
        data = dict(row)
        connector = str(data.pop("connector", ""))
        options = self.reader.options(connector, "Inlet", data, self.file, f"inlets.{name}")
        return Inlet(name, connector, options) if options is not None else None

    def _mappings(self, key: str, folder: Path) -> dict[str, MappingFile]:
        if not folder.is_dir():
            self.problems.append(f"{self.file}: hub.{key}: there is no folder {folder}: correct the path")
            return {}
        mappings = {}
        for place in sorted(folder.iterdir()):
            if not (place / "mapping.toml").is_file():
                continue
            self.digest.update(f"{place.name}\0{tree_digest(place)}\0".encode())
            try:
                mappings[place.name] = load_mapping(place)
                if names_applicant(place, mappings[place.name]):
                    self.applicants.add(place.name)
            except ConfigError as error:
                self.problems += error.problems
                self.faulty.add(place.name)
        return mappings

    def _municipalities(self, folder: Path, defaults: DefaultsFile,
                        mappings: Mapping[str, MappingFile]) -> dict[str, Municipality]:
        municipalities = Municipalities(self.reader, self.digest.digest(), defaults, mappings, self.known,
                                        self.faulty, self.applicants)
        found = municipalities.read(folder)
        self.digest.update("".join(municipalities.fingerprints).encode())
        if not found and not self.problems:
            self.problems.append(f"{self.file}: hub.municipalities: no file in {folder}: add <AGS>.toml for "
                                 "a municipality")
        return found

    def _check_senders(self, senders: Mapping[str, Sender], municipalities: Collection[str],
                       services: Collection[str]) -> None:
        for sender in senders.values():
            for kind, wanted, known in (("municipalities", sender.municipalities, municipalities),
                                        ("services", sender.services, services)):
                for value in wanted:
                    if value != "*" and value not in known:
                        self.problems.append(f"{self.file}: sender {sender.name}: {kind}: unknown {value!r}: "
                                             + suggest(value, known))

    def _check_inlets(self, inlets: Iterable[Inlet], senders: Collection[str]) -> None:
        """Whom an inlet recognises under a name that no [[sender]] has may hand in nothing."""
        for inlet in inlets:
            for key, name in marked(inlet.options, Mark("sender")):
                if name not in senders:
                    self.problems.append(f"{self.file}: inlets.{inlet.name}.{key}: unknown sender {name!r}: "
                                         + (suggest(name, senders) if senders
                                            else "add a [[sender]] of that name"))

    def _check_retention(self, file: Path, services: Iterable[str], known: Collection[str]) -> None:
        for service in services:
            if service not in known:
                self.problems.append(f"{file}: retention.services: unknown service {service!r}: "
                                     f"{suggest(service, known)}")


FILES: Mapping[str, type[BaseModel]] = {"hub": HubFile, "defaults": DefaultsFile,
                                        "municipality": MunicipalityFile}
"""The kinds of files, for the editors' JSON schemas (``drehscheibe schema``)."""

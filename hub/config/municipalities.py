"""Municipalities: a file each, checked against the defaults and the mappings, with destinations and routes.

Thousands of them list the same services and take the same routes: these are made and checked once, and
shared.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from hub.config.municipality_file import (
    POLICY_KEYS,
    DefaultsFile,
    MunicipalityFile,
    Policy,
    RecipientRow,
    RouteRow,
)
from hub.config.reader import Reader, suggest
from hub.endpoint import InDoubtPolicy, Kind, OptionsModel, OutletBase, Repeat
from hub.errors import ConfigError
from hub.files.snapshot import tree_digest
from hub.files.toml import parse_toml, read_file
from hub.mapping.loader import stylesheet_problems
from hub.mapping.model import MappingFile
from hub.mapping.versions import spans_overlap


@dataclass(frozen=True, slots=True)
class Destination:
    """A place where deliveries go. `key` is ``<tenant>/<name>``."""

    key: str
    tenant: str
    connector: str
    options: OptionsModel
    """As they were checked when the configuration was read: the outlet gets this object."""
    policy: Policy
    outlet: type[OutletBase[Any]]
    """The connector's class: what it says holds where the policy says nothing."""

    @property
    def kind(self) -> Kind:
        """What it is: a mailbox, a folder, a DMS, a Fachverfahren …"""
        return self.policy.kind or self.outlet.kind

    @property
    def in_doubt(self) -> InDoubtPolicy:
        """What happens to a delivery that may or may not have arrived."""
        return self.policy.in_doubt or self.outlet.in_doubt

    @property
    def repeat(self) -> Repeat:
        """What a second try does at the receiver."""
        return self.outlet.repeat_for(self.options)

    def same_receiver(self, other: Destination) -> bool:
        """Whether an outlet that was built for the other one serves this one, too."""
        return self.connector == other.connector and self.options == other.options


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


@dataclass(slots=True)
class _Shared:
    """What thousands of municipalities have in common, made and checked once."""

    services: dict[tuple[Any, ...], tuple[Any, ...]] = field(default_factory=dict)
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


class Municipalities:
    """Reads the municipalities' files.

    `base` is a digest of all that every municipality depends on; those of `known` are taken over where it and
    their own files are what they were. Services whose mapping is `faulty` are no unknown ones; those of
    `applicants` say which groups are the applicant's. `fingerprints` are the files' names and digests, as
    they were read.
    """

    def __init__(self, reader: Reader, base: bytes, defaults: DefaultsFile,
                 mappings: Mapping[str, MappingFile],
                 known: Iterable[Municipality] = (), faulty: Collection[str] = (),
                 applicants: Collection[str] = ()) -> None:
        self._reader = reader
        self._problems = reader.problems
        self._base = base
        self._defaults = defaults
        self._mappings = mappings
        self._faulty = faulty
        self._applicants = applicants
        self._known = {str(municipality.file): municipality for municipality in known}
        self._shared = _Shared()
        self.fingerprints: list[str] = []

    def read(self, folder: Path) -> dict[str, Municipality]:
        """Every municipality without fault, by its tenant."""
        municipalities: dict[str, Municipality] = {}
        with os.scandir(folder) if folder.is_dir() else nullcontext(()) as entries:
            kinds = {entry.name: entry.is_dir() for entry in entries}
        for name in sorted(name for name in kinds if name.endswith(".toml")):
            file = folder / name
            try:
                municipality = self._read_one(file, has_folder=kinds.get(name.removesuffix(".toml"), False))
            except ConfigError as error:
                self._problems += error.problems
                continue
            if municipality is None:
                continue
            if municipality.row.tenant in municipalities:
                self._problems.append(f"{file}: tenant: {municipality.row.tenant!r} is taken by "
                                      f"{municipalities[municipality.row.tenant].file.name}: "
                                      "choose another key")
                continue
            municipalities[municipality.row.tenant] = municipality
        return municipalities

    def _read_one(self, file: Path, *, has_folder: bool) -> Municipality | None:
        """One municipality, taken over as it is when it would become the same again; None: its file is
        faulty."""
        content = read_file(file)
        folder = file.with_suffix("") if has_folder else None
        own = tree_digest(folder) if folder else None
        fingerprint = hashlib.sha256(self._base + content + (own or "").encode()).hexdigest()
        self.fingerprints.append(f"{file.name}\0{fingerprint}\0")
        before = self._known.get(str(file))
        if before is not None and before.fingerprint == fingerprint and (before.folder is None) == (
            own is None):
            return before
        row = self._reader.model(MunicipalityFile, self._shared.strings(parse_toml(file, content)), file)
        if row is None:
            return None
        if row.ags != file.stem:
            self._problems.append(f"{file}: ags: {row.ags} in a file named {file.stem}: give both the same "
                                  "AGS")
        return self._municipality(file, row, folder, fingerprint)

    def _municipality(self, file: Path, row: MunicipalityFile, folder: Path | None,
                      fingerprint: str) -> Municipality:
        destinations: dict[str, Destination] = {}
        for name, data in row.destinations.items():
            destination = self._destination(file, row, name, data)
            if destination:
                destinations[destination.key] = destination
        routes = self._routes(file, row)
        kinds = tuple((name, found.policy.test if (found := destinations.get(f"{row.tenant}/{name}"))
                       else None)
                      for name in row.destinations)
        municipality = Municipality(file, row, destinations, routes, folder, fingerprint)
        alike = id(routes), kinds  # what is shared lives as long as this object
        if alike not in self._shared.fitting:
            before = len(self._problems)
            self._check_all_routes(municipality, kinds)
            shared = not self._check_stylesheets(municipality) and routes is self._shared.routes.get(
                row.services)
            if shared and len(self._problems) == before:
                self._shared.fitting.add(alike)
        if folder is not None:
            self._problems += stylesheet_problems(folder)
        return municipality

    def _destination(self, file: Path, row: MunicipalityFile, name: str,
                     data: Mapping[str, Any]) -> Destination | None:
        key = f"destinations.{name}"
        own = dict(data)
        connector = str(own.pop("connector", ""))
        options = {**self._defaults.connectors.get(connector, {}), **own}
        policy = self._policy({**self._defaults.policy,
                               **{name: options.pop(name) for name in POLICY_KEYS if name in options}},
                              file, key)
        outlet = self._reader.outlet(connector, options, file, key)
        if policy is None or outlet is None:
            return None
        if policy.fallback == name:
            self._problems.append(f"{file}: {key}.fallback: is the destination itself: name another one, or "
                                  "remove it")
        elif policy.fallback and policy.fallback not in row.destinations:
            self._problems.append(f"{file}: {key}.fallback: unknown destination {policy.fallback!r}: "
                                  + suggest(policy.fallback, row.destinations))
        checked, outlet_class = outlet
        return Destination(f"{row.tenant}/{name}", row.tenant, connector, checked, policy, outlet_class)

    def _policy(self, data: Mapping[str, Any], file: Path, key: str) -> Policy | None:
        same = repr(data)
        if same in self._shared.policies:
            return self._shared.policies[same]
        policy = self._reader.model(Policy, data, file, key)
        if policy is not None:
            self._shared.policies[same] = policy
        return policy

    def _routes(self, file: Path, row: MunicipalityFile) -> Mapping[str, tuple[RouteRow, ...]]:
        """By service. Municipalities without a route of their own that list the same services share one."""
        routes: dict[str, tuple[RouteRow, ...]] = {}
        for route in row.route:
            routes[route.service] = (*routes.get(route.service, ()), route)
        if not routes and row.services in self._shared.routes:
            return self._shared.routes[row.services]
        everywhere = routes.pop("*", ())
        if everywhere and not row.services:
            self._problems.append(f"{file}: route: '*' stands for what services lists, and that is nothing: "
                                  "list the services there, or name one instead of '*'")
        for service in row.services:
            if service not in routes:
                routes[service] = (_routed(everywhere, service) if everywhere
                                   else self._default_route(file, service))
        if not row.route and all(routes.values()):
            self._shared.routes[row.services] = routes
        return routes

    def _default_route(self, file: Path, service: str) -> tuple[RouteRow, ...]:
        if service not in self._shared.defaults:
            found = ([route for route in self._defaults.route if route.service == service]
                     or [route for route in self._defaults.route if route.service == "*"])
            self._shared.defaults[service] = _routed(found, service)
        rows = self._shared.defaults[service]
        if not rows:
            self._problems.append(f"{file}: services: defaults.toml has no route for {service!r}: "
                                  "add one there, or a [[route]] here")
        return rows

    def _check_all_routes(self, municipality: Municipality, kinds: tuple[Any, ...]) -> None:
        """`kinds`: names of the destinations and whether each is for tests; default routes are checked once
        for each."""
        for service, rows in municipality.routes.items():
            checked = id(rows), kinds
            if checked not in self._shared.fitting:
                before = len(self._problems)
                self._check_routes(municipality.file, municipality.row, service, rows,
                                   municipality.destinations)
                if len(self._problems) == before and rows is self._shared.defaults.get(service):
                    self._shared.fitting.add(checked)

    def _check_routes(self, file: Path, row: MunicipalityFile, service: str, routes: Sequence[RouteRow],
                      destinations: Mapping[str, Destination]) -> None:
        mapping = self._mappings.get(service)
        if mapping is None:
            if service not in self._faulty:
                self._problems.append(f"{file}: route: unknown service {service!r}: "
                                      + suggest(service, {*self._mappings, *self._faulty}))
            return
        for index, route in enumerate(routes):
            where = f"{file}: route {service}{f' ({route.name})' if route.name else ''}"
            renderings = set.intersection(*(set(version.renderings) for version in mapping.version))
            for kind, rows in (("recipients", route.recipients), ("test_recipients", route.test_recipients)):
                names = [recipient.name or recipient.destination for recipient in rows]
                if len(set(names)) < len(names):
                    self._problems.append(f"{where}: {kind}: a recipient stands twice: give the second one a "
                                          "name of its own")
                for recipient in rows:
                    self._check_recipient(where, kind, row, recipient, renderings, destinations)
                    if service not in self._applicants:
                        self._check_applicant(where, kind, recipient)
            texts = {name for name in renderings
                     if all(version.renderings[name].role in _EMBEDDABLE for version in mapping.version)}
            self._problems += [f"{where}: pdf_embeds: {name!r} is no rendering with the role "
                               f"{', '.join(_EMBEDDABLE)} of every version of the mapping: "
                               + suggest(name, texts) for name in route.pdf_embeds if name not in texts]
            for other in routes[:index]:
                if _overlap(route, other):
                    self._problems.append(f"{where}: versions: overlaps another route of the same service: "
                                          "exactly one route may match; separate them by versions or "
                                          "validity dates")

    def _check_recipient(self, where: str, kind: str, row: MunicipalityFile, recipient: RecipientRow,
                         renderings: set[str], destinations: Mapping[str, Destination]) -> None:
        if recipient.destination not in row.destinations:
            self._problems.append(f"{where}: {kind}: unknown destination {recipient.destination!r}: "
                                  + suggest(recipient.destination, row.destinations))
        destination = destinations.get(f"{row.tenant}/{recipient.destination}")
        if destination and destination.policy.test != (kind == "test_recipients"):
            self._problems.append(f"{where}: {kind}: destination {recipient.destination!r} "
                                  + ("is for tests only: use it in test_recipients" if destination.policy.test
                                     else "is no test destination: set test = true there, or use another "
                                          "one"))
        for name in recipient.send:
            if name not in renderings | {"attachments", "original"}:
                self._problems.append(f"{where}: {kind}: send: {name!r} is no rendering of every version of "
                                      "the mapping: "
                                      + suggest(name, renderings | {"attachments", "original"}))

    def _check_rendering(self, file: Path, service: str, name: str) -> None:
        mapping = self._mappings.get(service)
        known = {each for version in mapping.version for each in version.renderings} if mapping else {name}
        if name not in known:
            self._problems.append(f"{file}: route {service}: stylesheets: {name!r} is no rendering of the "
                                  "mapping: " + suggest(name, known))

    def _check_applicant(self, where: str, kind: str, recipient: RecipientRow) -> None:
        """Of a service whose mapping does not say who applies: nobody may be guessed."""
        for key, asked in (("reply_to", recipient.reply_to is not None),
                           ("subject_with", "name" in recipient.subject_with)):
            if asked:
                self._problems.append(f"{where}: {kind}: {key}: the mapping does not say in every version "
                                      "who "
                                      "applies: write applicant = true at the group in its fields")

    def _check_stylesheets(self, municipality: Municipality) -> bool:
        """Whether it has any."""
        for service, routes in municipality.routes.items():
            for route in routes:
                for name, sheet in route.stylesheets.items():
                    self._check_rendering(municipality.file, service, name)
                    place = (municipality.folder or municipality.file.with_suffix("")) / sheet
                    if not place.is_file():
                        self._problems.append(f"{municipality.file}: route {service}: stylesheets.{name}: "
                                              f"{place} is "
                                              "missing: "
                                              "add the file, or remove the key")
        return any(route.stylesheets for routes in municipality.routes.values() for route in routes)


def _routed(rows: Iterable[RouteRow], service: str) -> tuple[RouteRow, ...]:
    """The routes as those of one service."""
    return tuple(route.model_copy(update={"service": service}) for route in rows)


_EMBEDDABLE = ("xml", "csv", "json")
"""Roles of renderings that may be put into a PDF: data, which its page shows."""


def _overlap(one: RouteRow, other: RouteRow) -> bool:
    first = max(one.valid_from or date.min, other.valid_from or date.min)
    last = min(one.valid_until or date.max, other.valid_until or date.max)
    return first < last and spans_overlap(one.versions, other.versions)

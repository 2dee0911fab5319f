"""The whole work of judging mappings, once for ``check``, ``mapping test``, ``reload`` and the hub's start.

Judged are the versions of every service (field table, schema, rules, each rendering's stylesheet) and every
municipality's own stylesheets with each version they serve. It happens in worker processes
(`hub.pipeline.review`), under the limits of a message: a stylesheet can be made to need any amount of memory
and time while it is compiled.

A `MappingReview` that is kept judges nothing twice: what it knows is kept by the digests of the snapshots
that it was made from.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hub.config.configuration import Configuration
from hub.config.municipalities import Municipality
from hub.config.municipality_file import RouteRow
from hub.config.sections import WorkersSection
from hub.endpoint import Finding
from hub.job import Job, Parked, Recipient, Rule
from hub.mapping.loader import load_mapping
from hub.mapping.model import MappingFile, MappingVersion
from hub.workers.limits import limits_of
from hub.workers.pool import WorkerPool
from hub.workers.process import Why, WorkerSettings, WorkerUnavailable

RUNNER = "hub.pipeline.review"

MOST_SECONDS = 5.0
"""Longest time for one stylesheet. A large one is compiled in a few hundredths of a second."""

BATCH = 64
_NOW = datetime(2000, 1, 1, tzinfo=UTC)
_LAYER = re.compile(r"^(mapping|common|town):(?!:)")
_WHY = {Why.TIME: "takes too long", Why.CPU: "takes too long", Why.MEMORY: "takes too much memory",
        Why.DIED: "takes too much memory, or ends the worker", Why.PROTOCOL: "ends the worker",
        Why.FAILED: "cannot be judged"}
_AGAIN = "Datei berichtigen (drehscheibe mapping test), oder erneut versuchen."
_REMEDY = "Datei berichtigen (drehscheibe mapping test)."


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is judged at once: one rendering of a version, or its table, schema and rules."""

    where: str
    rule: Rule
    places: Mapping[str, Path]
    """The folders that people edit, by the layer's name."""

    @property
    def key(self) -> str:
        """Of all that the verdict depends on: the snapshots' paths name their content."""
        rule = self.rule
        return hashlib.sha256("\0".join([
            self.where, rule.package, rule.common or "", rule.municipality_folder or "",
            rule.mapping_version, *rule.recipients[0].send, *(f"{name}={sheet}" for name, sheet
                                                              in sorted(rule.stylesheets.items())),
            *sorted(rule.municipality)]).encode()).hexdigest()

    @property
    def sheet(self) -> tuple[str, ...]:
        """Which file it is about: a municipality's own stylesheet serves several versions."""
        own = self.rule.stylesheets.values()
        return (self.where, *own) if own else (self.where, self.rule.mapping_version,
                                               *self.rule.recipients[0].send)

    def told(self, line: str) -> str:
        """A fault with the file as a person knows it, instead of the snapshot."""
        line = _LAYER.sub(lambda found: f"{self.places[found[1]]}/" if found[1] in self.places else found[0],
                          line)
        for path, layer in ((self.rule.package, "mapping"), (self.rule.common, "common"),
                            (self.rule.municipality_folder, "town")):
            if path and layer in self.places:
                line = line.replace(path, str(self.places[layer]))
        return line


@dataclass(slots=True)
class MappingReview:
    """Judges mappings; what was judged once, and has not changed since, is known."""

    pools: Callable[[int, WorkerSettings, str], WorkerPool] = WorkerPool
    """Makes the workers: how many, with which limits, and what they run."""
    known: dict[str, tuple[Finding, ...]] = field(default_factory=dict)

    def findings(self, configuration: Configuration, *, tenant: str | None = None,
                 service: str | None = None) -> list[tuple[str, Finding]]:
        """What is wrong with the mappings of a configuration, each fault once, with what it is about.

        With `tenant` only what that municipality uses, with `service` only this service. Kept by digest where
        the configuration has its snapshots.
        """
        own = configuration.municipalities.get(tenant) if tenant else None
        services = [name for name in configuration.mappings
                    if service in (None, name) and (own is None or name in own.routes)]
        municipalities = [own] if own else list(configuration.municipalities.values())
        units = [unit for name in services for unit in _service_units(configuration, name)]
        for each in municipalities:
            units += _own_units(configuration, each, services)
        found = self._judged(units, configuration.settings.workers, keep=bool(configuration.snapshots))
        found += [each for name in services for each in _hints(name, configuration.mappings[name])]
        found += [each for municipality in municipalities for each in _untested(municipality, services)]
        return list(dict.fromkeys(found))

    def of_folder(self, mappings: Path, service: str | None = None) -> list[tuple[str, Finding]]:
        """The same for a folder of mappings that no configuration names."""
        found: list[tuple[str, Finding]] = []
        units: list[_Unit] = []
        common = mappings / "_common"
        for place in sorted(mappings.iterdir()):
            if (place / "mapping.toml").is_file() and service in (None, place.name):
                mapping = load_mapping(place)
                units += _units(place.name, mapping, place, common if common.is_dir() else None,
                                {"mapping": place, "common": common})
                found += _hints(place.name, mapping)
        return list(dict.fromkeys(self._judged(units, WorkersSection(), keep=False) + found))

    def _judged(self, units: Sequence[_Unit], section: WorkersSection, *,
                keep: bool) -> list[tuple[str, Finding]]:
        known = self.known if keep else {}
        keys = [unit.key for unit in units]
        new = {key: unit for key, unit in zip(keys, units, strict=True) if key not in known}
        if new:
            known = {**known, **dict(zip(new, self._verdicts(list(new.values()), section), strict=True))}
        if keep:  # what the configuration no longer has is forgotten, and what no worker could say
            self.known = {key: known[key] for key in keys if not any(map(_may_change, known[key]))}
        return [(unit.where, finding) for key, unit in zip(keys, units, strict=True)
                for finding in known[key]]


    def _verdicts(self, units: Sequence[_Unit], section: WorkersSection) -> list[tuple[Finding, ...]]:
        """The findings of each unit, in order, by workers that end with it."""
        batches = [units[at:at + BATCH] for at in range(0, len(units), BATCH)]
        count = min(section.count, len(batches))
        try:
            with (self.pools(count, limits_of(section, MOST_SECONDS), RUNNER) as pool,
                  ThreadPoolExecutor(count, thread_name_prefix="review") as threads):
                return [verdict for done in threads.map(lambda batch: _batch(pool, batch), batches)
                        for verdict in done]
        except WorkerUnavailable as error:
            fault = Finding("error", f"the mappings cannot be judged: {error}", _AGAIN)
            return [(fault,)] * len(units)


def errors_of(found: Sequence[tuple[str, Finding]]) -> list[str]:
    """The faults that must not take effect, a line each."""
    return [finding.text for _, finding in found if finding.severity == "error"]


def _may_change(finding: Finding) -> bool:
    """Whether another try could say something else: the machine was busy, or no worker could be started."""
    return finding.remedy == _AGAIN


# --- what is to be judged -----------------------------------------------------------------------------------


def _service_units(configuration: Configuration, service: str) -> Iterator[_Unit]:
    folder, snapshots = configuration.settings.hub.mappings, configuration.snapshots
    common = folder / "_common" if (folder / "_common").is_dir() else None
    home = configuration.mapping_folder(service)
    places = {"mapping": home, "common": folder / "_common"}
    yield from _units(service, configuration.mappings[service], snapshots.get(service, home),
                      snapshots.get("_common", common), places)


def _units(service: str, mapping: MappingFile, package: Path, common: Path | None,
           places: Mapping[str, Path]) -> Iterator[_Unit]:
    for version in mapping.version:
        for send in ((), *((name,) for name, rendering in version.renderings.items()
                           if rendering.stylesheet is not None)):
            yield _Unit(f"mapping {service}", _rule(service, version, package, common, send), places)


def _own_units(configuration: Configuration, municipality: Municipality,
               services: Sequence[str]) -> Iterator[_Unit]:
    if municipality.folder is None:
        return
    mappings, snapshots = configuration.settings.hub.mappings, configuration.snapshots
    common = mappings / "_common" if (mappings / "_common").is_dir() else None
    places = {"mapping": mappings, "common": mappings / "_common", "town": municipality.folder}
    parameters = {**municipality.row.parameters, "name": "", "ags": "", "hub": ""}
    own = snapshots.get(f"town/{municipality.row.tenant}", municipality.folder)
    for service in services:
        home = configuration.mapping_folder(service)
        for sheet in _own_sheets(municipality.routes.get(service, ())):
            for version in configuration.mappings[service].version:
                if sheet[0] in version.renderings:
                    rule = _rule(service, version, snapshots.get(service, home),
                                 snapshots.get("_common", common), (sheet[0],),
                                 own, dict([sheet]), parameters)
                    yield _Unit(f"mapping {service} ({municipality.row.tenant})", rule,
                                {**places, "mapping": home})


def _own_sheets(routes: Sequence[RouteRow]) -> list[tuple[str, str]]:
    return list(dict.fromkeys(pair for route in routes for pair in route.stylesheets.items()))


def _rule(service: str, version: MappingVersion, package: Path, common: Path | None, send: tuple[str, ...],
          own: Path | None = None, stylesheets: Mapping[str, str] | None = None,
          parameters: Mapping[str, str] | None = None) -> Rule:
    return Rule(id=service, tenant="-", service=service, mapping_version=version.name, mapping_digest="-",
                package=str(package), common=str(common) if common else None,
                municipality_folder=str(own) if own else None, stylesheets=stylesheets or {},
                municipality=parameters or {},
                recipients=(Recipient(name="-", destination="-", connector="-", send=send),))


# --- judged without a worker --------------------------------------------------------------------------------


def _hints(service: str, mapping: MappingFile) -> Iterator[tuple[str, Finding]]:
    """CSV whose encoding nobody chose: without a BOM a spreadsheet takes it for Windows-1252."""
    for version in mapping.version:
        for name, rendering in version.renderings.items():
            if rendering.role == "csv" and "encoding" not in rendering.model_fields_set:
                yield f"mapping {service}", Finding(
                    "warning", f"version {version.name}: {name}: csv without a BOM",
                    'in mapping.toml encoding = "utf-8-sig" schreiben (mit BOM, für Tabellenprogramme) oder '
                    'encoding = "utf-8" (ohne, bewusst)')


def _untested(municipality: Municipality, services: Sequence[str]) -> Iterator[tuple[str, Finding]]:
    """Own routes that park every test."""
    for route in municipality.row.route:
        if not route.test_recipients and (route.service == "*" or route.service in services):
            name = f" ({route.name})" if route.name else ""
            yield municipality.row.tenant, Finding(
                "warning",
                f"{municipality.file}: route {route.service}{name}: test_recipients: there are none, so "
                "every test is parked", "test_recipients ergänzen")


# --- the workers --------------------------------------------------------------------------------------------


def _batch(pool: WorkerPool, units: Sequence[_Unit]) -> list[tuple[Finding, ...]]:
    """A stylesheet over which a worker ended is tried once more alone, so that no other one is to blame."""
    found: list[tuple[Finding, ...]] = []
    ended: dict[tuple[str, ...], tuple[Finding, ...]] = {}
    alone = False
    while len(found) < len(units):
        unit = units[len(found)]
        if unit.sheet in ended:  # with another version of the form it would end the next worker
            found.append(ended[unit.sheet])
            continue
        batch = [unit] if alone else units[len(found):]
        answers, why = _asked(pool, batch)
        found += answers
        if why is not None and len(batch) == 1:
            ended[unit.sheet] = (_ended(unit, why),)
        alone = why is not None and len(batch) > 1
    return found


def _asked(pool: WorkerPool, units: Sequence[_Unit]) -> tuple[list[tuple[Finding, ...]], Why | None]:
    jobs = [Job(message_id=str(number), tenant="-", ags="-", service=unit.rule.service, test=False,
                received_at=_NOW, accepted_day=_NOW.date(), case=None, parts=(), rules=(unit.rule,))
            for number, unit in enumerate(units)]
    with tempfile.TemporaryFile() as out:
        result = pool.rehearse(jobs, [], out.fileno())
    verdicts = [outcome for outcome in result.outcomes if isinstance(outcome, Parked)]
    why = result.why if len(verdicts) == len(result.outcomes) else Why.PROTOCOL
    return [_verdict(unit, outcome) for unit, outcome in zip(units, verdicts, strict=False)], why


def _verdict(unit: _Unit, outcome: Parked) -> tuple[Finding, ...]:
    faults = [Finding("error", unit.told(line), _REMEDY) for line in outcome.trace]
    return (*faults, *(Finding("warning", unit.told(line)) for line in outcome.notes))


def _ended(unit: _Unit, why: Why) -> Finding:
    rule = unit.rule
    names = rule.recipients[0].send
    what = " ".join(names) or "fields, schema and rules"
    sheet = next((f"{unit.places['town']}/{rule.stylesheets[name]}" for name in names
                  if name in rule.stylesheets), f"{unit.places['mapping']}/{rule.mapping_version}")
    return Finding("error", f"{sheet}: {what}: {_WHY[why]} to be compiled: mend the stylesheet", _AGAIN)

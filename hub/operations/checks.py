"""What ``drehscheibe check`` looks at: configuration, engines, mappings' examples, inlets, and with
``--connect`` every destination for real.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from hub import endpoint, registry
from hub.config import marks
from hub.config.configuration import Configuration
from hub.config.municipalities import Destination
from hub.config.reader import suggest
from hub.endpoint import Finding, Mark
from hub.errors import ConfigError, HubError, StoreUnavailable
from hub.operations import certificates
from hub.operations.mapping_review import MappingReview
from hub.operations.not_taken import not_taken
from hub.operations.which_pdf import which_pdf
from hub.parsing import versions
from hub.store.database.postgresql import Served

AT_ONCE = 8
"""Destinations tried at the same time: most of the time goes into waiting for those that do not answer."""


def _silent(done: int, of: int) -> None:
    """No progress to be shown."""


def check_all(configuration: Configuration, *, connect: bool, destination: str | None = None,
              municipality: str | None = None,
              progress: Callable[[int, int], None] = _silent,
              build: Callable[..., endpoint.OutletBase[Any]] = endpoint.build_outlet,
              ) -> Iterator[tuple[str, Finding]]:
    """Findings with the place they are about; the configuration itself was checked when it was loaded.

    With `destination` (``<tenant>/<name>``) or `municipality` (AGS or tenant) only those destinations are
    tried, with `municipality` alone its mappings and own stylesheets are judged, too. Raises `HubError` when
    there is none. `progress` is told how many of how many
    destinations are done.
    """
    if destination or municipality:
        wanted = chosen(configuration, destination, municipality)
        yield from certificates.findings(configuration, {each.key for each in wanted})
        if municipality and not destination:
            tenant = configuration.tenant_of(municipality) or municipality
            yield from MappingReview().findings(configuration, tenant=tenant)
            yield from which_pdf(configuration, tenant)
            yield from not_taken(configuration, tenant)
        yield from try_all(wanted, progress, build)
        return
    versions.check_versions()
    yield "configuration", Finding("ok", f"{len(configuration.municipalities)} Kommunen, "
                                         f"{len(configuration.mappings)} Dienste, "
                                   f"{sum(1 for _ in configuration.all_destinations())} Ziele")
    yield from _installed()
    yield from _own_mappings(configuration)
    yield from MappingReview().findings(configuration)
    yield from which_pdf(configuration)
    yield from not_taken(configuration)
    yield from _engines(configuration)
    yield from _space(configuration)
    yield from _database(configuration)
    yield from readable_secrets(configuration)
    yield from certificates.findings(configuration)
    for inlet in configuration.inlets:
        built = endpoint.build_inlet(inlet.connector, inlet.options, endpoint.InletContext(
            name=inlet.name, spool=configuration.state / "spool",
            max_bytes=configuration.settings.hub.max_bytes))
        for finding in built.check():
            yield f"inlet {inlet.name}", finding
    if connect:
        yield from try_all(list(configuration.all_destinations()), progress, build)


def chosen(configuration: Configuration, destination: str | None,
           municipality: str | None) -> list[Destination]:
    """The destinations that fit both. Raises `HubError` when none does."""
    municipalities = configuration.municipalities
    tenant = None if municipality is None else configuration.tenant_of(municipality) or municipality
    if tenant is not None and tenant not in municipalities:
        known = suggest(municipality or "", [*configuration.by_ags, *municipalities], german=True)
        raise HubError(f"Keine Kommune {municipality!r}: {known}")
    keys = {each.key: each for each in configuration.all_destinations() if tenant in (None, each.tenant)}
    if destination is not None and destination not in keys:
        raise HubError(f"Kein Ziel {destination!r}: {suggest(destination, keys, german=True)}")
    return list(keys.values()) if destination is None else [keys[destination]]


def _installed() -> Iterator[tuple[str, Finding]]:
    """Connectors that other distributions bring: each is loaded, whether a destination uses it or not."""
    for name, entry in registry.installed().items():
        try:
            if registry.has(name, "Outlet"):
                endpoint.outlet_class(name)
            if registry.has(name, "Inlet") or not registry.has(name, "Outlet"):
                endpoint.inlet_class(name)
            yield f"connector {name}", Finding("ok", f"bringt {registry.origin(entry)} mit")
        except ConfigError as error:
            yield f"connector {name}", Finding("error", str(error))


def _own_mappings(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    """Services of the operator's own that take the place of the release's."""
    shipped = configuration.settings.hub.mappings
    for service in configuration.mappings:
        if configuration.mapping_folder(service).parent != shipped and (
                shipped / service / "mapping.toml").is_file():
            yield f"mapping {service}", Finding("ok", "steht in own_mappings und ersetzt die mitgelieferte")


def _engines(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    needs_pdf = any(rendering.role == "pdf" and rendering.stylesheet
                    for mapping in configuration.mappings.values()
                    for version in mapping.version for rendering in version.renderings.values())
    if needs_pdf:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                importlib.import_module("weasyprint")  # prints a banner where libpango is missing
            yield "pdf", Finding("ok", "WeasyPrint ist bereit")
        except (ImportError, OSError):
            yield "pdf", Finding("warning",
                                 "libpango fehlt: nur das PDF des Antragstellers geht, keines wird erzeugt",
                                 "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0")


def _space(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    place = configuration.state
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < 1 << 30:
        yield str(configuration.state), Finding("warning", f"nur noch {free >> 20} MB frei", "Platz schaffen")


def _database(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    """A PostgreSQL that several hubs share; SQLite needs no asking."""
    settings = configuration.settings.store
    if settings.url is None:
        return
    base = Served(settings, configuration.state)
    try:
        for finding in base.findings():
            yield "store.url", finding
    except StoreUnavailable as error:
        yield "store.url", Finding("error", f"Die Datenbank ist nicht erreichbar: {error}",
                                   "Adresse, Benutzer, Passwort, TLS und pg_hba.conf prüfen "
                                   "(docs/operate-two-nodes.md)")


def readable_secrets(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    """Keys and secrets that somebody else than their owner can read. Files that are not there are others' to
    find."""
    seen: set[Path] = set()
    for where, path in _secrets(configuration):
        if path in seen:
            continue
        seen.add(path)
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue
        if path.is_relative_to("/run/credentials"):
            mode &= ~stat.S_IRWXG  # systemd grants by an ACL, whose mask shows as the group's rights
        if mode & 0o077:
            everyone = bool(mode & stat.S_IRWXO)
            yield where, Finding(
                "error" if everyone else "warning",
                f"{path}: {'alle können' if everyone else 'die Gruppe kann'} das Geheimnis lesen oder ändern "
                f"(Rechte {mode:04o})",
                f"chmod 600 {path}; wer es gelesen haben kann, soll es nicht mehr nutzen können: erneuern.")


def _secrets(configuration: Configuration) -> Iterator[tuple[str, Path]]:
    """Every file that holds a secret: named as one, or a certificate beside its private key."""
    models: list[tuple[str, BaseModel]] = [("hub.toml", configuration.settings),
                                           ("defaults.toml", configuration.defaults)]
    models += [(f"inlet {inlet.name}", inlet.options) for inlet in configuration.inlets]
    models += [(each.key, each.options) for each in configuration.all_destinations()]
    for where, options in models:
        for key, ref in marks.marked(options, Mark("secret")):
            yield f"{where}: {key}", endpoint.secret_path(ref)
        for key, file in marks.marked(options, Mark("certificate")):
            if _holds_key(file):
                yield f"{where}: {key}", file


def _holds_key(file: Path) -> bool:
    try:
        return b"PRIVATE KEY-----" in file.read_bytes()
    except OSError:
        return False


def try_all(wanted: Sequence[Destination], progress: Callable[[int, int], None],
            build: Callable[..., endpoint.OutletBase[Any]]) -> Iterator[tuple[str, Finding]]:
    """Try destinations for real, `AT_ONCE` at a time; the findings in the order of `wanted`."""
    progress(0, len(wanted))
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="check") as pool:
        tries = [pool.submit(_try, each, build) for each in wanted]
        for done, _ in enumerate(as_completed(tries), 1):
            progress(done, len(wanted))
    for each, tried in zip(wanted, tries, strict=True):
        for finding in tried.result():
            yield each.key, finding


def _try(destination: Destination, build: Callable[..., endpoint.OutletBase[Any]]) -> list[Finding]:
    outlet: endpoint.OutletBase[Any] | None = None
    try:
        outlet = build(destination.connector, destination.options)
        findings = list(outlet.check())
    except HubError as error:
        findings = [Finding("error", str(error))]
    except Exception as error:  # noqa: BLE001  one broken connector must not hide what the others found
        findings = [Finding("error", f"Die Prüfung selbst ist gescheitert ({type(error).__name__})")]
    finally:
        if outlet is not None:
            outlet.close()
    return [_with_whom(finding, destination.outlet.whom) for finding in findings]


def _with_whom(finding: Finding, whom: str) -> Finding:
    if finding.severity != "error" or not whom:
        return finding
    return Finding(finding.severity, finding.text, f"{finding.remedy} Zu fragen: {whom}.".strip())


def broker_setup(configuration: Configuration, admin: Mapping[str, Any]) -> Sequence[Finding]:
    """Declare everything the AMQP inlets need; `admin` is who may (url, user, password, ca).

    Raises `ConfigError` when no inlet needs a broker.
    """
    findings: list[Finding] = []
    for inlet in configuration.inlets:
        found = registry.module(inlet.connector)
        if hasattr(found, "setup"):
            findings += found.setup(inlet.options, found.Admin(**admin))
    if not findings:
        able = [name for name in registry.names() if hasattr(registry.module(name), "setup")]
        raise ConfigError.at(configuration.file, "inlets", "no inlet needs a broker",
                             f'add one with connector = "{next(iter(able), "…")}"')
    return findings

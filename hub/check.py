"""What ``drehscheibe check`` looks at: configuration, engines, mappings' examples, inlets, and with ``--connect`` every
destination for real.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hub import endpoint, hardened
from hub.config import Configuration
from hub.endpoint import Finding
from hub.errors import ConfigError, HubError


def check_all(configuration: Configuration, *, connect: bool) -> Iterator[tuple[str, Finding]]:
    """Findings with the place they are about; the configuration itself was checked when it was loaded."""
    hardened.check_versions()
    yield "configuration", Finding("ok", f"{len(configuration.municipalities)} Kommunen, {len(configuration.mappings)} Dienste, "
                                   f"{sum(1 for _ in configuration.all_destinations())} Ziele")
    yield from _engines(configuration)
    yield from _space(configuration)
    for inlet in configuration.inlets:
        built = endpoint.build_inlet(inlet.connector, inlet.options, name=inlet.name,
                                     spool=configuration.state / "spool", max_bytes=configuration.settings.hub.max_bytes)
        for finding in built.check():
            yield f"inlet {inlet.name}", finding
    if connect:
        yield from _destinations(configuration)


def _engines(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    needs_pdf = any(rendering.role == "pdf" and rendering.stylesheet for mapping in configuration.mappings.values()
                    for version in mapping.version for rendering in version.renderings.values())
    if needs_pdf:
        try:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                importlib.import_module("weasyprint")  # prints a banner where libpango is missing
            yield "pdf", Finding("ok", "WeasyPrint ist bereit")
        except (ImportError, OSError):
            yield "pdf", Finding("warning", "libpango fehlt: nur das PDF des Antragstellers geht, keines wird erzeugt",
                                 "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0")


def _space(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    place = configuration.state
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < 1 << 30:
        yield str(configuration.state), Finding("warning", f"nur noch {free >> 20} MB frei", "Platz schaffen")


def _destinations(configuration: Configuration) -> Iterator[tuple[str, Finding]]:
    for destination in configuration.all_destinations():
        outlet: endpoint.OutletBase[Any] | None = None
        try:
            outlet = endpoint.build_outlet(destination.connector, destination.options)
            for finding in outlet.check():
                yield destination.key, finding
        except HubError as error:
            yield destination.key, Finding("error", str(error))
        finally:
            if outlet is not None:
                outlet.close()


def broker_setup(configuration: Configuration, admin: Mapping[str, Any]) -> Sequence[Finding]:
    """Declare everything the AMQP inlets need; `admin` is who may (url, user, password, ca).

    Raises `ConfigError` when no inlet needs a broker.
    """
    findings: list[Finding] = []
    for inlet in configuration.inlets:
        found = endpoint.module(inlet.connector)
        if hasattr(found, "setup"):
            model = endpoint.options_model(inlet.connector, "Inlet")
            findings += found.setup(model(**inlet.options), found.Admin(**admin))
    if not findings:
        raise ConfigError.at(configuration.file, "inlets", "no inlet needs a broker", "add one with connector = \"amqp\"")
    return findings

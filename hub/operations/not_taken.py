"""Where a route sends attachments to a destination that has no room for them: for ``check``."""

from __future__ import annotations

from collections.abc import Iterator

from hub.config.configuration import Configuration
from hub.config.municipalities import Municipality
from hub.endpoint import Finding

ATTACHMENT = "attachment"


def not_taken(configuration: Configuration, tenant: str | None = None) -> Iterator[tuple[str, Finding]]:
    """A warning for each recipient that asks for attachments and gets none; of one tenant, or of all."""
    for municipality in configuration.municipalities.values():
        if tenant in (None, municipality.row.tenant):
            yield from _of(municipality)


def _of(municipality: Municipality) -> Iterator[tuple[str, Finding]]:
    told = {(f"{municipality.row.tenant}/{service}", row.destination)
            for service, routes in municipality.routes.items() for route in routes
            for row in (*route.recipients, *route.test_recipients) if "attachments" in row.send}
    for where, name in sorted(told):
        destination = municipality.destinations[f"{municipality.row.tenant}/{name}"]
        taken = destination.outlet.takes(destination.options)
        if taken is not None and ATTACHMENT not in taken:
            yield where, Finding(
                "warning", f"Anlagen kommen am Ziel {name} nicht an: es überträgt nur "
                           f"{', '.join(sorted(taken)) or 'Angaben, keine Dateien'}",
                "am Ziel die Rolle attachment aufnehmen (layout = \"folder\", multipart, each), oder "
                "'attachments' aus send nehmen.")

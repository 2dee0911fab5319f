"""Which PDF a municipality gets where an application came with the applicant's own printout: for
``check``."""

from __future__ import annotations

from collections.abc import Iterator

from hub.config.configuration import Configuration
from hub.config.municipalities import Municipality
from hub.config.rules import rules_for
from hub.endpoint import Finding
from hub.job import Rule
from hub.mapping.model import Rendering


def which_pdf(configuration: Configuration, tenant: str | None = None) -> Iterator[tuple[str, Finding]]:
    """For a tenant every PDF that it gets; for all of them only where its route decides other than is
    usual."""
    for municipality in configuration.municipalities.values():
        if tenant in (None, municipality.row.tenant):
            yield from _of(configuration, municipality, everything=tenant is not None)


def _of(configuration: Configuration, municipality: Municipality, *,
        everything: bool) -> Iterator[tuple[str, Finding]]:
    told = set()
    for service in municipality.routes:
        for rule in rules_for(configuration, municipality.row.ags, service):
            version = next(version for version in configuration.mappings[service].version
                           if version.name == rule.mapping_version)
            sent = {name for recipient in rule.recipients for name in recipient.send}
            for name, rendering in version.renderings.items():
                if name in sent and rendering.applicant_pdf and (everything
                                                                 or rule.pdf_of(name) != "applicant"):
                    told.add((f"{rule.tenant}/{service}", _sentence(rule, name, rendering)))
    for where, text in sorted(told):
        yield where, Finding("ok", text)


def _sentence(rule: Rule, name: str, rendering: Rendering) -> str:
    own = rule.stylesheets.get(name)
    made = f"das eigene {rule.homes['town']}/{own}" if own else rendering.stylesheet
    if made is None:
        return f"Ausgabe '{name}': der Ausdruck des Antragstellers geht; ein Stylesheet gibt es nicht"
    return {"stylesheet":
            f"Ausgabe '{name}': das PDF aus dem Stylesheet geht ({made}), nicht der Ausdruck des "
            "Antragstellers; der geht als Anlage an die, die 'attachments' bekommen",
            "applicant": f"Ausgabe '{name}': der Ausdruck des Antragstellers geht; fehlt er, das PDF aus dem "
                         f"Stylesheet ({made})",
            "both": f"Ausgabe '{name}': das PDF aus dem Stylesheet geht ({made}), und der Ausdruck des "
                    "Antragstellers als Anlage"}[rule.pdf_of(name)]

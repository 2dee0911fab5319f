"""Every way a message for one AGS and one service may go, made from a configuration."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hub.config.configuration import Configuration
from hub.config.municipalities import Municipality
from hub.config.municipality_file import RecipientRow
from hub.config.reader import near, suggest
from hub.i18n.sentence import Address, Name, Sentence, Words, say
from hub.job import Recipient, Rule
from hub.mapping import by_rule
from hub.message import Reason, StoredMessage

MOST_RULES = 4096
"""Pairs of AGS and service whose rules are kept ready."""


def rules_for(configuration: Configuration, ags: str, service: str) -> tuple[Rule, ...]:
    """Every way a message to this AGS for this service may go: routes times mapping versions times test."""
    known = configuration.known_rules
    rules = known.get((ags, service))
    if rules is None:
        if len(known) >= MOST_RULES:
            known.clear()
        rules = known[ags, service] = _made(configuration, ags, service)
    return rules


def _made(configuration: Configuration, ags: str, service: str) -> tuple[Rule, ...]:
    tenant = configuration.tenant_of(ags)
    mapping = configuration.mappings.get(service)
    if tenant is None or mapping is None:
        return ()
    municipality = configuration.municipalities[tenant]
    snapshots = configuration.snapshots
    package, common, own = (snapshots.get(name) for name in (service, "_common", f"town/{tenant}"))
    digest = hashlib.sha256("/".join(path.name if path else "-"
                                     for path in (package, common, own)).encode()).hexdigest()
    homes = _homes(configuration, municipality, service)
    rules = []
    for route in municipality.routes.get(service, ()):
        for version in mapping.version:
            spans = [span for span in (route.valid_from, version.valid_from) if span]
            ends = [span for span in (route.valid_until, version.valid_until) if span]
            for test, rows in ((False, route.recipients), (True, route.test_recipients)):
                if not rows:
                    continue
                name = "/".join(part for part in (tenant, service, version.name, route.name, "test" if test
                                                  else None) if part)
                recipients = tuple(_recipient(municipality, row) for row in rows)
                rules.append(Rule(
                    id=name, tenant=tenant, service=service, forms=version.forms,
                    route_versions=route.versions,
                    mapping_versions=version.versions, valid_from=max(spans, default=None),
                    valid_until=min(ends, default=None), test=test, mapping_version=version.name,
                    mapping_digest=digest, subject=version.subject, xoev=version.xoev,
                    renderings=by_rule.renderings(version, recipients),
                    package=str(package or configuration.mapping_folder(service)),
                    common=str(common) if common else None, municipality_folder=str(own) if own else None,
                    stylesheets=route.stylesheets, homes=homes, pdf=route.pdf, pdf_embeds=route.pdf_embeds,
                    schemas=str(configuration.settings.hub.schemas),
                    recipients=recipients,
                    municipality={**municipality.row.parameters, "name": municipality.row.name,
                                  "ags": municipality.row.ags,
                                  "hub": configuration.settings.hub.name},
                    order=route.order, parked_attachments=route.attachments.park,
                ))
    return tuple(rules)


def _homes(configuration: Configuration, municipality: Municipality, service: str) -> dict[str, str]:
    """Where people edit what the rule's snapshots hold, as short as it is plain beside ``hub.toml``."""
    mappings = configuration.settings.hub.mappings
    own = municipality.folder or municipality.file.with_suffix("")
    folders = {"mapping": configuration.mapping_folder(service), "common": mappings / "_common", "town": own}
    return {layer: str(_relative(folder, configuration)) for layer, folder in folders.items()}


def _recipient(municipality: Municipality, row: RecipientRow) -> Recipient:
    key = f"{municipality.row.tenant}/{row.destination}"
    return Recipient(name=row.name or row.destination, destination=key,
                     connector=municipality.destinations[key].connector,
                     send=row.send, subject=row.subject, subject_with=row.subject_with,
                     reply_to=row.reply_to, path=row.path, headers=row.headers,
                     properties=row.properties)


def why_none(configuration: Configuration, message: StoredMessage) -> tuple[Reason, Sentence]:
    """Why no rule came into question at all. AGS and service are the sender's: quoted, printable, cut."""
    tenant = configuration.tenant_of(message.ags)
    if tenant is None:
        return Reason.UNKNOWN_MUNICIPALITY, _nobody_has(message.ags, configuration)
    municipality = configuration.municipalities[tenant]
    if message.service not in configuration.mappings:
        return Reason.UNKNOWN_SERVICE, say(
            "Den Dienst {service} gibt es nicht ({known}): eine Abbildung in mappings/ anlegen, neu laden, "
            "dann 'replay'.", service=Address(message.service),
            known=Words(suggest(message.service, configuration.mappings, german=True)))
    return Reason.NO_ROUTE, say(
        "{name} hat keinen Weg für {service} ({known}): in {file} 'services' oder [[route]] ergänzen, neu "
        "laden, dann 'replay'.", name=Words(municipality.row.name), service=Address(message.service),
        known=Words(suggest(message.service, municipality.routes, german=True)),
        file=Name(municipality.file.name))


def _nobody_has(ags: str, configuration: Configuration) -> Sentence:
    """What to do about an AGS that nobody has. Only a near one can have been meant, or have replaced it."""
    folder = Name(str(_relative(configuration.settings.hub.municipalities, configuration)))
    tenants = {configuration.by_ags[each] for each in near(ags, configuration.by_ags)}
    if len(tenants) != 1:
        return say("Keine Kommune hat den AGS {ags}: {folder}/<AGS>.toml anlegen, neu laden, dann 'replay'; "
                   "ging sie in einer anderen auf: ihn dort unter 'formerly' nennen.",
                   ags=Address(ags), folder=folder)
    municipality = configuration.municipalities[tenants.pop()]
    return say("Keine Kommune hat den AGS {ags} (gemeint {meant}?): {folder}/<AGS>.toml anlegen oder ihn in "
               "{folder}/{file} unter 'formerly' nennen, neu laden, dann 'replay'.",
               ags=Address(ags), meant=Name(municipality.row.ags), folder=folder,
               file=Name(municipality.file.name))


def _relative(path: Path, configuration: Configuration) -> Path:
    base = configuration.file.parent
    return path.relative_to(base) if path.is_relative_to(base) else path

"""What may stand in a municipality's file, and what ``defaults.toml`` says for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from hub.config.retry import Duration, RetryPolicy
from hub.config.types import Ags, Ars, Key
from hub.config.window import Rate, Window
from hub.endpoint import InDoubtPolicy, Kind, SecretRef
from hub.files.model import FileModel
from hub.job import Mark, PdfChoice, SubjectWord
from hub.mapping.versions import VersionSpan


class RecipientRow(FileModel):
    """Who gets what of a route: renderings by name, ``attachments``, ``original``."""

    destination: str = Field(description="a destination of the municipality, by name")
    name: Key | None = Field(None, description="default: the destination's name")
    send: tuple[str, ...] = Field(min_length=1, description="renderings by name, `attachments`, `original`")
    subject: str | None = Field(None, description="subject, before the message's short id; default: the "
                                                  "mapping version's")
    subject_with: tuple[SubjectWord, ...] = Field(
        (), description="what the subject says, too: `name` (the applicant's family name), `case`. Subjects "
                        "travel and are logged on the way: docs/deliver.md")
    reply_to: Literal["applicant"] | None = Field(
        None, description="`applicant`: answers to the mail go to the applicant, if there is an address")
    path: str | None = Field(None, description="folder below the destination's own")
    headers: Mapping[str, str] = Field({},
                                       description="headers of the request, or of the mail (X-…, Keywords)")
    properties: Mapping[str, str] = Field({},
                                          description="for the connector: `{property:…}` in its templates")


class AttachmentRow(FileModel):
    """What happens to files that citizens attach. Each is looked at; what is seen is marked everywhere."""

    park: tuple[Mark, ...] = Field(("program",), description="marks that park the message: `program`, "
                                                             "`script`, `macro`, `archive`, `locked` (an "
                                                             "archive with a password), `other-type`")


class RouteRow(FileModel):
    """One way for one service. Several routes of a service must not overlap."""

    service: str = Field(description="the service; '*': all under `services` without a route of "
                                     "their own")
    name: Key | None = Field(None, description="tells routes of the same service apart, in rules and logs")
    versions: VersionSpan = Field("*", description="form versions it takes, like '>=1.0,<2.0'; '*': every "
                                                   "one, also none")
    valid_from: date | None = Field(None, description="first day of acceptance it holds for (Europe/Berlin)")
    valid_until: date | None = Field(None, description="first day it does not hold any more")
    recipients: tuple[RecipientRow, ...] = Field(min_length=1, description="who gets it: one delivery each")
    test_recipients: tuple[RecipientRow, ...] = Field((),
                                                      description="who gets tests; none: tests are parked")
    stylesheets: Mapping[str, str] = Field({}, description="rendering to own stylesheet in the "
                                                           "municipality's folder")
    pdf: PdfChoice | None = Field(None, description="which PDF goes where the applicant's own printout came: "
                                                    "'applicant' (it), 'stylesheet' (the one printed here), "
                                                    "'both'; default: 'stylesheet' where `stylesheets` names "
                                                    "an own one for it, else 'applicant'")
    pdf_embeds: tuple[str, ...] = Field((), description="renderings put into the PDFs that the hub prints, "
                                                        "like 'xml' (PDF/A-3); they go along when somebody "
                                                        "forwards the PDF")
    attachments: AttachmentRow = Field(AttachmentRow(), description="which files of citizens the route takes")
    order: Literal["case"] | None = Field(None, description="'case': a destination gets the messages of one "
                                                            "case (Vorgang) in "
                                          "the order they were accepted in, each after the one before has "
                                          "arrived")


class Policy(FileModel):
    """What the hub does around a destination, whatever its connector."""

    retry: RetryPolicy = Field(RetryPolicy(), description="how often and how long it is tried again")
    in_doubt: InDoubtPolicy | None = Field(None,
                                           description="default: by the connector; mail repeats marked, "
                                           "everything else of ours asks")
    fallback: str | None = Field(None, description="destination for what is too large for this one")
    test: bool = Field(False, description="for tests only; a production route may not name it")
    kind: Kind | None = Field(None,
                              description="what it is, for bills; default: by the connector. A folder that a "
                              "Fachverfahren reads is a 'fachverfahren'")
    parallel: int | None = Field(None, ge=1, le=32,
                                 description="deliveries at once; default: [deliver] per_destination")
    window: tuple[Window, ...] = Field((), min_length=1,
                                       description="when it takes deliveries, like 'Mo-Fr 06:00-20:00' "
                                                   "(Europe/Berlin); left out: always")
    rate: Rate | None = Field(None, description="not more tries than this, like '10/s' or '600/m'; after an "
                                                "outage too")
    total: Duration | None = Field(None, gt=timedelta(0),
                                   description="longest time one try may take; default: [deliver] lease")


POLICY_KEYS = Policy.model_fields.keys()
"""What stands in a destination for the hub, not for the connector."""


class RetentionRow(FileModel):
    """How long what is finished is kept; what is not said here is said further up."""

    payload_days: int | None = Field(None, ge=0, le=365,
                                     description="days after its end that an application's content is kept")
    proof_days: int | None = Field(None, ge=365, le=3650,
                                   description="days after its end that its proof is kept")


class RetentionSection(RetentionRow):
    """What a municipality says: for all its services, and for single ones."""

    services: Mapping[Key, RetentionRow] = Field({}, description="for single services, before the general")


AS_USUAL = RetentionSection()
"""Of all municipalities that say nothing."""


class RetentionDefaults(FileModel):
    """What holds where no municipality says otherwise."""

    payload_days: int = Field(30, ge=0, le=365,
                              description="days after its end that an application's content is kept")
    proof_days: int = Field(730, ge=365, le=3650, description="days after its end that its proof is kept")
    services: Mapping[Key, RetentionRow] = Field({}, description="for single services, before the general")
    case_key: SecretRef | None = Field(None, description="secret by which the case of an application is "
                                                         "hashed when its content goes; none: it stays with "
                                                         "the proof")
    at: time = Field(time(2, 30), description="when the running hub deletes each day (Europe/Berlin)")


class OnboardingDefaults(FileModel):
    """What ``drehscheibe municipality add`` writes where the operator says nothing."""

    drop: str = Field("../var/drop/{tenant}",
                      description="folder of a new municipality; {tenant} and {ags} are replaced")
    test_drop: str = Field("../var/drop/test", description="folder for tests")


class DefaultsFile(FileModel):
    """``defaults.toml``: what every municipality inherits."""

    policy: Mapping[str, Any] = Field({}, description="defaults of retry, in_doubt, parallel for every "
                                                      "destination")
    connectors: Mapping[str, Mapping[str, Any]] = Field({}, description="default options by connector")
    route: tuple[RouteRow, ...] = Field((), description="routes for `services`; service '*' serves all "
                                                        "without an own one")
    retention: RetentionDefaults = Field(RetentionDefaults(), description="how long what is finished is kept")
    onboarding: OnboardingDefaults = Field(OnboardingDefaults(), description="what `municipality add` writes")


PopulationCount = Annotated[int, Field(ge=0)]


def _counted(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    """One fault for both ways to write it."""
    try:
        return handler(value)
    except ValidationError:
        raise ValueError("is no number of people: write it like 1800, or with the day of the count "
                         "like { 2024-12-31 = 1800 }") from None


Population = Annotated[PopulationCount | Mapping[date, PopulationCount], WrapValidator(_counted)]


class Contract(FileModel):
    """Each municipality has one contract, with its service provider (Dienstleister)."""

    provider: Key | None = Field(None, description="key of a provider in billing.toml")
    number: str | None = Field(None, description="the contract's number, as bills name it")


class MunicipalityFile(FileModel):
    """``municipalities/<AGS>.toml``"""

    name: str = Field(min_length=1, description="as people call it; stylesheets get it")
    ags: Ags = Field(description="Amtlicher Gemeindeschlüssel, 8 digits (a district's 5)")
    tenant: Key = Field(description="stable key in the store; never changes, even when the AGS does")
    ars: Ars | None = Field(None, description="Amtlicher Regionalschlüssel, 12 digits")
    formerly: tuple[Ags, ...] = Field((), description="retired AGS that still route here")
    mandant: tuple[str, ...] = Field((), description="Amt24's mandant ids, the first part of form ids")
    population: Population = Field({}, description="Einwohner, by the day of the count")
    contract: Contract = Field(default_factory=Contract, description="with whom, for bills")
    parameters: Mapping[str, str] = Field({}, description="for stylesheets")
    services: tuple[str, ...] = Field((), description="services that take the default route")
    destinations: Mapping[Key, Mapping[str, Any]] = Field({}, description="by name: `connector`, its "
                                                                          "options, and the policy")
    route: tuple[RouteRow, ...] = Field((),
                                        description="own routes, instead of the default one of their service")
    retention: RetentionSection = Field(default_factory=lambda: AS_USUAL,
                                        description="how long what is finished is kept, if not as usual")

    def counted(self, day: date) -> int | None:
        """Einwohner as last counted on or before the day; a number without a day holds always. None: not
        known."""
        if isinstance(self.population, int):
            return self.population
        known = [each for each in self.population if each <= day]
        return self.population[max(known)] if known else None

"""What a worker is asked, and what it answers: plain data, the only words that cross the border of privilege.

Bodies are not in it: a `Body` names a file descriptor that travels beside the frame, and a slice of it. The parent validates
every answer against these models, because a worker has read what a citizen wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Short = Annotated[str, StringConstraints(max_length=1000)]
Line = Annotated[str, StringConstraints(max_length=4000)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Body(_Model):
    """A slice of the descriptor with index `fd` among those sent with the frame (in an answer: of the job's output)."""

    fd: int = Field(0, ge=0)
    offset: Size = 0
    length: Size


class JobPart(_Model):
    """A part as received."""

    name: str
    filename: str | None
    media_type: str
    sha256: Sha256
    body: Body


class Recipient(_Model):
    """Who gets what: `send` lists rendering names of the mapping, or ``attachments``, ``original``."""

    name: str
    destination: str
    connector: str
    send: tuple[str, ...]
    subject: str | None = None
    path: str | None = None
    headers: Mapping[str, str] = {}
    properties: Mapping[str, str] = {}


class Rule(_Model):
    """One way a message may go: a municipality's route with one version of the service's mapping."""

    id: str = Field(description="'<tenant>/<service>/<mapping version>[/<route name>]'")
    tenant: str
    service: str
    forms: tuple[str, ...] = ()
    route_versions: str = "*"
    mapping_versions: str = "*"
    valid_from: date | None = None
    valid_until: date | None = None
    test: bool = False
    mapping_version: str
    mapping_digest: str
    package: str = Field(description="snapshot of the service's folder")
    common: str | None = Field(None, description="snapshot of mappings/_common")
    town: str | None = Field(None, description="snapshot of the municipality's own folder")
    stylesheets: Mapping[str, str] = Field({}, description="rendering name to the municipality's own stylesheet, in `town`")
    schemas: str | None = Field(None, description="folder of the installed schema sets")
    recipients: tuple[Recipient, ...]
    municipality: Mapping[str, str] = Field({}, description="name, ags and parameters for stylesheets")
    order: Literal["case"] | None = None


class Limits(_Model):
    """What an untrusted document may not exceed."""

    max_bytes: int = Field(150_000_000, description="bytes of one part")
    max_depth: int = Field(64, description="elements inside each other")
    max_elements: int = Field(200_000, description="elements of one document")
    max_attributes: int = Field(100, description="attributes of one element")
    max_text: int = Field(140_000_000, description="bytes of one text node (an attachment in base64)")
    max_attachments: int = Field(200, description="attachments of one message")


class Job(_Model):
    """One message to be normalized, routed, validated and translated."""

    message_id: str
    tenant: str
    ags: str
    service: str
    test: bool
    received_at: datetime
    accepted_day: date
    case: str | None
    parts: tuple[JobPart, ...]
    rules: tuple[Rule, ...]
    why_no_rules: Line | None = None
    why_no_rules_reason: Short | None = None
    limits: Limits = Limits()


class OutAttachment(_Model):
    """A body taken out of the envelope."""

    name: Short
    filename: Short | None
    media_type: Short
    role: Literal["applicant-pdf", "upload", "payload"]
    field: Short | None = None
    size: Size
    sha256: Sha256
    body: Body


class OutPart(_Model):
    """A part of a manifest: new bytes (`body`), an attachment (`attachment`, its index) or a received part (`received`)."""

    role: Short
    name: Short
    media_type: Short
    size: Size
    sha256: Sha256
    body: Body | None = None
    attachment: int | None = Field(None, ge=0)
    received: int | None = Field(None, ge=0)


class OutDelivery(_Model):
    """One delivery, rendered."""

    recipient: Short
    destination: Short
    subject: Short
    name_parts: Mapping[Short, Short]
    path: Short | None = None
    headers: Mapping[Short, Short] = {}
    properties: Mapping[Short, Line] = {}
    parts: tuple[OutPart, ...]


class Facts(_Model):
    """What was read from the content; known for parked messages too, as far as it went. Free of personal data."""

    source: Short | None = Field(None, description="which generation of the envelope")
    form_id: Short | None = None
    form_name: Short | None = None
    form_version: Short | None = None
    mandant: Short | None = None
    test: bool = False
    canonical_digest: Sha256 | None = None


class Translated(_Model):
    """The message found its one route and is rendered for each recipient."""

    outcome: Literal["translated"] = "translated"
    message_id: Short
    facts: Facts
    rule: Short
    mapping_digest: Short
    trace: tuple[Line, ...] = ()
    attachments: tuple[OutAttachment, ...] = ()
    deliveries: tuple[OutDelivery, ...]
    order: Literal["case"] | None = None


class Parked(_Model):
    """The message cannot go on; a person can act on `text` (German, no personal data)."""

    outcome: Literal["parked"] = "parked"
    message_id: Short
    facts: Facts
    reason: Short
    text: Line
    trace: tuple[Line, ...] = ()
    mapping_digest: Short | None = None


class Batch(_Model):
    """A frame from parent to worker. Most of a job are its rules, which many jobs have in common: each set is written once."""

    rules: tuple[tuple[Rule, ...], ...]
    jobs: tuple[tuple[Annotated[int, Field(ge=0)], Job], ...] = Field(description="place of its rules; the job without them")

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> Batch:
        """The frame for these jobs."""
        keys = [tuple(map(id, job.rules)) for job in jobs]
        sets = {key: job.rules for key, job in zip(keys, jobs, strict=True)}
        places = {key: place for place, key in enumerate(sets)}
        return cls(rules=tuple(sets.values()), jobs=tuple((places[key], job.model_copy(update={"rules": ()}))
                                                          for key, job in zip(keys, jobs, strict=True)))

    def whole(self) -> list[Job]:
        """The jobs, with their rules."""
        return [job.model_copy(update={"rules": self.rules[place]}) for place, job in self.jobs]


class Answer(_Model):
    """A frame from worker to parent: the outcomes in the order of the jobs."""

    outcomes: tuple[Annotated[Translated | Parked, Field(discriminator="outcome")], ...]

"""What a worker is asked, and what it answers: plain data, the only words that cross the border of privilege.

Bodies are not in it: a `Body` names a file descriptor that travels beside the frame, and a slice of it. The
parent validates every answer against these models, because a worker has read what a citizen wrote.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, Protocol

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    TypeAdapter,
    ValidationInfo,
)

from hub.files.model import FileModel
from hub.i18n.sentence import LONGEST, Sentence
from hub.message import Reason

Short = Annotated[str, StringConstraints(max_length=1000)]
Line = Annotated[str, StringConstraints(max_length=LONGEST)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Size = Annotated[int, Field(ge=0)]


def _said(value: object, info: ValidationInfo) -> Sentence:
    """A sentence of this process, or one that came as JSON from another process of the hub."""
    if isinstance(value, Sentence):
        return value
    if info.mode == "json" and isinstance(value, str) and len(value) <= LONGEST:
        return Sentence.heard(value)
    raise ValueError("no sentence")


Mark = Literal["program", "script", "macro", "archive", "locked", "other-type"]
"""What is said of a file. ``locked``: an archive with a password. ``other-type``: its name or its declared
type say something else than its content."""

Said = Annotated[Sentence, PlainValidator(_said)]
"""Text for an operator: a free str is refused where it is made."""


FILE_NAME, STEM = "file:", "{stem}"
"""In a name of `Job.printout`: the file's name is meant, not the part's; and the document's own without its
ending."""
PRINTOUT = ("applicant-pdf", "pdfApplicantForm", "pdf", f"{STEM}.pdf")
"""How the part is called that is the applicant's own printout, where a sender has no names of its own. In a
folder a part is called like its file, so ``antrag.pdf`` is the printout of ``antrag.xml``."""
Several = Literal["park", "split"]
"""What happens to a hand-over with several applications."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Body(_Model):
    """A slice of the descriptor with index `fd` among those sent with the frame (in an answer: of the job's
    output)."""

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


PdfChoice = Literal["applicant", "stylesheet", "both"]
"""Which PDF goes where an application came with the applicant's own printout."""


SubjectWord = Literal["name", "case"]
"""What a subject may say beside the service: the applicant's family name, the number of the case."""


class Recipient(_Model):
    """Who gets what: `send` lists rendering names of the mapping, or ``attachments``, ``original``."""

    name: str
    destination: str
    connector: str
    send: tuple[str, ...]
    subject: str | None = None
    subject_with: tuple[SubjectWord, ...] = ()
    reply_to: Literal["applicant"] | None = None
    path: str | None = None
    headers: Mapping[str, str] = {}
    properties: Mapping[str, str] = {}


class RuleRendering(_Model):
    """What a rendering is for the receiver, whatever the document says."""

    role: str
    file: str
    media_type: str
    applicant_pdf: bool = False
    stylesheet: bool = True


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
    subject: str = Field("", description="of its deliveries, where a recipient has none of its own")
    xoev: bool = Field(False, description="the documents are XÖV, and may say that they are tests")
    renderings: Mapping[str, RuleRendering] = Field({}, description="those that its recipients get")
    package: str = Field(description="snapshot of the service's folder")
    common: str | None = Field(None, description="snapshot of mappings/_common")
    municipality_folder: str | None = Field(None, description="snapshot of the municipality's own folder")
    stylesheets: Mapping[str, str] = Field({}, description="rendering name to the municipality's own "
                                                           "stylesheet, in `town`")
    pdf: PdfChoice | None = Field(None, description="None: the municipality's own stylesheet before the "
                                                    "applicant's printout before the mapping's stylesheet")
    homes: Mapping[str, str] = Field({}, description="the folders that people edit, by layer: mapping, "
                                                     "common, town; what a reason names")
    pdf_embeds: tuple[str, ...] = Field((), description="renderings inside of the PDFs that the hub prints")
    schemas: str | None = Field(None, description="folder of the installed schema sets")
    recipients: tuple[Recipient, ...]
    municipality: Mapping[str, str] = Field({}, description="name, ags and parameters for stylesheets")
    order: Literal["case"] | None = None
    parked_attachments: tuple[Mark, ...] = Field((), description="marks of attachments that park a message")

    def pdf_of(self, rendering: str) -> PdfChoice:
        """Which PDF goes as this rendering where the applicant's own printout came."""
        return self.pdf or ("stylesheet" if rendering in self.stylesheets else "applicant")


class Limits(FileModel):
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
    today: date | None = Field(None, description="the day it is judged on; none: that of its acceptance")
    case: str | None
    parts: tuple[JobPart, ...]
    rules: tuple[Rule, ...] = ()
    why_no_rules: Said | None = None
    why_no_rules_reason: Reason | None = None
    limits: Limits = Limits()
    correlation: str | None = None
    printout: tuple[str, ...] = Field(PRINTOUT, description="exact names of the part that is the applicant's "
                                                            "own printout")
    several: Several = "park"

    def with_rules(self, rules: tuple[Rule, ...]) -> Job:
        """The same job, to be judged by these rules."""
        return Job.model_construct(**(self.__dict__ | {"rules": rules}))


class OutAttachment(_Model):
    """A body taken out of the envelope."""

    name: Short
    filename: Short | None
    media_type: Short
    role: Literal["applicant-pdf", "upload", "payload", "envelope"] = Field(
        description="`envelope`: the envelope itself, which only a trial of a mapping has, and nobody gets")
    field: Short | None = None
    size: Size
    sha256: Sha256
    body: Body
    marks: tuple[Mark, ...] = Field((), description="what was seen in it (`hub.parsing.file_type`)")


class OutPart(_Model):
    """A part of a manifest: new bytes (`body`), an attachment (`attachment`, its index) or a received part
    (`received`)."""

    role: Short
    name: Short
    filename: Short | None = Field(None, description="what a citizen called it, where it has another name")
    marks: tuple[Mark, ...] = Field((), description="what was seen in a citizen's file")
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
    """What was read from the content; known for parked messages too, as far as it went.

    Within the pipeline they are what the sender wrote. What leaves it has passed `told`.
    """

    source: Short | None = Field(None, description="which generation of the envelope")
    form_id: Short | None = Field(None, description="<mandant>:<name>:v<version>, or the name alone")
    form_name: Short | None = Field(None, description="a name of some rule's `forms`")
    form_version: Short | None = Field(None, description="up to four numbers")
    mandant: Short | None = Field(None, description="a number of Amt24's")
    test: bool = False
    canonical_digest: Sha256 | None = None

    def is_test(self, job: Job) -> bool:
        """Whether the message is a test. Beside the transfer itself only a XÖV document can say so."""
        return job.test or (self.test and any(rule.xoev for rule in job.rules))

    def told(self, job: Job) -> Facts:
        """Without what is only the sender's word: a form is told of when some rule names it, a version or a
        mandant when it is a number, a test when `is_test`."""
        name = self.form_name if any(self.form_name in rule.forms for rule in job.rules) else None
        version = self.form_version if _NUMBERS.fullmatch(self.form_version or "") else None
        mandant = self.mandant if _DIGITS.fullmatch(self.mandant or "") else None
        whole = name is not None and self.form_id in (name, f"{mandant}:{name}:v{version}")
        form_id = self.form_id if whole else None
        source = self.source if self.source in SOURCES else None
        test = self.is_test(job)
        if ((source, form_id, name, version, mandant, test)
                == (self.source, self.form_id, self.form_name, self.form_version, self.mandant, self.test)):
            return self
        return self.model_copy(update={"source": source, "form_version": version, "mandant": mandant,
                                       "form_name": name, "form_id": form_id, "test": test})


SOURCES = frozenset({"serviceportal", "serviceportal-lists", "serviceportal-fields", "formcontent-json",
                     "json", "xoev"})
"""The generations of the envelope."""

_NUMBERS = re.compile(r"\d{1,6}(?:\.\d{1,6}){0,3}", re.ASCII)
_DIGITS = re.compile(r"\d{1,12}", re.ASCII)


class Applicant(_Model):
    """What of the applicant may stand in a mail's header, where a recipient asks for it."""

    name: Annotated[str, StringConstraints(max_length=60)] | None = None
    mail: Annotated[str,
                    StringConstraints(max_length=254, pattern=r"^[!-?A-~]+@[A-Za-z0-9.-]+$")] | None = None


class Translated(_Model):
    """The message found its one route and is rendered for each recipient."""

    outcome: Literal["translated"] = "translated"
    message_id: Short
    facts: Facts
    rule: Short
    mapping_digest: Short
    trace: tuple[Said, ...] = ()
    notes: tuple[Said, ...] = ()
    """What the history says beside: what was replaced, what contradicts itself."""
    attachments: tuple[OutAttachment, ...] = ()
    deliveries: tuple[OutDelivery, ...]
    applicant: Applicant | None = Field(None, description="where a recipient of the rule asks for it")
    order: Literal["case"] | None = None


class OutParts(_Model):
    """What a worker says of one delivery: its bodies. All else is the rule's."""

    parts: tuple[OutPart, ...]


class Rendered(_Model):
    """A worker's answer about a message that found its route: of a `Translated`, what only the document can
    tell. The deliveries are those of the rule's recipients, in their order; `hub.workers.answers` adds what
    the rule says."""

    outcome: Literal["translated"] = "translated"
    message_id: Short
    facts: Facts
    rule: Short
    trace: tuple[Said, ...] = ()
    notes: tuple[Said, ...] = ()
    attachments: tuple[OutAttachment, ...] = ()
    deliveries: tuple[OutParts, ...]
    applicant: Applicant | None = None

    @staticmethod
    def frame(outcome: Translated) -> bytes:
        """What of an outcome crosses the border, as JSON."""
        return outcome.model_dump_json(exclude=_RULED).encode()


_RULED: dict[str, Any] = {
    "mapping_digest": True, "order": True,
    "deliveries": {"__all__": set(OutDelivery.model_fields) - set(OutParts.model_fields)}}


class Parked(_Model):
    """The message cannot go on; a person can act on `text` (German, nothing of it is a citizen's)."""

    outcome: Literal["parked"] = "parked"
    message_id: Short
    facts: Facts
    reason: Short
    text: Said
    trace: tuple[Said, ...] = ()
    notes: tuple[Said, ...] = ()
    mapping_digest: Short | None = None


class SplitGroup(_Model):
    """The parts of one application of several, by their places in the job, counted from 0. `shared` are those
    of which no document says whose they are: they go with each."""

    parts: tuple[int, ...] = Field(min_length=1)
    shared: tuple[int, ...] = ()


class Split(_Model):
    """The message holds several applications, and its sender wants them as messages of their own."""

    outcome: Literal["split"] = "split"
    message_id: Short
    facts: Facts
    groups: tuple[SplitGroup, ...] = Field(min_length=2)
    trace: tuple[Said, ...] = ()
    notes: tuple[Said, ...] = ()
    mapping_digest: None = None


class Batch(_Model):
    """A frame from parent to worker. Most of a job are its rules, which many jobs have in common: each set is
    written once."""

    sets: tuple[str, ...] = Field(description="each a set of rules, as JSON")
    places: tuple[Size, ...] = Field(description="for each job, the place of its set")
    jobs: tuple[Job, ...] = Field(description="without their rules")

    @staticmethod
    def frame(jobs: Sequence[Job]) -> bytes:
        """The frame for these jobs, as JSON."""
        keys = [tuple(map(id, job.rules)) for job in jobs]
        sets = {key: job.rules for key, job in zip(keys, jobs, strict=True)}
        places = {key: place for place, key in enumerate(sets)}
        batch = Batch.model_construct(sets=tuple(_RULES.dump_json(rules).decode() for rules in sets.values()),
                                      places=tuple(places[key] for key in keys), jobs=tuple(jobs))
        return batch.model_dump_json(exclude={"jobs": {"__all__": {"rules"}}}).encode()

    @classmethod
    def read(cls, frame: bytes) -> list[Job]:
        """The jobs of a frame, with their rules."""
        batch = cls.model_validate_json(frame)
        sets = [_rules(text) for text in batch.sets]
        return [job.with_rules(sets[place]) for place, job in zip(batch.places, batch.jobs, strict=True)]


_RULES = TypeAdapter(tuple[Rule, ...])


@lru_cache(maxsize=1024)
def _rules(text: str) -> tuple[Rule, ...]:
    """A set of rules, kept: the next batches have the same ones."""
    return _RULES.validate_json(text)


Outcome = Translated | Parked | Split
Answer = Rendered | Parked | Split
"""What a worker says of a job. `hub.workers.answers` makes an `Outcome` of what can be believed."""
ReadBody = Callable[[Body], bytes | bytearray | memoryview | mmap.mmap]
"""The bytes of a slice, nothing of them copied. Raises EOFError when it is short."""


class Output(Protocol):
    """Where the bodies go that a job makes. It grows at its end."""

    def write(self, data: bytes, /) -> int:
        """Append all of it; how many bytes that were. Raises OSError (EFBIG, ENOSPC)."""

    def tell(self) -> int:
        """Where the next byte goes."""


Process = Callable[[Job, ReadBody, Output], Outcome]
"""What a worker does to one message. It never raises for content."""

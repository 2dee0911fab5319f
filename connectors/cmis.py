"""A DMS that speaks CMIS 1.1 (browser binding): a folder per application, a document per part.

What arrives
    one folder of `folder_type` below `folder`, called `name`, with the municipality's `properties`; in it
    every part of the manifest as a document of `document_type` with `document_properties`.
A second delivery
    CMIS cannot create "unless it is there", so the hub looks first: for the folder by its path and, where
    `external_id` names a property, by a query for the delivery's id (a clerk may have renamed or moved it);
    for the documents among the folder's children, by `document_external_id` or by name. What is there is left
    alone, what is missing is made. The path is asked besides the query because the index of some servers lags
    behind.
In doubt
    The effect begins with the last byte of the first create, and no later failure of a line is certain. From
    then on a try that ends early leaves a folder with some of its documents. `probe` says Done when all are
    there with their sizes, and Absent when the folder or a document is missing: a repetition continues where
    the last try ended, and nothing comes twice.
Temporary
    no answer, 5xx, 429, 408. After the effect began: in doubt.
Misconfigured
    login or rights (401, 403), no such repository, folder, type or property, a redirect, an answer that is no
    CMIS.
Permanent
    what the DMS refuses about this delivery (400, 409 constraint): what was made before stays in its folder.

Addresses that the server names are used with scheme and host of `url` only: a password goes nowhere else.

Sources: OASIS CMIS 1.1, 5.4 (browser binding), 2.2.1.4 (exceptions).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from connectors import _cmis_wire as wire
from connectors._cmis_options import Options
from connectors._cmis_repository import Repository, read_repository
from connectors._http import Body, Line, unseen
from connectors._http_answer import Answer
from connectors._template import record_line
from hub.endpoint import Absent, Done, Finding, OutletBase, ProbeResult, Unknown, refused
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary
from hub.message import Delivery, ManifestPart, Receipt, unique_names

__all__ = ["Options", "Outlet"]
_MOST_CHILDREN = 10_000  # documents of one application; who names more never comes to an end
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')  # in names, by one DMS or another


class Outlet(OutletBase[Options]):
    """Folders and documents, by looking before creating."""

    repeat = "probe"
    kind = "dms"
    whom = "die DMS-Betreuung der Kommune (Adresse, Repository, Dokumentart, Ordner, Rechte des Benutzers)"
    keeps = True
    page: ClassVar[int] = 100
    """Objects per answer when the children of a folder are listed."""

    def __init__(self, options: Options, line: Line | None = None) -> None:
        super().__init__(options)
        self._line = line or Line(options)
        self._known: Repository | None = None

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Look, and create what is missing. Raises `Temporary`, `Misconfigured`, `Permanent`."""
        with self._fresh_after_an_error():
            return self._deliver(delivery, _Once(effect_begins))

    def _deliver(self, delivery: Delivery, effect: _Once) -> Receipt:
        folder = self.find(delivery)
        if folder.id is None:
            folder = self._create_folder(delivery, folder, effect)
        there = self._documents(folder, delivery)
        for document in self.wanted(delivery):
            if document.key not in there:
                there |= self._create_document(delivery, folder, document, effect)
            elif not there[document.key].holds(document.part.size):
                raise refused(Permanent(f"Dokument {document.number} liegt im DMS mit anderer Größe."))
        return self._receipt(delivery, folder, there)

    def probe(self, delivery: Delivery) -> ProbeResult:
        """Whether the folder and all documents are there. Raises `Temporary`, `Misconfigured`."""
        with self._fresh_after_an_error():
            return self._probe(delivery)

    def _probe(self, delivery: Delivery) -> ProbeResult:
        folder = self.find(delivery)
        if folder.id is None:
            return Absent()
        there = self._documents(folder, delivery)
        documents = self.wanted(delivery)
        if any(document.key not in there for document in documents):
            return Absent()
        if not all(there[document.key].holds(document.part.size) for document in documents):
            return Unknown("Ein Dokument liegt im DMS mit anderer Größe.")
        return Done(self._receipt(delivery, folder, there))

    def check(self) -> Sequence[Finding]:
        """Read repository, folder, rights, types and properties; creates nothing."""
        findings: list[Finding] = []
        try:
            with self._fresh_after_an_error():
                self._known = None
                findings.extend(self._repository().findings(self.options))
        except DeliveryError as error:
            findings.append(Finding(
                "error", str(error),
                f"Mit dem Betreiber des DMS {self.options.url} und die Angaben dieses Ziels "
                                     "prüfen: URL, Benutzer, Ablage, Typen, Eigenschaften."))
        return findings

    def close(self) -> None:
        """End the connection."""
        self._known = None
        self._line.close()

    @contextmanager
    def _fresh_after_an_error(self) -> Iterator[None]:
        """Types, rights and the folder may be other ones when somebody has mended them."""
        try:
            yield
        except DeliveryError:
            self._known = None
            raise
        except (KeyError, TypeError, AttributeError) as error:  # JSON of another shape than CMIS gives it
            self._known = None
            raise Temporary(
                f"Das DMS antwortet anders, als CMIS es festlegt ({type(error).__name__}).") from error

    # --- looking -----------------------------------------------------------------------------------------

    def _repository(self) -> Repository:
        if self._known is None:
            self._known = read_repository(self._line, self.options)
        return self._known

    def find(self, delivery: Delivery) -> Folder:
        """The delivery's folder, or the name that is free for it. Raises `Permanent` when there is none."""
        repository = self._repository()
        wished = folder_name(self.options, delivery)
        for count in range(1, 10):
            name = wished if count == 1 else f"{wished} ({count})"
            found = self._by_path(repository, name)
            if found is None:
                return self._by_query(repository, delivery) or Folder(None, name)
            if not self.options.external_id or found.get(self.options.external_id) == delivery.id:
                return Folder(str(found["cmis:objectId"]), name)
        raise refused(Permanent("Alle Namen dieser Zustellung sind im DMS vergeben."))

    def _by_path(self, repository: Repository, name: str) -> Mapping[str, Any] | None:
        path = f"{str(repository.parent['cmis:path']).rstrip('/')}/{name}"
        answer = self._line.ask(wire.with_query(wire.path_url(repository.root, path), cmisselector="object",
                                           succinct="true"))
        if answer.status == 404 and wire.exception_of(answer) == "objectNotFound":
            return None
        return wire.object_of(answer, "Zum Ordner")

    def _by_query(self, repository: Repository, delivery: Delivery) -> Folder | None:
        if not self.options.external_id:
            return None
        folders = repository.folder_type
        table, column = folders.described["queryName"], folders.column(self.options.external_id)
        # the names are the DMS's own, the id is a UUID
        statement = f"SELECT * FROM {table} WHERE {column} = '{delivery.id}'"  # noqa: S608  # nosec B608
        url = wire.with_query(repository.url, cmisselector="query", q=statement, succinct="true",
                              maxItems="2")
        answer = self._line.ask(url)
        results = wire.content_of(answer, "Zur Suche").get("results", [])
        if len(results) > 1:
            raise refused(Permanent("Im DMS gibt es mehrere Ordner mit der Kennung dieser Zustellung."))
        if not results:
            return None
        found = results[0]["succinctProperties"]
        return Folder(str(found["cmis:objectId"]), str(found["cmis:name"]))

    def _documents(self, folder: Folder, delivery: Delivery) -> dict[str, Document]:
        """The delivery's documents in the folder, by their key."""
        there: dict[str, Document] = {}
        ours = {document.key for document in self.wanted(delivery)}
        skip, more = 0, True
        while more:
            url = wire.with_query(self._repository().root, objectId=folder.id or "", cmisselector="children",
                             succinct="true", maxItems=str(self.page), skipCount=str(skip))
            content = wire.content_of(self._line.ask(url), "Zum Inhalt des Ordners")
            rows = [row["object"]["succinctProperties"] for row in content["objects"]]
            found = (_document(self.options, row) for row in rows)
            there |= {document.key: document for document in found if document.key in ours}
            skip, more = skip + len(rows), bool(content.get("hasMoreItems")) and bool(rows)
            if more and skip >= _MOST_CHILDREN:
                raise Misconfigured("Das DMS zählt den Inhalt des Ordners ohne Ende auf: seinen Betreiber "
                                    "fragen.")
        return there

    def wanted(self, delivery: Delivery) -> list[Wanted]:
        """All documents of a delivery; the same on every try."""
        by_id = bool(self.options.document_external_id)
        names = unique_names([part.name for part in delivery.manifest.parts])
        return [Wanted(number, name, f"{delivery.id}/{number}" if by_id else name, part)
                for number, (name, part) in enumerate(zip(names, delivery.manifest.parts, strict=True), 1)]

    def _receipt(self, delivery: Delivery, folder: Folder, there: Mapping[str, Document]) -> Receipt:
        ids = [there[document.key].id for document in self.wanted(delivery)]
        return Receipt(f"{folder.id} ({delivery.id})",
                       {"folder": str(folder.id), "documents": " ".join(ids), "count": str(len(ids))})

    # --- creating ----------------------------------------------------------------------------------------

    def _create_folder(self, delivery: Delivery, folder: Folder, effect: _Once) -> Folder:
        repository, options = self._repository(), self.options
        properties = {"cmis:objectTypeId": options.folder_type, "cmis:name": folder.name}
        texts = {key: record_line(text, delivery) for key, text in options.properties.items()}
        properties |= repository.folder_type.values(texts)
        if options.external_id:
            properties[options.external_id] = delivery.id
        fields = {"cmisaction": "createFolder", "succinct": "true", **wire.numbered(properties)}
        answer = self._create(repository.parent["cmis:objectId"], wire.form(fields), effect)
        if wire.exception_of(answer) == "nameConstraintViolation":
            return self._made_meanwhile(delivery)
        return Folder(wire.object_of(answer, "Beim Anlegen des Ordners", created=True)["cmis:objectId"],
                      folder.name)

    def _made_meanwhile(self, delivery: Delivery) -> Folder:
        """An earlier try whose connection broke was still at work when this one looked."""
        folder = self.find(delivery)
        if folder.id is None:
            raise refused(Permanent("Das DMS nimmt den Namen des Ordners nicht an."))
        return folder

    def _create_document(self, delivery: Delivery, folder: Folder, document: Wanted,
                         effect: _Once) -> dict[str, Document]:
        repository, options = self._repository(), self.options
        properties = {"cmis:objectTypeId": options.document_type, "cmis:name": document.name}
        texts = {key: record_line(text, delivery, document.number)
                 for key, text in options.document_properties.items()}
        properties |= repository.document_type.values(texts)
        if options.document_external_id:
            properties[options.document_external_id] = document.key
        fields = {"cmisaction": "createDocument", "succinct": "true", **wire.numbered(properties)}
        if repository.document_type.described.get("versionable"):
            fields["versioningState"] = "major"
        answer = self._create(folder.id or "", wire.multipart(fields, delivery, document.part, document.name),
                              effect)
        if wire.exception_of(answer) == "nameConstraintViolation":
            there = self._documents(folder, delivery)
            if document.key not in there:
                raise refused(Permanent(f"Den Namen von Dokument {document.number} trägt im Ordner schon ein "
                                        "anderes."))
            return there
        made = wire.object_of(answer, f"Beim Anlegen von Dokument {document.number}", created=True)
        return {document.key: Document(document.key, str(made["cmis:objectId"]), None)}

    def _create(self, parent: str, body: Body, effect: _Once) -> Answer:
        url = wire.with_query(self._repository().root, objectId=str(parent))
        return self._line.send("POST", url, {}, body, unseen if effect.begun else effect)


class _Once:
    """`effect_begins`, for the first create of a try."""

    def __init__(self, effect_begins: Callable[[], None]) -> None:
        self._effect_begins = effect_begins
        self.begun = False

    def __call__(self) -> None:
        self._effect_begins()
        self.begun = True


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder in the DMS; `id` is None before it is made."""

    id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class Document:
    """A document in the DMS; `size` is None where the server does not tell."""

    key: str
    id: str
    size: int | None

    def holds(self, size: int) -> bool:
        """Whether it has this size, as far as the server tells."""
        return self.size is None or self.size == size


@dataclass(frozen=True, slots=True)
class Wanted:
    """A document as it should be. `key` tells it from its neighbours: its external id, or its name."""

    number: int
    name: str
    key: str
    part: ManifestPart


def folder_name(options: Options, delivery: Delivery) -> str:
    """The folder's name, without what one DMS or another forbids."""
    return _FORBIDDEN.sub("_", record_line(options.name, delivery)).strip(". ")[:200] or delivery.id


def _document(options: Options, row: Mapping[str, Any]) -> Document:
    size = row.get("cmis:contentStreamLength")
    key = row.get(options.document_external_id or "cmis:name")
    known = size if isinstance(size, int) and size >= 0 else None
    return Document(str(key), str(row["cmis:objectId"]), known)

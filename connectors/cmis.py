"""A DMS that speaks CMIS 1.1 (browser binding): a folder per application, a document per part.

What arrives
    one folder of `folder_type` below `folder`, called `name`, with the municipality's `properties`; in it every part of the
    manifest as a document of `document_type` with `document_properties`.
A second delivery
    CMIS cannot create "unless it is there", so the hub looks first: for the folder by its path and, where `external_id` names
    a property, by a query for the delivery's id (a clerk may have renamed or moved it); for the documents among the
    folder's children, by `document_external_id` or by name. What is there is left alone, what is missing is made. The path is
    asked besides the query because the index of some servers lags behind.
In doubt
    The effect begins with the last byte of the first create. From then on a try that ends early leaves a folder with some of
    its documents. `probe` says Done when all are there with their sizes, and Absent when the folder or a document is
    missing: a repetition continues where the last try ended, and nothing comes twice.
Temporary
    no answer, 5xx, 429, 408. After the effect began: in doubt.
Misconfigured
    login or rights (401, 403), no such repository, folder, type or property, a redirect, an answer that is no CMIS.
Permanent
    what the DMS refuses about this delivery (400, 409 constraint): what was made before stays in its folder.

Addresses that the server names are used with scheme and host of `url` only: a password goes nowhere else.

Sources: OASIS CMIS 1.1, 5.4 (browser binding), 2.2.1.4 (exceptions).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

import httpx2
from pydantic import Field, model_validator

from connectors import _layout
from connectors._http import Body, Line
from connectors._http_answer import Answer, certificate_finding
from connectors._http_errors import shown
from connectors._http_options import HttpOptions
from connectors._template import DocumentTemplate, Template, keys, record_line
from hub.endpoint import Absent, Done, Finding, OutletBase, ProbeResult, Unknown, refused
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary, TooLarge
from hub.message import BERLIN, Delivery, ManifestPart, Receipt, unique_names

_PAGE = 100  # objects per answer
_FORBIDDEN = re.compile(r'[/\\:*?"<>|]')  # in names, by one DMS or another
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}", re.ASCII)


class Options(HttpOptions):
    """``connector = "cmis"``"""

    url: str = Field(description="the service document of the browser binding, or one repository's URL")
    repository_id: str = Field("", description="which repository; empty: the first")
    folder: str = Field("/", description="path of the folder for new applications")
    folder_id: str = Field("", description="or its object id")
    folder_type: str = Field("cmis:folder", description="object type of the new folders")
    document_type: str = Field("cmis:document", description="object type of the documents")
    name: Template = Field("{day} {service} {id}", description="template: name of the new folder")
    properties: Mapping[str, Template] = Field({}, description="properties of the folder: property id = template")
    document_properties: Mapping[str, DocumentTemplate] = Field(
        {}, description="properties of each document: property id = template, also {name}, {role}, {kind}, {number}")
    external_id: str = Field("", description="property of the folder type that holds the delivery's id; searched first")
    document_external_id: str = Field("", description="property of the document type for '<delivery id>/<number>'")

    @model_validator(mode="after")
    def _usable(self) -> Options:
        self.require_url(self.url)
        if self.folder_id and self.folder != "/":
            raise ValueError("folder and folder_id exclude each other")
        if not self.folder.startswith("/"):
            raise ValueError(f"folder {self.folder!r}: a path from the root on, such as /Eingang/Hundesteuer")
        enough = {"id", "message", "short"} if self.external_id else {"id"}
        if not enough & set(keys(self.name)):
            raise ValueError(f"name {self.name!r} needs {{id}}, or with external_id {{short}}: two applications could want the "
                             "same name")
        return self


class Outlet(OutletBase[Options]):
    """Folders and documents, by looking before creating."""

    repeat = "probe"
    kind = "dms"
    whom = "die DMS-Betreuung der Kommune (Adresse, Repository, Dokumentart, Ordner, Rechte des Benutzers)"
    keeps = True

    def __init__(self, options: Options, line: Line | None = None) -> None:
        super().__init__(options)
        self._line = line or Line(options)
        self._known: _Repository | None = None

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Look, and create what is missing. Raises `Temporary`, `Misconfigured`, `Permanent`."""
        with self._fresh_after_an_error():
            return self._deliver(delivery, _Once(effect_begins))

    def _deliver(self, delivery: Delivery, effect: _Once) -> Receipt:
        folder = self._find(delivery)
        if folder.id is None:
            folder = self._create_folder(delivery, folder, effect)
        there = self._documents(folder, delivery)
        for document in wanted(self.options, delivery):
            if document.key not in there:
                there |= self._create_document(delivery, folder, document, effect)
            elif not there[document.key].holds(document.part.size):
                raise refused(Permanent(f"Dokument {document.number} liegt im DMS mit anderer Größe."))
        return _receipt(self.options, delivery, folder, there)

    def probe(self, delivery: Delivery) -> ProbeResult:
        """Whether the folder and all documents are there. Raises `Temporary`, `Misconfigured`."""
        with self._fresh_after_an_error():
            return self._probe(delivery)

    def _probe(self, delivery: Delivery) -> ProbeResult:
        folder = self._find(delivery)
        if folder.id is None:
            return Absent()
        there = self._documents(folder, delivery)
        documents = wanted(self.options, delivery)
        if any(document.key not in there for document in documents):
            return Absent()
        if not all(there[document.key].holds(document.part.size) for document in documents):
            return Unknown("Ein Dokument liegt im DMS mit anderer Größe.")
        return Done(_receipt(self.options, delivery, folder, there))

    def check(self) -> Sequence[Finding]:
        """Read repository, folder, rights, types and properties; creates nothing."""
        findings: list[Finding] = []
        try:
            with self._fresh_after_an_error():
                findings.extend(self._check_all())
        except DeliveryError as error:
            findings.append(Finding("error", str(error), f"Mit dem Betreiber des DMS {self.options.url} und die Angaben dieses "
                                                         "Ziels prüfen: URL, Benutzer, Ablage, Typen, Eigenschaften."))
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
        except (KeyError, TypeError, AttributeError) as error:  # JSON, but not of the shape that CMIS gives it
            self._known = None
            raise Temporary(f"Das DMS antwortet anders, als CMIS es festlegt ({type(error).__name__}).") from error

    # --- looking ----------------------------------------------------------------------------------------------------------

    def _repository(self) -> _Repository:
        if self._known is None:
            self._known = self._read_repository()
        return self._known

    def _read_repository(self) -> _Repository:
        answer = self._line.ask(self.options.url)
        if answer.status in (400, 405):  # a repository's own URL wants to be asked for something
            answer = self._line.ask(_with(self.options.url, cmisselector="repositoryInfo"))
        found = _content(answer, "Unter der URL")
        chosen = found.get(self.options.repository_id) if self.options.repository_id else next(iter(found.values()), None)
        if not isinstance(chosen, Mapping) or not {"repositoryUrl", "rootFolderUrl"} <= set(chosen):
            name = self.options.repository_id or "(das erste)"
            raise Misconfigured(f"Das Repository {name} gibt es unter der URL nicht (HTTP {answer.status}).")
        here = httpx2.URL(self.options.url)
        url, root = (_here(here, str(chosen[key])) for key in ("repositoryUrl", "rootFolderUrl"))
        folder_type, document_type = (self._type(url, name) for name in (self.options.folder_type, self.options.document_type))
        _require(folder_type, [*self.options.properties, self.options.external_id])
        _require(document_type, [*self.options.document_properties, self.options.document_external_id])
        parent = self._parent(root)
        return _Repository(url, root, parent, folder_type, document_type, chosen, answer)

    def _type(self, url: str, name: str) -> Mapping[str, Any]:
        answer = self._line.ask(_with(url, cmisselector="typeDefinition", typeId=name))
        if answer.status in (400, 404):
            raise Misconfigured(f"Den Objekttyp {name} gibt es im DMS nicht.")
        return _content(answer, f"Zum Objekttyp {name}")

    def _parent(self, root: str) -> Mapping[str, Any]:
        options = self.options
        where = _with(root, objectId=options.folder_id) if options.folder_id else _path(root, options.folder)
        answer = self._line.ask(_with(where, cmisselector="object", succinct="true", includeAllowableActions="true"))
        if answer.status in (400, 404):
            raise Misconfigured(f"Die Ablage {options.folder_id or options.folder} gibt es im DMS nicht.")
        actions = _content(answer, "Zur Ablage").get("allowableActions", {})
        return {**_object(answer, "Zur Ablage"), "actions": actions}

    def _find(self, delivery: Delivery) -> _Folder:
        """The delivery's folder, or the name that is free for it. Raises `Permanent` when there is none."""
        repository = self._repository()
        wished = folder_name(self.options, delivery)
        for count in range(1, 10):
            name = wished if count == 1 else f"{wished} ({count})"
            found = self._by_path(repository, name)
            if found is None:
                return self._by_query(repository, delivery) or _Folder(None, name)
            if not self.options.external_id or found.get(self.options.external_id) == delivery.id:
                return _Folder(str(found["cmis:objectId"]), name)
        raise refused(Permanent("Alle Namen dieser Zustellung sind im DMS vergeben."))

    def _by_path(self, repository: _Repository, name: str) -> Mapping[str, Any] | None:
        path = f"{str(repository.parent['cmis:path']).rstrip('/')}/{name}"
        answer = self._line.ask(_with(_path(repository.root, path), cmisselector="object", succinct="true"))
        if answer.status == 404 and _exception(answer) == "objectNotFound":
            return None
        return _object(answer, "Zum Ordner")

    def _by_query(self, repository: _Repository, delivery: Delivery) -> _Folder | None:
        if not self.options.external_id:
            return None
        kind, column = repository.folder_type["queryName"], _column(repository.folder_type, self.options.external_id)
        statement = f"SELECT * FROM {kind} WHERE {column} = '{delivery.id}'"  # noqa: S608  # nosec B608 - the DMS's names, a UUID
        answer = self._line.ask(_with(repository.url, cmisselector="query", q=statement, succinct="true", maxItems="2"))
        results = _content(answer, "Zur Suche").get("results", [])
        if len(results) > 1:
            raise refused(Permanent("Im DMS gibt es mehrere Ordner mit der Kennung dieser Zustellung."))
        if not results:
            return None
        found = results[0]["succinctProperties"]
        return _Folder(str(found["cmis:objectId"]), str(found["cmis:name"]))

    def _documents(self, folder: _Folder, delivery: Delivery) -> dict[str, _Document]:
        """The delivery's documents in the folder, by their key."""
        there: dict[str, _Document] = {}
        ours = {document.key for document in wanted(self.options, delivery)}
        skip, more = 0, True
        while more:
            url = _with(self._repository().root, objectId=folder.id or "", cmisselector="children", succinct="true",
                        maxItems=str(_PAGE), skipCount=str(skip))
            content = _content(self._line.ask(url), "Zum Inhalt des Ordners")
            rows = [row["object"]["succinctProperties"] for row in content["objects"]]
            found = (_document(self.options, row) for row in rows)
            there |= {document.key: document for document in found if document.key in ours}
            skip, more = skip + len(rows), bool(content.get("hasMoreItems")) and bool(rows)
        return there

    # --- creating ---------------------------------------------------------------------------------------------------------

    def _create_folder(self, delivery: Delivery, folder: _Folder, effect: _Once) -> _Folder:
        repository, options = self._repository(), self.options
        properties = {"cmis:objectTypeId": options.folder_type, "cmis:name": folder.name}
        texts = {key: record_line(text, delivery) for key, text in options.properties.items()}
        properties |= _values(repository.folder_type, texts)
        if options.external_id:
            properties[options.external_id] = delivery.id
        fields = {"cmisaction": "createFolder", "succinct": "true", **_numbered(properties)}
        body = Body.of(urlencode(fields).encode(), "application/x-www-form-urlencoded; charset=UTF-8")
        answer = self._create(repository.parent["cmis:objectId"], body, effect)
        if _exception(answer) == "nameConstraintViolation":
            return self._made_meanwhile(delivery)
        return _Folder(_object(answer, "Beim Anlegen des Ordners", created=True)["cmis:objectId"], folder.name)

    def _made_meanwhile(self, delivery: Delivery) -> _Folder:
        """An earlier try whose connection broke was still at work when this one looked."""
        folder = self._find(delivery)
        if folder.id is None:
            raise refused(Permanent("Das DMS nimmt den Namen des Ordners nicht an."))
        return folder

    def _create_document(self, delivery: Delivery, folder: _Folder, document: _Wanted, effect: _Once) -> dict[str, _Document]:
        repository, options = self._repository(), self.options
        properties = {"cmis:objectTypeId": options.document_type, "cmis:name": document.name}
        texts = {key: record_line(text, delivery, document.number) for key, text in options.document_properties.items()}
        properties |= _values(repository.document_type, texts)
        if options.document_external_id:
            properties[options.document_external_id] = document.key
        fields = {"cmisaction": "createDocument", "succinct": "true", **_numbered(properties)}
        if repository.document_type.get("versionable"):
            fields["versioningState"] = "major"
        answer = self._create(folder.id or "", multipart(fields, delivery, document), effect)
        if _exception(answer) == "nameConstraintViolation":
            there = self._documents(folder, delivery)
            if document.key not in there:
                raise refused(Permanent(f"Den Namen von Dokument {document.number} trägt im Ordner schon ein anderes."))
            return there
        made = _object(answer, f"Beim Anlegen von Dokument {document.number}", created=True)
        return {document.key: _Document(document.key, str(made["cmis:objectId"]), None)}

    def _create(self, parent: str, body: Body, effect: _Once) -> Answer:
        return self._line.send("POST", _with(self._repository().root, objectId=str(parent)), {}, body, effect)

    # --- checking ---------------------------------------------------------------------------------------------------------

    def _check_all(self) -> Iterator[Finding]:
        self._known = None
        repository, options = self._repository(), self.options
        info = repository.info
        yield Finding("ok", f"Das DMS antwortet: {info.get('productName', '?')} {info.get('productVersion', '')}, Repository "
                            f"{info.get('repositoryId', '?')}.")
        yield from certificate_finding(repository.answer.expires)
        for name, found, needed in ((options.folder_type, repository.folder_type, "cmis:folder"),
                                    (options.document_type, repository.document_type, "cmis:document")):
            yield _type_finding(name, found, needed)
        yield from _required(options, repository)
        if options.external_id and info.get("capabilities", {}).get("capabilityQuery") in (None, "none"):
            yield Finding("error", "Das DMS kann nicht suchen, external_id verlangt es aber.", "external_id weglassen.")
        if repository.parent["actions"].get("canCreateFolder") is False:
            yield Finding("error", f"Der Benutzer darf in der Ablage {repository.parent['cmis:path']} keine Ordner anlegen.",
                          "Den Betreiber des DMS um das Recht bitten.")
        else:
            yield Finding("ok", f"Die Ablage {repository.parent['cmis:path']} ist da.")


class _Once:
    """`effect_begins`, before the first create of a try and not again."""

    def __init__(self, effect_begins: Callable[[], None]) -> None:
        self._effect_begins: Callable[[], None] | None = effect_begins

    def __call__(self) -> None:
        if self._effect_begins is not None:
            self._effect_begins()
            self._effect_begins = None


@dataclass(frozen=True, slots=True)
class _Repository:
    """What does not change while the outlet is open. `url` and `root` are addresses; `parent` the folder for new ones."""

    url: str
    root: str
    parent: Mapping[str, Any]
    folder_type: Mapping[str, Any]
    document_type: Mapping[str, Any]
    info: Mapping[str, Any]
    answer: Answer


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder in the DMS; `id` is None before it is made."""

    id: str | None
    name: str


@dataclass(frozen=True, slots=True)
class _Document:
    """A document in the DMS; `size` is None where the server does not tell."""

    key: str
    id: str
    size: int | None

    def holds(self, size: int) -> bool:
        """Whether it has this size, as far as the server tells."""
        return self.size is None or self.size == size


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A document as it should be. `key` tells it from its neighbours: its external id, or its name."""

    number: int
    name: str
    key: str
    part: ManifestPart


def wanted(options: Options, delivery: Delivery) -> list[_Wanted]:
    """All documents of a delivery; the same on every try."""
    names = unique_names([part.name for part in delivery.manifest.parts])
    return [_Wanted(number, name, f"{delivery.id}/{number}" if options.document_external_id else name, part)
            for number, (name, part) in enumerate(zip(names, delivery.manifest.parts, strict=True), 1)]


def folder_name(options: Options, delivery: Delivery) -> str:
    """The folder's name, without what one DMS or another forbids."""
    return _FORBIDDEN.sub("_", record_line(options.name, delivery)).strip(". ")[:200] or delivery.id


def _document(options: Options, row: Mapping[str, Any]) -> _Document:
    size = row.get("cmis:contentStreamLength")
    key = row.get(options.document_external_id or "cmis:name")
    return _Document(str(key), str(row["cmis:objectId"]), size if isinstance(size, int) and size >= 0 else None)


def _receipt(options: Options, delivery: Delivery, folder: _Folder, there: Mapping[str, _Document]) -> Receipt:
    ids = [there[document.key].id for document in wanted(options, delivery)]
    return Receipt(f"{folder.id} ({delivery.id})", {"folder": str(folder.id), "documents": " ".join(ids), "count": str(len(ids))})


# --- properties -----------------------------------------------------------------------------------------------------------


def _require(kind: Mapping[str, Any], names: Sequence[str]) -> None:
    missing = sorted({name for name in names if name} - set(kind.get("propertyDefinitions", {})))
    if missing:
        raise Misconfigured(f"Der Objekttyp {kind.get('id')} hat im DMS die Eigenschaft {', '.join(missing)} nicht.")


def _column(kind: Mapping[str, Any], name: str) -> str:
    return str(kind["propertyDefinitions"][name].get("queryName") or name)


def _values(kind: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, str]:
    """Properties as the binding writes them; an empty text leaves a property unset."""
    types = {name: definition.get("propertyType") for name, definition in kind["propertyDefinitions"].items()}
    return {name: _moment(name, text) if types[name] == "datetime" else text for name, text in texts.items() if text}


def _moment(name: str, text: str) -> str:
    """Milliseconds since 1970 (CMIS 1.1, 5.2.1.1)."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise refused(Misconfigured(f"Die Eigenschaft {name} ist ein Datum, ihre Vorlage ergibt aber keines.")) from error
    return str(int((moment if moment.tzinfo else moment.replace(tzinfo=BERLIN)).timestamp() * 1000))


def _type_finding(name: str, found: Mapping[str, Any], needed: str) -> Finding:
    if found.get("baseId") != needed:
        return Finding("error", f"Der Objekttyp {name} ist keiner für {needed}.", "folder_type und document_type prüfen.")
    if found.get("creatable") is False:
        return Finding("error", f"Vom Objekttyp {name} lässt sich nichts anlegen.", "Einen abgeleiteten Typ nennen.")
    return Finding("ok", f"Den Objekttyp {name} gibt es mit allen genannten Eigenschaften.")


def _required(options: Options, repository: _Repository) -> Iterator[Finding]:
    """Properties that the DMS demands and nobody sets, and those that cannot be set."""
    for kind, names in ((repository.folder_type, {*options.properties, options.external_id}),
                        (repository.document_type, {*options.document_properties, options.document_external_id})):
        for name, definition in sorted(kind["propertyDefinitions"].items()):
            if definition.get("required") and not name.startswith("cmis:") and name not in names:
                yield Finding("error", f"Der Objekttyp {kind['id']} verlangt die Eigenschaft {name}.",
                              "Sie unter properties oder document_properties mit einer Vorlage nennen.")
            if name in names and definition.get("updatability") not in ("readwrite", "oncreate"):
                yield Finding("error", f"Die Eigenschaft {name} lässt sich nicht setzen.", "Eine andere nennen.")


def _numbered(properties: Mapping[str, str]) -> dict[str, str]:
    fields = {}
    for number, (name, value) in enumerate(properties.items()):
        fields[f"propertyId[{number}]"] = name
        fields[f"propertyValue[{number}]"] = value
    return fields


# --- the wire -------------------------------------------------------------------------------------------------------------


def _here(here: httpx2.URL, named: str) -> str:
    """An address that the server named, on the host that we were told."""
    try:
        return str(here.copy_with(raw_path=httpx2.URL(named).raw_path))
    except httpx2.InvalidURL as error:
        raise Misconfigured("Das DMS nennt für sein Repository eine unbrauchbare Adresse.") from error


def _with(url: str, **parameters: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def _path(root: str, path: str) -> str:
    return root.rstrip("/") + quote(path.rstrip("/"))


def multipart(fields: Mapping[str, str], delivery: Delivery, document: _Wanted) -> Body:
    """The form of createDocument (CMIS 1.1, 5.4.4.3.1); the content streams from the store, last."""
    boundary = secrets.token_hex(24)  # new each time: no upload can contain it
    head = b"".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n'
        f"{value}\r\n".encode() for name, value in fields.items())
    kind = document.part.media_type if _MEDIA_TYPE.fullmatch(document.part.media_type) else "application/octet-stream"
    head += (f'--{boundary}\r\nContent-Disposition: form-data; name="content"; filename="{document.name}"\r\n'
             f"Content-Type: {kind}\r\nContent-Transfer-Encoding: binary\r\n\r\n").encode()
    tail = f"\r\n--{boundary}--\r\n".encode()

    def pieces() -> Iterator[bytes]:
        yield head
        with closing(delivery.open(document.part)) as source:
            yield from _layout.chunks(source)
        yield tail

    return Body(f"multipart/form-data; boundary={boundary}", len(head) + document.part.size + len(tail), pieces)


def _exception(answer: Answer) -> str:
    """The name of a CMIS exception, empty when it is none."""
    if answer.status < 400:
        return ""
    try:
        said = json.loads(answer.content or b"")
    except ValueError:
        return ""
    return shown(str(said.get("exception", ""))) if isinstance(said, Mapping) else ""


def _object(answer: Answer, what: str, *, created: bool = False) -> Mapping[str, Any]:
    """The properties of an object that the answer is about. Raises like `_content`."""
    found = _content(answer, what, created=created).get("succinctProperties")
    if isinstance(found, Mapping) and "cmis:objectId" in found:
        return found
    raise _no_cmis(answer, what, created)


def _content(answer: Answer, what: str, *, created: bool = False) -> Mapping[str, Any]:
    """The JSON of a good answer. Raises `Temporary`, `Misconfigured`, `Permanent` for any other."""
    if not 200 <= answer.status < 300:
        raise _meaning(answer, what)
    try:
        content = json.loads(answer.content or b"")
    except ValueError:
        content = None
    if isinstance(content, Mapping):
        return content
    raise _no_cmis(answer, what, created)


def _no_cmis(answer: Answer, what: str, created: bool) -> DeliveryError:
    text = f"{what} antwortet kein CMIS (HTTP {answer.status}{', ' + answer.why if answer.why else ''})."
    return Temporary(text) if created else Misconfigured(text)


def _meaning(answer: Answer, what: str) -> DeliveryError:
    status, exception = answer.status, _exception(answer)
    said = f"{what} sagt das DMS: HTTP {status}{', ' + exception if exception else ''}."
    if status in (408, 425, 429) or exception == "updateConflict":
        return refused(Temporary(said, answer.retry_after))
    if status >= 500:
        return Temporary(said, answer.retry_after)
    if status in (401, 403):
        return refused(Misconfigured(f"{said} Benutzer, Kennwort oder Rechte stimmen nicht."))
    if status == 413:
        return refused(TooLarge(said))
    if status in (400, 409):
        return refused(Permanent(said))
    return refused(Misconfigured(said))

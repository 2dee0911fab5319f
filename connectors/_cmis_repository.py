"""A repository of a DMS as the hub needs it: addresses, the folder for applications, types and properties."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx2

from connectors._cmis_options import Options
from connectors._cmis_wire import content_of, object_of, on_our_host, path_url, with_query
from connectors._http import Line
from connectors._http_answer import Answer, certificate_finding
from hub.endpoint import Finding, refused
from hub.errors import Misconfigured
from hub.message import BERLIN


@dataclass(frozen=True, slots=True)
class ObjectType:
    """A type of folders or documents, as the DMS describes it."""

    described: Mapping[str, Any]

    def require(self, names: Sequence[str]) -> None:
        """Raises `Misconfigured` for properties that the type does not have; empty names do not count."""
        there = self.described.get("propertyDefinitions", {})
        missing = sorted({name for name in names if name and name not in there})
        if missing:
            raise Misconfigured(f"Der Objekttyp {self.described.get('id')} hat im DMS die Eigenschaft "
                                f"{', '.join(missing)} nicht.")

    def column(self, name: str) -> str:
        """What a property is called in a query."""
        return str(self.described["propertyDefinitions"][name].get("queryName") or name)

    def values(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Properties as the binding writes them; an empty text leaves one unset. Raises `Misconfigured`."""
        definitions = self.described["propertyDefinitions"]
        return {name: _moment(name, text) if definitions[name].get("propertyType") == "datetime" else text
                for name, text in texts.items() if text}

    def finding(self, name: str, needed: str) -> Finding:
        """Whether it can be used for `needed`, ``cmis:folder`` or ``cmis:document``."""
        if self.described.get("baseId") != needed:
            return Finding("error", f"Der Objekttyp {name} ist keiner für {needed}.",
                           "folder_type und document_type prüfen.")
        if self.described.get("creatable") is False:
            return Finding("error", f"Vom Objekttyp {name} lässt sich nichts anlegen.",
                           "Einen abgeleiteten Typ nennen.")
        return Finding("ok", f"Den Objekttyp {name} gibt es mit allen genannten Eigenschaften.")

    def missing(self, names: set[str]) -> Iterator[Finding]:
        """Properties that the DMS demands and nobody sets, and those of `names` that cannot be set."""
        for name, definition in sorted(self.described["propertyDefinitions"].items()):
            if definition.get("required") and not name.startswith("cmis:") and name not in names:
                yield Finding("error",
                              f"Der Objekttyp {self.described['id']} verlangt die Eigenschaft {name}.",
                              "Sie unter properties oder document_properties mit einer Vorlage nennen.")
            if name in names and definition.get("updatability") not in ("readwrite", "oncreate"):
                yield Finding("error", f"Die Eigenschaft {name} lässt sich nicht setzen.",
                              "Eine andere nennen.")


def _moment(name: str, text: str) -> str:
    """Milliseconds since 1970 (CMIS 1.1, 5.2.1.1)."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise refused(Misconfigured(
            f"Die Eigenschaft {name} ist ein Datum, ihre Vorlage ergibt aber keines.")) from error
    return str(int((moment if moment.tzinfo else moment.replace(tzinfo=BERLIN)).timestamp() * 1000))


@dataclass(frozen=True, slots=True)
class Repository:
    """What does not change while the outlet is open.

    `url` and `root` are addresses, `parent` is the folder for new ones, `answer` the one that named the
    repository.
    """

    url: str
    root: str
    parent: Mapping[str, Any]
    folder_type: ObjectType
    document_type: ObjectType
    info: Mapping[str, Any]
    answer: Answer

    def findings(self, options: Options) -> Iterator[Finding]:
        """What a connection check says about it."""
        product = f"{self.info.get('productName', '?')} {self.info.get('productVersion', '')}"
        yield Finding("ok", f"Das DMS antwortet: {product}, Repository {self.info.get('repositoryId', '?')}.")
        yield from certificate_finding(self.answer.expires)
        yield self.folder_type.finding(options.folder_type, "cmis:folder")
        yield self.document_type.finding(options.document_type, "cmis:document")
        yield from self.folder_type.missing({*options.properties, options.external_id})
        yield from self.document_type.missing({*options.document_properties, options.document_external_id})
        if options.external_id and self.info.get("capabilities", {}).get("capabilityQuery") in (None, "none"):
            yield Finding("error", "Das DMS kann nicht suchen, external_id verlangt es aber.",
                          "external_id weglassen.")
        if self.parent["actions"].get("canCreateFolder") is False:
            yield Finding("error",
                          f"Der Benutzer darf in der Ablage {self.parent['cmis:path']} keine Ordner anlegen.",
                          "Den Betreiber des DMS um das Recht bitten.")
        else:
            yield Finding("ok", f"Die Ablage {self.parent['cmis:path']} ist da.")


def read_repository(line: Line, options: Options) -> Repository:
    """Ask for the repository, its types and the folder. Raises `Temporary`, `Misconfigured`."""
    answer = line.ask(options.url)
    if answer.status in (400, 405):  # a repository's own URL wants to be asked for something
        answer = line.ask(with_query(options.url, cmisselector="repositoryInfo"))
    found = content_of(answer, "Unter der URL")
    chosen = found.get(options.repository_id) if options.repository_id else next(iter(found.values()), None)
    if not isinstance(chosen, Mapping) or not {"repositoryUrl", "rootFolderUrl"} <= set(chosen):
        name = options.repository_id or "(das erste)"
        raise Misconfigured(f"Das Repository {name} gibt es unter der URL nicht (HTTP {answer.status}).")
    here = httpx2.URL(options.url)
    url, root = (on_our_host(here, str(chosen[key])) for key in ("repositoryUrl", "rootFolderUrl"))
    folder_type = _read_type(line, url, options.folder_type)
    document_type = _read_type(line, url, options.document_type)
    folder_type.require([*options.properties, options.external_id])
    document_type.require([*options.document_properties, options.document_external_id])
    return Repository(url, root, _read_parent(line, options, root), folder_type, document_type, chosen,
                      answer)


def _read_type(line: Line, url: str, name: str) -> ObjectType:
    answer = line.ask(with_query(url, cmisselector="typeDefinition", typeId=name))
    if answer.status in (400, 404):
        raise Misconfigured(f"Den Objekttyp {name} gibt es im DMS nicht.")
    return ObjectType(content_of(answer, f"Zum Objekttyp {name}"))


def _read_parent(line: Line, options: Options, root: str) -> Mapping[str, Any]:
    by_id = with_query(root, objectId=options.folder_id)
    where = by_id if options.folder_id else path_url(root, options.folder)
    answer = line.ask(with_query(where, cmisselector="object", succinct="true",
                                 includeAllowableActions="true"))
    if answer.status in (400, 404):
        raise Misconfigured(f"Die Ablage {options.folder_id or options.folder} gibt es im DMS nicht.")
    actions = content_of(answer, "Zur Ablage").get("allowableActions", {})
    return {**object_of(answer, "Zur Ablage"), "actions": actions}

"""A new municipality from its AGS: master data from the official list, everything else inherited.

The operator installs the lists once (``drehscheibe municipality install-list``): AGS for municipalities,
Kreis for counties, as genericode XML of the XRepository, packed with xz or not. They are never shipped. `add`
then writes ``municipalities/<AGS>.toml``, checks the whole configuration with it, and takes it away again
when it would break it.

The folders for a local drop are made where their parent is there, and given to the hub's user; a share that
is not mounted is never papered over.
"""

from __future__ import annotations

import json
import lzma
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lxml import etree

from hub import endpoint
from hub.administration import ownership
from hub.config import loader
from hub.config.configuration import Configuration
from hub.config.municipalities import Municipality
from hub.config.municipality_file import RouteRow
from hub.config.reader import suggest
from hub.endpoint import Finding
from hub.errors import HubError, Rejected
from hub.files.toml import read_toml
from hub.job import Limits
from hub.parsing import xml

LARGEST = 64 * 1024 * 1024
LISTS = {"AGS": r"\d{8}", "Kreis": r"\d{5}"}
_GENERICODE = "http://docs.oasis-open.org/codelist/ns/genericode/1.0/"
_MATCHED = 'name = "{day}_{service}_{short}_{id}"\nindex = true\n'
"""A folder and the mail of one application can be matched: the mail's subject has the short number, too."""
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss"})


@dataclass(frozen=True, slots=True)
class OfficialList:
    """An installed list: its name, its version, and the names by key."""

    name: str
    version: str
    names: Mapping[str, str]


def install_list(file: Path, state: Path) -> OfficialList:
    """Read a genericode list and keep what is needed of it in `state`. Raises `HubError` when it is none."""
    found = read_list(file)
    place = state / "lists" / f"{found.name}.json"
    state.mkdir(mode=0o750, parents=True, exist_ok=True)
    if not place.parent.exists():
        ownership.make_folder(place.parent, ownership.hub_account(state))
    _write(place,
           json.dumps({"version": found.version, "names": dict(found.names)}, ensure_ascii=False, indent=0))
    return found


def read_list(file: Path) -> OfficialList:
    """A genericode list of municipalities or counties. Raises `HubError`."""
    try:
        root = xml.parse(_unpacked(file), Limits(max_bytes=LARGEST, max_elements=2_000_000)).getroot()
    except (OSError, lzma.LZMAError, Rejected) as error:
        text = error.text if isinstance(error, Rejected) else str(error)
        raise HubError(f"{file.name}: die Liste lässt sich nicht lesen ({text})") from error
    name, version = (root.findtext(f"Identification/{tag}") or "" for tag in ("ShortName", "Version"))
    if root.tag != f"{{{_GENERICODE}}}CodeList" or name not in LISTS:
        raise HubError(f"{file.name}: das ist keine genericode-Liste {' oder '.join(LISTS)}: "
                       "aus dem XRepository holen, so wie sie dort steht")
    names = {key: label for key, label in _rows(root) if re.fullmatch(LISTS[name], key)}
    if not names:
        raise HubError(f"{file.name}: die Liste {name} nennt keine Schlüssel")
    return OfficialList(name, version, names)


def _unpacked(file: Path) -> bytes:
    raw = file.read_bytes()
    if not raw.startswith(b"\xfd7zXZ\0"):
        return raw
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=256 << 20)
    content = unpacker.decompress(raw, LARGEST)
    if not unpacker.eof:
        raise OSError("die Datei ist unvollständig oder ausgepackt zu groß")
    return content


def _rows(root: etree._Element) -> Iterator[tuple[str, str]]:
    for row in root.iterfind("SimpleCodeList/Row"):
        values = {value.get("ColumnRef"): (value.findtext("SimpleValue") or "").strip()
                  for value in row.iterfind("Value")}
        yield values.get("SCHLUESSEL", ""), values.get("Bezeichnung", "")


def installed(state: Path) -> list[OfficialList]:
    """The lists there are."""
    found = []
    for name in LISTS:
        file = state / "lists" / f"{name}.json"
        if file.is_file():
            data = json.loads(file.read_text(encoding="utf-8"))
            found.append(OfficialList(name, data["version"], data["names"]))
    return found


def official_name(state: Path, ags: str) -> str | None:
    """As an official writes it: ``Stadt Annaberg-Buchholz``, ``Gemeinde Amtsberg``, ``Landkreis Bautzen``;
    None: not listed."""
    for official in installed(state):
        if ags in official.names:
            name, _, title = official.names[ags].partition(", ")
            return f"{title or ('Landkreis' if len(ags) == 5 else 'Gemeinde')} {name}" if not name.startswith(
                ("Landkreis", "Kreis ")) else name
    return None


def slug(name: str) -> str:
    """A tenant key: the name without its title, in ASCII."""
    bare = re.sub(r"^(?:\w*[Ss]tadt|Gemeinde|Landkreis|Markt)\s+", "", name).lower().translate(_UMLAUTS)
    return re.sub(r"[^a-z0-9]+", "-", bare).strip("-")[:63] or "kommune"


@dataclass(frozen=True, slots=True)
class NewMunicipality:
    """What the operator says; what is None is found or inherited."""

    ags: str
    name: str | None = None
    tenant: str | None = None
    mail: Sequence[str] = ()
    drop: str | None = None
    services: Sequence[str] = ()
    provider: str | None = None
    population: int | None = None


@dataclass(frozen=True, slots=True)
class Added:
    """What was written; `findings` say whether the hub may write into the folders."""

    file: Path
    name: str
    tenant: str
    services: tuple[str, ...]
    folders: tuple[Path, ...]
    findings: tuple[Finding, ...]


def add(file: Path, overrides: Sequence[str], new: NewMunicipality,
        judge: Callable[[Configuration], None] = lambda _: None) -> Added:
    """Write the file of a municipality. Raises `HubError` (of a faulty configuration too), and leaves nothing
    behind then.

    `judge` raises it for what else is wrong with the configuration that has it.
    """
    configuration = loader.load(file, overrides)
    if not re.fullmatch(r"\d{8}|\d{5}", new.ags):
        raise HubError(f"{new.ags!r} ist kein AGS: acht Ziffern, für einen Landkreis fünf")
    place = configuration.settings.hub.municipalities / f"{new.ags}.toml"
    taken = configuration.tenant_of(new.ags)
    if place.exists() or taken:
        raise HubError(f"{new.ags} gibt es schon ({taken or place}): drehscheibe municipality show {new.ags}")
    name = new.name or official_name(configuration.state, new.ags)
    if name is None:
        raise HubError(f"{new.ags} steht in keiner eingespielten Liste: drehscheibe municipality "
                       "install-list FILE, "
                       "oder --name …")
    tenant = new.tenant or _free(slug(name), new.ags, configuration)
    text, services = _draft(configuration, new, name, tenant)
    folders = _make_folders(configuration, new, tenant)
    _write(place, text)
    try:
        judge(loader.load(file, overrides))
    except BaseException:
        place.unlink()
        for folder in folders:
            folder.rmdir()
        raise
    account = ownership.hub_account(configuration.state)
    findings = [ownership.judge(folder, account) for folder in _folders(configuration, new, tenant)]
    return Added(place, name, tenant, tuple(services), tuple(folders), tuple(findings))


def _free(key: str, ags: str, configuration: Configuration) -> str:
    return key if key not in configuration.municipalities else f"{key}-{ags}"


def _drop(configuration: Configuration, new: NewMunicipality, tenant: str) -> str:
    return new.drop or configuration.defaults.onboarding.drop.format(tenant=tenant, ags=new.ags)


def _folders(configuration: Configuration, new: NewMunicipality, tenant: str) -> list[Path]:
    return [Path(os.path.normpath(configuration.file.parent / path))
            for path in (_drop(configuration, new, tenant), configuration.defaults.onboarding.test_drop)]


def _make_folders(configuration: Configuration, new: NewMunicipality, tenant: str) -> list[Path]:
    """Those that were made now. Where that may not be, `ownership.judge` says who makes them."""
    made, account = [], ownership.hub_account(configuration.state)
    for folder in _folders(configuration, new, tenant):
        with suppress(PermissionError):
            if folder.parent.is_dir() and not folder.exists():
                ownership.make_folder(folder, account)
                made.append(folder)
    return made


def _draft(configuration: Configuration, new: NewMunicipality, name: str, tenant: str) -> tuple[str,
                                                                                                list[str]]:
    """The file's text, and its services: routes are inherited where all their destinations are there, else
    written cut."""
    folder = f"connector = {_quoted(endpoint.onboarding_outlet('folder'))}\n{_MATCHED}"
    blocks = {"ablage": f"{folder}path = {_quoted(_drop(configuration, new, tenant))}\n",
              "test": f"{folder}path = {_quoted(configuration.defaults.onboarding.test_drop)}\ntest = true\n"}
    if new.mail:
        mailbox = f"connector = {_quoted(endpoint.onboarding_outlet('mailbox'))}\n"
        blocks = {"postfach": f'{mailbox}to = {_list(new.mail)}\nfallback = "ablage"\n', **blocks}
    services = list(new.services) or sorted(configuration.mappings)
    routes = {service: _inherited(configuration, service) for service in services
              if service in configuration.mappings}
    cut = {service: rows for service, rows in routes.items() if not _fits(rows, blocks)}
    lines = ["# What is not said here is inherited from defaults.toml: `drehscheibe municipality show` tells "
             "all.",
             f"name = {_quoted(name)}", f"ags = {_quoted(new.ags)}", f"tenant = {_quoted(tenant)}"]
    if new.population is not None:
        lines.append(f"population = {new.population}")
    lines.append(f"services = {_list([service for service in services if service not in cut])}")
    if new.provider:
        lines += ["", "[contract]", f"provider = {_quoted(new.provider)}"]
    lines += ["", "[parameters]", f"behoerde = {_quoted(name)}"]
    for key, block in blocks.items():
        lines += ["", f"[destinations.{key}]", block.rstrip()]
    for service, rows in cut.items():
        for row in rows:
            lines += ["", *_route(service, row, blocks)]
    return "\n".join(lines) + "\n", services


def _inherited(configuration: Configuration, service: str) -> list[RouteRow]:
    rows = configuration.defaults.route
    return [row for row in rows if row.service == service] or [row for row in rows if row.service == "*"]


def _fits(rows: Sequence[RouteRow], blocks: Mapping[str, str]) -> bool:
    return all(each.destination in blocks for row in rows for each in (*row.recipients, *row.test_recipients))


def _route(service: str, row: RouteRow, blocks: Mapping[str, str]) -> Iterator[str]:
    yield "[[route]]"
    yield f"service = {_quoted(service)}"
    for kind, recipients in (("recipients", row.recipients), ("test_recipients", row.test_recipients)):
        kept = [each for each in recipients if each.destination in blocks]
        tables = [f"{{ destination = {_quoted(each.destination)}, send = {_list(each.send)} }}"
                  for each in kept]
        yield f"{kind} = [{', '.join(tables)}]"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _list(texts: Sequence[str]) -> str:
    return f"[{', '.join(_quoted(text) for text in texts)}]"


def _write(place: Path, text: str) -> None:
    """Whole or not at all: a running hub may read the folder at any moment."""
    temporary = place.with_name(f".{place.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o644)  # the hub's user reads it, whatever the umask of who writes it
    temporary.replace(place)


def overview(configuration: Configuration) -> list[dict[str, Any]]:
    """One row per municipality."""
    return [{"ags": municipality.row.ags, "name": municipality.row.name, "tenant": tenant,
             "provider": municipality.row.contract.provider,
             "services": sorted(municipality.routes),
             "destinations": {each.key.partition("/")[2]: each.connector
                      for each in municipality.destinations.values()}}
            for tenant, municipality in sorted(configuration.municipalities.items(),
                                       key=lambda item: item[1].row.ags)]


def resolved(configuration: Configuration, name: str) -> dict[str, Any]:
    """One municipality with all that it inherits; `inherited` names what does not stand in its own file.
    Raises `HubError`."""
    tenant = configuration.tenant_of(name) or (name if name in configuration.municipalities else None)
    if tenant is None:
        known = [*configuration.by_ags, *configuration.municipalities]
        raise HubError(f"Keine Kommune {name!r}: {suggest(name, known, german=True)}")
    municipality = configuration.municipalities[tenant]
    raw = read_toml(municipality.file)
    return {"file": str(municipality.file), "name": municipality.row.name, "ags": municipality.row.ags,
            "formerly": list(municipality.row.formerly),
            "tenant": tenant, "population": _plain(municipality.row.population),
            "provider": municipality.row.contract.provider,
            "destinations": [_destination(municipality, key, raw["destinations"][key.partition("/")[2]])
                             for key in municipality.destinations],
            "services":
            [_service(configuration, municipality, service) for service in sorted(municipality.routes)]}


def _destination(municipality: Municipality, key: str, own: Mapping[str, Any]) -> dict[str, Any]:
    found = municipality.destinations[key]
    values = {**found.options.model_dump(by_alias=True, exclude_none=True), "kind": found.kind,
              "in_doubt": found.in_doubt, "retry": found.policy.retry.model_dump(mode="json"),
              "fallback": found.policy.fallback, "test": found.policy.test}
    return {"key": key, "connector": found.connector,
            "values": {name: _plain(value) for name, value in values.items()},
            "inherited": sorted(set(values) - set(own))}


def _service(configuration: Configuration, municipality: Municipality, service: str) -> dict[str, Any]:
    kept = configuration.retention(municipality.row.tenant, service)
    own = any(row.service == service for row in municipality.row.route)
    return {"service": service, "inherited": not own, "payload_days": kept.payload_days,
            "proof_days": kept.proof_days,
            "routes": [{"versions": row.versions, "valid_from": _plain(row.valid_from),
                        "valid_until": _plain(row.valid_until),
                        "recipients":
                        {each.name or each.destination: list(each.send) for each in row.recipients},
                        "test_recipients":
                        {each.name or each.destination: list(each.send) for each in row.test_recipients}}
                       for row in municipality.routes[service]]}


def _plain(value: Any) -> Any:
    """As JSON knows it: days and paths as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)

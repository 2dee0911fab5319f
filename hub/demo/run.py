"""``drehscheibe demo``, which is what ``make run`` calls: the example configuration at work, on one machine, with no service.

It prepares under ``var/`` what the configuration names (a test CA and certificates, folders, passwords), starts a mail server
that keeps what it gets, starts the hub as the real command, hands in the examples of every mapping for every municipality
through the real inlets, and prints where each arrived. Everything stays: a second run adds its own messages to the same store
and shows only those; ``drehscheibe messages`` shows all.

Nothing outside of ``var/`` is written; a busy port is replaced by a free one.
"""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import httpx2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hub.config import configuration as config
from hub.config import loader
from hub.demo.certificates import Authority, write_private
from hub.endpoint import secret_path
from hub.errors import HubError
from hub.files.toml import read_toml
from hub.i18n.texts import _
from hub.operations import control_socket
from hub.operations.send import send_file

START_SECONDS = 60.0
WAIT_SECONDS = 180.0
STOP_SECONDS = 40.0
PROCEDURES = ("rest", "soap")
FINAL = ("completed", "parked", "discarded")
PANGO = "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


@dataclass(frozen=True)
class Example:
    """One example application of a mapping, and the reason for which it must be parked, if it must."""

    service: str
    name: str
    document: Path
    attachments: tuple[Path, ...]
    parked: str | None
    test: bool


def examples(mappings: Path) -> list[Example]:
    """All examples of all mappings, by service and name."""
    return [_example(file.parent) for file in sorted(mappings.glob("*/examples/*/example.toml"))]


def _example(folder: Path) -> Example:
    data = read_toml(folder / "example.toml")
    document = min(file for file in folder.glob("message.*"))
    attachments = tuple(folder / name for name in data.get("attachments", ()))
    return Example(folder.parents[1].name, folder.name, document, attachments, data.get("parked"), bool(data.get("test")))


@dataclass
class Sent:
    """One application on its way, and what the hub says about it."""

    example: Example
    ags: str
    inlet: str
    id: str = ""
    before: frozenset[str] = frozenset()
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The message's state; empty until the hub knows it."""
        return str(self.found.get("state", ""))

    @property
    def as_expected(self) -> bool:
        """Whether it ended where its example says."""
        if self.example.parked:
            return self.state == "parked" and self.found.get("reason") == self.example.parked
        return self.state == "completed"

    @property
    def lacks_pango(self) -> bool:
        """Whether it is parked only because this machine cannot print PDFs: that is the machine's choice, no fault."""
        return self.state == "parked" and "libpango" in (self.found.get("reason_text") or "")

    @property
    def wrong(self) -> bool:
        """Whether it ended otherwise than it should."""
        return not self.as_expected and not self.lacks_pango


@dataclass
class Place:
    """Where this run happens: its root, its configuration, and the ports it took."""

    root: Path
    configuration: config.Configuration
    out: Console
    run: str
    overrides: list[str] = field(default_factory=list)
    client: tuple[Path, Path] | None = None
    mail_port: int = 0

    @property
    def var(self) -> Path:
        """Where everything of the demo lies."""
        return self.root / "var"

    def ours(self, path: Path) -> Path:
        """The same path. Raises `HubError` when it is not below ``var/``: the demo writes nothing elsewhere."""
        if not path.resolve().is_relative_to(self.var.resolve()):
            raise HubError(f"{path}: the demo writes below {self.var} only: run it with the example configuration")
        return path

    def short(self, path: Path | str) -> str:
        """A path as one would type it here."""
        return os.path.normpath(path).removeprefix(f"{Path.cwd()}/")


def run_demo(root: Path, *, stay: bool) -> int:
    """Play all examples; with `stay` go on serving until Ctrl-C. 0 when each ended where it should, else 1."""
    out = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    place = Place(root, loader.load(root / "etc/hub.toml"), out, datetime.now().astimezone().strftime("%Y%m%d-%H%M%S"))
    _refuse_second(place)
    if not _has_pango():
        out.print(_("Without libpango no PDF can be printed; install it with: sudo {command}").format(command=PANGO))
    with _interruptible(), ExitStack() as stack:
        try:
            _prepare(place)
            _start_mail(place, stack)
            _start_procedure(place, stack)
            hub = _start_hub(place, stack)
            sent = _send_all(place)
            _wait(place, sent)
            out.print(_table(place, sent))
            _sum_up(place, sent)
            _say_where(place)
            if stay:
                out.print(_("The hub stays up; Ctrl-C stops it."))
                return _stay(place, hub)
        except KeyboardInterrupt:
            out.print(_("Stopping …"))
            return 0
        return int(any(item.wrong for item in sent))


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM stops like Ctrl-C, and a second of either does not cut the stopping short."""

    def interrupt(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = [signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGINT)]
    try:
        yield
    finally:
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), before, strict=True):
            signal.signal(number, handler)


def _refuse_second(place: Place) -> None:
    try:
        control_socket.ask(place.configuration.control, "status", {})
    except ConnectionError:
        return
    raise HubError(_("The example hub is running already: look at it with 'drehscheibe queue', or stop it with Ctrl-C there."))


def _has_pango() -> bool:
    try:
        ctypes.CDLL("libpango-1.0.so.0")
        ctypes.CDLL("libpangoft2-1.0.so.0")
    except OSError:
        return False
    return True


# --- what the configuration names -----------------------------------------------------------------------------------------


def _prepare(place: Place) -> None:
    configuration = place.configuration
    authority = Authority(place.ours(place.var / "tls"))
    place.ours(configuration.state).mkdir(parents=True, exist_ok=True)
    for inlet in configuration.inlets:
        if inlet.connector == "https":
            _prepare_https(place, authority, inlet)
        elif inlet.connector == "inbox":
            for name in ("root", "done", "rejected"):
                place.ours(Path(inlet.options[name])).mkdir(parents=True, exist_ok=True)
    for destination in configuration.all_destinations():
        _prepare_destination(place, authority, destination.connector, destination.options)
    authority.server(place.var / "tls/mail.pem", place.var / "tls/mail.key")
    place.overrides.append(f"status.port={_port(configuration.settings.status.port)}")


def _prepare_https(place: Place, authority: Authority, inlet: config.Inlet) -> None:
    options = inlet.options
    authority.server(place.ours(Path(options["certificate"])), place.ours(secret_path(options["key"])))
    for file in options["client_ca"]:
        _trust(place, authority, Path(file))
    for sender in options["senders"]:
        if sender["ca"]:
            _trust(place, authority, Path(sender["ca"]))
        pair = place.var / f"tls/{sender['name']}.pem", place.var / f"tls/{sender['name']}.key"
        authority.client(*pair, sender["subject"], sender["san"])
        place.client = place.client or pair
    place.overrides.append(f"inlets.{inlet.name}.port={_port(options['port'])}")


def _prepare_destination(place: Place, authority: Authority, connector: str, options: Mapping[str, Any]) -> None:
    if connector == "directory":
        folder = place.ours(Path(options["path"]))
        folder.mkdir(parents=True, exist_ok=True)
        if options["must_contain"]:
            (folder / options["must_contain"]).touch()
    elif connector == "xdomea" and options["drop"]["connector"] == "directory":
        _prepare_destination(place, authority, "directory", options["drop"])
    elif connector == "smtp":
        if options["ca_file"]:
            _trust(place, authority, Path(options["ca_file"]))
        if options["password"] and not (file := place.ours(secret_path(options["password"]))).exists():
            write_private(file, secrets.token_urlsafe(24).encode() + b"\n")


def _trust(place: Place, authority: Authority, file: Path) -> None:
    if file.resolve() != authority.file.resolve():
        place.ours(file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(authority.file, file)


def _port(wanted: int) -> int:
    """This port of loopback, or a free one when it is busy."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise HubError("no port is free on 127.0.0.1")


# --- the two processes ----------------------------------------------------------------------------------------------------


def _start(place: Place, stack: ExitStack, name: str, command: Sequence[str], *, piped: bool) -> subprocess.Popen[bytes]:
    """A child in a session of its own (Ctrl-C is for us to pass on) that dies with us where the system can do that."""
    wrapper = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    log = stack.enter_context(place.ours(_log(place, name)).open("ab"))
    package = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen([*wrapper, sys.executable, "-P", *command], cwd=place.root, stdin=subprocess.PIPE,
                             start_new_session=True, stdout=subprocess.PIPE if piped else log, stderr=log,
                             env={**os.environ, "PYTHONPATH": package})
    stack.callback(_stop, child)
    return child


def _log(place: Place, name: str) -> Path:
    file = place.var / "log" / f"{name}-{place.run}.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe:
            pipe.close()


def _start_procedure(place: Place, stack: ExitStack) -> None:
    """The stand-in for the Fachverfahren of `rest` and `soap` destinations, where the configuration has any: all on one port."""
    ports = {httpx2.URL(destination.options["url"]).port for destination in place.configuration.all_destinations()
             if destination.connector in PROCEDURES}
    if not ports:
        return
    wanted = ports.pop()
    arguments = [str(_port(wanted or 0)), str(place.var / "fachverfahren")]
    child = _start(place, stack, "procedure", ["-m", "hub.demo.fachverfahren", *arguments], piped=True)
    line = child.stdout.readline() if child.stdout else b""
    if not line:
        raise HubError(f"the Fachverfahren's stand-in did not start: {_tail(_log(place, 'procedure'))}")
    for connector in PROCEDURES:
        for key, url in place.configuration.defaults.connectors.get(connector, {}).items():
            if key in ("url", "check_url"):
                place.overrides.append(f'defaults.connectors.{connector}.{key}="{url.replace(f":{wanted}/", f":{int(line)}/")}"')


def _start_mail(place: Place, stack: ExitStack) -> None:
    ports = {destination.options["port"] for destination in place.configuration.all_destinations()
             if destination.connector == "smtp"}
    arguments = [str(_port(min(ports, default=0))), *(str(place.var / name) for name in ("tls/mail.pem", "tls/mail.key", "mail"))]
    child = _start(place, stack, "mail", ["-m", "hub.demo.mail_server", *arguments], piped=True)
    line = child.stdout.readline() if child.stdout else b""
    if not line:
        raise HubError(f"the mail server did not start: {_tail(_log(place, 'mail'))}")
    place.mail_port = int(line)
    place.overrides.append(f"defaults.connectors.smtp.port={place.mail_port}")


def _start_hub(place: Place, stack: ExitStack) -> subprocess.Popen[bytes]:
    place.configuration = loader.load(place.configuration.file, place.overrides)
    settings = [argument for override in place.overrides for argument in ("--set", override)]
    child = _start(place, stack, "hub", ["-m", "hub", "--config", str(place.configuration.file), *settings, "run"], piped=False)
    with place.out.status(_("starting the hub …")):
        deadline = time.monotonic() + START_SECONDS
        while not _ready(place):
            if child.poll() is not None:
                raise HubError(f"the hub did not start (exit {child.returncode}): {_tail(_log(place, 'hub'))}")
            if time.monotonic() > deadline:
                raise HubError(f"the hub is not ready after {START_SECONDS:.0f} s: {_tail(_log(place, 'hub'))}")
            time.sleep(0.05)
    return child


def _stay(place: Place, hub: subprocess.Popen[bytes]) -> int:
    """Until Ctrl-C; a hub that ends by itself is told, and is no success."""
    code = hub.wait()
    text = _("The hub has ended (exit {code}); what it accepted is safe. Its log: {log}. Start it again: make run")
    place.out.print(text.format(code=code, log=place.short(_log(place, "hub"))), soft_wrap=True)
    return 1


def _tail(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
    return f"{file}\n" + "\n".join(lines)


def _status_url(place: Place) -> str:
    status = place.configuration.settings.status
    return f"http://{status.host}:{status.port}"


def _ready(place: Place) -> bool:
    try:
        return httpx2.get(f"{_status_url(place)}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False


# --- applications ---------------------------------------------------------------------------------------------------------


def _plan(place: Place) -> list[Sent]:
    """Every example of every mapping for every municipality that has the service; through the inbox where it can be, in turn."""
    found = examples(place.configuration.settings.hub.mappings)
    by_connector = {inlet.connector: inlet.name for inlet in place.configuration.inlets}
    plan, by_folder = [], set()
    for town in sorted(place.configuration.municipalities.values(), key=lambda town: -(town.row.counted(date.max) or 0)):
        for example in found:
            if example.service not in town.routes:
                continue
            # one of each kind: the folder gives no id back, so that the message is found by its kind
            way = (town.row.ags, example.service)
            inbox = ("inbox" in by_connector and way not in by_folder and not example.test and not example.attachments
                     and example.document.suffix == ".xml")
            if inbox:
                by_folder.add(way)
            plan.append(Sent(example, town.row.ags, by_connector["inbox" if inbox else "https"]))
    return plan


def _send_all(place: Place) -> list[Sent]:
    plan = _plan(place)
    if not plan:
        raise HubError(f"{place.configuration.settings.hub.mappings}: there is no example to send")
    with _progress(place, _("handing in"), len(plan)) as advance:
        for item in plan:
            _send(place, item)
            advance(1)
    return plan


def _send(place: Place, item: Sent) -> None:
    inlet = next(inlet for inlet in place.configuration.inlets if inlet.name == item.inlet)
    if inlet.connector == "inbox":
        _drop(place, item, Path(inlet.options["root"]))
        return
    if place.client is None:
        raise HubError(f"{place.configuration.file}: inlets.{inlet.name}: has no sender: add one")
    certificate, key = place.client
    answer = send_file(item.example.document, item.example.attachments, ca=place.var / "tls/ca.pem", cert=certificate, key=key,
                       url=f"https://localhost:{inlet.options['port']}/in/{item.ags}/{item.example.service}",
                       idempotency_key=f"demo-{place.run}-{item.ags}-{item.example.service}-{item.example.name}",
                       test=item.example.test)
    if answer["status"] != 202:
        raise HubError(f"{item.example.service}/{item.example.name}: the hub answered {answer['status']}: "
                       f"{answer.get('detail') or answer}")
    item.id = str(answer["id"])


def _drop(place: Place, item: Sent, inbox: Path) -> None:
    """Written beside, renamed in. The name says which run it is, or a second run's copy would be a duplicate of the first's."""
    folder = place.ours(inbox) / item.ags / item.example.service
    folder.mkdir(parents=True, exist_ok=True)
    item.before = frozenset(row["id"] for row in _from_folder(place, item))
    name = f"{item.example.name}-{place.run}{item.example.document.suffix}"
    hidden = folder / f".{name}.part"
    shutil.copyfile(item.example.document, hidden)
    hidden.rename(folder / name)


def _from_folder(place: Place, item: Sent) -> list[dict[str, Any]]:
    rows = control_socket.ask(place.configuration.control, "messages",
                              {"ags": item.ags, "service": item.example.service, "limit": 200})
    return [row for row in rows if row["inlet"] == item.inlet]


# --- where it went --------------------------------------------------------------------------------------------------------


def _wait(place: Place, sent: Sequence[Sent]) -> None:
    """Until each has ended, or the time is over; what has not ended then is shown as it is."""
    deadline = time.monotonic() + WAIT_SECONDS
    with _progress(place, _("arriving"), len(sent)) as advance, httpx2.Client(timeout=10, trust_env=False) as client:
        waiting = list(sent)
        while waiting and time.monotonic() < deadline:
            for item in waiting:
                _look(place, client, item)
            ended = [item for item in waiting if item.state in FINAL]
            advance(len(ended))
            waiting = [item for item in waiting if item not in ended]
            time.sleep(0.1)


def _look(place: Place, client: httpx2.Client, item: Sent) -> None:
    if not item.id:
        item.id = next((row["id"] for row in _from_folder(place, item) if row["id"] not in item.before), "")
    if item.id:
        answer = client.get(f"{_status_url(place)}/status/{item.id}")
        if answer.status_code != 200:
            raise HubError(f"/status/{item.id}: {answer.status_code}: {_tail(_log(place, 'hub'))}")
        item.found = answer.json()


def _table(place: Place, sent: Sequence[Sent]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(_("message"), no_wrap=True)
    table.add_column(_("service"))
    table.add_column(_("municipality"))
    table.add_column(_("where it went"), overflow="fold", ratio=1)
    table.add_column(_("how long"), justify="right", no_wrap=True)
    names = {town.row.ags: town.row.name for town in place.configuration.municipalities.values()}
    for item in sent:
        service = f"{item.example.service} ({item.example.name})"
        table.add_row(item.id[:18] or "-", service, names[item.ags], _where(place, item), _how_long(item))
    return table


def _where(place: Place, item: Sent) -> str:
    if item.state == "completed":
        return "\n".join(_arrivals(place, item))
    first, *rest = (item.found.get("reason_text") or item.found.get("reason") or "").splitlines() or [""]
    headline = re.sub(r" \(die ersten \d+\):?$", "", first)
    count = _("more than {count}").format(count=len(rest)) if headline != first else len(rest)
    text = f"{_(item.state or 'unknown')}: {headline}".rstrip(": ") + (f" ({count})" if rest else "")
    mark = "✗ " if item.wrong else ""
    return "\n".join([mark + text, *_arrivals(place, item)])


def _arrivals(place: Place, item: Sent) -> list[str]:
    lines = []
    for delivery in item.found.get("deliveries", ()):
        destination = place.configuration.destination(delivery["destination"])
        if delivery["state"] != "done":
            lines.append(f"{delivery['destination']}: {delivery['state']}: {delivery['text'] or ''}".rstrip(": "))
        elif destination is not None and destination.connector == "smtp":
            lines += [place.short(place.var / "mail" / address) for address in destination.options["to"]]
        elif destination is not None and destination.connector in ("directory", "xdomea"):
            folder = destination.options["path"] if destination.connector == "directory" else destination.options["drop"]["path"]
            lines.append(place.short(Path(folder) / delivery["receipt"]["reference"]))
        else:
            lines.append(f"{delivery['destination']}: {delivery['receipt']['reference']}")
    return lines


def _how_long(item: Sent) -> str:
    times = [delivery["finished_at"] for delivery in item.found.get("deliveries", ()) if delivery["finished_at"]]
    if not times or item.state != "completed":
        return "-"
    taken = max(datetime.fromisoformat(text) for text in times) - datetime.fromisoformat(item.found["received_at"])
    return f"{taken.total_seconds():.2f} s"


def _sum_up(place: Place, sent: Sequence[Sent]) -> None:
    parked = sum(item.as_expected for item in sent if item.example.parked)
    arrived = sum(item.as_expected for item in sent if not item.example.parked)
    wrong = sum(item.wrong for item in sent)
    waiting = [item for item in sent if item.lacks_pango]
    place.out.print(_("{arrived} arrived, {parked} are parked because their example is faulty on purpose, {wrong} ✗ went wrong.")
                    .format(arrived=arrived, parked=parked, wrong=wrong))
    if waiting:
        place.out.print(_("{count} have no PDF yet for want of libpango; once it is there: drehscheibe replay {id}")
                        .format(count=len(waiting), id=waiting[0].id[:18]))
    if parked or wrong:
        example = next(item for item in sent if item.state != "completed")
        place.out.print(_("Why, and what to do next: drehscheibe why {id}").format(id=example.id[:18]))


def _say_where(place: Place) -> None:
    url = _status_url(place)
    place.out.print()
    for what, where in ((_("metrics"), f"{url}/metrics"), (_("status"), f"{url}/status"),
                        (_("mailboxes"), place.short(place.var / "mail")), (_("log"), place.short(_log(place, "hub"))),
                        (_("more"), "drehscheibe messages · drehscheibe show <id> · drehscheibe why <id>")):
        place.out.print(f"{what:12} {where}", soft_wrap=True)


@contextmanager
def _progress(place: Place, what: str, total: int) -> Iterator[Any]:
    """A bar on a terminal, one line elsewhere."""
    if not place.out.is_terminal:
        place.out.print(f"{what}: {total} …")
        yield lambda _count: None
        return
    columns = (TextColumn(f"{what:12}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=place.out) as progress:
        task = progress.add_task(what, total=total)
        yield lambda count: progress.advance(task, count)

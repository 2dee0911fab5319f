"""``drehscheibe demo``, which is what ``make run`` calls: the example configuration at work, on one machine,
with no service.

It prepares under ``var/`` what the configuration names (a test CA and certificates, folders, passwords),
starts a mail server that keeps what it gets, starts the hub as the real command, hands in the examples of
every mapping for every municipality through the real inlets, and prints where each arrived. Everything stays:
a second run adds its own messages to the same store and shows only those; ``drehscheibe messages`` shows all.

Nothing outside of ``var/`` is written; a busy port is replaced by a free one.
"""

from __future__ import annotations

import ctypes
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hub import endpoint
from hub.config import loader
from hub.demo.prepare import Place, log_of, prepare
from hub.demo.processes import start_hub, start_mail, start_procedure
from hub.demo.results import Sent, examples, say_where, sum_up, table_of
from hub.errors import HubError
from hub.i18n.texts import _
from hub.operations import control_socket
from hub.operations.send import send_file

WAIT_SECONDS = 180.0
FINAL = ("completed", "parked", "discarded")
PANGO = "apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


def run_demo(root: Path, *, stay: bool) -> int:
    """Play all examples; with `stay` go on serving until Ctrl-C. 0 when each ended where it should, else
    1."""
    out = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    place = Place(root, loader.load(root / "etc/hub.toml"), out,
                  datetime.now().astimezone().strftime("%Y%m%d-%H%M%S"))
    _refuse_second(place)
    if not _has_pango():
        out.print(_("Without libpango no PDF can be printed; install it with: sudo {command}").format(
            command=PANGO))
    with _interruptible(), ExitStack() as stack:
        try:
            prepare(place)
            start_mail(place, stack)
            start_procedure(place, stack)
            hub = start_hub(place, stack)
            sent = _send_all(place)
            _wait(place, sent)
            out.print(table_of(place, sent))
            sum_up(place, sent)
            say_where(place)
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
    except control_socket.NotRunning:
        return
    raise HubError(_("The example hub is running already: look at it with 'drehscheibe --config "
                     "etc/hub.toml queue', or stop it with Ctrl-C there."))


def _has_pango() -> bool:
    try:
        ctypes.CDLL("libpango-1.0.so.0")
        ctypes.CDLL("libpangoft2-1.0.so.0")
    except OSError:
        return False
    return True


def _stay(place: Place, hub: subprocess.Popen[bytes]) -> int:
    """Until Ctrl-C; a hub that ends by itself is told, and is no success."""
    code = hub.wait()
    text = _("The hub has ended (exit {code}); what it accepted is safe. Its log: {log}. Start it again: "
             "make run")
    place.out.print(text.format(code=code, log=place.short(log_of(place, "hub"))), soft_wrap=True)
    return 1


# --- applications -------------------------------------------------------------------------------------------


def planned(place: Place) -> list[Sent]:
    """Every example of every mapping for every municipality that has the service; through the inbox where it
    can be, in turn."""
    found = examples(place.configuration.settings.hub.mappings)
    ways = _ways_in(place)
    folder = next((name for name, where in ways.items() if isinstance(where, Path)), None)
    url = next((name for name, where in ways.items() if isinstance(where, str)), None)
    if url is None:
        raise HubError(f"{place.configuration.file}: inlets: none takes requests over HTTP: add one")
    plan, by_folder = [], set()
    for municipality in sorted(place.configuration.municipalities.values(),
                       key=lambda municipality: -(municipality.row.counted(date.max) or 0)):
        for example in found:
            if example.service not in municipality.routes:
                continue
            # one of each kind: the folder gives no id back, so that the message is found by its kind
            way = (municipality.row.ags, example.service)
            plain = not example.test and not example.attachments and example.document.suffix == ".xml"
            inlet = folder if folder is not None and plain and way not in by_folder else url
            if inlet == folder:
                by_folder.add(way)
            plan.append(Sent(example, municipality.row.ags, inlet))
    return plan


def _ways_in(place: Place) -> dict[str, str | Path]:
    """Where each inlet takes files or requests of this machine, by its name; what takes neither is left
    out."""
    ways = ((inlet.name, endpoint.inlet_class(inlet.connector).takes_at(inlet.options))
            for inlet in place.configuration.inlets)
    return {name: where for name, where in ways if where is not None}


def _send_all(place: Place) -> list[Sent]:
    plan = planned(place)
    if not plan:
        raise HubError(f"{place.configuration.settings.hub.mappings}: there is no example to send")
    with _progress(place, _("handing in"), len(plan)) as advance:
        for item in plan:
            _send(place, item)
            advance(1)
    return plan


def _send(place: Place, item: Sent) -> None:
    where = _ways_in(place)[item.inlet]
    if isinstance(where, Path):
        _drop(place, item, where)
        return
    if place.client is None:
        raise HubError(f"{place.configuration.file}: inlets.{item.inlet}: has no sender: add one")
    certificate, key = place.client
    once = f"demo-{place.run}-{item.ags}-{item.example.service}-{item.example.name}"
    answer = send_file(item.example.document, item.example.uploads, ca=place.var / "tls/ca.pem",
                       cert=certificate, key=key,
                       url=f"{where}/in/{item.ags}/{item.example.service}",
                       idempotency_key=once, test=item.example.test, printout=item.example.printout)
    if answer["status"] != 202:
        raise HubError(f"{item.example.service}/{item.example.name}: the hub answered {answer['status']}: "
                       f"{answer.get('detail') or answer}")
    item.id = str(answer["id"])


def _drop(place: Place, item: Sent, inbox: Path) -> None:
    """Written beside, renamed in. The name says which run it is, or a second run's copy would be a duplicate
    of the first's."""
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


# --- where it went ------------------------------------------------------------------------------------------


def _wait(place: Place, sent: Sequence[Sent]) -> None:
    """Until each has ended, or the time is over; what has not ended then is shown as it is."""
    deadline = time.monotonic() + WAIT_SECONDS
    with _progress(place, _("arriving"), len(sent)) as advance:
        waiting = list(sent)
        while waiting and time.monotonic() < deadline:
            for item in waiting:
                _look(place, item)
            ended = [item for item in waiting if item.state in FINAL]
            advance(len(ended))
            waiting = [item for item in waiting if item not in ended]
            time.sleep(0.1)


def _look(place: Place, item: Sent) -> None:
    if not item.id:
        item.id = next((row["id"] for row in _from_folder(place, item) if row["id"] not in item.before), "")
    if item.id:
        item.found = control_socket.ask(place.configuration.control, "show", {"id": item.id})


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

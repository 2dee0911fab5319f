"""The processes of the demonstration: started, waited for, stopped."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx2

from hub.config import loader
from hub.demo.prepare import Place, listening_port, log_of
from hub.endpoint import Kind
from hub.errors import HubError
from hub.i18n.texts import _

START_SECONDS = 60.0
STOP_SECONDS = 40.0


def _start(place: Place, stack: ExitStack, name: str, command: Sequence[str], *,
           piped: bool) -> subprocess.Popen[bytes]:
    """A child in a session of its own (Ctrl-C is for us to pass on) that dies with us where the system can do
    that."""
    wrapper = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    log = stack.enter_context(place.ours(log_of(place, name)).open("ab"))
    package = str(Path(__file__).resolve().parents[2])
    child = subprocess.Popen([*wrapper, sys.executable, "-P", *command], cwd=place.root,
                             stdin=subprocess.PIPE,
                             start_new_session=True, stdout=subprocess.PIPE if piped else log, stderr=log,
                             env={**os.environ, "PYTHONPATH": package})
    stack.callback(_stop, child)
    return child


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


def start_procedure(place: Place, stack: ExitStack) -> None:
    """The stand-in for the Fachverfahren of the destinations, where the configuration has any: all on one
    port."""
    ports = _receivers(place, "fachverfahren")
    if not ports:
        return
    arguments = [str(listening_port(min(ports))), str(place.var / "fachverfahren")]
    child = _start(place, stack, "procedure", ["-m", "hub.demo.fachverfahren", *arguments], piped=True)
    line = child.stdout.readline() if child.stdout else b""
    if not line:
        raise HubError(f"the Fachverfahren's stand-in did not start: {tail(log_of(place, 'procedure'))}")
    _move(place, ports, int(line))


def start_mail(place: Place, stack: ExitStack) -> None:
    """The mail server that keeps what it gets, for all destinations that are mailboxes."""
    ports = _receivers(place, "mail")
    arguments = [str(listening_port(min(ports, default=0))),
                 *(str(place.var / name) for name in ("tls/mail.pem", "tls/mail.key", "mail"))]
    child = _start(place, stack, "mail", ["-m", "hub.demo.mail_server", *arguments], piped=True)
    line = child.stdout.readline() if child.stdout else b""
    if not line:
        raise HubError(f"the mail server did not start: {tail(log_of(place, 'mail'))}")
    _move(place, ports, int(line))


def _receivers(place: Place, kind: Kind) -> dict[int, set[str]]:
    """The ports at which the destinations of a kind expect their receiver, each with their connectors."""
    found: dict[int, set[str]] = {}
    for each in place.configuration.all_destinations():
        port = each.outlet.needs(each.options).port if each.outlet.kind == kind else None
        if port is not None:
            found.setdefault(port, set()).add(each.connector)
    return found


def _move(place: Place, ports: Mapping[int, Iterable[str]], port: int) -> None:
    """Let the destinations find their receiver where it listens: what defaults.toml says is overridden."""
    for wanted, connectors in ports.items():
        for connector in connectors:
            for key, value in place.configuration.defaults.connectors.get(connector, {}).items():
                if isinstance(value, str) and f":{wanted}/" in value:
                    moved = f'"{value.replace(f":{wanted}/", f":{port}/")}"'
                elif value == wanted and not isinstance(value, bool):
                    moved = str(port)
                else:
                    continue
                place.overrides.append(f"defaults.connectors.{connector}.{key}={moved}")


def start_hub(place: Place, stack: ExitStack) -> subprocess.Popen[bytes]:
    place.configuration = loader.load(place.configuration.file, place.overrides)
    settings = [argument for override in place.overrides for argument in ("--set", override)]
    child = _start(place, stack, "hub",
                   ["-m", "hub", "--config", str(place.configuration.file), *settings, "run"], piped=False)
    with place.out.status(_("starting the hub …")):
        deadline = time.monotonic() + START_SECONDS
        while not _ready(place):
            if child.poll() is not None:
                raise HubError(f"the hub did not start (exit {child.returncode}): "
                               f"{tail(log_of(place, 'hub'))}")
            if time.monotonic() > deadline:
                raise HubError(f"the hub is not ready after {START_SECONDS:.0f} s: "
                               f"{tail(log_of(place, 'hub'))}")
            time.sleep(0.05)
    return child


def tail(file: Path) -> str:
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
    return f"{file}\n" + "\n".join(lines)


def status_url(place: Place) -> str:
    status = place.configuration.settings.status
    return f"http://{status.host}:{status.port}"


def _ready(place: Place) -> bool:
    try:
        return httpx2.get(f"{status_url(place)}/readyz", timeout=5, trust_env=False).status_code == 200
    except httpx2.HTTPError:
        return False

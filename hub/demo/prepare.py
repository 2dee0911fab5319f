"""What the demonstration needs before it starts: certificates, ports, counterparts' places."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from hub import endpoint
from hub.config.configuration import Configuration
from hub.config.marks import marked
from hub.demo.certificates import Authority, write_private
from hub.errors import HubError


@dataclass
class Place:
    """Where this run happens: its root, its configuration, and the ports it took."""

    root: Path
    configuration: Configuration
    out: Console
    run: str
    overrides: list[str] = field(default_factory=list)
    client: tuple[Path, Path] | None = None

    @property
    def var(self) -> Path:
        """Where everything of the demo lies."""
        return self.root / "var"

    def ours(self, path: Path) -> Path:
        """The same path. Raises `HubError` when it is not below ``var/``: the demo writes nothing
        elsewhere."""
        if not path.resolve().is_relative_to(self.var.resolve()):
            raise HubError(f"{path}: the demo writes below {self.var} only: run it with the example "
                           "configuration")
        return path

    def short(self, path: Path | str) -> str:
        """A path as one would type it here."""
        return os.path.normpath(path).removeprefix(f"{Path.cwd()}/")


def prepare(place: Place) -> None:
    """Make what the connectors of the configuration need, and note which ports they take. Raises
    `HubError`."""
    configuration = place.configuration
    authority = Authority(place.ours(place.var / "tls"))
    place.ours(configuration.state).mkdir(parents=True, exist_ok=True)
    for inlet in configuration.inlets:
        needs = endpoint.inlet_class(inlet.connector).needs(inlet.options)
        _make(place, authority, needs)
        _make_files(place, authority, inlet.options)
        if needs.port is not None:
            place.overrides.append(f"inlets.{inlet.name}.port={listening_port(needs.port)}")
    for destination in configuration.all_destinations():
        _make(place, authority, destination.outlet.needs(destination.options))
        _make_files(place, authority, destination.options)
    authority.server(place.var / "tls/mail.pem", place.var / "tls/mail.key")
    place.overrides.append(f"status.port={listening_port(configuration.settings.status.port)}")


def _make(place: Place, authority: Authority, needs: endpoint.Needs) -> None:
    """What a connector's class says that it needs."""
    for folder in needs.folders:
        place.ours(folder).mkdir(parents=True, exist_ok=True)
    for file in needs.files:
        place.ours(file).touch()
    if needs.identity is not None:
        certificate, key = needs.identity
        authority.server(place.ours(certificate), place.ours(endpoint.secret_path(key)))
    for client in needs.clients:
        pair = place.var / f"tls/{client.name}.pem", place.var / f"tls/{client.name}.key"
        authority.client(*pair, client.subject, client.san)
        place.client = place.client or pair


def _make_files(place: Place, authority: Authority, options: endpoint.OptionsModel) -> None:
    """What the types of a connector's options say: the CA is ours, and a secret that is missing is
    invented."""
    for _, file in marked(options, endpoint.Mark("authority")):
        _trust(place, authority, file)
    for _, secret in marked(options, endpoint.Mark("secret")):
        file = endpoint.secret_path(secret)
        if not file.exists():
            write_private(place.ours(file), secrets.token_urlsafe(24).encode() + b"\n")


def _trust(place: Place, authority: Authority, file: Path) -> None:
    if file.resolve() != authority.file.resolve():
        place.ours(file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(authority.file, file)


def listening_port(wanted: int) -> int:
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


def log_of(place: Place, name: str) -> Path:
    file = place.var / "log" / f"{name}-{place.run}.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file

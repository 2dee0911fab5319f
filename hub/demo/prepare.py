"""What the demonstration needs before it starts: certificates, ports, counterparts' places."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from hub.config.configuration import Configuration, Inlet
from hub.demo.certificates import Authority, write_private
from hub.endpoint import secret_path
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
    mail_port: int = 0

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
    place.overrides.append(f"status.port={listening_port(configuration.settings.status.port)}")


def _prepare_https(place: Place, authority: Authority, inlet: Inlet) -> None:
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
    place.overrides.append(f"inlets.{inlet.name}.port={listening_port(options['port'])}")


def _prepare_destination(place: Place, authority: Authority, connector: str,
                         options: Mapping[str, Any]) -> None:
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

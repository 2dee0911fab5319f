"""The real command as a process, on a configuration of its own, as an operator runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hub.config import loader
from hub.operations import control_socket
from hub.operations.send import send_file
from tests.services import free_port, wait_until
from tests.services.tls import Authority, KeyPair

ROOT = Path(__file__).parents[2]
MUSTERSTADT, BEISPIELBERG, PROBEDORF = "14999010", "14999020", "14999030"


def document_of(example: str, service: str = "hundesteuer") -> Path:
    """The document of one example application."""
    return next((ROOT / "mappings" / service / "examples" / example).glob("message.*"))


@dataclass
class HubProcess:
    """One hub below `folder`, with `etc/`, `mappings/` and `var/` of its own."""

    folder: Path
    overrides: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        shutil.copytree(ROOT / "etc", self.folder / "etc")
        shutil.copytree(ROOT / "mappings", self.folder / "mappings")
        self.authority = Authority(self.folder / "var", "tls")
        self.authority.file.rename(self.tls / "ca.pem")
        self.authority.server(file="server")
        self.client: KeyPair = self.authority.client("amt24.example")
        for name in ("inbox", "inbox-done", "inbox-rejected"):
            (self.folder / "var" / name).mkdir()
        for file in (self.folder / "etc" / "municipalities").glob("*.toml"):
            for options in tomllib.loads(file.read_text(encoding="utf-8")).get("destinations", {}).values():
                if options["connector"] == "directory":
                    (self.folder / "etc" / options["path"]).resolve().mkdir(parents=True, exist_ok=True)
        self.https, self.status = free_port(), free_port()

    @property
    def tls(self) -> Path:
        """The folder of certificates and keys."""
        return self.folder / "var" / "tls"

    @property
    def drop(self) -> Path:
        """The drop folders."""
        return self.folder / "var" / "drop"

    @property
    def log(self) -> Path:
        """The file with the standard error of all runs."""
        return self.folder / "hub.log"

    def command(self, *arguments: str) -> list[str]:
        """The command line with this hub's configuration."""
        settings = [f"inlets.portal.port={self.https}", f"status.port={self.status}", *self.overrides]
        return [sys.executable, "-m", "hub", "--config", str(self.folder / "etc" / "hub.toml"),
                *(item for setting in settings for item in ("--set", setting)), *arguments]

    def launch(self, environment: dict[str, str] | None = None) -> None:
        """Start the hub without waiting."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command("run"), cwd=ROOT, stderr=log, stdout=log,
                                            start_new_session=True,
                                            env={**os.environ, **(environment or {})})

    def start(self, environment: dict[str, str] | None = None) -> None:
        """Start the hub, and wait until it takes messages."""
        self.launch(environment)
        wait_until(self.ready, f"the hub takes messages ({self.log})", 60)

    def ready(self) -> bool:
        """Whether `/readyz` answers 200. The test fails at once when the process has ended."""
        assert self.process is not None
        assert self.process.poll() is None, (
            f"the hub ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        try:
            return bool(self.http("/readyz"))
        except OSError:
            return False

    def http(self, path: str) -> str:
        """A page of the status port. Raises `OSError` unless the answer is 200."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.status}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def stop(self) -> int:
        """Send SIGTERM and wait. Returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        return code

    def kill(self) -> None:
        """Send SIGKILL to the whole process group, workers too.

        That is a power cut for the processes; the disk is not touched.
        """
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(30)
        self.process = None

    def close(self) -> None:
        """End the hub, in whatever state it is."""
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def send(self, file: Path, *attachments: Path, ags: str = MUSTERSTADT, service: str = "hundesteuer",
             client: KeyPair | None = None, **options: Any) -> dict[str, Any]:
        """Hand in one application by HTTPS."""
        pair = client or self.client
        return send_file(file, attachments, url=f"https://localhost:{self.https}/in/{ags}/{service}",
                         cert=pair.certificate,
                         key=pair.key, ca=self.tls / "ca.pem", **options)

    def cli(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with ``--json`` beside the hub. Returns its answer."""
        result = subprocess.run(self.command(*arguments, "--json"), cwd=ROOT, capture_output=True, timeout=60,
                                check=False)
        assert result.returncode == code, (
            f"{arguments}: {result.returncode}\n{result.stdout.decode()}\n{result.stderr.decode()}")
        return json.loads(result.stdout or b"null")

    def show(self, message_id: str) -> dict[str, Any]:
        """One message by the control socket."""
        socket = loader.places(self.folder / "etc" / "hub.toml", self.overrides).hub.socket
        found: dict[str, Any] = control_socket.ask(socket, "show", {"id": message_id})
        return found

    def settled(self, ids: Sequence[str], seconds: float = 60) -> list[dict[str, Any]]:
        """The messages, once each is completed, parked or discarded."""
        found: dict[str, dict[str, Any]] = {}

        def all_settled() -> bool:
            for message_id in set(ids) - set(found):
                message = self.show(message_id)
                if message["state"] in ("completed", "parked", "discarded"):
                    found[message_id] = message
            return len(found) == len(set(ids))

        wait_until(all_settled, f"{len(ids)} messages to be settled ({self.log})", seconds)
        return [found[message_id] for message_id in ids]

    def metric(self, name: str) -> dict[str, float]:
        """The values of all series of a metric, by their labels as text."""
        lines = [line for line in self.http("/metrics").splitlines()
                 if line.startswith((f"{name}{{", f"{name} "))]
        return {line.rpartition(" ")[0].removeprefix(name): float(line.rpartition(" ")[2]) for line in lines}

"""What is measured: the hub as its real command, and the bare pipeline. Each has a folder of its own.

Both are started once, process a few applications first, and are then measured in turn. A `Place` has the
services around them (broker, mail server, SFTP server), the certificates, and the folders in which things
arrive.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import application
from benchmarks.figures import ROOT
from benchmarks.load import Publisher
from connectors import amqp as inlet
from tests.services import accepts, free_port, need, wait_until
from tests.services.openssh import OpenSsh
from tests.services.rabbitmq import RabbitMQ
from tests.services.tls import Authority
from tests.torture.stage import OPEN

HUB = "hub"
READER = "reader"
"""The password of the subject at the broker. The broker lives for one run, on loopback."""
BIN = "DREHSCHEIBE_BENCH_BIN"
"""Environment variable: a folder for what runs leave behind. Whoever sets the variable empties the folder.

Nothing is deleted before or between measurements. ext4 does not reuse an inode that was freed within the last
minutes, and it passes over all such inodes, one by one, for each file that it makes. With 3,000 of them that
is a fifth of the bare pipeline's work.
"""
PREFETCH_BYTES = 64_000_000
"""How many bytes a subject may have in hand from the broker."""
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Place:
    """The folder of a run, with the requested services."""

    folder: Path
    stack: ExitStack
    services: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        authority = Authority(self.folder, "tls")
        authority.server("localhost", "127.0.0.1", file="server")
        authority.client("amt24.example")
        self.tls = self.folder / "tls"

    def secret(self, text: str) -> str:
        """Write a secret into a file. Returns its name as configurations write it."""
        file = self.folder / f"secret-{uuid.uuid4().hex}"
        file.write_text(text)
        return f"file:{file}"


@contextmanager
def place(inlets: Sequence[str] = (), outlets: Sequence[str] = ()) -> Iterator[Place]:
    """A temporary folder with the services that these ways in and out need."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        folder.chmod(0o755)
        stack.callback(discard, folder)
        services: dict[str, Any] = {}
        if "amqp" in inlets:
            services["amqp"] = _broker(stack)
        if "smtp" in outlets:
            need("smtp-sink", "postfix")
        if "sftp" in outlets:
            (folder / "ssh").mkdir()
            services["sftp"] = OpenSsh(folder / "ssh")
            stack.callback(services["sftp"].close)
        yield Place(folder, stack, services)


def discard(folder: Path) -> None:
    """Move a folder into the `BIN`. Without one, delete it."""
    if bin_ := os.environ.get(BIN):
        folder.rename(Path(bin_) / f"{folder.name}-{uuid.uuid4().hex}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


def _broker(stack: ExitStack) -> RabbitMQ:
    need("rabbitmq-server", "rabbitmq-server")
    home = Path(tempfile.mkdtemp(prefix="rabbitmq-"))  # short, because Unix limits paths of sockets
    stack.callback(discard, home)
    broker = RabbitMQ(home)
    stack.callback(broker.stop)
    broker.start()
    return broker


class Subject:
    """What the hub and the bare pipeline have in common. `drop` is the folder in which things arrive."""

    def __init__(self, name: str, place: Place, way_in: str, way_out: str,
                 environment: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.place = place
        self.way_in, self.way_out = way_in, way_out
        self.folder = place.folder / name
        self.folder.mkdir()
        self.drop = self.folder / "drop"
        self.state = self.folder / "state"
        self.drop.mkdir()
        self.log = self.folder / "log"
        self.processes: list[subprocess.Popen[bytes]] = []
        self.environment = {**os.environ, **(environment or {})}
        self.https = free_port()
        self.smtp = self._sink() if way_out == "smtp" else 0
        place.stack.callback(self.close)
        if way_in == "amqp":
            self._queue()

    @property
    def user(self) -> str:
        """The user of the sender at the broker. The queue is named after it."""
        return f"sender-{self.name}"

    def _queue(self) -> None:
        """Set the broker up as the hub does, so that both subjects consume the same kind of queue."""
        broker: RabbitMQ = self.place.services["amqp"]
        self.vhost = f"{self.name}-{uuid.uuid4().hex[:8]}"
        broker.add_vhost(self.vhost)
        self.amqp = {
            "port": broker.port,
            "vhost": self.vhost,
            "user": f"reader-{self.vhost}",
            "password": self.place.secret(READER),
            "senders": [{"name": "amt24", "user": self.user, "password": self.place.secret("sender")}],
        }
        admin = inlet.Admin.model_validate(
            {"url": broker.api, "user": broker.admin[0], "password": self.place.secret(broker.admin[1])}
        )
        findings = inlet.setup(inlet.Options.model_validate(self.amqp), admin)
        if wrong := [finding.text for finding in findings if finding.severity == "error"]:
            raise RuntimeError("; ".join(wrong))

    def publisher(self) -> Publisher:
        """A sender for this subject's queue."""
        return Publisher(self.place.services["amqp"].port, self.vhost, self.user, "sender", "drehscheibe.in",
                         self.user)

    def _sink(self) -> int:
        """Start a mail server that is cheaper than any sender: Postfix's smtp-sink, one file per mail."""
        port = free_port()
        command = [need("smtp-sink", "postfix"), "-d", f"{self.drop}/"]
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.drop, nobody.pw_uid, nobody.pw_gid)
            command += ["-u", "nobody"]
        with self.folder.joinpath("sink.log").open("wb") as log:
            sink = subprocess.Popen([*command, f"127.0.0.1:{port}", "200"], stdout=log, stderr=log,
                                    cwd=self.drop)
        self.place.stack.callback(_end, sink)
        wait_until(lambda: accepts(port), "smtp-sink listens")
        return port

    def start(self) -> None:
        """Start the subject, and wait until it takes messages."""
        raise NotImplementedError

    def _launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def freeze(self) -> None:
        """Stop the processes for the moment, so that a queue can be filled."""
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let the processes go on."""
        for process in self.processes:
            process.send_signal(signal.SIGCONT)

    def settle(self) -> None:
        """Wait until nothing is under way any more."""

    def kill(self) -> None:
        """Send SIGKILL to all processes, the workers too."""
        for process in self.processes:
            _end(process)
        self.processes.clear()

    def close(self) -> None:
        """End the subject."""
        self.kill()

    def clear(self) -> None:
        """Take away what arrived, as a town hall does. It is kept in another folder (see `BIN`)."""
        taken = self.folder / f"taken-{uuid.uuid4().hex}"
        taken.mkdir()
        for entry in os.scandir(self.drop):
            os.rename(entry.path, taken / entry.name)  # noqa: PTH104

    def pids(self) -> list[int]:
        """The processes, and all processes below them."""
        found = [process.pid for process in self.processes]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    found += [int(child) for child in task.read_text().split()]
                except OSError:
                    continue
        return found

    def cpu(self) -> float:
        """The seconds of processor time used so far."""
        return sum(sum(map(int, fields[11:13])) for fields in map(_stat, self.pids()) if fields) / TICKS

    def memory(self) -> dict[int, int]:
        """The resident bytes of each process."""
        return {pid: int(fields[21]) * PAGE for pid in self.pids() if (fields := _stat(pid))}


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name. Empty when the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        try:
            (os.killpg(process.pid, signal.SIGKILL) if os.getpgid(process.pid) == process.pid
             else process.kill())
        except ProcessLookupError:
            pass
    process.wait(30)


class Bare(Subject):
    """The bare pipeline (`benchmarks.bare`), as one or more processes."""

    def __init__(
        self,
        place: Place,
        way_in: str,
        way_out: str,
        size: str = "4 KB",
        *,
        processes: int = 1,
        threads: int = 2,
        name: str = "bare",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, place, way_in, way_out, environment)
        self._size = len(application.document("x", *application.SIZES[size]))
        self.prefetch = max(8, min(1000, PREFETCH_BYTES // self._size))
        self._count = processes if way_in == "amqp" else 1
        self._threads = threads

    def start(self) -> None:
        self.log.unlink(missing_ok=True)
        for number in range(self._count):
            file = self.folder / f"bare-{number}.json"
            file.write_text(
                json.dumps(
                    {"state": str(self.state / str(number)), "threads": self._threads, "in": self.inlet(),
                     "out": self.outlet()}
                )
            )
            self._launch("-m", "benchmarks.bare", str(file))
        wait_until(lambda: self.log.read_bytes().count(b"ready") >= self._count or self._ended(),
                   "the bare pipeline is ready")
        if self._ended():
            raise RuntimeError(f"the bare pipeline ended:\n{self.log.read_text()[-2000:]}")
        if self.way_in == "https":
            wait_until(lambda: accepts(self.https), "the bare pipeline listens")

    def _ended(self) -> bool:
        return any(process.poll() is not None for process in self.processes)

    def inlet(self) -> dict[str, Any]:
        """The settings of the way in, as `benchmarks.bare` wants them."""
        if self.way_in == "https":
            tls = self.place.tls
            return {
                "kind": "https",
                "port": self.https,
                "certificate": str(tls / "server.pem"),
                "key": str(tls / "server.key"),
                "ca": str(tls / "ca.pem"),
            }
        return {
            "kind": "amqp",
            "port": self.amqp["port"],
            "vhost": self.vhost,
            "user": self.amqp["user"],
            "password": READER,
            "queue_name": f"drehscheibe.in.{self.user}",
            "prefetch": self.prefetch,
        }

    def outlet(self) -> dict[str, Any]:
        """The settings of the way out."""
        if self.way_out == "smtp":
            return {"kind": "smtp", "port": self.smtp}
        if self.way_out == "sftp":
            server: OpenSsh = self.place.services["sftp"]
            return {"kind": "sftp", "port": server.port, "user": server.user, "key": str(server.key),
                    "path": str(self.drop)}
        return {"kind": "folder", "path": str(self.drop)}


class Hub(Subject):
    """The hub's own command, on a configuration of its own.

    Workers, intents, events, metrics and the check for duplicates are on, as always.
    """

    settings: Mapping[str, Mapping[str, Any]] = {"workers": {"count": 2}, "deliver": {}}

    def __init__(
        self,
        place: Place,
        way_in: str,
        way_out: str,
        size: str = "4 KB",
        *,
        name: str = HUB,
        environment: Mapping[str, str] | None = None,
        overrides: Sequence[str] = (),
        arguments: Sequence[str] = (),
    ) -> None:
        super().__init__(name, place, way_in, way_out, environment)
        self._arguments = [*arguments, *(item for override in overrides for item in ("--set", override))]
        self._folder_per_application = application.SIZES[size][1] > 0
        self._size = len(application.document("x", *application.SIZES[size]))
        self.waiting = 0
        self.status = free_port()
        self.etc = self.folder / "etc"
        (self.etc / "municipalities").mkdir(parents=True)
        application.write_mapping(self.folder / "mappings")
        self.write()

    def write(self) -> None:
        """Write the configuration: one municipality with one service, and one route to one recipient."""
        settings = "\n".join(
            f"[{section}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in rows.items())
            for section, rows in self.settings.items()
        )
        (self.etc / "hub.toml").write_text(
            f"""
[hub]
name = "Leistungsmessung"
state = "{self.state}"
mappings = "../mappings"
[status]
port = {self.status}
{settings}
[[sender]]
name = "amt24"
[inlets.amt24]
{self._inlet()}
""",
            encoding="utf-8",
        )
        (self.etc / "defaults.toml").write_text('[policy.retry]\nfirst = "10s"\n')
        send = ["xml", *(["attachments"] if self._folder_per_application else [])]
        (self.etc / "municipalities" / f"{application.AGS}.toml").write_text(
            f"""
name = "Stadt Musterstadt"
ags = "{application.AGS}"
tenant = "musterstadt"
[destinations.ziel]
{self._destination()}
[[route]]
service = "{application.SERVICE}"
recipients = [{{ destination = "ziel", send = {json.dumps(send)} }}]
""",
            encoding="utf-8",
        )

    def _inlet(self) -> str:
        if self.way_in == "https":
            tls = self.place.tls
            return (
                f'connector = "https"\nport = {self.https}\n'
                f'certificate = "{tls}/server.pem"\nkey = "file:{tls}/server.key"\n'
                f'client_ca = ["{tls}/ca.pem"]\n'
                'senders = [{ name = "amt24", subject = "CN=amt24.example" }]'
            )
        return (
            f'connector = "amqp"\nport = {self.amqp["port"]}\nvhost = "{self.vhost}"\n'
            f'user = "{self.amqp["user"]}"\npassword = "{self.amqp["password"]}"\n'
            f'senders = [{{ name = "amt24", user = "{self.user}" }}]\n'
            f"prefetch = {max(8, min(1000, PREFETCH_BYTES // self._size))}"
        )

    def _destination(self) -> str:
        layout = 'layout = "folder"' if self._folder_per_application else 'layout = "single"'
        if self.way_out == "smtp":
            return (
                f'connector = "smtp"\nhost = "127.0.0.1"\nport = {self.smtp}\nsecurity = "none"\n'
                'from = "hub@hub.example"\nto = ["amt@musterstadt.example"]'
            )
        if self.way_out == "sftp":
            server: OpenSsh = self.place.services["sftp"]
            return (
                f'connector = "sftp"\nhost = "127.0.0.1"\nport = {server.port}\nuser = "{server.user}"\n'
                f'key = "file:{server.key}"\n'
                f'host_key = ["{server.host_key}"]\npath = "{self.drop}"\nname = "{{case}}_{{id}}"\n{layout}'
            )
        return f'connector = "directory"\npath = "{self.drop}"\nname = "{{case}}_{{id}}"\n{layout}'

    def start(self) -> None:
        self.launch()
        wait_until(self.ready, f"the hub is ready ({self.log})", 120)
        self.waiting = self.open()  # what a filled store had already stays open

    def launch(self) -> None:
        """Start the hub without waiting."""
        self._launch("-m", "hub", "--config", str(self.etc / "hub.toml"), *self._arguments, "run")

    def ready(self) -> bool:
        """Whether the hub takes messages. Raises `RuntimeError` when it has ended."""
        if self.processes[0].poll() is not None:
            raise RuntimeError(f"the hub ended:\n{self.log.read_text()[-2000:]}")
        try:
            self.http("/readyz")
        except OSError:
            return False
        return True

    def http(self, path: str) -> str:
        """A page of its status port. Raises `OSError`."""
        place = f"http://127.0.0.1:{self.status}{path}"
        with urllib.request.urlopen(place, timeout=30) as answer:  # nosec B310
            return str(answer.read().decode())

    def open(self) -> int:
        """How many messages and deliveries are under way, by the hub's own figures."""
        return int(sum(float(count) for count in OPEN.findall(self.http("/metrics"))))

    def settle(self) -> None:
        end = time.monotonic() + 60
        while self.open() > self.waiting and time.monotonic() < end:
            time.sleep(0.1)

    def main_memory(self) -> int:
        """The resident bytes of the main process."""
        return self.memory()[self.processes[0].pid]

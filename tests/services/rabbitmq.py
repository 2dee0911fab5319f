"""A real RabbitMQ on loopback, with its own node name, epmd, data, cookie and plugins.

Each test has a virtual host.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import kombu
import pytest

from tests.services import accepts, free_port, need, wait_until
from tests.services.tls import Authority

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")  # not the wrapper in sbin, which changes the user


@dataclass
class RabbitMQ:
    """The broker. `admin` is its administrator. Everything listens on 127.0.0.1."""

    folder: Path
    port: int = field(default_factory=free_port)
    tls_port: int = field(default_factory=free_port)
    api_port: int = field(default_factory=free_port)
    admin: tuple[str, str] = ("admin", "admin-test")

    def __post_init__(self) -> None:
        self.authority = Authority(self.folder, "broker-ca")
        self._epmd_port = free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        server = self.authority.server("127.0.0.1")
        (self.folder / "plugins").write_text("[rabbitmq_management].\n")
        (self.folder / "rabbitmq.conf").write_text("\n".join([
            f"listeners.tcp.1 = 127.0.0.1:{self.port}", f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
            f"ssl_options.cacertfile = {self.authority.file}", f"ssl_options.certfile = {server.certificate}",
            f"ssl_options.keyfile = {server.key}", "ssl_options.verify = verify_none",
            f"management.tcp.port = {self.api_port}", "management.tcp.ip = 127.0.0.1",
            f"default_user = {self.admin[0]}", f"default_pass = {self.admin[1]}", "log.console = true",
            "vm_memory_high_watermark.absolute = 1GB", "disk_free_limit.absolute = 50MB", ""]))

    @property
    def api(self) -> str:
        """The address of the management API."""
        return f"http://127.0.0.1:{self.api_port}"

    def start(self) -> None:
        """Start the broker. A second start has the same data."""
        self._run(need("epmd", "erlang-base"), "-port", str(self._epmd_port), "-address", "127.0.0.1")
        wait_until(lambda: accepts(self._epmd_port), "epmd")
        self._run(str(SERVER))
        wait_until(lambda: accepts(self.port) and self._api_answers(), "RabbitMQ", 60)

    def stop(self) -> None:
        """End the broker at once, as a crash would."""
        for process in reversed(self._processes):
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self._processes.clear()
        wait_until(lambda: not accepts(self.port), "the port to be free")

    def control(self, *command: str) -> None:
        """Run rabbitmqctl."""
        subprocess.run([str(SERVER.with_name("rabbitmqctl")), "-q", *command], env=self._environment(),
                       check=True, stdout=subprocess.DEVNULL, timeout=120)

    def call(self, method: str, path: str, json: Any = None) -> Any:
        """Call the management API below /api."""
        answer = httpx2.request(method, f"{self.api}/api/{path}", json=json, auth=self.admin, timeout=30)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def add_vhost(self, name: str) -> None:
        """Make a virtual host in which the administrator may do everything."""
        self.call("PUT", f"vhosts/{name}")
        self.call("PUT", f"permissions/{name}/{self.admin[0]}",
                  {"configure": ".*", "write": ".*", "read": ".*"})

    def connection(self, vhost: str, user: str | None = None,
                   password: str | None = None) -> kombu.Connection:
        """A connection with publisher confirms."""
        return kombu.Connection(hostname="127.0.0.1", port=self.port, virtual_host=vhost,
                                login_method="PLAIN",
                                userid=user or self.admin[0], password=password or self.admin[1],
                                transport_options={"confirm_publish": True})

    def count(self, vhost: str, queue: str) -> int:
        """The number of messages in a queue, including delivered ones that are not acknowledged."""
        with self.connection(vhost) as connection, connection.channel() as channel:
            ready: int = channel.queue_declare(queue, passive=True).message_count
        return ready

    def _run(self, *command: str) -> None:
        with (self.folder / "console.log").open("ab") as log:
            self._processes.append(subprocess.Popen(command, env=self._environment(), stdout=log, stderr=log,
                                                    start_new_session=True, cwd=self.folder))

    def _api_answers(self) -> bool:
        try:
            return httpx2.get(f"{self.api}/api/overview", auth=self.admin, timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def _environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "HOME": folder, "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"test{self.port}@localhost", "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia", "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{folder}/none.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins", "RABBITMQ_PID_FILE": f"{folder}/pid",
            "ERL_EPMD_PORT": str(self._epmd_port), "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS":
            "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        }


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """The broker of this test session."""
    need("rabbitmq-server", "rabbitmq-server")
    folder = Path(tempfile.mkdtemp(prefix="rabbitmq-"))  # short, because Unix limits paths of sockets
    broker = RabbitMQ(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()
        shutil.rmtree(folder, ignore_errors=True)

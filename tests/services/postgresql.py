"""A real PostgreSQL on loopback, with its own cluster and port, and passwords by SCRAM.

Each test has a database.
It refuses to run as root. In that case its processes run as Debian's user ``postgres``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hub.config.sections import StoreSection
from hub.store.store import Store
from tests.services import free_port, missing, wait_until

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: int(place.parent.name))
PASSWORD = "geheim-im-test"
_numbers = count(1)


def need_postgresql() -> Path:
    """The folder of its programs. Without them the test is skipped (in CI it fails)."""
    if not PROGRAMS or not (PROGRAMS[-1] / "initdb").exists():
        missing("PostgreSQL", "apt-get install postgresql")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        missing("setpriv", "apt-get install util-linux")
    return PROGRAMS[-1]


@dataclass
class PostgreSQL:
    """The server. `hub` is the user of the hub, `postgres` the administrator.

    Without `synced` it does not sync, so a power cut may lose data.
    """

    folder: Path
    synced: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data = self.folder / "data"
        self.password = self.folder / "password"
        self.password.write_text(f"{PASSWORD}\n")
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            self.password.chmod(0o644)

    def create(self) -> None:
        """Make a new cluster with the German order of letters, so that code that relies on bytes fails."""
        subprocess.run(self._as_postgres("initdb", "--pgdata", str(self.data), "--username=postgres",
                                         "--encoding=UTF8",
                                         "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=de-DE",
                                         "--auth=scram-sha-256", f"--pwfile={self.password}", "--no-sync"),
                       check=True, capture_output=True, cwd="/")

    def start(self) -> None:
        """Start the server. A second start has the same data."""
        settings = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "",
                    "max_connections": 200, "fsync": "on" if self.synced else "off", "shared_buffers": "64MB",
                    "log_min_messages": "warning"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._as_postgres("postgres", "-D", str(self.data), *(item for name, value in settings.items()
                                                                      for item in ("-c", f"{name}={value}"))),
                stdout=log, stderr=log, start_new_session=True, cwd="/")
        wait_until(self._answers, f"PostgreSQL ({self.folder / 'server.log'})", 60)

    def stop(self, number: int = signal.SIGQUIT) -> None:
        """End the server at once, as a crash would (SIGQUIT), or in order (SIGINT)."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None

    def crash(self) -> None:
        """Let all sessions end and the log be replayed, as after SIGKILL to a process of the server."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)
        self.process = None
        pid = self.data / "postmaster.pid"
        wait_until(lambda: not _session_alive(self.data), "the backends' ends")
        pid.unlink(missing_ok=True)

    def admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the administrator, in autocommit mode."""
        return psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", password=PASSWORD,
                               dbname=database, autocommit=True, connect_timeout=5)

    def url(self, database: str, port: int | None = None) -> str:
        """The address of a database, for ``[store] url``."""
        return f"postgresql://hub@127.0.0.1:{port or self.port}/{database}"

    def add_database(self, template: str = "template1") -> str:
        """Make a new database for the hub, empty or as a copy of another one. Returns its name."""
        name = f"hub{next(_numbers)}"
        with self.admin() as connection:
            connection.execute(f'CREATE DATABASE "{name}" OWNER hub TEMPLATE "{template}"')
        return name

    @cached_property
    def template(self) -> str:
        """The name of a database that has the tables already."""
        name = self.add_database()
        Store.open(self.folder / "template", served=self.section(name)).close()
        with self.admin(name) as connection:
            connection.execute("DELETE FROM node")
            connection.execute("DELETE FROM store")
        return name

    def section(self, database: str, port: int | None = None, **more: Any) -> StoreSection:
        """The section ``[store]`` for a database. `port` is the port of a proxy, if there is one."""
        return StoreSection(url=self.url(database, port), password=f"file:{self.password}", tls="disable",
                            **more)

    def drop_database(self, name: str) -> None:
        """Drop a database, and end its sessions."""
        with self.admin() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-2000:]
        try:
            with self.admin() as connection:
                if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'hub'").fetchone() is None:
                    connection.execute(f"CREATE ROLE hub LOGIN PASSWORD '{PASSWORD}'")
        except psycopg.OperationalError:
            return False
        return True

    def _as_postgres(self, program: str, *arguments: str) -> list[str]:
        drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups",
                "--"] if os.geteuid() == 0 else []
        return [*drop, str(need_postgresql() / program), *arguments]


def _session_alive(data: Path) -> bool:
    """Whether a process of this cluster is alive. Its working folder is the data folder."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if (place / "cwd").resolve() == data:
                return True
        except OSError:
            continue
    return False


@pytest.fixture(scope="session")
def postgresql(pytestconfig: pytest.Config) -> Iterator[PostgreSQL]:
    """The server of this test session."""
    if "not service" in pytestconfig.getoption("markexpr"):
        pytest.fail("no services were asked for: whatever starts one is marked with pytest.mark.service",
                    pytrace=False)
    need_postgresql()
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))
    server = PostgreSQL(folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)

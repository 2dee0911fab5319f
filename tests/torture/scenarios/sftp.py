"""A real OpenSSH server that dies inside a file, is full, read-only, replaced, or as slow as 64 kbit/s.

There is never a torn file under a final name, and at the end one copy of each.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.services.openssh import OpenSsh
from tests.services.proxy import Proxy
from tests.torture.document import LARGE_BYTES, LARGE_EVERY, MUNICIPALITIES
from tests.torture.peers import Cells
from tests.torture.stage import Stage, wait
from tests.torture.steps import Progress, Result

SFTP = """connector = "sftp"
host = "127.0.0.1"
port = {port}
user = "{user}"
key = "file:{key}"
host_key = ["{host_key}"]
path = "{path}"
timeout = 20"""
SOME_WAY = ({"delivered", "retried", "probed"},)
DISK = "4m"


class Server:
    """sshd behind a proxy, with its injuries. Each injury is caused and healed, with probes, and judged."""

    def __init__(self, folder: Path, stage: Stage) -> None:
        folder.mkdir()
        self.ssh = OpenSsh(folder)
        self.line = Proxy(self.ssh.port)
        self.stage = stage
        self.run = Cells(stage, "ablage", f"s{stage.seed}")
        self.config = folder / "sshd_config"
        self.good = self.config.read_text()

    def close(self) -> None:
        """End the server."""
        self.line.close()
        self.ssh.close()

    def killed(self, kills: int = 4) -> None:
        """SIGKILL to the server and all its sessions inside a large file."""
        self.line.throttle(40_000)
        names = self.run.send(LARGE_EVERY)
        hits, seen = 0, set[Path]()
        for _ in range(kills):
            wait(lambda: bool(self._half_written() - seen)  # noqa: B023  it is called at once
                 or self.stage.hub.settled(), "a file is being written")
            hits += bool(self._half_written() - seen)
            self.ssh.kill()
            seen |= self._half_written()
            self.ssh.start()
        self.line.behave()
        self.run.faults += [] if hits else ["killed: no file was being written"]
        self.stage.extra_hits += hits
        self.run.expect("killed", names, *SOME_WAY)

    def full(self) -> None:
        """No block is left."""
        filler = self.stage.world.drop / ".filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                assert error.errno == errno.ENOSPC
        self._until_repaired("full", "retried", filler.unlink)

    def forbidden(self) -> None:
        """Nobody may write any more."""
        self._restart(self.good.replace("internal-sftp", "internal-sftp -R"))
        self._until_repaired("forbidden", "held", lambda: self._restart(self.good))

    def another_key(self) -> None:
        """The server shows another key than the pinned one, as an intruder or a new machine would."""
        strange = self.ssh.root / "strange"
        if not strange.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(strange)], check=True)
        self._restart(self.good.replace(str(self.ssh.root / "host_ed25519"), str(strange)))
        self._until_repaired("another key", "held", lambda: self._restart(self.good))

    def slow(self) -> None:
        """The server has 64 kbit/s, and one of the probes has 90 KB."""
        self.line.throttle(8_000)
        names = self.run.send(LARGE_EVERY)
        self.run.expect("slow", names, *SOME_WAY)
        self.line.behave()

    def _until_repaired(self, name: str, kind: str, repair: Callable[[], object]) -> None:
        names = self.run.send()
        self.run.tried(names)
        time.sleep(1)
        repair()
        self.stage.hub.signal(signal.SIGHUP)
        self.run.expect(name, names, kind)

    def _half_written(self) -> set[Path]:
        """The folders with an incomplete large file."""
        found = set()
        for file in self.stage.world.drop.glob("*/*"):
            with suppress(OSError):  # it was renamed meanwhile
                found |= {each.parent for each in file.iterdir() if 5_000 < each.stat().st_size < LARGE_BYTES}
        return found

    def _restart(self, config: str) -> None:
        self.ssh.kill()
        self.config.write_text(config)
        self.ssh.start()


INJURIES: dict[str, Callable[[Server], None]] = {
    "killed": Server.killed, "full": Server.full, "forbidden": Server.forbidden,
    "another key": Server.another_key,
    "slow": Server.slow}
SHORT = ("forbidden", "another key", "full")


def bad_file_server(folder: Path, seed: int, *, injuries: Collection[str] = tuple(INJURIES),
                    progress: Progress = print,
                    launcher: Sequence[str] = ("-m", "hub")) -> Result:
    """Cause the injuries one after the other.

    Only root can give the server a small disk. Without root "full" is left out, with a message.
    """
    with Stage(folder, seed) as stage, _small_disk(stage.world.drop) as small:
        server = Server(folder / "ssh", stage)
        try:
            _municipalities(stage, server)
            stage.hub.launcher = launcher
            stage.hub.start()
            server.run.expect("nothing", server.run.send(), "delivered")
            for name in injuries:
                if name == "full" and not small:
                    progress("full: left out, only root can mount a small disk")
                    continue
                INJURIES[name](server)
                progress(f"{name}: {stage.acknowledged()} acknowledged")
            stage.drain()
            return {**stage.check(), "faults": server.run.count()}
        finally:
            server.close()


@contextmanager
def _small_disk(drop: Path) -> Iterator[bool]:
    """Put the drop folders on a small disk, if this process may. Yields whether it did."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(drop)]
    small = os.geteuid() == 0 and subprocess.run(command, check=False,
                                                 stderr=subprocess.DEVNULL).returncode == 0
    for municipality in MUNICIPALITIES.values():
        (drop / municipality).mkdir(exist_ok=True)
    try:
        yield small
    finally:
        if small:
            kept = drop.with_name("drop-kept")  # so that torn or missing files can be examined afterwards
            shutil.copytree(drop, kept)
            subprocess.run(["umount", "-l", str(drop)], check=True)


def _municipalities(stage: Stage, server: Server) -> None:
    for ags, tenant in MUNICIPALITIES.items():
        file = stage.world.config.parent / "municipalities" / f"{ags}.toml"
        path = stage.world.drop / tenant
        old = f'connector = "directory"\npath = "{path}"'
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, SFTP.format(
            port=server.line.port, user=server.ssh.user, key=server.ssh.key, host_key=server.ssh.host_key,
            path=path)))

"""A real OpenSSH server on loopback, with keys of its own. The user who runs the tests can log in."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from tests.services import accepts, free_port, need, wait_until

CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {host_key}
PidFile none
AuthorizedKeysFile {root}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
LogLevel VERBOSE
Subsystem sftp {sftp}
{more}
"""


class OpenSsh:
    """The server. `files` is the folder to write to, `host_key` the line to pin, `key` the key of `user`."""

    def __init__(self, root: Path, *, kind: str = "ed25519", sftp: str = "internal-sftp",
                 more: str = "") -> None:
        self.binary = need("sshd", "openssh-server")
        self._keygen = need("ssh-keygen", "openssh-client")
        self.root = root
        self.port = free_port()
        self.user = pwd.getpwuid(os.geteuid()).pw_name
        self.files = root / "files"
        self.files.mkdir(exist_ok=True)
        self.key = self._make_key("user", "ed25519")
        self._host_key = self._make_key(f"host_{kind}", kind)
        self.host_key = self._host_key.with_suffix(".pub").read_text().strip()
        shutil.copy(self.key.with_suffix(".pub"), root / "authorized_keys")
        (root / "sshd_config").write_text(CONFIG.format(
            port=self.port, host_key=self._host_key, root=root, sftp=sftp.format(root=root), more=more))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self.start()

    def _make_key(self, name: str, kind: str) -> Path:
        file = self.root / name
        if not file.exists():
            subprocess.run([self._keygen, "-q", "-t", kind, "-N", "", "-C", name, "-f", str(file)],
                           check=True)
        return file

    def start(self) -> None:
        """Start the server. A second start has the same port."""
        with (self.root / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen([self.binary, "-D", "-e", "-f", str(self.root / "sshd_config")],
                                             stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(lambda: accepts(self.port) or self._process.poll() is not None, "sshd listens")
        if self._process.poll() is not None:
            raise RuntimeError((self.root / "sshd.log").read_text())

    def kill(self) -> None:
        """Kill the server and all sessions, as a power failure would."""
        family = [self._process.pid]
        for pid in family:
            with suppress(OSError):  # a session that has just ended by itself
                for task in Path(f"/proc/{pid}/task").glob("*/children"):
                    family += [int(child) for child in task.read_text().split()]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process.wait(10)

    def log(self) -> str:
        """The log of sshd and of the SFTP server."""
        return (self.root / "sshd.log").read_text()

    def close(self) -> None:
        """Stop the server."""
        if self._process.poll() is None:
            self.kill()

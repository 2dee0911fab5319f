"""A drop folder on an SFTP server, over one session that is kept between deliveries.

What arrives, a second delivery
    as in `connectors.directory`: same layouts, same names, same order of steps (`connectors._drop`). Sizes
    are checked before the rename. Files are synced where the server offers fsync@openssh.com; folders cannot
    be, over SFTP.
Temporary
    a dead or hanging server, a lost session, "Failure" (SFTP's word for a full disk and for much else).
Misconfigured
    an unknown or changed host key, a refused login, a folder that is missing or read-only, a server too old
    for SHA-2.

The server is trusted by pinned keys alone; no agent and no file below ~/.ssh takes part.

Hazards
    posix-rename overwrites; the final name is asked for just before, and it holds the delivery's id. Servers
    without it get the plain rename, which by its specification never overwrites. With pipelining paramiko
    forgets what the server said to single writes, and a hole in a file has the right size: the last piece is
    written without, which makes paramiko read every answer.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import socket
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Annotated, Any, BinaryIO

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from paramiko.sftp import CMD_EXTENDED
from pydantic import AfterValidator, Field, model_validator

from connectors._drop import DropOutlet
from connectors._layout import DropOptions, chunks
from hub.endpoint import Finding, SecretRef, read_secret, secret_path
from hub.errors import ConfigError, DeliveryError, Misconfigured, Temporary

_PIECE = 32768  # what paramiko puts into one request


def _check_host_key(value: str) -> str:
    if not value.startswith("file:"):
        key_bytes(value)
    return value


def key_bytes(line: str) -> bytes:
    """The key of a line ``[host] ssh-ed25519 AAAA… [comment]``. Raises ValueError."""
    words = line.split()
    for kind, text in pairwise(words):
        if kind.startswith(("ssh-", "ecdsa-sha2-")):
            try:
                blob = base64.b64decode(text, validate=True)
            except binascii.Error as error:
                raise ValueError(f"the key after {kind} is no base64") from error
            if blob[4:4 + len(kind)] != kind.encode():
                raise ValueError(f"the key after {kind} is of another kind")
            return blob
    raise ValueError("is no host key: take a line of `ssh-keyscan HOST`, or file:/path to such lines")


HostKey = Annotated[str, AfterValidator(_check_host_key)]


class Options(DropOptions):
    """``connector = "sftp"``"""

    host: str = Field(description="the server")
    port: int = Field(22, ge=1, le=65535, description="its port")
    user: str = Field(description="login name")
    key: SecretRef | None = Field(None, description="private key (OpenSSH or PEM)")
    key_password: SecretRef | None = Field(None, description="password of the private key")
    password: SecretRef | None = Field(None, description="login password")
    host_key: tuple[HostKey, ...] = Field(
        min_length=1, description="pinned keys: lines of ssh-keyscan, or file:/path")
    path: str = Field(".", min_length=1, description="the target folder on the server")
    connect_timeout: float = Field(20, gt=0, description="seconds for connection and key exchange")
    auth_timeout: float = Field(30, gt=0, description="seconds for the login")
    timeout: float = Field(60, gt=0, description="seconds for each answer")
    keepalive: int = Field(30, ge=0, description="seconds between signs of life; 0 is off")

    @model_validator(mode="after")
    def _one_way_in(self) -> Options:
        if (self.key is None) == (self.password is None):
            raise ValueError("exactly one of key and password is needed")
        return self


class Outlet(DropOutlet[Options]):
    """Files over SFTP, by a rename that shows all or nothing."""

    whom = ("die IT der Kommune (Fingerabdruck des Serverschlüssels, Benutzer, hinterlegter öffentlicher "
            "Schlüssel, Ordner)")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._session: Session | None = None

    def close(self) -> None:
        """End the session, if there is one."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def place(self) -> Session:
        """The kept session if the server still answers, else a new one."""
        if self._session is not None:
            try:
                self._session.require_target()
            except (OSError, EOFError, paramiko.SSHException) as error:
                self.close()
                if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EACCES):
                    raise
            else:
                return self._session
        self._session = Session(self.options)
        self._session.require_target()
        return self._session

    def border(self) -> AbstractContextManager[None]:
        """paramiko's errors become ours."""
        return translated()

    def remedy(self, error: DeliveryError) -> str:  # noqa: ARG002
        """Always the same."""
        return f"Server {self.options.host}, Zugang und Ordner {self.options.path} prüfen."

    def approval(self) -> Sequence[Finding]:
        """The folder can be written to, and the key is the right one."""
        path, host = self.options.path, self.options.host
        return [Finding("ok", f"{path} auf {host} ist beschreibbar; der Serverschlüssel stimmt.")]


@contextmanager
def translated() -> Iterator[None]:
    """The border: paramiko's errors become ours."""
    try:
        yield
    except ConfigError as error:
        raise Misconfigured(str(error)) from error
    except paramiko.ssh_exception.IncompatiblePeer as error:
        raise Misconfigured(
            "Der Server bietet nur veraltete Verfahren an, etwa ssh-rsa mit SHA-1; er muss aktualisiert "
            f"werden oder einen Schlüssel ed25519 erhalten ({error}).") from error
    except paramiko.BadAuthenticationType as error:
        raise Misconfigured("Der Server lässt diese Art der Anmeldung nicht zu.") from error
    except paramiko.AuthenticationException as error:
        if str(error) == "Authentication failed.":
            raise Misconfigured("Der Server lehnt die Anmeldung ab.") from error
        raise Temporary("Der Server ist während der Anmeldung verstummt.") from error
    except paramiko.SSHException as error:
        raise Temporary(
            f"Die SSH-Sitzung kam nicht zustande oder riss ab ({type(error).__name__}).") from error
    except EOFError as error:
        raise Temporary("Der Server hat die Sitzung beendet.") from error
    except TimeoutError as error:
        raise Temporary("Der Server antwortet nicht (Zeitüberschreitung).") from error
    except socket.gaierror as error:
        raise Temporary("Der Name des Servers lässt sich nicht auflösen.") from error
    except OSError as error:
        raise _meaning(error) from error


def _meaning(error: OSError) -> DeliveryError:
    """SFTP version 3 knows three errors; paramiko gives two of them an errno."""
    if error.errno == errno.ENOENT:
        return Misconfigured("Der Zielordner fehlt auf dem Server.")
    if error.errno == errno.EACCES:
        return Misconfigured("Der Server verweigert das Schreiben im Zielordner.")
    if error.errno == errno.ENOTDIR:
        return Misconfigured("Das Ziel auf dem Server ist kein Ordner.")
    if str(error) == "Failure":
        return Temporary("Der Server meldet einen Fehler ohne Angabe (vielleicht ist er voll).")
    if str(error) == "Socket is closed":
        return Temporary("Die Sitzung ist abgerissen.")
    return Temporary(f"Der Server ist nicht erreichbar ({error.strerror or type(error).__name__}).")


def fingerprint(key: bytes) -> str:
    """As OpenSSH shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def pinned_keys(options: Options) -> list[bytes]:
    """All pinned keys. Raises `ConfigError` for a file that cannot be read or holds something else."""
    lines: list[str] = []
    for entry in options.host_key:
        lines += read_secret(entry).splitlines() if entry.startswith("file:") else [entry]
    try:
        return [key_bytes(line) for line in lines if line.strip() and not line.startswith("#")]
    except ValueError as error:
        raise ConfigError(f"host_key: {error}") from error


def _kind(key: bytes) -> str:
    return key[4:4 + int.from_bytes(key[:4], "big")].decode("ascii", "replace")


class Session:
    """A logged-in session, and the `Place` on the other side."""

    def __init__(self, options: Options) -> None:
        self.root = options.path.rstrip("/") or "/"
        self._can_sync = True
        self._can_posix_rename = True
        self.transport = _connect(options)
        try:
            _log_in(self.transport, options)
            self._sftp: Any = paramiko.SFTPClient.from_transport(self.transport)
            self._sftp.get_channel().settimeout(options.timeout)
        except BaseException:
            self.transport.close()
            raise

    def close(self) -> None:
        """End it; says nothing to a server that hangs."""
        self.transport.close()

    def require_target(self) -> None:
        """The target is a folder, and the server answers. Raises `OSError`."""
        if not stat.S_ISDIR(self._sftp.stat(self.root).st_mode or 0):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")

    def _at(self, path: str) -> str:
        return f"{self.root.rstrip('/')}/{path}" if path else self.root

    def make_folder(self, path: str, *, exist_ok: bool = False) -> None:
        try:
            self._sftp.mkdir(self._at(path))
        except OSError as error:
            kind = self.size(path)  # SFTP has no word of its own for it
            if kind is None:
                raise
            if kind != -1 or not exist_ok:
                raise FileExistsError(errno.EEXIST, "exists") from error

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        with self._new_file(path) as file:
            file.set_pipelined(True)
            last = b""
            for piece in chunks(source, _PIECE):
                file.write(last)
                last = piece
            file.set_pipelined(False)
            file.write(last)
            self._sync(file)
        if self.size(path) != size:
            raise OSError(errno.EIO, "wrong size at the server")

    def _new_file(self, path: str) -> Any:
        try:
            return self._sftp.open(self._at(path), "wx")
        except OSError as error:
            if self.size(path) is None:
                raise
            raise FileExistsError(errno.EEXIST, "exists") from error

    def _sync(self, file: Any) -> None:
        if self._can_sync:
            try:
                self._sftp._request(CMD_EXTENDED, "fsync@openssh.com", file.handle)
            except OSError as error:
                self._can_sync = _unless_unsupported(error)

    def sync_folder(self, path: str) -> None:
        """SFTP has no word for it."""

    def publish(self, hidden: str, final: str) -> None:
        source, target = self._at(hidden), self._at(final)
        if self.size(final) is not None:
            raise FileExistsError(errno.EEXIST, "exists")
        if self._can_posix_rename:
            try:
                self._sftp.posix_rename(source, target)
            except OSError as error:
                self._can_posix_rename = _unless_unsupported(error)
            else:
                return
        self._sftp.rename(source, target)

    def names(self, path: str) -> Sequence[str]:
        return [str(name) for name in self._sftp.listdir(self._at(path))]

    def size(self, path: str) -> int | None:
        try:
            status = self._sftp.lstat(self._at(path))
        except FileNotFoundError:
            return None
        return -1 if stat.S_ISDIR(status.st_mode or 0) else int(status.st_size or 0)

    def digest(self, path: str) -> str:
        digest = hashlib.sha256()
        with self._sftp.open(self._at(path), "rb") as file:
            file.prefetch(max_concurrent_requests=64)
            for piece in chunks(file, _PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def remove(self, path: str) -> None:
        kind = self.size(path)
        if kind == -1:
            for name in self.names(path):
                self._sftp.remove(self._at(f"{path}/{name}"))
            self._sftp.rmdir(self._at(path))
        elif kind is not None:
            self._sftp.remove(self._at(path))


def _unless_unsupported(error: OSError) -> bool:
    """False when the server does not know the request, or is told not to; raises every other error."""
    if error.errno == errno.EACCES or "unsupported" in str(error).lower():
        return False
    raise error


def _connect(options: Options) -> Any:
    """A transport to the right server. Raises `Misconfigured` for a key that is not pinned."""
    pinned = pinned_keys(options)
    line = socket.create_connection((options.host, options.port), timeout=options.connect_timeout)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # otherwise 40 KB stall at 32 files a second
    try:
        transport = paramiko.Transport(line)
    except BaseException:
        line.close()
        raise
    try:
        transport.banner_timeout = transport.handshake_timeout = options.connect_timeout
        transport.auth_timeout = options.auth_timeout
        transport.channel_timeout = options.timeout
        _prefer(transport, {_kind(key) for key in pinned})
        transport.start_client(timeout=options.connect_timeout)
        offered = transport.get_remote_server_key().asbytes()
        if offered not in pinned:
            known = ", ".join(fingerprint(key) for key in pinned)
            raise Misconfigured(  # noqa: TRY301
                "Der Server weist sich mit einem unbekannten Schlüssel aus: "
                f"{_kind(offered)} {fingerprint(offered)}, erwartet {known}. "
                "Beim Betreiber nachfragen, nicht einfach übernehmen.")
        transport.set_keepalive(options.keepalive)
    except BaseException:
        transport.close()
        raise
    return transport


def _prefer(transport: Any, kinds: set[str]) -> None:
    """Ask for the pinned kinds of key first; the others stay, so that a changed key can be shown."""
    if "ssh-rsa" in kinds:
        kinds |= {"rsa-sha2-512", "rsa-sha2-256"}
    security = transport.get_security_options()
    security.key_types = sorted(security.key_types, key=lambda kind: kind not in kinds)


def _log_in(transport: Any, options: Options) -> None:
    if options.password is not None:
        left = transport.auth_password(options.user, read_secret(options.password))
    else:
        left = transport.auth_publickey(options.user, _private_key(options))
    if left:
        raise Misconfigured("Der Server verlangt mehr als eine Art der Anmeldung.")


def _private_key(options: Options) -> Any:
    """Raises `Misconfigured`."""
    password = None if options.key_password is None else read_secret(options.key_password).encode()
    try:
        return paramiko.PKey.from_path(secret_path(str(options.key)), password)
    except FileNotFoundError as error:
        raise Misconfigured("Die Datei des privaten Schlüssels fehlt.") from error
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm, paramiko.SSHException,
            paramiko.UnknownKeyType) as error:
        raise Misconfigured(f"Der private Schlüssel ist nicht lesbar ({type(error).__name__}).") from error

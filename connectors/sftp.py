"""A drop folder on an SFTP server, over one session that is kept between deliveries.

What arrives, a second delivery
    as in `connectors.directory`: same layouts, same names, same order of steps (`connectors._drop`). Sizes
    are checked before the rename. Files are synced where the server offers fsync@openssh.com; folders cannot
    be, over SFTP.
Answers
    are told apart by their codes, never by their texts, and what a code leaves open is found out by looking:
    whether a name is taken, whether the server is full or read-only (statvfs@openssh.com). What a server can
    do is what it announces; `check` says what it lacks.
Renaming
    by posix-rename@openssh.com where the server announces it, else, or where it fails all the same, by the
    plain rename. The first overwrites, the second never does by its specification. So the final name is
    asked for just before either; it holds the delivery's id.
Links
    `path` itself may be a link. Below it every folder on the way is looked at before it is used, again just
    before the rename, and a link is refused. SFTP has no descriptors of folders: a link that is put there
    and taken away between two requests stays unseen. Who can do that in the target has a login on the server.
Temporary
    a dead or hanging server, a lost session, a full disk, an exhausted quota, "Failure" of which nobody can
    say the reason.
Misconfigured
    an unknown or changed host key, a refused login, a folder that is missing or read-only, a link below the
    target, a server too old for SHA-2 or without a request that is needed.
Permanent
    a name that the server does not take, because it is too long for instance.

The server is trusted by pinned keys alone; no agent and no file below ~/.ssh takes part.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hashlib
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import pairwise
from typing import Annotated, Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from pydantic import AfterValidator, Field, model_validator

from connectors._drop import DropOutlet
from connectors._layout import DropOptions
from connectors._sftp_session import Session, meaning
from hub.endpoint import Finding, SecretRef, read_secret, secret_path
from hub.errors import ConfigError, DeliveryError, Misconfigured, Temporary


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
            except (OSError, EOFError, paramiko.SSHException, paramiko.SFTPError) as error:
                self.close()
                if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.EACCES):
                    raise
            else:
                return self._session
        self._session = _opened(self.options)
        self._session.require_target()
        return self._session

    def border(self) -> AbstractContextManager[None]:
        """paramiko's errors become ours."""
        return translated()

    def remedy(self, error: DeliveryError) -> str:  # noqa: ARG002
        """Always the same."""
        return f"Server {self.options.host}, Zugang und Ordner {self.options.path} prüfen."

    def approval(self) -> Sequence[Finding]:
        """The folder can be written to, the key is the right one; and what the server lacks."""
        path, host = self.options.path, self.options.host
        return [Finding("ok", f"{path} auf {host} ist beschreibbar; der Serverschlüssel stimmt."),
                *(self._session.deficits() if self._session else ())]


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
    except paramiko.SFTPError as error:
        raise Temporary("Der Server spricht kein SFTP, wie es sein muss: gibt er beim Anmelden Text aus, "
                        "etwa aus einem Shell-Profil?") from error
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
        raise meaning(error) from error


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


def _opened(options: Options) -> Session:
    transport = _connect(options)
    try:
        _log_in(transport, options)
        return Session(transport, options.path, options.timeout)
    except BaseException:
        transport.close()
        raise


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
    """Raises `Misconfigured` where the server says no; `Temporary` where it says nothing."""
    until = time.monotonic() + options.auth_timeout
    try:
        if options.password is not None:
            left = transport.auth_password(options.user, read_secret(options.password))
        else:
            left = transport.auth_publickey(options.user, _private_key(options))
    except paramiko.BadAuthenticationType as error:
        raise Misconfigured("Der Server lässt diese Art der Anmeldung nicht zu.") from error
    except paramiko.AuthenticationException as error:
        if transport.is_active() and time.monotonic() < until:
            raise Misconfigured("Der Server lehnt die Anmeldung ab.") from error
        raise Temporary("Der Server ist während der Anmeldung verstummt.") from error
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

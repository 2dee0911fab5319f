"""The `Place` on an SFTP server: what a session does there, and what the server's codes mean.

What a code leaves open is found out by looking: whether a name is taken, whether the server is full or
read-only. `connectors.sftp` logs in and has the options.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

from connectors._layout import LINKED, TOO_LONG, chunks, steps
from connectors._sftp_client import FSYNC, POSIX_RENAME, Client, Code, Patience, StatusError
from hub.endpoint import Finding
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary

_PIECE = 32768  # what goes into one request
LSTAT = b"lstat"
_VAGUE = (Code.FAILURE, Code.BAD_MESSAGE, Code.INVALID_FILENAME)
_NOT_TAKEN = (Code.PERMISSION_DENIED, Code.BAD_MESSAGE, Code.OP_UNSUPPORTED)
"""How servers answer an extension that they announce and do not have, or are told not to take."""

_OPENSSH = ("In OpenSSH seit 4.8 (fsync seit 6.5) vorhanden, wenn -P oder -p von sftp-server es nicht "
            "wegnehmen. Zugestellt wird auch so.")
_LACKS = {
    FSYNC: ("Der Server bietet fsync@openssh.com nicht an: nach einem Stromausfall dort kann eine "
            "zugestellte Datei fehlen oder leer sein.",
            f"Den Betreiber des Servers bitten, fsync zuzulassen. {_OPENSSH}"),
    POSIX_RENAME: ("Der Server bietet posix-rename@openssh.com nicht an: umbenannt wird mit dem einfachen "
                   "rename, das manche Server in mehreren Schritten ausführen.",
                   f"Den Betreiber des Servers bitten, posix-rename zuzulassen. {_OPENSSH}"),
    LSTAT: ("Der Server kennt lstat nicht: ob im Ziel Verknüpfungen (Symlinks) liegen, ist nicht zu sehen.",
            "Den Betreiber des Servers fragen, ob jemand dort Verknüpfungen anlegen kann."),
}
_FULL = Temporary, "Der Server ist voll: dort Platz schaffen."
_READ_ONLY = (Misconfigured,
              "Das Ziel auf dem Server ist nur lesbar: den Betreiber bitten, es beschreibbar einzuhängen.")
_NO_FOLDER = Misconfigured, "Das Ziel auf dem Server ist kein Ordner."
_LOST = Temporary, "Die Sitzung ist abgerissen."
_UNKNOWN_REQUEST = (
    Misconfigured, "Der Server kennt eine Anfrage nicht, die gebraucht wird (OP_UNSUPPORTED): den Betreiber "
    "fragen, ob mkdir, rename und remove zugelassen sind; ohne mkdir hilft layout = \"single\".")
_CODES: dict[int, tuple[type[DeliveryError], str]] = {
    Code.NO_SUCH_FILE: (Misconfigured, "Der Zielordner fehlt auf dem Server."),
    Code.PERMISSION_DENIED: (Misconfigured, "Der Server verweigert das Schreiben im Zielordner."),
    Code.FAILURE: (Temporary, "Der Server meldet einen Fehler ohne Angabe: vielleicht ist er "
                   "voll oder ein Kontingent erschöpft, dort nachsehen."),
    Code.NO_CONNECTION: _LOST,
    Code.CONNECTION_LOST: _LOST,
    Code.OP_UNSUPPORTED: _UNKNOWN_REQUEST,
    Code.NO_SUCH_PATH: (Misconfigured, "Der Zielordner fehlt auf dem Server."),
    Code.WRITE_PROTECT: _READ_ONLY,
    Code.NO_MEDIA: (Temporary, "Auf dem Server fehlt der Datenträger des Ziels."),
    Code.NO_SPACE: _FULL,
    Code.QUOTA_EXCEEDED: (
        Temporary, "Das Kontingent auf dem Server ist erschöpft: dort aufräumen oder es erhöhen lassen."),
    Code.NOT_A_DIRECTORY: _NO_FOLDER,
    Code.INVALID_FILENAME: (Permanent, TOO_LONG),
    Code.LINK_LOOP: (Misconfigured, LINKED),
}


def meaning(error: OSError) -> DeliveryError:
    """What the server said, by its code; else what happened to the line."""
    if isinstance(error, StatusError):
        other = Temporary, f"Der Server meldet einen Fehler (SFTP-Code {error.code})."
        kind, text = _CODES.get(error.code, other)
        return kind(text)
    if error.errno == errno.ELOOP:
        return Misconfigured(LINKED)
    if error.errno == errno.ENOTDIR:
        return Misconfigured(_NO_FOLDER[1])
    if error.errno is None:
        return Temporary(_LOST[1])  # paramiko's channel and Python's sockets name no number for it
    return Temporary(f"Der Server ist nicht erreichbar ({error.strerror or type(error).__name__}).")


class Session:
    """A logged-in session, and the `Place` on the other side.

    `lacks` are the extensions, and requests, that the server turned out not to have.
    """

    def __init__(self, transport: Any, path: str, timeout: float) -> None:
        self.root = path.rstrip("/") or "/"
        self.transport = transport
        channel = transport.open_session()
        # paramiko waits for ever for the answer to this one request
        giving_up = threading.Timer(timeout, transport.close)
        giving_up.start()
        try:
            channel.invoke_subsystem("sftp")
        finally:
            giving_up.cancel()
        self._client = Client(Patience(channel, timeout))
        self.lacks = {FSYNC, POSIX_RENAME} - self._client.announced

    def deficits(self) -> Sequence[Finding]:
        """What the server lacks, for the operator."""
        return [Finding("warning", *_LACKS[each]) for each in sorted(self.lacks)]

    def close(self) -> None:
        """End it; says nothing to a server that hangs."""
        self.transport.close()

    def require_target(self) -> None:
        """The target is a folder, and the server answers. Raises `OSError`."""
        if not self._is_folder(self._at(""), self._client.stat(self._at("")).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "not a folder")

    def _at(self, path: str) -> bytes:
        """Names that are not UTF-8 go back as they came."""
        whole = f"{self.root.rstrip('/')}/{path}" if path else self.root
        return whole.encode("utf-8", "surrogateescape")

    def make_folder(self, path: str, *, exist_ok: bool = False) -> None:
        try:
            self._client.mkdir(self._at(path))
        except StatusError as error:
            kind = self.size(path)  # version 3 has no code of its own for it
            if kind is None:
                raise self._explained(error, path) from error
            if kind != -1 or not exist_ok:
                raise FileExistsError(errno.EEXIST, "exists") from error

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        try:
            self._put(path, source)
        except StatusError as error:
            raise self._explained(error, path, size) from error
        if self.size(path) != size:
            raise Temporary("Eine Datei hat auf dem Server eine andere Größe.")

    def _put(self, path: str, source: BinaryIO) -> None:
        handle = self._new_file(path)
        try:
            self._client.fill(handle, chunks(source, _PIECE))
            self._sync(handle)
        except StatusError:
            self._client.forget(handle)
            raise
        self._client.end(handle)

    def _new_file(self, path: str) -> bytes:
        try:
            return self._client.create(self._at(path))
        except StatusError as error:
            if self.size(path) is None:
                raise
            raise FileExistsError(errno.EEXIST, "exists") from error

    def _sync(self, handle: bytes) -> None:
        if FSYNC not in self.lacks:
            try:
                self._client.sync(handle)
            except StatusError as error:
                if error.code not in _NOT_TAKEN:
                    raise
                self.lacks.add(FSYNC)

    def sync_folder(self, path: str) -> None:
        """SFTP has no word for it."""

    def publish(self, hidden: str, final: str) -> None:
        for folder in steps(final.rpartition("/")[0]):
            self.size(folder)
        if self.size(hidden) is None:
            raise Temporary("Was umbenannt werden soll, ist nicht mehr da.")
        if self.size(final) is not None:
            raise FileExistsError(errno.EEXIST, "exists")
        if POSIX_RENAME not in self.lacks and self._renamed(self._client.posix_rename, hidden, final) is None:
            return
        error = self._renamed(self._client.rename, hidden, final)
        if error is not None:
            raise self._explained(error, hidden) from error

    def _renamed(self, rename: Callable[[bytes, bytes], None], hidden: str, final: str) -> StatusError | None:
        """Rename; returns why not, where for certain nothing was renamed.

        Raises FileExistsError when the final name was taken meanwhile, and `StatusError` when the hidden name
        is gone all the same.
        """
        try:
            rename(self._at(hidden), self._at(final))
        except StatusError as error:
            if self.size(hidden) is None:
                raise
            if self.size(final) is not None:
                raise FileExistsError(errno.EEXIST, "exists") from error
            if rename == self._client.posix_rename and error.code in _NOT_TAKEN:
                self.lacks.add(POSIX_RENAME)
            return error
        return None

    def names(self, path: str) -> Sequence[str]:
        return [name.decode("utf-8", "surrogateescape") for name in self._client.list_names(self._at(path))]

    def size(self, path: str) -> int | None:
        status = self._status(path)
        if status is None:
            return None
        if self._is_link(self._at(path), status.st_mode):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return -1 if self._is_folder(self._at(path), status.st_mode) else int(status.st_size or 0)

    def _status(self, path: str) -> Any:
        """Of the thing itself, also where it is a link; None when there is nothing."""
        look = self._client.stat if LSTAT in self.lacks else self._client.lstat
        try:
            return look(self._at(path))
        except StatusError as error:
            if error.code in (Code.NO_SUCH_FILE, Code.NO_SUCH_PATH):
                return None
            if error.code == Code.OP_UNSUPPORTED and LSTAT not in self.lacks:
                self.lacks.add(LSTAT)
                return self._status(path)
            if error.code in _VAGUE and not self._is_listed(path):
                return None
            raise

    def _is_listed(self, path: str) -> bool:
        """Whether a name stands in its folder, where a server words "there is nothing" in its own way."""
        folder, _, name = path.rpartition("/")
        return not path or name in self.names(folder)

    def _is_link(self, path: bytes, mode: int | None) -> bool:
        if mode is not None:
            return stat.S_ISLNK(mode)
        try:  # the server does not tell the kind of a thing
            self._client.require_link(path)
        except StatusError:
            return False
        return True

    def _is_folder(self, path: bytes, mode: int | None) -> bool:
        if mode is not None:
            return stat.S_ISDIR(mode)
        try:
            self._client.list_names(path)
        except StatusError:
            return False
        return True

    def digest(self, path: str) -> str:
        digest = hashlib.sha256()
        for piece in self._client.content(self._at(path), _PIECE):
            digest.update(piece)
        return digest.hexdigest()

    def remove(self, path: str) -> None:
        status = self._status(path)
        if status is None:
            return
        if not self._is_folder(self._at(path), status.st_mode):
            self._client.remove(self._at(path))
            return
        for name in self.names(path):
            self._client.remove(self._at(f"{path}/{name}"))
        self._client.rmdir(self._at(path))

    def _explained(self, error: StatusError, path: str, size: int = 0) -> Exception:
        """What a vague code may mean, by looking; the error itself where that says nothing."""
        if error.code == Code.BAD_MESSAGE and self._is_name_refused(path):
            return Permanent(TOO_LONG)
        room = self._client.room(self._at("")) if error.code == Code.FAILURE else None
        if room is not None and room.read_only:
            return Misconfigured(_READ_ONLY[1])
        if room is not None and (room.free <= size or not room.has_names):
            return Temporary(_FULL[1])
        return error

    def _is_name_refused(self, path: str) -> bool:
        """Whether the server does not even look for such a name."""
        try:
            self._client.stat(self._at(path))
        except StatusError as error:
            return error.code == Code.BAD_MESSAGE
        return False

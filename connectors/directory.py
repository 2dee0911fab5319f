"""A drop folder: a "Vorgangsordner" per application, or one file, on a local disk or a mounted share.

What arrives
    ``<path>/[<recipient's path>/]<name>/`` with the PDF, the XML and the attachments; or one file
    ``<name>.xml``. Nobody who polls the folder ever sees half a thing: see `connectors._drop` for the order
    of steps.
A second delivery
    finds its own name. Same content: success, nothing is written. Other content: it goes beside it (``-2``).
Links
    `path` itself may be a link. Everything below it is reached step by step from the target's descriptor, and
    no step is a link (``O_NOFOLLOW``). Whoever may write into the target could otherwise lead a delivery into
    another recipient's folder, also by a link that is put there between two steps.
Temporary
    a target that is not mounted or lacks its marker (`mount`, `must_contain`), a full disk, an exhausted
    quota, a lost share.
Misconfigured
    a folder that does not exist, that the hub's user may not write, that is mounted read-only; a link below
    the target.
Permanent
    a name that is too long for the target's file system, a file that is too large for it.
Hazard
    A hanging NFS server hangs the thread: mount such shares ``soft`` or with a time-out.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pydantic import Field, field_validator

from connectors import _disk, _drop, _layout
from connectors._disk import Disk, Gathered
from connectors._layout import DropOptions, plan
from hub.endpoint import Finding, Needs
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary, TooLarge
from hub.message import Delivery, Receipt

T = TypeVar("T")


class Options(DropOptions):
    """``connector = "directory"``"""

    path: Path = Field(description="the target folder; absolute")
    mount: bool = Field(False, description="the target must be a mount point")
    mode: str = Field(
        "0640", pattern=r"^0[0-7]{3}$", description="rights of new files; folders get x where there is r")

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(f"{str(value)!r} is relative; name the folder from the root on")
        return value


_MEANINGS: dict[int, tuple[type[DeliveryError], str]] = {
    errno.ENOSPC: (Temporary, "Das Ziel ist voll: dort Platz schaffen."),
    errno.EDQUOT: (Temporary, "Das Kontingent am Ziel ist erschöpft: dort aufräumen oder es erhöhen lassen."),
    errno.EIO: (Temporary, "Das Ziel meldet einen Ein-/Ausgabefehler: den Datenträger dort prüfen."),
    errno.ESTALE: (Temporary, "Die Freigabe ist nicht mehr gültig eingehängt: neu einhängen."),
    errno.ENOTCONN: (Temporary, "Die Freigabe ist nicht verbunden: neu einhängen."),
    errno.EHOSTDOWN: (Temporary, "Der Server der Freigabe ist nicht erreichbar."),
    errno.EHOSTUNREACH: (Temporary, "Der Server der Freigabe ist nicht erreichbar."),
    errno.ETIMEDOUT: (Temporary, "Der Server der Freigabe antwortet nicht."),
    errno.ENODEV: (Temporary, "Das Gerät des Ziels fehlt."),
    errno.EMFILE: (Temporary, "Dem Prozess gehen die Dateideskriptoren aus."),
    errno.EACCES: (Misconfigured, "Der Benutzer der Drehscheibe darf im Ziel nicht schreiben."),
    errno.EPERM: (Misconfigured, "Der Benutzer der Drehscheibe darf im Ziel nicht schreiben."),
    errno.EROFS: (Misconfigured, "Das Ziel ist nur lesbar eingehängt: zum Schreiben einhängen."),
    errno.ENOENT: (Misconfigured, "Der Zielordner fehlt."),
    errno.ENOTDIR: (Misconfigured, "Das Ziel ist kein Ordner."),
    errno.ELOOP: (Misconfigured, _layout.LINKED),
    errno.ENAMETOOLONG: (Permanent, _layout.TOO_LONG),
    errno.EILSEQ: (Permanent, "Das Ziel nimmt einen Namen nicht an: in name andere Platzhalter wählen."),
    errno.EFBIG: (TooLarge, "Eine Datei ist für das Ziel zu groß."),
}


def _meaning(error: OSError) -> DeliveryError:
    other = Temporary, f"Das Ziel meldet: {error.strerror or type(error).__name__}."
    kind, text = _MEANINGS.get(error.errno or 0, other)
    return kind(text)


@contextmanager
def _translated() -> Iterator[None]:
    """The border: the system's errors become ours."""
    try:
        yield
    except OSError as error:
        raise _meaning(error) from error


class Outlet(_drop.DropOutlet[Options]):
    """Files, by a rename that shows all or nothing."""

    whom = "die eigene IT (Freigabe eingehängt? Rechte des Benutzers der Drehscheibe? Platz?)"
    gathers = True
    onboards = "folder"

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._disk: Disk | None = None
        self._gathered: Gathered | None = None
        self._hidden: dict[str, str] = {}  # what is prepared: delivery id to hidden name

    @classmethod
    def needs(cls, options: Options) -> Needs:
        """The folder, with its marker."""
        marker = (options.path / options.must_contain,) if options.must_contain else ()
        return Needs(folders=(options.path,), files=marker)

    @classmethod
    def arrivals(cls, options: Options, reference: str) -> Sequence[str]:
        """The path below the folder."""
        return (str(options.path / reference),)

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Write hidden, sync, rename; only the last where it was prepared. Raises like every drop."""
        place, hidden = self._gathered, self._hidden.get(delivery.id)
        if place is None or hidden is None:
            return super().deliver(delivery, effect_begins)
        where = plan(self.options, delivery)
        return self.guarded(lambda: self.deposit(place, where, delivery, effect_begins, hidden))

    def prepare(self, deliveries: Sequence[Delivery]) -> None:
        """Write all of them hidden and sync them together."""
        if not _disk.can_sync_all(self.options.path):
            return
        written: dict[str, str] = {}
        try:
            self.ready()
            place = self._gathered = self._gathered or Gathered(self.options.path, int(self.options.mode, 8))
        except (OSError, DeliveryError):
            return
        finally:
            self.close()
        try:
            # Opened before the first write: it is told of errors from here on.
            with place.opened("") as target:
                for delivery in deliveries:
                    # `deliver` meets an error again, and says what it means.
                    with suppress(OSError, DeliveryError):
                        where = plan(self.options, delivery)
                        if not where.folder or place.size(where.folder) is not None:
                            written[delivery.id] = self.conceal(place, where, delivery)
                _disk.sync_all(target)
        except OSError:
            _drop.forget(place, *written.values())
        else:
            self._hidden |= written

    def conclude(self) -> None:
        """One fsync for each folder in which something was renamed. Raises `Temporary`, `Misconfigured`."""
        place, self._gathered = self._gathered, None
        hidden, self._hidden = self._hidden, {}
        if place is None:
            return
        try:
            _drop.forget(place, *set(hidden.values()) - place.shown)
            with _translated():
                place.settle()
        finally:
            place.close()

    def guarded(self, action: Callable[[], T]) -> T:
        """As every drop; the target's descriptor is kept no longer, so that a share can be unmounted."""
        try:
            return super().guarded(action)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the target."""
        disk, self._disk = self._disk, None
        if disk is not None:
            disk.close()

    def place(self) -> Disk:
        """The target. Raises `OSError`, and `Temporary` where it must be a mount point and is none."""
        if self.options.mount and not self.options.path.is_mount():
            raise Temporary("Das Ziel ist nicht eingehängt.")
        self.close()
        self._disk = Disk(self.options.path, int(self.options.mode, 8))
        return self._disk

    def border(self) -> AbstractContextManager[None]:
        """The system's errors become ours."""
        return _translated()

    def remedy(self, error: DeliveryError) -> str:
        """By the system's error; without one the share is missing."""
        cause = error.__cause__
        if not isinstance(cause, OSError):
            return f"Die Freigabe einhängen oder {self.options.path} prüfen."
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return "Dort Platz schaffen."
        if cause.errno == errno.ELOOP:
            return f"Mit `find {self.options.path} -type l` suchen; statt ihrer einen Ordner anlegen."
        return f"Ordner {self.options.path} anlegen und dem Benutzer der Drehscheibe geben."

    def approval(self) -> Sequence[Finding]:
        """It can be written to; and whether there is room. Raises `OSError`."""
        path = self.options.path
        findings = [Finding("ok", f"{path} ist beschreibbar.")]
        free = shutil.disk_usage(path).free // 1_000_000
        if free < 1000:
            findings.append(Finding("warning", f"In {path} sind nur noch {free} MB frei.", "Platz schaffen."))
        return findings

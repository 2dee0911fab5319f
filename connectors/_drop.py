"""The one order of steps that never shows half a thing in a drop, and all else that drops have in common.

A protocol brings its `Place` (a disk, a session, a collection) and the meaning of its errors: see
`DropOutlet`.

Steps of a delivery
    1. If the final name is taken by the same content, that is success and nothing more happens. If it is
       taken by other content, the delivery goes beside it, to ``<name>-2``: nothing is ever overwritten.
    2. What killed tries left is removed (`LeftOvers`).
    3. Everything is written below a hidden name in the same folder and made durable.
    4. ``effect_begins()``, then the rename, then the folder is made durable.
A second delivery
    finds its own name, for it holds the delivery's id (`connectors._layout`).
Two tries that overlap
    write below two hidden names. The later one removes what the earlier one wrote; the earlier one fails
    then. If both come to the rename, the second of them is refused.
Certain after the effect
    That the final name was taken in the last moment: the place itself says so instead of renaming.
"""

from __future__ import annotations

import io
import secrets
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from typing import BinaryIO, Protocol, TypeVar

from connectors._index import INDEX
from connectors._layout import SLOTS, DropOptions, Plan, hidden_name, join, plan, steps
from hub.endpoint import Absent, Done, Finding, OutletBase, ProbeResult, Unknown, refused
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary
from hub.message import Delivery, Receipt

T = TypeVar("T")
OptionsT = TypeVar("OptionsT", bound=DropOptions)


class Place(Protocol):
    """A folder tree somewhere. Paths are relative to the target, with slashes; "" is the target itself.

    Everything may raise `OSError`, an error of its library that `DropOutlet.border` knows, or a
    `DeliveryError`.

    The target itself may be a link. No link below it is followed, for it could lead into another
    recipient's folder. A place that cannot make sure of that by itself sees links in `size` at least: the
    steps of a delivery ask for the size of every folder on the way before they use it.
    """

    def make_folder(self, path: str, *, exist_ok: bool = False) -> None:
        """Make a folder.

        Raises FileExistsError where something has that name, unless `exist_ok` and it is a folder.
        """

    def write(self, path: str, source: BinaryIO, size: int) -> None:
        """Make a new file with all of `source`, durable before this returns.

        Raises FileExistsError where something has that name, and touches nothing then.
        """

    def sync_folder(self, path: str) -> None:
        """Make the entries of a folder durable."""

    def publish(self, hidden: str, final: str) -> None:
        """Rename. Raises FileExistsError instead of overwriting: then nothing was renamed, for certain."""

    def names(self, path: str) -> Sequence[str]:
        """The names in a folder, hidden ones too."""

    def size(self, path: str) -> int | None:
        """Bytes of a file, -1 for a folder, None when there is nothing.

        Raises OSError (ELOOP) for a link, where the protocol shows links.
        """

    def digest(self, path: str) -> str:
        """SHA-256 of a file, as hex."""

    def remove(self, path: str) -> None:
        """Remove a file, or a folder with the files in it; nothing happens where there is nothing.

        Of a link, the link itself goes.
        """


class LeftOvers:
    """Hidden names that killed tries left, found again without looking through the folder each time.

    The names of earlier tries follow from their numbers, so they are computed and looked for. What has
    another name, or another ending than the option says today, lay there before this outlet began: the folder
    is listed once, when it is first needed, and what looks hidden is remembered.
    """

    def __init__(self) -> None:
        self._remembered: dict[str, dict[str, set[str]]] = {}  # by folder and by the delivery's name

    def sweep(self, place: Place, where: Plan) -> None:
        """Remove what earlier tries of this delivery left.

        A try that is still alive elsewhere fails then, which is harmless.
        """
        if where.attempt == 1:
            return
        for path in where.hidden_until(where.attempt - 1):
            if place.size(path) is not None:
                place.remove(path)
        old = self._in_folder(place, where.folder).get(where.name, set())
        for name in sorted(old):
            if (found := hidden_name(name)) and found[1] < where.attempt:
                place.remove(join(where.folder, name))
                old.discard(name)

    def _in_folder(self, place: Place, folder: str) -> dict[str, set[str]]:
        if folder not in self._remembered:
            found: dict[str, set[str]] = {}
            for name in _listed(place, folder):
                if hidden := hidden_name(name):
                    found.setdefault(hidden[0], set()).add(name)
            self._remembered[folder] = found
        return self._remembered[folder]


class DropOutlet(OutletBase[OptionsT]):
    """Delivers files into a `Place`, by a rename that shows all or nothing.

    A protocol implements `place`, `border`, `remedy` and `approval`, and `close` where it keeps a connection.
    """

    repeat = "probe"
    kind = "file"
    drop = True

    @classmethod
    def takes(cls, options: OptionsT) -> frozenset[str] | None:
        """All parts, or the one that is the file."""
        return frozenset({options.role}) if options.layout == "single" else None

    def __init__(self, options: OptionsT) -> None:
        super().__init__(options)
        self._left_overs = LeftOvers()

    @abstractmethod
    def place(self) -> Place:
        """The target, ready for use: mounted, connected, a folder. Raises what a `Place` may raise."""

    @abstractmethod
    def border(self) -> AbstractContextManager[None]:
        """A context in which every error of the place becomes a `DeliveryError`; those pass through."""

    @abstractmethod
    def remedy(self, error: DeliveryError) -> str:
        """What the operator can do about an error that `check` met, in German."""

    @abstractmethod
    def approval(self) -> Sequence[Finding]:
        """What `check` says when the rehearsal went well. May raise what a `Place` may raise."""

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        """Write hidden, then rename. Raises `Temporary`, `Misconfigured`, `Permanent`."""
        where = plan(self.options, delivery)
        return self.guarded(lambda: self.deposit(self.ready(), where, delivery, effect_begins))

    def probe(self, delivery: Delivery) -> ProbeResult:
        """Compare names, sizes and SHA-256.

        Raises `Temporary`, `Misconfigured` when the target cannot be asked now.
        """
        where = plan(self.options, delivery)
        return self.guarded(lambda: find(self.ready(), where, self.options.collected))

    def check(self) -> Sequence[Finding]:
        """Write, rename and remove something hidden in the target, in the layout of the deliveries."""
        rehearsal = Rehearsal(self.options)

        def rehearse() -> Sequence[Finding]:
            rehearsal.run(self.ready())
            return self.approval()

        try:
            return self.guarded(rehearse)
        except DeliveryError as error:
            return [Finding("error", str(error), self.remedy(error)), *rehearsal.left]
        finally:
            self.close()

    def guarded(self, action: Callable[[], T]) -> T:
        """No connection survives an error; only our own word, such as a missing marker, does it no harm."""
        try:
            with self.border():
                return action()
        except BaseException as error:
            if error.__cause__ is not None or not isinstance(error, DeliveryError):
                self.close()
            raise

    def ready(self) -> Place:
        """The target with its marker. Raises `Temporary`: nothing may be written below a missing mount."""
        place, marker = self.place(), self.options.must_contain
        if marker and place.size(marker) is None:
            raise Temporary(f"Im Ziel fehlt die Datei {marker}; vermutlich ist es nicht eingehängt.")
        return place

    def deposit(self, place: Place, where: Plan, delivery: Delivery, effect_begins: Callable[[], None],
                hidden: str | None = None) -> Receipt:
        """Bring a delivery to its final name; what was written below `hidden` already is only shown.

        Raises `Permanent`, and what the place raises.
        """
        if hidden is None:
            make_folders(place, where.folder)
        final, there = settle(place, where)
        if there:
            place.sync_folder(where.folder)  # whoever brought it may have died before that
            return _receipt(where, final)
        hidden = hidden or self.conceal(place, where, delivery)
        try:
            effect_begins()
        except BaseException:
            forget(place, hidden)
            raise
        self._remove_rivals(place, where, hidden)
        try:
            place.publish(hidden, final)
        except FileExistsError:
            forget(place, hidden)
            raise refused(Temporary("Der Name am Ziel ist im letzten Augenblick vergeben worden.")) from None
        place.sync_folder(where.folder)
        return _receipt(where, final)

    def _remove_rivals(self, place: Place, where: Plan, hidden: str) -> None:
        """What another try of the same number left must not lie there when this one is shown.

        It would prove later that nothing was shown (`find`). Only now is it safe: the effect has begun, so
        this try counts, and the number is never given again.
        """
        rivals = [path for path in map(where.hidden, SLOTS) if path != hidden]
        if self.options.collected or hidden != where.hidden():
            for path in rivals:
                place.remove(path)

    def conceal(self, place: Place, where: Plan, delivery: Delivery) -> str:
        """Write everything below a hidden name, which is returned; what earlier tries left goes.

        Raises what the place raises.
        """
        self._left_overs.sweep(place, where)
        for slot in SLOTS:
            hidden = where.hidden(slot)
            try:
                write(place, where, hidden, delivery)
            except FileExistsError:  # a try that was not counted had this number, and may still be at work
                continue
            return hidden
        raise Temporary("Am Ziel liegen Reste früherer Versuche; der nächste Versuch räumt sie weg.")


def make_folders(place: Place, folder: str) -> None:
    """The folders on the way, those that are missing."""
    above = ""
    for path in steps(folder):
        if place.size(path) is None:
            place.make_folder(path, exist_ok=True)
            place.sync_folder(above)
        above = path


def write(place: Place, where: Plan, hidden: str, delivery: Delivery) -> None:
    """Everything below the hidden name; what was begun is removed when it cannot be finished.

    Raises FileExistsError where that name is somebody else's.
    """
    if where.whole:
        place.make_folder(hidden)
    try:
        for name, part in where.files:
            with closing(delivery.open(part)) as source:
                place.write(join(hidden, name) if where.whole else hidden, source, part.size)
        if where.index is not None:
            place.write(join(hidden, INDEX), io.BytesIO(where.index), len(where.index))
        if where.whole:
            place.sync_folder(hidden)
    except BaseException as error:
        if where.whole or not isinstance(error, FileExistsError):
            forget(place, hidden)
        raise


def forget(place: Place, *paths: str) -> bool:
    """Throw away what was written in vain; whether that was possible now."""
    gone = True
    for path in paths:
        try:
            place.remove(path)
        except Exception:  # noqa: BLE001 - the disk or the session is gone: the next try sweeps
            gone = False
    return gone


def settle(place: Place, where: Plan) -> tuple[str, bool]:
    """The first final path that is free, or holds this very content (then True). Raises `Permanent`."""
    for count in range(1, 10):
        final = where.final(count)
        if place.size(final) is None:
            return final, False
        if same(place, where, final):
            return final, True
    raise Permanent("Alle Namen dieser Zustellung sind am Ziel mit fremdem Inhalt belegt.")


def same(place: Place, where: Plan, final: str) -> bool:
    """Whether every file is there with its size and SHA-256. What a reader has added does not matter, nor
    whether there is an index."""
    if where.whole != (place.size(final) == -1):
        return False
    paths = [(join(final, name) if where.whole else final, part) for name, part in where.files]
    return (all(place.size(path) == part.size for path, part in paths)
            and all(place.digest(path) == part.sha256 for path, part in paths))


def find(place: Place, where: Plan, collected: bool) -> ProbeResult:
    """Whether the delivery is there; changes nothing. Raises what the place raises.

    Where a reader collects things, only a hidden name left behind proves that the rename did not happen.
    """
    if any(place.size(path) is None for path in steps(where.folder)):
        return Unknown("Der Ordner fehlt; er kann abgeholt worden sein.") if collected else Absent()
    taken = 0
    for count in range(1, 10):
        final = where.final(count)
        if place.size(final) is None:
            break
        if same(place, where, final):
            place.sync_folder(where.folder)  # done means that it will last
            return Done(_receipt(where, final))
        taken += 1
    if taken:
        return Unknown("Unter dem Namen der Zustellung liegt am Ziel anderer Inhalt.")
    if collected and not _is_hidden_there(place, where):
        return Unknown("Am Ziel liegt nichts; es kann schon abgeholt worden sein.")
    return Absent()


def _is_hidden_there(place: Place, where: Plan) -> bool:
    """Whether a try left its hidden name. Else a person must look, so the folder may be listed."""
    return (any(place.size(path) is not None for path in where.hidden_until(where.attempt))
            or any((found := hidden_name(name)) and found[0] == where.name
                   for name in _listed(place, where.folder)))


def _listed(place: Place, folder: str) -> Sequence[str]:
    """The names in a folder; none where the target does not show them: that must not hold up a delivery."""
    try:
        return place.names(folder)
    except (PermissionError, Misconfigured):
        return ()


class Rehearsal:
    """What `check` does at the target: write something hidden as a delivery would, rename it, remove it.

    `left` is what could not be removed again, for the operator.
    """

    def __init__(self, options: DropOptions) -> None:
        self.final = f".drehscheibe-{secrets.token_hex(4)}"
        self.hidden = f"{self.final}{options.hidden_ending or '.try'}"
        self.whole = options.layout == "folder"
        self.left: tuple[Finding, ...] = ()

    def run(self, place: Place) -> None:
        """Raises what the place raises; whatever happens, nothing stays that may be removed."""
        try:
            if self.whole:
                place.make_folder(self.hidden)
            place.write(join(self.hidden, "probe") if self.whole else self.hidden, io.BytesIO(b"x"), 1)
            place.publish(self.hidden, self.final)
            place.sync_folder("")
            place.remove(self.final)
        except BaseException:
            if not forget(place, self.final, self.hidden):
                text = f"Ob {self.hidden} oder {self.final} im Ziel geblieben ist, ist nicht bekannt."
                self.left = (Finding("warning", text, "Dort nachsehen und von Hand löschen."),)
            raise


def _receipt(where: Plan, final: str) -> Receipt:
    return Receipt(final, {"layout": "folder" if where.whole else "single", "files": str(len(where.files)),
                           "bytes": str(sum(part.size for _, part in where.files))})

"""Whose a folder is into which the hub delivers: made for the hub's user, or told how to.

An operator sets up a municipality as root, as the hub's own user, or as somebody else. What root makes is
root's, and the hub could deliver nothing into it. So root gives it away; who may not, is told the command.
"""

from __future__ import annotations

import os
import pwd
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hub.endpoint import Finding

UNIT_USER = "drehscheibe"
"""The user of the unit (systemd/drehscheibe.sysusers.conf)."""
_MODE = 0o750


@dataclass(frozen=True, slots=True)
class Account:
    """A user and a group, by their numbers."""

    uid: int
    gid: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}" if self.name is None else f"{self.name}:{self.gid}"

    @property
    def name(self) -> str | None:
        """The user's name; None: the number has none here."""
        try:
            return pwd.getpwuid(self.uid).pw_name
        except KeyError:
            return None

    def groups(self) -> list[int]:
        """All groups that the user is in."""
        return [self.gid] if self.name is None else os.getgrouplist(self.name, self.gid)


def hub_account(state: Path, unit_user: str = UNIT_USER) -> Account | None:
    """As whom the hub runs: the owner of its state folder, or where that is not there, or root's, the unit's.

    None: there is neither.
    """
    found = state.stat() if state.is_dir() else None
    if found is None or found.st_uid == 0:
        try:
            entry = pwd.getpwnam(unit_user)
        except KeyError:
            return None if found is None else Account(found.st_uid, found.st_gid)
        return Account(entry.pw_uid, entry.pw_gid)
    return Account(found.st_uid, found.st_gid)


def make_folder(folder: Path, account: Account | None) -> None:
    """Make a folder whose parent is there; root gives it to the account. Raises `OSError`.

    No link is followed: the parent may be one into which others write.
    """
    parent = os.open(folder.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.mkdir(folder.name, _MODE, dir_fd=parent)
        if account is None or os.geteuid() != 0:
            return
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(folder.name, flags, dir_fd=parent)
        try:
            os.fchown(descriptor, account.uid, account.gid)
        finally:
            os.close(descriptor)
    finally:
        os.close(parent)


def judge(folder: Path, account: Account | None) -> Finding:
    """Whether the hub may write into a folder, with the command that helps where it may not."""
    try:
        return _judged(folder, account)
    except PermissionError:
        return Finding("warning", f"{folder} ist für den, der dies ausführt, nicht zu sehen.",
                       f"Als root ausführen: {_making(folder, account)}")


def _judged(folder: Path, account: Account | None) -> Finding:
    if not folder.parent.is_dir():
        return Finding("warning", f"{folder.parent} ist nicht da, {folder.name} wurde nicht angelegt.",
                       f"Einhängen oder anlegen, dann: {_making(folder, account)}")
    if not folder.is_dir():
        return Finding("warning", f"{folder} ließ sich nicht anlegen.",
                       f"Als root ausführen: {_making(folder, account)}")
    if account is None:
        return Finding("warning", f"Wem {folder} gehören muss, ist nicht bekannt: der Zustandsordner ist "
                                  f"noch nicht da, und den Benutzer {UNIT_USER} gibt es nicht.",
                       f"Nach der Installation: chown BENUTZER {shlex.quote(str(folder))}")
    if not may_write(folder, account):
        return Finding("warning",
                       f"Der Benutzer der Drehscheibe ({account}) darf in {folder} nicht schreiben.",
                       f"Als root ausführen: chown {account} {shlex.quote(str(folder))}; auch alle Ordner "
                       "darüber müssen ihn durchlassen.")
    return Finding("ok", f"{folder}: der Benutzer der Drehscheibe ({account}) darf dort schreiben.")


def _making(folder: Path, account: Account | None) -> str:
    owner = "" if account is None else f" -o {account.uid} -g {account.gid}"
    return f"install -d -m {_MODE:04o}{owner} {shlex.quote(str(folder))}"


def may_write(folder: Path, account: Account) -> bool:
    """Whether an account may make files in a folder: root asks as that account, others read the mode."""
    if os.geteuid() == account.uid:
        return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)
    if os.geteuid() == 0:
        asked = subprocess.run(["/bin/sh", "-c", 'test -w "$1" && test -x "$1"', "sh", str(folder)],
                               user=account.uid, group=account.gid, extra_groups=account.groups(), cwd="/",
                               check=False)
        return asked.returncode == 0
    status = folder.stat()
    needed = 0o3
    if status.st_uid == account.uid:
        needed = 0o300
    elif status.st_gid in account.groups():
        needed = 0o030
    return status.st_mode & needed == needed

"""What a citizen's file is, by its own bytes: its type, programs, scripts, macros, and what an archive lists.

`Inspection` takes a file piece by piece and keeps its beginning, and of a ZIP its end, where the list of
files is. Nothing is unpacked, so no archive can be a bomb. An archive that keeps its list compressed (7z, a
tar within gzip) is named as an archive, without a list.

Signatures come from puremagic. It knows many types loosely; `_FAMILIES` says which of them are told apart.
Programs have signatures of a few bytes and are looked at closely here: that a text begins with ``MZ`` does
not make it one (PE format, Microsoft, "Signature"; System V ABI, ELF header; Mach-O; shell link [MS-SHLLINK]
§2.1; Java SE, JVM specification §4.1).
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

import puremagic

from hub.job import Mark

MOST_LISTED = 100
"""Names of an archive that are kept."""

_HEAD = 4096
_TAIL = 1 << 20
_LEAST_CONFIDENCE = 0.3
"""Of puremagic: a signature of two bytes has 0.2, and fits many a text."""

_PROGRAMS = frozenset(
    ["appimage", "apk", "com", "cpl", "deb", "dll", "dmg", "drv", "elf", "exe", "gadget", "img",
     "iso", "jar", "lnk", "msi", "msix", "msp", "ocx", "pif", "reg", "rpm", "scr", "sys", "url", "vhd",
     "vhdx"])
_SCRIPTS = frozenset(
    ["bat", "bash", "chm", "cmd", "csh", "hta", "htm", "html", "js", "jse", "ksh", "mht", "mhtml", "mjs",
     "php", "pl", "ps1", "psd1", "psm1", "py", "rb", "sct", "sh", "shtml", "svgz", "vb", "vbe", "vbs", "ws",
     "wsc", "wsf", "wsh", "xhtml", "zsh"])
_MACROS = frozenset(["docm", "dotm", "pptm", "potm", "ppam", "ppsm", "sldm", "xlam", "xlsm", "xltm", "xlsb"])
_ARCHIVES = frozenset(["7z", "ace", "arj", "bz2", "cab", "cpio", "gz", "lha", "lzh", "rar", "tar", "tbz",
                       "tgz", "txz", "xz", "z", "zip", "zst"])

_FAMILIES = {extension: family for family, extensions in {
    "PDF": "pdf", "PNG": "png", "JPEG": "jpg jpeg jpe jfif", "GIF": "gif", "TIFF": "tif tiff",
    "BMP": "bmp dib", "HEIF": "heic heif hif", "WebP": "webp", "RTF": "rtf",
    "Office (OLE)": "doc dot xls xlt ppt pps pot msg",
    "Office (XML)": "docx dotx docm dotm xlsx xltx xlsm xltm xlsb pptx potx ppsx pptm",
    "OpenDocument": "odt ods odp odg odf ott ots", "ZIP": "zip", "7z": "7z", "RAR": "rar", "gzip": "gz tgz",
    "TAR": "tar", "CAB": "cab", "MP4": "mp4 mov m4a", "MP3": "mp3",
}.items() for extension in extensions.split()}
"""Types that are told apart, by extension; all of them can be known by their bytes."""

_MEDIA_TYPES = {
    "application/pdf": "PDF", "image/png": "PNG", "image/jpeg": "JPEG", "image/gif": "GIF",
    "image/tiff": "TIFF", "image/webp": "WebP", "image/heic": "HEIF", "image/heif": "HEIF",
    "application/rtf": "RTF", "application/msword": "Office (OLE)", "application/zip": "ZIP",
}
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_VBA = "_VBA_PROJECT".encode("utf-16-le")
"""A stream of this name holds the macros of a document ([MS-OVBA] §2.2.1)."""
_MACHO = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe")
_LINK = b"L\x00\x00\x00\x01\x14\x02\x00\x00\x00\x00\x00\xc0\x00\x00\x00\x00\x00\x00F"
_ACTIVE = (b"<script", b"javascript:")


@dataclass(frozen=True, slots=True)
class FileType:
    """What was seen. `family` is the type by content, where it is one of those told apart; `entries` are an
    archive's first `MOST_LISTED` names, `entry_count` says how many it has (None: not listed)."""

    family: str | None = None
    marks: tuple[Mark, ...] = ()
    entries: tuple[str, ...] = ()
    entry_count: int | None = None


class Inspection:
    """One file, as it passes by: `add` each piece, then `finish`."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self._size = 0
        self._macros = False
        self._overlap = b""

    def add(self, piece: bytes) -> None:
        """The next bytes."""
        if len(self._head) < _HEAD:
            self._head += piece[:_HEAD - len(self._head)]
        if self._head.startswith(_ZIP):
            self._tail = (self._tail + piece)[-_TAIL:] if len(piece) < _TAIL else piece[-_TAIL:]
        elif self._head.startswith(_OLE) and not self._macros:
            self._macros = _VBA in self._overlap + piece
            self._overlap = piece[-len(_VBA):]
        self._size += len(piece)

    def finish(self, name: str, media_type: str) -> FileType:
        """What the file is. `name` and `media_type` are what the sender calls it."""
        extension = _extension(name)
        listed = _list(self._head, self._tail)
        family = _family(self._head, listed)
        marks = _by_name(extension) | _by_content(self._head, family)
        if self._macros:
            marks.add("macro")
        if listed is not None:
            marks |= listed.marks(document=family in ("Office (XML)", "OpenDocument"))
        if _contradicts(family, extension, media_type, empty=not self._size):
            marks.add("other-type")
        shown = listed if listed is not None and "archive" in marks else None
        return FileType(family, tuple(sorted(marks)), tuple(shown.names[:MOST_LISTED]) if shown else (),
                        len(shown.names) if shown else None)


def inspect(pieces: Iterable[bytes], name: str, media_type: str) -> FileType:
    """A whole file at once."""
    inspection = Inspection()
    for piece in pieces:
        inspection.add(piece)
    return inspection.finish(name, media_type)


@dataclass(frozen=True, slots=True)
class _Listing:
    """The list of a ZIP."""

    names: tuple[str, ...]
    locked: bool

    def marks(self, *, document: bool) -> set[Mark]:
        marks: set[Mark] = {"locked"} if self.locked else set()
        if any(PurePosixPath(name).name.lower() == "vbaproject.bin" or name.startswith("Basic/")
               for name in self.names):
            marks.add("macro")
        if document:
            return marks
        for name in self.names:
            marks |= _by_name(_extension(name)) - {"archive"}
        return marks | {"archive"}


def _list(head: bytes, tail: bytes) -> _Listing | None:
    """The names in a ZIP. None where it is none, or where its list is damaged or longer than what is kept."""
    if not head.startswith(_ZIP):
        return None
    try:
        with zipfile.ZipFile(io.BytesIO(tail)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError):
        return None
    return _Listing(tuple(entry.filename for entry in entries if not entry.filename.endswith("/")),
                    any(entry.flag_bits & 1 for entry in entries))


def _extension(name: str) -> str:
    """The last extension, in small letters; blanks and dots at the end do not hide it, as on Windows."""
    return name.rstrip(" .").rpartition(".")[2].lower() if "." in name else ""


def _by_name(extension: str) -> set[Mark]:
    sets: tuple[tuple[Mark, frozenset[str]], ...] = (
        ("program", _PROGRAMS), ("script", _SCRIPTS), ("macro", _MACROS), ("archive", _ARCHIVES))
    return {mark for mark, extensions in sets if extension in extensions}


def _by_content(head: bytes, family: str | None) -> set[Mark]:
    marks: set[Mark] = set()
    if _is_program(head):
        marks.add("program")
    if head.startswith(b"#!") or (family is None and any(sign in head.lower() for sign in _ACTIVE)):
        marks.add("script")
    if family in ("ZIP", "7z", "RAR", "gzip", "TAR", "CAB"):
        marks.add("archive")
    return marks


def _is_program(head: bytes) -> bool:
    if head[:2] == b"MZ" and len(head) >= 0x40:
        start = int.from_bytes(head[0x3C:0x40], "little")
        return head[start:start + 2] in (b"PE", b"NE", b"LE", b"LX") or b"DOS mode" in head
    if head[:4] == b"\xca\xfe\xba\xbe" and len(head) >= 8:  # a class of Java, or a universal binary of macOS
        return True
    return head.startswith((b"\x7fELF", _LINK, *_MACHO))


def _family(head: bytes, listed: _Listing | None) -> str | None:
    """The type by content, where it is one of those told apart."""
    if b"%PDF-" in head[:1024]:  # ISO 32000-1, Annex H.3.4.1: readers look for it in the first 1024 bytes
        return "PDF"
    if listed is not None:
        return _package(listed.names)
    if head.startswith(_OLE):
        return "Office (OLE)"
    try:
        matches = puremagic.magic_string(head)
    except (puremagic.PureError, ValueError):
        return None
    return next((_FAMILIES[extension] for match in matches if match.confidence >= _LEAST_CONFIDENCE
                 and (extension := match.extension.lstrip(".").lower()) in _FAMILIES), None)


def _package(names: tuple[str, ...]) -> str:
    """What a ZIP is by its members (ECMA-376 part 2 §7.3.7; OpenDocument 1.3 part 2 §3.3)."""
    if "[Content_Types].xml" in names:
        return "Office (XML)"
    return "OpenDocument" if "mimetype" in names and "content.xml" in names else "ZIP"


def _contradicts(family: str | None, extension: str, media_type: str, *, empty: bool) -> bool:
    """Whether name or declared type say that the content is something else. They are heard only where they
    name a type that can be known by its bytes."""
    if empty:
        return False
    named = _FAMILIES.get(extension)
    declared = _MEDIA_TYPES.get(media_type.partition(";")[0].strip().lower())
    if family is None:
        return named is not None or declared is not None
    return {named or family, declared or family} != {family}

"""Names of files: harmless on every file system, unique without case, and still to be read by people.

Two kinds of text become names:

* what a configuration says, or a case: `safe_name`. Its form never changes, because the folders that
  municipalities watch are called so;
* what a citizen called a file: `upload_name`. Letters of all scripts are written in ASCII. A name that is
  ASCII already becomes what `safe_name` makes of it.

`unique_names` tells those apart that a file system would take as one. What it gave, `safe_name` and
`unique_names` leave as it is, also in a part of the list: so a mail, a folder and an XML document can say the
same.

Latin letters follow DIN 91379:2022-08, its mapping to basic letters ("Suchform", after ICAO Doc 9303): Ł is
L, å is aa, ø is oe. For all other scripts and for signs `anyascii` knows what is usual: Договор is Dogovor.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

from anyascii import anyascii

NAME_LIMIT = 80
"""The longest name that is made here, in characters."""
ORIGINAL_LIMIT = 255
"""The longest name of a citizen's that is shown beside it, in characters."""
ENDING_LIMIT = 10
"""The longest ending that a cut keeps, in characters."""

_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss",
                          "ẞ": "SS"})
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
_WINDOWS_DEVICES = frozenset({"con", "prn", "aux", "nul",
                              *(f"{d}{n}" for d in ("com", "lpt") for n in range(1, 10))})

_ENDINGS = {"application/xml": "xml", "text/xml": "xml", "application/json": "json",
            "application/pdf": "pdf", "image/png": "png", "image/jpeg": "jpg", "text/plain": "txt"}
_MARKED = re.compile("([AOUaou])([\u0300-\u036f]+)")
_DIAERESIS, _RING = "\u0308", "\u030a"
_OTHER_THAN_USUAL = str.maketrans({"ẞ": "SS", "Ø": "Oe", "ø": "oe", "Ǿ": "Oe", "ǿ": "oe", "ĸ": "k", "ŉ": "n",
                                   "Ŋ": "N", "ŋ": "n", "Ʒ": "Z", "ʒ": "z", "Ǯ": "Z", "ǯ": "z"})
"""Where DIN 91379 wants another letter than `anyascii` gives."""
_ONLY_AN_ENDING = re.compile(r"(?=[^.])[^A-Za-z0-9]+(\.[A-Za-z0-9]{1,10})[^A-Za-z0-9]*")
_INVISIBLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+")


def safe_name(text: str, limit: int = NAME_LIMIT) -> str:
    """A file name that is harmless on every file system.

    It consists of ASCII letters, digits and ``. _ -``. It is never hidden, never a path, and no device of
    Windows. It has at most `limit` characters; the cut keeps the extension.
    """
    text = text.replace("\\", "/").rsplit("/", 1)[-1].translate(_UMLAUTS)
    clean = _UNSAFE.sub("_", text).strip("._- ")
    stem, dot, extension = clean.rpartition(".")
    if not dot or len(extension) > ENDING_LIMIT:
        stem, extension = clean, ""
    stem = stem[: max(1, limit - len(extension) - 1)].rstrip("._- ") or "datei"
    if stem.partition(".")[0].lower() in _WINDOWS_DEVICES:
        stem = f"_{stem}"
    return f"{stem}.{extension}" if extension else stem


def upload_name(text: str) -> str:
    """A citizen's name for a file as a file name (see `safe_name`), with its ending, and readable.

    Letters and numbers are transliterated. Blanks and other signs are ``_``, as they always were. What stands
    between two dots is taken alone, so no sign grows an ending. A name of which nothing is left is ``datei``
    with its ending.
    """
    base = unicodedata.normalize("NFC", text.replace("\\", "/").rsplit("/", 1)[-1])
    name = _UNSAFE.sub("_", ".".join(map(_piece, base.split("."))))
    if bare := _ONLY_AN_ENDING.fullmatch(name):
        name = f"datei{bare[1]}"
    return _settled(name)


def _piece(text: str) -> str:
    if text.isascii():
        return text
    letters = "".join(char if char.isascii() or unicodedata.category(char)[0] in "LMN" else "_"
                      for char in text)
    return latin(letters).replace(".", "_") or "_"


def latin(text: str) -> str:
    """The text in ASCII: Latin letters as DIN 91379 maps them, all else as is usual.

    Unlike the standard's search form it keeps upper and lower case, and signs between the letters.
    """
    text = _MARKED.sub(_without_marks, unicodedata.normalize("NFD", text))
    return anyascii(unicodedata.normalize("NFC", text).translate(_OTHER_THAN_USUAL))


def _without_marks(letter: re.Match[str]) -> str:
    base, marks = letter[1], letter[2]
    if _DIAERESIS in marks:
        return f"{base}e"
    return f"{base}a" if _RING in marks and base in "Aa" else base


def shown_name(text: str) -> str:
    """A citizen's name for a file, to be shown beside the one that was made of it.

    It is in NFC. Signs that nobody sees are left out: they could make ``gpj.exe`` look like ``exe.jpg``. It
    has at most `ORIGINAL_LIMIT` characters; the cut keeps the extension.
    """
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text)).strip()
    if len(text) <= ORIGINAL_LIMIT:
        return text or "datei"
    stem, dot, ending = text.rpartition(".")
    if not dot or len(ending) > 2 * ENDING_LIMIT:
        return text[:ORIGINAL_LIMIT]
    return f"{stem[:ORIGINAL_LIMIT - len(ending) - 1]}.{ending}"


def with_ending(name: str, media_type: str) -> str:
    """A safe name with an ending: where it has none, that of the media type, if there is a usual one."""
    ending = usual_ending(media_type)
    return _settled(f"{name}.{ending}") if ending and "." not in name else name


def usual_ending(media_type: str) -> str | None:
    """The ending of files of a media type, without the dot."""
    return _ENDINGS.get(media_type.partition(";")[0])


def unique_names(names: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Safe names in the same order. Names that any file system would take as equal, to each other or to one
    that is `taken`, get ``-2``, ``-3`` …"""
    seen = {name.lower() for name in taken}
    result = []
    for name in names:
        candidate = safe = _settled(name)
        count = 1
        while candidate.lower() in seen:
            count += 1
            candidate = _numbered(safe, count)
        seen.add(candidate.lower())
        result.append(candidate)
    return result


def _numbered(name: str, count: int) -> str:
    """A safe name with a number before its extension, not longer than a name may be."""
    stem, dot, extension = name.rpartition(".")
    if not dot:
        stem, extension = name, ""
    room = NAME_LIMIT - len(f"-{count}{dot}{extension}")
    return _settled(f"{stem[:room].rstrip('._-') if len(stem) > room else stem}-{count}{dot}{extension}")


def _settled(text: str) -> str:
    """A safe name that `safe_name` leaves as it is: a cut may have uncovered what it would change."""
    name = safe_name(text)
    while (again := safe_name(name)) != name:
        name = again
    return name

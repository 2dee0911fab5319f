"""What is sent, and how a copy of it is recognised at a receiver without the hub.

A probe carries its number, a filling made from the number, and the digest of the filling. So a copy alone
tells which probe it is, and whether it is whole.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from lxml import etree

MUNICIPALITIES = {"14999010": "musterstadt", "14999020": "beispielberg", "14999030": "probedorf"}
WIDE = {f"149991{number:02}": f"stadt{number:02}" for number in range(25)}
"""For scenarios that need many destinations: each municipality has two."""

ALL_MUNICIPALITIES = MUNICIPALITIES | WIDE
SERVICE = "zaehlprobe"
LARGE_EVERY, LARGE_BYTES = 23, 90_000
_NUMBER = re.compile(r"[0-9a-z]{1,12}-(\d{1,8})")


def number(run: str, index: int) -> str:
    """The name of a probe, which is also its Idempotency-Key."""
    return f"{run}-{index}"


def municipality_of(name: str) -> str:
    """The AGS to which a probe goes.

    A run whose name begins with m sends everything to one municipality. One with w
    sends to many, a third of all to one of them.
    """
    index = int(name.rpartition("-")[2])
    if name.startswith("w"):
        return list(WIDE)[index % len(WIDE) if index % 3 else 0]
    return list(MUNICIPALITIES)[0 if name.startswith("m") else index % len(MUNICIPALITIES)]


def filling(name: str) -> str:
    """The filling of a probe. Each 23rd probe is large enough to become a file in the store."""
    index = int(name.rpartition("-")[2])
    size = LARGE_BYTES if index % LARGE_EVERY == LARGE_EVERY - 1 else 200 + index % 97
    word = hashlib.sha256(name.encode()).hexdigest()
    return (word * (size // len(word) + 1))[:size]


def document(name: str) -> bytes:
    """The application, as Amt24 would send it."""
    text = filling(name)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return ('<?xml version="1.0" '
            'encoding="UTF-8"?>\n<serviceportal><metadata><formId>6000663:Zaehlprobe:v1.0</formId>'
            f"<creationDate>2026-11-20T09:30:00.000+01:00</creationDate></metadata>"
            f"<serviceportal-fields><probe><instance_0>"
            f"<nummer>{name}</nummer><inhalt>{text}</inhalt><summe>{digest}</summe>"
            "</instance_0></probe></serviceportal-fields></serviceportal>\n").encode()


@dataclass(frozen=True, slots=True)
class Found:
    """A copy of a probe at a receiver. `name` is None when it cannot be read."""

    name: str | None
    whole: bool


def recognise(original: bytes, rendering: bytes | None) -> Found:
    """Recognise a copy by its original, byte for byte, and its rendering (None: the receiver gets none)."""
    match = re.search(rb"<nummer>([^<]*)</nummer>", original)
    name = match[1].decode("ascii", "replace") if match else None
    if name is None or not _NUMBER.fullmatch(name):
        return Found(None, False)
    return Found(name, original == document(name) and (rendering is None or _renders(name, rendering)))


def _renders(name: str, rendering: bytes) -> bool:
    try:
        root = etree.fromstring(rendering, etree.XMLParser(resolve_entities=False, huge_tree=True))
    except etree.XMLSyntaxError:
        return False
    text = filling(name)
    return bool(root.tag == "Probe" and root.get("nummer") == name and root.text == text
                and root.get("summe") == hashlib.sha256(text.encode()).hexdigest())

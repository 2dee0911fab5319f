"""A XÖV document: carried untouched. Only its copy for stylesheets has its bodies taken out.

A body is an element of base64 that is large, or that is called like one and has a file name or a media type
beside it. In the copy it becomes ``e:attachment-ref``. What only looks like base64 stays as it is.
"""

from __future__ import annotations

import copy
import re

from lxml import etree

from hub.errors import Rejected
from hub.message import Reason
from hub.pipeline.envelope import E, EnvelopeBuilder, decode_base64

LARGE_BODY = 4096
"""Signs of a text from which on it is taken for a body, whatever its element is called."""

_BASE64_LINE = re.compile(r"[ \t]*[A-Za-z0-9+/=]+[ \t]*")
_BODY_NAMES = frozenset({"inhalt", "base64", "base64data", "binaerdaten", "binaryobject", "datei",
                         "dokumentinhalt", "embeddeddocumentbinaryobject"})
_FILENAME_NAMES = frozenset({"dateiname", "dateinameoriginal", "filename"})
_MEDIA_NAMES = frozenset({"mimetype", "mimecode", "mediatype"})


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname


def is_xoev(root: etree._Element) -> bool:
    """In a namespace, and with a head as the XÖV Basisnachricht has it, or in one of XÖV's own namespaces."""
    namespace = etree.QName(root).namespace
    return bool(namespace) and ("xoev-de" in str(namespace)
                                or any(_local(child).startswith("nachrichtenkopf") for child in root))


def from_xoev(work: EnvelopeBuilder, tree: etree._ElementTree) -> None:
    """Take over a XÖV document. Raises `Rejected` (``limit``)."""
    root = tree.getroot()
    name, version = _local(root), root.get("version", "")
    work.payload = tree
    work.facts |= {"source": "xoev", "form_id": name[:200], "form_name": name[:200]}
    if re.fullmatch(r"\d{1,6}(?:\.\d{1,6}){0,3}", version):
        work.facts["form_version"] = version
    work.facts["test"] = work.facts["test"] or root.get("test", "").strip() in ("true", "1")
    work.created = next((element.text for element in root.iter("{*}erstellungszeitpunkt")), None)
    work.payload_copy = _copy_without_bodies(work, root)


def _copy_without_bodies(work: EnvelopeBuilder, root: etree._Element) -> etree._Element:
    """A copy with references in place of bodies. The bodies are set aside meanwhile, so that none is copied.
    The document itself is left as it was."""
    bodies: list[tuple[etree._Element, str]] = []
    try:
        for element in [element for element in root.iter() if _may_be_body(element)]:
            text, number = element.text or "", _xoev_body(work, element)
            if number is not None:
                bodies.append((element, text))
                element.text = None
                etree.SubElement(element, E + "attachment-ref", ref=str(number))
        return copy.deepcopy(root)
    finally:
        for element, text in bodies:
            element.remove(element[0])
            element.text = text or None


def _may_be_body(element: etree._Element) -> bool:
    text = element.text
    if not text or len(element):
        return False
    if len(text) <= LARGE_BODY and (_local(element).lower() not in _BODY_NAMES
                                    or not any(_described(element))):
        return False
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(_BASE64_LINE.fullmatch(line) for line in lines)


def _described(element: etree._Element) -> tuple[str, str]:
    """File name and media type, from attributes or from the elements beside it."""
    found = {etree.QName(str(name)).localname.lower(): str(value) for name, value in element.items()}
    for sibling in (*element.itersiblings(preceding=True), *element.itersiblings()):
        if not len(sibling):
            found.setdefault(_local(sibling).lower(), sibling.text or "")
    return (next((found[name] for name in sorted(_FILENAME_NAMES) if found.get(name)), ""),
            next((found[name] for name in sorted(_MEDIA_NAMES) if found.get(name)), ""))


def _xoev_body(work: EnvelopeBuilder, element: etree._Element) -> int | None:
    filename, media_type = _described(element)
    ancestors = [_local(step) for step in element.iterancestors()]
    try:
        path = "/".join([*reversed(ancestors[:-1]), _local(element)])[-900:]
        return work.attach(decode_base64(element.text or ""), filename or f"anlage-{len(work.uploads) + 1}",
                           media_type, "payload", path)
    except Rejected as error:
        if error.reason == Reason.INVALID:  # it only looked like base64, and stays in the copy as it is
            return None
        raise

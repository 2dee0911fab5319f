"""Reading what a citizen wrote, without being hurt by it.

`parse` gives the tree of an XML document; `hub.parsing.json.parse_json` gives the value of a JSON document.
Both look at the bytes first. They build nothing before these hold:

* there are not too many bytes;
* the encoding is decided once, so that no two parsers can disagree about it;
* there is no DOCTYPE, in whatever encoding it hides;
* it is not too deep, has not too many elements or attributes, and no text is too long.

Why two XML parsers, where counting bytes is not enough: expat streams and says no in time, but it builds no
tree. libxml2 builds the tree, but asks nobody before. Why no setting of libxml2 instead of refusing DOCTYPE:
with ``resolve_entities=False`` a text silently ends at the entity, and XSLT expands it all the same. Without
DOCTYPE there is no entity to be resolved.

Hazards: a text node beyond 10 MB (an attachment of 7.5 MB) needs ``huge_tree``. That lifts libxml2's own
limits, so ours must hold. expat before 2.6 scans an unfinished token again with each chunk, which is
quadratic for one giant tag. An unfinished token is therefore bounded.

Every refusal is `hub.errors.Rejected`. Its text names a limit or a place, never content.

Used by `hub.pipeline`, in workers only; also for official lists that an operator installs
(`hub.administration.onboarding`). The main process never reaches it.
"""

from __future__ import annotations

import codecs
import mmap
import os
import re
from itertools import accumulate
from typing import Any, NoReturn, cast
from xml.parsers import expat

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Sentence, say
from hub.job import Limits
from hub.message import Reason
from hub.parsing import charset

Buffer = bytes | bytearray | memoryview | mmap.mmap
Source = Buffer | int

# `encoding` overrules the document's own declaration: the bytes are UTF-8 by then.
_PARSER = etree.XMLParser(encoding="utf-8", huge_tree=True, no_network=True, load_dtd=False,
                          dtd_validation=False, attribute_defaults=False, remove_comments=True,
                          remove_pis=True, collect_ids=False, recover=False)
CHUNK = 1 << 20
_MAX_TOKEN = 2 * CHUNK
_LARGE = 16 * CHUNK
_DECLARATION = re.compile(rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z][A-Za-z0-9._-]{0,40})["']""")


def parse(source: Source, limits: Limits, outside: str | None = None,
          note: charset.Note = charset.unheard) -> etree._ElementTree:
    """The tree of an XML document, without comments and processing instructions.

    `source` is bytes in memory, a memory map, or a file descriptor (which is read from its start and stays
    open). `outside` is the charset of its media type; `note` hears when the two contradict each other. Raises
    `Rejected` with ``limit``, ``doctype`` or ``unreadable``.
    """
    view = bounded(source, limits.max_bytes)
    data = as_utf8(view, outside, note)
    if not data.nbytes:
        raise _empty()
    if not harmless(data, limits):
        scan(data, limits)
    try:
        root = etree.fromstring(cast(bytes, data), _PARSER)
    except etree.XMLSyntaxError as error:
        raise unreadable(_malformed(error.lineno, error.offset)) from None
    if view.nbytes >= _LARGE and isinstance(view.obj, mmap.mmap):
        # the tree has it all; who looks again has the page from the file
        view.obj.madvise(mmap.MADV_DONTNEED)
    return etree.ElementTree(root)


def bounded(source: Source, max_bytes: int) -> memoryview:
    """The bytes of a source, none of them copied. Raises `Rejected` when it is empty (``unreadable``) or too
    long (``limit``)."""
    if isinstance(source, int):
        size = os.fstat(source).st_size
        _check_size(size, max_bytes)
        source = mmap.mmap(source, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ) if size else b""
    view = memoryview(source)
    _check_size(view.nbytes, max_bytes)
    if not view.nbytes:
        raise _empty()
    return view


def _empty() -> Rejected:
    return unreadable(say("das Dokument ist leer"))


def _check_size(size: int, max_bytes: int) -> None:
    if size > max_bytes:
        raise limit(say("das Dokument hat {size} Bytes, erlaubt sind {most}", size=size, most=max_bytes))


def as_utf8(data: Buffer, outside: str | None = None, note: charset.Note = charset.unheard) -> memoryview:
    """The document as UTF-8 without a byte order mark, whichever encoding of German authorities it has.

    `outside` is the charset that its media type names (see `hub.parsing.charset`). UTF-7, EBCDIC, UTF-32 and
    everything else that could hide a DOCTYPE is refused with ``unreadable``.
    """
    view = memoryview(data)
    head = bytes(view[:300])
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, b"<\0\0\0", b"\0\0\0<")):
        raise unreadable(say("der Zeichensatz UTF-32 wird nicht unterstützt"))
    declared = _DECLARATION.match(head)
    return charset.to_utf8(view, (*charset.BYTE_ORDER, (b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")),
                           declared[1].decode() if declared else None, outside, note)


_TAG = re.compile(rb"<(/?)")
_STEP = {b"": 1, b"/": -1}


def harmless(data: Buffer, limits: Limits) -> bool:
    """Whether counting bytes shows that a document in UTF-8 is within all limits. Most forms are, and spare
    `scan`.

    Every number here is an upper bound in a well-formed document. Without ``<!`` and ``<?`` (but the
    declaration) each ``<`` begins a tag and each ``</`` ends an element. An empty element is taken for one
    that never ends.
    """
    if memoryview(data).nbytes > min(CHUNK, limits.max_text):
        return False
    text = bytes(data)
    if b"<!" in text or text.find(b"<?", 1) >= 0 or text.count(b"=") > limits.max_attributes:
        return False
    tags = _TAG.findall(text)
    depth = max(accumulate(map(_STEP.__getitem__, tags)), default=0)
    return len(tags) <= limits.max_elements and depth <= limits.max_depth


def scan(data: Buffer, limits: Limits) -> None:
    """Stream through UTF-8 bytes and raise `Rejected` at the first thing that is too much."""
    view = memoryview(data)
    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.StartElementHandler, parser.EndElementHandler = _counters(limits)
    parser.StartDoctypeDeclHandler = _refuse_doctype
    if view.nbytes > limits.max_text:
        _count_text(parser, limits)
    try:
        for start in range(0, view.nbytes, CHUNK):
            parser.Parse(view[start:start + CHUNK], False)
            if start + CHUNK - parser.CurrentByteIndex > _MAX_TOKEN:
                raise limit(say("ein Tag oder Kommentar ist länger als {most} Bytes", most=_MAX_TOKEN))
        parser.Parse(b"", True)
    except expat.ExpatError as error:
        raise unreadable(_malformed(error.lineno, error.offset)) from None


def _counters(limits: Limits) -> tuple[Any, Any]:
    max_depth, max_elements, max_list = limits.max_depth, limits.max_elements, 2 * limits.max_attributes
    depth = elements = 0

    def start(_name: str, attributes: list[str]) -> None:
        nonlocal depth, elements
        depth += 1
        elements += 1
        if depth > max_depth:
            raise limit(say("mehr als {most} Ebenen", most=max_depth))
        if elements > max_elements:
            raise limit(say("mehr als {most} Elemente", most=max_elements))
        if len(attributes) > max_list:
            raise limit(say("mehr als {most} Attribute an einem Element", most=max_list // 2))

    def end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    return start, end


def _count_text(parser: expat.XMLParserType, limits: Limits) -> None:
    """Count the bytes of each text node as well. Only a document longer than the limit needs it.

    Comments and CDATA borders do not end a text node, because libxml2 joins what stands on both sides.
    """
    start_element, end_element = _counters(limits)
    length, max_text = 0, limits.max_text

    def text(data: str) -> None:
        nonlocal length
        length += len(data) if data.isascii() else len(data.encode())
        if length > max_text:
            raise limit(say("ein Text ist länger als {most} Bytes", most=max_text))

    def start(name: str, attributes: list[str]) -> None:
        nonlocal length
        length = 0
        start_element(name, attributes)

    def end(name: str) -> None:
        nonlocal length
        length = 0
        end_element(name)

    parser.buffer_text = True
    parser.buffer_size = CHUNK
    parser.CharacterDataHandler = text
    parser.StartElementHandler, parser.EndElementHandler = start, end


def _refuse_doctype(*_declaration: object) -> NoReturn:
    raise Rejected(Reason.DOCTYPE, say("das Dokument enthält eine DOCTYPE-Angabe; sie ist nicht erlaubt"))


def _malformed(line: int | None, column: int | None) -> Sentence:
    return say("kein wohlgeformtes XML (Zeile {line}, Spalte {column})", line=line or 0, column=column or 0)


def limit(text: Sentence) -> Rejected:
    """Something is too much."""
    return Rejected(Reason.LIMIT, text)


def unreadable(text: Sentence) -> Rejected:
    """It is no document."""
    return Rejected(Reason.UNREADABLE, text)

"""What must not be read is refused in time, and what citizens really send is read."""

from __future__ import annotations

import codecs
import mmap
import os
import socket
import tempfile
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hub.errors import Rejected
from hub.job import Limits
from hub.parsing import xml
from hub.parsing.json import parse_json
from hub.parsing.xml import parse
from tests.unit.parsing.refusals import LIMITS, refusal

DECLARED = '<?xml version="1.0" encoding="{}"?>'
DOCTYPES = {
    "plain": b"<!DOCTYPE a><a/>",
    "xxe": b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>',
    "laughs":
    b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>',
    "parameter": b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x">%p;]><a/>',
    "after a comment": b"<!-- - --><?p q?>\n<!DOCTYPE a><a/>",
    "bom": b"\xef\xbb\xbf<!DOCTYPE a><a/>",
    "utf-16": "<!DOCTYPE a><a/>".encode("utf-16"),
    "utf-16 declared": (DECLARED.format("UTF-16") + "<!DOCTYPE a><a/>").encode("utf-16"),
    "utf-16-le without mark": "<!DOCTYPE a><a/>".encode("utf-16-le"),
    "utf-16-be without mark": "<!DOCTYPE a><a/>".encode("utf-16-be"),
    "latin-1": (DECLARED.format("ISO-8859-1") + "<!DOCTYPE ä><ä/>").encode("latin-1"),
    "late": b" " * (2 << 20) + b"<!DOCTYPE a><a/>",
    "html": b"<!DOCTYPE html><html/>",
}
HIDDEN = {
    "utf-7": b'<?xml version="1.0" encoding="UTF-7"?>+ADwAIQ-DOCTYPE a+AD4-<a/>',
    "utf-7 undeclared": b"+ADwAIQ-DOCTYPE a+AD4-<a/>",
    "utf-32": "<!DOCTYPE a><a/>".encode("utf-32"),
    "utf-32-be": "<!DOCTYPE a><a/>".encode("utf-32-be"),
    "ebcdic": (DECLARED.format("cp037") + "<!DOCTYPE a><a/>").encode("cp037"),
    "iso-2022-jp": b'<?xml version="1.0" encoding="ISO-2022-JP"?><a/>',
    "utf-16 in words only": b'<?xml version="1.0" encoding="UTF-16"?><a/>',
    "base64 codec": b'<?xml version="1.0" encoding="base64"?><a/>',
    "unknown": b'<?xml version="1.0" encoding="x-none"?><a/>',
    "odd utf-16": "<a/>".encode("utf-16")[:-1],
    "overlong utf-8": b"<a>\xc0\xbc!DOCTYPE a></a>",
    "undefined entity": b"<a>&x;</a>",
    "nothing": b"",
    "no xml": b"Guten Tag",
    "unclosed": b"<a><b></a>",
    "two roots": b"<a/><b/>",
    "null byte": b"<a>\0</a>",
}
TOO_MUCH = {
    "deep": (b"<a>" * 100_000, LIMITS),
    "deep and closed": (b"<a>" * 65 + b"</a>" * 65, LIMITS),
    "wide": (b"<a>" + b"<b/>" * 200_001 + b"</a>", LIMITS),
    "attributes": (b"<a " + b" ".join(b"a%d='1'" % n for n in range(1_000_000)) + b"/>", LIMITS),
    "101 attributes": (b"<a " + b" ".join(b"a%d='1'" % n for n in range(101)) + b"/>", LIMITS),
    "bytes": (b"<a>" + b"x" * 1000 + b"</a>", LIMITS.model_copy(update={"max_bytes": 1000})),
    "text": (b"<a>" + b"x" * 1000 + b"</a>", LIMITS.model_copy(update={"max_text": 999})),
    "text in pieces": (b"<a>" + b"x<!--c--><![CDATA[xxx]]>" * 300 + b"</a>",
                       LIMITS.model_copy(update={"max_text": 999})),
    "giant tag": (b"<a b='" + b"x" * (8 << 20) + b"'/>", LIMITS),
    "giant comment": (b"<a><!--" + b"x" * (8 << 20) + b"--></a>", LIMITS),
}


@pytest.mark.parametrize("name", DOCTYPES)
def test_every_doctype_is_refused_in_every_encoding(name: str) -> None:
    assert refusal(parse, DOCTYPES[name], LIMITS).reason == "doctype"


@pytest.mark.parametrize("name", HIDDEN)
def test_what_could_hide_a_doctype_or_is_no_xml_is_unreadable(name: str) -> None:
    assert refusal(parse, HIDDEN[name], LIMITS).reason == "unreadable"


@pytest.mark.parametrize("name", TOO_MUCH)
def test_limits_hold_before_a_tree_is_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[object] = []
    monkeypatch.setattr(etree, "fromstring", lambda *_: built.append(1))
    document, limits = TOO_MUCH[name]
    assert refusal(parse, document, limits).reason == "limit"
    assert not built


def test_a_planted_parser_without_the_scan_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the scan libxml2 alone would read the bombs; so the tests above depend on it."""
    monkeypatch.setattr(xml, "scan", lambda _data, _limits: None)
    assert parse(DOCTYPES["laughs"], LIMITS).getroot().text == "ha" * 16
    assert parse(TOO_MUCH["deep and closed"][0], LIMITS).getroot().tag == "a"


@pytest.mark.parametrize("name", [*DOCTYPES, *TOO_MUCH])
def test_no_hostile_document_is_harmless(name: str) -> None:
    document, limits = TOO_MUCH[name] if name in TOO_MUCH else (DOCTYPES[name], LIMITS)
    if len(document) <= limits.max_bytes:
        assert not xml.harmless(xml.as_utf8(document), limits)


@pytest.mark.parametrize("document", [
    b"<?xml version='1.0'?><a><?x </a></a></a></a> ?>" + b"<b>" * 64 + b"</b>" * 64 + b"</a>",
    b"<a><!-- </a></a></a></a> -->" + b"<b>" * 64 + b"</b>" * 64 + b"</a>",
    b"<a><![CDATA[ </a></a></a></a> ]]>" + b"<b>" * 64 + b"</b>" * 64 + b"</a>",
    b"<a>" + b"<b></b>" * 100 + b"<b>" * 64 + b"</b>" * 64 + b"</a>",
])
def test_depth_cannot_be_hidden_from_the_count(document: bytes) -> None:
    assert refusal(parse, document, LIMITS).reason == "limit"


TREES = st.recursive(st.just([]), lambda inner: st.lists(inner, max_size=4), max_leaves=30)


@given(TREES, st.integers(1, 6), st.integers(1, 30))
def test_what_counts_as_harmless_passes_the_scan(tree: list[Any], depth: int, elements: int) -> None:
    def write(node: list[Any]) -> bytes:
        return b"<a x='/>'>" + b"t>/>".join(map(write, node)) + b"</a>" if node else b"<a/>"

    limits = Limits(max_depth=depth, max_elements=elements)
    if xml.harmless(write(tree), limits):
        xml.scan(write(tree), limits)


def test_an_ordinary_form_is_harmless() -> None:
    fields = b"".join(b"<f%d>x</f%d>" % (n, n) for n in range(100))
    assert xml.harmless(b"<?xml version='1.0' encoding='UTF-8'?><g><i>" + fields + b"</i></g>", LIMITS)


def test_a_planted_unsafe_parser_reads_the_file_that_ours_refuses(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("geheim")
    document = f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]><a>&x;</a>'.encode()
    unsafe = etree.XMLParser(resolve_entities=True, load_dtd=True)
    assert etree.fromstring(document, unsafe).text == "geheim"
    assert refusal(parse, document, LIMITS).reason == "doctype"


def test_nothing_is_fetched() -> None:
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.setblocking(False)
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        refusal(parse, f'<!DOCTYPE a SYSTEM "{address}.dtd"><a/>'.encode(), LIMITS)
        parse('<a xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="urn:x '
              f'{address}.xsd">'
              f'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{address}"/></a>'.encode(), LIMITS)
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize("encoding",
                         ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1", "iso-8859-15", "windows-1252"])
def test_the_encodings_of_german_authorities_are_read(encoding: str) -> None:
    declared = encoding.removesuffix("-sig")
    document = (DECLARED.format(declared) + "<größe>Müßiggänger, Straße 1</größe>").encode(encoding)
    root = parse(document, LIMITS).getroot()
    assert (root.tag, root.text) == ("größe", "Müßiggänger, Straße 1")


def test_comments_and_instructions_are_gone_and_text_is_whole() -> None:
    tree = parse(b"<?x y?><a>eins<!-- z -->zwei<?x y?><![CDATA[<drei>]]><b/>vier<!-- --></a><!-- -->", LIMITS)
    assert etree.tostring(tree) == b"<a>einszwei&lt;drei&gt;<b/>vier</a>"
    assert tree.getroot().text == "einszwei<drei>"
    assert tree.getroot().getprevious() is None


def test_an_attachment_of_30_mb_is_read() -> None:
    text = b"QUFB" * (10 << 20)
    assert len(parse(b"<a><b>" + text + b"</b></a>", LIMITS).getroot()[0].text or "") == len(text)


def test_at_the_limit_is_not_over_it() -> None:
    parse(b"<a>" * 64 + b"</a>" * 64, LIMITS)
    parse(b"<a>" + b"x" * 999 + b"<b/>" + b"x" * 999 + b"</a>", LIMITS.model_copy(update={"max_text": 999}))
    parse(b"<a " + b" ".join(b"a%d='1'" % n for n in range(100)) + b"/>", LIMITS)


def test_a_large_map_is_not_kept_in_memory_beside_its_tree(tmp_path: Path) -> None:
    file = tmp_path / "groß.xml"
    content = b"<a>" + b"0" * (20 << 20) + b"</a>"
    file.write_bytes(content)
    with file.open("rb") as opened:
        view = memoryview(mmap.mmap(opened.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ))
    assert len(parse(view, LIMITS).getroot().text or "") == 20 << 20
    assert _resident(file) == 0
    assert view == content
    assert _resident(file) > 0  # as it must be for the line above to mean anything


def _resident(file: Path) -> int:
    """KB of this process's maps of a file that are in memory."""
    parts = Path("/proc/self/smaps").read_text(encoding="utf-8").split(f"{file}\n")[1:]
    return sum(int(part.split("Rss:")[1].split()[0]) for part in parts)


def test_memory_maps_views_and_descriptors_are_read_alike() -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"<a>x</a>")
        file.flush()
        assert parse(file.fileno(), LIMITS).getroot().text == "x"
        os.fstat(file.fileno())
        file.truncate(0)
        assert refusal(parse, file.fileno(), LIMITS).reason == "unreadable"
    assert parse(memoryview(b"__<a>x</a>")[2:], LIMITS).getroot().text == "x"
    assert parse(bytearray(b"<a>x</a>"), LIMITS).getroot().text == "x"


def test_no_refusal_repeats_content() -> None:
    for document in (*DOCTYPES.values(), *HIDDEN.values(), b"<Mustermann><x></Mustermann>",
                     b"<a>&Mustermann;</a>"):
        text = str(refusal(parse, document, LIMITS))
        assert "Mustermann" not in text
        assert "passwd" not in text


def test_parsing_in_threads_mixes_nothing_up() -> None:
    failures: list[int] = []

    def work(number: int) -> None:
        for _ in range(200):
            if parse(b"<a%d>%d</a%d>" % (number, number, number), LIMITS).getroot().text != str(number):
                failures.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(document: bytes) -> None:
    for read in (parse, parse_json):
        try:
            read(document, LIMITS)
        except Rejected as error:
            assert error.reason in ("unreadable", "limit", "doctype")


XML_TEXT = st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"))


@given(XML_TEXT, st.sampled_from(["utf-8", "utf-16"]))
def test_text_comes_out_as_it_went_in(text: str, encoding: str) -> None:
    element = etree.Element("a")
    element.text = text
    assert (parse(etree.tostring(element, encoding=encoding), LIMITS).getroot().text or "") == text


@pytest.mark.parametrize("document", [b"", codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_a_document_without_a_sign_is_empty(document: bytes) -> None:
    with pytest.raises(Rejected, match="das Dokument ist leer"):
        xml.parse(document, Limits())

"""What a citizen's file is, by its own bytes."""

from __future__ import annotations

import io
import itertools
import tarfile
import zipfile
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.parsing.file_type import MOST_LISTED, FileType, Inspection, inspect

PE = b"MZ" + bytes(0x3A) + (0x40).to_bytes(4, "little") + b"PE\0\0" + bytes(300)
ELF = b"\x7fELF\x02\x01\x01" + bytes(60)
LINK = b"L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0F" + bytes(60)
PDF = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01" + bytes(40)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
TEXT = "Bitte um Rückruf unter den üblichen Zeiten.\n".encode()


def packed(*names: str, flags: int = 0) -> bytes:
    """A ZIP with these members."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), b"Beispiel " * 20)  # of 1980: the same in every process
    content = target.getvalue()
    if flags:  # general purpose bit 0 in each entry of the central directory (APPNOTE 4.4.4)
        start = content.index(b"PK\x01\x02")
        content = content[:start + 8] + bytes([content[start + 8] | flags]) + content[start + 9:]
    return content


def tape(*names: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return target.getvalue()


def marks(content: bytes, name: str, media_type: str = "") -> Sequence[str]:
    return inspect([content], name, media_type).marks


DOCX = packed("[Content_Types].xml", "_rels/.rels", "word/document.xml")
DOCM = packed("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin")
ODT = packed("mimetype", "content.xml", "META-INF/manifest.xml")
ODT_BASIC = packed("mimetype", "content.xml", "Basic/Standard/Module1.xml")


@pytest.mark.parametrize(("content", "name", "media_type"), [
    (PDF, "Impfpass.pdf", "application/pdf"), (b"\xef\xbb\xbf\r\n" + PDF, "Scan.PDF", ""),
    (PNG, "Bild.png", "image/png"), (JPEG, "Foto.JPG", "image/jpeg"), (HEIC, "IMG_1.heic", "image/heic"),
    (DOCX, "Antrag.docx", ""), (ODT, "Antrag.odt", ""), (OLE, "Altes.doc", "application/msword"),
    (TEXT, "Notiz.txt", "text/plain"), (TEXT, "Notiz", ""), (b"MZ ist mein Kennzeichen", "kfz.txt", ""),
    (b"BM und noch mehr Text", "text.txt", "text/plain"), (b"", "leer.pdf", "application/pdf"),
    (b'<?xml version="1.0"?><a/>', "daten.xml", "application/xml"),
    (b"a;b\r\n1;2\r\n", "liste.csv", "text/csv"),
    (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "Lageplan.svg", "image/svg+xml")])
def test_what_citizens_usually_send_has_no_mark(content: bytes, name: str, media_type: str) -> None:
    assert marks(content, name, media_type) == ()


@pytest.mark.parametrize(("content", "name"), [
    (PE, "rechnung.pdf.exe"), (PE, "foto.jpg"), (ELF, "plan"), (LINK, "plan.pdf"), (TEXT, "start.scr"),
    (TEXT, "start.MSI"), (TEXT, "start.exe . "), (b"\xca\xfe\xba\xbe\0\0\0\x34" + bytes(20), "a.txt"),
    (b"\xcf\xfa\xed\xfe\x07\0\0\x01" + bytes(20), "a"), (packed("a.txt", "unterlagen/setup.exe"), "a.zip"),
    (packed("META-INF/MANIFEST.MF", "A.class"), "a.jar")])
def test_a_program_is_seen_whatever_its_name(content: bytes, name: str) -> None:
    assert "program" in marks(content, name)


@pytest.mark.parametrize(("content", "name"), [
    (b"#!/bin/sh\necho\n", "notiz.txt"), (TEXT, "a.js"), (TEXT, "a.Bat"), (TEXT, "a.ps1"),
    (b'<svg xmlns="http://www.w3.org/2000/svg"><SCRIPT>1</SCRIPT></svg>', "plan.svg"),
    (packed("liesmich.vbs"), "a.zip")])
def test_a_script_is_seen(content: bytes, name: str) -> None:
    assert "script" in marks(content, name)


@pytest.mark.parametrize(("content", "name"), [
    (DOCM, "Antrag.docx"), (DOCM, "Antrag.docm"), (ODT_BASIC, "Antrag.odt"), (TEXT, "Antrag.xlsm"),
    (OLE + "_VBA_PROJECT".encode("utf-16-le") + bytes(100), "Altes.doc")])
def test_macros_are_seen(content: bytes, name: str) -> None:
    assert "macro" in marks(content, name)


def test_an_office_document_is_no_archive() -> None:
    assert marks(DOCX, "Antrag.docx") == marks(ODT, "Antrag.odt") == ()


def test_an_archive_is_listed_and_never_unpacked() -> None:
    seen = inspect([packed("a.txt", "ordner/Lageplan.pdf", "ordner/")], "Unterlagen.zip", "application/zip")
    assert seen == FileType("ZIP", ("archive",), ("a.txt", "ordner/Lageplan.pdf"), 2)
    many = inspect([packed(*(f"{number}.txt" for number in range(MOST_LISTED + 7)))], "a.zip", "")
    assert (len(many.entries), many.entry_count) == (MOST_LISTED, MOST_LISTED + 7)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("gross.txt", bytes(50_000_000))
    assert inspect([bomb.getvalue()], "a.zip", "").entries == ("gross.txt",)


@pytest.mark.parametrize(("content", "name"), [
    (b"7z\xbc\xaf'\x1c\0\x04" + bytes(40), "a.7z"), (b"Rar!\x1a\x07\x01\0" + bytes(40), "a.rar"),
    (b"\x1f\x8b\x08\0" + bytes(40), "a.gz"), (tape("a.txt"), "a.tar"), (packed("a.txt")[:-30], "a.zip")])
def test_an_archive_without_a_list_that_can_be_read_is_one_still(content: bytes, name: str) -> None:
    seen = inspect([content], name, "")
    assert seen.marks[:1] == ("archive",)
    assert seen.entry_count is None


def test_a_password_is_seen() -> None:
    assert marks(packed("a.txt", flags=1), "a.zip") == ("archive", "locked")


@pytest.mark.parametrize(("content", "name", "media_type"), [
    (PNG, "Foto.jpg", ""), (HEIC, "Foto.jpg", "image/jpeg"), (PDF, "Foto.png", ""), (TEXT, "Antrag.pdf", ""),
    (PDF, "Antrag", "image/png"), (packed("a.txt"), "Antrag.docx", ""), (OLE, "Antrag.docx", "")])
def test_a_name_or_a_type_that_says_something_else_is_seen(content: bytes, name: str,
                                                           media_type: str) -> None:
    assert "other-type" in marks(content, name, media_type)


SAMPLES = (PE, ELF, PDF, PNG, DOCM, ODT_BASIC, packed("a.txt", "b.exe"), TEXT, b"",
           OLE + "_VBA_PROJECT".encode("utf-16-le"))


@given(st.sampled_from(SAMPLES), st.lists(st.integers(0, 2000), max_size=20))
def test_how_a_file_is_cut_into_pieces_makes_no_difference(content: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    inspection = Inspection()
    for start, end in itertools.pairwise(places):
        inspection.add(content[start:end])
    assert inspection.finish("a.bin", "") == inspect([content], "a.bin", "")


@given(st.binary(max_size=3000), st.text(max_size=40), st.text(max_size=40))
def test_no_bytes_and_no_name_end_the_inspection(content: bytes, name: str, media_type: str) -> None:
    for head in (b"", b"PK\x03\x04", b"MZ", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        inspect([head + content], name, media_type)


DAMAGED = packed("a.txt", "größe/ü.pdf", "c.exe")


@given(st.lists(st.tuples(st.integers(4, len(DAMAGED) - 1), st.integers(0, 255)), max_size=6),
       st.integers(4, len(DAMAGED)))
def test_no_damaged_zip_ends_the_inspection(changes: list[tuple[int, int]], end: int) -> None:
    content = bytearray(DAMAGED)
    for place, value in changes:
        content[place] = value
    assert "archive" in marks(bytes(content[:end]), "a.zip")


def test_a_zip_with_a_name_of_no_letters_is_listed() -> None:
    """Python's own question whether such an entry is a folder raises an IndexError."""
    content = packed("x")
    start = content.index(b"PK\x01\x02")
    nameless = content[:start + 28] + b"\0\0" + content[start + 30:start + 46] + content[start + 47:]
    end = nameless.index(b"PK\x05\x06")
    size = int.from_bytes(nameless[end + 12:end + 16], "little") - 1
    nameless = nameless[:end + 12] + size.to_bytes(4, "little") + nameless[end + 16:]
    assert inspect([nameless], "a.zip", "").entries == ("",)


def test_a_large_zip_is_listed_by_its_end() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("gross.bin", bytes(3_000_000))
        archive.writestr("klein.txt", b"x")
    content = target.getvalue()
    pieces = [content[start:start + 65536] for start in range(0, len(content), 65536)]
    assert inspect(pieces, "a.zip", "").entry_count == 2

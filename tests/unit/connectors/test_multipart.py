"""Multipart, for any cut of the bytes, for any rubbish, and for all that the RFCs allow."""

from __future__ import annotations

import tempfile
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._framing import FramingError, OverLimitError, Spool
from connectors._multipart import MAX_DEPTH, Multipart, boundary_of

MIXED = "multipart/mixed; boundary=grenze"
HOSTILE = st.lists(st.sampled_from([
    b"--grenze", b"\r\n", b"--", b"\n", b"Content-Disposition: form-data; name=\"a\"",
    b"Content-Transfer-Encoding: base64", b"Content-Transfer-Encoding: quoted-printable", b": ", b"=",
    b"Content-Type: multipart/mixed; boundary=grenze2", b"--grenze2", b" \t", b"\r\n\r\n",
    b"QUJD", b"\xff\xfe", b"\0", b"filename*=UTF-8''%ff", b"x", b"Content-Type: application/xml"]),
    max_size=30).map(b"".join)


def parts_of(data: bytes, cuts: list[int], folder: Path) -> list[tuple[str, str, str | None, bytes]]:
    """The parts of `data`, fed in pieces."""
    multipart = Multipart(MIXED, Spool(folder, "test"))
    try:
        start = 0
        for end in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
            multipart.feed(data[start:end])
            start = end
        return [(part.name, part.media_type, part.filename,
                 part.content if isinstance(part.content, bytes) else part.content.read_bytes())
                for part in multipart.finish()]
    finally:
        multipart.discard()


@given(st.lists(st.binary(max_size=200).filter(lambda body: b"--grenze" not in body), min_size=1, max_size=4),
       st.lists(st.integers(0, 1500), max_size=20), st.sampled_from([b"", b"preamble\r\n", b"\r\n"]))
def test_any_cut_gives_the_same_parts(bodies: list[bytes], cuts: list[int], preamble: bytes) -> None:
    parts = [b"--grenze\r\nContent-Disposition: form-data; name=\"%d\"\r\n\r\n%s\r\n" % (no, body)
             for no, body in enumerate(bodies)]
    data = preamble + b"".join(parts) + b"--grenze--\r\n"
    with tempfile.TemporaryDirectory() as folder:
        assert parts_of(data, cuts, Path(folder)) == [
            (f"{no}", "text/plain", None, body) for no, body in enumerate(bodies)]


@given(HOSTILE | st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_rubbish_is_parts_or_a_framing_error_and_leaves_nothing(data: bytes, cuts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        try:
            parts = parts_of(data, cuts, Path(folder))
        except (FramingError, OverLimitError):
            parts = []
        assert all(name and name.isprintable() for name, _, _, _ in parts)
        assert list(Path(folder).iterdir()) == []


@given(st.text(max_size=80))
def test_any_content_type_has_a_sane_boundary_or_none(text: str) -> None:
    try:
        boundary = boundary_of(text)
    except FramingError:
        return
    assert 1 <= len(boundary) <= 70
    assert boundary.isascii()


def one(header: bytes, body: bytes = b"x") -> tuple[str, str, str | None, bytes]:
    """The part with this header."""
    with tempfile.TemporaryDirectory() as folder:
        data = b"--grenze\r\n" + header + b"\r\n\r\n" + body + b"\r\n--grenze--"
        [part] = parts_of(data, [], Path(folder))
    return part


D = b"Content-Disposition: form-data; name=anlage; "


@pytest.mark.parametrize(("header", "filename"), [
    (D + b'filename="a.pdf"', "a.pdf"), (D + b"filename=a.pdf", "a.pdf"), (D + b'FileName="a.pdf"', "a.pdf"),
    (D + b'\r\n\tfilename="a.pdf"', "a.pdf"), (D + b'\r\n  \r\n filename="a.pdf"', "a.pdf"),
    (D + b'filename="Impf\r\n pass.pdf"', "Impf pass.pdf"),
    (D + b"filename*=UTF-8''F%C3%BChrerschein.pdf", "Führerschein.pdf"),
    (D + b"filename=x.pdf; filename*=UTF-8'de'F%C3%BChrer.pdf", "Führer.pdf"),
    (D + b"filename*=iso-8859-1''F%FChrer.pdf; filename=x.pdf", "Führer.pdf"),
    (D + b"filename*0*=UTF-8''F%C3%BC; filename*1=hrer.pdf", "Führer.pdf"),
    (D + b'filename*0="Fueh"; filename*1="rer.pdf"', "Fuehrer.pdf"),
    (D + b'filename="=?UTF-8?Q?F=C3=BChrerschein.pdf?="', "Führerschein.pdf"),
    (D + b'filename="=?utf-8?B?RsO8aHJlcg==?=\r\n =?utf-8?Q?schein.pdf?="', "Führerschein.pdf"),
    (D + b'filename="=?iso-8859-1?Q?F=FChrer=20x.pdf?="', "Führer x.pdf"),
    (D + b'filename="=?unknown?Q?x?=.pdf"', "=?unknown?Q?x?=.pdf"),
    (D + b'filename="a\\"b;c.pdf"', 'a"b;c.pdf'),
    (D + "filename=\"Договор Łukasz.docx\"".encode(), "Договор Łukasz.docx"),
    (D + "filename=\"Gebu\u0308hr.pdf\"".encode(), "Gebu\u0308hr.pdf"),
    (D + "filename=\"Gebühr – 5 €.pdf\"".encode("cp1252"), "Gebühr – 5 €.pdf"),
    (D + b'filename="' + b"x" * 300 + b'.pdf"', "x" * 251 + ".pdf"),
    (b'Content-Type: application/pdf; name="Impfpass.pdf"', "Impfpass.pdf"),
    (b"Content-Type: application/pdf;\r\n name*=UTF-8''%C3%BC.pdf", "ü.pdf"),
    (b'Content-Type: application/pdf; name="b.pdf"\r\nContent-Disposition: attachment; filename=a.pdf',
     "a.pdf"),
    (b"Content-Type: application/pdf", None)])
def test_a_file_name_may_stand_in_many_ways(header: bytes, filename: str | None) -> None:
    assert one(header)[2] == filename


@pytest.mark.parametrize(("header", "name"), [
    (b"X: y", "part-1"), (b"Content-ID: <root>", "root"), (D + b"x=y", "anlage"),
    (b"Content-Disposition: form-data; name*=UTF-8''anl%C3%A4ge", "anläge"),
    (b"CONTENT-DISPOSITION : form-data; name=a", "a")])
def test_the_name_of_a_part(header: bytes, name: str) -> None:
    assert one(header)[0] == name


def test_a_part_keeps_its_character_set() -> None:
    assert one(b"Content-Type: text/xml;\r\n charset=ISO-8859-1")[1] == "text/xml; charset=iso-8859-1"


@pytest.mark.parametrize("cut", range(60))
@pytest.mark.parametrize(("data", "bodies"), [
    (b"--grenze  \r\nA: b\r\n\r\nx\r\n--grenze\t \r\n\r\ny\r\n--grenze--  \r\nepilogue\r\n--grenze\r\n",
     [b"x", b"y"]),
    (b"preamble\r\n--grenzenlos\r\n--grenze\r\nA: b\r\n\r\nx\r\n--grenze--", [b"x"]),
    (b"--grenze\r\nA: b\r\n\r\n--grenze\r\n\r\n--grenze--", [b"", b""]),
    (b"--grenze\r\n\r\n--grenzenlos\r\n--grenze \tno\r\n--grenze-\r\n--grenze--", [
        b"--grenzenlos\r\n--grenze \tno\r\n--grenze-"]),
    (b"--grenze\r\n\r\n\r\n\r\n--grenz\r\n--grenze--", [b"\r\n\r\n--grenz"]),
])
def test_borders_as_the_rfc_has_them_wherever_it_is_cut(data: bytes, bodies: list[bytes], cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert [part[3] for part in parts_of(data, [cut, cut + 1, cut + 7], Path(folder))] == bodies


NESTED = (b"--grenze\r\nContent-Disposition: form-data; name=anlagen\r\n"
          b"Content-Type: multipart/mixed; boundary=innen\r\n\r\n"
          b"--innen\r\nContent-Disposition: file; filename=a.pdf\r\n\r\nA\r\n--innen\r\n"
          b"Content-Disposition: file; filename=b.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
          b"Qg==\r\n--innen--\r\n"
          b"\r\n--grenze\r\nContent-Disposition: form-data; name=c\r\n\r\nC\r\n--grenze--")


@pytest.mark.parametrize("cut", range(0, len(NESTED), 3))
def test_each_file_of_a_multipart_within_is_a_part_by_itself(cut: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert parts_of(NESTED, [cut], Path(folder)) == [
            ("anlagen", "text/plain", "a.pdf", b"A"), ("anlagen", "text/plain", "b.pdf", b"B"),
            ("c", "text/plain", None, b"C")]


@pytest.mark.parametrize("inner", [
    b"Content-Type: multipart/mixed\r\n\r\nno boundary",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\ncut"])
def test_a_multipart_within_that_cannot_be_read_is_never_one_file(inner: bytes, tmp_path: Path) -> None:
    with pytest.raises(FramingError):
        parts_of(b"--grenze\r\n" + inner + b"\r\n--grenze--", [], tmp_path)


def test_a_saved_web_page_is_a_file() -> None:
    assert one(D + b"filename=x.mht\r\nContent-Type: multipart/related")[2] == "x.mht"


@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 1000])
def test_multiparts_within_multiparts_end_somewhere(depth: int, tmp_path: Path) -> None:
    data = b"--grenze\r\n"
    for no in range(1, depth):
        data += b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (no, no)
    data += b"\r\nx"
    for no in range(depth - 1, 0, -1):
        data += b"\r\n--b%d--" % no
    if depth <= MAX_DEPTH:
        assert parts_of(data + b"\r\n--grenze--", [], tmp_path) == [("part-1", "text/plain", None, b"x")]
    else:
        with pytest.raises(OverLimitError):
            parts_of(data + b"\r\n--grenze--", [], tmp_path)


def test_parts_within_count_like_all_others(tmp_path: Path) -> None:
    multipart = Multipart(MIXED, Spool(tmp_path, "test"), max_parts=2)
    with pytest.raises(OverLimitError):
        multipart.feed(NESTED)
    multipart.discard()


@given(st.lists(st.tuples(st.binary(max_size=300), st.text(st.characters(categories=("L", "N")), min_size=1,
                                                            max_size=60)), min_size=1, max_size=4))
def test_what_a_mail_program_writes_is_read(files: list[tuple[bytes, str]]) -> None:
    """The standard library writes it: folded, encoded, with its own boundary."""
    mail = EmailMessage(SMTP)
    for content, name in files:
        mail.add_attachment(content, "application", "octet-stream", filename=f"{name}.bin")
    with tempfile.TemporaryDirectory() as folder:
        _head, _, body = mail.as_bytes().partition(b"\r\n\r\n")
        multipart = Multipart(str(mail["content-type"]), Spool(Path(folder), "test"))
        multipart.feed(body)
        parts = multipart.finish()
    assert [(part.content, part.filename) for part in parts] == [
        (content, f"{name}.bin") for content, name in files]

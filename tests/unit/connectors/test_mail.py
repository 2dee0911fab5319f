"""What a clerk, a mail program and a relay see of a mail."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass

import pytest

from connectors._mail import build, dots_doubled, gathered
from hub.errors import Misconfigured, Permanent
from hub.message import NOTE, REPLY_TO, Delivery
from tests.integration.contract import APPLICATION, SEPARATORS, make_delivery

TO = "antraege@musterstadt.example"
EMPTY = b"Der Antrag liegt dieser Mail als Datei bei."


@dataclass(frozen=True)
class Addresses:
    """From whom to whom."""

    from_: str = "Drehscheibe Sachsen <hub@drehscheibe.example>"
    to: tuple[str, ...] = (TO,)
    cc: tuple[str, ...] = ()
    reply_to: str | None = None


def wire(delivery: Delivery, addresses: Addresses = Addresses()) -> bytes:
    return b"".join(build(addresses, delivery).lines(delivery))


def parsed(content: bytes) -> email.message.EmailMessage:
    return email.message_from_bytes(content, policy=email.policy.default)


def bodies(content: bytes) -> list[bytes]:
    """As a mail program shows them; line ends of texts as in the file."""
    found = []
    for part in parsed(content).walk():
        if not part.is_multipart():
            body = part.get_payload(decode=True)
            assert isinstance(body, bytes)
            attached = part.get_content_disposition() == "attachment"
            found.append(body if attached else body.replace(b"\r\n", b"\n").rstrip(b"\n"))
    return found


def test_the_same_delivery_gives_the_same_bytes() -> None:
    assert wire(make_delivery()) == wire(make_delivery(attempt=2))
    assert wire(make_delivery()) != wire(make_delivery(number=2))


def test_headers() -> None:
    delivery = make_delivery(subject="Anmeldung zur Hundesteuer – Größe",
                             manifest={"headers": {"X-Vorgang": "Ä 1"}})
    message = parsed(wire(delivery, Addresses(cc=("Kämmerei <kasse@musterstadt.example>",),
                                              reply_to="amt@musterstadt.example")))
    assert message["Subject"] == "Anmeldung zur Hundesteuer – Größe"
    assert message["From"] == "Drehscheibe Sachsen <hub@drehscheibe.example>"
    assert message["To"] == TO
    assert message["Cc"].addresses[0].display_name == "Kämmerei"
    assert message["Reply-To"] == "amt@musterstadt.example"
    assert message["Message-ID"] == f"<{make_delivery().id}@drehscheibe.example>"
    assert message["Date"] == "Sun, 22 Nov 2026 10:11:12 +0100"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Vorgang"] == "Ä 1"


def test_structure() -> None:
    message = parsed(wire(make_delivery()))
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed", "multipart/alternative", "text/plain", "text/html", "application/pdf",
        "application/xml", "application/pdf"]
    encodings = {str(part["Content-Transfer-Encoding"]) for part in message.walk() if not part.is_multipart()}
    assert encodings == {"quoted-printable", "base64"}
    assert message.defects == []


@pytest.mark.parametrize("roles", [
    ("text",), ("html",), ("text", "html"), ("pdf",), ("text", "attachment"), ()])
def test_any_set_of_parts(roles: tuple[str, ...]) -> None:
    delivery = make_delivery([part for part in APPLICATION if part[0] in roles])
    expected = [content.rstrip(b"\n") if role in ("text", "html") else content
                for role, _, _, content in APPLICATION if role in roles]
    if not {"text", "html"} & set(roles):
        expected.append(EMPTY)
    assert sorted(bodies(wire(delivery))) == sorted(expected)


@pytest.mark.parametrize("roles", [("text", "html"), ("html",), ()])
def test_words_of_the_hub_stand_before_the_body(roles: tuple[str, ...]) -> None:
    note = "Diese Dateien zum Antrag sind nicht in der Mail: plan.pdf\nSie liegen hier: a/<b>"
    parts = [part for part in APPLICATION if part[0] in roles]
    mail = wire(make_delivery(parts, manifest={"properties": {NOTE: note}}))
    texts = {part.get_content_subtype(): str(part.get_content()).replace("\r\n", "\n")
              for part in parsed(mail).walk() if not part.is_multipart()}
    assert set(texts) == (set(roles) & {"html"} | ({"plain"} if roles != ("html",) else set()))
    if "plain" in texts:
        assert texts["plain"].startswith(note)
    if "html" in texts:
        assert "Sie liegen hier: a/&lt;b&gt;</p>" in texts["html"]


def test_marks_in_the_subject() -> None:
    mail = parsed(wire(make_delivery(test=True, repeat_marked=True)))
    assert mail["Subject"] == "[TEST] möglicherweise doppelt: Anmeldung zur Hundesteuer"


@pytest.mark.parametrize("separator", [*SEPARATORS, "\r\n", "\x00", "\x1b", "\ud800", "\u202e"])
def test_no_separator_breaks_a_header(separator: str) -> None:
    """`email` itself raises ValueError at some of these: a poison message, were it used for headers."""
    bad = f"a{separator}Bcc: fremd@example.org{separator}{separator}b"
    delivery = make_delivery(subject=bad, manifest={"headers": {"X-Vorgang": bad}})
    mail = wire(delivery)
    header = mail.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert [line for line in header if line.lower().startswith(b"bcc")] == []
    assert all(line.isascii() and line.decode().isprintable() for line in header)
    assert parsed(mail)["Subject"] == "a Bcc: fremd@example.org b"


def test_a_body_full_of_smuggling() -> None:
    """A lone CR or LF before a dot ends the mail on some servers (SMTP smuggling)."""
    text = "a\r.\r\nMAIL FROM:<x@example.org>\n.\r.\n..\n.b\x0b\x0c\x85\u2028" + "ü" * 2000 + " \nende \n"
    delivery = make_delivery([("text", "a.txt", "text/plain", text.encode())])
    content = wire(delivery)
    assert b"\r" not in content.replace(b"\r\n", b"")
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert max(map(len, content.split(b"\r\n"))) <= 78
    expected = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
    assert bodies(content) == [expected.encode()]


def test_a_citizens_media_type_is_not_trusted() -> None:
    delivery = make_delivery([("attachment", f"{no}.bin", media, b"x") for no, media in enumerate(
        ["message/rfc822", "multipart/mixed", "text/html\r\nBcc: x@example.org", "x", ""])])
    types = [part.get_content_type() for part in parsed(wire(delivery)).walk()][2:]
    assert types == ["application/octet-stream"] * 5


def test_a_header_that_steers_the_mail_is_refused() -> None:
    with pytest.raises(Misconfigured, match="nicht erlaubt"):
        build(Addresses(), make_delivery(manifest={"headers": {"Bcc": "x@example.org"}}))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 56, 57, 58, 114, 57 * 4096 - 1, 57 * 4096, 57 * 4096 + 1])
def test_the_size_is_exact(size: int) -> None:
    delivery = make_delivery([("attachment", "a.bin", "application/octet-stream", bytes(size))])
    mail = build(Addresses(), delivery)
    content = b"".join(mail.lines(delivery))
    assert mail.size == len(content)
    (attachment,) = parsed(content).iter_attachments()
    assert attachment.get_payload(decode=True) == bytes(size)


def test_whole_lines_lose_no_dot() -> None:
    assert dots_doubled(b".\r\n..\r\na.\r\n") == b"..\r\n...\r\na.\r\n"


def test_chunks_are_gathered_without_losing_a_byte() -> None:
    chunks = [bytes([no]) * no for no in range(200)]
    gathered_chunks = list(gathered(iter(chunks), least=1000))
    assert b"".join(gathered_chunks) == b"".join(chunks)
    assert all(len(chunk) >= 1000 for chunk in gathered_chunks[:-1])


@pytest.mark.parametrize(("applicant", "configured", "header"), [
    ("erika@example.org", None, "erika@example.org"),
    ("erika@example.org", "amt@musterstadt.example", "erika@example.org"),
    ("x", "amt@musterstadt.example", "amt@musterstadt.example"), ("x", None, None),
    ("a@example.org\r\nBcc: b@example.org", None, None), ("a@example.org, b@example.org", None, None),
    ("Erika <erika@example.org>", None, None), (f"{'a' * 64}@{'b' * 250}.org", None, None)])
def test_answers_go_to_the_applicant_where_it_is_one_address(applicant: str, configured: str | None,
                                                             header: str | None) -> None:
    delivery = make_delivery(manifest={"properties": {REPLY_TO: applicant}})
    mail = parsed(wire(delivery, Addresses(reply_to=configured)))
    assert mail["Reply-To"] == header
    assert mail["Bcc"] is None
    assert mail.defects == []


@pytest.mark.parametrize("name", [f"Müßig{sign}Bcc: x@example.org" for sign in SEPARATORS] + [
    "=?utf-8?q?x?=", "M" * 60, "Łódź 😀", "a\u202eb"])
def test_a_name_in_the_subject_makes_no_other_header(name: str) -> None:
    content = wire(make_delivery(subject=f"Hundesteuer – {name} [01936d2e-0001]"))
    mail = parsed(content)
    assert mail["Bcc"] is None
    assert str(mail["Subject"]).startswith("Hundesteuer – ")
    assert str(mail["Subject"]).endswith(" [01936d2e-0001]")
    assert mail.defects == []
    assert all(len(line) <= 78 for line in content.partition(b"\r\n\r\n")[0].split(b"\r\n"))


@pytest.mark.parametrize("role", ["text", "html"])
def test_a_text_in_another_encoding_is_refused_and_not_sent_with_signs_lost(role: str) -> None:
    delivery = make_delivery(parts=[(role, "antrag.txt", "text/plain", "für Köln".encode("latin-1"))])
    with pytest.raises(Permanent, match="nicht in UTF-8"):
        wire(delivery)

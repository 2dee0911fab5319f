"""Inputs that went wrong somewhere, through the real inlets to a folder and a mailbox (docs/faults.md).

Each is one case of a kind; the kinds have their own tests. Here the whole hub shows that what was handed in
arrives: every file once in the folder and once in the mail, byte by byte, under one name.
"""

from __future__ import annotations

import hashlib
import shutil
import ssl
import subprocess
from collections import Counter
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lxml import etree

from tests.acceptance.hub_process import MUSTERSTADT, HubProcess
from tests.services import wait_until
from tests.services.mailsink import MailSink

CASES = Path(__file__).parents[1] / "transfers"
FORM = "multipart/form-data; boundary=XyZ"
SEND = '["mail-text", "mail-html", "pdf", "xml", "attachments"]'


@pytest.fixture
def served(hub: HubProcess, sink: MailSink) -> HubProcess:
    """A running hub, where one municipality gets all services by mail and in a folder."""
    routes = "".join(f"""
[[route]]
service = "{service}"
recipients = [
    {{ destination = "postfach", send = {SEND} }},
    {{ destination = "ablage", send = ["xml", "attachments"] }},
]
test_recipients = [{{ destination = "test", send = ["xml"] }}]
{"attachments = { park = [] }  # one is called rechnung.pdf.exe" if service == "sondernutzung" else ""}
""" for service in ("hundesteuer", "gewerbemeldung", "sondernutzung"))
    shutil.copytree(CASES / "sondernutzung", hub.folder / "mappings" / "sondernutzung")
    (hub.folder / "etc" / "municipalities" / f"{MUSTERSTADT}.toml").write_text(f"""
name = "Stadt Musterstadt"
ags = "{MUSTERSTADT}"
tenant = "musterstadt"
[destinations.test]
connector = "directory"
path = "../var/drop/test"
test = true
[destinations.postfach]
connector = "smtp"
to = ["buergerservice@musterstadt.example"]
[destinations.ablage]
connector = "directory"
path = "../var/drop/musterstadt"
{routes}""", encoding="utf-8")
    (hub.drop / "musterstadt").mkdir(parents=True, exist_ok=True)
    hub.start()
    return hub


def post(hub: HubProcess, content: bytes, media_type: str,
         service: str = "hundesteuer") -> list[dict[str, Any]]:
    """Hand in these bytes; the messages that they became, once they are settled."""
    context = ssl.create_default_context(cafile=str(hub.tls / "ca.pem"))
    context.load_cert_chain(hub.client.certificate, hub.client.key)
    with httpx2.Client(verify=context, trust_env=False) as client:
        answer = client.post(f"https://localhost:{hub.https}/in/{MUSTERSTADT}/{service}", content=content,
                             headers={"content-type": media_type})
    assert answer.status_code == 202, answer.text
    return hub.settled([answer.json()["id"]])


def digests(contents: list[bytes]) -> Counter[str]:
    return Counter(hashlib.sha256(content).hexdigest() for content in contents)


def in_folder(hub: HubProcess) -> dict[str, bytes]:
    """What lies in the folder, by name."""
    return {file.name: file.read_bytes() for file in (hub.drop / "musterstadt").rglob("*") if file.is_file()}


def in_mail(sink: MailSink) -> tuple[str, dict[str, bytes]]:
    """The text of the one mail, and its attachments by name."""
    mail, = (message_from_bytes(raw, policy=policy.default) for raw in sink.mails)
    body = mail.get_body(("plain",))
    assert body is not None
    return body.get_content(), {str(part.get_filename()): part.get_content() if isinstance(
        part.get_content(), bytes) else part.get_payload(decode=True) for part in mail.iter_attachments()}


def arrives(hub: HubProcess, sink: MailSink, message: dict[str, Any], files: int) -> str:
    """Hold that the message's files are in folder and mail, each once, under one name. The mail's text."""
    assert message["state"] == "completed", message
    received = Counter(part["sha256"] for part in message["parts"] if part["role"] == "attachment")
    assert sum(received.values()) == files
    text, mailed = in_mail(sink)
    stored = in_folder(hub)
    assert received <= digests(list(mailed.values()))
    assert received <= digests(list(stored.values()))
    for name, content in mailed.items():
        if hashlib.sha256(content).hexdigest() in received:
            assert name in text, "the mail calls a file as it is called"
            assert any(other.endswith(name) for other in stored)
    return text


@pytest.mark.parametrize(("case", "files"), [
    ("blank-after-boundary", 0), ("folded-header", 1), ("filename-star", 1), ("filename-rfc2047", 1),
    ("name-in-content-type", 1), ("nested", 2), ("nfd-name", 1), ("cyrillic-names", 4),
    ("xml-attachment-first", 1)])
def test_what_a_multipart_holds_arrives(served: HubProcess, sink: MailSink, case: str, files: int) -> None:
    message, = post(served, (CASES / f"multipart-{case}.bin").read_bytes(), FORM)
    arrives(served, sink, message, files)


def test_two_applications_in_one_hand_over_park_and_both_are_named(served: HubProcess,
                                                                   sink: MailSink) -> None:
    message, = post(served, (CASES / "multipart-two-applications.bin").read_bytes(), FORM)
    assert message["state"] == "parked"
    assert "Hundesteuer" in message["reason_text"]
    assert sink.mails == [] and in_folder(served) == {}


@pytest.mark.parametrize(("case", "media_type", "expected"), [
    ("charset-only-in-header.latin1.xml", "text/xml; charset=ISO-8859-1", "Jürgens"),
    ("cp1252-labelled-8859-1.xml", "application/xml", "Müller–Los €")])
def test_every_letter_arrives(served: HubProcess, sink: MailSink, case: str, media_type: str,
                              expected: str) -> None:
    message, = post(served, (CASES / case).read_bytes(), media_type)
    assert message["state"] == "completed", message
    assert expected in in_mail(sink)[0]


def test_an_empty_list_with_blanks_in_it_is_an_empty_list(served: HubProcess, sink: MailSink) -> None:
    content = (CASES / "form-content-pretty-printed.json").read_bytes()
    message, = post(served, content, "application/json", "gewerbemeldung")
    assert message["state"] == "completed", message


def test_a_file_that_a_citizen_called_antrag_pdf_is_theirs(served: HubProcess, sink: MailSink) -> None:
    message, = post(served, (CASES / "upload-called-antrag-pdf.xml").read_bytes(), "application/xml")
    assert message["state"] == "completed", message
    text, mailed = in_mail(sink)
    names = [name for name in mailed if name.endswith(".pdf")]
    assert names
    assert all(name in text for name in names)


def test_all_files_of_a_folder_arrive(served: HubProcess, sink: MailSink) -> None:
    source, inbox = CASES / "folder-with-pdfs", served.folder / "var" / "inbox" / MUSTERSTADT / "hundesteuer"
    shutil.copytree(source, served.folder / "var" / "hand-over")
    inbox.mkdir(parents=True)
    (served.folder / "var" / "hand-over").rename(inbox / "vorgang-1")
    wait_until(lambda: len(sink.mails) == 1, "the mail", 30)
    sent = digests([file.read_bytes() for file in source.glob("*.pdf")])
    mailed = in_mail(sink)[1]
    assert sent <= digests(list(mailed.values())) and sent <= digests(list(in_folder(served).values()))
    assert {file.name for file in source.glob("*.pdf")} <= set(mailed)


@pytest.mark.parametrize("case", ["stress-values.xml", "long-names.xml"])
def test_values_that_cannot_break_arrive_whole(served: HubProcess, sink: MailSink, case: str) -> None:
    """How wide they are is `tests/integration/test_pages.py`'s."""
    content = (CASES / case).read_bytes()
    message, = post(served, content, "application/xml", "sondernutzung")
    assert (message["state"], message["reason_text"]) == ("completed", None)
    form = etree.fromstring(content)
    etree.strip_elements(form, "base64Data")
    values = [str(each.text) for each in form.iter("beschreibung", "filename") if each.text]
    assert len(values) > 3
    told = "".join(in_mail(sink)[0].split())
    assert [len(value) for value in values if "".join(value.split())[:200] not in told] == []


@pytest.mark.parametrize(("case", "rendering", "told"), [
    ("mail-html-latin1.xsl", "mail-html", "ISO-8859-1"), ("document_self.xsl", "mail-text", "document()")])
def test_a_stylesheet_that_would_go_wrong_at_the_first_citizen_is_refused(
        served: HubProcess, sink: MailSink, case: str, rendering: str, told: str) -> None:
    file = served.folder / "etc" / "municipalities" / f"{MUSTERSTADT}.toml"
    before = file.read_text(encoding="utf-8")
    file.with_suffix("").mkdir(exist_ok=True)
    shutil.copy(CASES / case, file.with_suffix("") / case)
    file.write_text(before.replace('service = "hundesteuer"\n', 'service = "hundesteuer"\n'
                                   f'stylesheets = {{ "{rendering}" = "{case}" }}\n'), encoding="utf-8")
    refused = subprocess.run(served.command("reload"), capture_output=True, text=True, check=False)
    assert refused.returncode == 78
    assert case in refused.stderr and told in refused.stderr, refused.stderr
    message, = post(served, (CASES / "upload-called-antrag-pdf.xml").read_bytes(), "application/xml")
    assert message["state"] == "completed", "the old configuration goes on"

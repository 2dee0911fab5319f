"""A citizen's file is called the same by every outlet, in the mail's text and in XML, whatever its name."""

from __future__ import annotations

import email
import email.policy
import io
import re
import zipfile
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from connectors import _layout, _tree, cmis, rest, xdomea
from connectors._layout import DropOptions
from connectors._mail import build
from hub.message import Delivery
from tests.unit.connectors.test_mail import Addresses
from tests.unit.pipeline.naming_kit import Sending, holding, rule, send

NAMES = ["antrag.pdf", "Antrag.PDF", "hundesteuer.xml", "HUNDESTEUER-2.XML", "antrag.txt", "original.xml",
         "Договор.docx", "Łukasz.pdf", "Mu\u0308ll 1.pdf", "Müll 1.pdf", "con.pdf", "Aux.tar.gz", "..",
         "???.docx",
         f"{'ж' * 200}.docx", f"{'x' * 200}.pdf", f"{'x' * 199}y.pdf", "foto\u202egpj.exe", "a b\u00a0c.png"]
UPLOADS = st.lists(st.sampled_from(NAMES) | st.text(min_size=1, max_size=90).filter(str.isprintable),
                   min_size=1, max_size=7)
PIECES = ["xml", "mail-text", "attachments", "original"]
WAYS = st.permutations(PIECES)


def in_mail(delivery: Delivery) -> list[str]:
    mail = email.message_from_bytes(b"".join(build(Addresses(), delivery).lines(delivery)),
                                    policy=email.policy.default)
    return [str(each.get_filename()) for each in mail.iter_attachments()]


def in_folder(delivery: Delivery) -> list[str]:
    """Of all drops: directory, SFTP, WebDAV."""
    return [name for name, _ in _layout.plan(DropOptions(), delivery).files]


def in_tree(delivery: Delivery) -> list[str]:
    """REST as JSON, and SOAP."""
    return [each["n"] for each in _tree.fill([{"each": "*", "n": "{part:name}"}], delivery)]


def in_multipart(delivery: Delivery) -> list[str]:
    options = rest.Options.model_validate({"url": "https://x.example/", "multipart": [
        {"name": "f", "role": "*"}]})
    body = b"".join(rest.build(options, delivery).pieces())
    return re.findall(r'filename="([^"]*)"', body.decode("latin-1"))


def in_dms(delivery: Delivery) -> list[str]:
    outlet = cmis.Outlet(cmis.Options.model_validate({"url": "https://x.example/cmis"}))
    return [each.name for each in outlet.wanted(delivery)]


def in_xdomea(delivery: Delivery, **options: Any) -> list[str]:
    target = io.BytesIO()
    xdomea.pack(xdomea.Options.model_validate({"receiver": "Stadt", "drop": {
        "connector": "directory", "path": "/x"}, **options}), delivery, target)
    with zipfile.ZipFile(target) as archive:
        message = etree.fromstring(archive.read(archive.namelist()[0]))
    return [str(each.text) for each in message.iter("{*}DateinameOriginal")]


OUTLETS = [in_folder, in_tree, in_multipart, in_dms, in_xdomea]


def disagreements(sent: Sending, number: int) -> list[str]:
    """What of a delivery is called otherwise than its manifest says, and where."""
    delivery = sent.delivery(number)
    names = [each.name for each in delivery.manifest.parts]
    found = [outlet.__name__ for outlet in OUTLETS if outlet(delivery) != names]
    files = [each.name for each in delivery.manifest.parts if each.role != "text"]
    return [*found, *(["in_mail"] if in_mail(delivery) != files else [])]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(UPLOADS, WAYS, WAYS)
def test_all_outlets_say_the_same(uploads: list[str], one: list[str], other: list[str]) -> None:
    sent = send(holding(*uploads), way=rule(one, [piece for piece in other if piece != "original"],
                                            ["attachments"]))
    names = sent.names(2)
    assert [sent.names(number, "attachment") for number in range(3)] == [names] * 3
    assert list(sent.in_xml()) == names == [each.name for each in sent.outcome.attachments]
    text = sent.rendered("text").decode()
    assert all(re.search(rf"^- {re.escape(name)}[ (]", text, re.MULTILINE) for name in names)
    for number in range(3):
        assert len({name.lower() for name in sent.names(number)}) == len(sent.names(number))
        assert disagreements(sent, number) == []
        assert {"hundesteuer.xml", "antrag.txt", "antrag.xml"}.isdisjoint(name.lower() for name in names)


def test_an_outlet_that_names_files_by_itself_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a number is given for every file."""
    sent = send(holding("a.pdf", "a.pdf"), way=rule(["attachments"]))
    assert disagreements(sent, 0) == []
    monkeypatch.setattr(_layout, "unique_names",
                        lambda names: [f"{no}-{name}" for no, name in enumerate(names)])
    assert disagreements(sent, 0) == ["in_folder"]


def test_a_dms_gets_the_citizens_name_where_it_wants_it() -> None:
    sent = send(holding("Договор 1.docx"), way=rule(["attachments"]))
    assert in_xdomea(sent.delivery()) == ["Dogovor_1.docx"]
    assert in_xdomea(sent.delivery(), original_names=True) == ["Договор 1.docx"]
    tree = _tree.fill([{"each": "attachment", "n": "{part:filename}"}], sent.delivery())
    assert tree == [{"n": "Договор 1.docx"}]

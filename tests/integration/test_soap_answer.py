"""What a SOAP answer means: faults, statuses, codes, characters and parts, over a real line."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.endpoint import is_certain
from hub.errors import DeliveryError, InDoubt, Misconfigured, Permanent, Temporary, TooLarge
from tests.integration.contract import Effect, make_delivery
from tests.integration.soap_site import Office, write_wsdl
from tests.services import fachverfahren
from tests.services.fachverfahren import Fault, acts_and_hangs, says, soap_fault
from tests.services.lines import NewKeys, following
from tests.services.tls import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("fach"))


@pytest.fixture(scope="session")
def wsdl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wsdl(tmp_path_factory.mktemp("wsdl"))


@pytest.fixture
def fach(authority: Authority, wsdl: Path) -> Iterator[Office]:
    made = Office(authority, wsdl, "p11", idempotent=True)
    yield made
    made.close()


def outcome(fach: Office, *faults: Fault, **options: Any) -> DeliveryError:
    """The error of one delivery; the effect had begun."""
    fach.server.misbehave(*faults)
    effect = Effect()
    with pytest.raises(DeliveryError) as raised:
        fach.outlet(**options).deliver(make_delivery(), effect)
    assert effect.begun == 1
    assert "Mustermann" not in str(raised.value)
    return raised.value


FAULTS = {"fault_temporary": ["Wartung", "Voll"], "fault_permanent": ["Abgelehnt"],
          "fault_in_doubt": ["Unklar"]}


def business(rc: str) -> Fault:
    return says(200, fachverfahren.soap(
        f"<f:einreichenAntwort xmlns:f='urn:fach'><f:rc>{rc}</f:rc></f:einreichenAntwort>"))


class TestAnswer:
    """Faults by code, statuses, business codes."""

    def test_the_number_goes_into_the_proof(self, fach: Office) -> None:
        receipt = fach.outlet().deliver(make_delivery(), Effect())
        assert receipt.reference == f"AZ-2026-0001 ({make_delivery().id})"
        assert receipt.detail == {"status": "200", "code": "+0000", "number": "AZ-2026-0001"}

    @pytest.mark.parametrize(("fault", "kind", "certain"), [
        (soap_fault("s:Server"), InDoubt, False), (soap_fault("s:Client"), Permanent, True),
        (soap_fault("Client.Authentication"), Permanent, True),
        (soap_fault("s:MustUnderstand"), Permanent, True),
        (soap_fault("x:Wartung"), Temporary, True),
        (soap_fault("s:Server", "<Voll xmlns='urn:f'/>"), Temporary, True),
        (soap_fault("s:Server", "<f:Abgelehnt xmlns:f='urn:f'/>"), Permanent, True),
        (soap_fault("s:Client", "<Unklar/>"), InDoubt, False),
        (soap_fault("wsse:FailedAuthentication"), Misconfigured, True), (soap_fault(""), InDoubt, False),
        (soap_fault("Erika Mustermann"), InDoubt, False),
        (soap_fault("s:Server", status=200), InDoubt, False),
        (soap_fault("s:Receiver", version="1.2"), InDoubt, False),
        (soap_fault("s:Sender", version="1.2", status=400), Permanent, True),
        (soap_fault("s:Receiver", version="1.2", subcode="f:Wartung"), Temporary, True),
        (soap_fault("s:Sender", version="1.2", subcode="f:Unklar"), InDoubt, False),
        (soap_fault("s:Sender", version="1.2", subcode="wsse:InvalidSecurity"), Misconfigured, True),
        (says(502, b"<html>Bad Gateway</html>", "text/html"), Temporary, True),
        (says(503, b"x"), Temporary, True),
        (says(504, b"<html/>"), InDoubt, False), (says(500, b"<html/>", "text/html"), InDoubt, False),
        (says(200, b"<html/>", "text/html"), InDoubt, False), (says(200), InDoubt, False),
        (says(202), InDoubt, False),
        (says(404), Misconfigured, True), (says(401), Misconfigured, True), (says(413), TooLarge, True),
        (says(400), Permanent, True),
        (says(302, Location="/fach2"), Misconfigured, False),
        (says(307, Location="/fach2"), Misconfigured, True),
        (business("-1"), Permanent, True), (business("-7001"), Temporary, True),
        (business(""), InDoubt, False)])
    def test_the_table(self, fach: Office, fault: Fault, kind: type[DeliveryError], certain: bool) -> None:
        error = outcome(fach, fault, **FAULTS)
        assert (type(error), is_certain(error)) == (kind, certain)
        assert fach.server.taken == []
        assert len(fach.server.requests) == 1

    def test_retry_after(self, fach: Office) -> None:
        fault = says(500, fachverfahren.soap("<s:Fault><faultcode>Wartung</faultcode></s:Fault>"),
                     Retry_After="90")
        error = outcome(fach, fault, **FAULTS)
        assert isinstance(error, Temporary)
        assert error.retry_after == 90

    @pytest.mark.parametrize(("fault", "acted"), [
        (fachverfahren.hangs, 0), (acts_and_hangs, 1), (fachverfahren.cuts, 0),
        (fachverfahren.half_an_answer, 1),
        (fachverfahren.truncated_json, 1), (fachverfahren.endless(200), 1), (fachverfahren.endless(500), 1)])
    def test_in_doubt(self, fach: Office, fault: Fault, acted: int) -> None:
        error = outcome(fach, fault, timeout=2)
        assert not is_certain(error)
        assert len(fach.server.taken) == acted

    def test_executed_then_timed_out_leaves_one_copy(self, fach: Office) -> None:
        fach.server.misbehave(acts_and_hangs)
        outlet = fach.outlet(timeout=2)
        with pytest.raises(Temporary, match="Zeitüberschreitung"):
            outlet.deliver(make_delivery(), Effect())
        assert "AZ-2026-0001" in outlet.deliver(make_delivery(attempt=2), Effect()).reference
        assert len(fach.server.taken) == 1

    def test_the_suite_notices_a_new_id(self, fach: Office) -> None:
        fach.line = NewKeys
        with pytest.raises(AssertionError):
            self.test_executed_then_timed_out_leaves_one_copy(fach)
        assert len(fach.server.taken) == 2

    def test_the_suite_notices_a_followed_redirect(self, fach: Office) -> None:
        fach.line = following
        with pytest.raises(BaseException) as raised:
            self.test_the_table(fach, says(303, Location="/fach2"), Misconfigured, False)
        assert isinstance(raised.value, AssertionError | pytest.fail.Exception)
        assert len(fach.server.requests) > 1


def nested(*codes: str, status: int = 500) -> Fault:
    """A fault of SOAP 1.2 with subcodes within subcodes (part 1 §5.4.1.3)."""
    inner = ""
    for name in reversed(codes[1:]):
        inner = f"<s:Subcode><s:Value>{name}</s:Value>{inner}</s:Subcode>"
    return says(status, fachverfahren.soap(
        f"<s:Fault><s:Code><s:Value>{codes[0]}</s:Value>{inner}</s:Code>"
        "<s:Reason><s:Text xml:lang='de'>Erika Mustermann</s:Text></s:Reason></s:Fault>", "1.2"),
                "application/soap+xml")


class TestFaults:
    """Subcodes at any depth, and statuses that say more than a general code."""

    @pytest.mark.parametrize(("fault", "kind", "certain"), [
        (nested("s:Receiver", "a:Intern", "a:Datenbank", "a:Wartung"), Temporary, True),
        (nested("s:Receiver", "a:Wartung", "a:Unklar"), InDoubt, False),
        (nested("s:Sender", "a:Wartung", "a:Nie"), Temporary, True),
        (nested("s:Sender", "a:X", "wsse:FailedAuthentication", "a:Y", status=400), Misconfigured, True),
        (nested("s:Sender", "a:X", "a:Y", status=400), Permanent, True),
        (nested("s:Receiver", "a:X", "a:Y"), InDoubt, False),
        (nested("s:Receiver", status=503), Temporary, True),
        (nested("s:Receiver", "a:Abgelehnt", status=503), Permanent, True),
        (nested("s:Sender", status=403), Misconfigured, True),
        (soap_fault("s:Server", status=503), Temporary, True),
        (soap_fault("s:Server", status=504), InDoubt, False),
        (soap_fault("s:Client", status=401), Misconfigured, True),
        (soap_fault("s:Client.Daten.Feld"), Permanent, True),
        (soap_fault("s:Server.Wartung"), InDoubt, False)])
    def test_what_they_mean(self, fach: Office, fault: Fault, kind: type[DeliveryError],
                            certain: bool) -> None:
        error = outcome(fach, fault, **FAULTS)
        assert (type(error), is_certain(error)) == (kind, certain)

    def test_children_with_a_namespace(self, fach: Office) -> None:
        body = fachverfahren.soap("<s:Fault><s:faultcode>s:Client</s:faultcode></s:Fault>")
        assert type(outcome(fach, says(500, body, "text/xml"))) is Permanent


def number(text: str) -> str:
    return (f"<f:einreichenAntwort xmlns:f='urn:fach'><f:rc>+0</f:rc><f:nummer>{text}</f:nummer>"
            "</f:einreichenAntwort>")


XOP = "http://www.w3.org/2004/08/xop/include"
GIVES_A_NUMBER = {"reference_path": "//f:nummer"}


def mtom(root: bytes, version: str = "1.1", status: int = 200) -> Fault:
    """As Metro, CXF and WCF answer: the root is not the first part."""
    start_info = {"1.1": "text/xml", "1.2": "application/soap+xml"}[version]
    kind = (f'multipart/related; type="application/xop+xml"; boundary="uuid:1-2"; start="<root@fach>"; '
            f'start-info="{start_info}"')
    binary = (b"\r\n--uuid:1-2\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary"
              b"\r\nContent-ID: <nummer@fach>\r\n\r\n\x00\xff\r\n--\x01\r\n--uuid:1-2\r\n")
    head = (f'Content-Type: application/xop+xml; charset=ISO-8859-1; type="{start_info}"\r\n'
            "Content-Transfer-Encoding: 8bit\r\nContent-ID: <root@fach>\r\n\r\n")
    body = binary + head.encode() + root + b"\r\n--uuid:1-2--\r\n"
    return says(status, body, kind)


class TestMtom:
    """An answer in several parts is read like any other."""

    @pytest.mark.parametrize("port", ["p11", "p12"])
    def test_success(self, fach: Office, port: str) -> None:
        version = {"p11": "1.1", "p12": "1.2"}[port]
        root = fachverfahren.soap(number("AZ-Größna")).decode().encode("latin-1")
        fach.server.misbehave(mtom(root, version))
        receipt = fach.outlet(port=port, **GIVES_A_NUMBER).deliver(make_delivery(), Effect())
        assert receipt.detail == {"status": "200", "code": "+0", "number": "AZ-Größna"}

    def test_a_value_that_lies_in_a_part(self, fach: Office) -> None:
        """As base64, which the element would hold without MTOM (XOP 1.0 §3.2); 7 bytes give a ``=``."""
        root = fachverfahren.soap(number(f"<x:Include xmlns:x='{XOP}' href='cid:nummer%40fach'/>"))
        fach.server.misbehave(mtom(root), mtom(root.replace(b"nummer%40fach", b"anderes")))
        options = {"code_path": "//f:nummer", "code_success": ["AP8NCi0tAQ=="], "reference_path": None}
        assert fach.outlet(**options).deliver(make_delivery(), Effect()).detail["status"] == "200"
        assert type(outcome(fach, **options)) is InDoubt

    @pytest.mark.parametrize(("code", "kind", "certain"), [
        ("s:Client", Permanent, True), ("s:Server", InDoubt, False)])
    def test_a_fault(self, fach: Office, code: str, kind: type[DeliveryError], certain: bool) -> None:
        root = fachverfahren.soap(f"<s:Fault><faultcode>{code}</faultcode></s:Fault>")
        error = outcome(fach, mtom(root, status=500))
        assert (type(error), is_certain(error)) == (kind, certain)

    def test_no_root(self, fach: Office) -> None:
        error = outcome(fach, says(200, b"--a--", "multipart/related; boundary=a"))
        assert type(error) is InDoubt
        assert "Teile sind nicht zu trennen" in str(error)


class TestCharacters:
    """What stands before a declaration, what it says, and what stands only in the media type."""

    @pytest.mark.parametrize(("before", "encoding", "kind"), [
        (b"\r\n<?xml version='1.0' encoding='utf-8'?>", "utf-8", "text/xml"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "utf-8", "text/xml; charset=iso-8859-1"),
        (b" \r\n\t<?xml version='1.0' encoding='ISO-8859-1'?>", "latin-1", "text/xml; charset=utf-8"),
        (b"", "latin-1", "text/xml; charset=ISO-8859-1"), (b"", "cp1252", "text/xml;charset=ISO-8859-1"),
        (b"\xff\xfe", "utf-16-le", "text/xml")])
    def test_a_number(self, fach: Office, before: bytes, encoding: str, kind: str) -> None:
        text = "AZ-Ö" if encoding == "latin-1" else "AZ-Ö-Š"
        body = fachverfahren.soap(number(text)).decode().encode(encoding)
        fach.server.misbehave(says(200, before + body, kind))
        receipt = fach.outlet(**GIVES_A_NUMBER).deliver(make_delivery(), Effect())
        assert receipt.detail["number"] == text

    def test_utf_16_that_is_none(self, fach: Office) -> None:
        body = b"<?xml version='1.0' encoding='UTF-16'?>" + fachverfahren.soap(number("Erika Mustermann"))
        error = outcome(fach, says(200, body, "text/xml"))
        assert type(error) is InDoubt
        assert "UTF-16 und ist es nicht" in str(error)
        assert "nachsehen" in str(error)

    @pytest.mark.parametrize("packing", ["gzip", "deflate"])
    def test_packed(self, fach: Office, packing: str) -> None:
        pack = {"gzip": gzip.compress, "deflate": zlib.compress}[packing]
        good, bad = fachverfahren.soap(number("AZ-1")), fachverfahren.soap(number(" " * 20_000_000))
        fach.server.misbehave(*(says(200, pack(body), "text/xml", Content_Encoding=packing)
                                for body in (good, bad)))
        receipt = fach.outlet(**GIVES_A_NUMBER).deliver(make_delivery(), Effect())
        assert receipt.detail["number"] == "AZ-1"
        error = outcome(fach)
        assert type(error) is InDoubt
        assert "zu groß" in str(error)

"""Fachverfahren by SOAP: the contract and every call, against a stand-in on loopback."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import xmlsec
from lxml import etree
from pydantic import ValidationError

from connectors.soap import Options
from hub import endpoint
from hub.errors import Misconfigured, Permanent
from hub.message import Delivery
from tests.integration.contract import Effect, NetworkContract, make_delivery
from tests.integration.soap_site import NS, TYPES, WSA, Office, parsed, write_wsdl
from tests.services.fachverfahren import Taken
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


class TestSoap(NetworkContract):
    """The contract, in both versions of SOAP, for receivers that promise to act once and for others."""

    @pytest.fixture(params=[("p11", True), ("p12", False)], ids=["1.1-idempotent", "1.2-ask"])
    def receiver(self, authority: Authority, wsdl: Path, request: pytest.FixtureRequest) -> Iterator[Office]:
        made = Office(authority, wsdl, request.param[0], idempotent=request.param[1])
        yield made
        made.close()

    def test_the_repetition_follows_the_options(self, receiver: Office) -> None:
        outlet = receiver.outlet()
        expected = "idempotent" if receiver.idempotent else "ask"
        assert outlet.repeat == expected
        assert endpoint.outlet_class("soap").repeat_for(outlet.options) == expected


ELEMENT = (b"<f:einreichen xmlns:f='urn:fach'><f:kennung>01936d2e-7c00-7000-8000-000000000001</f:kennung>"
           b"</f:einreichen>")


def sent(fach: Office, delivery: Delivery | None = None, **options: Any) -> Taken:
    fach.outlet(**options).deliver(delivery or make_delivery(), Effect())
    return fach.server.taken[-1]


class TestCall:
    """What goes out."""

    def test_headers_of_both_versions(self, fach: Office) -> None:
        old = sent(fach, headers={"X-AGS": "{ags}"}).headers
        assert old["SOAPAction"] == '"urn:fach/einreichen"'
        assert old["Content-Type"] == "text/xml; charset=utf-8"
        assert old["X-AGS"] == "14999010"
        new = sent(fach, make_delivery(number=2), port="p12").headers
        assert new["Content-Type"] == 'application/soap+xml; charset=utf-8; action="urn:fach/einreichen"'
        other = sent(fach, make_delivery(number=3), soap_action="urn:anders").headers
        assert other["SOAPAction"] == '"urn:anders"'

    def test_values_never_become_structure(self, fach: Office) -> None:
        subject = "</betreff><kennung>x</kennung>\x00\x0b\ud800&amp;<![CDATA[ Größe 😀"
        body = parsed(sent(fach, make_delivery(subject=subject)).body)
        assert body.findtext(f".//{NS}betreff") == "</betreff><kennung>x</kennung>   &amp;<![CDATA[ Größe 😀"
        assert len(body.findall(f".//{NS}kennung")) == 1

    def test_an_element_as_a_parameter(self, fach: Office) -> None:
        body = parsed(sent(fach, parameters={"kennung": "{id}", "daten": {"_value_1": "{xml:xml}"}}).body)
        assert body.findtext(f".//{NS}daten/hund/ort") == "Größna"

    @pytest.mark.parametrize("port", ["p11", "p12"])
    def test_a_part_as_the_body(self, fach: Office, port: str) -> None:
        taken = sent(fach, make_delivery([("xml", "a.xml", "application/xml", ELEMENT)]), body="xml",
                     port=port)
        (element,) = parsed(taken.body)[-1]
        assert etree.tostring(element, method="c14n", exclusive=True) == etree.tostring(
            etree.fromstring(ELEMENT), method="c14n", exclusive=True)

    @pytest.mark.parametrize("content", [
        b"<f:anderes xmlns:f='urn:fach'/>", b"<einreichen/>", b"kein xml", b"",
        b"<!DOCTYPE a [<!ENTITY e 'x'>]><f:einreichen xmlns:f='urn:fach'/>"])
    def test_a_part_that_the_wsdl_does_not_want(self, fach: Office, content: bytes) -> None:
        effect = Effect()
        with pytest.raises(Permanent):
            fach.outlet(body="xml").deliver(make_delivery([("xml", "a.xml", "application/xml", content)]),
                                            effect)
        assert effect.begun == 0
        assert fach.server.requests == []

    @pytest.mark.parametrize("parameters", [
        {"kennung": "{id}", "gibtesnicht": "{subject}"}, {"betreff": "{subject}"},
        {"kennung": {"a": "{subject}"}}])
    def test_parameters_that_do_not_fit(self, fach: Office, parameters: dict[str, Any]) -> None:
        effect = Effect()
        with pytest.raises(Misconfigured, match="passen nicht zur WSDL") as raised:
            fach.outlet(parameters=parameters).deliver(make_delivery(subject="Erika Mustermann"), effect)
        assert "Mustermann" not in str(raised.value)
        assert effect.begun == 0

    def test_addressing_where_the_wsdl_asks_for_it(self, fach: Office, tmp_path: Path) -> None:
        body = parsed(sent(fach, wsdl=write_wsdl(tmp_path, wsa=WSA)).body)
        wsa = "{http://www.w3.org/2005/08/addressing}"
        assert body.findtext(f".//{wsa}MessageID") == f"urn:uuid:{make_delivery().id}"
        assert body.findtext(f".//{wsa}To") == f"https://localhost:{fach.proxy.port}/fach"


class TestWsdl:
    """From disk, and from nowhere else."""

    @pytest.mark.parametrize("types", [
        "http://127.0.0.1:{port}/fach.xsd", "https://127.0.0.1:{port}/fach.xsd", "../fremd.xsd",
        "/etc/passwd",
        "file:///etc/passwd", "fehlt.xsd"])
    def test_nothing_from_elsewhere(self, fach: Office, tmp_path: Path, types: str) -> None:
        (tmp_path / "fremd.xsd").write_text(TYPES)
        connections, effect = fach.proxy.connections, Effect()
        outlet = fach.outlet(wsdl=write_wsdl(tmp_path / "w", types.format(port=fach.proxy.port)))
        with pytest.raises(Misconfigured, match="WSDL"):
            outlet.deliver(make_delivery(), effect)
        assert [finding.severity for finding in outlet.check()] == ["error"]
        assert effect.begun == 0
        assert fach.proxy.connections == connections

    @pytest.mark.parametrize("change", [
        lambda text: "<!DOCTYPE a [<!ENTITY e 'x'>]>" + text, lambda text: text[:200], lambda text: "",
        lambda text: "<a/>"])
    def test_a_broken_one(self, fach: Office, tmp_path: Path, change: Callable[[str], str]) -> None:
        place = write_wsdl(tmp_path)
        place.write_text(change(place.read_text()))
        with pytest.raises(Misconfigured, match="WSDL"):
            fach.outlet(wsdl=place).deliver(make_delivery(), Effect())

    @pytest.mark.parametrize("options", [{"operation": "loeschen"}, {"service": "x"}, {"port": "x"},
                                         {"wsdl": Path("/nirgends")}])
    def test_names_that_are_not_there(self, fach: Office, options: dict[str, Any]) -> None:
        with pytest.raises(Misconfigured, match="WSDL"):
            fach.outlet(**options).deliver(make_delivery(), Effect())

    def test_check(self, fach: Office) -> None:
        findings = fach.outlet().check()
        assert [finding.severity for finding in findings] == ["ok", "ok", "ok"]
        assert fach.server.requests[-1][0] == "OPTIONS"
        fach.server.login = "x"
        assert fach.outlet().check()[-1].severity == "error"


WSSE = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
WSU = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd}"


class TestSecurity:
    """WS-Security."""

    @pytest.fixture
    def password(self, tmp_path: Path) -> str:
        (tmp_path / "pw").write_text("geheim\n")
        return f"file:{tmp_path / 'pw'}"

    def test_a_password_as_text(self, fach: Office, password: str) -> None:
        token = parsed(sent(fach, wsse_user="hub",
                            wsse_password=password).body).find(f".//{WSSE}UsernameToken")
        assert token.findtext(WSSE + "Username") == "hub"
        assert token.findtext(WSSE + "Password") == "geheim"

    def test_a_password_that_is_changed(self, fach: Office, password: str) -> None:
        outlet = fach.outlet(wsse_user="hub", wsse_password=password)
        for number, word in enumerate(("geheim", "neu"), 1):
            Path(password.removeprefix("file:")).write_text(word)
            outlet.deliver(make_delivery(number=number), Effect())
            assert parsed(fach.server.taken[-1].body).findtext(f".//{WSSE}Password") == word

    def test_a_password_as_digest(self, fach: Office, password: str) -> None:
        """UsernameToken Profile 1.1 §3.1: Base64(SHA-1(nonce + created + password))."""
        outlet = fach.outlet(wsse_user="hub", wsse_password=password, wsse_kind="digest")
        for number in (1, 2):
            outlet.deliver(make_delivery(number=number), Effect())
        nonces = set()
        for taken in fach.server.taken:
            token = parsed(taken.body).find(f".//{WSSE}UsernameToken")
            nonces.add(token.findtext(WSSE + "Nonce"))
            nonce, created = token.findtext(WSSE + "Nonce"), token.findtext(WSU + "Created")
            plain = base64.b64decode(nonce) + created.encode() + b"geheim"
            digest = base64.b64encode(hashlib.sha1(plain).digest()).decode()
            assert token.findtext(WSSE + "Password") == digest
            assert b"geheim" not in taken.body
        assert len(nonces) == 2

    @pytest.mark.parametrize("tamper", [False, True])
    def test_a_signature_holds_for_body_and_timestamp(self, fach: Office, tmp_path: Path,
                                                      tamper: bool) -> None:
        pair = rsa_pair(tmp_path)
        taken = sent(fach, wsse_certificate=pair[0], wsse_key=f"file:{pair[1]}", wsse_timestamp=300)
        body = taken.body.replace(b"Hundesteuer", b"Katzensteuer") if tamper else taken.body
        root = parsed(body)
        xmlsec.tree.add_ids(root, ["Id"])
        for node in root.iter():
            if wsu_id := node.get(WSU + "Id"):
                assert wsu_id
        signature = root.find(".//{http://www.w3.org/2000/09/xmldsig#}Signature")
        context = xmlsec.SignatureContext()
        context.key = xmlsec.Key.from_file(str(pair[0]), xmlsec.constants.KeyDataFormatCertPem)
        for name in ("{http://schemas.xmlsoap.org/soap/envelope/}Body", WSU + "Timestamp"):
            context.register_id(root.find(f".//{name}"), "Id", WSU[1:-1])
        if tamper:
            with pytest.raises(xmlsec.Error):
                context.verify(signature)
        else:
            context.verify(signature)
            assert b"rsa-sha256" in body
            assert b"xmldsig#sha1" not in body
            references = [node.get("URI")[1:]
                          for node in signature.iter("{http://www.w3.org/2000/09/xmldsig#}Reference")]
            assert references == [root.find(f".//{name}").get(WSU + "Id") for name in (
                "{http://schemas.xmlsoap.org/soap/envelope/}Body", WSU + "Timestamp")]

    def test_secrets_that_are_not_there(self, fach: Office, tmp_path: Path) -> None:
        (tmp_path / "unfug").write_text("unfug")
        effect = Effect()
        for options in ({"wsse_user": "hub", "wsse_password": f"file:{tmp_path / 'keins'}"},
                        {"wsse_certificate": tmp_path / "keins", "wsse_key": f"file:{tmp_path / 'keins'}"},
                        {"wsse_certificate": tmp_path / "unfug", "wsse_key": f"file:{tmp_path / 'unfug'}"}):
            with pytest.raises(Misconfigured):
                fach.outlet(**options).deliver(make_delivery(), effect)
        assert effect.begun == 0


def rsa_pair(folder: Path) -> tuple[Path, Path]:
    """A certificate and its RSA key."""
    import trustme

    leaf = trustme.CA(key_type=trustme.KeyType.RSA).issue_cert("hub.example", key_type=trustme.KeyType.RSA)
    leaf.cert_chain_pems[0].write_to_path(folder / "sign.pem")
    leaf.private_key_pem.write_to_path(folder / "sign.key")
    return folder / "sign.pem", folder / "sign.key"


class TestOptions:
    """What `check` says about a configuration before anything runs."""

    GOOD: ClassVar[dict[str, Any]] = {"url": "https://verfahren.musterstadt.example/fach",
                                      "wsdl": "/etc/fach.wsdl",
                                      "operation": "einreichen", "body": "xml"}

    @pytest.mark.parametrize(("changes", "complaint"), [
        ({"url": "http://verfahren.example/a"}, "in the clear"), ({"body": None}, "exactly one"),
        ({"parameters": {"a": "b"}}, "exactly one"),
        ({"body": None, "parameters": {"a": "{json:x}"}}, "only as a whole value"),
        ({"wsse_user": "a"}, "belong together"), ({"wsse_key": "file:/x"}, "belong together"),
        ({"wsse_password": "geheim"}, "never written"), ({"headers": {"Host": "x"}}, "connector itself"),
        ({"code_path": "//x:rc", "code_success": ["+*"]}, "no XPath"),
        ({"code_success": ["+*"]}, "need code_path"),
        ({"fault_temporary": ["A"], "fault_in_doubt": ["A"]}, "two meanings"),
        ({"fault_temporary": ["A"], "fault_permanent": ["A"]}, "two meanings"), ({"urls": "x"}, "Extra")])
    def test_refused(self, changes: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ValidationError, match=complaint):
            Options(**(self.GOOD | changes))

    def test_every_option_is_described(self) -> None:
        assert [name for name, field in Options.model_fields.items() if not field.description] == []


def test_xmlsec_and_lxml_share_their_libxml2() -> None:
    """Two versions in one process would corrupt trees that both touch."""
    assert xmlsec.get_libxml_version() == etree.LIBXML_VERSION

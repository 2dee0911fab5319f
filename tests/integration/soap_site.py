"""A Fachverfahren that speaks SOAP, its WSDL, and outlets for it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lxml import etree

from connectors._http import Line
from connectors._http_options import HttpOptions
from connectors.soap import Options, Outlet
from tests.integration.contract import Arrival
from tests.services import fachverfahren, wait_until
from tests.services.fachverfahren import Fachverfahren, Taken, says
from tests.services.proxy import Proxy
from tests.services.tls import Authority

NS = "{urn:fach}"
TYPES = """<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:f="urn:fach"
    targetNamespace="urn:fach" elementFormDefault="qualified">
  <xs:element name="einreichen"><xs:complexType><xs:sequence>
    <xs:element name="kennung" type="xs:string"/>
    <xs:element name="betreff" type="xs:string" minOccurs="0"/>
    <xs:element name="test" type="xs:boolean" minOccurs="0"/>
    <xs:element name="daten" minOccurs="0"><xs:complexType><xs:sequence>
        <xs:any processContents="skip"/></xs:sequence></xs:complexType></xs:element>
    <xs:element name="teil" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
        <xs:element name="name" type="xs:string"/><xs:element name="inhalt" type="xs:base64Binary"/>
    </xs:sequence></xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>
  <xs:element name="einreichenAntwort"><xs:complexType><xs:sequence>
    <xs:element name="rc" type="xs:string"/><xs:element name="nummer" type="xs:string" minOccurs="0"/>
  </xs:sequence></xs:complexType></xs:element>
</xs:schema>"""
WSDL = """<wsdl:definitions xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/"
    xmlns:xs="http://www.w3.org/2001/XMLSchema"
    xmlns:s11="http://schemas.xmlsoap.org/wsdl/soap/" xmlns:s12="http://schemas.xmlsoap.org/wsdl/soap12/"
    xmlns:f="urn:fach" targetNamespace="urn:fach">
  <wsdl:types><xs:schema><xs:import namespace="urn:fach" schemaLocation="{types}"/></xs:schema></wsdl:types>
  <wsdl:message name="frage"><wsdl:part name="parameters" element="f:einreichen"/></wsdl:message>
  <wsdl:message name="antwort"><wsdl:part name="parameters" element="f:einreichenAntwort"/></wsdl:message>
  <wsdl:portType name="Fach"><wsdl:operation name="einreichen">
    <wsdl:input message="f:frage"{wsa}/><wsdl:output message="f:antwort"/></wsdl:operation></wsdl:portType>
  <wsdl:binding name="b11" type="f:Fach"><s11:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="einreichen"><s11:operation soapAction="urn:fach/einreichen"/>
      <wsdl:input><s11:body use="literal"/></wsdl:input><wsdl:output><s11:body use="literal"/></wsdl:output>
    </wsdl:operation></wsdl:binding>
  <wsdl:binding name="b12" type="f:Fach"><s12:binding transport="http://schemas.xmlsoap.org/soap/http"/>
    <wsdl:operation name="einreichen"><s12:operation soapAction="urn:fach/einreichen"/>
      <wsdl:input><s12:body use="literal"/></wsdl:input><wsdl:output><s12:body use="literal"/></wsdl:output>
    </wsdl:operation></wsdl:binding>
  <wsdl:service name="Fach">
    <wsdl:port name="p11" binding="f:b11"><s11:address location="https://anderswo.example/fach"/></wsdl:port>
    <wsdl:port name="p12" binding="f:b12"><s12:address location="https://anderswo.example/fach"/></wsdl:port>
  </wsdl:service>
</wsdl:definitions>"""
WSA = ' wsaw:Action="urn:fach/einreichen" xmlns:wsaw="http://www.w3.org/2006/05/addressing/wsdl"'
PARAMETERS = {"kennung": "{id}", "betreff": "{subject}", "test": False,
              "teil": [{"each": "*", "name": "{part:name}", "inhalt": "{part:base64}"}]}


def write_wsdl(folder: Path, types: str = "typen/fach.xsd", wsa: str = "") -> Path:
    (folder / "typen").mkdir(parents=True, exist_ok=True)
    (folder / "typen/fach.xsd").write_text(TYPES)
    (folder / "fach.wsdl").write_text(WSDL.format(types=types, wsa=wsa))
    return folder / "fach.wsdl"


def parsed(body: bytes) -> Any:
    return etree.fromstring(body, etree.XMLParser(huge_tree=True))


def files(taken: Taken) -> dict[str, bytes]:
    return {part.findtext(NS + "name"): base64.b64decode(part.findtext(NS + "inhalt"))
            for part in parsed(taken.body).iter(NS + "teil")}


class Office:
    """The stand-in behind a proxy, and outlets for it."""

    def __init__(self, authority: Authority, wsdl: Path, port: str, *, idempotent: bool) -> None:
        self.authority, self.wsdl, self.port, self.idempotent = authority, wsdl, port, idempotent
        self.server = Fachverfahren(authority.server(), dedupe=idempotent)
        self.server.answer = fachverfahren.soap_answer
        self.proxy = Proxy(self.server.port)
        self.outlets: list[Outlet] = []
        self.line: Callable[[HttpOptions], Line] = Line

    def outlet(self, **options: Any) -> Outlet:
        values: dict[str, Any] = {
            "url": f"https://localhost:{self.proxy.port}/fach", "wsdl": self.wsdl, "port": self.port,
            "operation": "einreichen",
            "ca_file": self.authority.file, "idempotent": self.idempotent, "namespaces": {"f": "urn:fach"},
            "code_path": "//f:rc", "code_success": ["+*"], "code_temporary": ["-7*"]}
        if self.idempotent:  # else it numbers every call anew
            values["reference_path"] = "//f:nummer"
        if "body" not in options:
            values["parameters"] = PARAMETERS
        read = Options(**(values | options))
        self.outlets.append(Outlet(read, self.line(read)))
        return self.outlets[-1]

    def impatient(self) -> Outlet:
        return self.outlet(timeout=2, connect_timeout=2)

    def arrivals(self) -> list[Arrival]:
        return [Arrival(taken.key, files(taken), taken.body) for taken in self.server.taken]

    def inventory(self) -> object:
        return list(self.server.taken)

    def refuse(self) -> None:
        self.server.misbehave(says(400))

    def relent(self) -> None:
        """It says no once."""

    def wait_for_arrivals(self, count: int) -> None:
        wait_until(lambda: len(self.server.taken) >= count, f"{count} arrivals")

    def drop_connections(self) -> None:
        open_lines, ended = len(self.server.lines), self.proxy.ended
        self.server.drop_connections()
        assert open_lines > 0
        wait_until(lambda: self.proxy.ended >= ended + open_lines, "the line's end")

    def stop(self) -> None:
        self.server.stop()
        self.proxy.close()

    def close(self) -> None:
        for outlet in self.outlets:
            outlet.close()
        self.stop()

"""xdomea packages in a real folder and on a real SFTP server, judged by the standard's own schema."""

from __future__ import annotations

import hashlib
import io
import re
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lxml import etree
from pydantic import ValidationError

from connectors import xdomea
from connectors.xdomea import NAMESPACE, Options, Outlet
from hub.endpoint import Absent, Done, Unknown
from hub.errors import Misconfigured, Temporary
from tests.integration.contract import Arrival, Effect, OutletContract, make_delivery
from tests.integration.drop_folder import DropFolder
from tests.services import standards
from tests.services.openssh import OpenSsh

MESSAGES = ("FVDaten.SGOErstellen.0604", "Abgabe.Abgabe.0401")
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
NS = {"x": NAMESPACE}
EVERYTHING: dict[str, Any] = {
    "sender_unit": "Portal", "receiver_unit": "Steueramt", "receiver_system": "VIS", "reference": "{case}",
    "file_subject": "Hundesteuer {property:district}", "file_plan": "{property:file_plan}",
    "lead": "Steueramt", "container": "{property:container}",
    "fields": {"Vorgangsnummer": "{short}", "AGS": "{ags}", "leer": "{property:none}"}}
PROPERTIES = {"properties": {"file_plan": "23.10", "district": "Nord", "container": "0815"},
              "name_parts": {"day": "20261121", "short": "01936d2e-0001", "version": "v1"}}


@pytest.fixture(scope="module")
def schema() -> etree.XMLSchema:
    """The real schema; everything it imports is beside it."""
    parser = etree.XMLParser(no_network=True)
    return etree.XMLSchema(etree.parse(standards() / "xdomea" / "xsd" / "3.0.0" / "xdomea.xsd", parser))


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {info.filename: archive.read(info) for info in archive.infolist()}


def built(options: Options, **changes: Any) -> bytes:
    """The bytes of a ZIP."""
    target = io.BytesIO()
    xdomea.pack(options, make_delivery(**changes), target)
    return target.getvalue()


class Drop(DropFolder):
    """A folder that a DMS watches. The message is no body of the delivery: a reader takes it apart first."""

    def __init__(self, root: Path, **options: Any) -> None:
        super().__init__(root)
        self.options = options

    def settings(self, **options: Any) -> Options:
        drop = {"connector": "directory", "path": self.root, **options.pop("drop", {})}
        return Options(**({"receiver": "Stadt Musterstadt", "drop": drop} | self.options | options))

    def outlet(self, **options: Any) -> Outlet:
        return Outlet(self.settings(**options))

    def arrivals(self) -> list[Arrival]:
        found = []
        for path in sorted(self.root.glob("[!.]*")):
            content = members(path)
            first = next(iter(content))
            assert first == f"{path.stem}.xml"
            wire = content.pop(first)
            found.append(Arrival(path.name, content, wire))
        return found

    def refuse(self) -> None:
        self.put(f"{make_delivery().id}_{self.settings().message}.zip", b"fremd")

    def relent(self) -> None:
        (self.root / f"{make_delivery().id}_{self.settings().message}.zip").unlink()


@pytest.fixture
def receiver(tmp_path: Path) -> Drop:
    return Drop(tmp_path)


class TestXdomea(OutletContract):
    """Everything every outlet promises."""


class TestTheOtherMessage(OutletContract):
    """The same with Abgabe.Abgabe.0401."""

    @pytest.fixture
    def receiver(self, tmp_path: Path) -> Drop:
        return Drop(tmp_path, message="Abgabe.Abgabe.0401")


class TestStandard:
    """What the schema and the specification ask."""

    @pytest.mark.parametrize("message", MESSAGES)
    @pytest.mark.parametrize("rich", [False, True])
    def test_valid_against_the_real_schema(self, receiver: Drop, schema: etree.XMLSchema, message: str,
                                           rich: bool) -> None:
        settings = receiver.settings(message=message, **(EVERYTHING if rich else {}))
        delivery = make_delivery(case="4711/26", test=rich, manifest=PROPERTIES if rich else None,
                                 subject="Antrag\v\x00\ud800 <Hund> & \u2028 Größna")
        document = etree.fromstring(xdomea.message(settings, delivery))
        schema.assertValid(document)
        assert document.tag == f"{{{NAMESPACE}}}{message}"
        assert document.prefix == "xdomea"

    @pytest.mark.parametrize(("wrong", "right"), [
        ("ProzessID", "prozessID"), ("Erstellerkennung", "Erstellerrolle")])
    def test_the_schema_notices_a_wrong_message(self, receiver: Drop, schema: etree.XMLSchema, wrong: str,
                                                right: str) -> None:
        content = xdomea.message(receiver.settings(), make_delivery()).replace(wrong.encode(), right.encode())
        assert not schema.validate(etree.fromstring(content))

    def test_names_as_the_standard_asks(self, receiver: Drop) -> None:
        delivery = make_delivery()
        receipt = receiver.outlet().deliver(delivery, Effect())
        assert receipt.reference == f"{delivery.id}_FVDaten.SGOErstellen.0604.zip"
        message, *files = members(receiver.root / receipt.reference)
        assert message == f"{delivery.id}_FVDaten.SGOErstellen.0604.xml"
        endings = [re.fullmatch(rf"{UUID}\.(\w+)", name)[2] for name in files]
        assert endings == ["txt", "html", "pdf", "xml", "pdf"]

    def test_every_document_is_described_and_there(self, receiver: Drop) -> None:
        receiver.outlet().deliver(make_delivery(), Effect())
        (arrival,) = receiver.arrivals()
        document = etree.fromstring(arrival.wire)
        assert document.xpath("//x:Primaerdokument/x:Dateiname/text()", namespaces=NS) == list(arrival.bodies)
        originals = document.xpath("//x:Primaerdokument/x:DateinameOriginal/text()", namespaces=NS)
        assert originals[-1] == "Impfpass_Bello.pdf"
        formats = document.xpath("//x:Format/x:Name/code/text()", namespaces=NS)
        assert formats == ["045", "008", "018", "030", "018"]
        assert document.xpath("//x:Dokument/x:Typ/text()", namespaces=NS) == [
            "Antragsdaten", "Antragsdaten", "Antrag", "Antragsdaten", "Anlage"]
        ids = document.xpath("//x:Identifikation/x:ID/text()", namespaces=NS)
        assert len({uuid.UUID(text) for text in ids}) == 6

    def test_an_unknown_format_is_named(self, receiver: Drop) -> None:
        delivery = make_delivery([("attachment", "plan.dwg", "image/vnd.dwg", b"x")])
        document = etree.fromstring(xdomea.message(receiver.settings(), delivery))
        assert document.xpath("//x:Format/x:Name/code/text()", namespaces=NS) == ["100"]
        assert document.xpath("//x:SonstigerName/text()", namespaces=NS) == ["image/vnd.dwg"]

    def test_what_the_municipality_writes_about_it(self, receiver: Drop) -> None:
        delivery = make_delivery(case="4711/26", manifest=PROPERTIES)
        document = etree.fromstring(xdomea.message(receiver.settings(**EVERYTHING), delivery))

        def text(path: str) -> str:
            return str(document.xpath(f"string({path})", namespaces=NS))

        assert text("//x:Vorgang/x:AllgemeineMetadaten/x:Betreff") == "Anmeldung zur Hundesteuer"
        assert text("//x:Vorgang/x:AllgemeineMetadaten/x:Kennzeichen") == "4711/26"
        assert text("//x:Aktenplaneinheit/x:Kennzeichen") == "23.10"
        assert text("//x:Aktenbetreff") == "Hundesteuer Nord"
        assert text("//x:IDContainer") == "0815"
        assert text("//x:Posteingangsdatum") == "2026-11-21"
        assert text("//x:Empfaenger/x:Institution/x:Name") == "Stadt Musterstadt"
        assert text("//x:Feld[x:Name='Vorgangsnummer']/x:Wert") == "01936d2e-0001"

    def test_a_test_says_so(self, receiver: Drop) -> None:
        document = etree.fromstring(xdomea.message(receiver.settings(), make_delivery(test=True)))
        assert document.xpath("string(//x:Hinweis)", namespaces=NS).startswith("Testnachricht")


class TestTheSameBytes:
    """A repetition must not make a second Vorgang."""

    @pytest.mark.parametrize("message", MESSAGES)
    def test_on_every_try(self, receiver: Drop, message: str) -> None:
        settings = receiver.settings(message=message)
        assert built(settings) == built(settings, attempt=7, repeat_marked=True)
        assert built(settings) != built(settings, number=2)

    def test_for_all_time(self, receiver: Drop) -> None:
        """A changed digest means: deliveries in doubt during an upgrade would arrive twice."""
        assert hashlib.sha256(built(receiver.settings())).hexdigest() == (
            "0e339a330ad390ce074c94ca8d0b0cb3b000e095fe3395abefa825cd00c9a67c")

    def test_a_new_uuid_on_each_try_is_noticed(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(xdomea, "object_id", lambda delivery, what: str(uuid.uuid4()))
        suite = OutletContract()
        with pytest.raises(AssertionError):
            suite.test_a_second_try_is_the_same_thing(receiver)

    def test_a_clock_in_the_zip_is_noticed(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        seconds = iter(range(0, 60, 2))
        monkeypatch.setattr(xdomea, "zip_entry", lambda name, delivery: zipfile.ZipInfo(
            name, (2026, 11, 22, 10, 11, next(seconds))))
        with pytest.raises(AssertionError):
            OutletContract().test_a_second_try_is_the_same_thing(receiver)

    def test_other_content_under_the_name_is_never_overwritten(self, receiver: Drop) -> None:
        name = f"{make_delivery().id}_FVDaten.SGOErstellen.0604"
        (receiver.root / f"{name}.zip").write_bytes(b"fremd")
        assert isinstance(receiver.outlet().probe(make_delivery()), Unknown)
        assert receiver.outlet().deliver(make_delivery(), Effect()).reference == f"{name}-2.zip"
        assert (receiver.root / f"{name}.zip").read_bytes() == b"fremd"

    def test_where_the_dms_collects_absence_proves_nothing(self, receiver: Drop) -> None:
        assert isinstance(receiver.outlet(drop={"collected": True}).probe(make_delivery()), Unknown)


class TestTrouble:
    """What stands in the way."""

    def test_no_room_for_building(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(xdomea, "pack", full)
        with pytest.raises(Temporary, match="xdomea-Paket"):
            receiver.outlet().deliver(make_delivery(), Effect())

    def test_a_missing_folder(self, receiver: Drop) -> None:
        effect, outlet = Effect(), receiver.outlet(drop={"path": receiver.root / "fehlt"})
        with pytest.raises(Misconfigured):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 0
        assert outlet.check()[-1].severity == "error"

    @pytest.mark.parametrize(("options", "why"), [
        ({"version": "4.0.0"}, "xdomea 4.0.0 is not built"),
        ({"message": "FVDaten.SGOAblegen.0605"}, "0604"),
        ({"subject": "{nmae}"}, "unknown placeholder {nmae}: known here are {id}"),
        ({"subject": "{property}"}, "did you mean {property:…}?"),
        ({"subject": "{"}, "is no template"),
        ({"drop": {"name": "{id}"}}, "name: the standard rules"),
        ({"drop": {"connector": "smtp"}}, "does not match any of the expected tags: directory, sftp"),
        ({"drop": {"connector": "xdomea"}}, "expected tags"),
        ({"drop": {"connector": "fax"}}, "expected tags"),
        ({"drop": {"connector": 1}}, "Unable to extract tag"),
        ({"receiver": ""}, "at least 1"),
    ])
    def test_options_that_cannot_be(self, receiver: Drop, options: dict[str, Any], why: str) -> None:
        with pytest.raises(ValidationError, match=re.escape(why)):
            receiver.settings(**options)

    def test_a_drop_that_is_no_table(self) -> None:
        with pytest.raises(ValidationError, match="drop"):
            Options(receiver="Stadt Musterstadt", drop="directory")


def test_options_survive_being_written_down_and_read_again(receiver: Drop) -> None:
    """The hub keeps them as plain data."""
    settings = receiver.settings(**EVERYTHING)
    assert Options(**settings.model_dump(by_alias=True)) == settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OpenSsh]:
    ssh = OpenSsh(tmp_path)
    yield ssh
    ssh.close()


def test_the_drop_may_be_an_sftp_server(server: OpenSsh) -> None:
    drop = {"connector": "sftp", "host": "127.0.0.1", "port": server.port, "user": server.user,
            "path": str(server.files), "key": f"file:{server.key}", "host_key": [server.host_key]}
    outlet = Outlet(Options(receiver="Stadt Musterstadt", drop=drop))
    assert outlet.probe(make_delivery()) == Absent()
    receipt = outlet.deliver(make_delivery(), Effect())
    again = outlet.deliver(make_delivery(attempt=2), Effect())
    assert outlet.probe(make_delivery()) == Done(receipt) == Done(again)
    assert [finding.severity for finding in outlet.check()][-1] == "ok"
    outlet.close()
    assert [path.name for path in server.files.iterdir()] == [receipt.reference]
    assert next(iter(members(server.files / receipt.reference))) == receipt.reference.replace(".zip", ".xml")

"""CMIS 1.1 against a real repository (Apache Chemistry)."""

from __future__ import annotations

import itertools
import re
import secrets
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from connectors._http_answer import Answer
from connectors.cmis import Folder, Options, Outlet, Wanted
from hub.endpoint import Absent, Done, Unknown, is_certain
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary
from hub.message import Delivery
from tests.acceptance.hub_process import HubProcess, document_of
from tests.integration.contract import (
    APPLICATION,
    Arrival,
    Effect,
    NetworkContract,
    OutletContract,
    contents,
    make_delivery,
)
from tests.services import wait_until
from tests.services.cmis import PASSWORD, USER, Chemistry
from tests.services.lines import Scripted
from tests.services.proxy import Proxy

COUNTER = itertools.count(1)
TYPED: dict[str, Any] = {
    "folder_type": "mst:vorgang", "document_type": "mst:dokument", "external_id": "mst:kennung",
    "document_external_id": "mst:nummer", "name": "{subject} {short}",
    "properties": {"mst:betreff": "{subject} {property:district}", "mst:eingang": "{day}"},
    "document_properties": {"mst:art": "{kind}"}}
MANIFEST: dict[str, Any] = {"name_parts": {"short": "01936d2e-0001", "day": "20261121"},
                            "properties": {"district": "Nord"}}


class Dms:
    """A folder of its own in the repository, behind a proxy."""

    def __init__(self, server: Chemistry, root: Path, **options: Any) -> None:
        self.server = server
        self.proxy = Proxy(server.port)
        self.secret = root / "password"
        self.secret.write_text(PASSWORD)
        self.folder = f"Eingang {next(COUNTER)}"
        self.rooms: list[str] = []
        self.folder_id = self.room(self.folder)
        self.options = options
        self.outlets: list[Outlet] = []
        self.lines: list[Scripted] = []
        self.kind: type[Outlet] = Outlet

    def settings(self, **options: Any) -> Options:
        values: dict[str, Any] = {"url": f"http://127.0.0.1:{self.proxy.port}/cmis/browser", "user": USER,
                                  "password": f"file:{self.secret}", "folder": f"/{self.folder}"}
        return Options(**(values | self.options | options))

    def outlet(self, **options: Any) -> Outlet:
        settings = self.settings(**options)
        self.lines.append(Scripted(settings))
        self.outlets.append(self.kind(settings, self.lines[-1]))
        return self.outlets[-1]

    def impatient(self) -> Outlet:
        return self.outlet(connect_timeout=3, timeout=3)

    def arrivals(self) -> list[Arrival]:
        return [Arrival(folder["cmis:name"], {row["cmis:name"]: self.server.content(row["cmis:objectId"])
                                              for row in self.server.children(folder["cmis:objectId"])})
                for folder in self.server.children(self.folder_id)]

    def inventory(self) -> object:
        folders = self.server.children(self.folder_id)
        return [folders, [self.server.children(folder["cmis:objectId"]) for folder in folders]]

    def refuse(self) -> None:
        self.rooms.remove(self.folder_id)
        self.server.act("deleteTree", self.folder_id)

    def relent(self) -> None:
        self.folder_id = self.room(self.folder)

    def wait_for_arrivals(self, count: int) -> None:
        def complete() -> bool:
            return len([arrival for arrival in self.arrivals()
                        if len(arrival.bodies) == len(APPLICATION)]) >= count

        wait_until(complete, "all documents are there")

    def stop(self) -> None:
        self.server.kill()

    def drop_connections(self) -> None:
        self.proxy.drop()

    def close(self) -> None:
        for outlet in self.outlets:
            outlet.close()
        self.proxy.close()
        if self.server.running():  # the next test searches the whole repository for the same delivery
            for folder in self.rooms:
                self.server.act("deleteTree", folder)

    def room(self, name: str) -> str:
        """Another folder."""
        self.rooms.append(self.server.make_folder(name))
        return self.rooms[-1]


@pytest.fixture(scope="module")
def chemistry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chemistry]:
    """One server for all: it takes some seconds to start."""
    server = Chemistry(tmp_path_factory.mktemp("cmis"))
    yield server
    server.close()


@pytest.fixture
def server(chemistry: Chemistry) -> Chemistry:
    """The server, running again if the test before has killed it."""
    if not chemistry.running():
        chemistry.start()
    return chemistry


@pytest.fixture
def receiver(server: Chemistry, tmp_path: Path) -> Iterator[Dms]:
    dms = Dms(server, tmp_path)
    yield dms
    dms.close()


@pytest.fixture
def typed(server: Chemistry, tmp_path: Path) -> Iterator[Dms]:
    """With the municipality's own types and properties."""
    dms = Dms(server, tmp_path, **TYPED)
    yield dms
    dms.close()


def at_create(dms: Dms, number: int, fault: Callable[[], None]) -> None:
    """The line of the newest outlet breaks at this create."""
    dms.lines[-1].before = lambda count: fault() if count == number else None


def everything(dms: Dms) -> list[str]:
    """The ids of all folders and documents."""
    folders = dms.server.children(dms.folder_id)
    return [row["cmis:objectId"] for folder in folders
            for row in [folder, *dms.server.children(folder["cmis:objectId"])]]


class TestCmis(NetworkContract):
    """Everything every outlet over TCP promises, but for one: a folder fills document by document."""

    at_once = False

    @pytest.mark.parametrize("fault", ["lose", "cut_at_answer"])
    def test_a_lost_answer_is_in_doubt(self, receiver: Dms, fault: str) -> None:
        """As in the suite, at the last of six creates."""
        effect, outlet = Effect(), receiver.impatient()
        at_create(receiver, 1 + len(APPLICATION), getattr(receiver.proxy, fault))
        with pytest.raises(DeliveryError) as raised:
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 1
        assert not is_certain(raised.value)
        receiver.proxy.behave()
        receiver.wait_for_arrivals(1)
        assert isinstance(outlet.probe(make_delivery(attempt=2)), Done)

    def test_a_line_cut_in_the_middle_leaves_nothing_and_can_be_repeated(self, receiver: Dms) -> None:
        """CMIS has no transaction: what is there stays, the probe sees that it is not all, the next try
        adds."""
        big = make_delivery([*APPLICATION,
                             ("attachment", "gross.bin", "application/octet-stream", bytes(2_000_000))])
        effect, outlet = Effect(), receiver.outlet()
        receiver.proxy.cut_after(1_000_000)
        with pytest.raises(Temporary):
            outlet.deliver(big, effect)
        assert effect.begun == 1
        assert [len(arrival.bodies) for arrival in receiver.arrivals()] == [len(APPLICATION)]
        receiver.proxy.behave()
        assert outlet.probe(big) == Absent()
        outlet.deliver(big, effect)
        (arrival,) = receiver.arrivals()
        self.same_bytes(arrival, big)


class TestOwnTypes(OutletContract):
    """The same with types, properties and external ids."""

    at_once = False

    @pytest.fixture
    def receiver(self, typed: Dms) -> Dms:
        return typed

    def test_a_subject_of_any_kind(self, receiver: Dms) -> None:
        receiver.outlet().deliver(make_delivery(subject="a/b\\c:d*e?\"<>|\r\n\x00\ud800ü"), Effect())
        (arrival,) = receiver.arrivals()
        assert arrival.name == "a_b_c_d_e_____ ü"


class TestNothingTwice:
    """A try may end anywhere."""

    @pytest.mark.parametrize("create", range(1, 2 + len(APPLICATION)))
    @pytest.mark.parametrize("fault", ["cut_after", "cut_at_answer"])
    @pytest.mark.parametrize("room", ["receiver", "typed"])
    def test_a_repetition_completes_what_was_begun(self, request: pytest.FixtureRequest, room: str,
                                                   fault: str, create: int) -> None:
        dms: Dms = request.getfixturevalue(room)
        delivery, outlet = make_delivery(manifest=MANIFEST), dms.outlet()
        at_create(dms, create, dms.proxy.cut_at_answer if fault == "cut_at_answer"
                  else lambda: dms.proxy.cut_after(100))
        with pytest.raises(Temporary) as raised:
            outlet.deliver(delivery, Effect())
        if create > 1 or fault == "cut_at_answer":  # the first may break before its last byte, or after
            assert not is_certain(raised.value)
        dms.proxy.behave()
        wait_until(lambda: len(everything(dms)) >= create - (fault == "cut_after"),
                   "what was sent has arrived")
        complete = fault == "cut_at_answer" and create == 1 + len(APPLICATION)
        assert isinstance(outlet.probe(delivery), Done if complete else Absent)
        receipt = outlet.deliver(delivery, Effect())
        assert outlet.probe(delivery) == Done(receipt)
        (arrival,) = dms.arrivals()
        assert sorted(arrival.bodies.values()) == contents(delivery)

    def test_an_earlier_try_that_is_still_at_work(self, receiver: Dms) -> None:
        """Its request arrives between our look and our create: the server says 409, we go on in its
        folder."""
        delivery = make_delivery()
        other = receiver.outlet()

        def meanwhile() -> None:
            other.deliver(delivery, Effect())

        receipt = receiver.outlet().deliver(delivery, Effect(meanwhile))
        assert other.probe(delivery) == Done(receipt)
        assert len(receiver.arrivals()) == 1

    def test_a_clerk_may_rename_and_move_it(self, typed: Dms) -> None:
        delivery = make_delivery(manifest=MANIFEST)
        first = typed.outlet().deliver(delivery, Effect())
        (folder,) = typed.server.children(typed.folder_id)
        typed.server.act("update", folder["cmis:objectId"],
                         **{"propertyId[0]": "cmis:name", "propertyValue[0]": "4711/26"[:4]})
        elsewhere = typed.room(f"In Arbeit {next(COUNTER)}")
        typed.server.act("move", folder["cmis:objectId"], sourceFolderId=typed.folder_id,
                         targetFolderId=elsewhere)
        effect = Effect()
        assert typed.outlet().deliver(delivery, effect) == first
        assert typed.outlet().probe(delivery) == Done(first)
        assert effect.begun == 0
        assert typed.arrivals() == []

    def test_two_applications_may_want_one_name(self, typed: Dms) -> None:
        for number in (1, 2):
            typed.outlet().deliver(make_delivery(number=number, manifest=MANIFEST), Effect())
        assert sorted(arrival.name for arrival in typed.arrivals()) == [
            "Anmeldung zur Hundesteuer 01936d2e-0001", "Anmeldung zur Hundesteuer 01936d2e-0001 (2)"]

    def test_a_document_of_another_size_is_shown_to_a_person(self, receiver: Dms) -> None:
        outlet, delivery = receiver.outlet(), make_delivery()
        outlet.deliver(delivery, Effect())
        changed = make_delivery([*APPLICATION[:4],
                                 ("attachment", APPLICATION[4][1], "application/pdf", b"anders")])
        assert isinstance(outlet.probe(changed), Unknown)
        with pytest.raises(Permanent, match="anderer Größe") as raised:
            outlet.deliver(changed, Effect())
        assert is_certain(raised.value)

    def test_a_folder_created_without_a_search_is_noticed(self, receiver: Dms) -> None:
        class Blind(Outlet):
            def find(self, delivery: Delivery) -> Folder:
                return Folder(None, f"{delivery.id} {secrets.token_hex(4)}")

        receiver.kind = Blind
        with pytest.raises(AssertionError):
            OutletContract().test_a_second_try_is_the_same_thing(receiver)

    def test_documents_created_without_a_search_are_noticed(self, receiver: Dms) -> None:
        names = itertools.count()

        class Blind(Outlet):
            def wanted(self, delivery: Delivery) -> list[Wanted]:
                return [Wanted(row.number, f"{next(names)}-{row.name}", row.key, row.part)
                        for row in super().wanted(delivery)]

        receiver.kind = Blind
        with pytest.raises(AssertionError):
            OutletContract().test_a_second_try_is_the_same_thing(receiver)


class TestProperties:
    """What the municipality writes about it."""

    def test_of_folder_and_documents(self, typed: Dms) -> None:
        delivery = make_delivery(manifest=MANIFEST)
        receipt = typed.outlet().deliver(delivery, Effect())
        (folder,) = typed.server.children(typed.folder_id)
        assert folder["cmis:objectTypeId"] == "mst:vorgang"
        assert folder["cmis:name"] == "Anmeldung zur Hundesteuer 01936d2e-0001"
        assert folder["mst:betreff"] == "Anmeldung zur Hundesteuer Nord"
        assert folder["mst:kennung"] == delivery.id
        assert folder["mst:eingang"] == 1795215600000  # 2026-11-21 00:00 in Berlin
        documents = sorted(typed.server.children(folder["cmis:objectId"]),
                           key=lambda row: str(row["mst:nummer"]))
        assert [row["mst:art"] for row in documents] == ["Antragsdaten", "Antragsdaten", "Antrag",
                                                         "Antragsdaten", "Anlage"]
        assert [row["mst:nummer"] for row in documents] == [f"{delivery.id}/{number}"
                                                            for number in range(1, 6)]
        assert [row["cmis:contentStreamMimeType"] for row in documents] == [row[2] for row in APPLICATION]
        assert {row["cmis:objectTypeId"] for row in documents} == {"mst:dokument"}
        assert receipt.detail["folder"] == folder["cmis:objectId"]
        assert receipt.detail["documents"].split() == [row["cmis:objectId"] for row in documents]

    def test_more_documents_than_one_answer_holds(self, receiver: Dms) -> None:
        class Narrow(Outlet):
            page = 2

        receiver.kind = Narrow
        outlet = receiver.outlet()
        receipt = outlet.deliver(make_delivery(), Effect())
        assert outlet.probe(make_delivery()) == Done(receipt)
        assert outlet.deliver(make_delivery(), Effect()) == receipt

    def test_the_folder_by_its_id(self, receiver: Dms) -> None:
        receiver.outlet(folder="/", folder_id=receiver.folder_id).deliver(make_delivery(), Effect())
        assert len(receiver.arrivals()) == 1

    def test_one_repositorys_url(self, receiver: Dms) -> None:
        url = f"http://127.0.0.1:{receiver.proxy.port}/cmis/browser/A1"
        receiver.outlet(url=url, repository_id="A1").deliver(make_delivery(), Effect())
        assert len(receiver.arrivals()) == 1


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"repository_id": "B7"}, "Repository B7"),
    ({"folder": "/Gibt es nicht"}, "Ablage /Gibt es nicht"),
    ({"folder": "/", "folder_id": "999999"}, "Ablage 999999"),
    ({"folder_type": "mst:nichts"}, "Objekttyp mst:nichts"),
    ({"document_type": "mst:nichts"}, "Objekttyp mst:nichts"),
    ({"properties": {"mst:nichts": "{day}"}}, "Eigenschaft mst:nichts"),
    ({"document_properties": {"mst:nichts": "{day}"}}, "Eigenschaft mst:nichts"),
    ({"external_id": "mst:nichts"}, "Eigenschaft mst:nichts"),
    ({"user": "fremd"}, "HTTP 401"),
]


class TestTrouble:
    """What stands in the way, and in which words."""

    @pytest.mark.parametrize(("options", "text"), WRONG)
    def test_somebody_must_correct_it(self, receiver: Dms, options: dict[str, Any], text: str) -> None:
        effect, outlet = Effect(), receiver.outlet(**options)
        with pytest.raises(Misconfigured, match=re.escape(text)):
            outlet.deliver(make_delivery(), effect)
        with pytest.raises(Misconfigured, match=re.escape(text)):
            outlet.probe(make_delivery())
        assert effect.begun == 0
        (finding,) = outlet.check()
        assert finding.severity == "error"
        assert text in finding.text
        assert receiver.arrivals() == []

    @pytest.mark.parametrize("path", ["/cmis/nichts", "/"])
    def test_a_url_of_something_else(self, receiver: Dms, path: str) -> None:
        outlet = receiver.outlet(url=f"http://127.0.0.1:{receiver.proxy.port}{path}")
        with pytest.raises(Misconfigured, match="Unter der URL"):
            outlet.deliver(make_delivery(), Effect())

    def test_what_the_dms_refuses_about_one_delivery(self, typed: Dms) -> None:
        outlet = typed.outlet(properties={"mst:kurz": "{subject}"})
        with pytest.raises(Permanent, match="constraint") as raised:
            outlet.deliver(make_delivery(), Effect())
        assert is_certain(raised.value)
        assert "Hundesteuer" not in str(raised.value)
        assert typed.arrivals() == []

    def test_a_date_that_is_none(self, typed: Dms) -> None:
        effect, outlet = Effect(), typed.outlet(properties={"mst:eingang": "{subject}"})
        with pytest.raises(Misconfigured, match="mst:eingang"):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 0

    def test_the_check_knows_what_the_dms_demands(self, receiver: Dms) -> None:
        findings = receiver.outlet(folder_type="mst:streng", properties={"mst:fest": "x"}).check()
        errors = [finding.text for finding in findings if finding.severity == "error"]
        assert errors == ["Die Eigenschaft mst:fest lässt sich nicht setzen.",
                          "Der Objekttyp mst:streng verlangt die Eigenschaft mst:pflicht."]

    def test_the_check_knows_a_wrong_kind_of_type(self, receiver: Dms) -> None:
        findings = receiver.outlet(folder_type="mst:dokument").check()
        said = [finding.text for finding in findings]
        assert "Der Objekttyp mst:dokument ist keiner für cmis:folder." in said

    def test_the_server_may_not_send_us_elsewhere(self, receiver: Dms) -> None:
        """Its addresses come from the Host header or a setting; the password stays with the host of `url`."""
        outlet = receiver.outlet(url=f"http://localhost:{receiver.proxy.port}/cmis/browser")
        outlet.deliver(make_delivery(), Effect())
        urls = receiver.lines[-1].urls
        assert len(urls) > len(APPLICATION)
        assert {httpx2.URL(url).netloc for url in urls} == {f"localhost:{receiver.proxy.port}".encode()}
        assert urls[-1].startswith(f"http://localhost:{receiver.proxy.port}/cmis/browser/A1")


def answer(status: int, content: bytes | None, **headers: str) -> Answer:
    return Answer(status, httpx2.Headers(headers), content)


def test_json_of_another_shape_is_tried_again(receiver: Dms) -> None:
    outlet = receiver.outlet()
    outlet.deliver(make_delivery(number=2), Effect())
    receiver.lines[-1].said = answer(
        200, b'{"objects": [{"object": null}], "succinctProperties": {"cmis:objectId": "1"}}')
    with pytest.raises(Temporary, match="anders, als CMIS"):
        outlet.deliver(make_delivery(), Effect())


MUNICIPALITY = """
name = "Stadt Musterstadt"
ags = "14999010"
tenant = "musterstadt"
[destinations.test]
connector = "directory"
path = "../var/drop/test"
test = true
[destinations.vis]
connector = "xdomea"
receiver = "Stadt Musterstadt"
file_plan = "{{property:file_plan}}"
[destinations.vis.drop]
connector = "directory"
path = "../var/drop/musterstadt"
[destinations.dms]
connector = "cmis"
url = "{url}"
user = "{user}"
password = "file:{secret}"
folder = "/{folder}"
folder_type = "mst:vorgang"
document_type = "mst:dokument"
name = "{{service}} {{short}}"
external_id = "mst:kennung"
document_external_id = "mst:nummer"
properties = {{ "mst:betreff" = "{{subject}}", "mst:eingang" = "{{day}}" }}
[[route]]
service = "hundesteuer"
recipients = [
    {{ destination = "vis", send = ["pdf", "xml", "attachments"], properties = {{ file_plan = "23.10" }} }},
    {{ destination = "dms", send = ["pdf", "xml", "attachments"] }},
]
test_recipients = [{{ destination = "test", send = ["xml"] }}]
"""


def test_by_the_real_command(receiver: Dms, tmp_path: Path) -> None:
    """An application that comes in by HTTPS lies in both kinds of DMS, which the check finds good."""
    hub = HubProcess(tmp_path / "hub")
    settings = receiver.settings()
    municipality = MUNICIPALITY.format(url=settings.url, user=USER, secret=receiver.secret,
                                       folder=receiver.folder)
    (hub.folder / "etc" / "municipalities" / "14999010.toml").write_text(municipality)
    try:
        hub.start()
        findings = hub.cli("check", "--connect", code=1)  # the mail server of the others is not there
        sent = hub.send(document_of("v1-full"))
        (message,) = hub.settled([sent["id"]])
    finally:
        hub.close()
    assert {finding["severity"] for finding in findings
            if finding["where"] in ("musterstadt/dms", "musterstadt/vis")} == {"ok"}
    assert message["state"] == "completed"
    (arrival,) = receiver.arrivals()
    (package,) = (hub.drop / "musterstadt").glob("*.zip")
    with zipfile.ZipFile(package) as archive:
        packed = [archive.read(name) for name in archive.namelist()[1:]]
    assert sorted(packed) == sorted(arrival.bodies.values())
    assert len(packed) >= 2

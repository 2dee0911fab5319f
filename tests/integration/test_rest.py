"""Fachverfahren by REST: the contract and every fault, against a stand-in on loopback."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from connectors import rest
from connectors._http import Line
from connectors._http_options import HttpOptions
from connectors.rest import Options, Outlet
from hub import endpoint
from hub.endpoint import Absent, Done, Unknown, is_certain
from hub.errors import DeliveryError, InDoubt, Misconfigured, Permanent, Temporary, TooLarge
from hub.message import Delivery
from tests.integration.contract import (
    APPLICATION,
    SEPARATORS,
    Arrival,
    Effect,
    NetworkContract,
    make_delivery,
)
from tests.services import wait_until
from tests.services.fachverfahren import (
    Fachverfahren,
    Fault,
    acts_and_hangs,
    code,
    cuts,
    endless,
    half_an_answer,
    hangs,
    says,
    truncated_json,
)
from tests.services.lines import NewKeys, following
from tests.services.proxy import Proxy
from tests.services.tls import Authority

CODES = {"answer": "json", "code_path": "/ergebnis/rc", "code_success": ["+*"], "code_temporary": ["-7*"],
         "code_in_doubt": ["-9999"], "reference_path": "/vorgang/nummer"}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("fach"))


class Office:
    """The stand-in behind a proxy, and outlets for it."""

    def __init__(self, authority: Authority, promise: dict[str, Any], **server: Any) -> None:
        self.authority = authority
        self.server = Fachverfahren(authority.server(), **server)
        self.proxy = Proxy(self.server.port)
        self.base = f"https://localhost:{self.proxy.port}"
        self.promise = {key: self.base + value if key.endswith("url") else value
                        for key, value in promise.items()}
        self.outlets: list[Outlet] = []
        self.line: Callable[[HttpOptions], Line] = Line

    def outlet(self, **options: Any) -> Outlet:
        values: dict[str, Any] = {"url": f"{self.base}/antraege", "ca_file": self.authority.file, **CODES,
                                  **self.promise}
        if not {"body", "json"} & set(options):
            values["multipart"] = [{"name": "datei", "role": "*"}]
        read = Options(**(values | options))
        self.outlets.append(Outlet(read, self.line(read)))
        return self.outlets[-1]

    def impatient(self) -> Outlet:
        return self.outlet(timeout=2, connect_timeout=2)

    def arrivals(self) -> list[Arrival]:
        return [Arrival(taken.key, taken.files(), taken.body) for taken in self.server.taken]

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
        self.server.stop()
        self.proxy.close()


PROMISES: dict[str, dict[str, Any]] = {
    "idempotent": {"idempotent": True}, "probe": {"probe_url": "/antraege/{id}"},
    "ask": {"reference_path": None}}  # it numbers every request anew


def office(authority: Authority, promise: str = "idempotent", **server: Any) -> Office:
    server.setdefault("dedupe", promise != "ask")
    return Office(authority, PROMISES[promise], **server)


@pytest.fixture
def fach(authority: Authority) -> Iterator[Office]:
    made = office(authority)
    yield made
    made.close()


class TestRest(NetworkContract):
    """The contract, for receivers that promise to act once, that can be asked, and that can do neither."""

    @pytest.fixture(params=list(PROMISES))
    def receiver(self, authority: Authority, request: pytest.FixtureRequest) -> Iterator[Office]:
        made = office(authority, request.param)
        yield made
        made.close()

    def test_the_repetition_follows_the_options(self, receiver: Office) -> None:
        outlet = receiver.outlet()
        promise = receiver.promise
        expected = "idempotent" if promise.get("idempotent") else "probe" if "probe_url" in promise else "ask"
        assert outlet.repeat == expected
        assert endpoint.outlet_class("rest").repeat_for(outlet.options) == expected


# --- what goes out ------------------------------------------------------------------------------------------

EVIL = f"x{SEPARATORS}Bcc: y/../..?a=b&c#d\"}}{{,\\ Größe 😀 \x00"


def sent(fach: Office, **options: Any) -> Any:
    """What the server got of one delivery."""
    delivery = options.pop("delivery", None) or make_delivery()
    fach.outlet(**options).deliver(delivery, Effect())
    return fach.server.taken[-1]


class TestRequest:
    """Bodies, headers and addresses."""

    @pytest.mark.parametrize(("role", "media_type"), [("xml", "application/xml"), ("pdf", "application/pdf")])
    def test_a_part_is_the_body(self, fach: Office, role: str, media_type: str) -> None:
        taken = sent(fach, body=role)
        (expected,) = [content for kind, _, _, content in APPLICATION if kind == role]
        assert taken.body == expected
        assert taken.headers["Content-Type"] == media_type
        assert "Transfer-Encoding" not in taken.headers

    def test_put_to_an_address_of_its_own(self, fach: Office) -> None:
        taken = sent(fach, body="xml", method="PUT", url=f"{fach.base}/a/{{ags}}/{{id}}?s={{service}}",
                     key_header=None,
                     content_type="text/xml; charset=utf-8")
        assert taken.path == f"/a/14999010/{make_delivery().id}?s=hundesteuer"
        assert fach.server.requests[-1][0] == "PUT"
        assert taken.headers["Content-Type"] == "text/xml; charset=utf-8"
        assert "Idempotency-Key" not in taken.headers

    def test_the_key_is_the_delivery_s_id_in_every_try(self, fach: Office) -> None:
        outlet = fach.outlet()
        for attempt in (1, 2):
            outlet.deliver(make_delivery(attempt=attempt), Effect())
        assert [row[2]["Idempotency-Key"] for row in fach.server.requests] == [make_delivery().id] * 2

    def test_a_json_document(self, fach: Office) -> None:
        parts = [*APPLICATION,
                 ("json", "daten.json", "application/json", b'{"hund": "Bello", "n": [1, 2.5, null]}'),
                 ("attachment", "Impfpaß Bello.pdf", "image/png", b"zwei")]
        template = {"id": "{id}", "betreff": "{subject}", "akte": "{property:akte}", "fest": 7, "ja": True,
                    "leer": {},
                    "klammer": "{{x}}", "daten": "{json:json}", "antrag": "{base64:pdf}", "xml": "{text:xml}",
                    "anlagen": [{"each": "attachment", "name": "{part:name}", "art": "{part:media_type}",
                                 "bytes": "{part:size}", "inhalt": "{part:base64}"}, "ende"]}
        delivery = make_delivery(parts, subject=EVIL, manifest={"properties": {"akte": EVIL}})
        taken = sent(fach, json=template, delivery=delivery)
        found = json.loads(taken.body)
        bodies = {(role, content) for role, _, _, content in parts}
        assert ("pdf", base64.b64decode(found["antrag"])) in bodies
        assert ("xml", found["xml"].encode()) in bodies
        assert found["daten"] == {"hund": "Bello", "n": [1, 2.5, None]}
        assert [found[key] for key in ("id", "fest", "ja", "leer", "klammer")] == [delivery.id, 7, True, {},
                                                                                   "{x}"]
        harmless = EVIL.translate(dict.fromkeys([0x0b, 0x0c, 0x1c, 0x1d, 0x1e, 0], " "))
        assert found["betreff"] == found["akte"] == harmless
        assert [row["name"] for row in found["anlagen"][:2]] == ["Impfpass_Bello.pdf", "Impfpass_Bello-2.pdf"]
        assert base64.b64decode(found["anlagen"][1]["inhalt"]) == b"zwei"
        assert found["anlagen"][2] == "ende"
        assert taken.headers["Content-Type"] == "application/json"

    def test_fields_beside_files(self, fach: Office) -> None:
        taken = sent(fach,
                     multipart=[{"name": "kopf", "text": "{service} {id}"}, {"name": "xml", "role": "xml"},
                                      {"name": "anlage", "role": "attachment"}])
        assert taken.files()["kopf"] == f"hundesteuer {make_delivery().id}".encode()
        assert set(taken.files()) == {"kopf", "hundesteuer.xml", "Impfpass_Bello.pdf"}

    def test_no_value_becomes_structure(self, fach: Office) -> None:
        delivery = make_delivery(subject=EVIL,
                                 manifest={"properties": {"p": EVIL}, "headers": {"X-Route": EVIL}})
        taken = sent(fach, body="xml", delivery=delivery, url=f"{fach.base}/a/{{property:p}}?q={{subject}}",
                     headers={"X-Betreff": "{subject}"})
        assert taken.path.startswith("/a/x%0D%0A")
        assert taken.path.count("/") == 2
        assert taken.path.count("?") == 1
        assert "&" not in taken.path
        assert "Bcc" not in taken.headers
        for name in ("X-Betreff", "X-Route"):
            assert taken.headers[name].startswith("x%0D%0A")
            assert "%C3%B6" in taken.headers[name]

    @pytest.mark.parametrize("value", ["..", ".", "", "..."])
    def test_no_value_climbs(self, fach: Office, value: str) -> None:
        delivery = make_delivery(manifest={"properties": {"p": value}})
        with pytest.raises(Permanent, match="Platzhalter"):
            fach.outlet(body="xml", url=f"{fach.base}/a/{{property:p}}/b").deliver(delivery, Effect())
        assert fach.server.requests == []

    def test_what_a_delivery_lacks(self, fach: Office) -> None:
        effect = Effect()
        with pytest.raises(Permanent, match="0 Teile der Rolle 'csv'"):
            fach.outlet(body="csv").deliver(make_delivery(), effect)
        with pytest.raises(Permanent, match="'json' ist kein json"):
            fach.outlet(json={"x": "{json:json}"}).deliver(make_delivery([("json", "a.json", "a/b", b"{")]),
                                                           effect)
        with pytest.raises(Misconfigured, match="property:akte"):
            fach.outlet(json={"x": "{property:akte}"}).deliver(make_delivery(), effect)
        with pytest.raises(Misconfigured, match="Kopfzeile"):
            fach.outlet().deliver(make_delivery(manifest={"headers": {"Host": "fremd.example"}}), effect)
        with pytest.raises(Permanent, match="leer"):
            fach.outlet(body="xml").deliver(make_delivery([("xml", "a.xml", "application/xml", b"")]), effect)
        assert effect.begun == 0
        assert fach.server.requests == []

# --- what comes back ----------------------------------------------------------------------------------------


def outcome(fach: Office, *faults: Fault, delivery: Delivery | None = None, **options: Any) -> DeliveryError:
    """The error of one delivery; the effect had begun."""
    fach.server.misbehave(*faults)
    effect = Effect()
    with pytest.raises(DeliveryError) as raised:
        fach.outlet(**options).deliver(delivery or make_delivery(), effect)
    assert effect.begun == 1
    assert "Mustermann" not in str(raised.value)
    return raised.value


class TestAnswer:
    """Status and business code decide together."""

    def test_the_number_goes_into_the_proof(self, fach: Office) -> None:
        receipt = fach.outlet().deliver(make_delivery(), Effect())
        assert receipt.reference == f"AZ-2026-0001 ({make_delivery().id})"
        assert receipt.detail == {"status": "200", "code": "+0000", "number": "AZ-2026-0001"}

    def test_a_number_that_is_none_stays_out(self, fach: Office) -> None:
        fach.server.answer = lambda taken: (200, "application/json", json.dumps(
            {"ergebnis": {"rc": "+1"}, "vorgang": {"nummer": "<b>\n" + "x" * 500}}).encode())
        assert fach.outlet().deliver(make_delivery(), Effect()).reference == make_delivery().id

    @pytest.mark.parametrize(("fault", "kind", "certain"), [
        (code("-0815"), Permanent, True), (code("-7001"), Temporary, True), (code("-9999"), InDoubt, False),
        (code("-7001", 400), Temporary, True), (code("Erika Mustermann"), Permanent, True),
        (code("+0000", 400), Permanent, True),
        (code("+0000", 500), InDoubt, False), (says(200, b"{}"), InDoubt, False), (says(200), InDoubt, False),
        (says(200, b"[" * 100_000), InDoubt, False), (says(200, b"<html>", "text/html"), InDoubt, False),
        (says(200, b'{"ergebnis": {"rc": {"a": 1}}}'), InDoubt, False), (says(206, b"{}"), InDoubt, False),
        (says(400), Permanent, True), (says(401), Misconfigured, True), (says(403), Misconfigured, True),
        (says(404), Misconfigured, True), (says(405), Misconfigured, True), (says(408), Temporary, True),
        (says(409), Temporary, True), (says(413), TooLarge, True), (says(422), Permanent, True),
        (says(425), Temporary, True),
        (says(429), Temporary, True), (says(500), InDoubt, False), (says(501), Misconfigured, True),
        (says(502, b"<html>Bad Gateway</html>", "text/html"), Temporary, True), (says(503), Temporary, True),
        (says(504), InDoubt, False), (says(507), Temporary, True), (says(520), InDoubt, False)])
    def test_the_table(self, fach: Office, fault: Fault, kind: type[DeliveryError], certain: bool) -> None:
        error = outcome(fach, fault)
        assert (type(error), is_certain(error)) == (kind, certain)
        assert fach.server.taken == []

    def test_conflict_and_missing_address_depend(self, fach: Office) -> None:
        assert isinstance(outcome(fach, says(409), idempotent=False), Permanent)
        missing = outcome(fach, says(404), url=f"{fach.base}/antraege/{{case}}",
                          delivery=make_delivery(case="c-1"))
        assert type(missing) is Permanent

    def test_known_from_an_earlier_try(self, fach: Office) -> None:
        fach.server.misbehave(says(409), code("PAYMENT_EXISTS", 400))
        outlet = fach.outlet(status_known=[409], code_known=["PAYMENT_EXISTS"])
        for number in (1, 2):
            receipt = outlet.deliver(make_delivery(number=number), Effect())
            assert receipt.reference == make_delivery(number=number).id

    def test_an_operator_who_knows_his_proxy(self, fach: Office) -> None:
        assert not is_certain(outcome(fach, says(502), status_temporary=[429, 503]))

    def test_status_alone(self, fach: Office) -> None:
        fach.server.misbehave(says(202), says(201, b"<html>kein JSON"))
        outlet = fach.outlet(answer="none", code_path=None, code_success=[], code_temporary=[],
                             code_in_doubt=[],
                             reference_path=None)
        for number in (1, 2):
            outlet.deliver(make_delivery(number=number), Effect())

    def test_answers_in_xml(self, fach: Office) -> None:
        answers = [b'<a:antwort xmlns:a="urn:a"><a:rc> +17 </a:rc><a:nr az="K 7/26"/></a:antwort>',
                   b'<!DOCTYPE a [<!ENTITY e "+1">]><a:antwort xmlns:a="urn:a"><a:rc>&e;</a:rc></a:antwort>',
                   b'<a:antwort xmlns:a="urn:a"><a:rc>-1</a:rc></a:antwort>']
        options = {"answer": "xml", "code_path": "/a:antwort/a:rc", "reference_path": "//a:nr/@az",
                   "namespaces": {"a": "urn:a"}}
        fach.server.misbehave(says(200, answers[0], "text/xml"))
        receipt = fach.outlet(**options).deliver(make_delivery(), Effect())
        assert receipt.detail == {"status": "200", "code": "+17", "number": "K 7/26"}
        assert isinstance(outcome(fach, says(200, answers[1]), **options), InDoubt)
        assert isinstance(outcome(fach, says(200, answers[2]), **options), Permanent)

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_no_redirect_is_followed(self, fach: Office, status: int) -> None:
        """Also the credential stays here."""
        error = outcome(fach, says(status, Location=f"{fach.base}/anderswo"))
        assert isinstance(error, Misconfigured)
        assert is_certain(error) == (status not in (302, 303))
        assert [path for _, path, _ in fach.server.requests] == ["/antraege"]
        assert fach.server.taken == []

    def test_the_suite_notices_a_followed_redirect(self, fach: Office) -> None:
        fach.line = following
        with pytest.raises(BaseException) as raised:
            self.test_no_redirect_is_followed(fach, 303)
        assert isinstance(raised.value, AssertionError | pytest.fail.Exception)
        assert len(fach.server.requests) > 1

    def test_retry_after_is_honoured(self, fach: Office) -> None:
        error = outcome(fach, says(503, Retry_After="1800"))
        assert isinstance(error, Temporary)
        assert error.retry_after == 1800


class TestFaults:
    """A time-out, a reset or half an answer after the last byte is in doubt, never failed."""

    @pytest.mark.parametrize(("fault", "acted"), [
        (hangs, 0), (acts_and_hangs, 1), (cuts, 0), (half_an_answer, 1), (truncated_json, 1),
        (endless(200), 1)])
    def test_in_doubt(self, fach: Office, fault: Fault, acted: int) -> None:
        error = outcome(fach, fault, timeout=2)
        assert not is_certain(error)
        assert len(fach.server.taken) == acted

    def test_executed_then_timed_out_leaves_one_copy(self, fach: Office) -> None:
        fach.server.misbehave(acts_and_hangs)
        outlet = fach.outlet(timeout=2)
        with pytest.raises(Temporary, match="Zeitüberschreitung"):
            outlet.deliver(make_delivery(), Effect())
        assert isinstance(outlet.probe(make_delivery()), Unknown)
        assert outlet.repeat == "idempotent"
        receipt = outlet.deliver(make_delivery(attempt=2), Effect())
        assert len(fach.server.taken) == 1
        assert "AZ-2026-0001" in receipt.reference

    def test_the_suite_notices_a_new_key(self, fach: Office) -> None:
        fach.line = NewKeys
        with pytest.raises(AssertionError):
            self.test_executed_then_timed_out_leaves_one_copy(fach)
        assert len(fach.server.taken) == 2

class TestProbe:
    """Asking the Fachverfahren."""

    def outlet(self, fach: Office, **options: Any) -> Outlet:
        return fach.outlet(idempotent=False, probe_url=f"{fach.base}/antraege/{{id}}", **options)

    def test_executed_then_timed_out_is_found(self, fach: Office) -> None:
        fach.server.misbehave(acts_and_hangs)
        outlet = self.outlet(fach, timeout=2)
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(), Effect())
        result = outlet.probe(make_delivery())
        assert isinstance(result, Done)
        assert result.receipt.reference == f"AZ-2026-0001 ({make_delivery().id})"

    def test_404_may_prove_nothing(self, fach: Office) -> None:
        assert self.outlet(fach).probe(make_delivery()) == Absent()
        assert isinstance(self.outlet(fach, probe_absent=[]).probe(make_delivery()), Unknown)

    def test_codes(self, fach: Office) -> None:
        codes = {"probe_code_path": "/ergebnis/rc", "probe_code_found": ["+*"],
                 "probe_code_absent": ["-0404"],
                 "probe_absent": []}
        outlet = self.outlet(fach, **codes)
        assert outlet.probe(make_delivery()) == Absent()
        receipt = outlet.deliver(make_delivery(), Effect())
        assert outlet.probe(make_delivery()) == Done(receipt)
        fach.server.answer = lambda taken: (200, "application/json", b'{"ergebnis": {"rc": "?"}}')
        assert isinstance(outlet.probe(make_delivery()), Unknown)

    @pytest.mark.parametrize(("status", "kind"),
                             [(503, Temporary), (500, Temporary), (302, Misconfigured), (403, Misconfigured)])
    def test_not_now(self, fach: Office, status: int, kind: type[DeliveryError]) -> None:
        fach.server.answer = lambda taken: (status, "text/html", b"")
        fach.server.take(make_delivery().id, "/", {}, b"")
        with pytest.raises(kind):
            self.outlet(fach).probe(make_delivery())


class TestCheck:
    """What the connection check says."""

    def test_a_status_page(self, fach: Office) -> None:
        findings = fach.outlet(check_url=f"{fach.base}/status").check()
        assert [finding.severity for finding in findings] == ["ok", "ok"]
        assert "Zertifikat des Servers gilt bis" in findings[0].text
        assert fach.server.requests[-1][:2] == ("GET", "/status")

    def test_a_login_that_is_refused(self, fach: Office) -> None:
        fach.server.login = "x"
        assert [finding.severity for finding in fach.outlet().check()] == ["ok", "error"]
        fach.server.login = None
        assert [finding.severity
                for finding in fach.outlet(check_url=f"{fach.base}/fehlt").check()] == ["ok", "error"]


class TestOptions:
    """What `check` says about a configuration before anything runs."""

    GOOD: ClassVar[dict[str, Any]] = {"url": "https://verfahren.musterstadt.example/antraege", "body": "xml"}

    @pytest.mark.parametrize(("changes", "complaint"), [
        ({"url": "http://verfahren.example/a"}, "in the clear"),
        ({"url": "https://{ags}.example/"}, "never in its host"),
        ({"url": "https://x.example/{dog}"}, "unknown placeholder"),
        ({"url": "https://x.example/{base64:pdf}"}, "unknown"),
        ({"body": None}, "exactly one"), ({"json": {"a": "b"}}, "exactly one"),
        ({"body": None, "json": {"a": "{xml:xml}"}}, "only as a whole value"),
        ({"body": None, "json": {"a": "{part:name}"}}, "only in a table with each"),
        ({"body": None, "json": {"a": "{"}}, "no template"),
        ({"body": None, "multipart": [{"name": "a"}]}, "exactly one of role"),
        ({"headers": {"Authorization": "x"}}, "connector itself"),
        ({"headers": {"X:Y": "x"}}, "no header name"),
        ({"code_path": "/rc", "answer": "json"}, "code_success"), ({"code_success": ["+"]}, "need code_path"),
        ({"code_path": "rc", "code_success": ["+*"], "answer": "json"}, "JSON pointer"),
        ({"code_path": "/a:rc", "code_success": ["+*"], "answer": "xml"}, "no XPath"),
        ({"code_path": "/rc", "code_success": ["+*"]}, "answer ="),
        ({"code_path": "/rc", "code_success": ["*"]}, "says nothing"),
        ({"idempotent": True, "key_header": None}, "recognise"),
        ({"probe_url": "https://x.example/a"}, "asks for one"),
        ({"probe_code_path": "/rc", "answer": "json"}, "belong together"), ({"urls": "x"}, "Extra")])
    def test_refused(self, changes: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ValidationError, match=complaint):
            Options(**(self.GOOD | changes))

    def test_every_option_is_described(self) -> None:
        assert [name for name, field in Options.model_fields.items() if not field.description] == []
        assert [name for name, field in rest.FormField.model_fields.items() if not field.description] == []

    def test_options_survive_the_configuration(self) -> None:
        options = Options(**(self.GOOD | {
            "body": None, "json": {"id": "{id}", "n": [1, {"each": "xml", "t": "{part:name}"}]}}))
        assert Options(**options.model_dump(by_alias=True)) == options

    def test_the_examples_in_the_docs_are_right(self) -> None:
        text = (Path(__file__).parents[2] / "docs/deliver.md").read_text(encoding="utf-8")
        blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL)]
        seen = set()
        for block in blocks:
            for row in block.get("destinations", {}).values():
                connector = row.pop("connector")
                seen.add(connector)
                if connector in ("rest", "soap"):
                    endpoint.options_model(connector, "Outlet")(**row)
        assert {"rest", "soap"} <= seen

"""What a SOAP answer means: faults, statuses, codes, characters and parts, over a real line."""

from __future__ import annotations

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

"""What a Fachverfahren says in JSON and XML, over a real line: characters, and what nobody can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from connectors.rest import Options, Outlet
from hub.endpoint import Unknown, is_certain
from hub.errors import DeliveryError, InDoubt, Misconfigured, Permanent, Temporary
from tests.integration.contract import Effect, make_delivery
from tests.services.fachverfahren import Fachverfahren, says

JSON = {"answer": "json", "code_path": "/rc", "code_success": ["+*"], "reference_path": "/nr"}
XML = {"answer": "xml", "code_path": "/a/rc", "code_success": ["+*"], "reference_path": "/a/nr"}


class Office:
    """The server, and outlets for it."""

    def __init__(self) -> None:
        self.server = Fachverfahren()
        self.url = f"http://127.0.0.1:{self.server.port}/antraege"
        self.outlets: list[Outlet] = []

    def outlet(self, **options: Any) -> Outlet:
        given: dict[str, Any] = {"url": self.url, "body": "xml", "timeout": 20, **JSON}
        self.outlets.append(Outlet(Options(**(given | options))))
        return self.outlets[-1]


@pytest.fixture
def fach() -> Iterator[Office]:
    made = Office()
    yield made
    for outlet in made.outlets:
        outlet.close()
    made.server.stop()


@pytest.mark.parametrize(("content", "kind", "options"), [
    ('{"rc": "+1", "nr": "AZ-Ü"}'.encode("latin-1"), "application/json; charset=ISO-8859-1", JSON),
    ('{"rc": "+1", "nr": "AZ-Ü"}'.encode("utf-8-sig"), "application/json; charset=ISO-8859-1", JSON),
    ('{"rc": "+1", "nr": "AZ-Ü"}'.encode(), "application/json", JSON),
    ("<a><rc>+1</rc><nr>AZ-Ü</nr></a>".encode("latin-1"), "application/xml;charset=iso-8859-1", XML),
    ("<?xml version='1.0' encoding='utf-8'?><a><rc>+1</rc><nr>AZ-Ü</nr></a>".encode(),
     "text/xml; charset=iso-8859-1", XML)])
def test_the_number_in_its_characters(fach: Office, content: bytes, kind: str,
                                      options: dict[str, Any]) -> None:
    fach.server.misbehave(says(200, content, kind))
    receipt = fach.outlet(**options).deliver(make_delivery(), Effect())
    assert receipt.detail["number"] == "AZ-Ü"


UNREADABLE = {
    "deep": b'{"rc": ' + b"[" * 100_000, "deep and closed": b"[" * 100_000 + b"]" * 100_000,
    "digits": b'{"rc": ' + b"9" * 10_000_000 + b"}", "no number": b'{"rc": NaN}',
    "infinite": b'{"rc": 1e99999}',
    "twice": b'{"rc": "+1", "name": "Erika Mustermann", "rc": "-1"}',
    "half": b'{"rc": "+1", "nr": "Mustermann \\udc00"}',
    "UTF-16": b'<?xml version="1.0" encoding="UTF-16"?><a><rc>+1</rc></a>'}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize(("status", "kind", "certain"), [
    (200, InDoubt, False), (500, InDoubt, False), (503, Temporary, True), (422, Permanent, True),
    (401, Misconfigured, True)])
def test_what_nobody_can_read_is_judged_by_its_status(fach: Office, name: str, status: int,
                                                      kind: type[DeliveryError], certain: bool) -> None:
    fach.server.misbehave(says(status, UNREADABLE[name]))
    options = XML if name == "UTF-16" else JSON
    with pytest.raises(DeliveryError) as raised:
        fach.outlet(max_answer=20_000_000, **options).deliver(make_delivery(), Effect())
    assert (type(raised.value), is_certain(raised.value)) == (kind, certain)
    assert "Mustermann" not in str(raised.value)
    if status == 200:
        assert "unverständlich" in str(raised.value)
        assert "nachsehen" in str(raised.value)


def test_asking_is_no_better(fach: Office) -> None:
    fach.server.answer = lambda taken: (200, "application/json", b"[" * 100_000)
    made = fach.outlet(probe_url=f"{fach.url}/{{id}}", probe_code_path="/rc",
                  probe_code_found=["1"])
    with pytest.raises(InDoubt):
        made.deliver(make_delivery(), Effect())
    assert made.probe(make_delivery()) == Unknown("die Antwort ist unverständlich")

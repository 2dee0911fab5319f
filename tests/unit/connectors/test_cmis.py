"""A DMS that answers what no DMS should: whatever it is, it becomes a delivery's error."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest

from connectors._http import AskMethod, Body, Line, SendMethod
from connectors._http_answer import Answer
from connectors._http_options import HttpOptions
from connectors.cmis import Options, Outlet
from hub.errors import DeliveryError, Misconfigured
from tests.integration.contract import Effect, make_delivery

OPTIONS = Options(url="http://127.0.0.1/cmis", folder="/Eingang", external_id="mst:k", name="{short}",
                  document_external_id="mst:n", properties={"mst:d": "{day}"})
TYPE = {"id": "t", "queryName": "t", "baseId": "cmis:folder", "propertyDefinitions": {
    "mst:k": {"queryName": "mst:k", "propertyType": "string"}, "mst:d": {"propertyType": "datetime"},
    "mst:n": {}}}
CHILD = {"object": {"succinctProperties": {"cmis:objectId": "d", "cmis:name": "x", "mst:n": "q",
                                           "cmis:contentStreamLength": 3}}}
GOOD: dict[str, Any] = {
    "": {"r": {"repositoryId": "r", "repositoryUrl": "http://x/r", "rootFolderUrl": "http://x/root",
               "capabilities": {"capabilityQuery": "both"}}},
    "typeDefinition": TYPE, "query": {"results": []}, "children": {"objects": [CHILD], "hasMoreItems": False},
    "object": {"succinctProperties": {"cmis:objectId": "o", "cmis:path": "/Eingang", "cmis:name": "n"},
               "allowableActions": {"canCreateFolder": True}},
    "create": {"succinctProperties": {"cmis:objectId": "neu"}}}
JUNK = (None, 1, -1.5, True, "", "x", "http://[", "\0", [], [[]], [1], {}, {"a": 1}, {"cmis:objectId": None},
        [{}], [{"succinctProperties": []}], 10**30, "ü\n")


class Odd(Line):
    """A line to a DMS that is made up: `says` gives the answer to a selector."""

    def __init__(self, says: Callable[[str], Answer]) -> None:
        super().__init__(HttpOptions())
        self.says = says

    def ask(self, url: str, headers: Mapping[str, str] | None = None, method: AskMethod = "GET",
            body: Body | None = None) -> Answer:
        return self.says(httpx2.URL(url).params.get("cmisselector", ""))

    def send(self, method: SendMethod, url: str, headers: Mapping[str, str], body: Body,
             effect_begins: Callable[[], None]) -> Answer:
        effect_begins()
        return self.says("create")


def said(content: Any, status: int = 200) -> Answer:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Answer(status, httpx2.Headers({"Content-Type": "application/json"}), raw)


def odd(value: Any, dice: random.Random) -> Any:
    """The value with something of it replaced or left out."""
    if dice.random() < 0.15:
        return dice.choice(JUNK)
    if isinstance(value, dict):
        return {key: odd(item, dice) for key, item in value.items() if dice.random() > 0.05}
    return [odd(item, dice) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("seed", range(200))
def test_json_of_any_shape(seed: int) -> None:
    dice = random.Random(seed)

    def says(selector: str) -> Answer:
        status = dice.choice([200, 200, 200, 200, 404, 409])
        if status > 200:
            names = ["objectNotFound", "nameConstraintViolation", ["x"], None]
            return said({"exception": dice.choice(names)}, status)
        return said(odd(GOOD[selector], dice) if dice.random() < 0.5 else GOOD[selector])

    acts: list[Callable[[Outlet], Any]] = [
        lambda outlet: outlet.deliver(make_delivery(), Effect()),
        lambda outlet: outlet.probe(make_delivery()), lambda outlet: outlet.check()]
    for act in acts:
        try:
            act(Outlet(OPTIONS, Odd(says)))
        except DeliveryError:
            pass


@pytest.mark.parametrize("content", [
    b"[" * 100_000, b'{"a": ' + b"9" * 100_000 + b"}", b'{"a": NaN}', b'{"a": "\\ud800"}',
    b'{"a": 1, "a": 2}',
    "{'Größe'}".encode("latin-1")])
@pytest.mark.parametrize("status", [200, 409])
@pytest.mark.parametrize("where", ["", "object", "create"])
def test_json_that_nobody_can_read(content: bytes, status: int, where: str) -> None:
    outlet = Outlet(OPTIONS, Odd(lambda selector: said(content, status) if selector == where
                                 else said(GOOD[selector]) if selector != "object" else said(
                                     {"succinctProperties": {**GOOD["object"]["succinctProperties"],
                                                             "mst:k": make_delivery().id}})))
    with pytest.raises(DeliveryError):
        outlet.deliver(make_delivery(), Effect())


def test_a_list_without_end() -> None:
    """Each page says that there are more."""
    asked = []

    def says(selector: str) -> Answer:
        asked.append(selector)
        if selector == "children":
            return said({"objects": [CHILD] * 100, "hasMoreItems": True})
        known = {"cmis:objectId": "o", "cmis:path": "/Eingang", "mst:k": make_delivery().id}
        return said({"succinctProperties": known} if selector == "object" else GOOD[selector])

    with pytest.raises(Misconfigured, match="ohne Ende"):
        Outlet(OPTIONS, Odd(says)).deliver(make_delivery(), Effect())
    assert asked.count("children") == 100

"""Types and their properties, as a DMS describes them; test_cmis reads those of a real one."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from connectors._cmis_options import Options
from connectors._cmis_repository import ObjectType, Repository
from connectors._http_answer import Answer
from hub.endpoint import is_certain
from hub.errors import Misconfigured


def described(**changes: Any) -> ObjectType:
    """A type with a text, a date, and what the DMS brings."""
    properties = {"mst:text": {"propertyType": "string", "updatability": "readwrite", "queryName": "mst:q"},
                  "mst:tag": {"propertyType": "datetime", "updatability": "oncreate"},
                  "mst:fest": {"propertyType": "string", "updatability": "readonly"},
                  "mst:pflicht": {"propertyType": "string", "updatability": "readwrite", "required": True},
                  "cmis:name": {"propertyType": "string", "updatability": "readwrite", "required": True}}
    return ObjectType({"id": "mst:vorgang", "baseId": "cmis:folder", "propertyDefinitions": properties,
                       **changes})


class TestObjectType:
    """One type."""

    def test_what_it_does_not_have(self) -> None:
        described().require(["mst:text", ""])
        with pytest.raises(Misconfigured, match="die Eigenschaft mst:a, mst:b nicht"):
            described().require(["mst:b", "mst:text", "mst:a"])
        with pytest.raises(Misconfigured, match="mst:text"):
            ObjectType({"id": "x"}).require(["mst:text"])

    def test_names_in_a_query(self) -> None:
        assert described().column("mst:text") == "mst:q"
        assert described().column("mst:tag") == "mst:tag"

    @pytest.mark.parametrize(("text", "milliseconds"), [
        ("2026-11-21", "1795215600000"), ("2026-11-21T00:00:00+00:00", "1795219200000"),
        ("1970-01-01T01:00:00", "0")])
    def test_a_date_in_milliseconds(self, text: str, milliseconds: str) -> None:
        assert described().values({"mst:tag": text, "mst:text": "a", "mst:fest": ""}) == {
            "mst:tag": milliseconds, "mst:text": "a"}

    def test_a_date_that_is_none_names_the_property_only(self) -> None:
        with pytest.raises(Misconfigured, match="mst:tag") as raised:
            described().values({"mst:tag": "Erika"})
        assert is_certain(raised.value)
        assert "Erika" not in str(raised.value)

    @pytest.mark.parametrize(("changes", "needed", "severity"), [
        ({}, "cmis:folder", "ok"), ({}, "cmis:document", "error"),
        ({"creatable": False}, "cmis:folder", "error"),
        ({"creatable": True}, "cmis:folder", "ok")])
    def test_what_it_is_good_for(self, changes: dict[str, Any], needed: str, severity: str) -> None:
        assert described(**changes).finding("mst:vorgang", needed).severity == severity

    def test_what_it_demands_and_what_cannot_be_set(self) -> None:
        assert [finding.text for finding in described().missing({"mst:fest", "mst:text"})] == [
            "Die Eigenschaft mst:fest lässt sich nicht setzen.",
            "Der Objekttyp mst:vorgang verlangt die Eigenschaft mst:pflicht."]
        assert list(described().missing({"mst:pflicht", "mst:tag"})) == []


@pytest.mark.parametrize(("options", "actions", "info", "complaint"), [
    ({}, {}, {}, None), ({}, {"canCreateFolder": False}, {}, "keine Ordner anlegen"),
    ({"external_id": "mst:text"}, {}, {}, "kann nicht suchen"),
    ({"external_id": "mst:text"}, {}, {"capabilities": {"capabilityQuery": "none"}}, "kann nicht suchen"),
    ({"external_id": "mst:text"}, {}, {"capabilities": {"capabilityQuery": "bothcombined"}}, None)])
def test_what_the_check_says(options: dict[str, Any], actions: dict[str, Any], info: dict[str, Any],
                             complaint: str | None) -> None:
    settings = Options(url="https://dms.example/", properties={"mst:pflicht": "{day}"},
                       document_properties={"mst:pflicht": "{day}"}, **options)
    repository = Repository("u", "r", {"cmis:path": "/Eingang", "actions": actions}, described(),
                            described(baseId="cmis:document"), info, Answer(200, httpx2.Headers(), b""))
    errors = [finding.text for finding in repository.findings(settings) if finding.severity == "error"]
    assert len(errors) == (complaint is not None)
    assert complaint is None or complaint in errors[0]

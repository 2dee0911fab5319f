"""What a DMS by CMIS can be told, and what is refused before anything runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from connectors import cmis
from connectors._cmis_options import Options

GOOD: dict[str, Any] = {"url": "https://dms.musterstadt.example/cmis/browser"}


@pytest.mark.parametrize(("options", "why"), [
    ({"name": "{subject}"}, "needs {id}"), ({"name": "{short}"}, "needs {id}"),
    ({"name": "fest"}, "needs {id}"),
    ({"external_id": "mst:kennung", "name": "{subject}"}, "with external_id {short}"),
    ({"name": "{nmae} {id}"}, "unknown placeholder {nmae}"), ({"name": "{id"}, "is no template"),
    ({"folder": "Eingang"}, "a path from the root on"),
    ({"folder_id": "1", "folder": "/a"}, "exclude each other"),
    ({"url": "http://dms.musterstadt.example/cmis"}, "in the clear"), ({"url": "dms"}, "is no URL"),
    ({"properties": {"a": "{kind}"}}, "only about one document in a DMS"), ({"ordner": "/"}, "Extra")])
def test_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(why)):
        Options(**(GOOD | options))


@pytest.mark.parametrize("options", [
    {}, {"name": "{subject} {short}", "external_id": "mst:kennung"}, {"folder_id": "4711"},
    {"document_properties": {"mst:art": "{kind} {number} {name} {role} {property:akte}"}}])
def test_good(options: dict[str, Any]) -> None:
    made = Options(**(GOOD | options))
    assert Options(**made.model_dump()) == made


def test_they_are_the_connector_s_and_described() -> None:
    assert cmis.Options is Options
    assert [name for name, field in Options.model_fields.items() if not field.description] == []

"""The command that installs a schema set; what it refuses is `tests/unit/pipeline`'s."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.kit import run

ONE = ('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:x" xmlns="urn:x">{}'
       "</xs:schema>")


def test_what_a_set_lacks_is_a_finding(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    settings = ["--set", f"hub.schemas={tmp_path / 'sets'}", "schemas", "install", str(source), "--set",
                "xtest"]
    (source / "x.xsd").write_text(ONE.format('<xs:element name="a" type="xs:string"/>'), encoding="utf-8")
    report = json.loads(run(tmp_path, *settings, "--version", "1", "--json").stdout)
    assert report["unresolved"] == []
    other = '<xs:import namespace="urn:y" schemaLocation="http://y/y.xsd"/>'
    (source / "x.xsd").write_text(ONE.format(other), encoding="utf-8")
    assert "y.xsd" in run(tmp_path, *settings, "--version", "2", code=1).output

"""Faults of a mapping's files are told in German, where people edit them, without a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import ConfigError
from hub.job import Rule
from hub.pipeline.mapping_faults import told, unusable

HOMES = {"mapping": "mappings/hund", "common": "mappings/_common", "town": "municipalities/14999010"}


def rule(package: Path, **more: str) -> Rule:
    return Rule(id="r", tenant="t", service="hund", mapping_version="v1", mapping_digest="0",
                package=str(package), recipients=(), homes=HOMES, **more)


def test_a_file_of_the_snapshot_is_told_where_people_edit_it(tmp_path: Path) -> None:
    error = unusable(ConfigError.at(tmp_path / "v1/fields.xsd", "line 7", "the schema cannot be used",
                                    "mend it, or install what it imports"), rule(tmp_path))
    assert error.reason == "mapping"
    assert error.trace == ("mappings/hund/v1/fields.xsd: Zeile 7: das Schema lässt sich nicht verwenden: "
                           "berichtigen oder einspielen, was es einbindet",)
    assert error.text == f"Die Abbildung ist nicht brauchbar: {error.trace[0]}"


def test_what_lies_outside_of_the_mapping_is_configuration(tmp_path: Path) -> None:
    error = unusable(ConfigError.at("hub.toml", "schemas", "no folder of schema sets is configured",
                                    "name it"), rule(tmp_path))
    assert (error.reason, error.text) == (
        "configuration", "Die Prüfung ist nicht eingerichtet: hub.toml: schemas: es ist kein Ordner für "
                         "Schemasätze eingerichtet: angeben")


@pytest.mark.parametrize(("layer", "key"), [("common", "common"), ("town", "municipality_folder")])
def test_every_layer_has_its_home(tmp_path: Path, layer: str, key: str) -> None:
    error = unusable(ConfigError(f"{tmp_path}/own/x.xsl: is no XML: mend that line"),
                     rule(tmp_path / "package", **{key: f"{tmp_path}/own"}))
    assert error.trace == (f"{HOMES[layer]}/x.xsl: ist kein XML: die Zeile berichtigen",)


def test_what_has_no_home_keeps_its_path() -> None:
    assert told(["/x/y.xsd: is missing: add it"], {}) == ["/x/y.xsd: fehlt: ergänzen"]

"""How a drop is found by another connector: through the contract, by its name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, ValidationError

from hub import endpoint
from hub.endpoint import Drop, OptionsModel
from hub.errors import ConfigError


class Around(OptionsModel):
    """Options of a connector that delivers through a drop."""

    drop: Drop = Field(description="where to")


def test_every_drop_may_stand_within_another_connectors_options() -> None:
    assert "directory" in endpoint.drops()
    assert "smtp" not in endpoint.drops()
    for name in endpoint.drops():
        inner = endpoint.drop_options(name)
        assert issubclass(inner, endpoint.options_model(name, "Outlet"))
        assert endpoint.drop_options(name) is inner
        assert {"layout", "role", "name", "connector"} <= set(inner.model_fields)


def test_it_survives_being_plain_data(tmp_path: Path) -> None:
    around = Around(drop={"connector": "directory", "path": tmp_path, "layout": "single"})
    assert Around(**around.model_dump(by_alias=True)) == around
    assert Around(drop=around.drop) == around
    assert around.model_dump()["drop"]["path"] == tmp_path


@pytest.mark.parametrize(("drop", "place", "kind"), [
    ({"connector": "directory"}, ("drop", "path"), "missing"),
    ({"connector": "directory", "path": "/x", "pth": "/y"}, ("drop", "pth"), "extra_forbidden"),
    ({"connector": "smtp"}, ("drop",), "union_tag_invalid"),
    ({"connector": "_drop"}, ("drop",), "union_tag_invalid"),
    ({"path": "/x"}, ("drop",), "union_tag_not_found"),
    ("directory", ("drop",), "model_type")])
def test_faults_are_told_at_their_place(drop: Any, place: tuple[str, ...], kind: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Around(drop=drop)
    assert [(error["loc"], error["type"]) for error in raised.value.errors()] == [(place, kind)]


def test_its_user_decides_some_of_its_options(tmp_path: Path) -> None:
    settings = Around(drop={"connector": "directory", "path": tmp_path}).drop
    outlet = endpoint.build_drop(settings, layout="single", name="{id}_x")
    assert type(outlet) is endpoint.outlet_class("directory")
    assert (outlet.options.layout, outlet.options.name, outlet.options.path) == ("single", "{id}_x", tmp_path)
    with pytest.raises(ValidationError, match="needs"):
        endpoint.build_drop(settings, name="x")


def test_what_is_no_drop_is_refused() -> None:
    with pytest.raises(ConfigError, match="no drop"):
        endpoint.drop_options("smtp")
    with pytest.raises(ConfigError, match="unknown connector"):
        endpoint.drop_options("fax")

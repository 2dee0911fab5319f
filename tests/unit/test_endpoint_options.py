"""What the hub hands to a connector: the very options that were checked, and nothing is checked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from hub import endpoint, registry
from hub.delivery.outlet_pool import Connections
from hub.endpoint import (
    InletBase,
    InletContext,
    build_inlet,
    build_outlet,
)
from hub.errors import ConfigError
from tests.services.distribution import PIGEON, install
from tests.unit.config import kit


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """A small configuration that is in order, with an inlet and a drop within a destination."""
    folder = kit.write(tmp_path)
    with (folder / "hub.toml").open("a", encoding="utf-8") as file:
        file.write('[inlets.ordner]\nconnector = "inbox"\nroot = "i"\ndone = "d"\nrejected = "r"\n'
                   'sender = { name = "amt24" }\n')
    with (folder / "municipalities/14999010.toml").open("a", encoding="utf-8") as file:
        file.write('[destinations.dms]\nconnector = "xdomea"\nreceiver = "Stadt"\n'
                   'drop = { connector = "directory", path = "dms" }\n')
    return folder


def test_the_options_are_checked_once_and_reach_the_connector_as_that_object(
        etc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configuration = kit.load(etc)
    checked: list[type[BaseModel]] = []
    honest = BaseModel.__init__

    def counting(self: BaseModel, /, **data: Any) -> None:
        checked.append(type(self))
        honest(self, **data)

    monkeypatch.setattr(BaseModel, "__init__", counting)
    pool = Connections(build_outlet)
    for key in ("musterstadt/ablage", "musterstadt/dms"):
        destination = configuration.destination(key)
        assert destination is not None
        outlet = pool.take(destination)
        assert outlet.options is destination.options
        pool.give_back(destination, outlet, kit.NOW)
        again = kit_load_quietly(etc, monkeypatch, honest, counting).destination(key)
        assert again is not None
        assert pool.take(again) is outlet, "an equal destination gets the outlet that is kept"
    inlet, = configuration.inlets
    built = build_inlet(inlet.connector, inlet.options, InletContext(name="ordner", spool=etc, max_bytes=1))
    assert built.options is inlet.options
    own = {type(destination.options) for destination in configuration.all_destinations()}
    assert set(checked) & {*own, type(inlet.options)} == set(), "checked a second time"


def kit_load_quietly(etc: Path, monkeypatch: pytest.MonkeyPatch, honest: Any, counting: Any) -> Any:
    """The configuration read anew; what it checks is not counted."""
    monkeypatch.setattr(BaseModel, "__init__", honest)
    try:
        return kit.load(etc)
    finally:
        monkeypatch.setattr(BaseModel, "__init__", counting)


def test_another_option_makes_another_outlet(etc: Path) -> None:
    pool = Connections(build_outlet)
    before = kit.load(etc).destination("musterstadt/ablage")
    kit.change(etc / "municipalities/14999010.toml", 'path = "drop"\n', 'path = "other"\n')
    after = kit.load(etc).destination("musterstadt/ablage")
    assert before is not None and after is not None
    outlet = pool.take(before)
    pool.give_back(before, outlet, kit.NOW)
    assert pool.take(after) is not outlet


def test_every_inlet_of_ours_is_built_the_same_way() -> None:
    inlets = [endpoint.inlet_class(name) for name in registry.own() if registry.has(name, "Inlet")]
    assert len(inlets) >= 3
    assert {getattr(inlet, "name", None) for inlet in inlets} == {InletBase.name}
    with pytest.raises(ConfigError, match="'smtp' has no inlet: choose another connector"):
        endpoint.inlet_class("smtp")


DROP = PIGEON.replace("from hub.endpoint", "from connectors._layout import DropOptions\nfrom hub.endpoint")
DROP = DROP.replace("class Options(OptionsModel)", "class Options(DropOptions)")
DROP = DROP.replace('    kind = "register"\n', '    kind = "register"\n    drop = True\n')


def test_a_drop_that_is_brought_from_outside_stands_wherever_a_drop_may(
        etc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(install(tmp_path / "site", {"pigeon-drop": "pigeon_drop"},
                                            modules={"pigeon_drop": DROP})))
    assert "pigeon-drop" in endpoint.drops()
    kit.change(etc / "municipalities/14999010.toml", '{ connector = "directory", path = "dms" }',
               '{ connector = "pigeon-drop", loft = "roof" }')
    destination = kit.load(etc).destination("musterstadt/dms")
    assert destination is not None
    assert destination.options.model_dump()["drop"]["loft"] == etc / "roof"
    endpoint.build_outlet("xdomea", destination.options).close()
    with pytest.raises(ValidationError):
        endpoint.options_model("xdomea", "Outlet")(receiver="Stadt", drop={"connector": "smtp"})

"""A broken mapping in a running hub: a reload refuses it, and messages go on by the version before it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from hub.config import loader
from hub.operations import control_socket
from tests.acceptance.hub_process import BEISPIELBERG, HubProcess, document_of
from tests.mapping_faults import KINDS, TABLES, Kind, Owner, Table, change, plant
from tests.services.mailsink import MailSink


@pytest.fixture
def running(hub: HubProcess, sink: MailSink) -> HubProcess:
    """A hub that takes applications, and a mail server that takes its mail."""
    assert sink.port
    hub.start()
    return hub


@pytest.fixture
def undo(running: HubProcess) -> Callable[[], None]:
    """Puts the files back as they were."""
    hub = running
    kept = hub.folder / "kept"
    for name in ("etc", "mappings"):
        shutil.copytree(hub.folder / name, kept / name)

    def back() -> None:
        for name in ("etc/municipalities", "mappings"):
            shutil.rmtree(hub.folder / name)
            shutil.copytree(kept / name, hub.folder / name)

    return back


def reload(hub: HubProcess) -> dict[str, Any]:
    socket = loader.places(hub.folder / "etc/hub.toml", hub.overrides).hub.socket
    answer: dict[str, Any] = control_socket.ask(socket, "reload", {})
    return answer


def kind(name: str) -> Kind:
    return next(kind for kind in KINDS if kind.name == name)


def table(name: str) -> Table:
    return next(table for table in TABLES if table.name == name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "owner"), [
    ("a missing import", "own"), ("an import from the net", "own"), ("an import from the net", "shipped")])
def test_a_refused_stylesheet_parks_nobodys_message(running: HubProcess, undo: Callable[[], None], name: str,
                                                    owner: Owner) -> None:
    hub = running
    file = plant(hub.folder, kind(name), owner)
    refused = hub.cli("reload", code=78)
    assert not refused["reloaded"]
    assert all(str(file) in problem for problem in refused["problems"]), refused
    checked = hub.cli("check", "--municipality", BEISPIELBERG, code=1)
    assert str(file) in str(checked), "the municipality's own check finds it, too"
    assert hub.metric("drehscheibe_config_last_reload_successful") == {"": 0}
    assert "the new configuration is faulty; the old one stays" in hub.log.read_text()
    sent = hub.send(document_of("v2-full"), ags=BEISPIELBERG)
    assert hub.settled([sent["id"]])[0]["state"] == "completed", "by the version before it"
    assert hub.stop() == 0
    hub.launch()
    assert hub.process is not None
    assert hub.process.wait(60) == 78, "a start does not come up with it either"
    hub.process = None
    undo()
    hub.start()
    assert hub.metric("drehscheibe_config_last_reload_successful") != {"": 0}


@pytest.mark.slow
def test_every_kind_of_fault_is_refused_by_a_running_hub(running: HubProcess,
                                                         undo: Callable[[], None]) -> None:
    hub, accepted = running, []
    for one in KINDS:
        for owner in ("shipped", "own"):
            plant(hub.folder, one, owner)
            problems = reload(hub)["problems"]
            accepted += [] if any(re.search(one.words, each)
                                  for each in problems) else [f"{one.name}, {owner}"]
            undo()
    for other in TABLES:
        change(hub.folder, other)
        problems = reload(hub)["problems"]
        accepted += [] if any(re.search(other.words, each) for each in problems) else [other.name]
        undo()
    assert accepted == []
    assert reload(hub)["reloaded"]
    sent = hub.send(document_of("v2-full"), ags=BEISPIELBERG)
    assert hub.settled([sent["id"]])[0]["state"] == "completed"


@pytest.mark.slow
def test_a_misspelt_rendering_of_an_own_stylesheet_is_refused(running: HubProcess) -> None:
    hub = running
    file = hub.folder / "etc/municipalities/14999020.toml"
    file.write_text(file.read_text().replace("stylesheets = { xml =", "stylesheets = { xlm ="))
    problem, = hub.cli("reload", code=78)["problems"]
    assert problem.endswith("14999020.toml: route hundesteuer: stylesheets: 'xlm' is no rendering of the "
                            "mapping: did you mean 'xml'?")

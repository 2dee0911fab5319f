"""The parts of the demo that decide something: what is sent where, what is touched, what the table says."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from hub import endpoint
from hub.demo import prepare, results
from hub.demo import run as demo
from hub.errors import HubError


def example_folder(mappings: Path, service: str, name: str, toml: str = "", *files: str) -> None:
    folder = mappings / service / "examples" / name
    folder.mkdir(parents=True)
    for file in ("message.xml", *files):
        (folder / file).write_text("<x/>")
    (folder / "example.toml").write_text(toml)


INLETS: dict[str, dict[str, Any]] = {
    "https": {"certificate": "c.pem", "key": "file:c.key"},
    "inbox": {"root": "in", "done": "done", "rejected": "rejected", "sender": {"name": "amt24"}}}


def destination(connector: str, options: dict[str, Any]) -> Any:
    """A destination of a connector, as far as these tests look at it."""
    return SimpleNamespace(outlet=endpoint.outlet_class(connector),
                           options=endpoint.options_model(connector, "Outlet")(**options))


def place(tmp_path: Path, municipalities: dict[str, tuple[str, int, tuple[str, ...]]],
          inlets: tuple[str, ...]) -> prepare.Place:
    """A place whose configuration knows no more than these tests need."""
    municipalities = {
        ags: SimpleNamespace(row=SimpleNamespace(ags=ags, name=name, counted=lambda _, size=size: size),
                             routes=dict.fromkeys(services, ()))
        for ags, (name, size, services) in municipalities.items()}
    mailbox = {"host": "localhost", "from": "hub@hub.example", "to": ["steuer@musterstadt.example"]}
    destinations = {"big/mailbox": destination("smtp", mailbox),
                    "big/folder": destination("directory", {"path": tmp_path / "etc/../var/drop"})}
    configuration = SimpleNamespace(
        municipalities=municipalities,
        inlets=[SimpleNamespace(name=f"by-{name}", connector=name,
                                options=endpoint.options_model(name, "Inlet")(**INLETS[name]))
                for name in inlets],
        settings=SimpleNamespace(hub=SimpleNamespace(mappings=tmp_path / "mappings")),
        destination=destinations.get)
    return prepare.Place(tmp_path, cast(Any, configuration), Console(width=200), "run")


MUNICIPALITIES = {"14999030": ("Probedorf", 1800, ("dog",)),
                  "14999010": ("Musterstadt", 61000, ("dog", "trade"))}


def test_every_example_goes_to_every_municipality_that_has_the_service(tmp_path: Path) -> None:
    example_folder(tmp_path / "mappings", "dog", "small")
    example_folder(tmp_path / "mappings", "dog", "wrong", 'parked = "invalid"')
    example_folder(tmp_path / "mappings", "trade", "full", 'attachments = ["a.pdf"]', "a.pdf")
    plan = demo.planned(place(tmp_path, MUNICIPALITIES, ("https", "inbox")))
    assert [(item.ags, item.example.service, item.example.name, item.inlet) for item in plan] == [
        ("14999010", "dog", "small", "by-inbox"), ("14999010", "dog", "wrong", "by-https"),
        ("14999010", "trade", "full", "by-https"),
        ("14999030", "dog", "small", "by-inbox"), ("14999030", "dog", "wrong", "by-https")]
    assert [item.example.parked for item in plan] == [None, "invalid", None, None, "invalid"]
    assert plan[2].example.attachments == (tmp_path / "mappings/trade/examples/full/a.pdf",)


def test_without_a_watched_folder_all_go_over_https(tmp_path: Path) -> None:
    example_folder(tmp_path / "mappings", "dog", "small")
    assert {item.inlet for item in demo.planned(place(tmp_path, MUNICIPALITIES, ("https",)))} == {"by-https"}


def test_nothing_outside_of_var_is_touched(tmp_path: Path) -> None:
    here = place(tmp_path, {}, ())
    assert here.ours(tmp_path / "etc/../var/drop/x") == tmp_path / "etc/../var/drop/x"
    (tmp_path / "var").mkdir()
    (tmp_path / "var/away").symlink_to("/etc")
    for path in (tmp_path / "etc/hub.toml", tmp_path / "var/../etc", tmp_path / "var/away/x", Path("/var/x")):
        with pytest.raises(HubError, match="writes below"):
            here.ours(path)


def test_a_busy_port_is_replaced() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        taken = busy.getsockname()[1]
        assert prepare.listening_port(taken) != taken
    free = prepare.listening_port(0)
    assert prepare.listening_port(free) == free


def rendered(here: prepare.Place, item: results.Sent) -> str:
    with here.out.capture() as capture:
        here.out.print(results.table_of(here, [item]))
    return capture.get()


def sent(tmp_path: Path, *, parked: str | None = None, **found: Any) -> results.Sent:
    example = results.Example("dog", "small", tmp_path / "message.xml", (), parked, False)
    return results.Sent(example, "14999010", "by-https", "019abcde-0000-7000-8000-000000000000", found=found)


def test_the_table_says_where_it_went_and_how_long_it_took(tmp_path: Path) -> None:
    here = place(tmp_path, MUNICIPALITIES, ("https",))
    item = sent(tmp_path, state="completed", received_at="2026-11-22T10:00:00.000+01:00", deliveries=[
        {"destination": "big/mailbox", "state": "done", "finished_at": "2026-11-22T10:00:00.250+01:00",
         "receipt": {}},
        {"destination": "big/folder", "state": "done", "finished_at": "2026-11-22T10:00:01.500+01:00",
         "receipt": {"reference": "case-1"}}])
    text = rendered(here, item)
    assert item.as_expected
    for part in ("019abcde-0000-7000", "dog (small)", "Musterstadt",
                 f"{tmp_path}/var/mail/steuer@musterstadt.example",
                 f"{tmp_path}/var/drop/case-1", "1.50 s"):
        assert part in text


@pytest.mark.parametrize(("state", "reason", "parked", "good"), [
    ("completed", None, None, True), ("parked", "invalid", "invalid", True),
    ("parked", "runaway", "invalid", False),
    ("parked", "invalid", None, False), ("completed", None, "invalid", False), ("routed", None, None, False),
    ("", None, "invalid", False)])
def test_only_what_the_example_says_counts_as_success(tmp_path: Path, state: str, reason: str | None,
                                                      parked: str | None,
                                                      good: bool) -> None:
    assert sent(tmp_path, parked=parked, state=state, reason=reason).as_expected is good


def test_a_machine_without_pango_is_no_fault(tmp_path: Path) -> None:
    item = sent(tmp_path, state="parked", reason="configuration",
                reason_text="es fehlt: apt install libpango-1.0-0")
    assert not item.as_expected
    assert not item.wrong
    assert sent(tmp_path, state="parked", reason="configuration", reason_text="Das Stylesheet fehlt.").wrong


def test_the_table_says_why_something_did_not_arrive(tmp_path: Path) -> None:
    here = place(tmp_path, MUNICIPALITIES, ("https",))
    text = rendered(here, sent(tmp_path, state="parked", reason="invalid",
                               reason_text="Es fehlt:\n- Chip\n- Rasse", deliveries=[
{"destination": "big/folder", "state": "parked", "finished_at": None, "text": "Der Zielordner fehlt.",
 "receipt": None}]))
    assert "✗ parked: Es fehlt (2)" in text
    some = "Es fehlt (die ersten 10):" + "\n- Chip" * 10
    text_of_many = rendered(here, sent(tmp_path, state="parked", reason="invalid", reason_text=some))
    assert "✗ parked: Es fehlt (more than 10)" in text_of_many
    assert "big/folder: parked: Der Zielordner fehlt." in text

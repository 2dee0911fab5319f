"""Executed, then timed out: what was done is found again by the connector's own probe, or the configuration
decides.

Here with real connectors that need no service; over the network each one's contract shows the same for a lost
answer (`tests.integration.contract.NetworkContract.test_a_lost_answer_is_in_doubt`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hub import endpoint
from hub.endpoint import Unknown
from hub.errors import InDoubt
from hub.message import Delivery, DeliveryState, Receipt
from tests.services import wait_until
from tests.unit.delivery.bench import Bench
from tests.unit.operator_kit import beside

XDOMEA = {"version": "3.0.0", "message": "FVDaten.SGOErstellen.0604", "receiver": "Stadt Musterstadt"}


def options_of(connector: str, drop: Path) -> dict[str, Any]:
    """A drop folder, bare or of a DMS."""
    return {"path": str(drop)} if connector == "directory" else {**XDOMEA, "drop": {"connector": "directory",
                                                                                    "path": str(drop)}}


def outlet_of(connector: str, drop: Path) -> Any:
    """The connector's own outlet."""
    options = endpoint.options_model(connector, "Outlet")(**options_of(connector, drop))
    return endpoint.build_outlet(connector, options)


def executed_then_timed_out(outlet: Any) -> Any:
    """The same outlet, whose first `deliver` does all it should and then raises as if the line had gone
    silent."""
    deliver, tries = outlet.deliver, []

    def late(delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        tries.append(delivery.id)
        receipt: Receipt = deliver(delivery, effect_begins)
        if len(tries) == 1:
            raise TimeoutError("timed out")
        return receipt

    outlet.deliver = late
    outlet.tries = tries
    return outlet


@pytest.mark.parametrize("connector", ["directory", "xdomea"])
def test_a_drop_is_asked_and_nothing_comes_twice(tmp_path: Path, connector: str) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    bench = Bench(tmp_path / "hub")
    bench.outlet = executed_then_timed_out(outlet_of(connector, drop))
    message = bench.message()
    row = bench.until(message, DeliveryState.IN_DOUBT)
    arrived = sorted(drop.iterdir())
    assert len(arrived) == 1
    bench.later(hours=1)
    row = bench.until(message, DeliveryState.DONE)
    assert row.receipt is not None
    assert row.receipt["reference"] == arrived[0].name
    assert bench.outlet.tries == [row.id], "the probe sufficed"
    assert sorted(drop.iterdir()) == arrived
    bench.close()


@pytest.mark.parametrize("connector", ["directory", "xdomea"])
def test_what_was_not_executed_is_sent_again(tmp_path: Path, connector: str) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    bench = Bench(tmp_path / "hub")
    outlet = executed_then_timed_out(outlet_of(connector, drop))
    bench.outlet = outlet
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    for entry in drop.iterdir():
        entry.rename(tmp_path / f"away-{entry.name}")
    bench.later(hours=1)
    bench.until(message, DeliveryState.DONE)
    assert len(outlet.tries) == 2
    assert len(list(drop.iterdir())) == 1
    bench.close()


def test_mail_whose_destination_asks_waits_for_a_person(tmp_path: Path) -> None:
    bench = Bench(tmp_path, "smtp", 'in_doubt = "ask"')
    bench.outlet.script, bench.outlet.probes = [InDoubt("keine Antwort nach dem letzten Byte")], [Unknown()]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    assert bench.until(message, DeliveryState.PARKED).reason == "in-doubt"
    assert len(bench.outlet.tries) == 1
    bench.close()


def test_a_receiver_who_acts_once_per_key_gets_it_again_unmarked(tmp_path: Path) -> None:
    """`idempotent = true` of a Fachverfahren: the same key, so the same act."""
    bench = Bench(tmp_path)
    bench.outlet.repeat = "idempotent"
    bench.outlet.script, bench.outlet.probes = [TimeoutError()], [Unknown("nobody can ask")]
    message = bench.message()
    bench.until(message, DeliveryState.IN_DOUBT)
    bench.later(hours=1)
    bench.until(message, DeliveryState.DONE)
    assert [(each.id, each.repeat_marked)
            for each in bench.outlet.tries] == [(bench.delivery(message).id, False)] * 2
    bench.close()


def test_a_double_click_sends_once(tmp_path: Path) -> None:
    """Two presses of one button: the same action id, by the same way as the socket and the command line."""
    from hub.operations.control_socket import ControlServer, ask, new_action

    bench = Bench(tmp_path)
    message = bench.message()
    row = bench.until(message, DeliveryState.DONE)
    server = ControlServer(tmp_path / "control.sock", beside(bench.store, bench.deliverer, tmp_path))
    try:
        action = new_action()
        answers = [ask(tmp_path / "control.sock", "resend", {"id": row.id, "action": action})
                   for _ in range(3)]
        assert answers[0] == answers[1] == answers[2]
        other = ask(tmp_path / "control.sock", "resend", {"id": row.id, "action": new_action()})
        assert other["new"] != answers[0]["new"]
        wait_until(lambda: {each.state for each in bench.store.deliveries_of(message)} == {
            DeliveryState.DONE}, "all arrive", 20)
        assert len(bench.outlet.tries) == 3
        bench.outlet.script = [InDoubt("?")]
        bench.outlet.probes = [Unknown()]
        third = bench.message(3)
        bench.until(third, DeliveryState.IN_DOUBT)
        bench.later(hours=1)
        parked = bench.until(third, DeliveryState.PARKED)
        click = {"id": parked.id, "action": new_action()}
        assert [ask(tmp_path / "control.sock", "replay", click)["changed"] for _ in range(2)] == [1, 1]
        bench.until(third, DeliveryState.DONE)
        assert ask(tmp_path / "control.sock", "replay",
                   click)["changed"] == 1, "the first answer again, and nothing is sent"
        assert bench.delivery(third).attempts == 2
        again = bench.message(4, "nirgends")
        gone = bench.until(again, DeliveryState.PARKED)
        for verb in ("discard", "confirm"):
            if verb == "confirm":
                again = bench.message(5, "nirgends")
                gone = bench.until(again, DeliveryState.PARKED)
            click = {"id": gone.id, "reason": "erledigt", "action": new_action()}
            assert [ask(tmp_path / "control.sock", verb, click)["changed"] for _ in range(2)] == [1, 1]
    finally:
        server.close()
        bench.close()


@pytest.mark.parametrize("verb", ["replay", "resend", "discard", "confirm"])
def test_the_command_line_names_the_action(monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    from click.testing import CliRunner

    from hub.cli import app

    asked: list[dict[str, Any]] = []
    answer = {"id": "x", "changed": 1, "new": 1, "woken": [], "closed": {}, "in_order": 0, "running": True}
    monkeypatch.setattr(app.Context, "ask", lambda self, name, **given: asked.append(given) or answer)
    reason = ["--reason", "erledigt"] if verb in ("discard", "confirm") else []
    for more in (["--action", "mein-klick"], ["--action", "mein-klick"], [], []):
        assert CliRunner().invoke(app.main, [verb, "x", *reason, *more]).exit_code == 0
    actions = [given["action"] for given in asked]
    assert actions[:2] == ["mein-klick"] * 2
    assert len({*actions}) == 3, "without one, each call is an action of its own"

"""What an operator's verbs do with the store, alone and beside a hub."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub.delivery.circuit_breaker import Circuit
from hub.errors import HubError
from hub.message import DeliveryState
from hub.operations.operator import Operator
from hub.store.store import Store
from hub.store.transitions.operator_actions import NotFound
from tests.unit.operator_kit import alone, beside
from tests.unit.store_kit import accept, deliver, incoming, prepare, routed

KEY = "musterstadt/postfach"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(Store.open(prepare(tmp_path / "state"))) as store:
        yield store


class Deliverer:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.resting: dict[str, Circuit] = {}
        self.opens: dict[str, datetime] = {}

    def reset(self, destination: str) -> None:
        self.told.append(f"reset {destination}")

    def wake(self) -> None:
        self.told.append("wake")

    def circuits(self) -> dict[str, Circuit]:
        return self.resting

    def closed_until(self, destination: str) -> datetime | None:
        return self.opens.get(destination)


@pytest.fixture
def hub(store: Store, tmp_path: Path) -> tuple[Operator, Deliverer]:
    """An operator beside a hub, and what the hub hears."""
    deliverer = Deliverer()
    operator = beside(store, deliverer, tmp_path,  # type: ignore[arg-type]
                      reload=lambda: ["a.toml: faulty"])
    return operator, deliverer


def test_there_is_one_way_to_build_it() -> None:
    parameters = inspect.signature(Operator).parameters.values()
    assert [parameter.name for parameter in parameters] == ["store", "retention", "running"]
    assert all(parameter.default is parameter.empty for parameter in parameters), "nothing is left out"


def test_a_message_is_shown_with_all_that_happened(store: Store) -> None:
    message = routed(store, [KEY])
    delivery = deliver(store, KEY)
    shown = alone(store).show(message[:12])
    assert (shown["id"], shown["state"], shown["ags"]) == (message, "completed", "14999010")
    assert [(part["role"], part["size"]) for part in shown["parts"]][:1] == [("received", 4)]
    assert [(row["id"], row["state"], row["destination"]) for row in shown["deliveries"]] == [
        (delivery, "done", KEY)]
    assert {"accepted", "routed", "done"} <= {event["event"] for event in shown["events"]}
    assert alone(store).show(delivery)["id"] == message, "a delivery's id names its message"


def test_what_is_not_there_is_told(store: Store) -> None:
    with pytest.raises(NotFound, match="no message and no delivery begins with 'zz': the newest: "):
        alone(store).show("zz")
    with pytest.raises(HubError, match="unknown state 'lost'"):
        alone(store).messages(state="lost")
    message = routed(store, [KEY])
    with pytest.raises(NotFound, match="is a message: name one of its deliveries"):
        alone(store).resend(message, "erika")


def test_messages_are_listed_by_state(store: Store) -> None:
    first, second = routed(store, [KEY]), accept(store, incoming(b"<b/>")).id
    operator = alone(store)
    assert [row["id"] for row in operator.messages()] == [second, first]
    assert [row["id"] for row in operator.messages(state="routed")] == [first]
    assert operator.messages(service="nothing") == []


def test_a_hub_is_woken_by_what_people_do_and_a_store_alone_is_enough(
        store: Store, hub: tuple[Operator, Deliverer]) -> None:
    routed(store, [KEY])
    [row] = store.deliveries_of(store.find_messages()[0].id)
    operator, deliverer = hub
    operator.replay(row.id, "erika")
    assert deliverer.told == [f"reset {KEY}", "wake"]
    delivered = deliver(store, KEY)
    new = operator.resend(delivered, "erika")["new"]
    assert deliverer.told[2:] == ["wake"]
    assert store.get_delivery(new).state is DeliveryState.DUE
    again = alone(store).resend(delivered, "erika", action="a click")["new"]
    assert alone(store).resend(delivered, "erika", action="a click")["new"] == again
    assert deliverer.told[3:] == [], "no hub, nobody to wake"


def test_replay_says_what_it_ended_and_what_still_waits(store: Store,
                                                        hub: tuple[Operator, Deliverer]) -> None:
    """A message that waits is not changed, but its destinations are tried now, unless they are closed."""
    operator, deliverer = hub
    message = routed(store, [KEY, "musterstadt/ablage", "musterstadt/dms"])
    later = datetime.now(UTC) + timedelta(hours=1)
    deliverer.resting = {KEY: Circuit(resting_until=later), "musterstadt/dms": Circuit(resting_until=later),
                         "probedorf/postfach": Circuit(resting_until=later)}
    deliverer.opens = {"musterstadt/ablage": later}
    deliver(store, "musterstadt/dms")
    answer = operator.replay(message, "erika")
    assert (answer["changed"], answer["woken"], answer["running"]) == (0, [KEY], True)
    assert list(answer["closed"]) == ["musterstadt/ablage"]
    assert f"reset {KEY}" in deliverer.told
    told = alone(store).replay(message, "erika")
    assert (told["changed"], told["woken"], told["closed"], told["running"]) == (0, [], {}, False)


def test_messages_come_in_pages_of_which_none_is_left_out(store: Store) -> None:
    ids = [accept(store, incoming(b"%d" % number)).id for number in range(7)][::-1]
    operator = alone(store)
    found: list[str] = []
    while page := operator.messages(limit=3, before=found[-1] if found else None):
        assert len(page) <= 3
        found += [row["id"] for row in page]
        accept(store, incoming(b"meanwhile %d" % len(found)))
    assert found == ids, "what comes meanwhile is newer, and asked for by nobody"
    with pytest.raises(HubError, match="ask for 1 to 1000"):
        operator.messages(limit=1001)
    with pytest.raises(NotFound):
        operator.messages(before="01999999")


def test_reload_is_the_running_hubs(store: Store, hub: tuple[Operator, Deliverer]) -> None:
    assert hub[0].reload() == {"reloaded": False, "problems": ["a.toml: faulty"], "restart": []}
    with pytest.raises(HubError, match="Es läuft keine Drehscheibe"):
        alone(store).reload()


def test_room_is_told_beside_a_hub_only(store: Store, hub: tuple[Operator, Deliverer]) -> None:
    assert "accepting" not in alone(store).status()
    assert hub[0].status()["accepting"]["now"] is True


def test_the_queue_counts_by_destination(store: Store) -> None:
    routed(store, [KEY, "musterstadt/ablage"])
    deliver(store, KEY)
    rows = {row["destination"]: row for row in alone(store).queue()}
    assert rows["musterstadt/ablage"]["due"] == 1
    assert rows["musterstadt/ablage"]["oldest_seconds"] >= 0
    assert rows.get(KEY, {"due": 0})["due"] == 0


def test_only_long_verbs_are_begun(store: Store) -> None:
    for verb in ("discard", "begin", "nothing", "_find"):
        with pytest.raises(HubError, match="unknown verb"):
            alone(store).begin(verb)


def test_a_store_is_checked_and_copied_with_progress(store: Store, tmp_path: Path) -> None:
    routed(store, [KEY])
    steps: list[str] = []
    operator = alone(store)
    report = operator.check_store(lambda step, _done, _of: steps.append(step))
    assert (report["sound"], report["messages"]) == (True, 1)
    copied = operator.backup(lambda *_: None, target=str(tmp_path / "copy"))
    assert copied["messages"] == 1
    assert steps


def test_the_facts_of_a_bill_come_from_the_books(store: Store) -> None:
    routed(store, [KEY])
    deliver(store, KEY)
    month = SimpleNamespace(first="2000-01", last="2999-12")
    used = alone(store).usages(month.first, month.last)
    assert sum(row["count"] for row in used) >= 1
    assert alone(store).usages("1999-01", "1999-12") == []

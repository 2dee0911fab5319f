"""The status port: totals for whoever asks, and nothing about one message."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest

from hub.delivery.circuit_breaker import Circuit
from hub.errors import Busy
from hub.i18n.sentence import Sentence
from hub.job import Facts, Parked
from hub.operations.operator import Operator
from hub.operations.status_server import StatusServer
from hub.store.store import Store
from hub.telemetry.counters import Metrics
from tests.unit.operator_kit import alone, beside
from tests.unit.store_kit import MINUTE, Output, accept, incoming, prepare, routed

SAID = "Der Geburtsname ist zu lang."
ANSWER = "552 5.3.4 too big for erika"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """One parked message with its reason and its trace, and one that waits for a destination."""
    with closing(Store.open(prepare(tmp_path / "state"))) as store:
        routed(store, ["musterstadt/postfach"])
        parked = accept(store, incoming(b"<b/>")).id
        assert store.claim_messages(1, MINUTE)
        output = Output()
        store.record([Parked(message_id=parked, facts=Facts(), reason="invalid",
                             text=Sentence.heard(SAID),
                             trace=(Sentence.heard(f"{SAID} [antragsteller:0:geburtsname]"),))],
                     output.fd, config_digest="c")
        yield store


def resting() -> Any:
    """A deliverer whose destination rests for something a receiver said of one message."""
    circuit = Circuit(resting_until=datetime.now(UTC) + timedelta(hours=1), why=ANSWER)
    return SimpleNamespace(circuits=lambda: {"musterstadt/postfach": circuit}, closed_until=lambda _key: None,
                           wake=lambda: None)


def pages(operator: Operator, store: Store) -> dict[str, httpx2.Response]:
    """Every page that can be asked for, those about a message included."""
    server = StatusServer("127.0.0.1", 0, Metrics(), operator, alive=list, ready=lambda: ["stopping"])
    ids = [message.id for message in store.find_messages()]
    ids += [row.id for each in ids for row in store.deliveries_of(each)]
    paths = ["/metrics", "/healthz", "/readyz", "/status", *(f"/status/{each}" for each in ids),
             *(f"/{verb}/{each}" for verb in ("show", "why", "messages") for each in ids)]
    try:
        with httpx2.Client(base_url=f"http://127.0.0.1:{server.port}", trust_env=False) as client:
            return {path: client.get(path) for path in paths}
    finally:
        server.close()


def leaks(answers: dict[str, httpx2.Response], store: Store) -> set[str]:
    """The pages that tell something about one message."""
    secrets = [SAID, ANSWER, "geburtsname", "invalid", *(message.id for message in store.find_messages())]
    return {path for path, answer in answers.items() if any(secret in answer.text for secret in secrets)}


def test_it_shows_totals_and_nothing_about_one_message(tmp_path: Path, store: Store) -> None:
    operator = beside(store, resting(), tmp_path)
    assert SAID in operator.why(store.find_messages()[0].id)["lines"][1], "there is something to leak"
    assert operator.queue()[0]["why"] == ANSWER
    answers = pages(operator, store)
    assert {path: answer.status_code for path, answer in answers.items() if answer.status_code != 404} == {
        "/metrics": 200, "/healthz": 200, "/readyz": 503, "/status": 200}
    status = answers["/status"].json()
    assert status["messages"] == {"accepted": 2, "routed": 1, "parked": 1, "balanced": True, "received": 0,
                                  "deferred": 0, "completed": 0, "discarded": 0}
    [queued] = status["queue"]
    assert (queued["destination"], queued["due"]) == ("musterstadt/postfach", 1)
    assert queued["resting_until"]
    assert leaks(answers, store) == set()


@pytest.mark.parametrize("verb", ["status", "queue"])
def test_a_leak_is_noticed(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    def status(self: Operator) -> dict[str, Any]:
        return {"messages": self.messages()}

    def queue(self: Operator) -> list[dict[str, Any]]:
        return [{"last": self.messages()}]

    monkeypatch.setattr(Operator, verb, {"status": status, "queue": queue}[verb])
    assert leaks(pages(alone(store), store), store) == {"/status"}


def test_a_taken_port_is_told(tmp_path: Path, store: Store) -> None:
    first = StatusServer("127.0.0.1", 0, Metrics(), alone(store), alive=list, ready=list)
    try:
        with pytest.raises(Busy, match=r"cannot be used \(Address already in use\): end the program"):
            StatusServer("127.0.0.1", first.port, Metrics(), alone(store), alive=list, ready=list)
    finally:
        first.close()

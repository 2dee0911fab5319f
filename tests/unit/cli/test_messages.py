"""Commands about messages: which one is meant, why it is where it is, lists."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from hub.i18n.sentence import Sentence
from hub.i18n.texts import STATES
from hub.job import Facts, Parked
from hub.message import DeliveryState, MessageState
from hub.store.store import Store
from tests.unit.cli.kit import filled, parked, run
from tests.unit.store_kit import MINUTE, Output, accept, incoming, prepare, routed

VERBS = [["show"], ["why"], ["replay"], ["resend"], ["discard", "--reason", "doppelt"],
         ["confirm", "--reason", "kam an"]]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_what_several_begin_with_is_said_with_some_of_them(tmp_path: Path, verb: Sequence[str]) -> None:
    ids = filled(tmp_path, 7)
    told = run(tmp_path, *verb, "0", code=1).output
    assert "7 messages begin with '0': " + ", ".join(ids[:5]) + ", …: give more of the id" in told
    told = run(tmp_path, *verb, "0", code=1, language="de").output
    assert "7 Nachrichten beginnen mit '0': " + ", ".join(
        ids[:5]) + ", …: mehr von der Nummer angeben" in told


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_what_nothing_begins_with_is_said_in_the_callers_language(tmp_path: Path,
                                                                  verb: Sequence[str]) -> None:
    filled(tmp_path, 2)
    told = run(tmp_path, *verb, "zz", code=1).output
    assert "no message and no delivery begins with 'zz': the newest: drehscheibe messages" in told
    told = run(tmp_path, *verb, "zz", code=1, language="de").output
    assert "keine Nachricht und keine Zustellung beginnt mit 'zz': die neuesten: drehscheibe messages" in told


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: verb[0])
def test_an_empty_id_is_a_usage_error(tmp_path: Path, verb: Sequence[str]) -> None:
    filled(tmp_path, 1)
    assert "is empty" in run(tmp_path, *verb, "", code=2).output


def test_two_deliveries_that_begin_alike_are_told(tmp_path: Path) -> None:
    store = Store.open(prepare(tmp_path))
    # 16 digits to begin with: two begin alike
    routed(store, [f"musterstadt/{number}" for number in range(17)])
    ids = [row.id for row in store.deliveries_of(store.find_messages()[0].id)]
    store.close()
    digit = next(digit for digit, count in Counter(each[0] for each in ids).items() if digit != "0"
                 and count > 1)
    assert f"deliveries begin with '{digit}'" in run(tmp_path, "confirm", digit, "--reason", "kam an",
                                                     code=1).output


def test_a_message_where_a_delivery_is_meant_is_said_in_the_callers_language(tmp_path: Path) -> None:
    [message] = filled(tmp_path, 1)
    told = run(tmp_path, "resend", message, code=1).output
    assert f"{message} is a message: name one of its deliveries: drehscheibe show {message}" in told
    told = run(tmp_path, "resend", message, code=1, language="de").output
    assert (f"{message} ist eine Nachricht: eine ihrer Zustellungen angeben: drehscheibe show {message}"
            in told)


@pytest.mark.parametrize("verb", ["discard", "confirm"])
def test_a_reason_has_to_be_given(tmp_path: Path, verb: str) -> None:
    [message] = filled(tmp_path, 1)
    for reason in ("", "  "):
        assert "--reason" in run(tmp_path, verb, message, "--reason", reason, code=2).output


def stopped(state: Path, text: str, *trace: str) -> str:
    """A message that is parked as invalid for this."""
    store = Store.open(prepare(state))
    message = accept(store, incoming()).id
    assert store.claim_messages(1, MINUTE)
    output = Output()
    store.record([Parked(message_id=message, facts=Facts(), reason="invalid", text=Sentence.heard(text),
                         trace=tuple(map(Sentence.heard, trace)))],
                 output.fd,
                 config_digest="config-1")
    store.close()
    return message


def test_why_says_each_rule_once_and_with_its_place(tmp_path: Path) -> None:
    message = stopped(tmp_path,
                      "Die Angaben verletzen Regeln des Antrags:\n- Der Name fehlt.\n- Die Rasse fehlt.",
                      "Der Name fehlt. [Halter (1.) (halter:0)]", "Der Name fehlt. [Halter (2.) (halter:1)]")
    assert run(tmp_path, "why", message).output.splitlines()[1:6] == [
        "Grund: invalid: Die Angaben verletzen Regeln des Antrags:", "- Die Rasse fehlt.",
        "  Der Name fehlt. [Halter (1.) (halter:0)]", "  Der Name fehlt. [Halter (2.) (halter:1)]", "next:"]


def test_show_has_the_case(tmp_path: Path) -> None:
    store = Store.open(prepare(tmp_path))
    message = accept(store, incoming(case="HS-2026/4711")).id
    store.close()
    assert "case         HS-2026/4711\n" in run(tmp_path, "show", message).output
    assert json.loads(run(tmp_path, "show", message, "--json").output)["case"] == "HS-2026/4711"


@pytest.mark.parametrize("how", [[], ["--json"], ["--ids"]], ids=str)
def test_a_list_that_is_cut_says_so_beside_it(tmp_path: Path, how: Sequence[str]) -> None:
    ids = filled(tmp_path, 3)
    cut = run(tmp_path, "messages", "--limit", "2", *how)
    assert cut.stderr == "The newest 2 of more: --all shows every one.\n"
    assert run(tmp_path, "messages", "--limit", "2", *how,
               language="de").stderr == "Die neuesten 2 von mehr: --all zeigt jede.\n"
    assert [name in cut.stdout for name in ids] == [False, True, True]
    for whole in (["--limit", "3"], ["--all"]):
        result = run(tmp_path, "messages", *whole, *how)
        assert result.stderr == ""
        assert all(name in result.stdout for name in ids)


@pytest.mark.parametrize(("limit", "count"), [(["--all"], 25), (["--limit", "11"], 11),
                                              (["--limit", "20"], 20), ([], 20)], ids=str)
def test_a_list_of_several_pages_is_one_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             limit: Sequence[str], count: int) -> None:
    monkeypatch.setattr("hub.cli.messages.PAGE", 10)
    ids = filled(tmp_path, 25)[::-1]
    rows = json.loads(run(tmp_path, "messages", *limit, "--json").stdout)
    assert [row["id"] for row in rows] == ids[:count]
    heading, *table = run(tmp_path, "messages", *limit).stdout.splitlines()
    assert heading.split()[0] == "message"
    assert [line.split()[0] for line in table] == ids[:count]
    assert run(tmp_path, "messages", *limit, "--ids").stdout.split() == ids[:count]


def test_no_message_is_an_empty_list(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    assert json.loads(run(tmp_path, "messages", "--state", "parked", "--json").stdout) == []
    assert run(tmp_path, "messages", "--state", "parked").stdout == "no messages\n"
    assert run(tmp_path, "messages", "--state", "parked", "--ids").stdout == ""


def test_one_reason_is_found(tmp_path: Path) -> None:
    message = stopped(tmp_path, "Der Name fehlt.")
    assert run(tmp_path, "messages", "--reason", "invalid", "--ids").stdout == f"{message}\n"
    assert run(tmp_path, "messages", "--reason", "no-route", "--ids").stdout == ""


def test_what_excludes_each_other_is_a_usage_error(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    run(tmp_path, "messages", "--all", "--limit", "3", code=2)
    run(tmp_path, "messages", "--ids", "--json", code=2)
    run(tmp_path, "replay", "a", "b", "--action", "one", code=2)


def test_states_are_said_in_the_callers_language_and_json_keeps_their_names(tmp_path: Path) -> None:
    message = stopped(tmp_path, "Der Name fehlt.")
    assert "  geparkt  " in run(tmp_path, "messages", language="de").stdout
    assert "  parked  " in run(tmp_path, "messages").stdout
    assert "state        geparkt" in run(tmp_path, "show", message, language="de").stdout
    for language in ("de", "en"):
        [row] = json.loads(run(tmp_path, "messages", "--json", language=language).stdout)
        assert row["state"] == "parked"
    assert message in run(tmp_path, "messages", "--state", "geparkt", "--ids").stdout
    told = run(tmp_path, "messages", "--state", "geprkt", code=2, language="de").output
    assert "keinen Zustand 'geprkt': angenommen, in Zustellung, " in told


def test_every_state_has_its_german() -> None:
    assert set(STATES) == {*MessageState, *DeliveryState}


def test_the_queue_says_how_many_messages_are_parked(tmp_path: Path) -> None:
    stopped(tmp_path, "Der Name fehlt.")
    assert run(tmp_path, "queue").stdout == (
        "nothing waits\n1 messages are parked, for which there are no deliveries yet: drehscheibe messages "
        "--state parked --all\n")


def test_all_that_are_parked_are_replayed_by_two_commands(tmp_path: Path) -> None:
    """As the runbook of the mass replay says it: not only the newest 20."""
    ids = parked(tmp_path, 45)
    found = run(tmp_path, "messages", "--state", "parked", "--reason", "no-route", "--all", "--ids")
    told = run(tmp_path, "replay", *found.stdout.split())  # opens the store once, not 45 times
    assert told.stdout.splitlines()[-1] == "45 of 45 were changed"
    assert sum(line.endswith(": done") for line in told.stdout.splitlines()) == 45
    assert run(tmp_path, "messages", "--state", "parked", "--ids").stdout == ""
    received = run(tmp_path, "messages", "--state", "received", "--all", "--ids").stdout.split()
    assert sorted(received) == sorted(ids)


def test_what_cannot_be_replayed_does_not_stop_the_others(tmp_path: Path) -> None:
    ids = parked(tmp_path, 2)
    told = run(tmp_path, "replay", ids[0], "zz", ids[1], code=1)
    assert "no message and no delivery begins with 'zz'" in told.stderr
    assert told.stdout.splitlines()[-1] == "2 of 3 were changed"
    answers = json.loads(run(tmp_path, "replay", ids[0], ids[1], "--json", code=1).stdout)
    assert answers == [], "both are under way again already"

"""Commands about messages: which one is meant, why it is where it is, lists."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from hub.i18n.sentence import Sentence
from hub.job import Facts, Parked
from hub.store.store import Store
from tests.unit.cli.kit import filled, run
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


def test_a_list_that_is_cut_says_so(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    assert "The newest 2 of more: --limit" in run(tmp_path, "messages", "--limit", "2").output
    assert "Die neuesten 2 von mehr: --limit" in run(tmp_path, "messages", "--limit", "2",
                                                     language="de").output
    assert "--limit" not in run(tmp_path, "messages", "--limit", "3").output
    assert len(json.loads(run(tmp_path, "messages", "--limit", "2", "--json").stdout)) == 2


def test_show_has_the_case(tmp_path: Path) -> None:
    store = Store.open(prepare(tmp_path))
    message = accept(store, incoming(case="HS-2026/4711")).id
    store.close()
    assert "case         HS-2026/4711\n" in run(tmp_path, "show", message).output
    assert json.loads(run(tmp_path, "show", message, "--json").output)["case"] == "HS-2026/4711"

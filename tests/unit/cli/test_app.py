"""What the commands print and how they end, on a store that no hub serves."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hub.cli import app
from hub.errors import StoreDamaged
from hub.i18n.sentence import Sentence
from hub.job import Facts, Parked
from hub.store.store import Store
from tests.unit.store_kit import MINUTE, Output, accept, incoming, prepare, routed

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def unchanged_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sets up the log of its process, for good: here that is the one of all tests that come
    after."""
    monkeypatch.setattr(app.logs, "setup", lambda _level: None)


def run(state: Path, *arguments: str, code: int = 0, language: str = "en") -> Result:
    command = ["--config", str(ROOT / "etc" / "hub.toml"), "--set", f"hub.state={state}", *arguments]
    result = CliRunner().invoke(app.main, command, env={"DREHSCHEIBE_LANG": language, "COLUMNS": "300"})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def filled(state: Path, count: int) -> list[str]:
    """The ids of that many new messages, the oldest first."""
    store = Store.open(prepare(state))
    ids = [accept(store, incoming(b"%d" % number)).id for number in range(count)]
    store.close()
    return ids


# -------------------------------------------------------------------- which message?


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
    assert (f"{message} ist eine Nachricht: eine ihrer Zustellungen angeben: "
            f"drehscheibe show {message}") in told


@pytest.mark.parametrize("verb", ["discard", "confirm"])
def test_a_reason_has_to_be_given(tmp_path: Path, verb: str) -> None:
    [message] = filled(tmp_path, 1)
    for reason in ("", "  "):
        assert "--reason" in run(tmp_path, verb, message, "--reason", reason, code=2).output


# -------------------------------------------------------------------- why


def stopped(state: Path, text: str, *trace: str) -> str:
    """A message that is parked as invalid for this."""
    store = Store.open(prepare(state))
    message = accept(store, incoming()).id
    assert store.claim_messages(1, MINUTE)
    output = Output()
    said = [Sentence.heard(each) for each in (text, *trace)]
    store.record([Parked(message_id=message, facts=Facts(), reason="invalid", text=said[0],
                         trace=tuple(said[1:]))],
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


# -------------------------------------------------------------------- lists and tables


def test_a_list_that_is_cut_says_so(tmp_path: Path) -> None:
    filled(tmp_path, 3)
    assert "The newest 2 of more: --limit" in run(tmp_path, "messages", "--limit", "2").output
    assert "Die neuesten 2 von mehr: --limit" in run(tmp_path, "messages", "--limit", "2",
                                                     language="de").output
    assert "--limit" not in run(tmp_path, "messages", "--limit", "3").output
    assert len(json.loads(run(tmp_path, "messages", "--limit", "2", "--json").stdout)) == 2


def test_a_bill_is_csv_or_json(tmp_path: Path) -> None:
    filled(tmp_path, 1)
    assert "either --csv or --json" in run(tmp_path, "bill", "--year", "2026", "--csv", "--json",
                                           code=2).output


def test_a_municipality_is_shown_as_json_and_without_python(tmp_path: Path) -> None:
    shown = json.loads(run(tmp_path, "municipality", "show", "14999010", "--json").stdout)
    assert shown["population"] == {"2024-12-31": 61000}
    assert next(row["values"]["drop"]["path"] for row in shown["destinations"]
                if row["connector"] == "xdomea").startswith("/")
    text = run(tmp_path, "municipality", "show", "14999010").output
    assert re.findall(r"Path\(|\{'|\['|\bNone\b|\bFalse\b|\bTrue\b", text) == []
    assert "first=60, factor=2, longest=14400" in text


# -------------------------------------------------------------------- a damaged database


@pytest.fixture(params=[0, 5000], ids=["not even a database", "a page of it"])
def damaged(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A store that was overwritten from there on."""
    filled(tmp_path, 3)
    file = tmp_path / "store.sqlite3"
    content = file.read_bytes()
    file.write_bytes(content[:request.param] + b"garbage " * ((len(content) - request.param) // 8))
    return tmp_path


def test_the_check_of_a_damaged_database_says_what_to_do(damaged: Path) -> None:
    told = run(damaged, "store", "check", code=1).output
    assert "the database is damaged: store.sqlite3: " in told
    assert "not sound" in told
    assert ("keep a copy of its state, then drehscheibe restore the last backup "
            "(docs/operate-backup.md)") in told
    report = json.loads(run(damaged, "store", "check", "--json", code=1).stdout)
    assert (report["sound"], set(report["counts"])) == (False, {"database"})


@pytest.mark.parametrize("command", [["store", "repair"], ["queue"], ["backup", "target"], ["messages"]],
                         ids=lambda command: command[0])
def test_a_damaged_database_is_not_temporary(damaged: Path, tmp_path: Path, command: Sequence[str]) -> None:
    arguments = [str(tmp_path / "copy") if word == "target" else word for word in command]
    told = run(damaged, *arguments, code=1).output
    assert re.search(r"store.sqlite3: the database is damaged \(SQLITE_\w+\): stop the hub, keep a copy",
                     told), told
    assert "die Datenbank ist beschädigt (SQLITE_" in run(damaged, *arguments, code=1, language="de").output


def test_no_hub_starts_on_a_damaged_database(damaged: Path) -> None:
    with pytest.raises(StoreDamaged, match="the database is damaged"):
        Store.open(damaged)

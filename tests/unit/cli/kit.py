"""The command line in a test: on the example's configuration, with a state folder of its own."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from hub.cli import app
from hub.i18n.sentence import Sentence
from hub.job import Facts, Parked
from hub.store.store import Store
from tests.unit.store_kit import MINUTE, Output, accept, incoming, prepare

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "etc" / "hub.toml"


def run(state: Path, *arguments: str, code: int = 0, language: str = "en") -> Result:
    """What a command on the store in `state` prints, once its exit code is the expected one."""
    command = ["--config", str(EXAMPLE), "--set", f"hub.state={state}", *arguments]
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


def parked(state: Path, count: int) -> list[str]:
    """The ids of that many parked messages."""
    store = Store.open(prepare(state))
    ids = [accept(store, incoming(b"%d" % number)).id for number in range(count)]
    assert store.claim_messages(count, MINUTE)
    output = Output()
    store.record([Parked(message_id=each, facts=Facts(), reason="no-route", text=Sentence.heard("kein Weg"))
                  for each in ids], output.fd, config_digest="config-1")
    store.close()
    return ids

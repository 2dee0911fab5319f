"""How a command's errors end it."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from hub.cli.command import command, group, json_option, reason_option
from hub.errors import Busy, ConfigError, HubError, StoreDamaged, StoreUnavailable
from hub.i18n import texts


def ended(act: Callable[[], Any], language: str = "en") -> Result:
    """What is left of a command that does this."""

    @command("try", "The newest messages.")
    def tried() -> None:
        act()

    return CliRunner().invoke(tried, env={"DREHSCHEIBE_LANG": language})


def raising(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error
    return act


@pytest.mark.parametrize(("error", "code", "told"), [
    (HubError("no such thing"), 1, "no such thing"), (StoreDamaged("damaged"), 1, "damaged"),
    (StoreUnavailable("away"), 75, "away"), (Busy("in the way"), 75, "in the way"),
    (ConfigError(["a: b: c: d", "e: f: g: h"]), 78, "a: b: c: d\ne: f: g: h"),
    (PermissionError(errno.EACCES, "Permission denied", "/srv/x"), 78,
     "/srv/x: Permission denied: run this as the hub's user, or mend the rights"),
    (PermissionError("no"), 78, "(file): None: run this as the hub's user, or mend the rights"),
    (OSError(errno.ENOSPC, "No space left on device", "/srv"), 75, "/srv: No space left on device"),
    (OSError("odd"), 75, "(system): odd"),
], ids=repr)
def test_an_error_is_a_line_and_an_exit_code(error: Exception, code: int, told: str) -> None:
    result = ended(raising(error))
    assert (result.exit_code, result.stderr, result.stdout) == (code, f"{told}\n", "")


def test_a_fault_of_ours_is_not_hidden() -> None:
    assert isinstance(ended(raising(ZeroDivisionError())).exception, ZeroDivisionError)


def test_a_reader_that_goes_away_is_no_noise() -> None:
    result = ended(raising(BrokenPipeError()))
    assert (result.exit_code, result.output) == (1, "")


def test_a_line_is_said_in_the_callers_language() -> None:
    error = ConfigError("a.toml: x: unknown key: remove it or correct its spelling")
    assert ended(raising(error), "de").stderr.startswith("a.toml: x: unbekannter Schlüssel: ")


def test_help_is_said_in_the_callers_language(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREHSCHEIBE_LANG", "de")

    @command("messages", "The newest messages.")
    def messages() -> None:
        """Never called."""

    together = group("store", "RabbitMQ.", messages)
    assert messages.help == texts.GERMAN["The newest messages."]
    assert list(together.commands) == ["messages"]


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_reason_has_to_say_something(reason: str) -> None:
    @command("discard", "Only count it.")
    @reason_option
    @json_option
    def discard(reason: str, as_json: bool) -> None:
        click.echo(f"{reason} {as_json}")

    assert CliRunner().invoke(discard, ["--reason", reason]).exit_code == 2
    assert CliRunner().invoke(discard, ["--reason", "doppelt", "--json"]).output == "doppelt True\n"

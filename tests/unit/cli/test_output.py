"""What commands print."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hub.cli import output


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0, "00:00:00"), (59.9, "00:00:59"),
                                               (86_399, "23:59:59"), (86_400, "1.0 d"), (950_400, "11.0 d")])
def test_an_age_is_short(seconds: float | None, text: str) -> None:
    assert output.age(seconds) == text


@pytest.mark.parametrize(("value", "text"), [
    (None, "–"), ("", "–"), ([], "–"), ({}, "–"), (True, "true"), (False, "false"), (5.0, "5"),
    (0.5, "0.5"),
    ({"first": 60.0, "drop": {"path": "/srv"}}, "first=60, drop=(path=/srv)"), (["a", 2.0], "a, 2"),
    (Path("/srv/x"), "/srv/x"),
], ids=repr)
def test_a_value_is_shown_without_python(value: Any, text: str) -> None:
    assert output.shown(value) == text


def test_json_takes_what_it_does_not_know_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_json({"größe": Path("/srv"), "at": datetime(2026, 1, 2, tzinfo=UTC)})
    assert capsys.readouterr().out == '{\n  "größe": "/srv",\n  "at": "2026-01-02 00:00:00+00:00"\n}\n'


def test_journald_is_told_that_it_is_an_error(capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREHSCHEIBE_LANG", "en")
    output.complain("away")
    monkeypatch.setattr(output.logs, "under_journald", lambda: True)
    output.complain("away")
    assert capsys.readouterr().err == "away\n<3>away\n"

"""Tables for people: nothing is cut, and an id stays one word."""

from __future__ import annotations

import time

import pytest

from hub.cli import table
from hub.cli.table import Table

MESSAGE = ["01a201e2-7ff9-7152-94fe-fb160e60f634", "geparkt", "wohnungsgeberbestaetigung", 14999010,
           "2026-11-22T06:12:30.841+00:00", "unknown-municipality"]
MESSAGES = ["message", "state", "service", "AGS", "received", "reason"]
WHY = "2026-11-22T06:13:17.551+00:00 (Der Mailserver ist nicht erreichbar (Connection refused).)"
BILL = ["municipality", "item", "class", "category", "messages", "from", "to", "reached", "amount"]
LINE = ["Gemeinde Probedorf an der Beispielaue (14999030)", "Verfahrenspreis Hundesteuer", "bis 10.000",
        "einfach", 358, "2026-01-01", "2026-12-31", "postfach 358, ablage 358", "1.234,56 €"]


@pytest.mark.parametrize("width", [20, 40, 80, 100, 132, 200, None])
@pytest.mark.parametrize(("columns", "row"), [(MESSAGES, MESSAGE), (BILL, LINE), (
    ["destination", "due", "under way", "in doubt", "parked", "oldest", "rests until"],
    ["musterstadt/postfach", 4, 0, 0, 0, "00:00:41", WHY])], ids=["messages", "bill", "queue"])
def test_every_word_is_whole_and_fits(capsys: pytest.CaptureFixture[str], columns: list[str],
                                      row: list[object], width: int | None) -> None:
    Table(columns, width).rows([row, row])
    lines = capsys.readouterr().out.splitlines()
    words = " ".join(lines).split()
    for word in " ".join(map(str, row)).split():
        assert words.count(word) >= 2
    if width and width >= 80:
        assert max(map(len, lines)) <= width
    if width is None:
        assert len(lines) == 3


def test_ids_are_whole_and_in_one_place_at_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    Table(MESSAGES, 80).rows([MESSAGE])
    assert capsys.readouterr().out.splitlines() == [
        "message                               state    service",
        "    AGS       received                       reason",
        "01a201e2-7ff9-7152-94fe-fb160e60f634  geparkt  wohnungsgeberbestaetigung",
        "    14999010  2026-11-22T06:12:30.841+00:00  unknown-municipality"]


def test_a_long_text_goes_on_below_itself(capsys: pytest.CaptureFixture[str]) -> None:
    Table(["destination", "why"], 60).rows([["musterstadt/postfach", WHY], ["a/b", "kurz"]])
    assert capsys.readouterr().out.splitlines() == [
        "destination           why",
        "musterstadt/postfach  2026-11-22T06:13:17.551+00:00 (Der",
        "                      Mailserver ist nicht erreichbar",
        "                      (Connection refused).)",
        "a/b                   kurz"]


def test_headings_stand_once_and_in_the_callers_language(capsys: pytest.CaptureFixture[str],
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DREHSCHEIBE_LANG", "de")
    long = "x" * 3000
    printed = Table(["received", "AGS"])
    printed.rows([["kurz", 1]])
    printed.rows([[long, 14999010]])
    heading, first, second = capsys.readouterr().out.splitlines()
    assert heading.split() == ["angenommen", "AGS"]
    assert first.split() == ["kurz", "1"]
    assert second.split() == [long, "14999010"]


def test_a_cell_is_one_line_and_says_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    Table(["why", "AGS"]).rows([["[bold]eins[/bold]\n\tzwei\x1b[31m", "日本"], ["", ""]])
    assert capsys.readouterr().out.splitlines()[1:] == ["[bold]eins[/bold] zwei [31m  日本", ""]


def test_the_width_is_the_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert table.terminal_width() is None
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert table.terminal_width() == 80


def test_ten_thousand_rows_cost_a_second_at_most(capsys: pytest.CaptureFixture[str]) -> None:
    """They took 15 s of processor."""
    rows = [[f"{no:08}{str(MESSAGE[0])[8:]}", *MESSAGE[1:]] for no in range(10_000)]
    for width in (80, None):
        before = time.process_time()
        Table(MESSAGES, width).rows(rows)
        assert time.process_time() - before < 2
        assert len(capsys.readouterr().out.splitlines()) >= 10_001

"""What commands print: complaints, JSON, tables, ages."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

from hub import endpoint
from hub.cli.table import Table
from hub.i18n.problems_german import german
from hub.i18n.texts import language
from hub.message import BERLIN
from hub.telemetry import logs


def said(text: str, *, by_a_hub: bool = False) -> str:
    """A fault in the caller's language; `by_a_hub`: it may be told by a process that has other connectors
    loaded."""
    return german(text, endpoint.german(everything=by_a_hub)) if language() == "de" else text


def complain(text: str) -> None:
    """One line on standard error; for journald it is an error, not one message among many (sd-daemon(3))."""
    text = said(text, by_a_hub=True)
    click.echo(f"<3>{text}" if logs.under_journald() else text, err=True)


def print_findings(findings: Iterable[tuple[str, endpoint.Finding]]) -> None:
    """What was found, a line each: how bad it is, where, what, and what to do."""
    for where, finding in findings:
        mark = {"ok": "✓", "warning": "!", "error": "✗"}[finding.severity]
        click.echo(said(f"{mark} {where}: {finding.text}"
                        + (f" → {finding.remedy}" if finding.remedy else "")))


def shown(value: Any) -> str:
    """A configured value, for reading."""
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={f'({shown(each)})' if isinstance(each, dict) and each else shown(each)}"
                         for key, each in value.items())
    return ", ".join(map(shown, value)) if isinstance(value, list) else str(value)


def print_json(data: Any) -> None:
    """Data as JSON: what it does not know becomes text."""
    click.echo(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows below headings in the caller's language."""
    Table(columns).rows(rows)


def local_time(text: str) -> str:
    """A point in time as the hub keeps it (ISO 8601), in Europe/Berlin and to the second. What is none stays
    as it is."""
    try:
        return datetime.fromisoformat(text).astimezone(BERLIN).isoformat(timespec="seconds")
    except ValueError:
        return text


def age(seconds: float | None) -> str:
    """A span of time in seconds, for reading."""
    if seconds is None:
        return ""
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 86400:.1f} d"

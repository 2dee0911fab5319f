"""The libraries of the design card do their job where it is done, and nobody does it by hand beside them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_house import MODULES, ROOT

AT_WORK = {
    "kombu": {"connectors/amqp.py"},
    "lxml":
    {"hub/parsing/xml.py", "hub/pipeline/envelope.py", "hub/pipeline/xslt.py", "hub/pipeline/validate.py"},
    "xmlschema": {"hub/pipeline/schema_faults.py"},
    "paramiko": {"connectors/sftp.py"},
    "watchdog": {"connectors/_watch.py"},
    "prometheus_client": {"hub/telemetry/counters.py", "hub/operations/ledger_metrics.py"},
    "puremagic": {"hub/parsing/file_type.py"},
    "anyascii": {"hub/names.py"},
    "tenacity": {"hub/config/retry.py", "hub/intake/inlets.py"},
}
"""By library: where its job is done."""

BY_HAND = {
    "xml.etree": "lxml parses XML, within the limits of hub.parsing", "xml.dom": "lxml", "xml.sax": "lxml",
    "pika": "kombu speaks AMQP", "pyinotify": "watchdog watches folders",
    "inotify": "watchdog watches folders",
    "unidecode": "anyascii writes letters of all scripts in ASCII (unidecode is GPL)",
    "backoff": "tenacity says when to try again", "retrying": "tenacity says when to try again",
    "ftplib": "paramiko speaks SFTP",
}
"""Modules that would do a library's job a second time, and what does it."""
ALLOWED = ("xml.sax.saxutils",)
"""For writing: quoting text and attributes."""


def imported(source: str) -> set[str]:
    """Every module that a source imports, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def done_by_hand(source: str) -> Iterator[str]:
    """What a source does by itself although a library is there for it."""
    for name in sorted(imported(source)):
        for other, instead in BY_HAND.items():
            if f"{name}.".startswith(f"{other}.") and not name.startswith(ALLOWED):
                yield f"imports {name}: {instead}"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow) and not isinstance(node.right,
                                                                                           ast.Constant):
            yield f"line {node.lineno}: a power that grows: tenacity makes waits grow (config.retry.backoff)"


@pytest.mark.parametrize("library", AT_WORK)
def test_a_library_is_imported_where_its_job_is_done(library: str) -> None:
    users = {file.relative_to(ROOT).as_posix() for room in ("hub", "connectors")
             for file in (ROOT / room).rglob("*.py")
             if any(name.split(".")[0] == library for name in imported(file.read_text(encoding="utf-8")))}
    assert AT_WORK[library] <= users


@pytest.mark.parametrize("file", sorted(file for room in ("hub", "connectors")
                                        for file in (ROOT / room).rglob("*.py")),
                         ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_of_theirs_is_done_by_hand(file: Path) -> None:
    assert list(done_by_hand(file.read_text(encoding="utf-8"))) == []


def test_work_by_hand_is_noticed() -> None:
    assert list(done_by_hand("import xml.etree.ElementTree")) != []
    assert list(done_by_hand("from xml import dom")) != []
    assert list(done_by_hand("stop.wait(first * 2 ** tries)")) != []
    assert list(done_by_hand("from xml.sax.saxutils import quoteattr\nsize = 2 ** 20")) == []


def retried_by_hand(text: str) -> list[int]:
    """Lines where a loop catches an error, waits, and goes round again: tenacity's job."""
    loops = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.While | ast.For)]
    return [loop.lineno for loop in loops
            if any(isinstance(each, ast.Try) and each.handlers for each in ast.walk(loop))
            and any(isinstance(each, ast.Call) and each.args
                    and ast.unparse(each.func).rpartition(".")[2] in ("sleep", "wait")
                    for each in ast.walk(loop))]


TIMETABLES = {"hub/administration/retention.py", "hub/cluster/peers.py"}
"""A run each night, and a beat every two seconds: they go on after a success, too, and nothing is retried."""


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_is_retried_by_hand(module: Path) -> None:
    found = retried_by_hand(module.read_text(encoding="utf-8"))
    assert len(found) == (module.relative_to(ROOT).as_posix() in TIMETABLES), "tenacity.Retrying does that"


def test_a_retry_by_hand_is_noticed() -> None:
    forever = "while True:\n  try:\n    connect()\n    break\n  except OSError:\n    time.sleep(1)"
    assert retried_by_hand(forever) == [1]
    assert retried_by_hand("for _ in range(9):\n  try:\n    send()\n  finally:\n    stop.wait(1)") == []

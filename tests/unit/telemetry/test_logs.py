"""Logging to journald: only where standard error is its stream, with names it takes, and entries of any
size."""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from hub.telemetry import logs


def test_a_field_with_a_line_end_is_framed_by_its_length_and_a_list_is_repeated() -> None:
    assert logs.datagram({"MESSAGE": "ö", "TEXT": "a\nb", "PART": [1, 2]}) == (
        "MESSAGE=ö\nTEXT\n".encode() + struct.pack("<Q", 3) + b"a\nb\nPART=1\nPART=2\n")


def test_names_are_what_journald_takes() -> None:
    entry = json.loads(logs.journal_fields(None, "", {
        "event": "delivered", "level": "warning", "at": "now", "logger": "hub.x", "message": "019",
        "error-class": "E",
        "_trusted": 1, "2nd": 2, "none": None}))
    assert entry == {"MESSAGE": "delivered message=019 error-class=E _trusted=1 2nd=2", "PRIORITY": 4,
                     "LOGGER": "hub.x",
                     "SYSLOG_IDENTIFIER": "drehscheibe", "MESSAGE_ID_HUB": "019", "ERROR_CLASS": "E",
                     "TRUSTED": 1, "ND": 2}


def test_an_entry_too_large_for_a_datagram_goes_as_a_sealed_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        journal.settimeout(10)
        handler = logs.Journal(str(tmp_path / "journal"))
        try:
            for text in ("small", "x" * 1_000_000):
                handler.emit(logging.makeLogRecord({"msg": json.dumps({"MESSAGE": text})}))
            assert journal.recv(100) == b"MESSAGE=small\n"
            _, (fd,), _, _ = socket.recv_fds(journal, 100, 1)
            with os.fdopen(fd, "rb") as file:
                file.seek(0)
                assert file.read() == b"MESSAGE=" + b"x" * 1_000_000 + b"\n"
        finally:
            handler.close()


@pytest.mark.parametrize("own", [True, False])
def test_an_inherited_variable_does_not_send_the_log_away(own: bool, tmp_path: Path) -> None:
    """What a desktop's terminal starts has the variable of the terminal's own service."""
    with (tmp_path / "stderr").open("w") as stderr:
        stream = os.fstat(stderr.fileno())
        place = f"{stream.st_dev}:{stream.st_ino}" if own else f"{stream.st_dev}:{stream.st_ino + 1}"
        program = (f"from hub.telemetry import logs; logs.JOURNAL = {str(tmp_path)!r}; "
                   "print(logs.under_journald())")
        result = subprocess.run([sys.executable, "-c", program], env={**os.environ, "JOURNAL_STREAM": place},
                                stderr=stderr,
                                stdout=subprocess.PIPE, text=True, check=True)
    assert result.stdout.strip() == str(own)

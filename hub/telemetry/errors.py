"""An error of ours in a log line: its class and its place.

Its text may hold what a citizen wrote, so it is never told. Errors that the hub words itself (`hub.errors`)
tell their own text.
"""

from __future__ import annotations

import traceback


def place(error: BaseException) -> str:
    """Where an error was raised: the file's name and the line, such as ``pool.py:117``; ``?`` where none is
    known."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rsplit('/', 2)[-1]}:{frames[-1].lineno}" if frames else "?"


def where(error: BaseException) -> dict[str, str]:
    """The fields of a log line about an error: its class and its place."""
    return {"error_class": type(error).__name__, "place": place(error)}

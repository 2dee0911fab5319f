"""An error on its way through the control socket: it arrives as the class that was raised.

A `HubError` goes with the names of its classes, the nearest first, its text and its fields. The other side
takes the nearest class that it knows, so that a command ends the same way beside a running hub as without
one. An `OSError` goes with its number, its text and its file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from hub.errors import HubError


def described(error: HubError | OSError) -> dict[str, Any]:
    """An error as plain data, for JSON."""
    if isinstance(error, OSError):
        return {"class": ["OSError"], "text": str(error), "errno": error.errno, "strerror": error.strerror,
                "filename": error.filename}
    classes = [each.__name__ for each in type(error).__mro__ if issubclass(each, HubError)]
    return {"class": classes, "text": str(error), "fields": dict(vars(error))}


def error_from(told: Mapping[str, Any] | str) -> HubError | OSError:
    """The error that `described` told. A bare text, which is what an older hub says, becomes a `HubError`."""
    if isinstance(told, str):
        return HubError(told)
    if told["class"] == ["OSError"]:
        if told["errno"] is None:
            return OSError(told["text"])
        return OSError(told["errno"], told["strerror"], told["filename"])
    known = {each.__name__: each for each in _tree(HubError)}
    nearest = next((known[name] for name in told["class"] if name in known), HubError)
    error = nearest.__new__(nearest, told["text"])  # its text is finished: the constructor would make it anew
    for name, value in told["fields"].items():
        setattr(error, name, tuple(value) if isinstance(value, list) else value)
    return error


def _tree(root: type[HubError]) -> Iterator[type[HubError]]:
    """A class and all that derive from it."""
    yield root
    for each in root.__subclasses__():
        yield from _tree(each)

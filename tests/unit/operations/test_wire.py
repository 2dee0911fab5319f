"""An error crosses the socket as its class, with its text and its fields."""

from __future__ import annotations

import errno
import json
from typing import Any

import pytest

from hub.errors import (
    Busy,
    ConfigError,
    Conflict,
    HubError,
    Rejected,
    StoreDamaged,
    StoreUnavailable,
    Temporary,
)
from hub.i18n.sentence import say
from hub.message import Reason
from hub.operations.wire import described, error_from
from hub.store.transitions.operator_actions import NotFound


def crossed(error: HubError | OSError) -> HubError | OSError:
    """The error as the other side has it."""
    return error_from(json.loads(json.dumps(described(error))))


@pytest.mark.parametrize("error", [
    HubError("something"), ConfigError(["a.toml: x: is wrong: mend it", "b.toml: y: too: mend it"]),
    StoreUnavailable("away", 7.5), StoreDamaged("damaged"), Busy("another hub runs"), Conflict("0199"),
    Rejected(Reason.INVALID, say("Der Name fehlt."), [say("Regel eins"), say("Regel zwei")]),
    Temporary("503", 60.0),
    NotFound("no message begins with 'x'"),
], ids=lambda error: type(error).__name__)
def test_a_hubs_error_keeps_class_text_and_fields(error: HubError) -> None:
    again = crossed(error)
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize("error", [
    PermissionError(errno.EACCES, "Permission denied", "/srv/backup"),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "/srv"),
    OSError(errno.ENOSPC, "No space left"),
    TimeoutError("timed out"), OSError("without a number"),
], ids=repr)
def test_an_error_of_the_system_keeps_number_text_and_file(error: OSError) -> None:
    again = crossed(error)
    assert isinstance(again, OSError)
    assert (again.errno, again.strerror, again.filename) == (error.errno, error.strerror, error.filename)
    assert str(again) == str(error)


def test_a_class_that_the_other_side_does_not_know_becomes_the_nearest_one() -> None:
    told: dict[str, Any] = described(StoreDamaged("damaged"))
    told["class"].insert(0, "StoreOnFire")
    assert type(error_from(told)) is StoreDamaged
    assert type(error_from({"class": ["Anything"], "text": "x", "fields": {}})) is HubError


def test_what_an_older_hub_says_is_an_error_all_the_same() -> None:
    assert (type(error_from("Nein.")), str(error_from("Nein."))) == (HubError, "Nein.")

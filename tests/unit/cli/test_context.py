"""Which configuration a command takes, that stores are closed, and that a hub beside it changes no ending."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import hub.errors
from hub.cli import app, context
from hub.errors import (
    Busy,
    ConfigError,
    Conflict,
    HubError,
    InDoubt,
    Misconfigured,
    NotAllowed,
    Permanent,
    Rejected,
    StoreDamaged,
    StoreUnavailable,
    Temporary,
    TooLarge,
)
from hub.i18n.sentence import say
from hub.message import Reason
from hub.operations import wire
from hub.operations.control_socket import ControlServer
from hub.operations.operator import Operator
from hub.store.store import Store
from tests.unit.cli.kit import ROOT, filled, run
from tests.unit.operator_kit import alone

# -------------------------------------------------------------------- which configuration


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with one configuration in each place; each has a state folder of its own name."""
    for name in ("etc-drehscheibe", "environment", "named", "release/etc"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "hub.toml").write_text(f'[hub]\nstate = "state-of-{folder.name}"\n', encoding="utf-8")
    monkeypatch.setattr(context, "CONFIGURATION", tmp_path / "etc-drehscheibe/hub.toml")
    monkeypatch.delenv(context.VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path / "release")
    return tmp_path


def call(*arguments: str, **environment: str) -> Result:
    result = CliRunner().invoke(app.main, arguments, env={"DREHSCHEIBE_LANG": "en", **environment})
    assert "Traceback" not in result.output
    return result


def test_the_named_one_goes_first_then_the_environments_then_the_machines(machine: Path) -> None:
    named, environment = str(machine / "named/hub.toml"), str(machine / "environment/hub.toml")
    assert "state-of-named yet" in call("--config", named, "queue", DREHSCHEIBE_CONFIG=environment).output
    assert "state-of-environment yet" in call("queue", DREHSCHEIBE_CONFIG=environment).output
    assert "state-of-etc-drehscheibe yet" in call("queue").output
    assert "state-of-etc-drehscheibe yet" in call("queue", DREHSCHEIBE_CONFIG="").output


def test_the_example_is_never_taken_by_accident(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the release's folder `municipality add` once wrote into the example and said success."""
    shutil.copytree(ROOT / "etc", machine / "release/etc", dirs_exist_ok=True)
    shutil.copytree(ROOT / "mappings", machine / "release/mappings")
    before = {file: file.read_bytes() for file in (machine / "release").rglob("*.toml")}
    (machine / "etc-drehscheibe/hub.toml").unlink()
    result = call("municipality", "add", "14999050", "--name", "Quellstadt", "--mail", "x@quellstadt.example")
    assert result.exit_code == 78
    assert result.stderr == (f"{machine}/etc-drehscheibe/hub.toml: (file): there is no configuration: create "
                             "it, or name another one: drehscheibe --config FILE, or "
                             "DREHSCHEIBE_CONFIG=FILE\n")
    assert {file: file.read_bytes() for file in (machine / "release").rglob("*.toml")} == before
    named = call("--config", "etc/hub.toml", "municipality", "add", "14999050", "--name", "Quellstadt",
                 "--mail", "x@quellstadt.example")
    assert named.exit_code == 0, named.output
    assert (machine / "release/etc/municipalities/14999050.toml").exists()


@pytest.mark.parametrize("command", [
    ["run"], ["check"], ["queue"], ["messages"], ["show", "x"], ["why", "x"], ["replay", "x"], ["reload"],
    ["discard", "x", "--reason", "r"], ["store", "check"], ["store", "repair"], ["backup", "copy"],
    ["restore", "."], ["retention", "run"], ["mapping", "test"], ["municipality", "list"],
    ["municipality", "show", "1"], ["bill", "--year", "2026"], ["demo"],
], ids=" ".join)
def test_without_a_configuration_every_command_says_the_same(machine: Path, command: list[str]) -> None:
    result = call("--config", "nowhere/hub.toml", *command)
    assert result.exit_code == 78
    place = f"{machine}/release/nowhere/hub.toml"
    assert f"{place}: (file): there is no configuration: create it" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    german = call("--config", "nowhere/hub.toml", *command, DREHSCHEIBE_LANG="de")
    assert "es gibt keine Konfiguration: anlegen, oder eine andere nennen" in german.stderr


def test_a_folder_is_no_configuration(machine: Path) -> None:
    result = call("--config", str(machine), "queue")
    assert result.exit_code == 78
    assert "cannot be read (Is a directory)" in result.stderr


def test_help_says_which_one_is_taken() -> None:
    told = " ".join(call("--help").output.split())
    assert "[env var: DREHSCHEIBE_CONFIG; default: (/etc/drehscheibe/hub.toml)]" in told


def test_the_demo_plays_the_example_only(machine: Path) -> None:
    result = call("demo")
    assert result.exit_code == 78
    assert "name the example: drehscheibe --config etc/hub.toml demo" in result.stderr


PREPARE = {"unreadable": "chmod 000 .", "deleted": 'rmdir "$PWD"', "root": "cd /"}
ORDINARY = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
"""Before a command: root without the right to look everywhere."""


@pytest.mark.slow
@pytest.mark.parametrize("where", PREPARE)
@pytest.mark.parametrize("named", ["", "etc/hub.toml"], ids=["unnamed", "relative"])
def test_from_any_working_directory(tmp_path: Path, where: str, named: str) -> None:
    if not named and context.CONFIGURATION.exists():
        pytest.skip(f"this machine has {context.CONFIGURATION}")
    place = tmp_path / "cwd"
    place.mkdir()
    options = ["--config", named] if named else []
    script = f'cd "$1" && {PREPARE[where]}; shift; exec "$@"'
    environment = {"PYTHONPATH": str(ROOT), "DREHSCHEIBE_LANG": "en", "PATH": os.environ["PATH"]}
    told = subprocess.run([*ORDINARY, "sh", "-c", script, "sh", str(place), sys.executable, "-P", "-m", "hub",
                           *options, "queue"], cwd="/", env=environment, check=False, capture_output=True,
                          text=True, timeout=60)
    if place.exists():
        place.chmod(0o700)
    assert told.returncode == 78, told.stderr
    assert len(told.stderr.splitlines()) == 1, told.stderr
    if (where, bool(named)) == ("deleted", True):
        assert "is relative to a folder that was deleted: name it by its whole path" in told.stderr
    elif (where, bool(named)) == ("unreadable", True):
        assert "Permission denied: run this as the hub's user, or mend the rights" in told.stderr
    else:
        assert "there is no configuration: create it" in told.stderr


# -------------------------------------------------------------------- each store is closed


@pytest.fixture
def stores(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each opening and closing of a store, in order."""
    seen: list[str] = []
    opening, closing = Store.open.__func__, Store.close  # type: ignore[attr-defined]

    def opened(cls: type[Store], *arguments: Any, **more: Any) -> Store:
        store: Store = opening(cls, *arguments, **more)
        seen.append("opened")
        return store

    def closed(self: Store, *arguments: Any, **more: Any) -> None:
        closing(self, *arguments, **more)
        seen.append("closed")

    monkeypatch.setattr(Store, "open", classmethod(opened))
    monkeypatch.setattr(Store, "close", closed)
    return seen


@pytest.mark.parametrize(("command", "code"), [
    (["queue"], 0), (["messages"], 0), (["messages", "--all"], 0), (["messages", "--limit", "1"], 0),
    (["replay", "0", "00", "nothing"], 1), (["show", "0"], 0), (["why", "0"], 0), (["show", "nothing"], 1),
    (["replay", "0"], 1), (["resend", "0"], 1), (["discard", "0", "--reason", "r"], 1),
    (["confirm", "0", "--reason", "r"], 1), (["store", "check"], 0), (["store", "check", "--deep"], 0),
    (["store", "repair"], 0), (["store", "repair", "--yes"], 0), (["retention", "run"], 0),
    (["retention", "run", "--dry-run"], 0), (["bill", "--year", "2026"], 0), (["backup", "TARGET"], 0),
    (["backup", "STATE"], 1),
], ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_each_store_that_a_command_opens_is_closed(tmp_path: Path, stores: list[str], command: list[str],
                                                   code: int) -> None:
    filled(tmp_path / "state", 1)
    del stores[:]
    places = {"TARGET": str(tmp_path / "copy"), "STATE": str(tmp_path / "state")}
    run(tmp_path / "state", *(places.get(word, word) for word in command), code=code)
    assert stores == ["opened", "closed"]


def test_a_store_that_stays_open_is_noticed(tmp_path: Path, stores: list[str],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "state", 1)
    del stores[:]
    monkeypatch.setattr(context, "closing", _Kept)
    run(tmp_path / "state", "queue")
    assert stores == ["opened"]


class _Kept:
    """What `closing` would be if it closed nothing."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __enter__(self) -> Store:
        return self.store

    def __exit__(self, *_: object) -> None:
        """Nothing is closed."""


# -------------------------------------------------------------------- beside a hub as without one

RAISED: list[HubError | OSError] = [
    HubError("something is wrong"), ConfigError(["a.toml: x: is wrong: mend it", "b.toml: y: too: mend it"]),
    StoreUnavailable("the database does not answer"), StoreDamaged("the database is damaged"),
    Busy("another hub runs on this store"), NotAllowed("the sender may not"), Conflict("0199"),
    Rejected(Reason.INVALID, say("Der Name fehlt.")), Temporary("503"), Permanent("550"), TooLarge("552"),
    Misconfigured("530"), InDoubt("?"),
    PermissionError(errno.EACCES, "Permission denied", "/srv/backup"),
    OSError(errno.ENOSPC, "No space left on device", "/srv/backup"),
    ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
]


def test_every_class_of_the_tree_is_tried() -> None:
    tree = {kind for kind in vars(hub.errors).values() if isinstance(kind, type)
            and issubclass(kind, HubError)} - {hub.errors.DeliveryError}
    assert tree <= {type(error) for error in RAISED}


def endings(tmp_path: Path, command: list[str]) -> tuple[tuple[int, str], tuple[int, str]]:
    """How a command ends, exit code and standard error: without a hub, then beside one."""
    words = [str(tmp_path / "copy") if word == "TARGET" else word for word in command]

    def end() -> tuple[int, str]:
        result = CliRunner().invoke(app.main, ["--config", str(ROOT / "etc/hub.toml"), "--set",
                                               f"hub.state={tmp_path / 'state'}", *words],
                                    env={"DREHSCHEIBE_LANG": "en"})
        assert "Traceback" not in result.output
        return result.exit_code, result.stderr

    without = end()
    with closing(Store.open(tmp_path / "state")) as store:
        server = ControlServer(tmp_path / "state/control.sock", alone(store))
        try:
            return without, end()
        finally:
            server.close()


def test_every_error_ends_a_command_as_without_a_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "state", 1)
    for error in RAISED:
        for verb, command in (("queue", ["queue"]), ("check_store", ["store", "check"]),
                              ("backup", ["backup", "TARGET"]), ("replay", ["replay", "0"])):
            monkeypatch.setattr(Operator, verb, raising(error, verb))
            without, beside = endings(tmp_path, command)
            assert beside == without, (verb, error)
            told = (error.strerror or "") if isinstance(error, OSError) else str(error).splitlines()[0]
            if not (isinstance(error, StoreDamaged) and verb == "check_store"):  # told as a finding
                assert told in beside[1], (verb, error)


def raising(error: BaseException, verb: str) -> Callable[..., Any]:
    """A verb that ends like this; a long one takes its progress, so that it counts as long."""
    def fail(self: Operator, progress: Any = None, **_: Any) -> Any:
        raise error

    return fail


@pytest.mark.parametrize(("error", "code"), [(StoreUnavailable("away"), 75), (Busy("in the way"), 75),
                                             (ConfigError("a: b: c: d"), 78), (HubError("no"), 1)],
                         ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "")
def test_a_class_that_gets_lost_on_the_way_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                      error: HubError, code: int) -> None:
    """The planted fault: the socket carries the text alone, as it once did."""
    filled(tmp_path / "state", 1)
    monkeypatch.setattr(Operator, "queue", raising(error, "queue"))
    monkeypatch.setattr(wire, "described", str)
    without, beside = endings(tmp_path, ["queue"])
    assert without[0] == code
    assert beside[0] == 1


def test_a_hub_that_does_something_long_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "state", 1)
    go = threading.Event()

    def check_store(self: Operator, progress: Any, deep: bool = False) -> dict[str, Any]:
        go.wait(30)
        return {}

    monkeypatch.setattr(Operator, "check_store", check_store)
    with closing(Store.open(tmp_path / "state")) as store:
        operator = alone(store)
        operator.begin("check_store")
        server = ControlServer(tmp_path / "state/control.sock", operator)
        try:
            told = run(tmp_path / "state", "backup", str(tmp_path / "copy"), code=75).stderr
        finally:
            go.set()
            server.close()
    assert "Es läuft schon etwas Langes: check_store." in told
    assert not (tmp_path / "copy").exists()


def test_a_hub_that_is_away_is_told_from_one_that_dies(tmp_path: Path,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """The store must not be opened a second time while a hub may still have it."""
    filled(tmp_path / "state", 1)
    monkeypatch.setattr(Operator, "queue", raising(ConnectionResetError(104, "Connection reset"), "queue"))
    _, beside = endings(tmp_path, ["queue"])
    assert beside == (75, "(system): Connection reset\n")

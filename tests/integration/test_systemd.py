"""The unit in a real systemd: installed by the manual, started, hung, killed, reloaded, stopped, and fenced
in."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.services import wait_until
from tests.services.machine import FIRST, HOME, NEXT, PLACE, ROOT, Machine, machine, manual  # noqa: F401
from tests.services.tls import Authority

UNIT = ROOT / "systemd" / "drehscheibe.service"
ETC = "/etc/drehscheibe"
ADDITIONS = "/etc/systemd/system/drehscheibe.service.d"
DROP = "/srv/drehscheibe/musterstadt"

HUB = f"""
[hub]
mappings = "{HOME}/current/mappings"
own_mappings = "mappings"
[workers]
count = 1
[deliver]
rest = "1s"
[[sender]]
name = "amt24"
[inlets.portal]
connector = "https"
host = "127.0.0.1"
port = 8443
certificate = "tls/server.pem"
key = "credential:server.key"
client_ca = ["tls/ca.pem"]
senders = [{{ name = "amt24", subject = "CN=amt24.example" }}]
"""
DEFAULTS = """
[policy.retry]
first = "1s"
longest = "1s"
"""
MUNICIPALITY = f"""
name = "Stadt Musterstadt"
ags = "14999010"
tenant = "musterstadt"
[destinations.ablage]
connector = "directory"
path = "{DROP}"
layout = "folder"
name = "{{message}}_{{id}}"
[[route]]
service = "hundesteuer"
recipients = [{{ destination = "ablage", send = ["pdf", "xml"] }}]
"""

HANG = """
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from hub import daemon
from hub.cli import app
from hub.store import store

# with three times the 60 s of a worker: alive means seen three seconds ago
daemon.STALLED = timedelta(seconds=-177)
claim = store.Store.claim_messages

def hang_for_ever(self, *arguments, **options):
    if Path("/run/drehscheibe/hang").exists():
        Path("/run/drehscheibe/hang").unlink()
        threading.Event().wait()
    return claim(self, *arguments, **options)

store.Store.claim_messages = hang_for_ever
app.main()
"""


class Service:
    """The hub on the machine, as its operator sees it."""

    def __init__(self, on: Machine) -> None:
        self.on = on
        self.changed = True

    def configure(self, name: str, text: str) -> None:
        """One file of the configuration, effective at the next start or reload."""
        self.changed = True
        self.on.write(f"{ETC}/{name}", text, mode="0640", group="drehscheibe")

    def add(self, **settings: str) -> None:
        """An addition to the unit, effective at the next start."""
        self.changed = True
        lines = "".join(f"{key}={value}\n" for key, value in settings.items())
        self.on.write(f"{ADDITIONS}/test.conf", f"[Service]\n{lines}")
        self.on.run("systemctl", "daemon-reload")

    def restart(self) -> None:
        self.on.run("systemctl", "restart", "drehscheibe")

    def state(self, name: str) -> str:
        return self.on.properties("drehscheibe")[name]

    @property
    def pid(self) -> str:
        return self.state("MainPID")

    def send(self, example: str = "v2-smallest") -> str:
        """Hand in an application; its id."""
        document = next((ROOT / "mappings/hundesteuer/examples" / example).glob("message.*")).relative_to(
            ROOT)
        answer = json.loads(self.on.run(
            "drehscheibe", "send", f"{PLACE}/{document}", "--ags", "14999010", "--service", "hundesteuer",
            "--json",
            "--url", "https://localhost:8443", "--cert", "/etc/amt24/client.pem", "--key",
            "/etc/amt24/client.key",
            "--ca", f"{ETC}/tls/ca.pem", "--idempotency-key", uuid.uuid4().hex))
        assert answer["status"] == 202, answer
        return str(answer["id"])

    def show(self, message: str) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.on.run("drehscheibe", "show", message, "--json"))
        return shown

    def completed(self, message: str) -> None:
        wait_until(lambda: self.up() and self.show(message)["state"] == "completed",
                   f"{message} to be delivered", 60)

    def workers(self) -> list[str]:
        """The process ids of the workers."""
        return self.on.run("sh", "-c", f"cat /proc/{self.pid}/task/*/children").split()

    def up(self) -> bool:
        return self.state("ActiveState") == "active"

    def started_anew(self, before: str) -> None:
        wait_until(lambda: self.up() and self.pid not in ("0", before), "systemd to start the hub again", 60)

    def delivered(self) -> list[str]:
        """What lies in the drop folder, hidden files too."""
        return self.on.run("find", DROP, "-type", "f", "-printf", "%P\\n").split()

    def now(self) -> int:
        """A point of the journal. No cursor: journalctl skips one entry more when a filter hides the cursor's
        own."""
        return int(self.on.journal("--lines=1")[-1]["__REALTIME_TIMESTAMP"])

    def said(self, since: int, *matches: str) -> list[dict[str, Any]]:
        """What was written about the unit since then."""
        return [entry for entry in self.on.journal("--unit=drehscheibe", *matches)
                if int(entry["__REALTIME_TIMESTAMP"]) > since]


@pytest.fixture(scope="module")
def installed(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> Service:  # noqa: F811
    """The manual's commands, on a machine that has the packages and the virtual environment."""
    machine.unpack(ROOT, PLACE)
    machine.shell(manual("Release"))
    machine.shell(manual("User, folders, unit"))
    authority = Authority(tmp_path_factory.mktemp("tls"), "tls")
    server, client = authority.server(), authority.client("amt24.example")
    machine.write(f"{ETC}/tls/ca.pem", authority.file.read_bytes())
    machine.write(f"{ETC}/tls/server.pem", server.certificate.read_bytes())
    machine.write(f"{ETC}/secrets/server.key", server.key.read_bytes(), mode="0600")
    machine.write("/etc/amt24/client.pem", client.certificate.read_bytes())
    machine.write("/etc/amt24/client.key", client.key.read_bytes(), mode="0600")
    machine.run("install", "-d", "-o", "drehscheibe", "-g", "drehscheibe", "-m", "0750", DROP)
    machine.write(f"{ADDITIONS}/site.conf", "[Service]\nReadWritePaths=/srv/drehscheibe\n"
                                            f"LoadCredential=server.key:{ETC}/secrets/server.key\n")
    return Service(machine)


@pytest.fixture
def service(installed: Service) -> Iterator[Service]:
    """A running hub with a sound configuration; the journal is shown when a test fails."""
    on = installed.on
    if installed.changed or not installed.up():
        on.run("systemctl", "stop", "drehscheibe")
        for name, text in (("hub.toml", HUB), ("defaults.toml", DEFAULTS),
                           ("municipalities/14999010.toml", MUNICIPALITY)):
            installed.configure(name, text)
        on.run("rm", "-f", f"{ADDITIONS}/test.conf")
        on.run("chmod", "0750", DROP)
        on.run("systemctl", "daemon-reload")
        on.shell(manual("Start"))
        installed.changed = False
    yield installed
    print(on.run("journalctl", "--no-pager", "--lines=60"))


# --- installed and started ----------------------------------------------------------------------------------


def test_the_manual_makes_user_folders_and_a_unit_without_faults(service: Service) -> None:
    on = service.on
    on.shell(manual("Check"))
    assert on.run("stat", "-c", "%U:%G %a", ETC, f"{ETC}/secrets", "/var/lib/drehscheibe").splitlines() == [
        "root:drehscheibe 750", "root:root 700", "drehscheibe:drehscheibe 750"]
    assert on.run("getent", "passwd",
                  "drehscheibe").strip().endswith(":/var/lib/drehscheibe:/usr/sbin/nologin")
    assert on.run("systemd-analyze", "verify", "drehscheibe.service") == ""
    assert service.state("UnitFileState") == "enabled"


def test_started_means_that_the_door_is_open(service: Service) -> None:
    for _ in range(3):
        service.restart()
        assert service.state("SubState") == "running"
        service.on.run("python3", "-c",
                       "import socket; socket.create_connection(('127.0.0.1', 8443)).close()")
    assert "takes applications" in service.state("StatusText")


def test_a_message_arrives_and_the_journal_has_its_fields(service: Service) -> None:
    message = service.send()
    service.completed(message)
    entries = service.on.journal(f"MESSAGE_ID_HUB={message}")
    events = {entry["MESSAGE"].partition(" message=")[0]: entry for entry in entries}
    assert {"message accepted; it is on disk", "the message is routed", "delivered"} <= set(events)
    told = events["delivered"]
    assert (told["AGS"], told["SERVICE"], told["DESTINATION"], told["ATTEMPT"], told["PRIORITY"],
            told["LOGGER"]) == (
"14999010", "hundesteuer", "musterstadt/ablage", "1", "6", "hub.delivery.deliverer")
    assert told["_SYSTEMD_UNIT"] == "drehscheibe.service"
    assert told["SYSLOG_IDENTIFIER"] == "drehscheibe"
    assert f"message={message}" in told["MESSAGE"]
    assert events["the message is routed"]["AGS"] == "14999010"
    assert service.on.journal("AGS=14999010", "DESTINATION=musterstadt/ablage")
    # printed under all fences: no executable memory, no writable home
    pdf = [name for name in service.delivered() if message in name and name.endswith(".pdf")]
    assert service.on.run("head", "-c", "5", f"{DROP}/{pdf[0]}") == "%PDF-"


# --- fenced in ----------------------------------------------------------------------------------------------


def test_workers_have_no_network(service: Service) -> None:
    (started,) = service.on.journal("--lines=1", f"_PID={service.pid}", "LOGGER=hub.daemon")
    assert started["WORKERS_WITHOUT_NETWORK"] == "True"
    workers = service.workers()
    assert len(workers) == 1
    nets = {service.on.run("readlink", f"/proc/{pid}/ns/net") for pid in (*workers, service.pid)}
    assert len(nets) == 2


def test_a_unit_that_forbids_the_namespaces_is_distinguished(service: Service) -> None:
    service.add(RestrictNamespaces="yes")
    service.restart()
    (started,) = service.on.journal("--lines=1", f"_PID={service.pid}", "LOGGER=hub.daemon")
    assert started["WORKERS_WITHOUT_NETWORK"] == "False"


@pytest.mark.parametrize(("place", "allowed"), [
    ("/var/lib/drehscheibe/probe", True), (f"{DROP}/probe", True), (f"{ETC}/probe", False),
    (f"{PLACE}/probe", False),
    ("/srv/probe", False), ("/usr/local/bin/probe", False)])
def test_the_hub_writes_only_where_it_may(service: Service, place: str, allowed: bool) -> None:
    """Even root is stopped in the service's view of the files: the fence does not hang on modes."""
    result = service.on.tried("nsenter", "--mount", "--target", service.pid, "sh", "-c",
                              f"touch {place} && rm {place}")
    assert (result.returncode == 0) is allowed, result.stderr
    assert allowed or b"Read-only file system" in result.stderr


def test_secrets_are_handed_over_and_not_readable_otherwise(service: Service) -> None:
    assert service.on.tried("runuser", "-u", "drehscheibe", "--", "cat",
                            f"{ETC}/secrets/server.key").returncode != 0
    handed = "/run/credentials/drehscheibe.service/server.key"
    assert service.on.tried("runuser", "-u", "nobody", "--", "cat", handed).returncode != 0
    service.on.run("runuser", "-u", "drehscheibe", "--", "drehscheibe", "check", "--connect")
    environment = service.on.run("cat", f"/proc/{service.pid}/environ")
    assert "PRIVATE KEY" not in environment


def test_a_missing_secret_is_named(service: Service) -> None:
    service.configure("hub.toml", HUB.replace("credential:server.key", "credential:another.key"))
    problem = service.on.tried("sh", "-euc", manual("Check"))
    assert b"another.key" in problem.stdout + problem.stderr
    assert problem.returncode == 1


# --- killed and hung ----------------------------------------------------------------------------------------


def held_back(service: Service) -> str:
    """An application that is accepted and cannot be delivered yet."""
    service.on.run("chmod", "0550", DROP)
    message = service.send()
    wait_until(lambda: service.show(message)["state"] == "routed", "the message to be routed")
    return message


def test_killed_it_comes_back_and_delivers_what_it_had_accepted(service: Service) -> None:
    message, before, restarts = held_back(service), service.pid, int(service.state("NRestarts"))
    service.on.shell(f"kill -KILL {before}; chmod 0750 {DROP}")
    service.started_anew(before)
    service.completed(message)
    assert len([name for name in service.delivered() if message in name and name.endswith(".xml")]) == 1
    assert service.state("NRestarts") == str(restarts + 1)


def test_a_killed_worker_is_replaced_without_a_restart(service: Service) -> None:
    before = service.pid
    service.on.shell("kill -KILL " + " ".join(service.workers()))
    service.completed(service.send())
    assert service.pid == before


def test_stopped_in_its_tracks_it_is_aborted_by_the_watchdog_and_loses_nothing(service: Service) -> None:
    service.add(WatchdogSec="2s")
    service.restart()
    message, before, since = held_back(service), service.pid, service.now()
    service.on.shell(f"kill -STOP {before}; chmod 0750 {DROP}")
    service.started_anew(before)
    service.completed(message)
    said = [str(entry["MESSAGE"]) for entry in service.said(since)]
    assert any("Watchdog timeout" in line for line in said)
    assert any("Fatal Python error: Aborted" in line for line in said)


def test_a_dispatcher_that_hangs_starves_the_watchdog(service: Service) -> None:
    """The main thread lives and could feed it: it is the lack of progress that counts."""
    service.on.write(f"{PLACE}/hang.py", HANG)
    service.add(WatchdogSec="2s", ExecStart=f"\nExecStart={PLACE}/.venv/bin/python -P {PLACE}/hang.py run")
    service.restart()
    before, since = service.pid, service.now()
    service.on.run("touch", "/run/drehscheibe/hang")
    message = service.send()
    service.started_anew(before)
    service.completed(message)
    said = [str(entry["MESSAGE"]) for entry in service.said(since)]
    assert any(line.startswith("a part of the hub makes no progress; the watchdog is not fed")
               for line in said)
    assert any("Watchdog timeout" in line for line in said)
    assert any("in hang_for_ever" in line for line in said), "the journal says where it hung"


# --- reloaded -----------------------------------------------------------------------------------------------


def test_reload_takes_up_a_new_configuration(service: Service) -> None:
    before = service.pid
    service.on.run("install", "-d", "-o", "drehscheibe", "-m", "0750", f"{DROP}/neu")
    service.configure("municipalities/14999010.toml", MUNICIPALITY.replace(f'"{DROP}"', f'"{DROP}/neu"'))
    service.on.shell(manual("Change the configuration"))
    message = service.send()
    service.completed(message)
    assert any(name.startswith("neu/") and message in name for name in service.delivered())
    assert service.pid == before


def test_a_faulty_new_configuration_fails_the_reload_and_keeps_the_old_one(service: Service) -> None:
    before, since = service.pid, service.now()
    service.configure("municipalities/14999010.toml", MUNICIPALITY.replace('"directory"', '"direktory"'))
    assert service.on.tried("systemctl", "reload", "drehscheibe").returncode != 0
    assert (service.state("ActiveState"), service.pid) == ("active", before)
    assert "faults of the new one: 1" in service.state("StatusText")
    errors = [entry for entry in service.said(since, "-p", "err") if "direktory" in entry["MESSAGE"]]
    assert any("14999010.toml" in entry.get("PROBLEM", "") for entry in errors)
    service.completed(service.send())
    service.configure("municipalities/14999010.toml", MUNICIPALITY)
    service.on.run("systemctl", "reload", "drehscheibe")
    assert service.state("StatusText") == "takes applications"


def test_a_hangup_reloads_too(service: Service) -> None:
    before, since = service.pid, service.now()
    service.on.run("systemctl", "kill", "--signal=HUP", "--kill-who=main", "drehscheibe")
    wait_until(lambda: any(entry["MESSAGE"].startswith("the configuration was read again")
                           for entry in service.said(since)), "the configuration to be read again")
    wait_until(lambda: service.state("SubState") == "running", "the reload to be over")
    assert service.pid == before


def test_a_hangup_with_a_broken_certificate_does_not_end_the_hub(service: Service) -> None:
    before, since = service.pid, service.now()
    good = service.on.run("cat", f"{ETC}/tls/server.pem")
    service.on.write(f"{ETC}/tls/server.pem", "no certificate\n")
    service.on.run("systemctl", "kill", "--signal=HUP", "--kill-who=main", "drehscheibe")
    wait_until(lambda: any("PROBLEM" in entry for entry in service.said(since)), "the fault to be reported")
    service.on.write(f"{ETC}/tls/server.pem", good)
    service.completed(service.send())
    assert service.pid == before


# --- not started, stopped -----------------------------------------------------------------------------------


def test_a_faulty_configuration_is_not_started_again_and_again(service: Service) -> None:
    service.on.run("systemctl", "stop", "drehscheibe")
    since = service.now()
    service.configure("municipalities/14999010.toml", MUNICIPALITY.replace('"directory"', '"direktory"'))
    assert service.on.tried("systemctl", "start", "drehscheibe").returncode != 0
    wait_until(lambda: service.state("ActiveState") == "failed", "the failure to stand")
    assert (service.state("ExecMainStatus"), service.state("NRestarts")) == ("78", "0")
    assert any("direktory" in entry["MESSAGE"] for entry in service.said(since, "-p", "err"))


def test_stopped_it_ends_cleanly(service: Service) -> None:
    since = service.now()
    service.on.run("systemctl", "stop", "drehscheibe")
    state = service.on.properties("drehscheibe")
    assert [state[name] for name in ("ActiveState", "Result", "ExecMainCode", "ExecMainStatus")] == [
        "inactive", "success", "1", "0"]
    said = [entry["MESSAGE"] for entry in service.said(since)]
    assert "the hub has stopped" in said
    assert service.on.run("find", "/proc", "-maxdepth", "1", "-user",
                          "drehscheibe") == "", "a process is left over"


def test_a_stop_that_takes_longer_than_the_watchdog_is_not_cut_short(service: Service) -> None:
    """`shutdown` may be longer than `WatchdogSec`: bringing to an end what is under way is no hang."""
    slow = HANG.replace("cli.main()", "stop = dispatcher.Dispatcher.stop\n\ndef slowly(self, patience):\n    "
                                      "time.sleep(5)\n"
                                      "    return stop(self, patience)\n\ndispatcher.Dispatcher.stop = "
                                      "slowly\ncli.main()")
    service.on.write(f"{PLACE}/hang.py", slow)
    service.add(WatchdogSec="2s", ExecStart=f"\nExecStart={PLACE}/.venv/bin/python -P {PLACE}/hang.py run")
    service.restart()
    service.on.run("systemctl", "stop", "drehscheibe")
    assert (service.state("Result"), service.state("ExecMainStatus")) == ("success", "0")


# --- upgraded and rolled back -------------------------------------------------------------------------------


def release(service: Service, version: str) -> None:
    """Unpack a release beside those that are there. It says its version."""
    service.on.unpack(ROOT, f"{HOME}/{version}")
    service.on.run("sed", "-i", f's/^__version__ = .*/__version__ = "{version}"/',
                   f"{HOME}/{version}/hub/__init__.py")


def runs(service: Service) -> str:
    """The version of the hub that runs, by its own word."""
    page = service.on.run("python3", "-c", "import urllib.request as r; "
                          "print(r.urlopen('http://127.0.0.1:9464/metrics').read().decode())")
    found = re.search(r'^drehscheibe_info\{.*version="([^"]+)"', page, re.MULTILINE)
    assert found, page[:2000]
    return found[1]


def test_an_upgrade_that_fails_leaves_the_service_as_it_is(service: Service) -> None:
    """The machine has no network, so the libraries of another lock cannot come."""
    before, since = service.pid, service.now()
    release(service, "0.1.9")
    service.on.shell(f"echo '# another lock' >> {HOME}/0.1.9/requirements.txt")
    failed = service.on.tried("sh", "-euc", manual("Upgrade").replace(NEXT, "0.1.9"))
    assert failed.returncode != 0
    assert b"The virtual environment was not made" in failed.stderr
    assert service.on.run("readlink", f"{HOME}/current").strip() == FIRST
    assert (service.pid, runs(service)) == (before, FIRST)
    service.completed(service.send())
    assert not service.said(since, "-p", "err")


def test_an_upgrade_and_the_way_back(service: Service) -> None:
    """The configuration and a service of the operator's own stay; what waits is delivered by either."""
    on, own = service.on, f"{ETC}/mappings/hundesteuer"
    on.shell(f"cp -r {HOME}/current/mappings/hundesteuer {ETC}/mappings/; chgrp -R drehscheibe {own}")
    kept = on.run("sh", "-c", f"find {ETC} -type f | sort | xargs sha256sum")
    waiting = held_back(service)
    release(service, NEXT)
    # as an index would bring it: the same lock asks for the same libraries
    on.shell(f"cp -a {HOME}/{FIRST}/.venv-* {HOME}/{NEXT}/")
    on.shell(manual("Upgrade"))
    assert runs(service) == NEXT
    assert on.run("drehscheibe", "--version").split()[-1] == NEXT
    on.run("chmod", "0750", DROP)
    assert "is tried now: its rest was ended" in on.run("drehscheibe", "replay", waiting)
    service.completed(waiting)
    service.completed(service.send())
    on.shell(manual("Roll back"))
    assert runs(service) == FIRST
    service.completed(service.send())
    assert on.run("sh", "-c", f"find {ETC} -type f | sort | xargs sha256sum") == kept
    assert "mapping hundesteuer: steht in own_mappings" in on.shell(manual("Check"))

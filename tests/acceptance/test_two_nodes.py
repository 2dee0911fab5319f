"""The real command twice on one real PostgreSQL: one dies, and the database goes away and comes back.

`tests/torture/scenarios/nodes.py` kills nodes many times, under load and with a broker.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.hub_process import HubProcess, document_of
from tests.acceptance.test_survives import FOLDER_ONLY, municipality_file
from tests.services import wait_until
from tests.services.postgresql import PostgreSQL, postgresql

__all__ = ["postgresql"]


@pytest.fixture()
def hubs(tmp_path: Path, postgresql: PostgreSQL) -> Iterator[tuple[HubProcess, HubProcess]]:
    """Two hubs with the example's configuration. They share the receivers' folders and nothing else."""
    database = postgresql.add_database()
    store = [f"store.url={postgresql.url(database)}", f"store.password=file:{postgresql.password}",
             "store.tls=disable",
             "store.takeover=6s"]
    pair = HubProcess(tmp_path / "a", [*store, "store.node=a"]), HubProcess(tmp_path / "b",
                                                                            [*store, "store.node=b"])
    shutil.rmtree(pair[1].drop)
    pair[1].drop.symlink_to(pair[0].drop)
    for hub in pair:
        municipality_file(hub).write_text(FOLDER_ONLY)
    try:
        for hub in pair:
            hub.start()
        yield pair
    finally:
        for hub in pair:
            hub.close()
        postgresql.drop_database(database)


def nodes(hub: HubProcess) -> dict[str, Any]:
    """What the status says about the nodes."""
    return {node["name"]: node["ended"] for node in json.loads(hub.http("/status"))["nodes"]}


def status_of(hub: HubProcess, path: str) -> int:
    """The HTTP status of a page of the status port."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{hub.status}{path}",
                                    timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def ending(hub: HubProcess, *arguments: str) -> tuple[int, list[str]]:
    """How a command ends: its exit code, and the lines of its standard error."""
    result = subprocess.run(hub.command(*arguments), cwd=hub.folder, capture_output=True, text=True,
                            timeout=120, check=False)
    return result.returncode, result.stderr.splitlines()


def test_one_dies_and_the_other_goes_on(hubs: tuple[HubProcess, HubProcess]) -> None:
    a, b = hubs
    assert nodes(a) == {"a": None, "b": None}
    first = a.send(document_of("v2-smallest"), idempotency_key="first")
    # known on every node
    assert b.send(document_of("v2-smallest"), idempotency_key="first")["id"] == first["id"]
    assert b.settled([first["id"]])[0]["state"] == "completed"
    a.kill()
    second = b.send(document_of("v2-smallest"), idempotency_key="second")
    wait_until(lambda: nodes(b)["a"] == "taken over", "b takes over from a", 60)
    assert b.settled([second["id"]])[0]["state"] == "completed"
    assert b.metric("drehscheibe_nodes") == {"": 1.0}
    a.start()
    assert a.stop() == 0
    assert nodes(b)["a"] in ("stopped", "taken over")
    assert b.stop() == 0
    assert len([place for place in a.drop.glob("musterstadt/*") if not place.name.startswith(".")]) == 2


def test_the_database_goes_and_comes_back(hubs: tuple[HubProcess, HubProcess],
                                          postgresql: PostgreSQL) -> None:
    a, b = hubs
    a.stop()
    pid = b.process.pid if b.process else 0
    postgresql.stop(signal.SIGINT)
    try:
        assert b.send(document_of("v2-smallest"), idempotency_key="away")["status"] == 503
        wait_until(lambda: status_of(b, "/readyz") == 503, "the load balancer is told", 30)
        assert status_of(b, "/status") == 503
        beside, without = ending(b, "queue"), ending(a, "queue")
        assert (beside[0], without[0]) == (75, 75), (beside, without)
        assert (len(beside[1]), len(without[1])) == (1, 1), (beside, without)
        assert b.metric("drehscheibe_store_ready") == {"": 0.0}
        assert status_of(b, "/healthz") == 200
    finally:
        postgresql.start()
    wait_until(lambda: status_of(b, "/readyz") == 200, "the hub takes messages by itself", 30)
    answer = b.send(document_of("v2-smallest"), idempotency_key="away")
    assert b.settled([answer["id"]])[0]["state"] == "completed"
    assert b.process is not None
    assert b.process.pid == pid
    findings = [finding for finding in b.cli("check", code=1) if finding["where"] == "store.url"]
    # fsync is off in the test's server
    assert [finding["severity"] for finding in findings] == ["ok", "error"]

"""The pool against engines that do the worst: each costs one message, while others go on."""

from __future__ import annotations

import base64
import hashlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from hub.job import Job, JobPart, Limits, Recipient, Rule, Translated
from hub.workers import process
from hub.workers.pool import BatchResult, WorkerPool, pack
from hub.workers.process import Why, WorkerSettings, WorkerUnavailable
from tests.services import wait_until

RUNNER = "tests.integration.worker_runner:process"
SETTINGS = WorkerSettings(data_bytes=128 << 20, resident_bytes=400 << 20, cpu_seconds=1, wall_seconds=4,
                          out_bytes=8 << 20)
CONTENT = b"Hund von Erika Mustermann"


def job(service: str = "well", number: int = 0, content: bytes = CONTENT, **changes: object) -> Job:
    recipient = Recipient(name="amt", destination="postfach", connector="smtp", send=("attachments",))
    rule = Rule(id="musterstadt/x/v1", tenant="musterstadt", service=service, mapping_version="v1",
                mapping_digest="d" * 64, package="/nowhere", recipients=(recipient,))
    part = JobPart(name="application", filename=None, media_type="application/xml",
                   sha256=hashlib.sha256(content).hexdigest(), body=changes.pop("body", None)
                   or pack_one(content))
    values = {"message_id": f"message-{number}", "tenant": "musterstadt", "ags": "14999010",
              "service": service,
              "test": False, "received_at": datetime(2026, 11, 22, 10, tzinfo=UTC),
              "accepted_day": date(2026, 11, 22),
              "case": None, "parts": (part,), "rules": (rule,), "limits": Limits()} | changes
    return Job(**values)


def pack_one(content: bytes):
    fd, (body,) = pack([content])
    os.close(fd)
    return body


def run(pool: WorkerPool, *jobs: Job, content: bytes = CONTENT) -> tuple[BatchResult, bytes]:
    """Run a batch whose jobs all share one body; the output's bytes with the result."""
    fd, _ = pack([content])
    with tempfile.TemporaryFile() as out:
        try:
            result = pool.run(jobs, [fd], out.fileno())
        finally:
            os.close(fd)
        return result, out.seek(0) or out.read()


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2, SETTINGS, RUNNER) as pool:
        yield pool


def well(pool: WorkerPool) -> None:
    """The pool works as ever."""
    result, out = run(pool, job(number=1), job(number=2))
    assert [outcome.message_id for outcome in result.outcomes] == ["message-1", "message-2"]
    assert result.complete
    assert out == CONTENT * 2


def test_a_batch_is_answered_in_order_with_slices_of_the_output(pool: WorkerPool) -> None:
    contents = [b"eins", b"", b"drei" * 1000]
    fd, bodies = pack(contents)
    jobs = [job("well", number, content, body=body)
            for number, (content, body) in enumerate(zip(contents, bodies, strict=True))]
    with tempfile.TemporaryFile() as out:
        out.write(b"already there")
        out.flush()
        result = pool.run(jobs, [fd], out.fileno())
        assert result.complete
        for content, outcome in zip(contents, result.outcomes, strict=True):
            assert isinstance(outcome, Translated)
            body = outcome.attachments[0].body
            assert os.pread(out.fileno(), body.length, body.offset) == content
        assert os.pread(out.fileno(), 13, 0) == b"already there"
    os.close(fd)


def test_bodies_come_by_several_descriptors_and_large_ones_by_a_map(pool: WorkerPool, tmp_path: Path) -> None:
    large = os.urandom(3 << 20)
    (tmp_path / "large").write_bytes(large)
    small_fd, bodies = pack([b"x", b"klein"])
    with (tmp_path / "large").open("rb") as file, tempfile.TemporaryFile() as out:
        body = bodies[0].model_copy(update={"fd": 1, "length": len(large)})
        result = pool.run([job(content=b"klein", body=bodies[1]), job(number=1, content=large, body=body)],
                          [small_fd, file.fileno()], out.fileno())
        assert result.complete
        assert os.pread(out.fileno(), 10 << 20, 0) == b"klein" + large
    os.close(small_fd)


def test_a_parked_message_leaves_nothing_in_the_output(pool: WorkerPool) -> None:
    result, out = run(pool, job("park", 0), job("well", 1), job("park", 2))
    assert [outcome.outcome for outcome in result.outcomes] == ["parked", "translated", "parked"]
    assert out == CONTENT


@pytest.mark.parametrize(("service", "why", "detail"), [
    ("sleep", Why.TIME, ""),
    ("resident", Why.MEMORY, "resident memory"),
    ("exit", Why.DIED, "exit 7"),
    ("segfault", Why.DIED, "SIGSEGV at __init__.py"),
    ("children", Why.DIED, "SIGSEGV"),
    ("bug", Why.FAILED, "KeyError (worker_runner.py:"),
    ("hog", Why.FAILED, "MemoryError"),
    ("flood", Why.FAILED, "OSError"),
    ("wrong-id", Why.PROTOCOL, "another message"),
    ("wrong-slice", Why.PROTOCOL, "outside of the output"),
    ("wrong-fd", Why.PROTOCOL, "outside of the output"),
    ("wrong-rule", Why.PROTOCOL, "none of the job's"),
    ("wrong-reason", Why.PROTOCOL, "unknown reason"),
    ("wrong-fact", Why.PROTOCOL, "only the sender's word"),
    ("forged-place", Why.DIED, "exit 7"),
    ("long-frame", Why.PROTOCOL, "too long"),
    ("half-frame", Why.TIME, ""),
    ("no-json", Why.PROTOCOL, "malformed"),
])
def test_a_fault_costs_one_message_and_names_it(pool: WorkerPool, service: str, why: Why,
                                                detail: str) -> None:
    result, _ = run(pool, job("well", 1), job(service, 2), job("well", 3))
    assert [outcome.message_id for outcome in result.outcomes] == ["message-1"]
    assert result.unfinished == ("message-2", "message-3")
    assert result.running == "message-2"
    assert result.why == why
    assert detail in result.detail
    assert "Mustermann" not in result.detail
    well(pool)


@pytest.mark.parametrize("service", ["hog", "flood"])
def test_memory_or_output_exhausted_alone_parks_the_message(pool: WorkerPool, service: str) -> None:
    fd, _ = pack([CONTENT])
    with tempfile.TemporaryFile() as out:
        result = pool.run_one(job(service), [fd], out.fileno())
        assert out.seek(0, 2) == 0
    os.close(fd)
    assert result.complete
    assert result.outcomes[0].reason == "runaway"  # type: ignore[union-attr]
    well(pool)


def test_an_endless_loop_ends_by_its_processor_time() -> None:
    """With a time-out far away, as the machine may be busy; the second job shows that the limit moves
    along."""
    with WorkerPool(1, SETTINGS.model_copy(update={"wall_seconds": 600}), RUNNER) as pool:
        for _ in range(2):
            result, _out = run(pool, job("well", 1), job("loop", 2), job("well", 3))
            assert (result.running, result.why) == ("message-2", Why.CPU)
            well(pool)


def test_a_hung_worker_does_not_block_the_others(pool: WorkerPool) -> None:
    hung: list[BatchResult] = []
    thread = threading.Thread(target=lambda: hung.append(run(pool, job("sleep"))[0]))
    thread.start()
    done = 0
    while thread.is_alive() and done < 20:
        well(pool)
        done += 1
    assert done == 20
    assert not hung
    thread.join()
    assert hung[0].why == Why.TIME


def test_processes_that_a_worker_started_die_with_it(pool: WorkerPool) -> None:
    result, out = run(pool, job("children"))
    children = [int(pid) for pid in out.split()]
    assert result.why == Why.DIED
    assert len(children) == 5
    wait_until(lambda: not any(_runs(pid) for pid in children), "the children's end")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_a_full_error_pipe_stops_nobody_and_is_not_kept(pool: WorkerPool) -> None:
    result, _ = run(pool, job("chatter"))
    assert result.complete
    assert result.detail == ""


def test_a_second_answer_is_never_taken_for_the_next_message() -> None:
    with WorkerPool(1, SETTINGS, RUNNER) as pool:
        assert run(pool, job("extra-frame"))[0].complete
        well(pool)
        assert pool.deaths[Why.DIED] == 1


def test_a_worker_killed_while_idle_costs_no_message() -> None:
    with WorkerPool(1, SETTINGS, RUNNER) as pool:
        pid = int(run(pool, job("state"))[0].outcomes[0].text)  # type: ignore[union-attr]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _runs(pid), "the worker's death")
        well(pool)


def test_descriptors_that_a_worker_sends_are_dropped() -> None:
    with WorkerPool(1, SETTINGS, RUNNER) as pool:
        before = _open_files()
        assert run(pool, job("send-descriptor"))[0].complete
        assert _open_files() == before


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_leaks_over_200_batches_with_deaths() -> None:
    bad = ["exit", "wrong-id", "segfault", "bug", "no-json"]
    with WorkerPool(2, SETTINGS, RUNNER) as pool:
        well(pool)
        well(pool)
        before = _open_files()
        for number in range(200):
            service = bad[number // 10 % len(bad)] if number % 10 == 0 else "well"
            assert run(pool, job(service))[0].complete == (service == "well")
        well(pool)
        well(pool)
        assert _open_files() == before
        started = pool.alive
    assert not pool.alive
    assert all(worker.ended for worker in started)


def test_a_worker_sees_nothing_it_does_not_need(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "geheim")
    with closing(socket.socket()) as server, WorkerPool(1, SETTINGS, RUNNER) as fresh:
        server.bind(("127.0.0.1", 0))
        server.listen()
        result, _ = run(fresh, job("confined", case=str(server.getsockname()[1])))
    said = result.outcomes[0].text.split("|")  # type: ignore[union-attr]
    environment, files, no_new_privileges, network, core, folder = said
    assert "SECRET" not in environment
    assert set(environment.split(",")) <= {"PATH", "LANG", "HOME", "MALLOC_ARENA_MAX", "GLIBC_TUNABLES",
                                           "LC_CTYPE"}
    assert int(files) <= 8  # three standard ones, the socket, input, output, the probe, the listing itself
    assert (no_new_privileges, core, folder) == ("1", "0", "/")
    if fresh.network_dropped:
        assert network != "reached"


def test_workers_are_replaced_after_so_many_messages() -> None:
    with WorkerPool(1, SETTINGS.model_copy(update={"recycle_jobs": 3}), RUNNER) as pool:
        pids = [run(pool, job("state"))[0].outcomes[0].text for _ in range(7)]  # type: ignore[union-attr]
        assert pool.recycled == 2
    assert [pids.count(pid) for pid in dict.fromkeys(pids)] == [3, 3, 1]


def test_workers_that_grew_are_replaced() -> None:
    with WorkerPool(1, SETTINGS.model_copy(update={"recycle_bytes": 1}), RUNNER) as pool:
        run(pool, job("state"))
        assert pool.recycled == 1
        well(pool)


def test_an_engine_that_cannot_be_loaded_is_said_at_the_start() -> None:
    files = _open_files()
    pool = WorkerPool(2, SETTINGS, "tests.integration.no_such_engine")
    with pytest.raises(WorkerUnavailable, match="ModuleNotFoundError"):
        pool.start()
    with pytest.raises(WorkerUnavailable, match="ModuleNotFoundError"):
        run(pool, job())
    pool.stop()
    assert _open_files() == files


def test_stopping_lets_a_batch_end_and_then_kills() -> None:
    pool = WorkerPool(1, SETTINGS.model_copy(update={"wall_seconds": 60, "cpu_seconds": 60}), RUNNER).start()
    results: list[BatchResult] = []
    thread = threading.Thread(target=lambda: results.append(run(pool, job("sleep"))[0]))
    thread.start()
    wait_until(lambda: pool.busy, "the batch to run")
    pool.stop(0.2)
    thread.join()
    assert results[0].why == Why.DIED
    with pytest.raises(WorkerUnavailable, match="stopping"):
        run(pool, job())
    assert not pool.alive


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    script = f"""
import os, sys, threading
sys.path.insert(0, {str(Path(process.__file__).parents[2])!r})
from tests.integration.test_workers import *
pool = WorkerPool(1, SETTINGS.model_copy(update={{"cpu_seconds": 600, "wall_seconds": 600}}), RUNNER).start()
print(run(pool, job("state"))[0].outcomes[0].text, flush=True)
threading.Thread(target=run, args=(pool, job("loop"))).start()
threading.Event().wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert _runs(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not _runs(pid), "the worker's end")


def test_a_worker_outlives_the_thread_that_needed_it(pool: WorkerPool) -> None:
    """The parent-death signal belongs to the thread that started the process."""
    with WorkerPool(1, SETTINGS, RUNNER) as fresh:
        thread = threading.Thread(target=lambda: run(fresh, job("exit")))
        thread.start()
        thread.join()
        pids = set()
        for _ in range(3):
            pids.add(run(fresh, job("state"))[0].outcomes[0].text)  # type: ignore[union-attr]
            time.sleep(0)
        assert len(pids) == 1


def test_several_threads_share_the_pool(pool: WorkerPool) -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(20):
                well(pool)
        except BaseException as error:  # shown below
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_message_with_30_mb_is_normalized_by_descriptor(tmp_path: Path) -> None:
    body = os.urandom(1 << 20) * 30
    document = (b"<serviceportal><serviceportal-fields><g><instance_0><f><base64Data>"
                + base64.b64encode(body)
                + b"</base64Data><mimetype>application/pdf</mimetype><filename>plan.pdf</filename></f>"
                 b"</instance_0></g>"
                b"</serviceportal-fields></serviceportal>")
    (tmp_path / "document").write_bytes(document)
    with (WorkerPool(1, WorkerSettings(), RUNNER) as pool, (tmp_path / "document").open("rb") as file,
          tempfile.TemporaryFile() as out):
        result = pool.run_one(job("normalize", content=document), [file.fileno()], out.fileno())
        assert result.complete, result
        outcome = result.outcomes[0]
        assert isinstance(outcome, Translated)
        assert outcome.attachments[0].sha256 == hashlib.sha256(body).hexdigest()
        assert os.pread(out.fileno(), len(body), outcome.attachments[0].body.offset) == body


def test_hostile_documents_cost_their_own_message_only(pool: WorkerPool) -> None:
    bomb = b'<!DOCTYPE a [<!ENTITY x "' + b"y" * 1000 + b'"><!ENTITY z "' + b"&x;" * 1000 + b'">]><a>&z;</a>'
    result, _ = run(pool, job("normalize", content=bomb), content=bomb)
    # this engine lets Rejected pass; hub.pipeline.process turns it into Parked
    assert result.why == Why.FAILED
    assert "NotNormal" in result.detail
    well(pool)


@pytest.mark.parametrize("service", ["wrong-id", "wrong-slice"])
def test_without_the_check_a_lie_would_be_believed(pool: WorkerPool, monkeypatch: pytest.MonkeyPatch,
                                                   service: str) -> None:
    """A planted fault: the parent believes everything. The tests above would notice."""
    monkeypatch.setattr(process, "check", lambda _job, _outcome, _size: "")
    assert run(pool, job(service))[0].complete


def test_packed_bodies_cannot_be_changed() -> None:
    fd, bodies = pack([b"eins", b"zwei"], index=3)
    assert [(body.fd, body.offset, body.length) for body in bodies] == [(3, 0, 4), (3, 4, 4)]
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)

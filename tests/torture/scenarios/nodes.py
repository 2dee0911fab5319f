"""Two hubs on one PostgreSQL and one RabbitMQ. One or the other dies, freezes or stops.

Also a database that is killed, stopped, refusing, cut or silent.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.services import free_port, need
from tests.services.postgresql import PASSWORD, PROGRAMS, PostgreSQL, need_postgresql
from tests.services.proxy import Proxy
from tests.services.rabbitmq import SERVER
from tests.torture import publisher
from tests.torture.records import records
from tests.torture.scenarios.broker import INLET, Broker
from tests.torture.stage import Hub, NotInTime, Stage, wait
from tests.torture.steps import Progress, Result

TAKEOVER = 6
"""Seconds until a takeover: the shortest time that a hub allows."""
CANARY_SECONDS = 30.0
STORE = """
[store]
url = "postgresql://hub@127.0.0.1:{port}/{database}"
password = "file:{password}"
tls = "disable"
takeover = "{takeover}s"
"""
TAKEN_OVER = "a node is not heard of any more"


def unavailable() -> str | None:
    """Why this machine cannot run two nodes, or None."""
    if not PROGRAMS:
        return "PostgreSQL is missing: apt-get install postgresql"
    if not SERVER.exists():
        return "RabbitMQ is missing: apt-get install rabbitmq-server"
    return None


@contextmanager
def database() -> Iterator[PostgreSQL]:
    """A PostgreSQL for one scenario."""
    need_postgresql()
    folder = Path(tempfile.mkdtemp(prefix="torture-postgresql-"))
    server = PostgreSQL(folder)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def broker() -> Iterator[Broker]:
    """A RabbitMQ for one scenario."""
    need("rabbitmq-server", "rabbitmq-server")
    folder = Path(tempfile.mkdtemp(prefix="torture-broker-"))  # short: the node's paths go into Unix limits
    found = Broker(folder)
    try:
        found.start()
        yield found
    finally:
        found.close()
        shutil.rmtree(folder, ignore_errors=True)


def on_database(stage: Stage, server: PostgreSQL, name: str) -> None:
    """Let the checker read the store's rows from this database."""
    stage.world.database.write_text(json.dumps({
        "host": "127.0.0.1", "port": server.port, "user": "postgres", "password": PASSWORD, "dbname": name}))


class Pair:
    """Two hubs of one configuration, each with its own folder, ports and
    name. The stage has the first one."""

    def __init__(self, stage: Stage, launcher: Sequence[str]) -> None:
        self.stage = stage
        world = stage.world
        first = stage.hub
        first.launcher, first.options = launcher, ("--set", "store.node=a")
        ports = {"https": free_port(), "status": free_port()}
        (world.folder / "https-b.port").write_text(str(ports["https"]))
        self.hubs = [first, Hub(world, launcher,
                                ("--set", f"hub.state={world.folder / 'state-b'}", "--set", "store.node=b",
                                 "--set", f"inlets.portal.port={ports['https']}",
                                 "--set", f"status.port={ports['status']}"), status=ports["status"])]

    def start(self) -> None:
        """Start the hubs that do not run."""
        for hub in self.hubs:
            if not hub.alive():
                hub.start()

    def close(self) -> None:
        """End the second hub. The stage ends the first one."""
        if self.hubs[1].alive():
            self.hubs[1].kill()

    def taken_over(self) -> int:
        """How often one hub took over from the other so far."""
        return self.stage.world.log.read_text().count(TAKEN_OVER)

    def kill(self, victim: Hub, *, wait_for_takeover: bool) -> None:
        """SIGKILL. Either the victim starts again at once and recovers, or the other one takes over first."""
        before = self.taken_over()
        victim.kill()
        self.stage.kills += 1
        if wait_for_takeover:
            wait(lambda: self.taken_over() > before, "the other node takes over", 60)

    def die_at(self, point: str, messages: int) -> None:
        """Let the first node, alone, end at a fault point. Then the second one starts and takes over."""
        first, second = self.hubs
        first.environment = {"DREHSCHEIBE_FAULTS": point}
        first.start()
        self.stage.budget(messages)
        wait(lambda: not first.alive(), "the node ends at its fault", 60)
        first.environment = {}
        self.stage.kills += 1
        second.start()
        wait(lambda: self.taken_over() > 0, "the second node takes over", 60)

    def freeze(self, victim: Hub) -> None:
        """SIGSTOP until the other one has taken over. The thawed one notices that, and ends by itself."""
        before = self.taken_over()
        victim.signal(signal.SIGSTOP)
        wait(lambda: self.taken_over() > before, "the other node takes over from the frozen one", 60)
        self.stage.extra_hits += 1
        victim.signal(signal.SIGCONT)
        wait(lambda: not victim.alive(), "the thawed one ends", 60)


def two_nodes(folder: Path, seed: int, *, kills: int, messages: int, first_dies_at: str | None = None,
              launcher: Sequence[str] = ("-m", "hub"), drain: float = 300.0,
              progress: Progress = print) -> Result:
    """Under load by HTTPS and AMQP, nodes are killed, frozen or stopped, sometimes both at once.

    HTTPS goes to whichever node answers. One in five of the `messages` comes by AMQP. With `first_dies_at`, a
    fault point, the first node is alone at first and ends there with open claims. The second one takes over
    before the first comes back.
    """
    with database() as server, broker() as rabbit:
        name = server.add_database()
        hub = INLET.format(port=rabbit.line.port, secret=rabbit.secrets["drehscheibe"]) + STORE.format(
            port=server.port, database=name, password=server.password, takeover=TAKEOVER)
        with Stage(folder, seed, hub=hub) as stage:
            on_database(stage, server, name)
            pair = Pair(stage, launcher)
            load = stage.process("publisher", str(stage.world.folder), f"b{seed}", str(rabbit.node.port),
                                 "torture", "amt24",
                                 "amt24")
            try:
                if first_dies_at:
                    pair.die_at(first_dies_at, messages // 5)
                pair.start()
                faults = _again_and_again(stage, pair, load, kills, messages, progress)
                pair.start()
                _publish(load, messages // 5)
                stage.budget(messages - messages // 5)
                assert load.stdin is not None
                load.stdin.close()
                load.wait(120)
                faults += _drain(stage, pair, messages // 5, f"b{seed}", drain)
            finally:
                pair.close()
            publisher.settle(stage.world)
            dead = rabbit.node.count("torture", "drehscheibe.dead")
            return {**stage.check(), "lives": sum(hub.lives for hub in pair.hubs),
                    "takeovers": pair.taken_over(),
                    "faults": faults + ([f"{dead} dead letters"] if dead else [])}


def _again_and_again(stage: Stage, pair: Pair, load: object, kills: int, messages: int,
                     progress: Progress) -> list[str]:
    faults = []
    https = messages - messages // 5
    for number in range(1, kills + 1):
        pair.start()
        share, before = https * number // (kills + 1), stage.acknowledged()
        stage.budget(share)
        _publish(load, messages // 5 * number // (kills + 1))
        stage.reach(min(share, before + stage.dice.randint(0, max(1, share - before))))
        time.sleep(stage.dice.choice((0.0, 0.02, 0.1, 0.4)) * stage.dice.random())
        victim = stage.dice.choice(pair.hubs)
        kind = stage.dice.random()
        if kind < 0.1:
            pair.freeze(victim)
        elif kind < 0.2:
            for hub in pair.hubs:
                pair.kill(hub, wait_for_takeover=False)
        elif kind < 0.25:
            code = victim.stop()
            faults += [f"exit code {code} after SIGTERM"] if code else []
        else:
            pair.kill(victim, wait_for_takeover=kind > 0.6)
        if number % 10 == 0:
            progress(f"{number} injuries, {stage.kills} kills, {pair.taken_over()} takeovers, "
                     f"{stage.acknowledged()} acknowledged")
    while stage.kills < kills:  # some were frozen or stopped instead
        pair.start()
        pair.kill(stage.dice.choice(pair.hubs), wait_for_takeover=False)
    return faults


def _publish(load: object, count: int) -> None:
    pipe = load.stdin  # type: ignore[attr-defined]
    pipe.write(f"{count}\n".encode())
    pipe.flush()


def _drain(stage: Stage, pair: Pair, published: int, run: str, seconds: float) -> list[str]:
    """Wait until all published messages have come and are settled; then
    stop both nodes. Returns the faults."""
    def there() -> bool:
        [row] = records(stage.world,
                        "SELECT count(*) AS n FROM message WHERE inlet = 'broker' AND key LIKE ?", f"{run}-%")
        return bool(row["n"] >= published)

    faults = []
    try:
        wait(there, "everything published is accepted", seconds)
    except NotInTime as error:
        faults.append(str(error))
    stage.drain(seconds)
    code = pair.hubs[1].stop()
    return faults + ([f"exit code {code} of the second node"] if code else [])


# -------------------------------------------------------------------- a database that goes away


class Line:
    """The database behind a proxy, with its injuries. Each injury returns a function that heals it."""

    def __init__(self, server: PostgreSQL, name: str) -> None:
        self.server = server
        self.name = name
        self.proxy = Proxy(server.port)

    def killed(self) -> Callable[[], None]:
        """SIGKILL to the server."""
        self.server.crash()
        return self.server.start

    def stopped(self) -> Callable[[], None]:
        """An orderly stop of the server."""
        self.server.stop(signal.SIGINT)
        return self.server.start

    def frozen(self) -> Callable[[], None]:
        """SIGSTOP to all processes of the server: the machine takes bytes, and nothing answers."""
        with self.server.admin() as admin:
            found = admin.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'hub'").fetchall()
        assert self.server.process is not None
        pids = [self.server.process.pid, *(row[0] for row in found)]
        _to_all(pids, signal.SIGSTOP)
        return lambda: _to_all(pids, signal.SIGCONT)

    def refusing(self) -> Callable[[], None]:
        """The hub gets no new session, and its sessions are ended."""
        self._alter("CONNECTION LIMIT 0")
        return lambda: self._alter("CONNECTION LIMIT -1")

    def wrong_password(self) -> Callable[[], None]:
        """The password is changed for a while."""
        self._alter("PASSWORD 'another'")
        return lambda: self._alter(f"PASSWORD '{PASSWORD}'")

    def read_only(self) -> Callable[[], None]:
        """The database is read-only, as a standby that was not promoted yet."""
        with self.server.admin() as admin:
            admin.execute(f'ALTER DATABASE "{self.name}" SET default_transaction_read_only = on')
        self._throw_out()

        def heal() -> None:
            with self.server.admin() as admin:
                admin.execute(f'ALTER DATABASE "{self.name}" RESET default_transaction_read_only')
            self._throw_out()

        return heal

    def reset(self) -> Callable[[], None]:
        """All sessions are reset again and again, some inside a statement."""
        for count in (0, 100, 1500, 4000):
            self.proxy.cut_after(count)
            time.sleep(0.5)
            self.proxy.drop()
        self.proxy.behave()
        self.proxy.hang()
        self.proxy.drop()
        return self.proxy.behave

    def swallowed(self) -> Callable[[], None]:
        """The proxy takes everything and forwards nothing. No session ends."""
        self.proxy.hang()
        return self.proxy.behave

    def _alter(self, what: str) -> None:
        with self.server.admin() as admin:
            admin.execute(f"ALTER ROLE hub {what}")  # type: ignore[arg-type]
        self._throw_out()

    def _throw_out(self) -> None:
        with self.server.admin() as admin:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'hub'")


def _to_all(pids: Collection[int], number: int) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue  # the session has ended meanwhile


INJURIES: dict[str, Callable[[Line], Callable[[], None]]] = {
    "killed": Line.killed, "stopped": Line.stopped, "frozen": Line.frozen, "refusing": Line.refusing,
    "wrong password": Line.wrong_password, "read-only": Line.read_only, "reset": Line.reset,
    "swallowed": Line.swallowed}


def broken_database(folder: Path, seed: int, *, injuries: Collection[str] = tuple(INJURIES),
                    messages: int = 40,
                    seconds: float = 12, progress: Progress = print) -> Result:
    """Under load, each injury for some `seconds`, and a canary after it was
    healed. `messages`: for each injury."""
    with database() as server:
        line = Line(server, server.add_database())
        hub = STORE.format(port=line.proxy.port, database=line.name, password=server.password, takeover=15)
        try:
            with Stage(folder, seed, hub=hub, threads=2) as stage:
                on_database(stage, server, line.name)
                return _hurt(stage, line, injuries, messages, seconds, progress)
        finally:
            line.proxy.close()


def _hurt(stage: Stage, line: Line, injuries: Collection[str], messages: int, seconds: float,
          progress: Progress) -> Result:
    faults, waits, sent = [], {}, 0
    stage.hub.start()
    pid = stage.hub.process.pid if stage.hub.process else 0
    for name in injuries:
        before = stage.acknowledged()
        sent += messages
        stage.budget(sent)
        stage.reach(before + 2)
        heal = INJURIES[name](line)
        sent += messages
        stage.budget(sent)
        time.sleep(seconds)
        stage.extra_hits += stage.acknowledged() < sent
        heal()
        healed, before = time.monotonic(), stage.acknowledged()
        sent += 1
        stage.budget(sent)
        try:
            wait(lambda: stage.acknowledged() > before,  # noqa: B023 - called at once
                 f"{name}: the canary", CANARY_SECONDS)
        except NotInTime as error:
            faults.append(str(error))
        waits[name] = round(time.monotonic() - healed, 1)
        stage.reach(sent)
        progress(f"{name}: the canary came {waits[name]} s after it was healed")
    if stage.hub.process is None or stage.hub.process.pid != pid or not stage.hub.alive():
        faults.append("the hub did not stay")
    stage.drain()
    return {**stage.check(), "faults": faults, "canary after seconds": waits}

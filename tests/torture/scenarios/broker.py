"""A broker that is killed, stopped, full, closed, forbidden, cut, stalled or silent.

No confirmed message is lost or doubled. Soon after each recovery a canary gets through.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Collection
from pathlib import Path

from connectors import amqp
from tests.services import need
from tests.services.proxy import Proxy
from tests.services.rabbitmq import RabbitMQ
from tests.torture import publisher
from tests.torture.peers import rows
from tests.torture.stage import NotInTime, Stage, wait
from tests.torture.steps import Progress, Result

CANARY_SECONDS = 30.0
"""Seconds after a recovery within which a message must have come through."""

INLET = """
[inlets.broker]
connector = "amqp"
port = {port}
vhost = "torture"
user = "drehscheibe"
password = "file:{secret}"
senders = [{{ name = "amt24", user = "amt24" }}]
"""


class Broker:
    """RabbitMQ with its injuries. Each injury returns a function that heals it."""

    def __init__(self, folder: Path) -> None:
        self.node = RabbitMQ(folder)
        self.line: Proxy
        self.secrets = {name: folder / f"{name}.secret" for name in ("drehscheibe", "amt24", "admin-test")}
        for name, file in self.secrets.items():
            file.write_text(name)

    def start(self) -> None:
        """Start the broker with everything that the hub needs, behind a proxy."""
        self.node.start()
        self.line = Proxy(self.node.port)
        self.node.add_vhost("torture")
        options = amqp.Options(vhost="torture", password=f"file:{self.secrets['drehscheibe']}", senders=(
            amqp.Sender(name="amt24", user="amt24", password=f"file:{self.secrets['amt24']}"),))
        admin = amqp.Admin(url=self.node.api, user=self.node.admin[0],
                           password=f"file:{self.secrets['admin-test']}")
        wrong = [finding.text for finding in amqp.setup(options, admin) if finding.severity == "error"]
        assert not wrong, wrong

    def close(self) -> None:
        """End the broker."""
        self.node.stop()
        if hasattr(self, "line"):
            self.line.close()

    def killed(self) -> Callable[[], None]:
        """SIGKILL. Healed by a start with the same data."""
        self.node.stop()
        return self.node.start

    def stopped(self) -> Callable[[], None]:
        """An orderly stop of the broker. Healed by a start."""
        self.node.control("stop_app")
        return lambda: self.node.control("start_app")

    def out_of_memory(self) -> Callable[[], None]:
        """The memory alarm: publishers get ``connection.blocked`` and wait."""
        self.node.control("set_vm_memory_high_watermark", "absolute", "1MB")
        return lambda: self.node.control("set_vm_memory_high_watermark", "absolute", "1GB")

    def out_of_disk(self) -> Callable[[], None]:
        """The disk alarm, which blocks publishers too."""
        self.node.control("set_disk_free_limit", "100000GB")
        return lambda: self.node.control("set_disk_free_limit", "50MB")

    def closed(self) -> Callable[[], None]:
        """The port refuses, and open connections are ended."""
        self.node.control("suspend_listeners")
        self._throw_out()
        return lambda: self.node.control("resume_listeners")

    def forbidden(self) -> Callable[[], None]:
        """The hub's user loses the right to read."""
        right = {"configure": "^$", "write": "^$", "read": "^$"}
        self.node.call("PUT", "permissions/torture/drehscheibe", right)
        self._throw_out()
        return lambda: self.node.call("PUT", "permissions/torture/drehscheibe",
                                      right | {"read": "^drehscheibe[.]in[.].+$"})

    def wrong_password(self) -> Callable[[], None]:
        """The hub's password is changed for a while."""
        self.node.call("PUT", "users/drehscheibe", {"password": "another", "tags": ""})
        self._throw_out()
        return lambda: self.node.call("PUT", "users/drehscheibe", {"password": "drehscheibe", "tags": ""})

    def reset(self) -> Callable[[], None]:
        """All connections are reset again and again, some inside a
        frame. In between they may be made anew."""
        for count in (0, 100, 1500, 4000):
            self.line.cut_after(count)
            time.sleep(0.5)
            self.line.drop()
        return self.line.behave

    def swallowed(self) -> Callable[[], None]:
        """The proxy takes everything and forwards nothing, for longer than either end tolerates silence."""
        self.line.hang()
        return self.line.behave

    def stalled(self) -> Callable[[], None]:
        """The proxy holds everything back and later forwards it, as TCP does after a loss of packets."""
        self.line.stall()
        return self.line.behave

    def _throw_out(self) -> None:
        self.node.control("close_all_connections", "--global", "torture")


INJURIES: dict[str, Callable[[Broker], Callable[[], None]]] = {
    "killed": Broker.killed, "stopped": Broker.stopped, "out of memory": Broker.out_of_memory,
    "out of disk": Broker.out_of_disk,
    "closed": Broker.closed, "forbidden": Broker.forbidden, "wrong password": Broker.wrong_password,
    "reset": Broker.reset,
    "stalled": Broker.stalled, "swallowed": Broker.swallowed}
LONG = {"swallowed": 30.0}
"""Seconds of an injury that must last longer than twice the heartbeat."""


def broken_broker(folder: Path, seed: int, *, injuries: Collection[str] = tuple(INJURIES),
                  messages: int = 200,
                  seconds: float = 12, progress: Progress = print) -> Result:
    """Under load, cause each injury for some `seconds`, heal it, and send a canary.

    `messages` is the load for each injury.
    """
    need("rabbitmq-server", "rabbitmq-server")
    place = Path(tempfile.mkdtemp(prefix="torture-broker-"))  # short: the node's paths go into Unix limits
    broker = Broker(place)
    try:
        broker.start()
        inlet = INLET.format(port=broker.line.port, secret=broker.secrets["drehscheibe"])
        with Stage(folder, seed, hub=inlet) as stage:
            return _hurt(stage, broker, injuries, messages, seconds, progress)
    finally:
        broker.close()
        shutil.rmtree(place, ignore_errors=True)


class Publishers:
    """The publishers of the load and of the canaries, and what the hub's store has of theirs."""

    def __init__(self, stage: Stage, port: int) -> None:
        self.stage = stage
        self.sent = dict.fromkeys((f"b{stage.seed}", f"c{stage.seed}"), 0)
        self.processes = {run: stage.process("publisher", str(stage.world.folder), run, str(port), "torture",
                                             "amt24", "amt24")
                          for run in self.sent}
        self.load, self.canary = self.sent

    def publish(self, run: str, count: int) -> None:
        """Publish so many more."""
        self.sent[run] += count
        pipe = self.processes[run].stdin
        assert pipe is not None
        pipe.write(f"{self.sent[run]}\n".encode())
        pipe.flush()

    def there(self, run: str) -> int:
        """How many messages of a run the store has."""
        file = self.stage.world.state / "store.sqlite3"
        return int(rows(file, "SELECT count(*) FROM message WHERE inlet = 'broker' AND key LIKE ?",
                        f"{run}-%")[0][0])

    def through(self, run: str, what: str, seconds: float) -> None:
        """Wait until the store has all of them. Raises `NotInTime`."""
        wait(lambda: self.there(run) >= self.sent[run], what, seconds)

    def end(self) -> None:
        """Wait until everything is published and confirmed."""
        for process in self.processes.values():
            assert process.stdin is not None
            process.stdin.close()
            process.wait(60)


def _hurt(stage: Stage, broker: Broker, injuries: Collection[str], messages: int, seconds: float,
          progress: Progress) -> Result:
    faults, waits = [], {}
    writers = Publishers(stage, broker.line.port)
    stage.hub.start()
    for name in injuries:
        before = writers.there(writers.load)
        writers.publish(writers.load, messages)
        wait(lambda: writers.there(writers.load) > before, f"{name}: load")  # noqa: B023 - called at once
        heal = INJURIES[name](broker)
        time.sleep(LONG.get(name, seconds) / 2)
        halfway = writers.there(writers.load)
        time.sleep(LONG.get(name, seconds) / 2)
        hit = writers.there(writers.load) == halfway < writers.sent[writers.load]
        stage.extra_hits += hit
        faults += [] if hit or name == "reset" else [f"{name}: messages came through all the same"]
        heal()
        healed = time.monotonic()
        writers.publish(writers.canary, 1)
        try:
            writers.through(writers.canary, f"{name}: the canary", CANARY_SECONDS)
        except NotInTime as error:
            faults.append(str(error))
        waits[name] = round(time.monotonic() - healed, 1)
        writers.through(writers.load, f"{name}: the load", 120)
        progress(f"{name}: the canary came {waits[name]} s after it was healed")
    writers.end()
    publisher.settle(stage.world)
    dead = broker.node.count("torture", "drehscheibe.dead")
    faults += [f"{dead} dead letters"] if dead else []
    stage.drain()
    return {**stage.check(), "faults": faults, "canary after seconds": waits}

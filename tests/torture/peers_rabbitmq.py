"""A broker that is killed, stopped, full, closed, forbidden, cut and swallowed: nothing confirmed is lost or doubled, and soon
after each recovery a canary gets through."""

from __future__ import annotations

import shutil
import subprocess
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
from tests.torture.scenarios import Progress, Result
from tests.torture.stage import NotInTime, Stage, wait

CANARY_SECONDS = 30.0
"""How soon after a recovery a message must have come through."""

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
    """RabbitMQ, its injuries and how each is healed."""

    def __init__(self, folder: Path) -> None:
        self.node = RabbitMQ(folder)
        self.line: Proxy
        self.secrets = {name: folder / f"{name}.secret" for name in ("drehscheibe", "amt24", "admin-test")}
        for name, file in self.secrets.items():
            file.write_text(name)

    def start(self) -> None:
        """Start it, with everything the hub needs, behind a line that can be hurt."""
        self.node.start()
        self.line = Proxy(self.node.port)
        self.node.add_vhost("torture")
        options = amqp.Options(vhost="torture", password=f"file:{self.secrets['drehscheibe']}", senders=(
            amqp.Sender(name="amt24", user="amt24", password=f"file:{self.secrets['amt24']}"),))
        admin = amqp.Admin(url=self.node.api, user=self.node.admin[0], password=f"file:{self.secrets['admin-test']}")
        wrong = [finding.text for finding in amqp.setup(options, admin) if finding.severity == "error"]
        assert not wrong, wrong

    def close(self) -> None:
        """End it."""
        self.node.stop()
        if hasattr(self, "line"):
            self.line.close()

    def killed(self) -> Callable[[], None]:
        """SIGKILL; started again with the same data."""
        self.node.stop()
        return self.node.start

    def stopped(self) -> Callable[[], None]:
        """An orderly stop of the broker, and a start."""
        self.node.control("stop_app")
        return lambda: self.node.control("start_app")

    def out_of_memory(self) -> Callable[[], None]:
        """The memory alarm: publishers are told ``connection.blocked`` and wait."""
        self.node.control("set_vm_memory_high_watermark", "absolute", "1MB")
        return lambda: self.node.control("set_vm_memory_high_watermark", "absolute", "1GB")

    def out_of_disk(self) -> Callable[[], None]:
        """The disk alarm, which blocks publishers too."""
        self.node.control("set_disk_free_limit", "100TB")
        return lambda: self.node.control("set_disk_free_limit", "50MB")

    def closed(self) -> Callable[[], None]:
        """The port refuses, and whoever was in is thrown out."""
        self.node.control("suspend_listeners")
        self._throw_out()
        return lambda: self.node.control("resume_listeners")

    def forbidden(self) -> Callable[[], None]:
        """The hub's user may not read any more."""
        right = {"configure": "^$", "write": "^$", "read": "^$"}
        self.node.call("PUT", "permissions/torture/drehscheibe", right)
        self._throw_out()
        return lambda: self.node.call("PUT", "permissions/torture/drehscheibe", right | {"read": "^drehscheibe[.]in[.].+$"})

    def wrong_password(self) -> Callable[[], None]:
        """The hub's password is another one for a while."""
        self.node.call("PUT", "users/drehscheibe", {"password": "another", "tags": ""})
        self._throw_out()
        return lambda: self.node.call("PUT", "users/drehscheibe", {"password": "drehscheibe", "tags": ""})

    def reset(self) -> Callable[[], None]:
        """Every connection is reset, again and again, some in the middle of a frame."""
        for count in (0, 100, 1500, 4000):
            self.line.cut_after(count)
            time.sleep(0.5)
            self.line.drop()
        return self.line.behave

    def swallowed(self) -> Callable[[], None]:
        """The line takes everything and delivers nothing; no connection ends."""
        self.line.hang()
        return self.line.behave

    def _throw_out(self) -> None:
        self.node.control("close_all_connections", "torture")


INJURIES: dict[str, Callable[[Broker], Callable[[], None]]] = {
    "killed": Broker.killed, "stopped": Broker.stopped, "out of memory": Broker.out_of_memory, "out of disk": Broker.out_of_disk,
    "closed": Broker.closed, "forbidden": Broker.forbidden, "wrong password": Broker.wrong_password, "reset": Broker.reset,
    "swallowed": Broker.swallowed}


def broken_broker(folder: Path, seed: int, *, injuries: Collection[str] = tuple(INJURIES), messages: int = 200, seconds: float = 12,
                  progress: Progress = print) -> Result:
    """Under load, each injury for some `seconds`, and a canary after it was healed. `messages`: for each injury."""
    need("rabbitmq-server", "rabbitmq-server")
    place = Path(tempfile.mkdtemp(prefix="torture-broker-"))  # short: the node's paths go into Unix limits
    broker = Broker(place)
    try:
        broker.start()
        inlet = INLET.format(port=broker.line.port, secret=broker.secrets["drehscheibe"])
        with Stage(folder, seed, hub=inlet) as stage:
            return _hurt(stage, broker, seed, injuries, messages, seconds, progress)
    finally:
        broker.close()
        shutil.rmtree(place, ignore_errors=True)


def _hurt(stage: Stage, broker: Broker, seed: int, injuries: Collection[str], messages: int, seconds: float,
          progress: Progress) -> Result:
    world, faults, sent, waits = stage.world, [], 0, {}
    writer = stage.process("publisher", str(world.folder), f"b{seed}", str(broker.line.port), "torture", "amt24", "amt24")
    stage.hub.start()

    def publish(count: int) -> None:
        assert writer.stdin is not None
        writer.stdin.write(f"{count}\n".encode())
        writer.stdin.flush()

    def there() -> int:
        return int(rows(world.state / "store.sqlite3", "SELECT count(*) FROM message WHERE inlet = 'broker'")[0][0])

    for name in injuries:
        before = sent
        sent += messages
        publish(sent)
        wait(lambda: there() > before, f"{name}: load")  # noqa: B023 - called at once
        heal = INJURIES[name](broker)
        time.sleep(seconds)
        hit = there() < sent
        stage.extra_hits += hit
        faults += [] if hit else [f"{name}: all had come through before"]
        heal()
        healed = time.monotonic()
        sent += 1
        publish(sent)  # the canary comes last: everything before it was confirmed
        try:
            wait(lambda: there() >= sent, f"{name}: the canary", CANARY_SECONDS)  # noqa: B023 - called at once
        except NotInTime as error:
            faults.append(str(error))
            wait(lambda: there() >= sent, f"{name}: the canary at last", 120)  # noqa: B023 - called at once
        waits[name] = round(time.monotonic() - healed, 1)
        progress(f"{name}: all there {waits[name]} s after it was healed")
    assert writer.stdin is not None
    writer.stdin.close()
    writer.wait(60)
    publisher.settle(world)
    dead = broker.node.count("torture", "drehscheibe.dead")
    faults += [f"{dead} dead letters"] if dead else []
    stage.drain()
    return {**stage.check(), "faults": faults, "canary after seconds": waits}

"""The folder of a run: the hub's configuration and state, the receivers, and the ledgers of the processes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.services import free_port
from tests.services.tls import Authority
from tests.torture.document import MUNICIPALITIES, SERVICE

HERE = Path(__file__).parent

HUB = """
[hub]
name = "Zählprobe"
state = "{state}"
mappings = "../mappings"
shutdown = "25s"
[status]
port = {status}
[workers]
count = 1
seconds = 30
[deliver]
threads = 6
rest_after = 3
rest = "1s"
[disk]
min_free_mb = 16
min_free_percent = 0
min_free_inodes = 100
reserve_mb = 4
[[sender]]
name = "amt24"
[inlets.portal]
connector = "https"
port = {https}
certificate = "../tls/ca/server.pem"
key = "file:../tls/ca/server.key"
client_ca = ["../tls/ca/ca.pem"]
senders = [{{ name = "amt24", subject = "CN=amt24.example" }}]
"""

DEFAULTS = """
[policy.retry]
first = "1s"
longest = "2s"
give_up_after = "1d"
[connectors.smtp]
host = "127.0.0.1"
port = {smtp}
security = "none"
from = "hub@hub.example"
timeout = {smtp_timeout}
final_timeout = {smtp_timeout}
"""

MUNICIPALITY = """
name = "{tenant}"
ags = "{ags}"
tenant = "{tenant}"
[destinations.ablage]
connector = "directory"
path = "{drop}/{tenant}"
[destinations.postfach]
connector = "smtp"
to = ["antrag@{tenant}.example"]
[[route]]
service = "{service}"
recipients = [
    {{ destination = "ablage", send = ["xml", "original"] }},
    {{ destination = "postfach", send = ["text", "original"] }},
]
"""


@dataclass(frozen=True)
class World:
    """The places of one run. `make` makes it; each process reads it from its folder."""

    folder: Path

    @property
    def state(self) -> Path:
        """The folder of the store."""
        return self.folder / "state"

    @property
    def database(self) -> Path:
        """The file that says how to reach the PostgreSQL, if the store is there."""
        return self.folder / "database.json"

    @property
    def drop(self) -> Path:
        """The drop folders, one for each municipality."""
        return self.folder / "drop"

    @property
    def ledger(self) -> Path:
        """The file of the answers that the producer got."""
        return self.folder / "producer.jsonl"

    @property
    def mails(self) -> Path:
        """The file of the mails that the mail sink took."""
        return self.folder / "mails.jsonl"

    @property
    def log(self) -> Path:
        """The log of all lives of the hub."""
        return self.folder / "hub.log"

    @property
    def metrics(self) -> Path:
        """The file with the last metrics of the hub."""
        return self.folder / "metrics.txt"

    @property
    def tls(self) -> Path:
        """The folder of certificates."""
        return self.folder / "tls" / "ca"

    @property
    def config(self) -> Path:
        """The hub's main file."""
        return self.folder / "etc" / "hub.toml"

    def port(self, name: str) -> int:
        """A port chosen by `make`."""
        return int((self.folder / f"{name}.port").read_text())


def make(folder: Path, *, smtp: int, state: Path | None = None, hub: str = "",
         municipalities: str = MUNICIPALITY,
         smtp_timeout: int = 10, names: Mapping[str, str] = MUNICIPALITIES) -> World:
    """Make a new world in `folder`, with the municipalities `names`. `hub` is appended to hub.toml."""
    world = World(folder)
    (folder / "etc" / "municipalities").mkdir(parents=True)
    shutil.copytree(HERE / "mapping", folder / "mappings" / SERVICE)
    ports = {"https": free_port(), "status": free_port(), "smtp": smtp}
    for name, port in ports.items():
        (folder / f"{name}.port").write_text(str(port))
    world.config.write_text(HUB.format(state=state or world.state, **ports) + hub)
    (folder / "etc" / "defaults.toml").write_text(DEFAULTS.format(smtp_timeout=smtp_timeout, **ports))
    for ags, tenant in names.items():
        (world.drop / tenant).mkdir(parents=True)
        (folder / "etc" / "municipalities" / f"{ags}.toml").write_text(
            municipalities.format(ags=ags, tenant=tenant, drop=world.drop, service=SERVICE))
    authority = Authority(folder / "tls", "ca")
    authority.server("localhost", "127.0.0.1")
    authority.client("amt24.example")
    return world

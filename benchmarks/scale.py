"""The configuration of a whole country: 11,000 municipalities with 100 services each (`benchmarks.nation`).

``python -m benchmarks.scale --municipalities 11000 --services 100``

Measured are:

* the start, until the hub takes messages;
* a reload by SIGHUP with one changed file, while applications come in at 50/s, and how long those take;
* a reload with all files changed;
* the memory of the main process after each of these;
* one scrape of /metrics;
* the memory of the workers while applications for every service come in. A worker compiles a stylesheet on
  first use and keeps it in an LRU cache.
"""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

from benchmarks import application, figures, load, nation
from benchmarks.arrivals import Arrivals, number_of
from benchmarks.subjects import Hub, place
from benchmarks.throughput import run

RATE = 50.0
"""Applications per second during a reload."""


class Nation(Hub):
    """A hub with the configuration of the whole country."""

    municipalities, services = nation.MUNICIPALITIES, nation.SERVICES

    def write(self) -> None:
        super().write()
        (self.drop / "test").mkdir()
        nation.write(self.etc, self.folder / "mappings", self.drop, self.municipalities, self.services)

    def logged(self, text: str) -> int:
        """How often the log has this text."""
        return self.log.read_bytes().count(text.encode())

    def reload(self) -> float:
        """Reload the configuration. Returns the seconds until the changed files are in force."""
        before = self.logged("the configuration was read again")
        began = time.monotonic()
        self.processes[0].send_signal(signal.SIGHUP)
        while self.logged("the configuration was read again") == before:
            if self.logged("the new configuration is faulty"):
                raise RuntimeError("the generated configuration is faulty")
            time.sleep(0.01)
        return time.monotonic() - began


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = figures.parser("scale", __doc__, rounds=3)
    parser.add_argument("--municipalities", type=int, default=nation.MUNICIPALITIES)
    parser.add_argument("--services", type=int, default=nation.SERVICES)
    options = parser.parse_args()
    return figures.run(options, measure, options.rounds, options.municipalities, options.services)


def measure(rounds: int = 3, municipalities: int = nation.MUNICIPALITIES,
            services: int = nation.SERVICES) -> dict[str, Any]:
    """Measure everything."""
    Nation.municipalities, Nation.services = municipalities, services
    with place(["amqp"]) as here:
        figures.progress(f"writing {municipalities} files")
        hub = Nation(here, "amqp", "folder")
        starts, ones, alls, waits, memory = [], [], [], [], []
        for turn in range(rounds):
            began = time.monotonic()
            hub.start()
            starts.append(time.monotonic() - began)
            memory.append(hub.main_memory() >> 20)
            run(hub, f"warm{turn}", 0, 50, "4 KB")
            touch(hub, nation.keys(municipalities)[-1:], turn)
            seconds, latencies = under_load(hub, f"reload{turn}")
            ones.append(seconds)
            waits += latencies
            touch(hub, nation.keys(municipalities), turn)
            alls.append(hub.reload())
            figures.progress(
                f"round {turn + 1} of {rounds}: start {starts[-1]:.1f} s, reload {ones[-1]:.1f} s, of all "
                f"{alls[-1]:.1f} s, {hub.main_memory() >> 20} MB"
            )
            if turn < rounds - 1:
                hub.kill()
        peak = hub.main_memory() >> 20
        began = time.monotonic()
        size = len(hub.http("/metrics"))
        scrape = time.monotonic() - began
        workers = [before >> 20 for before in workers_memory(hub)]
        compiled = sheets(hub, services)
        after = [each >> 20 for each in workers_memory(hub)]
    return {
        "municipalities": municipalities,
        "services": services,
        "rows": [
            {"what": "start", "seconds": figures.summary(starts), "goal": 5},
            {"what": "reload, one file changed, under load", "seconds": figures.summary(ones), "goal": 2},
            {"what": "reload, all files changed", "seconds": figures.summary(alls)},
            {"what": "scrape of /metrics", "seconds": figures.summary([scrape]), "bytes": size},
        ],
        "memory_mb": {
            "after start": max(memory),
            "after reloads": peak,
            "workers before": max(workers),
            "workers after all services": max(after),
        },
        "latency_ms": figures.quantiles(waits),
        "stylesheets": compiled,
    }


def touch(hub: Nation, keys: list[str], turn: int) -> None:
    """Change the files of these municipalities."""
    for ags in keys:
        with (hub.etc / "municipalities" / f"{ags}.toml").open("a") as file:
            file.write(f"# {turn}\n")


def under_load(hub: Nation, prefix: str) -> tuple[float, list[float]]:
    """Reload while applications come in. Returns the seconds of the reload and those of each application."""
    names = load.numbers(f"{hub.name}-{prefix}", 0, int(RATE * 6))
    sent: dict[str, float] = {}

    def send() -> None:
        with hub.publisher() as publisher:
            sent.update(load.paced(publisher, names, application.SIZES["4 KB"], RATE))

    with Arrivals(hub.drop) as arrivals:
        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(1.0)
        seconds = hub.reload()
        thread.join()
        arrivals.wait(len(names), 120)
        found = [moment - sent[number_of(name)] for name, moment in arrivals.seen.items()]
    hub.clear()
    return seconds, found


def workers_memory(hub: Hub) -> list[int]:
    """The resident bytes of each worker."""
    return [size for pid, size in hub.memory().items() if pid != hub.processes[0].pid]


def sheets(hub: Hub, services: int) -> dict[str, Any]:
    """Go twice through all services. The first round compiles stylesheets, the second finds most of them."""
    rates = []
    for turn in range(2):
        with Arrivals(hub.drop) as arrivals:
            hub.freeze()
            with hub.publisher() as publisher:
                for number, service in enumerate(nation.services(services) * 3):
                    publisher.send(name := f"{hub.name}-sheet{turn}-{number}", application.document(name),
                                   service=service)
                publisher.settle()
            began = time.monotonic()
            hub.thaw()
            rates.append(3 * services / (arrivals.wait(3 * services, 300) - began))
        hub.clear()
    return {"services": services, "first": rates[0], "again": rates[1]}


if __name__ == "__main__":
    raise SystemExit(main())

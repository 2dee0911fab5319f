"""The running hub: puts the rooms together, reloads, tells systemd, and stops in order.

Start: configuration, store, workers, then deliveries, then the pipeline, and the door opens last. Stop: the
reverse, with what is under way brought to its end first. SIGTERM and SIGINT stop, SIGHUP reloads: a faulty
new configuration changes nothing and is reported.

To systemd (sd_notify): READY when every inlet listens, WATCHDOG while the dispatcher and the deliverer make
progress, RELOADING and READY around a reload, STOPPING, and one line of STATUS for ``systemctl status``.
"""

from __future__ import annotations

import dataclasses
import gc
import signal
import sys
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from types import FrameType

import structlog

from hub import failpoints
from hub.administration.retention import Retention
from hub.cluster.peers import Peers
from hub.config import loader
from hub.config.configuration import Configuration
from hub.delivery.deliverer import Deliverer
from hub.errors import ConfigError, StoreUnavailable
from hub.intake import inlets
from hub.intake.disk_space import Space
from hub.intake.receiver import Receiver
from hub.operations.control_socket import ControlServer
from hub.operations.ledger_metrics import LedgerCollector
from hub.operations.mapping_review import MappingReview, errors_of
from hub.operations.operator import Operator
from hub.operations.running_hub import RunningHub
from hub.operations.status_server import StatusServer
from hub.operations.systemd import StatusLine, fed, notify, watchdog_interval
from hub.parsing import versions
from hub.store.store import Store
from hub.telemetry.counters import Metrics
from hub.workers.dispatcher import Dispatcher
from hub.workers.limits import limits_of
from hub.workers.pool import WorkerPool
from hub.workers.process import Why

log = structlog.get_logger("hub.daemon")

BROKEN_LOOK = 1.0
"""Seconds after which a broken store is noticed: only a new start, which reads the disk, may go on then."""

STALLED = timedelta(minutes=2)
"""A part of the hub that made no progress for so long is not alive; each looks up at least every ten
seconds."""

LISTEN_SECONDS = 15.0
"""How long the start waits for inlets: one whose broker is away must not keep the others' service from being
ready."""

COLLECT = (50_000, 20, 50)
"""When the garbage collector looks for circles (`gc.set_threshold`): a batch makes thousands of rows, none in
a circle."""


class Daemon:
    """One running hub."""

    def __init__(self, file: Path, overrides: Sequence[str] = ()) -> None:
        self._file = file
        self._overrides = tuple(overrides)
        self._stop = threading.Event()
        self._reload_asked = threading.Event()
        self._wake_main = threading.Event()
        self._reloading = threading.Lock()
        versions.check_versions()
        failpoints.arm()
        gc.disable()
        try:
            self.configuration = loader.load(file, overrides)
            # before the first collection: thousands of municipalities stay, and need not be looked through
            gc.freeze()
        finally:
            gc.enable()
        state = self.configuration.state
        state.mkdir(mode=0o750, parents=True, exist_ok=True)
        self.space = Space(state, lambda: self.configuration.settings.disk)
        self.space.look()  # before anything is written: on a full disk the start needs the reserve
        self.configuration = self._begun_with = self.configuration.take_snapshots()
        self._review = MappingReview()
        faults = self._judge(self.configuration)
        if faults:
            raise ConfigError(faults)
        self.metrics = Metrics()
        self.store = Store.open(state, served=self.configuration.settings.store)
        try:
            self._build()
        except BaseException:
            self.store.close()
            raise

    def _build(self) -> None:
        settings = self.configuration.settings
        recovered = self.store.recover(assume_begun=self._assume_begun)
        if recovered.alone:
            self.store.count_death(recovered.alone)
        if self.store.lost_pages:
            log.critical("the store's log is damaged: what was committed last is lost; receivers are asked "
                         "before anything is sent, and senders should be asked what they sent since",
                         pages=self.store.lost_pages)
        if self.store.unclean:
            log.warning("the last run did not end cleanly; what was under way is looked into first",
                        **dataclasses.asdict(recovered))
        self.pool = WorkerPool(settings.workers.count, settings=limits_of(settings.workers))
        self.deliverer = Deliverer(self.store, configuration=self._in_force, metrics=self.metrics)
        self.dispatcher = Dispatcher(self.store, configuration=self._in_force, pool=self.pool,
                                     metrics=self.metrics, delivered_to=self.deliverer.wake,
                                     room=self.space.may_translate)
        self.receiver = Receiver(self.store, configuration=self._in_force, metrics=self.metrics,
                                 wake=self.dispatcher.wake, admit=self.space.admit)
        self.retention = Retention(self.store, configuration=self._in_force, told=self.metrics.retained)
        self.peers = Peers(self.store, assume_begun=self._assume_begun, wake=self._wake_all,
                           suspects=self.dispatcher.look_at_suspects)
        self.operator = Operator(self.store, retention=self.retention, running=RunningHub(
            deliverer=self.deliverer, space=self.space, wake=self._wake_all, reload=self.reload,
            awaits_restart=self.awaits_restart))
        self._faults = 0
        self.status_line = StatusLine(self._status)
        self.inlets = inlets.Inlets(
            inlets.build(self.configuration, receiver=self.receiver, spool=self.store.spool,
                         metrics=self.metrics),
            accept=self.receiver, stop=self._stop)
        self.metrics.registry.register(LedgerCollector(
            self.store, configuration=self._in_force, circuits=self.deliverer.circuits,
            inlets=self.inlets.ready, network_dropped=lambda: bool(self.pool.network_dropped),
            workers_missing=lambda: len(self.pool.missing),
            space=self.space))
        self.metrics.begin(
            inlets=self.inlets.names, deaths=Why,
            connectors={destination.connector for destination in self.configuration.all_destinations()})

    def _in_force(self) -> Configuration:
        """The configuration in force."""
        return self.configuration

    def run(self) -> None:
        """Serve until a signal says stop."""
        settings = self.configuration.settings
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        try:
            # first, because its port may be taken: nothing else has begun then
            status = StatusServer(settings.status.host, settings.status.port, metrics=self.metrics,
                                  operator=self.operator, alive=self.alive, ready=self.ready)
        except BaseException:
            self.store.close()
            raise
        self.peers.start()
        self.pool.start()
        control = ControlServer(self.configuration.control, self.operator)
        self.deliverer.start()
        self.dispatcher.start()
        self.retention.start()
        self.inlets.start()
        gc.collect()
        # what else is there now stays: a full collection would look at it, and hold up every thread meanwhile
        gc.freeze()
        gc.set_threshold(*COLLECT)
        log.info("the hub runs", inlets=self.inlets.names, configuration=self.configuration.digest[:12],
                 status=f"http://{status.host}:{status.port}/status",
                 workers_without_network=bool(self.pool.network_dropped))
        try:
            self.inlets.wait(LISTEN_SECONDS)
            self.status_line.say()
            notify("READY=1")
            self._supervise()
        except StoreUnavailable as error:
            log.critical("the store is broken: the hub ends, and a new start reads what is on the disk",
                         error=str(error))
            raise
        finally:
            with fed():
                self._shut_down(control, status)

    def _supervise(self) -> None:
        interval = watchdog_interval()
        while not self._stop.is_set():
            self._wake_main.wait(min(interval, BROKEN_LOOK))
            self._wake_main.clear()
            if self.store.broken:
                raise StoreUnavailable(self.store.broken)
            self.space.look()
            self.status_line.say()
            if self._reload_asked.is_set():
                self._reload_asked.clear()
                notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
                with fed():  # stylesheets may be compiled, each within its limits
                    self.reload()
                notify("READY=1")  # also after a faulty configuration: the old one is in use, and ready
            problems = self.alive()
            if problems:
                log.error("a part of the hub makes no progress; the watchdog is not fed", parts=problems)
            else:
                notify("WATCHDOG=1")

    def _shut_down(self, control: ControlServer, status: StatusServer) -> None:
        self.status_line.stop()
        notify("STOPPING=1\nSTATUS=brings to its end what is under way")
        patience = self.configuration.settings.hub.shutdown
        log.info("the hub stops: the door closes, then what is under way comes to its end")
        self._stop.set()
        self.inlets.join(patience)
        self.retention.stop()
        clean = self.dispatcher.stop(patience)
        clean = self.deliverer.stop(patience) and clean
        self.pool.stop()
        control.close()
        status.close()
        self.peers.stop()
        self.store.close(clean=clean)
        log.info("the hub has stopped" if clean
                 else "the hub has stopped; what was under way is looked into at the next start")

    def reload(self) -> list[str]:
        """Take up a changed configuration; the problems of a faulty one, which changes nothing.

        Inlets keep their options until a restart; certificates and keys they name are read again.
        """
        with self._reloading:
            problems = self._reload()
        for problem in problems:
            log.error("the new configuration is faulty; the old one stays", problem=problem)
        self.metrics.reloaded(ok=not problems)
        self._faults = len(problems)
        self.status_line.say()
        return problems

    def _reload(self) -> list[str]:
        try:
            fresh = loader.load(self._file, self._overrides, self.configuration).take_snapshots()
            faults = self._judge(fresh)
            if faults:
                return faults
            self.inlets.reload()
        except ConfigError as error:
            return list(error.problems)
        except OSError as error:  # no space for the snapshots, no right to read
            return [f"{error.filename or self._file}: {error.strerror}"]
        self.configuration = fresh
        if self.awaits_restart():
            log.warning("inlets or workers were changed; that takes a restart", changed=self.awaits_restart())
        self.deliverer.reset()
        self._wake_all()
        log.info("the configuration was read again", configuration=fresh.digest[:12])
        return []

    def _judge(self, configuration: Configuration) -> list[str]:
        """The faults of the mappings and of the municipalities' own stylesheets; what is only doubtful is
        logged."""
        found = self._review.findings(configuration)
        for where, finding in found:
            if finding.severity == "warning":
                log.warning("a mapping should be looked at", where=where, problem=finding.text,
                            remedy=finding.remedy)
        return errors_of(found)

    def awaits_restart(self) -> list[str]:
        """What of the configuration is other than what runs, and is not taken up before a restart."""
        now, begun = self.configuration, self._begun_with
        changed = {"inlets": now.inlets != begun.inlets,
                   "workers": now.settings.workers != begun.settings.workers}
        return [name for name, other in changed.items() if other]

    def alive(self) -> list[str]:
        """Parts that make no progress."""
        now = time.monotonic()  # a clock that was set says nothing about progress
        longest = STALLED.total_seconds() + self.configuration.settings.workers.seconds * 3
        parts = {"dispatcher": self.dispatcher.last_progress, "deliverer": self.deliverer.last_progress}
        return [f"{name}: no progress for {now - seen:.0f} s" for name, seen in parts.items()
                if now - seen > longest]

    def ready(self) -> list[str]:
        """Why no message could be taken."""
        problems = self.alive() + self._shut() + self.pool.problems() + self.inlets.problems()
        return problems + (["stopping"] if self._stop.is_set() else [])

    def _shut(self) -> list[str]:
        """Why nothing is taken, whatever the inlet."""
        return [problem for problem in (self.store.broken, self.store.away, self.space.why) if problem]

    def _status(self) -> str:
        """What `systemctl status` shows: whether applications are taken, and what is wrong."""
        shut, missing = self._shut(), self.inlets.problems()
        if not any(self.inlets.ready().values()):
            shut += missing
        said = (f"takes no applications: {'; '.join(shut)}" if shut
                else "; but ".join(["takes applications", *missing]))
        return said + (f"; by its old configuration: faults of the new one: {self._faults}" if self._faults
                       else "")

    def _assume_begun(self, destination: str) -> bool:
        """After a crash: may a try have had an effect though no intent is on disk?

        Where it can be probed, assume so.
        """
        found = self.configuration.destination(destination)
        return found is None or found.repeat != "ask"

    def _wake_all(self) -> None:
        self.dispatcher.wake()
        self.deliverer.wake()

    def _on_stop(self, _: int, __: FrameType | None) -> None:
        if self._stop.is_set():
            sys.exit(1)
        self._stop.set()
        self._wake_main.set()

    def _on_reload(self, _: int, __: FrameType | None) -> None:
        self._reload_asked.set()
        self._wake_main.set()

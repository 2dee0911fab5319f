"""Deletes what need not be kept any more: the content of finished applications early, their proofs late, the
rest never.

How long is a matter of the municipality and the service: ``[retention]`` in ``defaults.toml`` and in the
municipality's file, each with ``[retention.services.<service>]``. What the municipality says comes before
what the defaults say, and in either a service's own line before the general one. Undelivered, doubtful and
parked applications are never touched, whatever their age.

A run works in small batches, so that inlets and deliveries wait for milliseconds, and may be ended between
any two of them: the next run goes on. In the running hub one runs at its start and then every day at
``[retention] at``; ``drehscheibe retention run`` asks for one now, and without a running hub does it itself.
What a run did is logged in numbers, and stands as the event ``payload_deleted`` in each message's history;
neither holds personal data.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
import tenacity

from hub.endpoint import read_secret, secret_path
from hub.errors import ConfigError, HubError, StoreUnavailable
from hub.message import BERLIN
from hub.store.transitions.erasure import Erased

if TYPE_CHECKING:
    from hub.config.configuration import Configuration
    from hub.store.store import Store

log = structlog.get_logger("hub.administration.retention")

BATCH = 50
"""Messages (or 10 times as many rows without content) per transaction."""
SHORTEST_KEY = 16
"""Characters of the key by which cases are hashed: with a shorter one a case can be guessed."""
PATIENCE = 50.0
"""Seconds that an operator's command waits for the end of a run in the daemon."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a run deleted, or would delete. Not `log_truncated`: a reader still holds old pages, and the next
    run tries again."""

    messages: int = 0
    bodies: int = 0
    bytes: int = 0
    proofs: int = 0
    keys: int = 0
    cases: int = 0
    rows: int = 0
    leftovers: int = 0
    log_truncated: bool = True
    dry_run: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


def _unheard(_: datetime, __: Mapping[str, int]) -> None:
    """Nobody wants to know."""


class Retention:
    """Runs now and then; `stop` ends a run between two batches. `told` hears of each run that came to its
    end: when, and how much of content, proofs and log it left though it was due."""

    def __init__(self, store: Store, configuration: Callable[[], Configuration],
                 told: Callable[[datetime, Mapping[str, int]], None] = _unheard, *,
                 now: Callable[[], datetime] = lambda: datetime.now(UTC),
                 stopping: threading.Event | None = None) -> None:
        self._store = store
        self._configuration = configuration
        self._told = told
        self._now = now
        self._stop = stopping or threading.Event()
        self._one_at_a_time = threading.Lock()
        self._thread = threading.Thread(target=self._daily, name="retention", daemon=True)

    def start(self) -> None:
        """One run now, then one a day."""
        self._thread.start()

    def stop(self) -> None:
        """End after the batch at hand."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(30)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is deleted meanwhile, once the run at hand has ended: a backup wants the files that its
        rows name."""
        with self._one_at_a_time:
            yield

    def run(self, *, dry_run: bool = False) -> Report:
        """Delete what is old enough; with `dry_run` only count it."""
        with self._one_at_a_time, self._store.alone("retention") as alone:
            if dry_run:
                return self._count()
            if not alone:
                log.info("another node deletes just now what need not be kept any more")
                return Report()
            erased, proofs = self._erase(), self._forget()
            report = Report(erased.messages, erased.bodies, erased.bytes, proofs, keys=self._expire(),
                            cases=self._hide_cases(), rows=self._bury(),
                            leftovers=self._store.remove_leftovers(), log_truncated=self._truncate())
            if not self._stop.is_set():
                left = self._count()
                self._told(self._now(), {"content": left.messages, "proofs": left.proofs,
                                         "log": int(not report.log_truncated)})
        log.info("what need not be kept any more is deleted", **report.to_json())
        return report

    def ask(self, *, dry_run: bool = False) -> dict[str, Any]:
        """For an operator: `run`, but not waiting longer than `PATIENCE`; then only that it is under way."""
        answers: list[Report | HubError] = []

        def work() -> None:
            try:
                answers.append(self.run(dry_run=dry_run))
            except HubError as error:
                answers.append(error)

        thread = threading.Thread(target=work, name="retention-asked", daemon=True)
        thread.start()
        thread.join(PATIENCE)
        if not answers:
            return {"running": True}
        if isinstance(answers[0], HubError):
            raise answers[0]
        return {"running": False, **answers[0].to_json()}

    def _periods(self, *, erased: bool) -> Iterator[tuple[str, str, datetime]]:
        """(tenant, service, finished not after) for all that have something that could be due."""
        configuration = self._configuration()
        for tenant, service in self._store.finished_services(erased=erased):
            kept = configuration.retention(tenant, service)
            yield tenant, service, self._now() - timedelta(days=kept.proof_days if erased
                                                           else kept.payload_days)

    def _count(self) -> Report:
        payloads, proofs = (sum(self._store.count_due(*period, erased=erased)
                                for period in self._periods(erased=erased))
                            for erased in (False, True))
        return Report(messages=payloads, proofs=proofs, dry_run=True)

    def _batches(self, *, erased: bool) -> Iterator[list[str]]:
        for tenant, service, before in self._periods(erased=erased):
            seen: set[str] = set()  # what the store refuses to touch must not come again for ever
            while not self._stop.is_set():
                due = self._store.due_for_retention(tenant, service, before, BATCH + len(seen),
                                                    erased=erased)
                ids = [name for name in due if name not in seen]
                if not ids:
                    break
                yield ids
                seen.update(self._store.still_due(ids, erased=erased))

    def _erase(self) -> Erased:
        total = Erased()
        for ids in self._batches(erased=False):
            total += self._store.erase(ids)
        return total

    def _forget(self) -> int:
        return sum(self._store.forget(ids) for ids in self._batches(erased=True))

    def _hide_cases(self) -> int:
        """Of how many messages the case went, where a key says so. A key that cannot be read holds up nothing
        else: the content goes all the same."""
        ref = self._configuration().defaults.retention.case_key
        if ref is None or self._stop.is_set():
            return 0
        try:
            key = read_secret(ref).encode()
            if len(key) < SHORTEST_KEY:
                raise ConfigError.at(secret_path(ref), "retention.case_key",
                                     f"is shorter than {SHORTEST_KEY} characters",
                                     "write a longer one: openssl rand -hex 32")
        except ConfigError as error:
            log.error("the cases of finished applications stay as they are: the key cannot be used",
                      error=str(error))
            return 0
        return self._store.hide_cases(key, BATCH)

    def _expire(self) -> int:
        total = 0
        while not self._stop.is_set() and (gone := self._store.expire_keys(BATCH * 10)):
            total += gone
        return total

    def _bury(self) -> int:
        total = 0
        numbers = self._store.dead_rows()
        for start in range(0, len(numbers), BATCH * 10):
            if self._stop.is_set():
                break
            total += self._store.bury(numbers[start : start + BATCH * 10])
        return total

    def _truncate(self) -> bool:
        asking = tenacity.Retrying(
            retry=tenacity.retry_if_result(lambda truncated: not truncated),
            wait=tenacity.wait_fixed(0.5), sleep=tenacity.sleep_using_event(self._stop),
            stop=tenacity.stop_after_attempt(10) | tenacity.stop_when_event_set(self._stop),
            retry_error_callback=lambda _: False)
        if asking(self._store.truncate_log):
            return True
        log.warning("a reader holds the log of the store open; deleted content leaves it with the next run")
        return False

    def _daily(self) -> None:
        while not self._stop.is_set():
            try:
                self.run()
            except StoreUnavailable as error:
                log.error("nothing could be deleted; the next run tries again", error=str(error))
            except Exception as error:  # noqa: BLE001  deleting must not end for good because of one run
                log.error("a run of the retention failed; the next one tries again",
                          error_class=type(error).__name__)
            self._stop.wait((self.next_run() - self._now()).total_seconds())

    def next_run(self) -> datetime:
        """The next time it is `at`, as a clock on the wall in Germany shows it."""
        at = self._configuration().defaults.retention.at
        today = self._now().astimezone(BERLIN)
        moment = today.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
        return moment if moment > today else moment + timedelta(days=1)

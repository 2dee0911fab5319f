"""The durable store: what was accepted, where it is, what happened to it, and the bodies.

::

    <directory>/lock            held by the one process that writes
                store.sqlite3   the tables (`hub.store.database.tables`), WAL, synchronous=FULL
                blobs/xx/…      large bodies (`hub.store.blobs.payload`)
                spool/          where inlets write large bodies while they arrive; emptied at open

    or, for several hubs (``[store] url``), tables and bodies in a PostgreSQL
    (`hub.store.database.postgresql`); lock and spool are each hub's own.

Every change goes through the one writer (`hub.store.writer`) and is durable when the call returns; every read
has a connection of its own. A process that was frozen while another took over writes nothing: the fencing
number is not its own any more.

Raises everywhere: `StoreUnavailable` when nothing can be written, or the store is closed, broken or opened
read-only.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sqlalchemy import Connection, Row, bindparam, func, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from hub.config.sections import StoreSection
from hub.errors import ConfigError, Conflict, HubError, StoreUnavailable
from hub.i18n.sentence import say
from hub.job import Facts, Outcome, OutDelivery, OutPart, Parked, Split, Translated
from hub.message import (
    RESTORED,
    Accepted,
    Delivery,
    DeliveryState,
    Incoming,
    IncomingPart,
    Manifest,
    ManifestPart,
    MessageState,
    Reason,
    StoredMessage,
    StoredPart,
    delivery_id,
    encode_json,
    new_message_id,
)
from hub.store import rights, slim_manifest
from hub.store.blobs.durable import SyncFailed
from hub.store.blobs.files import FileBlobs
from hub.store.blobs.payload import Damaged, Payload, Slice, Staged
from hub.store.blobs.protocol import Blobs
from hub.store.blobs.rows import INCOMPLETE, RowBlobs
from hub.store.blobs.stored import StoredBody
from hub.store.database import ledger, sqlite, tables
from hub.store.database.ledger import Balance, TallyKey, Use, Used
from hub.store.database.postgresql import FOLLOWED, STOPPED, TAKEN_OVER, Node, Pulse, Served
from hub.store.database.sqlite import Embedded, StoreInUse
from hub.store.database.statements import Query
from hub.store.database.tables import COPY, moment
from hub.store.database.transaction import Transaction
from hub.store.integrity import Examination, Progress, Report, silent
from hub.store.transitions import case_order, erasure, operator_actions, restored, split, waiting
from hub.store.transitions import deliveries as delivery_transitions
from hub.store.transitions import messages as message_transitions
from hub.store.transitions import repair as repair_transitions
from hub.store.transitions.case_order import Predecessor
from hub.store.transitions.deliveries import ClaimedDelivery, LostLease, Recovered, Settlement, Slim
from hub.store.transitions.erasure import Erased
from hub.store.transitions.operator_actions import NotFound
from hub.store.writer import StaleFencing, Writer, damage, disk_failure

ResultT = TypeVar("ResultT")
SMALL = 16 * 1024  # bodies up to this size are fetched with the claim
UNREADABLE = (ValueError, TypeError, OverflowError)
"""What reading a row raises when a bit turned over where a date or a number must be."""
AHEAD = 8 * 1024 * 1024  # but not more than this, together
BEAT = timedelta(seconds=2)
"""A node says this often that it can write."""
AWAY = 3 * BEAT.total_seconds() + 2
"""After so many seconds without a beat a node says that it takes no messages. A load balancer then sends them
elsewhere."""
_FENCED = "another node has taken over what this one had in hand: it was frozen, or cut off"
SURE = 0.6
"""After this share of `takeover` a silent node does not believe in its own leases any more. That is sooner
than the others stop believing in them."""


class BadOutcome(HubError):
    """A worker's answer does not fit its bodies or the message. Nothing of it was recorded."""

    def __init__(self, message_id: str, text: str) -> None:
        super().__init__(f"message {message_id}: {text}")
        self.message_id = message_id


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery as the operator sees it."""

    id: str
    message_id: str
    recipient: str
    destination: str
    generation: int
    state: DeliveryState
    created_at: datetime
    due_at: datetime | None
    attempts: int
    repeat_marked: bool
    error: str | None
    reason: str | None
    text: str | None
    receipt: dict[str, Any] | None
    finished_at: datetime | None
    config_digest: str
    mapping_digest: str


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a message's history."""

    at: datetime
    message_id: str
    delivery_id: str | None
    name: str
    before: str | None
    after: str | None
    reason: str | None
    detail: str | None
    who: str | None


@dataclass(frozen=True, slots=True)
class QueueRow:
    """How many deliveries of a destination are in which state, and when the oldest that has not arrived was
    made."""

    destination: str
    states: dict[str, int]
    oldest: datetime | None


def utc_now() -> datetime:
    """The present time in UTC."""
    return datetime.now(UTC)


class Store:
    """The store. `Store.open` opens it. Any thread may call any method."""

    def __init__(self, directory: Path, now: Callable[[], datetime], base: Embedded | Served, *,
                 inline: int, new_id: Callable[[], str] = new_message_id) -> None:
        self.directory = directory
        self.spool = directory / "spool"
        self.base = base
        self.blobs: Blobs = (
            RowBlobs(self.spool, self.reading, inline=inline, new_id=new_id) if base.shared
            else FileBlobs(directory / "blobs", inline=inline, new_id=new_id))
        self.fencing = 0
        self.unclean = False
        self.after_restore: restored.AfterRestore | None = None
        self.lost_pages = 0
        self.now = now
        self._new_id = new_id
        self._writer: Writer | None = None
        self._readers = base.reading_engine()
        self._owner = f"{os.uname().nodename}:{os.getpid()}"
        self._claims = itertools.count(1)
        self._lost_claims: set[int] = set()
        self._assume_begun: Callable[[str], bool] = _always
        self._pulse: Pulse | None = None
        self._beaten = _uptime()
        self._others = False

    # ---------------------------------------------------------------- opening and closing

    @classmethod
    def open(cls, directory: Path, *, read_only: bool = False, now: Callable[[], datetime] = utc_now,
             inline: int = 64 * 1024, writer: Callable[..., Writer] = Writer,
             served: StoreSection | None = None, embedded: Callable[[Path], Embedded] = Embedded,
             new_id: Callable[[], str] = new_message_id) -> Store:
        """Open the store in `directory`. Makes a new one where there is none.

        With a `served.url` the tables are in that database, else `embedded` opens them in the folder. Bodies
        of up to `inline` bytes lie in the tables. `now` is the clock, `new_id` names messages and bodies, and
        `writer` makes the one writer.

        Raises `StoreInUse`; `ConfigError` when SQLite is too old or the store is newer than this program;
        `StoreUnavailable` when the disk does not let it.
        """
        base = (Served(served, directory) if served is not None and served.url is not None
                else embedded(directory))
        store = cls(directory, now, base, inline=inline, new_id=new_id)
        try:
            store._begin(writer, read_only=read_only)
        except BaseException as error:
            store.let_go()
            failure = disk_failure(error)
            if failure in ("SQLITE_BUSY", "SQLITE_LOCKED"):  # its lock file is gone, the process is not
                raise StoreInUse(
                    f"{directory}: another process is in the middle of writing to this store") from error
            if (damaged := damage(error, base.where)) is not None:
                raise damaged from error
            if failure is not None:
                raise StoreUnavailable(f"{base.where}: the store cannot be opened now: {failure}") from error
            raise
        return store

    def _begin(self, writer: Callable[..., Writer], *, read_only: bool) -> None:
        if read_only:
            with self.reading() as connection:
                sqlite.check_revision(connection, self.base.where)
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.base.lock()
        if (self.directory / sqlite.INTERRUPTED).exists():
            raise ConfigError.at(self.directory, "store", "a restore was interrupted here",
                                 "run the same 'drehscheibe restore' again")
        self.blobs.prepare()
        self.spool.mkdir(mode=0o700, exist_ok=True)
        rights.tighten(self.directory)
        for left in self.spool.iterdir():
            if left.is_file():
                left.unlink()
        pages = 0
        if isinstance(self.base, Embedded):
            rights.create(self.base.where)
            pages = sqlite.log_pages(self.base.where)
        engine = self.base.writing_engine()
        self.lost_pages = sqlite.lost_pages(engine, pages)
        with engine.begin() as connection:
            now = tables.micros(self.now())
            self.fencing, self.unclean, copied_at = self.base.enter(connection, now)
            if copied_at is not None or self.lost_pages:
                tx = Transaction(connection, now, self.fencing)
                self.after_restore = (restored.put_in_doubt(tx, now,
                                                            "Beschädigtes Protokoll des Speichers am")
                                if self.lost_pages or copied_at is None
                                      else restored.put_in_doubt(tx, copied_at))
                tx.ledger.write(connection)
        self._writer = writer(engine, self._transaction, end=self._end)

    def _transaction(self, connection: Connection) -> Transaction:
        """Make the transaction that the writer has just begun. Raises `StaleFencing` when another process has
        the store now."""
        if not self.base.owns(connection, self.fencing):
            raise StaleFencing("another process has opened this store since" if not self.base.shared else
                               _FENCED)
        return Transaction(connection, tables.micros(self.now()), self.fencing)

    def _end(self, transaction: Transaction) -> None:
        """Tell other nodes, with the commit, that they may have something to do."""
        if self._others and transaction.ledger.makes_work():
            self.base.tell(transaction.connection, self.fencing)

    def close(self, *, clean: bool = True) -> None:
        """Finish what waits for the writer, note how the process ended, and let go. May be called twice.

        Not `clean`: something is still under way, and the next start looks for it.
        """
        writer, self._writer = self._writer, None  # nothing may be written behind the last words
        if writer is not None:
            # a broken store was not closed cleanly, and the next start shall know
            with suppress(StoreUnavailable):
                writer.do(partial(self._leave, clean=clean))
        self._give_back(writer)

    def let_go(self) -> None:
        """Give back writer, connections and lock, and note nothing. The next start finds an unclean end, as
        after a process that was killed. May be called twice."""
        writer, self._writer = self._writer, None
        self._give_back(writer)

    def _give_back(self, writer: Writer | None) -> None:
        if writer is not None:
            writer.close()
        if self._pulse is not None:
            self._pulse.close()
        self._readers.dispose()
        self.base.unlock()

    def _leave(self, tx: Transaction, *, clean: bool) -> None:
        if isinstance(self.base, Embedded):
            self.base.leave(tx.connection, clean=clean)
            return
        if not clean:
            # what is still under way is looked into at the next start, or by another node when this one is
            # silent
            return
        # whoever still holds something ends with this process; the other nodes go on at once
        delivery_transitions.recover(tx, self._assume_begun, unclean=False, gone=self.fencing)
        self.base.end(tx.connection, self.fencing, tx.now, STOPPED)
        self.base.tell(tx.connection, self.fencing)

    # ---------------------------------------------------------------- nodes that share a database

    @property
    def shared(self) -> bool:
        """Whether several hubs may use this store at the same time."""
        return self.base.shared

    @property
    def away(self) -> str | None:
        """Why nothing can be written now: the database was out of reach for some time. None: it is there."""
        if self._writer is None or not self.base.shared or _uptime() - self._beaten < AWAY:
            return None
        return f"the database was not reached for {_uptime() - self._beaten:.0f} s"

    def nodes(self) -> list[Node]:
        """Every hub on this store, with those that ended within the last days. Empty for a store that is not
        shared."""
        if isinstance(self.base, Embedded):
            return []
        with self.reading() as connection:
            return self.base.nodes(connection)

    def beat(self) -> list[Node]:
        """Say that this node lives. Gives all nodes that do. Only one thread may call it. Raises
        `StaleFencing` when this node was ended."""
        writer, before = self._write(), _uptime()
        living = self._pulsing().beat()
        if living is None:
            writer.break_down(f"the store is broken ({_FENCED}): nothing is accepted before a new start")
            raise StaleFencing(_FENCED)
        self._beaten, self._others = before, len(living) > 1
        return living

    def _pulsing(self) -> Pulse:
        assert isinstance(self.base, Served)  # noqa: S101  nobody else has nodes
        self._pulse = self._pulse or Pulse(self.base, self.fencing)
        return self._pulse

    def take_over(self, node: Node, assume_begun: Callable[[str], bool]) -> Recovered | None:
        """Free what a node had in hand that is silent. None when another node did that already, or the node
        is back."""
        def work(tx: Transaction) -> Recovered | None:
            assert isinstance(self.base, Served)  # noqa: S101  nobody else has nodes
            if not self.base.end(tx.connection, node.fencing, tx.now, TAKEN_OVER, node.beat):
                return None
            return delivery_transitions.recover(tx, assume_begun, unclean=True, gone=node.fencing)

        self._pulsing().cut(node)  # its writer may hold what this one waits for
        return self.transact(work)

    def still_ours(self) -> None:
        """Raises `LostLease` when another node may have taken over, because this one did not beat for too
        long. Asks nobody."""
        if self.base.shared and _uptime() - self._beaten > self.base.takeover.total_seconds() * SURE:
            raise LostLease("this node was frozen or cut off: another one may have what it had in hand")

    def listen(self, heard: Callable[[], None], ended: Callable[[], bool]) -> None:
        """Call `heard` whenever another node makes work, until `ended`. Raises `StoreUnavailable` when the
        session is lost."""
        if isinstance(self.base, Served):
            self.base.listen(self.fencing, heard, ended)

    @contextmanager
    def alone(self, job: str) -> Iterator[bool]:
        """Whether this node alone does the job now. No other node will until the end of the block."""
        with self.base.alone(job) as mine:
            yield mine

    @property
    def broken(self) -> str | None:
        """Why this process can write nothing any more, or None."""
        return None if self._writer is None else self._writer.broken

    def _write(self) -> Writer:
        if self._writer is None:
            raise StoreUnavailable("the store is closed or opened read-only")
        return self._writer

    def transact(self, work: Callable[[Transaction], ResultT]) -> ResultT:
        """Run `work` in a transaction of the writer; its result, after the commit."""
        return self._write().do(work)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one committed state and can write nothing. Raises `StoreDamaged`."""
        try:
            with self._readers.connect() as connection:
                yield connection
        except DBAPIError as error:
            if (damaged := damage(error, self.base.where)) is not None:
                raise damaged from error
            raise StoreUnavailable(
                f"the store cannot be read now: {disk_failure(error) or error.orig}") from error
        except PoolTimeout as error:
            raise StoreUnavailable("the store cannot be read now: too many readers wait") from error

    def _stage(self, payloads: Sequence[Payload]) -> list[Staged]:
        if not payloads:
            return []
        writer = self._write()
        if writer.broken is not None:
            raise StoreUnavailable(writer.broken)
        try:
            return self.blobs.stage(payloads)
        except SyncFailed as error:
            writer.break_down(f"the store is broken ({error}): nothing is accepted before a new start")
            raise

    def _abandon(self, staged: Iterable[Staged]) -> None:
        # after a failed commit nobody knows whether its rows are there: their files must stay
        if self.broken is None:
            self.blobs.abandon(staged)

    # ---------------------------------------------------------------- inlets

    def accept(self, incoming: Incoming, *, tenant: str, day: date, config_digest: str,
               park: tuple[str, str] | None = None) -> Accepted:
        """Store a message, and wait for the commit. See `accept_soon`."""
        return self.accept_soon(incoming, tenant=tenant, day=day, config_digest=config_digest, park=park)()

    def accept_soon(self, incoming: Incoming, *, tenant: str, day: date, config_digest: str,
                    park: tuple[str, str] | None = None) -> Callable[[], Accepted]:
        """Store a message. Call the answer: it returns after the commit. Only then the spooled files are
        taken over.

        This is the Idempotent Receiver: a key that was known within the last 30 days gives the message that
        has it. With other content the answer raises `Conflict`, or the message is parked, as
        `incoming.conflict` says. `park` is (reason, text) and stores the message parked.
        """
        if incoming.unreadable is not None:
            park = park or (Reason.UNREADABLE.value, incoming.unreadable)
        staged = self._stage_parts(incoming.parts)
        content = incoming.content_digest()
        arrival = message_transitions.Arrival(incoming, tenant, day, config_digest,
                                              incoming.duplicate_key(content), content,
                                              tuple(staged), self.blobs, park, self._new_id)
        try:
            commit = self._write().gather(message_transitions.accept, arrival)
        except Exception:
            self._abandon(staged)
            raise
        return partial(self._accepted, arrival, commit)

    def _accepted(self, arrival: message_transitions.Arrival,
                  commit: Future[Accepted | Conflict]) -> Accepted:
        try:
            answer = commit.result()
        except Exception:  # not BaseException: an interrupted wait says nothing about the commit
            self._abandon(arrival.staged)
            raise
        if isinstance(answer, Conflict):
            self._abandon(arrival.staged)
            raise answer
        if answer.duplicate:
            self._abandon(arrival.staged)
        for part in arrival.incoming.parts:
            if not isinstance(part.content, bytes):
                part.content.unlink(missing_ok=True)
        return answer

    def _stage_parts(self, parts: Sequence[IncomingPart]) -> list[Staged]:
        try:
            return self._stage([Payload(part.content, part.size, part.sha256) for part in parts])
        except ValueError as error:
            raise StoreUnavailable("a spooled body is not what the inlet says it is") from error

    # ---------------------------------------------------------------- pipeline

    def new_claim(self) -> int:
        """A number for a claim that is about to be made. It is higher than all before."""
        return next(self._claims)

    def forget_claim(self, claim: int) -> None:
        """Note that nobody works on what this claim took in hand. The next claim gives it back first, as if
        there had been no try."""
        self._lost_claims.add(claim)

    def claim_messages(self, limit: int, lease: timedelta, *, only: Sequence[str] | None = None,
                       claim: int | None = None) -> list[StoredMessage]:
        """Take up to `limit` received messages in hand, oldest first, for the time of `lease`. Suspects come
        only when `only` names them.

        A message whose row is not what was accepted says so (`damaged`). `claim` is a number from
        `new_claim`.
        """
        with self._claim(claim) as owner:
            ids = self._giving_back(lambda tx, _: message_transitions.claim(tx, limit, lease, owner, only))
            return self._claimed_messages(ids) if ids else []

    @contextmanager
    def _claim(self, number: int | None) -> Iterator[str]:
        """A name for what is claimed. When the claim fails, nobody knows whether it was committed, so it is
        forgotten."""
        number = self.new_claim() if number is None else number
        try:
            yield f"{self._owner}:{number}"
        except Exception:
            self.forget_claim(number)
            raise

    def _giving_back(self, work: Callable[[Transaction, int], ResultT]) -> ResultT:
        """Do `work` after what forgotten claims had leased was freed, in the same transaction. `work` is told
        how many deliveries that were."""
        lost = set(self._lost_claims)
        owners = [f"{self._owner}:{number}" for number in lost]

        def give_back(tx: Transaction) -> ResultT:
            freed = 0
            if owners:
                message_transitions.release(tx, lost_messages(tx.connection, owners))
                freed = delivery_transitions.release(tx, lost_deliveries(tx.connection, owners))
            return work(tx, freed)

        done = self.transact(give_back)
        self._lost_claims -= lost  # only now: a transaction may fail, or run anew
        return done

    def _claimed_messages(self, ids: Sequence[str]) -> list[StoredMessage]:
        """These messages. One whose row cannot even be read is parked here, for the sake of those behind
        it."""
        try:
            return self._read_claimed(ids)
        except UNREADABLE:
            if len(ids) > 1:
                return [message for each in ids for message in self._claimed_messages([each])]
            parked = Parked(message_id=ids[0], facts=Facts(), reason=Reason.DAMAGED,
                            text=say("die Zeile der Nachricht ist nicht lesbar: 'drehscheibe store check'"))
            self.transact(lambda tx: message_transitions.record(tx, [message_transitions.Recording(parked, "",
                                                                                              self.blobs)]))
            return []

    def _read_claimed(self, ids: Sequence[str]) -> list[StoredMessage]:
        with self.reading() as connection:
            rows = _MESSAGES(connection, ids=ids)
            messages = message_transitions.read_messages(connection, rows)
            damaged = message_transitions.damaged(connection, rows, messages)
        return [replace(each, damaged=True) if each.id in damaged else each for each in messages]

    def _messages(self, ids: Sequence[str]) -> list[StoredMessage]:
        with self.reading() as connection:
            return message_transitions.read_messages(connection, _MESSAGES(connection, ids=ids))

    def release_messages(self, ids: Sequence[str]) -> None:
        """Give messages back. Nothing happened to them."""
        self.transact(lambda tx: message_transitions.release(tx, ids))

    def adopt(self, message_id: str, tenant: str) -> None:
        """Give a message of an unknown AGS, with its bodies, to the municipality that has the AGS now."""
        self.transact(lambda tx: message_transitions.adopt(tx, message_id, tenant))

    def count_death(self, message_id: str) -> int:
        """Count a death: a process died with this message alone in hand. Gives the number of deaths by
        now."""
        return self.transact(lambda tx: message_transitions.count_death(tx, message_id))

    def suspects(self) -> list[str]:
        """Messages that were in flight at an unclean end and have no outcome yet, oldest first."""
        with self.reading() as connection:
            return list(connection.execute(SUSPECTS).scalars())

    def bodies(self, blob_ids: Sequence[str]) -> dict[str, StoredBody]:
        """Bodies by blob id. Ids that are gone are missing. A body is checked when it is read."""
        with self.reading() as connection:
            return self.blobs.fetch(connection, blob_ids)

    def open_blob(self, blob_id: str) -> BinaryIO:
        """One body as a seekable file. Raises `Damaged` (a `Permanent`)."""
        return _there(blob_id, self.bodies([blob_id])).open()

    def record(self, outcomes: Sequence[Outcome], out_fd: int, *, config_digest: str,
               messages: Sequence[StoredMessage] | None = None) -> list[str]:
        """Write the outcomes of claimed messages in one transaction. Gives the destinations that got work.

        Bodies are slices of `out_fd`. `messages` are the claimed ones, where they are still at hand. Outcomes
        of messages that are not in hand any more are ignored. Raises `BadOutcome` when one outcome does not
        fit; then nothing at all is recorded.
        """
        if messages is None:
            messages = self._messages([outcome.message_id for outcome in outcomes
                                       if not isinstance(outcome, Parked)])
        by_id = {message.id: message for message in messages}
        received = {message.id: tuple(part for part in message.parts if part.role == "received")
                    for message in messages}
        staged: list[Staged] = []
        files = ExitStack()
        try:
            recordings = []
            for outcome in outcomes:
                recordings.append(
                    self._prepare_split(outcome, config_digest, by_id[outcome.message_id], files)
                    if isinstance(outcome, Split)
                    else self._prepare(outcome, out_fd, config_digest, received.get(outcome.message_id, ())))
                staged += recordings[-1].everything
            answers = self.transact(lambda tx: message_transitions.record(tx, recordings))
        except Exception:
            self._abandon(staged)
            raise
        finally:
            files.close()
        for recording, answer in zip(recordings, answers, strict=True):
            if answer is None:
                self._abandon(recording.everything)
        return sorted({destination for answer in answers if answer for destination in answer})

    def _prepare(self, outcome: Translated | Parked, out_fd: int, config_digest: str,
                 received: Sequence[StoredPart]) -> message_transitions.Recording:
        if isinstance(outcome, Parked):
            return message_transitions.Recording(outcome, config_digest, self.blobs)
        try:
            attachments = self._stage([Payload(Slice(out_fd, each.body.offset), each.size, each.sha256)
                                       for each in outcome.attachments])
        except ValueError as error:
            raise BadOutcome(outcome.message_id, "an attachment does not have its size and digest") from error
        staged = list(attachments)
        try:
            deliveries = [self._prepare_delivery(outcome.message_id, each, out_fd, received, attachments,
                                                 staged)
                          for each in outcome.deliveries]
        except BaseException as error:
            self._abandon(staged)
            if isinstance(error, ValueError):
                raise BadOutcome(outcome.message_id, str(error)) from error
            raise
        parts = tuple({"message_id": outcome.message_id, "no": len(received) + no, "role": "attachment",
                       "kind": each.role,
                       "field": each.field, "name": each.name, "filename": each.filename,
                       "media_type": each.media_type,
                       "size": body.size, "sha256": body.sha256, "blob": body.id}
                      for no, (each, body) in enumerate(zip(outcome.attachments, attachments, strict=True),
                                                        1))
        return message_transitions.Recording(outcome, config_digest, self.blobs, tuple(staged), parts,
                                             tuple(deliveries))

    def _prepare_split(self, outcome: Split, config_digest: str, message: StoredMessage,
                       files: ExitStack) -> message_transitions.Recording:
        made: list[message_transitions.Arrival] = []
        bodies = self.bodies([part.blob for part in message.parts])
        try:
            made.extend(split.arrivals(message, outcome.groups, bodies, self._stage, self.blobs,
                                       config_digest, files))
        except BaseException as error:
            self._abandon([each for arrival in made for each in arrival.staged])
            if isinstance(error, IndexError):
                raise BadOutcome(outcome.message_id, "an application has a part that is not there") from error
            raise
        return message_transitions.Recording(outcome, config_digest, self.blobs, arrivals=tuple(made))

    def _prepare_delivery(self, message_id: str, new: OutDelivery, out_fd: int,
                          received: Sequence[StoredPart],
                          attachments: Sequence[Staged], staged: list[Staged]) -> dict[str, Any]:
        """The delivery's row. Its new bodies and its manifest go to `staged`."""
        bodies = self._stage([Payload(Slice(out_fd, part.body.offset), part.size, part.sha256)
                              for part in new.parts if part.body is not None])
        staged += bodies
        fresh = iter(bodies)
        parts = [_manifest_part(part, fresh, attachments, received) for part in new.parts]
        staged += self._stage([Payload.of(_manifest_bytes(new, parts))])
        return {"id": delivery_id(message_id, new.recipient), "recipient": new.recipient,
                "destination": new.destination,
                "generation": 0, "manifest": staged[-1].id}

    # ---------------------------------------------------------------- deliveries

    def due_destinations(self, now: datetime | None = None) -> list[tuple[str, datetime]]:
        """Destinations with waiting deliveries, and the earliest moment of each. With `now`, only those that
        are due by then."""
        with self.reading() as connection:
            found = waiting.due_destinations(connection)
        return [(name, moment(at)) for name, at in found if now is None or at <= tables.micros(now)]

    def due_at(self, destinations: Collection[str]) -> list[tuple[str, datetime]]:
        """Those of these destinations that have waiting deliveries, and the earliest moment of each."""
        with self.reading() as connection:
            return [(name, moment(at)) for name, at in waiting.due_at(connection, destinations)]

    def claim_deliveries(self, destination: str, limit: int, lease: timedelta,
                         deferred_first: bool = False, claim: int | None = None) -> list[ClaimedDelivery]:
        """Take up to `limit` due deliveries in hand for the time of `lease`, and count the attempt. Doubtful
        ones come for probing, uncounted.

        A delivery whose manifest is damaged, or whose row does not fit its own name, is parked here and not
        handed out. The answer is empty only where nothing else is due. `claim` is a number from `new_claim`.
        """
        while True:
            with self._claim(claim) as owner:
                rows = self._giving_back(partial(self._claim_rows, destination, limit, lease, owner,
                                                 deferred_first))
                found = self._claimed(rows, destination) if rows else []
            if found or not rows:
                return found

    def _claim_rows(self, destination: str, limit: int, lease: timedelta, owner: str, deferred_first: bool,
                    tx: Transaction, _freed: int) -> list[Row[Any]]:
        return delivery_transitions.claim(tx, destination, limit, lease, owner, deferred_first)

    def _claimed(self, rows: Sequence[Row[Any]], destination: str) -> list[ClaimedDelivery]:
        manifests = self.bodies([row.manifest for row in rows])
        found, damaged = [], []
        for row in rows:
            try:
                _check_row(row, destination)
                found.append((row, Manifest.from_json(json.loads(_there(row.manifest, manifests).read()))))
            except Damaged as error:
                damaged.append(Settlement.parked(row.id, Reason.DAMAGED.value, str(error)))
        if damaged:
            self.settle(damaged)
        open_blob = self._opener([part for _, manifest in found for part in manifest.parts])
        return [_claimed(row, manifest, open_blob) for row, manifest in found]

    def _opener(self, parts: Sequence[ManifestPart]) -> Callable[[str], BinaryIO]:
        """A function like `open_blob` that has fetched the small bodies among `parts` at once and keeps
        them."""
        small, room = [], AHEAD
        for part in parts:
            if part.size <= SMALL and part.size <= room:
                small.append(part.blob)
                room -= part.size
        kept = self.bodies(small) if small else {}

        def open_blob(blob_id: str) -> BinaryIO:
            return kept[blob_id].open() if blob_id in kept else self.open_blob(blob_id)

        return open_blob

    def begin_effect(self, delivery_id: str) -> None:
        """Write down that bytes are about to leave. Raises `LostLease` when the delivery is not in hand any
        more."""
        if not self._write().gather(delivery_transitions.begin, delivery_id).result():
            raise LostLease(f"delivery {delivery_id} is not in hand any more")

    def split(self, item: Delivery, due_at: datetime, files_to: str, why: str) -> Settlement:
        """Let a delivery go without the files that another delivery brings to `files_to` anyway. Where there
        is none, it goes without all of them, and a new delivery brings them there."""
        gone, new = slim_manifest.files(item.manifest), True
        files_id = delivery_id(item.message_id, f"{item.recipient}{delivery_transitions.FILES}",
                               self.get_delivery(item.id).generation)
        for row in self.deliveries_of(item.message_id):
            if row.destination == files_to and row.id != item.id and row.state is not DeliveryState.DISCARDED:
                shared = slim_manifest.shared(item.manifest, self._manifest_of(row.id))
                if shared:
                    gone, files_id, new = shared, row.id, False
                    break
        content = encode_json(slim_manifest.slim(item.manifest, gone, files_id, why).to_json()).encode()
        [staged] = self._stage([Payload.of(content)])
        return Settlement.split(item.id, due_at, why,
                                Slim(self.blobs, staged, files_id, files_to if new else None))

    def _manifest_of(self, delivery_id: str) -> Manifest:
        with self.reading() as connection:
            blob_id = operator_actions.find(connection, tables.delivery, delivery_id).manifest
        return Manifest.from_json(json.loads(_there(blob_id, self.bodies([blob_id])).read()))

    def settle(self, settlements: Sequence[Settlement]) -> int:
        """Write outcomes in one transaction. Gives how many. Outcomes of deliveries that are not in hand any
        more are ignored."""
        return sum(self.transact(lambda tx: delivery_transitions.settle(tx, settlements)))

    def settle_soon(self, settlement: Settlement) -> Future[bool]:
        """Write one outcome, together with what other threads settle. The future comes true after the
        commit."""
        return self._write().gather(_settle_each, settlement)

    def release_deliveries(self, ids: Sequence[str]) -> int:
        """Put claimed deliveries back. There was no try, so none is counted. Those whose effect began stay in
        hand. Gives how many were put back."""
        return self.transact(lambda tx: delivery_transitions.release(tx, ids))

    def recover(self, assume_begun: Callable[[str], bool] = lambda _: False) -> Recovered:
        """Free what earlier processes had in hand. Call it once after `open`, before anything is claimed.

        A delivery under way becomes doubtful when its effect began, or when `assume_begun(destination)` is
        true.
        """
        self._assume_begun = assume_begun
        if isinstance(self.base, Embedded):
            return self.transact(lambda tx: delivery_transitions.recover(tx, assume_begun,
                                                                         unclean=self.unclean))
        return self.transact(self._recover_former)

    def _recover_former(self, tx: Transaction) -> Recovered:
        """Free only what former runs of this very node had in hand, because other nodes live on."""
        assert isinstance(self.base, Served)  # noqa: S101
        delivery_transitions.pull_in(tx)
        found = Recovered(0, 0, 0, None)
        for fencing in self.base.former(tx.connection, self.fencing):
            self.base.end(tx.connection, fencing, tx.now, FOLLOWED)
            found += delivery_transitions.recover(tx, self._assume_begun, unclean=True, gone=fencing)
        return found

    def recover_lost(self, claims: Collection[int], before: int, known: Collection[str],
                     assume_begun: Callable[[str], bool]) -> int:
        """Free deliveries that this process holds by claims older than `before` and not among `claims`. Gives
        how many.

        `known` are those whose outcome is known and will be written. What a forgotten claim holds was not
        tried. Of the rest nobody knows, so it is judged like after a crash.
        """
        def nobodys(row: Row[Any]) -> bool:
            claim = delivery_transitions.claim_of(row)
            return claim < before and claim not in claims and row.id not in known

        return self._giving_back(lambda tx,
                                 freed: freed + delivery_transitions.recover_lost(tx, nobodys, assume_begun))

    def set_back(self, step: timedelta) -> int:
        """Shorten all waits by `step`, because the clock went back. Nothing shall wait until it has caught
        up. Gives how many waits."""
        return self.transact(lambda tx: delivery_transitions.set_back(tx, step))

    def free_missed(self) -> int:
        """Let deliveries go that wait for their turn within a case although it has come. Gives how many."""
        with self.reading() as connection:
            numbers = case_order.missed(connection)
        return self.transact(lambda tx: case_order.free_all(tx, numbers)) if numbers else 0

    def waiting_in_order(self) -> dict[str, int]:
        """How many deliveries wait for an earlier message of their case, by destination."""
        with self.reading() as connection:
            return case_order.waiting(connection)

    def predecessor(self, delivery_id: str) -> Predecessor | None:
        """What a delivery waits for because of the order within its case."""
        with self.reading() as connection:
            return case_order.predecessor(connection, delivery_id)

    # ---------------------------------------------------------------- operator

    def get_message(self, name: str) -> StoredMessage:
        """Look one up by its id, or by the unique beginning of it. Raises `NotFound`."""
        with self.reading() as connection:
            return message_transitions.read_messages(
                connection, [operator_actions.find(connection, tables.message, name)])[0]

    def get_delivery(self, name: str) -> DeliveryRow:
        """Look one up by its id, or by the unique beginning of it. Raises `NotFound`."""
        with self.reading() as connection:
            return _delivery_row(operator_actions.find(connection, tables.delivery, name))

    def trace_of(self, message_id: str) -> tuple[str, ...]:
        """What routing and the worker noted, one line for each note. Raises `NotFound`."""
        with self.reading() as connection:
            trace = operator_actions.find(connection, tables.message, message_id).trace
        return tuple(json.loads(trace)) if trace else ()

    def find_messages(self, *, state: MessageState | None = None, ags: str | None = None,
                      service: str | None = None, limit: int = 100,
                      before: str | None = None, reason: str | None = None) -> list[StoredMessage]:
        """Up to `limit` messages with these properties, the newest first; only older ones than `before`."""
        query = select(tables.message).order_by(tables.message.c.no.desc()).limit(limit)
        if before is not None:
            query = query.where(tables.message.c.no < select(tables.message.c.no).where(
                tables.message.c.id == before).scalar_subquery())
        for column, value in ((tables.message.c.state, state), (tables.message.c.ags, ags),
                              (tables.message.c.service, service), (tables.message.c.reason, reason)):
            if value is not None:
                query = query.where(column == str(value))
        with self.reading() as connection:
            return message_transitions.read_messages(connection, connection.execute(query))

    def deliveries_of(self, message_id: str) -> list[DeliveryRow]:
        """The deliveries of a message, in the order in which they were made."""
        with self.reading() as connection:
            return [_delivery_row(row) for row in connection.execute(
                select(tables.delivery).where(tables.delivery.c.message_id
                                              == message_id).order_by(tables.delivery.c.no))]

    def events_of(self, message_id: str) -> list[Event]:
        """The whole history of a message, with that of its deliveries."""
        with self.reading() as connection:
            return [Event(moment(row.at), row.message_id, row.delivery_id, row.name, row.before, row.after,
                          row.reason,
                          row.detail, row.who)
                    for row in connection.execute(select(tables.event).where(tables.event.c.message_id
                                                                             == message_id)
                                                  .order_by(tables.event.c.no))]

    def queue(self) -> list[QueueRow]:
        """For each destination: how many deliveries are in which state, and since when the oldest waits."""
        with self.reading() as connection:
            counts, oldest = ledger.tallies(connection), waiting.oldest_open(connection)
        rows: dict[str, dict[str, int]] = {}
        for key, count in counts.items():
            if key.kind == "delivery":
                states = rows.setdefault(key.destination, {state.value: 0 for state in DeliveryState})
                states[key.name] += count
        return [QueueRow(name, states, moment(oldest[name]) if name in oldest else None)
                for name, states in sorted(rows.items())]

    def replay(self, message_id: str, who: str, *, action: str | None = None, ask_first: bool = False) -> int:
        """Let a parked message be received again. Of a routed one, make the parked and doubtful deliveries
        due again. Gives how many. Raises `NotFound` and `NotNow`."""
        return self._act(action, who, "replay", message_id,
                         lambda tx: operator_actions.replay(tx, message_id, who, ask_first=ask_first))

    def replay_delivery(self, delivery_id: str, who: str, *, action: str | None = None) -> int:
        """Make a parked or doubtful delivery due again, with the same bytes. Raises `NotFound` and
        `NotNow`."""
        return self._act(action, who, "replay-delivery", delivery_id,
                         lambda tx: operator_actions.replay_delivery(tx, delivery_id, who))

    def discard(self, name: str, who: str, reason: str, *, action: str | None = None) -> int:
        """Discard a message or a delivery for good, by its full id or the unique beginning of it. Gives how
        many. Raises `NotFound` and `NotNow`."""
        try:
            self.get_message(name)
        except NotFound:
            return self._act(action, who, "discard", name,
                             lambda tx: operator_actions.discard_delivery(tx, name, who, reason))
        return self._act(action, who, "discard", name,
                         lambda tx: operator_actions.discard_message(tx, name, who, reason))

    def resend_as_new(self, delivery_id: str, who: str, *, action: str | None = None) -> str:
        """Send the same body once more under a new name. Gives the new delivery's id. Raises `NotFound` and
        `NotNow`."""
        return self._act(action, who, "resend-as-new", delivery_id,
                         lambda tx: operator_actions.resend_as_new(tx, delivery_id, who))

    def confirm(self, delivery_id: str, who: str, reason: str, *, action: str | None = None) -> int:
        """Note that a person knows that a doubtful or parked delivery arrived. Raises `NotFound` and
        `NotNow`."""
        return self._act(action, who, "confirm", delivery_id,
                         lambda tx: operator_actions.confirm(tx, delivery_id, who, reason))

    def _act(self, action: str | None, who: str, verb: str, target: str,
             act: Callable[[Transaction], ResultT]) -> ResultT:
        result: ResultT = self.transact(lambda tx: operator_actions.once(tx, action, who, verb, target, act))
        return result

    # ---------------------------------------------------------------- retention

    def finished_services(self, *, erased: bool) -> list[tuple[str, str]]:
        """(tenant, service) of finished messages that have their content; with `erased`, of those whose
        content is gone."""
        with self.reading() as connection:
            return erasure.services(connection, erased=erased)

    def due_for_retention(self, tenant: str, service: str, before: datetime, limit: int, *,
                          erased: bool) -> list[str]:
        """Messages that were finished not after `before`, oldest first."""
        with self.reading() as connection:
            return erasure.due(connection, tenant, service, tables.micros(before), limit, erased=erased)

    def count_due(self, tenant: str, service: str, before: datetime, *, erased: bool) -> int:
        """How many messages `due_for_retention` would name without a limit."""
        with self.reading() as connection:
            return erasure.count(connection, tenant, service, tables.micros(before), erased=erased)

    def still_due(self, ids: Sequence[str], *, erased: bool) -> set[str]:
        """Those of these messages that `erase` (or, with `erased`, `forget`) left as they were."""
        with self.reading() as connection:
            rows = connection.execute(select(tables.message.c.id, tables.message.c.payload_deleted_at).where(
                tables.message.c.id.in_(ids)))
            return {row.id for row in rows if (row.payload_deleted_at is not None) == erased}

    def erase(self, ids: Sequence[str]) -> Erased:
        """Delete the content of finished messages. The others of `ids` stay as they are."""
        done = self.transact(lambda tx: erasure.erase(tx, self.blobs, ids))
        self.blobs.abandon(done.files)
        return done

    def forget(self, ids: Sequence[str]) -> int:
        """Delete the proofs of messages whose content is gone. The books keep counting them. Gives how
        many."""
        return self.transact(lambda tx: erasure.forget(tx, ids))

    def hide_cases(self, key: bytes, limit: int) -> int:
        """Keep of the case of messages whose content is gone only its hash with this key. Gives of how many.
        Each transaction takes `limit` of them."""
        total, after = 0, 0
        while True:
            after, changed = self.transact(partial(erasure.hide_cases, key=key, after=after, limit=limit))
            total += changed
            if not after:
                return total

    def expire_keys(self, limit: int) -> int:
        """Forget up to `limit` duplicate keys and operators' actions that were kept long enough. Gives how
        many."""
        return self.transact(lambda tx: erasure.expire(tx, message_transitions.KEY_KEPT, limit))

    def dead_rows(self) -> list[int]:
        """The numbers of rows of overwritten bodies that may be deleted without moving anybody's content."""
        if self.base.shared:
            return []  # they went with their content
        with self.reading() as connection:
            return erasure.dead(connection)

    def bury(self, numbers: Sequence[int]) -> int:
        """Delete rows that `dead_rows` named. Their space is used again. Gives how many."""
        return self.transact(lambda tx: erasure.bury(tx, numbers))

    def remove_leftovers(self, older: timedelta = timedelta(days=1)) -> int:
        """Remove files whose content should be gone, because a crash came between, and files that no row ever
        named, when they are `older`. Gives how many. Slow."""
        files = self.blobs.files()
        with self.reading() as connection:
            known = self.blobs.fetch(connection, list(files))
            erased = erasure.erased_blobs(connection, list(files))
        oldest = (self.now() - older).timestamp()
        gone = [file for name, file in files.items() if name in erased
                or (name not in known and _age(file) < oldest)]
        for file in gone:
            file.unlink(missing_ok=True)
        return len(gone)

    def truncate_log(self) -> bool:
        """Write the log into the tables and cut it to nothing. False: a reader still needs it."""
        return self.base.shared or self._write().one_by_one(sqlite.truncate_log)

    # ---------------------------------------------------------------- figures

    def usages(self, first_month: str, last_month: str) -> dict[Use, Used]:
        """What was used from `first_month` to `last_month` (``YYYY-MM``), by service, destination and kind of
        destination."""
        with self.reading() as connection:
            return ledger.usages(connection, first_month, last_month)

    def tallies(self) -> dict[TallyKey, int]:
        """All counters, as of one moment. See `hub.store.database.ledger`."""
        with self.reading() as connection:
            return ledger.tallies(connection)

    def balances(self) -> tuple[Balance, Balance]:
        """The messages that were accepted, and the deliveries that were created, against their states."""
        return ledger.balances(self.tallies())

    def recount(self) -> dict[TallyKey, int]:
        """Count the tallies of states anew from the rows. Slow: for tests and `store check`."""
        with self.reading() as connection:
            return ledger.recount(connection)

    def oldest_undelivered(self) -> datetime | None:
        """When the oldest message was received that is neither parked nor finished, or None."""
        with self.reading() as connection:
            at = connection.execute(OLDEST_MESSAGE).scalar_one_or_none()
        return None if at is None else moment(at)

    def oldest_received(self) -> datetime | None:
        """When the oldest message was received that still waits for a worker, or None."""
        with self.reading() as connection:
            at = connection.execute(_OLDEST_RECEIVED).scalar_one_or_none()
        return None if at is None else moment(at)

    def parked(self) -> dict[tuple[str, str], int]:
        """How many messages are parked, by tenant and reason."""
        with self.reading() as connection:
            return waiting.parked(connection)

    def examine(self, *, deep: bool = False, alone: bool = False, progress: Progress = silent) -> Report:
        """Examine all of the store (`hub.store.integrity`), beside a writer too. `alone`: nobody accepts
        anything meanwhile. Slow."""
        return Examination(self.reading, self.blobs, progress, alone).run(deep=deep)

    def plan_repair(self, report: Report) -> repair_transitions.Plan:
        """What `repair` would do about a report."""
        with self.reading() as connection:
            return repair_transitions.plan(connection, self.blobs, report)

    def repair(self, todo: repair_transitions.Plan, who: str) -> dict[str, Any]:
        """Repair what can be repaired safely (`hub.store.transitions.repair`). Gives how much of each kind.
        Only while nobody else uses the store."""
        done: dict[str, Any] = self.transact(lambda tx: repair_transitions.carry_out(tx, todo, who))
        folder = self.directory / repair_transitions.QUARANTINE / self.now().astimezone(UTC).strftime(
            "%Y%m%dT%H%M%SZ")
        return {**done, "quarantine": repair_transitions.quarantine(self.blobs, todo.orphans, folder),
                "folder": str(folder)}

    def copy(self, file: Path, progress: Callable[[int, int], None]) -> datetime:
        """Copy the tables as of one moment into a new file that knows that it is a copy
        (`hub.store.transitions.restored`). Gives the moment."""
        made_at = self.now()
        with self.reading() as connection:
            # from here on the transaction sees this moment
            connection.execute(select(tables.store.c.fencing)).scalar_one()
            sqlite.copy(connection.connection.dbapi_connection, file, tables.micros(made_at), COPY, progress)
        return made_at

    @property
    def files(self) -> FileBlobs:
        """The large bodies as files. Raises `HubError` for a PostgreSQL."""
        if not isinstance(self.blobs, FileBlobs):
            raise HubError("a PostgreSQL is saved and restored by its own tools: docs/operate-two-nodes.md")
        return self.blobs

    def only_node(self) -> None:
        """Raises `StoreInUse` when another hub runs on this store."""
        others = [node.name for node in self.nodes() if node.ended is None and node.fencing != self.fencing]
        if others:
            raise StoreInUse(f"{self.base.where}: other hubs run on this store: {', '.join(others)}: stop "
                             "them first")

    def keeps(self, blob_id: str) -> bool:
        """Whether a body's row is there and its content is not deleted."""
        with self.reading() as connection:
            return bool(self.blobs.fetch(connection, [blob_id])) and not erasure.erased_blobs(connection,
                                                                                                [blob_id])

    def raise_fencing(self, above: int) -> None:
        """Raise the fencing number of a restored store above any number that the store it replaces has
        given."""
        self.transact(lambda tx: tx.connection.execute(update(tables.store).values(fencing=max(tx.fencing,
                                                                                          above))))
        self.fencing = max(self.fencing, above)

    def check(self) -> list[str]:
        """What is wrong with the file, or with what lies in the database. Empty when it is sound. Slow: it
        reads all of it."""
        with self.reading() as connection:
            if self.base.shared:
                return [f"blob {row.id}: {row.there} of {row.size} bytes"
                        for row in connection.execute(INCOMPLETE)]
            return [line for line in connection.execute(text("PRAGMA integrity_check")).scalars()
                    if line != "ok"]


def lost_messages(connection: Connection, owners: Sequence[str]) -> list[str]:
    """The ids of messages that are leased under these names."""
    table = tables.message
    return list(connection.execute(select(table.c.id).where(table.c.state == message_transitions.RECEIVED,
                                                            table.c.lease_until > 0,
                                                            table.c.lease_owner.in_(owners))).scalars())


def lost_deliveries(connection: Connection, owners: Sequence[str]) -> list[str]:
    """The ids of deliveries that are leased under these names."""
    table = tables.delivery
    return list(connection.execute(select(table.c.id).where(table.c.lease_until.is_not(None),
                                                            table.c.lease_owner.in_(owners))).scalars())


def _always(_: str) -> bool:
    return True


def _uptime() -> float:
    """Seconds since the machine started, with the time that it slept. A frozen process compares them after it
    was thawed."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_MESSAGES = Query(select(tables.message).where(tables.message.c.id.in_(bindparam("ids", expanding=True)))
                  .order_by(tables.message.c.no))
SUSPECTS = (select(tables.message.c.id).where(tables.message.c.state == message_transitions.RECEIVED,
                                               tables.message.c.suspect == literal_column("1"))
             .order_by(tables.message.c.no))
_OLDEST_RECEIVED = select(func.min(tables.message.c.received_at)).where(tables.MESSAGE_WAITS)
OLDEST_MESSAGE = (select(tables.message.c.received_at).where(tables.MESSAGE_OPEN)
                   .order_by(tables.message.c.received_at).limit(1))


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return math.inf


def _there(blob_id: str, bodies: dict[str, StoredBody]) -> StoredBody:
    body = bodies.get(blob_id)
    if body is None:
        raise Damaged(f"Inhalt {blob_id}: er fehlt")
    return body


def _check_row(row: Row[Any], destination: str) -> None:
    """Make sure that a bit that turned over in a row does not send it elsewhere, or under another's name.
    Raises `Damaged`."""
    copied = all(getattr(row, name) == getattr(row, f"own_{name}") for name in tables.COPIED)
    try:
        moment(row.created_at), moment(row.first_due_at)
    except UNREADABLE as error:
        raise Damaged(f"Zustellung {row.id}: ihre Zeile ist beschädigt: 'drehscheibe store check'") from error
    if not copied or row.destination != destination or row.id != delivery_id(row.message_id, row.recipient,
                                                                             row.generation):
        raise Damaged(f"Zustellung {row.id}: ihre Zeile ist beschädigt: 'drehscheibe store check'")


def _claimed(row: Row[Any], manifest: Manifest, open_blob: Callable[[str], BinaryIO]) -> ClaimedDelivery:
    """The delivery in hand. `row` is as it was before the claim."""
    probe = row.state == DeliveryState.IN_DOUBT
    attempts = row.attempts + (not probe)
    return ClaimedDelivery(Delivery(
        row.id, row.message_id, row.tenant, row.ags, row.service, row.recipient, row.destination, attempts,
        bool(row.test),
        moment(row.created_at), manifest, open_blob, bool(row.repeat_marked), row.case),
        moment(row.first_due_at), attempts, probe, row.error == RESTORED)


def _manifest_bytes(new: OutDelivery, parts: Sequence[dict[str, Any]]) -> bytes:
    """The bytes of a manifest, as from `Manifest.to_json`, without copying everything on the way."""
    return encode_json({"subject": new.subject, "name_parts": dict(new.name_parts), "path": new.path,
                        "headers": dict(new.headers), "properties": dict(new.properties),
                        "parts": parts}).encode()


def _settle_each(tx: Transaction, settlements: Sequence[Settlement]) -> list[bool]:
    return delivery_transitions.settle(tx, settlements)


def _manifest_part(part: OutPart, fresh: Iterator[Staged], attachments: Sequence[Staged],
                   received: Sequence[StoredPart]) -> dict[str, Any]:
    """Where the part's bytes are. Raises ValueError when the worker names none, or another size or digest
    than theirs."""
    if part.body is not None:
        body = next(fresh)
        blob = (body.id, body.size, body.sha256)
    elif part.attachment is not None and part.attachment < len(attachments):
        body = attachments[part.attachment]
        blob = (body.id, body.size, body.sha256)
    elif part.received is not None and part.received < len(received):
        stored = received[part.received]
        blob = (stored.blob, stored.size, stored.sha256)
    else:
        raise ValueError("a part names a body that is not there")
    if blob[1:] != (part.size, part.sha256):
        raise ValueError("a part does not have the size and digest of its body")
    return {"role": part.role, "name": part.name, "media_type": part.media_type, "size": blob[1],
            "sha256": blob[2], "blob": blob[0], "filename": part.filename, "marks": part.marks}


def _delivery_row(row: Row[Any]) -> DeliveryRow:
    return DeliveryRow(
        row.id, row.message_id, row.recipient, row.destination, row.generation, DeliveryState(row.state),
        moment(row.created_at), None if row.due_at is None else moment(row.due_at), row.attempts,
        bool(row.repeat_marked),
        row.error, row.reason, row.reason_text, json.loads(row.receipt) if row.receipt else None,
        None if row.finished_at is None else moment(row.finished_at), row.config_digest, row.mapping_digest)

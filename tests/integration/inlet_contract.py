"""One suite for every inlet, with a real sender.

``class TestInbox(InletContract)`` and a fixture `site` make a connector's test; what only that connector
promises stands below. Each promise is a function of its own, so that `planted_inlets.FAULTS` can show that
the suite notices when an inlet breaks it.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import pytest

from connectors._framing import IN_MEMORY
from hub.endpoint import Accept, InletBase, InletContext
from hub.errors import Conflict, HubError, NotAllowed, StoreUnavailable
from tests.services import wait_until
from tests.services.door import Door

SMALL = b"<serviceportal-fields/>"
LARGE = b"<serviceportal-fields>" + b"x" * (IN_MEMORY + 1) + b"</serviceportal-fields>"
MAX_BYTES = 1_000_000
ODD = (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"\xef\xbb\xbf<a>\r\n\r\n</a>\n",
       "<a>ä€</a>".encode("utf-16"),
       b"\x1f\x8b\x08\x00nothing is unpacked", b"\0", b" \n")
"""Bodies that change when somebody decodes, unpacks or strips them."""
SOON = 0.4
"""Seconds in which an acknowledgement that comes too early would have come."""

Outcome = Literal["open", "acknowledged", "refused"]
"""What a sender knows of a transfer: it must keep it, it may forget it, it must not send it again."""


class Sent(Protocol):
    """One message on its way in. Its sender hands it in again for as long as the protocol tells it to."""

    def outcome(self) -> Outcome:
        """What its sender knows now."""

    def not_taken(self) -> int:
        """How many transfers of it were not taken until now. Where the inlet itself asks again, it is one
        transfer.
        """


@dataclass
class Gate:
    """Stands for the hub around an inlet: the room on its disk, and what it counts."""

    spool: Path
    room: bool = True
    asked: list[int] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    not_taken: dict[str, int] = field(default_factory=dict)
    """What the inlet said last of what it does not take."""
    dead_letters: list[int | None] = field(default_factory=list)
    """What the inlet said of its broker's dead letters, one after the other."""
    certificates: list[tuple[str | None, str]] = field(default_factory=list)
    """Each sender that came in, with the day its certificate ends, or that was refused, with the reason."""
    spooled: set[str] = field(default_factory=set)
    """What lay in the spool when the inlet asked."""

    def admit(self, size: int) -> None:
        """See `InletContext.admit`."""
        if size:
            self.asked.append(size)
            self.spooled |= {path.name for path in self.spool.iterdir()} if self.spool.exists() else set()
            if not self.room:
                raise StoreUnavailable("the disk fills", retry_after=0.05)


@dataclass(frozen=True)
class Fault:
    """What is wrong with an inlet. Nothing, unless a test says so."""

    kind: Callable[[type[InletBase[Any]]], type[InletBase[Any]]] = lambda kind: kind
    accept: Callable[[Accept], Accept] = lambda accept: accept
    context: Callable[[InletContext], InletContext] = lambda context: context


class Site(ABC):
    """An inlet that is started again like the hub would, and a sender for it. Entering it starts the inlet.
    """

    kind: ClassVar[type[InletBase[Any]]]
    conflict: ClassVar[Literal["refuse", "park"]]
    """What the inlet asks the hub to do with the same key and other content."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.spool = folder / "spool"
        self.spool.mkdir(parents=True)
        self.door = Door(folder / "store")
        self.gate = Gate(self.spool)
        self.fault = Fault()
        self.patience = 30.0
        self.stop_seconds = 10.0
        self.failures: list[BaseException] = []
        self.stop = threading.Event()
        self._inlet: InletBase[Any] | None = None
        self._thread: threading.Thread | None = None

    @abstractmethod
    def options(self) -> Any:
        """The inlet's options."""

    @abstractmethod
    def send(self, body: bytes, key: str | None = None) -> Sent:
        """Hand in a message. The same body and key are the same message."""

    @abstractmethod
    def renew(self) -> None:
        """Replace the files that the options name by new ones that are as good."""

    @abstractmethod
    def renewed(self) -> bool:
        """Whether the new files are in force."""

    @abstractmethod
    def hurt(self) -> None:
        """From now on `run` raises."""

    @abstractmethod
    def heal(self) -> None:
        """From now on it does not."""

    @property
    def inlet(self) -> Any:
        """The inlet, built when somebody first asks."""
        if self._inlet is None:
            self._inlet = self.build(self.fault.kind(self.kind))
        return self._inlet

    def build(self, kind: type[InletBase[Any]]) -> InletBase[Any]:
        """A new inlet."""
        return kind(self.options(), self.fault.context(self.context()))

    def context(self) -> InletContext:
        """What the hub would hand to it."""
        return InletContext(name="inlet", spool=self.spool, max_bytes=MAX_BYTES, admit=self.gate.admit,
                            turned_away=self.gate.told.append,
                            files_not_taken=lambda found: setattr(self.gate, "not_taken", {**found}),
                            dead_letters=self.gate.dead_letters.append,
                            certificate_seen=lambda sender, ends: self.gate.certificates.append(
                                (sender, ends.date().isoformat())),
                            certificate_refused=lambda *told: self.gate.certificates.append(told))

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        """For a condition; the test fails when it does not come."""
        wait_until(condition, what, self.patience)

    def until_acknowledged(self, *sent: Sent) -> None:
        """Wait until the senders may forget them."""
        self.wait(lambda: {each.outcome() for each in sent} == {"acknowledged"}, "the acknowledgement")

    def spooled(self) -> list[str]:
        """What lies in the spool."""
        return sorted(path.name for path in self.spool.iterdir())

    def bodies(self) -> list[bytes]:
        """All bodies that the hub took, sorted."""
        return sorted(body for bodies in self.door.bodies.values() for body in bodies)

    def _run(self) -> None:
        while not self.stop.is_set():
            try:
                self.inlet.run(self.fault.accept(self.door), self.stop)
            except Exception as error:
                self.failures.append(error)
                self.stop.wait(0.1)

    def start(self) -> None:
        """Run it in a thread, from now on."""
        assert self.inlet
        self.stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inlet")
        self._thread.start()

    def end(self) -> None:
        """Ask it to end, and wait for it."""
        self.stop.set()
        assert self._thread is not None
        self._thread.join(self.stop_seconds)
        late = self._thread.is_alive()
        self.door.open.set()
        self._thread.join(30)
        assert not late, "the inlet did not end in time"

    def again(self) -> Any:
        """With an inlet built anew, as after a restart of the hub."""
        self._inlet = None
        return self

    def close(self) -> None:
        """Nobody waits at the door any more, and the senders stop trying."""
        self.door.open.set()

    def __enter__(self) -> Any:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.door.open.set()
        self.end()


# --- what every inlet promises ------------------------------------------------------------------------------


def clean(site: Site) -> None:
    """Whatever became of a message, nothing of it lies around."""
    assert site.spooled() == [], "something stays in the spool"


def acknowledges_after_accept_returned(site: Site) -> None:
    """Promise 1 of the house: OK means on disk."""
    site.door.open.clear()
    with site:
        sent = site.send(LARGE)
        site.wait(lambda: site.door.asked == 1, "the hub to be asked")
        time.sleep(SOON)
        assert sent.outcome() == "open", "acknowledged before accept returned"
        site.door.open.set()
        site.until_acknowledged(sent)
    assert site.bodies() == [LARGE]
    clean(site)


def keeps_every_byte(site: Site) -> None:
    """The bytes that were sent are the bytes that are kept, whatever they look like."""
    with site:
        site.until_acknowledged(*[site.send(body) for body in ODD])
    assert site.bodies() == sorted(ODD), "other bytes than were sent"
    clean(site)


def keeps_what_the_store_cannot_take(site: Site) -> None:
    """Nothing is lost, nothing is doubled, and it is asked again without anybody's help."""
    bodies = [SMALL, LARGE, b"third"]
    site.door.refuse = StoreUnavailable("disk", retry_after=0.05)
    with site:
        sent = [site.send(body) for body in bodies]
        site.wait(lambda: site.door.asked >= 6 or any(each.outcome() != "open" for each in sent),
                  "several tries")
        assert {each.outcome() for each in sent} == {"open"}, "given up while the store was unavailable"
        site.door.refuse = None
        site.until_acknowledged(*sent)
    assert site.bodies() == sorted(bodies)
    assert site.gate.told == [], "what the hub refuses is counted at its door"
    clean(site)


def refuses_what_the_hub_refuses(site: Site, error: HubError) -> None:
    """The sender learns that it is not wanted, and the next message goes its way."""
    site.door.refuse = error
    with site:
        sent = site.send(LARGE)
        site.wait(lambda: sent.outcome() != "open", "an answer")
        assert sent.outcome() == "refused", "acknowledged though the hub refused it"
        site.door.refuse = None
        site.until_acknowledged(site.send(SMALL))
    assert site.bodies() == [SMALL]
    assert site.gate.told == [], "what the hub refuses is counted at its door"
    clean(site)


def never_acknowledges_after_an_unknown_error(site: Site) -> None:
    """A bug behind the door costs time, never a message."""
    site.door.refuse = RuntimeError("a bug")
    with site:
        sent = site.send(LARGE)
        site.wait(lambda: site.door.asked >= 2 or sent.outcome() != "open", "a second try")
        assert sent.outcome() == "open", "acknowledged after an unknown error"
        site.door.refuse = None
        site.until_acknowledged(sent)
    assert site.bodies() == [LARGE]
    clean(site)


def counts_once_what_is_too_large(site: Site) -> None:
    """It is refused without asking the hub."""
    with site:
        sent = site.send(bytes(MAX_BYTES + 1))
        site.wait(lambda: sent.outcome() == "refused", "the refusal")
        site.until_acknowledged(site.send(SMALL))
    assert site.gate.told == ["too-large"], "not counted exactly once"
    assert site.door.asked == 1
    clean(site)


def counts_once_what_the_spool_cannot_take(site: Site) -> None:
    """It is asked again until the spool can be written, and counted once for each transfer that was not
    taken.
    """
    away = site.folder / "away"
    with site:
        site.until_acknowledged(site.send(SMALL))  # it runs: what it sweeps at its start is swept
        site.spool.rename(away)
        sent = site.send(LARGE)
        site.wait(lambda: site.gate.asked.count(len(LARGE)) >= 2 and bool(site.gate.told), "two tries")
        assert sent.outcome() == "open"
        away.rename(site.spool)
        site.until_acknowledged(sent)
    assert site.gate.told == ["unavailable"] * sent.not_taken(), "not counted exactly once"
    assert site.bodies() == sorted([SMALL, LARGE])
    clean(site)


def asks_for_room_before_it_spools(site: Site) -> None:
    """On a full disk not even a byte of the body is written."""
    site.gate.room = False
    with site:
        sent = site.send(LARGE)
        site.wait(lambda: len(site.gate.asked) >= 2, "two questions for room")
        assert site.door.asked == 0, "handed over without room"
        assert sent.outcome() == "open"
        clean(site)
        site.gate.room = True
        site.until_acknowledged(sent)
    assert set(site.gate.asked) == {len(LARGE)}
    assert site.gate.spooled == set(), "spooled before it asked for room"
    assert site.gate.told == [], "what admit refuses is counted there"


def stops_with_a_commit_under_way(site: Site) -> None:
    """What the hub took is acknowledged, or its sender still has it."""
    before = set(threading.enumerate())
    site.door.open.clear()
    site.start()
    sent = site.send(LARGE)
    site.wait(lambda: site.door.asked == 1, "the hub to be asked")
    site.stop.set()
    time.sleep(SOON)
    site.door.open.set()
    site.end()
    assert site.bodies() == [LARGE]
    assert sent.outcome() != "refused"
    clean(site)
    site.close()
    site.wait(lambda: set(threading.enumerate()) <= before, "the inlet's threads to end")


def stops_while_it_is_asked_to_wait(site: Site) -> None:
    """However long the store asked to wait, the stop comes first. What was in hand is taken after the next
    start.
    """
    site.door.refuse = StoreUnavailable("disk", retry_after=600)
    site.start()
    sent = site.send(LARGE)
    site.wait(lambda: site.door.asked >= 1, "the hub to be asked")
    site.end()
    assert sent.outcome() == "open"
    clean(site)
    site.door.refuse = None
    with site.again():
        site.until_acknowledged(sent)
    assert site.bodies() == [LARGE]


def says_truthfully_whether_it_is_ready(site: Site) -> None:
    """Before, during, after, and again."""
    assert not site.inlet.ready(), "ready before it ran"
    for _ in range(2):
        with site:
            site.wait(site.inlet.ready, "the inlet to be ready")
            site.until_acknowledged(site.send(SMALL))
            assert site.inlet.ready()
        assert not site.inlet.ready(), "ready after its end"


def comes_back_after_run_raised(site: Site) -> None:
    """The hub starts the same inlet again, and nothing that was sent meanwhile is lost."""
    site.hurt()
    with site:
        sent = site.send(LARGE)
        site.wait(lambda: len(site.failures) >= 2, "two reports")
        assert sent.outcome() == "open"
        site.heal()
        site.until_acknowledged(sent)
    assert site.bodies() == [LARGE]
    clean(site)


def takes_up_new_files_at_reload(site: Site) -> None:
    """Without a restart, and without losing what comes meanwhile."""
    with site:
        site.until_acknowledged(site.send(b"before"))
        site.renew()
        site.inlet.reload()
        site.until_acknowledged(site.send(b"after"))
        site.wait(site.renewed, "the new files to be in force")
    assert site.bodies() == [b"after", b"before"]


def the_same_twice_is_one_message(site: Site) -> None:
    """The same duplicate key, so that the hub knows it; and the second is acknowledged like the first."""
    with site:
        for body, key in ((LARGE, "one"), (LARGE, "one"), (SMALL, "two")):
            site.until_acknowledged(site.send(body, key))
    assert site.bodies() == sorted([LARGE, SMALL]), "the same message twice is not one message"
    assert site.door.asked == 3
    assert {incoming.conflict for incoming in site.door.taken} == {site.conflict}
    clean(site)


def a_lost_answer_doubles_nothing(site: Site) -> None:
    """The hub took it and could not say so: it is handed in again as the same message."""
    site.door.lose_answers = 1
    with site:
        sent = site.send(LARGE)
        site.until_acknowledged(sent)
    assert (site.bodies(), site.door.asked) == ([LARGE], 2), "the same message twice is not one message"
    clean(site)


def many_at_once_are_each_taken_once(site: Site) -> None:
    """None is mistaken for another."""
    bodies = [f"{no}".encode() * (1 if no % 2 else IN_MEMORY) for no in range(10, 34)]
    with site:
        sent = [site.send(body) for body in bodies]
        site.until_acknowledged(*sent)
    assert site.bodies() == sorted(bodies)
    clean(site)


def nothing_is_set_on_it_from_outside(site: Site) -> None:
    """What it works with was handed in when it was built, and stays."""
    for name in ("admit", "turned_away", "spool", "max_bytes", "name"):
        with pytest.raises(AttributeError):
            setattr(site.inlet.context, name, None)


def its_check_is_content_and_takes_nothing(site: Site) -> None:
    """`drehscheibe check` may look at any time, also while it runs."""
    with site:
        site.until_acknowledged(site.send(SMALL))
        findings = site.inlet.check()
    again = site.inlet.check()
    assert findings and {finding.severity for finding in [*findings, *again]} == {"ok"}
    assert site.door.asked == 1
    described = type(site.inlet.options).model_fields.values()
    assert all(option.description for option in described)
    clean(site)


def sweeps_only_what_is_its_own(site: Site) -> None:
    """What a killed process left behind was never acknowledged."""
    (site.spool / "inlet~abc").write_bytes(b"left over")
    (site.spool / "inlet.b~abc").write_bytes(b"of another inlet")
    with site:
        site.until_acknowledged(site.send(SMALL))
        assert site.spooled() == ["inlet.b~abc"], "swept too much or too little"


# --- the suite ----------------------------------------------------------------------------------------------


class InletContract:
    """What every inlet promises. A connector's test gives the fixture `site`."""

    def test_acknowledges_after_accept_returned(self, site: Any) -> None:
        acknowledges_after_accept_returned(site)

    def test_keeps_what_the_store_cannot_take(self, site: Any) -> None:
        keeps_what_the_store_cannot_take(site)

    @pytest.mark.parametrize("error", [NotAllowed("no"), Conflict("0190-id")],
                             ids=["not-allowed", "conflict"])
    def test_refuses_what_the_hub_refuses(self, site: Any, error: HubError) -> None:
        refuses_what_the_hub_refuses(site, error)

    @pytest.mark.parametrize("promise", [
        keeps_every_byte, never_acknowledges_after_an_unknown_error, counts_once_what_is_too_large,
        counts_once_what_the_spool_cannot_take, asks_for_room_before_it_spools, stops_with_a_commit_under_way,
        stops_while_it_is_asked_to_wait, says_truthfully_whether_it_is_ready, comes_back_after_run_raised,
        takes_up_new_files_at_reload, the_same_twice_is_one_message, a_lost_answer_doubles_nothing,
        many_at_once_are_each_taken_once, nothing_is_set_on_it_from_outside,
        its_check_is_content_and_takes_nothing, sweeps_only_what_is_its_own],
        ids=lambda promise: promise.__name__)
    def test_promise(self, site: Any, promise: Callable[[Site], None]) -> None:
        promise(site)

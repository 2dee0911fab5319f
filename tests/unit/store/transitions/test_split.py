"""A hand-over with several applications becomes messages of their own: all of them at once, and once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import update

from hub.job import Facts, Split, SplitGroup
from hub.message import IncomingPart, MessageState, split_id
from hub.store.database.tables import message
from hub.store.store import BadOutcome, Store
from tests.unit.store_kit import (
    MINUTE,
    Output,
    accept,
    incoming,
    opened,
    orphans,
    spooled,
    translated,
    unbalanced,
)

ROOT = Path(__file__).parents[4]
GROUPS = (SplitGroup(parts=(0, 3), shared=(1,)), SplitGroup(parts=(2,), shared=(1,)))


def handed_over(store: Store, **changes: object) -> str:
    large = os.urandom(200_000)
    parts = (IncomingPart.of(b"<eins/>", "eins.xml", filename="eins.xml"),
             spooled(store.spool, large, "pdf"),
             IncomingPart.of(b"<zwei/>", "zwei.xml", "text/xml; charset=iso-8859-1"),
             IncomingPart.of(b"", "eins.pdf", "application/pdf", "eins.pdf"))
    return accept(store, incoming(parts=parts, case="V-7", reply_to="dort", **changes)).id


def split(store: Store, message_id: str, groups: Sequence[SplitGroup] = GROUPS) -> None:
    store.claim_messages(1, MINUTE, only=[message_id])
    store.record([Split(message_id=message_id, facts=Facts(), groups=tuple(groups))], -1, config_digest="c")


@pytest.mark.usefixtures("backend")
def test_each_application_is_a_message_of_its_own(store: Store) -> None:
    message_id = handed_over(store, test=True)
    split(store, message_id)
    parent = store.get_message(message_id)
    assert (parent.state, parent.correlation) == (MessageState.COMPLETED, message_id)
    children = [store.get_message(split_id(message_id, number)) for number in (1, 2)]
    for number, child in enumerate(children, 1):
        assert (child.state, child.correlation) == ("received", message_id)
        assert (child.case, child.test) == ("V-7", True)
        assert (child.sender, child.inlet, child.accepted_day) == (parent.sender, parent.inlet,
                                                                   parent.accepted_day)
        (accepted,) = store.events_of(child.id)
        assert f"Antrag {number} von 2 aus der Übergabe {message_id}." in (accepted.detail or "")
        assert "1 Anlage(n) nennt keiner der Anträge" in (accepted.detail or "")
    names = [[(part.name, part.filename) for part in child.parts] for child in children]
    assert names == [[("eins.xml", "eins.xml"), ("attachment", "pdf"), ("eins.pdf", "eins.pdf")],
                     [("attachment", "pdf"), ("zwei.xml", None)]]
    assert children[1].parts[1].media_type == "text/xml; charset=iso-8859-1"
    for child in children:
        for part in child.parts:
            content = store.open_blob(part.blob).read()
            assert (hashlib.sha256(content).hexdigest(), len(content)) == (part.sha256, part.size)
    blobs = [part.blob for each in (parent, *children) for part in each.parts]
    assert len(blobs) == len(set(blobs)), "a body belongs to one message"
    assert "split" in [event.name for event in store.events_of(message_id)]
    assert sorted(each.id for each in store.claim_messages(9, MINUTE) if not each.damaged) == sorted(
        each.id for each in children)


@pytest.mark.usefixtures("backend")
def test_what_the_sender_says_of_the_hand_over_holds_for_each(store: Store) -> None:
    message_id = handed_over(store, correlation="vom-Absender", key="k1")
    split(store, message_id)
    assert {store.get_message(name).correlation for name in (
        message_id, *(split_id(message_id, number) for number in (1, 2)))} == {"vom-Absender"}
    again = handed_over(store, key="k2")
    assert again != message_id, "the same content with another key is another hand-over"


@pytest.mark.usefixtures("backend")
def test_the_same_hand_over_once_more_is_the_same(store: Store) -> None:
    parts = (IncomingPart.of(b"<eins/>"), IncomingPart.of(b"<zwei/>"))
    first = accept(store, incoming(parts=parts))
    split(store, first.id, (SplitGroup(parts=(0,)), SplitGroup(parts=(1,))))
    assert accept(store, incoming(parts=parts)) == type(first)(first.id, duplicate=True)


def test_a_message_that_goes_on_is_not_touched_by_one_that_is_split(store: Store) -> None:
    message_id, other = handed_over(store), accept(store, incoming(b"<b/>")).id
    store.claim_messages(2, MINUTE)
    output = Output()
    store.record([Split(message_id=message_id, facts=Facts(), groups=GROUPS),
                  translated(other, output.delivery(b"<mail/>"))], output.fd, config_digest="c")
    assert store.get_message(other).state == "routed"
    assert store.get_message(message_id).state == "completed"


def test_a_part_that_is_not_there_leaves_nothing(store: Store) -> None:
    message_id = handed_over(store)
    with pytest.raises(BadOutcome):
        split(store, message_id, (*GROUPS, SplitGroup(parts=(9,))))
    assert store.get_message(message_id).state == "received"
    assert orphans(store) == []
    split(store, message_id)


def test_one_that_is_not_in_hand_any_more_is_not_split(store: Store) -> None:
    message_id = handed_over(store)
    store.claim_messages(1, MINUTE)
    store.release_messages([message_id])
    store.record([Split(message_id=message_id, facts=Facts(), groups=GROUPS)], -1, config_digest="c",
                 messages=[store.get_message(message_id)])
    assert store.get_message(message_id).state == "received"
    assert orphans(store) == []


KILLED = """
import os, sys
from functools import partial
from pathlib import Path
from hub.store import writer
from hub.store.store import Store
from tests.unit.store.transitions import test_split

when, planted = sys.argv[2:]
armed = []
def commit(transaction):
    if armed and when == "before":
        os.kill(os.getpid(), 9)
    transaction.commit()
    if armed and when == "after":
        os.kill(os.getpid(), 9)

store = Store.open(Path(sys.argv[1]), writer=partial(writer.Writer, commit=commit))
store.recover()
message_id = test_split.handed_over(store)
os.write(1, message_id.encode())
store.claim_messages(1, test_split.MINUTE)
if planted == "one-by-one":  # the planted fault: the applications are accepted before the hand-over ends
    test_split.accept(store, test_split.incoming(b"<eins/>", key=f"{message_id}/1"))
armed.append(1)
store.record([test_split.Split(message_id=message_id, facts=test_split.Facts(), groups=test_split.GROUPS)],
             -1, config_digest="c")
"""


def all_or_nothing(folder: Path, when: str, planted: str = "nothing") -> None:
    """Kill the hub at the commit; afterwards it goes on, and each application is there once."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), when, planted], cwd=ROOT, timeout=60,
                          stdout=subprocess.PIPE, check=False)
    assert done.returncode == -signal.SIGKILL
    message_id = done.stdout.decode()
    children = [split_id(message_id, number) for number in (1, 2)]
    with opened(folder) as store:
        store.recover()
        there = {each.id for each in store.find_messages(limit=99)} - {message_id}
        assert there == (set() if when == "before" else set(children)), "a part of the hand-over is there"
        assert store.suspects() == ([message_id] if when == "before" else [])
        if when == "before":
            split(store, message_id)
        assert {each.id for each in store.find_messages(limit=99)} == {message_id, *children}
        assert {each.id for each in store.claim_messages(9, MINUTE)} == set(children)
        assert unbalanced(store) == []
        assert store.check() == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_leaves_the_hand_over_or_all_of_its_applications(tmp_path: Path, when: str) -> None:
    all_or_nothing(tmp_path / "store", when)


def test_planted_applications_accepted_one_by_one_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="a part of the hand-over is there"):
        all_or_nothing(tmp_path / "store", "before", "one-by-one")


def test_what_a_restored_hand_over_is_split_into_asks_the_receiver_first(store: Store) -> None:
    message_id = handed_over(store)
    store.transact(lambda tx: tx.connection.execute(
        update(message).where(message.c.id == message_id).values(reason="restored")))
    split(store, message_id)
    child = split_id(message_id, 1)
    store.claim_messages(1, MINUTE, only=[child])
    output = Output()
    store.record([translated(child, output.delivery(b"<mail/>"))], output.fd, config_digest="c")
    assert [row.state for row in store.deliveries_of(child)] == ["in_doubt"]


def test_a_sender_that_has_used_the_key_already_stops_nothing(store: Store) -> None:
    message_id = handed_over(store)
    other = accept(store, incoming(b"<andere/>", key=f"{message_id}/1")).id
    split(store, message_id)
    claimed = store.claim_messages(9, MINUTE)
    assert {each.id for each in claimed} == {other, split_id(message_id, 1), split_id(message_id, 2)}
    assert not any(each.damaged for each in claimed)

"""Who is silent is judged by what one saw oneself."""

from __future__ import annotations

from hub.cluster.peers import Silence
from hub.store.database.postgresql import Node


def test_silence_is_judged_by_what_one_saw_oneself() -> None:
    now = [0.0]
    silence = Silence(15, lambda: now[0])

    def dead(*beats: int) -> list[int]:
        now[0] += 5
        return [node.fencing for node in silence.dead(
            [Node(fencing, "x", "x", 0, beat, 99.0, None) for fencing, beat in enumerate(beats)])]

    assert [dead(1, 1), dead(1, 2), dead(1, 3)] == [[], [], []]
    assert dead(1, 4) == [0]
    silence.forget()  # the database was away
    assert [dead(1, 4), dead(1, 4), dead(1, 4)] == [[], [], []]
    assert dead(1, 4) == [0, 1]

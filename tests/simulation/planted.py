"""Planted faults: each changes the hub into one that must never be.

The seeds of a commit must find each of them. So the simulation itself is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, cast
from unittest.mock import patch

from hub import message
from hub.config import window
from hub.config.configuration import Configuration
from hub.delivery import deliverer
from hub.delivery.deliverer import Effect
from hub.i18n.sentence import Sentence, say
from hub.job import Facts
from hub.mapping import by_rule
from hub.message import Receipt
from hub.store.database.ledger import Ledger
from hub.store.transitions import case_order, deliveries, operator_actions, restored
from hub.store.transitions import messages as message_transitions
from hub.store.transitions.deliveries import Settlement
from tests.simulation.municipalities import configurations
from tests.simulation.world import World

Change = Any
"""What `unittest.mock.patch` returns."""


def _key_without_municipality() -> list[Change]:
    real = message.duplicate_key

    def short(sender: str, ags: str, service: str, test: bool, key: str | None, content: str) -> str:
        return real(sender, "", service, test, key, content)

    return [patch.object(module, "duplicate_key", short) for module in (message, message_transitions)]


def _key_without_test_flag() -> list[Change]:
    real = message.duplicate_key

    def short(sender: str, ags: str, service: str, test: bool, key: str | None, content: str) -> str:
        return real(sender, ags, service, False, key, content)

    return [patch.object(module, "duplicate_key", short) for module in (message, message_transitions)]


def _keys_are_not_kept() -> list[Change]:
    return [patch.object(message_transitions, "KEY_KEPT", timedelta(0))]


def _same_key_other_content_is_a_duplicate() -> list[Change]:
    real = message_transitions.known_keys

    def known(tx: Any, arrivals: Sequence[Any]) -> Any:
        contents = {arrival.key: arrival.content_digest for arrival in arrivals}
        return {key: (name, contents[key]) for key, (name, _) in real(tx, arrivals).items()}

    return [patch.object(message_transitions, "known_keys", known)]


def _settled_before_the_effect() -> list[Change]:
    real = Effect.__init__

    def early(self: Effect, item: Any, *rest: Any) -> None:
        real(self, item, *rest)
        if not item.probe:
            self.store.settle([Settlement.done(item.delivery.id, Receipt("vorab"))])

    return [patch.object(Effect, "__init__", early)]


def _attempts_counted_afterwards() -> list[Change]:
    claim, change = deliveries.CLAIM, deliveries.change

    def uncounted(connection: Any, rows: Sequence[Any]) -> None:
        claim(connection, [{**row, "attempts": row["attempts"] - (row["state"] == deliveries.DELIVERING)}
                           for row in rows])

    def counting(tx: Any, row: Any, settlement: Settlement) -> dict[str, Any]:
        changed = change(tx, row, settlement)
        return {**changed, "attempts": changed["attempts"] + (row.state == deliveries.DELIVERING)}

    return [patch.object(deliveries, "CLAIM", uncounted), patch.object(deliveries, "change", counting)]


def _no_intent() -> list[Change]:
    def begins(self: Effect) -> None:
        self.begun = True

    return [patch.object(Effect, "begins", begins)]


def _recovery_forgets() -> list[Change]:
    return [patch.object(deliveries, "free", lambda *_, **__: (0, 0))]


def _recovery_believes_that_nothing_left() -> list[Change]:
    real = deliveries.change

    def plain(tx: Any, row: Any, settlement: Settlement) -> dict[str, Any]:
        changed = real(tx, row, settlement)
        return {**changed, "state": "due", "effect_at": None} if settlement.event == "recovered" else changed

    def moved(tx: Any, row: Any, after: str, name: str, **rest: Any) -> None:
        told(tx, row, "due" if name == "recovered" else after, name, **rest)

    told = deliveries.moved
    return [patch.object(deliveries, "change", plain), patch.object(deliveries, "moved", moved)]


def _doubt_is_temporary() -> list[Change]:
    return [patch.object(Settlement, "in_doubt", lambda name, text, probe_at: Settlement.later(
        name, probe_at, "temporary", text))]


def _nobody_is_asked() -> list[Change]:
    return [patch.object(deliverer, "probed", lambda item, outlet, destination, now: Settlement.again(
        item.delivery.id, now(), repeat_marked=False))]


def _repetitions_without_a_mark() -> list[Change]:
    real = Settlement.again
    return [patch.object(Settlement, "again", lambda name, due, *, repeat_marked: real(
        name, due, repeat_marked=False))]


def _a_replay_forgets_the_doubt() -> list[Change]:
    real = operator_actions.due_again

    def plain(tx: Any, row: Any, who: str) -> None:
        real(tx, cast(Any, _Without(row)), who)

    return [patch.object(operator_actions, "due_again", plain)]


class _Without:
    """A row that was never in doubt."""

    def __init__(self, row: Any) -> None:
        self._row = row

    def __getattr__(self, name: str) -> Any:
        if name == "reason":
            return None
        return getattr(self._row, name)


def _given_up_and_begun_all_the_same() -> list[Change]:
    return [patch.object(Effect, "forbid", lambda self: None)]


def _nothing_is_given_up() -> list[Change]:
    settle = deliveries.settle
    return [patch.object(deliveries, "recover_lost", lambda tx, nobodys, assume_begun: 0),
            patch.object(deliveries, "release", lambda tx, ids: 0),
            patch.object(deliveries, "settle", lambda tx, settlements: settle(
                tx, [each for each in settlements if each.claim is None]))]  # nor what is written late


def _order_is_ignored() -> list[Change]:
    return [patch.object(case_order, "blocked", lambda tx, rows: set())]


def _nobody_is_freed() -> list[Change]:
    return [patch.object(case_order, "free", lambda tx, keys: 0),
            patch.object(case_order, "missed", lambda connection: [])]


def _windows_are_ignored() -> list[Change]:
    def now(spans: Any, moment: datetime) -> datetime:
        return moment

    return [patch.object(window, "is_open", lambda spans, moment: True),
            patch.object(window, "opens", now)]


def _a_window_is_not_looked_at_again() -> list[Change]:
    return [patch.object(window, "is_open", lambda spans, moment: True)]


def _double_click_acts_twice() -> list[Change]:
    return [patch.object(operator_actions, "once", lambda tx, action, who, verb, target, act: act(tx))]


def _a_tally_is_forgotten() -> list[Change]:
    real = Ledger.moved

    def forgetful(self: Ledger, kind: str, service: str, place: str, before: str | None,
                  after: str | None) -> None:
        if before != "in_doubt":
            real(self, kind, service, place, before, after)

    return [patch.object(Ledger, "moved", forgetful)]


def _tests_go_to_production() -> list[Change]:
    real = by_rule.objection

    def blind(rule: Any, job: Any, facts: Facts, test: bool, day: date | None = None) -> Sentence | None:
        return say("nur für Testnachrichten") if rule.test else real(rule, job, facts, False, day)

    return [patch.object(by_rule, "objection", blind)]


def _versions_are_ignored() -> list[Change]:
    return [patch.object(by_rule, "version_in", lambda version, span: True)]


def _a_batch_dies_together() -> list[Change]:
    @cache
    def hasty(name: str) -> Configuration:
        """What is left of a batch is parked without a try of its own."""
        found = configurations()[name]
        section = found.settings.workers.model_copy(update={"deaths": 0})
        return replace(found, settings=found.settings.model_copy(update={"workers": section}))

    return [patch.object(World, "configuration", lambda self: hasty(self.variant.name))]


def _deaths_are_not_counted() -> list[Change]:
    return [patch.object(message_transitions, "count_death", lambda tx, name: 0)]


def _a_restored_store_goes_on_plainly() -> list[Change]:
    return [patch.object(restored, "put_in_doubt", lambda *_: restored.AfterRestore(0, 0, 0))]


def _messages_are_not_closed() -> list[Change]:
    return [patch.object(module, "close_messages", lambda tx, ids: None)
            for module in (deliveries, operator_actions)]


PLANTED: dict[str, Callable[[], list[Change]]] = {
    function.__name__.strip("_").replace("_", " "): function for function in (
        _key_without_municipality, _key_without_test_flag, _keys_are_not_kept,
        _same_key_other_content_is_a_duplicate,
        _settled_before_the_effect, _attempts_counted_afterwards, _no_intent, _recovery_forgets,
        _recovery_believes_that_nothing_left, _doubt_is_temporary, _nobody_is_asked,
        _repetitions_without_a_mark,
        _a_replay_forgets_the_doubt, _given_up_and_begun_all_the_same, _nothing_is_given_up,
        _order_is_ignored,
        _nobody_is_freed, _windows_are_ignored, _a_window_is_not_looked_at_again, _double_click_acts_twice,
        _a_tally_is_forgotten, _tests_go_to_production, _versions_are_ignored, _a_batch_dies_together,
        _deaths_are_not_counted,
        _a_restored_store_goes_on_plainly, _messages_are_not_closed)}

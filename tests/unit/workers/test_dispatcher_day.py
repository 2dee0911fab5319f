"""A form that is used before its day: parked with that day, and through on a replay after it."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

from hub.config import loader
from hub.message import MessageState
from hub.telemetry.counters import Metrics
from hub.workers.dispatcher import Dispatcher
from hub.workers.pool import WorkerPool
from tests.unit.config.kit import DEFAULTS, HUB, MAPPING, MUNICIPALITY
from tests.unit.operator_kit import alone
from tests.unit.store_kit import Clock, accept, incoming, open_store

SHEET = ('<x:stylesheet version="1.0" xmlns:x="http://www.w3.org/1999/XSL/Transform"><x:template match="/">'
         "<a/></x:template></x:stylesheet>")
FORM = (b"<serviceportal><metadata><formId>6000663:Hund:v2.0</formId></metadata><serviceportal-fields><a>"
        b"<instance_0><b>c</b></instance_0></a></serviceportal-fields></serviceportal>")


def configured(folder: Path) -> Path:
    """The second version of the form holds from December."""
    for version in ("v1", "v2"):
        (folder / "mappings/hund" / version).mkdir(parents=True)
        (folder / "mappings/hund" / version / "a.xsl").write_text(SHEET)
    (folder / "municipalities").mkdir()
    (folder / "municipalities/14999010.toml").write_text(MUNICIPALITY)
    (folder / "hub.toml").write_text(HUB)
    (folder / "defaults.toml").write_text(DEFAULTS)
    (folder / "mappings/hund/mapping.toml").write_text(
        MAPPING.replace('versions = ">=2.0"', 'versions = ">=2.0"\nvalid_from = 2026-12-01'))
    return folder / "hub.toml"


def test_a_replay_on_the_day_goes_through_and_one_before_it_does_not(tmp_path: Path) -> None:
    configuration, clock = loader.load(configured(tmp_path)), Clock()
    store = open_store(tmp_path / "store", now=clock)
    with WorkerPool(1) as pool:
        dispatcher = Dispatcher(store, lambda: configuration, pool, Metrics(), lambda _: None, now=clock)
        name = accept(store, incoming(FORM, service="hund"), day=date(2026, 11, 22)).id
        for days, state in ((0, MessageState.PARKED), (8, MessageState.PARKED), (1, MessageState.ROUTED)):
            clock.now += timedelta(days=days)
            if days:
                alone(store).replay(name, "operator")
            assert dispatcher.turn() is not None
            message = store.get_message(name)
            assert message.state is state, (clock.now, message)
            if state is MessageState.PARKED:
                assert "erst ab 2026-12-01" in str(message)
    store.close()

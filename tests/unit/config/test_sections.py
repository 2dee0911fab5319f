"""What may stand in hub.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.config import loader
from hub.store.database.postgresql import Served
from tests.unit.config.kit import load, problems


def test_a_sender_may_send_only_what_it_is_allowed(etc: Path) -> None:
    sender = load(etc).senders["amt24"]
    assert sender.may_send("14999010", "hund")
    assert not sender.may_send("14999020", "hund")


def test_a_database_is_named_without_its_secret(etc: Path) -> None:
    (etc / "hub.toml").write_text((etc / "hub.toml").read_text() + """
[store]
url = "postgresql://hub@db-a.example,db-b.example/hub"
password = "file:secrets/database"
ca = "db-ca.pem"
""")
    store = load(etc).settings.store
    assert (store.password, store.ca, store.tls) == (f"file:{etc}/secrets/database", etc / "db-ca.pem",
                                                     "verify-full")
    assert loader.places(etc / "hub.toml").store == store
    shown = Served(store, etc).where
    assert "db-a.example" in shown
    assert "hub@" not in shown


@pytest.mark.parametrize(("section", "words"), [
    ('url = "postgresql://hub:geheim@db/hub"', "a secret is named, never written"),
    ('url = "postgresql://hub@db/hub?password=geheim"', "a secret is named, never written"),
    ('url = "mysql://hub@db/hub"', "store.url"),
    ('url = "postgresql://hub@db/hub"\npassword = "geheim"', "a secret is named, never written"),
    ('url = "postgresql://hub@db/hub"\ntakeover = "2s"', "store.takeover"),
    ('node = "a"', "'url' is missing"),
])
def test_a_faulty_database_is_refused_and_no_secret_shown(etc: Path, section: str, words: str) -> None:
    (etc / "hub.toml").write_text((etc / "hub.toml").read_text() + f"\n[store]\n{section}\n")
    assert words in problems(etc)
    assert "geheim" not in problems(etc)

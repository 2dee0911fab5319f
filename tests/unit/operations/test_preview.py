"""What a municipality would get is looked at without delivering it, and by nobody else."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hub.authoring import examples, trial
from hub.config import loader
from hub.config.configuration import Configuration
from hub.errors import ConfigError, HubError
from hub.message import IncomingPart
from hub.operations import preview
from hub.operations.preview import REASON, Preview
from hub.store.store import Store
from hub.store.transitions.operator_actions import NotNow
from tests.unit.operator_kit import alone
from tests.unit.store_kit import accept, incoming, prepare

ROOT = Path(__file__).parents[3]
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
EXAMPLE = (ROOT / "mappings/hundesteuer/examples/v1-full/message.xml").read_bytes()


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return loader.load(ROOT / "etc/hub.toml")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(prepare(tmp_path / "state"))


def of(configuration: Configuration, store: Store, scratch: Path, content: bytes = EXAMPLE,
       ags: str = "14999020") -> Preview:
    taken = accept(store, incoming(ags=ags, parts=(
        IncomingPart.of(content, media_type="application/xml"),)), tenant="beispielberg")
    return preview.of_message(configuration, store, store.get_message(taken.id), trial.here, scratch, NOW)


def test_an_example_goes_by_the_municipalitys_own_stylesheets(configuration: Configuration,
                                                              tmp_path: Path) -> None:
    own = preview.municipality_of(configuration, "14999020")
    rules = preview.everything_for(configuration, own, "hundesteuer", tmp_path)
    made = examples.preview(ROOT / "mappings", "hundesteuer", "v1-smallest", rules=rules)
    assert b"<Buchungszeichen>BBG-HST" in made["hundesteuer.xml"]
    assert "Stadt Beispielberg" in made["antrag.txt"].decode()
    assert b"BBG-HST" not in examples.preview(ROOT / "mappings", "hundesteuer", "v1-smallest")[
        "hundesteuer.xml"]


def test_an_unknown_municipality_or_service_is_told(configuration: Configuration, tmp_path: Path) -> None:
    with pytest.raises(HubError, match="Keine Kommune '14999021': gemeint"):
        preview.municipality_of(configuration, "14999021")
    own = preview.municipality_of(configuration, "probedorf")
    with pytest.raises(HubError, match="hat keinen Weg für 'wohngeld'"):
        preview.everything_for(configuration, own, "wohngeld", tmp_path)


def test_a_stored_message_is_shown_for_each_recipient(configuration: Configuration, store: Store,
                                                      tmp_path: Path) -> None:
    made = of(configuration, store, tmp_path)
    assert made.parked is None
    assert {path.partition("/")[0] for path in made.files} == {"canonical.xml", "postfach", "ablage"}
    assert b"BBG-HST" in made.files["postfach/hundesteuer.xml"]
    assert made.files["ablage/hundesteuer.xml"] == made.files["postfach/hundesteuer.xml"]
    assert made.files["postfach/delivery.txt"].decode().startswith("Betreff: ")
    described = made.files["ablage/delivery.txt"].decode().splitlines()
    sent = [path for path in made.files if path.startswith("ablage/") and not path.endswith("delivery.txt")]
    assert len(sent) == len([line for line in described if line.partition(":")[0] not in ("Betreff", "Ziel")])
    assert "attachment" in {line.partition(":")[0] for line in described}


def test_what_would_be_parked_says_why(configuration: Configuration, store: Store, tmp_path: Path) -> None:
    made = of(configuration, store, tmp_path, b"<kaputt")
    assert made.parked is not None and made.parked.reason == "unreadable"
    assert made.files[REASON].startswith(b"unreadable")
    nobody = of(configuration, store, tmp_path, ags="14999099")
    assert nobody.parked is not None and nobody.parked.reason == "unknown-municipality"


def test_nothing_changes_but_the_history(configuration: Configuration, store: Store, tmp_path: Path) -> None:
    of(configuration, store, tmp_path)
    (message,) = store.find_messages()
    before = (message.state, store.queue(), store.balances())
    alone(store).read_content(message.id, "erika")
    (after,) = store.find_messages()
    assert (after.state, store.queue(), store.balances()) == before
    event = store.events_of(message.id)[-1]
    assert (event.name, event.who) == ("content-read", "erika")


def test_content_that_was_deleted_cannot_be_looked_at(store: Store) -> None:
    taken = accept(store, incoming())
    store.transact(lambda tx: tx.connection.exec_driver_sql(
        "UPDATE message SET payload_deleted_at = 1"))
    with pytest.raises(NotNow, match="Aufbewahrungsfrist"):
        alone(store).read_content(taken.id, "erika")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "sicht"
    before = os.umask(0o000)
    try:
        preview.make_private(folder)
        preview.write_private(folder, {"canonical.xml": b"x", "amt/antrag.txt": b"y"})
    finally:
        os.umask(before)
    assert [mode(folder), mode(folder / "amt"), mode(folder / "amt/antrag.txt")] == [0o700, 0o700, 0o600]


def test_a_folder_that_others_can_read_or_that_is_full_is_refused(tmp_path: Path) -> None:
    (tmp_path / "offen").mkdir(mode=0o755)
    (tmp_path / "offen").chmod(0o755)
    (tmp_path / "voll").mkdir(mode=0o700)
    (tmp_path / "voll/da.txt").write_text("x")
    (tmp_path / "zu").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "zu")
    for name, said in (("offen", "others could read"), ("voll", "is not empty"),
                       ("link", "others could read"),
                       ("nix/da", "cannot be made")):
        with pytest.raises(ConfigError, match=said):
            preview.make_private(tmp_path / name)
    preview.make_private(tmp_path / "zu")

"""Bodies in PostgreSQL: the contract of `tests.unit.test_blobs`, and what rows alone must hold."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, func, insert, select, update

from hub.errors import StoreUnavailable
from hub.store.blobs.payload import CHUNK, HEADER, Damaged, Payload
from hub.store.blobs.rows import RowBlobs
from hub.store.database.postgresql import Served
from hub.store.database.tables import blob, chunk, message
from tests.services.postgresql import PostgreSQL
from tests.unit.store.blobs.test_files import LARGE, SMALL, BlobsContract
from tests.unit.store_kit import accept, incoming, opened, spooled

pytestmark = pytest.mark.service
HUGE = os.urandom(2 * CHUNK + 17)


@pytest.fixture(scope="module")
def engine(postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    database = postgresql.add_database(postgresql.template)
    engine = Served(postgresql.section(database), tmp_path_factory.mktemp("state")).writing_engine()
    yield engine
    engine.dispose()
    postgresql.drop_database(database)


class TestRowBlobs(BlobsContract):
    @pytest.fixture()
    def connection(self, engine: Engine) -> Iterator[Connection]:
        with engine.connect() as connection:
            connection.execute(insert(message).values(
                id="m1", tenant="t", ags="1", service="s", sender="s", inlet="i", test=0, state="received",
                received_at=0,
                accepted_day="2026-11-22", content_digest="", config_digest=""))
            yield connection
            connection.rollback()

    @pytest.fixture()
    def blobs(self, tmp_path: Path, connection: Connection) -> RowBlobs:
        @contextmanager
        def reading() -> Iterator[Connection]:
            yield connection

        return RowBlobs(tmp_path, reading)

    def test_large_ones_lie_in_chunks_that_begin_with_format_and_key(self, blobs: RowBlobs,
                                                                     connection: Connection) -> None:
        [staged] = self.store(blobs, connection, HUGE)
        rows = connection.execute(select(chunk.c.content).where(chunk.c.blob_id
                                                                == staged.id).order_by(chunk.c.no)).scalars()
        contents = [bytes(content) for content in rows]
        assert [len(content) for content in contents] == [CHUNK, CHUNK, 17 + len(HEADER)]
        assert b"".join(contents) == HEADER + HUGE
        assert connection.execute(select(blob.c.content)).scalar_one() is None

    def test_a_worker_gets_a_large_one_as_a_file(self, blobs: RowBlobs, connection: Connection,
                                                 tmp_path: Path) -> None:
        [staged] = self.store(blobs, connection, HUGE)
        body = blobs.fetch(connection, [staged.id])[staged.id]
        path, offset = body.place() or (Path(), 0)
        with path.open("rb") as file:
            file.seek(offset)
            assert file.read() == HUGE
        assert list(tmp_path.iterdir()) == []  # it has no name: nothing is left of it after a crash
        [small] = self.store(blobs, connection, SMALL)
        assert blobs.fetch(connection, [small.id])[small.id].place() is None

    @pytest.mark.parametrize("damage", ["changed", "shorter", "a chunk less", "another format"])
    def test_damage_never_gets_out(self, blobs: RowBlobs, connection: Connection, damage: str) -> None:
        [staged] = self.store(blobs, connection, bytes(len(HUGE)))
        last = (chunk.c.blob_id == staged.id) & (chunk.c.no == 2)
        first = (chunk.c.blob_id == staged.id) & (chunk.c.no == 0)
        connection.execute({
            "changed": update(chunk).where(last).values(content=bytes(18) + b"x"),
            "shorter": update(chunk).where(last).values(content=bytes(18)),
            "a chunk less": chunk.delete().where(last),
            "another format": update(chunk).where(first).values(content=b"\1\0" + bytes(CHUNK - 2)),
        }[damage])
        for read in ("read", "open", "place"):
            with pytest.raises(Damaged, match=staged.id):
                getattr(blobs.fetch(connection, [staged.id])[staged.id], read)()

    def test_a_source_that_changes_before_the_transaction_is_noticed(self, blobs: RowBlobs,
                                                                     connection: Connection,
                                                                     tmp_path: Path) -> None:
        file = tmp_path / "spooled"
        file.write_bytes(LARGE)
        [staged] = blobs.stage([Payload(file, len(LARGE), hashlib.sha256(LARGE).hexdigest())])
        file.write_bytes(LARGE[::-1])
        with pytest.raises(ValueError, match="size and digest"):
            blobs.insert(connection, [(staged, "m1", "t")])

    def test_a_file_that_is_gone_is_no_message(self, blobs: RowBlobs, tmp_path: Path) -> None:
        with pytest.raises(StoreUnavailable):
            blobs.stage([Payload(tmp_path / "nothing", len(LARGE), hashlib.sha256(LARGE).hexdigest())])

    def test_erased_is_gone(self, blobs: RowBlobs, connection: Connection) -> None:
        self.store(blobs, connection, SMALL, HUGE)
        assert [owner for owner, _ in blobs.erase(connection, ["m1"])] == ["m1", "m1"]
        assert connection.execute(select(func.count()).select_from(chunk)).scalar_one() == 0


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_text_that_postgresql_cannot_hold_is_kept_all_the_same(backend: str, tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        found = store.get_message(accept(store,
                                         incoming(parts=(spooled(store.spool, LARGE),), case="V\0-1")).id)
        assert found.case == "V\ufffd-1"


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
def test_missing_bytes_are_found_by_the_check(backend: str, tmp_path: Path) -> None:
    with opened(tmp_path / "store") as store:
        accept(store, incoming(parts=(spooled(store.spool, HUGE),)))
        assert store.check() == []
        store.transact(lambda tx: tx.connection.execute(chunk.delete().where(chunk.c.no == 1)))
        [found] = store.check()
        assert f"{len(HUGE) - CHUNK} of {len(HUGE)} bytes" in found

"""Bodies at rest: the contract of every implementation, and what files alone must hold."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from pysqlite3 import dbapi2
from sqlalchemy import Connection, Engine, create_engine, insert

from hub.errors import StoreUnavailable
from hub.message import new_message_id
from hub.store.blobs import durable
from hub.store.blobs.durable import SyncFailed
from hub.store.blobs.files import FileBlobs
from hub.store.blobs.payload import HEADER, Damaged, Payload, Slice, Staged
from hub.store.blobs.protocol import Blobs
from hub.store.database.tables import metadata
from tests.unit.store_kit import accept, incoming, opened, spooled

SMALL, LARGE = b"klein", os.urandom(200_000)


class BlobsContract:
    """What the store relies on, whoever keeps the bytes."""

    @pytest.fixture()
    def blobs(self) -> Blobs:
        raise NotImplementedError

    @pytest.fixture()
    def connection(self) -> Iterator[Connection]:
        raise NotImplementedError

    def store(self, blobs: Blobs, connection: Connection, *contents: bytes) -> list[Staged]:
        staged = blobs.stage([Payload.of(content) for content in contents])
        blobs.insert(connection, [(body, "m1", "musterstadt") for body in staged])
        return staged

    def test_gives_back_what_it_was_given(self, blobs: Blobs, connection: Connection) -> None:
        staged = self.store(blobs, connection, SMALL, LARGE, b"")
        found = blobs.fetch(connection, [body.id for body in staged])
        assert [found[body.id].read() for body in staged] == [SMALL, LARGE, b""]

    def test_opens_a_seekable_file_of_the_payload(self, blobs: Blobs, connection: Connection) -> None:
        for content in (SMALL, LARGE):
            [staged] = self.store(blobs, connection, content)
            with blobs.fetch(connection, [staged.id])[staged.id].open() as file:
                assert file.read(3) == content[:3]
                assert file.seek(0, os.SEEK_END) == len(content)
                file.seek(1)
                assert file.read() == content[1:]

    def test_unknown_ids_are_missing_not_an_error(self, blobs: Blobs, connection: Connection) -> None:
        assert blobs.fetch(connection, ["nobody"]) == {}

    def test_refuses_a_payload_that_is_not_what_it_says(self, blobs: Blobs) -> None:
        for content in (SMALL, LARGE):
            with pytest.raises(ValueError, match="size and digest"):
                blobs.stage([Payload(content, len(content), hashlib.sha256(b"other").hexdigest())])

    def test_takes_a_slice_of_a_descriptor(self, blobs: Blobs, connection: Connection,
                                           tmp_path: Path) -> None:
        file = tmp_path / "output"
        file.write_bytes(b"before" + LARGE + b"after")
        with file.open("rb") as source:
            [staged] = blobs.stage([Payload(Slice(source.fileno(), 6), len(LARGE),
                                            hashlib.sha256(LARGE).hexdigest())])
            blobs.insert(connection, [(staged, "m1", "musterstadt")])
        assert blobs.fetch(connection, [staged.id])[staged.id].read() == LARGE

    def test_a_file_longer_than_announced_is_refused(self, blobs: Blobs, tmp_path: Path) -> None:
        file = tmp_path / "spooled"
        file.write_bytes(LARGE + b"more")
        with pytest.raises(ValueError, match="size and digest"):
            blobs.stage([Payload(file, len(LARGE), hashlib.sha256(LARGE).hexdigest())])

    def test_deleted_is_gone(self, blobs: Blobs, connection: Connection) -> None:
        staged = self.store(blobs, connection, SMALL, LARGE)
        blobs.abandon(blobs.delete(connection, [body.id for body in staged]))
        assert blobs.fetch(connection, [body.id for body in staged]) == {}


class TestFileBlobs(BlobsContract):
    @pytest.fixture()
    def blobs(self, tmp_path: Path) -> FileBlobs:
        blobs = FileBlobs(tmp_path / "blobs")
        blobs.prepare()
        return blobs

    @pytest.fixture()
    def connection(self) -> Iterator[Connection]:
        engine: Engine = create_engine("sqlite://", module=dbapi2)
        metadata.create_all(engine)
        with engine.connect() as connection:
            connection.execute(insert(metadata.tables["message"]).values(
                id="m1", tenant="t", ags="1", service="s", sender="s", inlet="i", test=0, state="received",
                received_at=0,
                accepted_day="2026-11-22", content_digest="", config_digest=""))
            yield connection
        engine.dispose()

    def test_every_stored_payload_begins_with_format_and_key(self, blobs: FileBlobs) -> None:
        small, large = blobs.stage([Payload.of(SMALL), Payload.of(LARGE)])
        assert small.content == HEADER + SMALL
        assert large.content is None
        assert blobs.path(large.id).read_bytes() == HEADER + LARGE

    @pytest.mark.parametrize("damage", [
        lambda file: file.write_bytes(file.read_bytes()[:-1]),
        lambda file: file.write_bytes(file.read_bytes() + b"x"),
        lambda file: file.write_bytes(b"\x01" + file.read_bytes()[1:]),
        lambda file: file.write_bytes(b"\x00\x07" + file.read_bytes()[2:]),
        lambda file: file.write_bytes(file.read_bytes()[:1000] + b"?" + file.read_bytes()[1001:]),
        lambda file: file.write_bytes(b""),
        lambda file: file.unlink(),
    ])
    def test_damage_never_gets_out(self, blobs: FileBlobs, connection: Connection, damage: object) -> None:
        content = bytes(200_000)
        [staged] = self.store(blobs, connection, content)
        damage(blobs.path(staged.id))  # type: ignore[operator]
        body = blobs.fetch(connection, [staged.id])[staged.id]
        for read in (body.read, body.open, body.place):
            with pytest.raises(Damaged, match=staged.id):
                read()

    def test_damage_in_a_row_never_gets_out(self, blobs: FileBlobs, connection: Connection) -> None:
        [staged] = self.store(blobs, connection, SMALL)
        for stored in (HEADER + b"Klein", b"\x01\x00" + SMALL, HEADER + SMALL + b"x", HEADER, b""):
            connection.exec_driver_sql("UPDATE blob SET content = ? WHERE id = ?", (stored, staged.id))
            with pytest.raises(Damaged, match=staged.id):
                blobs.fetch(connection, [staged.id])[staged.id].read()

    def test_half_written_files_are_thrown_away_at_open(self, blobs: FileBlobs, tmp_path: Path) -> None:
        left = tmp_path / "blobs" / "tmp" / "left"
        left.write_bytes(b"half")
        blobs.prepare()
        assert not left.exists()

    def test_orphans_are_found(self, blobs: FileBlobs, connection: Connection) -> None:
        [kept] = self.store(blobs, connection, LARGE)
        [orphan] = blobs.stage([Payload.of(LARGE)])
        assert blobs.orphans(connection) == [blobs.path(orphan.id)]
        assert blobs.path(kept.id).exists()

    def test_a_full_disk_leaves_nothing_behind(self, blobs: FileBlobs, tmp_path: Path,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
        def full(fd: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        first = Payload.of(LARGE)
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(StoreUnavailable):
            blobs.stage([first])
        assert [file for file in (tmp_path / "blobs").rglob("*") if file.is_file()] == []

    def test_a_failed_fsync_is_not_asked_twice(self, blobs: FileBlobs,
                                               monkeypatch: pytest.MonkeyPatch) -> None:
        calls = []

        def fail(fd: int) -> None:
            calls.append(fd)
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(SyncFailed):
            blobs.stage([Payload.of(LARGE)])
        assert len(calls) == 1


def order_of_durability(blobs: FileBlobs, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens to the disk while a large body is staged: sync of the file, rename, sync of the folder."""
    steps: list[str] = []
    real_sync, real_rename = os.fsync, Path.rename

    def sync(fd: int) -> None:
        steps.append("sync folder" if Path(f"/proc/self/fd/{fd}").is_dir() else "sync file")
        real_sync(fd)

    def rename(self: Path, target: Path) -> Path:
        steps.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    blobs.stage([Payload.of(LARGE)])
    return steps


RIGHT_ORDER = ["sync file", "rename", "sync folder"]


def test_file_is_synced_before_its_name_and_its_name_before_the_row(tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    blobs.prepare()
    assert order_of_durability(blobs, monkeypatch) == RIGHT_ORDER


def test_planted_a_forgotten_folder_sync_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FileBlobs(tmp_path / "blobs")
    blobs.prepare()
    monkeypatch.setattr(durable, "sync", lambda folder: None)
    assert order_of_durability(blobs, monkeypatch) != RIGHT_ORDER


def rows_without_file(directory: Path, blobs_class: type[FileBlobs], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a row was seen to be committed before its file had its name (a crash in between would lose the
    body)."""
    seen = []
    with opened(directory) as store:
        store.blobs = blobs_class(directory / "blobs")
        real_insert = blobs_class.insert

        def insert_and_look(self: FileBlobs, connection: Connection,
                            blobs: list[tuple[Staged, str, str]]) -> None:
            seen.extend(self.path(body.id).exists() for body, _, _ in blobs if body.content is None)
            real_insert(self, connection, blobs)

        monkeypatch.setattr(blobs_class, "insert", insert_and_look)
        accept(store, incoming(parts=(spooled(store.spool, LARGE),)))
    assert seen
    return not all(seen)


def test_the_row_comes_after_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not rows_without_file(tmp_path / "store", FileBlobs, monkeypatch)


def test_planted_a_row_before_its_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hasty(FileBlobs):
        def stage(self, payloads: Sequence[Payload]) -> list[Staged]:
            """The files would be written after the commit."""
            return [Staged(new_message_id(), each.size, each.sha256, None) for each in payloads]

    assert rows_without_file(tmp_path / "store", Hasty, monkeypatch)

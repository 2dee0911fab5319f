"""Damaged stores: nothing wrong comes out of them, and nothing is lost
silently. The test itself is tested."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.store.blobs.stored import StoredBody
from tests.torture.scenarios.damage import damaged_stores


@pytest.mark.torture
def test_nothing_wrong_comes_out_of_a_damaged_store(tmp_path: Path) -> None:
    found = damaged_stores(tmp_path / "stores", 20261122, count=25, messages=20)
    assert found.wrong == found.unnoticed == []
    assert found.kinds["detected"] >= 5, found.kinds


@pytest.mark.torture
def test_bodies_whose_digests_are_not_checked_are_noticed(tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoredBody, "check", lambda self, sha256, size: None)
    # where an injury hits depends on random ids: several dozen may miss every body
    assert any(damaged_stores(tmp_path / str(seed), seed, count=25, messages=20).kinds["wrong"]
               for seed in range(10))

"""The example's Fachverfahren: one case per key, and a business code beside the status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-m", "hub.procedure", "0", str(tmp_path / "cases")], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout and process.stdin
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()


def test_the_same_key_is_the_same_case_kept_once(url: str, tmp_path: Path) -> None:
    with httpx2.Client(trust_env=False) as client:
        place = f"{url}/antraege/14999010/hundesteuer"
        numbers = [client.post(place, content=b"<hund/>", headers={"Idempotency-Key": key}).json() for key in ("a", "a", "b")]
        assert client.get(f"{url}/status").status_code == 200
        assert client.post(f"{url}/anderswo", content=b"").status_code == 400
    assert [answer["vorgang"]["nummer"] for answer in numbers] == ["FV-00001", "FV-00001", "FV-00002"]
    assert {answer["ergebnis"]["rc"] for answer in numbers} == {"+0000"}
    assert [file.read_bytes() for file in (tmp_path / "cases").iterdir()] == [b"<hund/>", b"<hund/>"]

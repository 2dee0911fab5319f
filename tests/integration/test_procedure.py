"""The example's Fachverfahren: one case per key, and a business code beside the status."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from hub import endpoint
from hub.config import loader
from tests.integration.contract import make_delivery

ROOT = Path(__file__).parents[2]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    process = subprocess.Popen([sys.executable, "-m", "hub.demo.fachverfahren", "0", str(tmp_path / "cases")],
                               stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE)
    assert process.stdout and process.stdin
    yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    process.stdin.close()
    assert process.wait(10) == 0
    process.stdout.close()


def test_the_same_key_is_the_same_case_kept_once(url: str, tmp_path: Path) -> None:
    with httpx2.Client(trust_env=False) as client:
        place = f"{url}/antraege/14999010/hundesteuer"
        numbers = [client.post(place, content=b"<hund/>", headers={"Idempotency-Key": key}).json()
                   for key in ("a", "a", "b")]
        assert client.get(f"{url}/status").status_code == 200
        assert client.post(f"{url}/anderswo", content=b"").status_code == 400
    assert [answer["vorgang"]["nummer"] for answer in numbers] == ["FV-00001", "FV-00001", "FV-00002"]
    assert {answer["ergebnis"]["rc"] for answer in numbers} == {"+0000"}
    assert [file.read_bytes() for file in (tmp_path / "cases").iterdir()] == [b"<hund/>", b"<hund/>"]


def test_by_soap_the_same_kennung_is_the_same_case(url: str, tmp_path: Path) -> None:
    """Called as the example configuration calls it."""
    municipality = loader.load(ROOT / "etc/hub.toml").municipalities["musterstadt"].destinations[
        "musterstadt/melderegister"]
    options = municipality.options.model_copy(update={"url": f"{url}/meldungen"})
    outlet = endpoint.build_outlet("soap", options)
    delivery = make_delivery([("xml", "antrag.xml", "application/xml",
                               "<meldung><ort>Größna</ort></meldung>".encode())])
    receipts = [outlet.deliver(delivery, lambda: None).reference for _ in range(2)]
    assert [finding.severity for finding in outlet.check()] == ["ok", "ok"]
    outlet.close()
    assert receipts[0] == receipts[1]
    assert receipts[0].startswith("FV-00001 ")
    [case] = (tmp_path / "cases").iterdir()
    assert "<ort>Größna</ort>" in case.read_text(encoding="utf-8")
    with httpx2.Client(trust_env=False) as client:
        answer = client.post(f"{url}/meldungen", content=b"<nothing/>")
    assert (answer.status_code, b"Client" in answer.content) == (500, True)

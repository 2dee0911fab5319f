"""What `send` refuses before anything is sent; the rest is `tests/integration/test_send.py`'s."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.kit import ROOT, run

APPLICATION = ROOT / "mappings/hundesteuer/examples/v2-smallest/message.xml"


def send(tmp_path: Path, *more: str, code: int) -> str:
    pem = str(tmp_path / "x.pem")
    Path(pem).write_text("no certificate", encoding="utf-8")
    return run(tmp_path, "send", str(APPLICATION), "--cert", pem, "--key", pem, "--ca", pem, *more,
               code=code).stderr


@pytest.mark.parametrize(("options", "told"), [
    (["--ags", "..", "--service", "x"], ".. is no name"),
    (["--ags", "test", "--service", "x"], "give the AGS itself; --test makes it a test"),
    (["--ags", "1", "--service", "x", "--idempotency-key", "ä"], "give printable ASCII characters"),
    (["--ags", "1", "--service", "x", "--idempotency-key", " "], "give printable ASCII characters"),
    (["--service", "x"], "--ags"),
])
def test_what_no_path_and_no_header_can_carry_is_a_usage_error(tmp_path: Path, options: list[str],
                                                               told: str) -> None:
    assert told in send(tmp_path, *options, code=2)


def test_a_certificate_that_is_none_is_a_matter_of_configuration(tmp_path: Path) -> None:
    told = send(tmp_path, "--ags", "14999010", "--service", "hundesteuer", code=78)
    assert "--ca" in told
    assert "cannot be used" in told

"""``drehscheibe check`` finds keys and secrets that somebody else can read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hub.config import loader
from hub.operations.checks import check_all, readable_secrets

ROOT = Path(__file__).parents[3]

@pytest.fixture
def place(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "etc", tmp_path / "etc")
    shutil.copytree(ROOT / "mappings", tmp_path / "mappings")
    secrets = tmp_path / "var" / "demo"
    shutil.rmtree(secrets, ignore_errors=True)
    return tmp_path


def files(place: Path) -> dict[str, Path]:
    """The secrets that the example names, made with the rights they should have."""
    configuration = loader.load(place / "etc/hub.toml")
    found = {}
    for inlet in configuration.inlets:
        for name, value in inlet.options.model_dump().items():
            if isinstance(value, str) and value.startswith("file:"):
                found[f"{inlet.name}.{name}"] = Path(value.removeprefix("file:"))
    for path in found.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("-----BEGIN PRIVATE KEY-----\n")
        path.chmod(0o600)
    return found


def findings(place: Path) -> list[tuple[str, str, str]]:
    found = readable_secrets(loader.load(place / "etc/hub.toml"))
    return [(where, finding.severity, finding.text) for where, finding in found]


def test_secrets_of_their_owner_alone_are_no_finding(place: Path) -> None:
    assert files(place)
    assert findings(place) == []


@pytest.mark.parametrize(("mode", "severity", "words"), [
    (0o644, "error", "alle können"), (0o604, "error", "alle können"), (0o640, "warning", "die Gruppe kann"),
    (0o602, "error", "alle können")])
def test_a_readable_server_key_is_a_finding(place: Path, mode: int, severity: str, words: str) -> None:
    name, key = next((name, path) for name, path in files(place).items() if name.endswith(".key"))
    key.chmod(mode)
    [(where, found, text)] = findings(place)
    assert name.split(".")[0] in where
    assert (found, words in text, str(key) in text) == (severity, True, True)
    told = [finding for _, finding in check_all(loader.load(place / "etc/hub.toml"), connect=False)
            if str(key) in finding.text]
    assert any(words in finding.text for finding in told)


def test_a_key_beside_its_certificate_is_a_secret_too(place: Path) -> None:
    files(place)
    configuration = loader.load(place / "etc/hub.toml")
    certificate = next(Path(str(getattr(inlet.options, "certificate")))  # noqa: B009  # of whichever inlet
                       for inlet in configuration.inlets if hasattr(inlet.options, "certificate"))
    certificate.parent.mkdir(parents=True, exist_ok=True)
    certificate.write_text("-----BEGIN CERTIFICATE-----\n")
    certificate.chmod(0o644)
    assert findings(place) == []
    certificate.write_text("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n")
    assert [severity for _, severity, _ in findings(place)] == ["error"]


def test_the_key_for_cases_is_a_secret(place: Path) -> None:
    files(place)
    key = place / "case.key"
    key.write_text("0" * 64)
    key.chmod(0o640)
    defaults = place / "etc/defaults.toml"
    text = defaults.read_text().partition("[retention]")
    defaults.write_text(f'{text[0]}[retention]\ncase_key = "file:{key}"\n{text[2].partition(chr(10))[2]}')
    assert [(where, severity) for where, severity, _ in findings(place)] == [
        ("defaults.toml: retention.case_key", "warning")]

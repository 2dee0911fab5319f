"""The README's examples, taken from the README and tried."""

from __future__ import annotations

import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hub import endpoint
from hub.cli import app
from hub.config import loader
from hub.config.rules import rules_for

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(heading: str, language: str) -> str:
    """The first block of code below a heading."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def shell(lines: str, folder: Path) -> None:
    subprocess.run(["sh", "-euc", lines], cwd=folder, check=True, timeout=60)


def without_hub(script: str) -> str:
    """A script's lines up to the first command of ours."""
    return script[:script.index("drehscheibe")]


def test_a_municipality_is_one_file(copy: Path) -> None:
    shell(without_hub(block("Add a municipality", "sh")), copy)
    configuration = loader.load(copy / "etc/hub.toml")
    assert configuration.tenant_of("14999040") == "neudorf"
    assert {rule.test for rule in rules_for(configuration, "14999040", "hundesteuer")} == {False, True}


@pytest.mark.slow
def test_a_service_is_one_folder(copy: Path) -> None:
    ours = f'drehscheibe() {{ PYTHONPATH="{ROOT}" "{sys.executable}" -P -m hub "$@"; }}\n'
    named = next(line for line in README.splitlines() if line.startswith("export DREHSCHEIBE_CONFIG="))
    shell(f'{ours}{named}\n{block("Add a service", "sh")}', copy)
    municipality = copy / "etc/municipalities/14999030.toml"
    text = municipality.read_text(encoding="utf-8").replace("services = [",
                                                            'services = ["zweitwohnungsteuer", ')
    municipality.write_text(text, encoding="utf-8")
    assert rules_for(loader.load(copy / "etc/hub.toml"), "14999030", "zweitwohnungsteuer")


def test_a_connector_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import connectors

    (tmp_path / "terminal.py").write_text(block("Add a connector", "python"), encoding="utf-8")
    monkeypatch.setattr(connectors, "__path__", [*connectors.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    try:
        outlet = endpoint.build_outlet("terminal", endpoint.options_model("terminal", "Outlet")(prefix="> "))
        assert [finding.severity for finding in outlet.check()] == ["ok"]
    finally:
        sys.modules.pop("connectors.terminal", None)


SECOND = "test|preview|new|schema|doc|setup|install"
COMMANDS = sorted(set(re.findall(rf"^drehscheibe ([a-z]+(?: (?:{SECOND}))?)", README, re.MULTILINE)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_named_here_exists(command: str) -> None:
    assert CliRunner().invoke(app.main, [*command.split(), "--help"]).exit_code == 0
    assert len(COMMANDS) > 8


def test_every_file_named_here_exists() -> None:
    named = set(re.findall(r"(?<![\w/.~-])(?:mappings/hundesteuer|etc|docs|hub|tests|connectors)/[\w./-]*\w",
                           README))
    missing = {name for name in named if "14999040" not in name and not (ROOT / name).exists()}
    assert len(named) > 5
    assert missing == set()

"""A new connector passes its test from the first minute, and what does not fit is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from hub.authoring.connector_scaffold import TEMPLATES, Template, new_connector
from hub.errors import ConfigError

ROOT = Path(__file__).parents[3]
ARGUMENTS = {"drop": ("--outlet", "drop"), "http": ("--outlet", "http"), "other": ("--outlet", "other"),
             "inlet": ("--inlet",)}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of the repository, as far as a new connector needs one."""
    for name in ("hub", "connectors", "tests/integration", "tests/services"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "tests/__init__.py", "tests/conftest.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def call(clone: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Python in the clone, which knows no other one."""
    environment = {**os.environ, "PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-P", "-m", *command], cwd=clone, env=environment, check=False,
                          capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("template", get_args(Template))
def test_a_new_connector_passes_at_once(clone: Path, template: str) -> None:
    made = call(clone, "hub", "connector", "new", "pigeon", *ARGUMENTS[template])
    assert made.returncode == 0, made.stderr
    tests = call(clone, "pytest", "-q", "-p", "no:cacheprovider", "tests/integration/test_pigeon.py")
    assert tests.returncode == 0, tests.stdout
    assert " passed" in tests.stdout
    assert "skipped" not in tests.stdout
    lint = call(clone, "ruff", "check", "--no-cache", "--line-length", "110", "connectors/pigeon.py",
                "tests/integration/test_pigeon.py")
    assert lint.returncode == 0, lint.stdout
    types = call(clone, "mypy", "--cache-dir", os.devnull, "connectors/pigeon.py")
    assert types.returncode == 0, types.stdout
    assert "pigeon" in call(clone, "hub", "connector", "list").stdout


def test_nothing_but_two_files_is_written(tmp_path: Path) -> None:
    for template in get_args(Template):
        place = tmp_path / template
        for folder in ("connectors", "tests/integration"):
            (place / folder).mkdir(parents=True)
        files = new_connector(place, "pigeon", template)
        assert sorted(files) == sorted(file for file in place.rglob("*") if file.is_file())
        assert all("NAME" not in file.read_text(encoding="utf-8") for file in files)
    assert len(list(TEMPLATES.iterdir())) == 2 * len(get_args(Template)), "a template that nobody can choose"


@pytest.mark.parametrize(("name", "fault"), [
    ("Pigeon", "is no name of a connector"), ("class", "is no name of a connector"),
    ("carrier-pigeon", "is no name of a connector"), ("smtp", "is there already")])
def test_a_name_that_does_not_fit_writes_nothing(tmp_path: Path, name: str, fault: str) -> None:
    for folder in ("connectors", "tests/integration"):
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(ConfigError, match=fault):
        new_connector(tmp_path, name, "drop")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []

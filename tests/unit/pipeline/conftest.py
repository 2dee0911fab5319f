"""A package of stylesheets, one with a schema, and a file that nobody may read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.pipeline.validation import TABLE, XSD
from tests.unit.pipeline.workplace import Workplace


@pytest.fixture
def workplace(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "geheim.xml"
    file.write_text("<geheim>streng geheim</geheim>")
    return file


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "v1"
    folder.mkdir()
    (folder / "fields.toml").write_text(TABLE)
    (folder / "fields.xsd").write_text(XSD)
    return tmp_path

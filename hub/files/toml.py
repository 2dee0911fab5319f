"""TOML files, read with errors that name file, line and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rtoml

from hub.errors import ConfigError


def read_toml(file: Path) -> dict[str, Any]:
    """A TOML file. Raises `ConfigError` with file and line."""
    return parse_toml(file, read_file(file))


def read_file(file: Path) -> bytes:
    """The bytes of a file. Raises `ConfigError`."""
    try:
        with file.open("rb", buffering=0) as opened:
            return opened.read()
    except OSError as error:
        raise ConfigError.at(file, "(file)", f"cannot be read ({error.strerror})",
                             "create it or mend its rights") from error


def parse_toml(file: Path, content: bytes) -> dict[str, Any]:
    """The TOML in `content`, which was read from `file`. Raises `ConfigError` with file and line."""
    try:
        return rtoml.loads(content.decode("utf-8"))
    except (rtoml.TomlParsingError, UnicodeDecodeError) as error:
        raise ConfigError.at(file, "(file)", f"is no TOML ({error})", "mend that line") from error

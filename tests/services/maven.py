"""Java programs for tests, each fetched once from Maven Central into ~/.m2 and compared with its digest."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from tests.services import missing, need

REPOSITORY = Path.home() / ".m2" / "repository"


def artifact(name: str, sha256: str) -> Path:
    """The file of an artifact ``group:artifact:version:kind``. It is fetched if it is missing. If it cannot
    be, the test is skipped (in CI it fails)."""
    group, artifact_id, version, kind = name.split(":")
    file = REPOSITORY.joinpath(*group.split("."), artifact_id, version, f"{artifact_id}-{version}.{kind}")
    if not file.exists():
        maven = need("mvn", "maven")
        done = subprocess.run(
            [maven, "-q", "-B", "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:get",
             f"-Dartifact={name}",
             "-Dtransitive=false", f"-Dmaven.repo.local={REPOSITORY}"], check=False, capture_output=True,
            text=True, timeout=600)
        if done.returncode != 0:
            missing(name, "Maven Central cannot be reached")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256, f"{file} is not the file it should be"
    return file

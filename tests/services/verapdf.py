"""veraPDF, the judge of PDF/A and PDF/UA: one run over many files."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.services import need
from tests.services.maven import artifact

ARTIFACT = "org.verapdf.apps:greenfield-apps:1.28.2:jar"
DIGEST = "687d4d8bcfec48c9f7e931cf78ed061f1eeccfba55d4cdc000ba9b4d8aa46ce6"


def failures(flavour: str, files: Sequence[Path]) -> list[str]:
    """The rules of a flavour (``3a``, ``ua1``) that the files break, each as ``<file>: <rule>``."""
    java, jar = need("java", "openjdk-17-jre-headless"), artifact(ARTIFACT, DIGEST)
    done = subprocess.run(
        [java, "-Xmx512m", "-cp", str(jar), "org.verapdf.apps.GreenfieldCliWrapper", "--flavour", flavour,
         "--format", "text", "-v", *map(str, files)], check=False, capture_output=True, text=True,
        timeout=600)
    broken: list[str] = []
    passed, name = 0, ""
    for line in done.stdout.splitlines():
        verdict, _, rest = line.strip().partition(" ")
        if line.startswith("PASS"):
            passed += 1
        elif line.startswith("FAIL"):
            name = Path(rest.rpartition(" ")[0]).name
        elif verdict == "FAIL":
            broken.append(f"{name}: {rest}")
    assert passed + len({each.partition(": ")[0] for each in broken}) == len(files), done.stdout + done.stderr
    return broken

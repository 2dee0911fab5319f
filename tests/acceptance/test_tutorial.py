"""Types docs/tutorial.md and the README block by block, beside the example hub that `make run` starts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.services import free_port, need, wait_until

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TUTORIAL = (ROOT / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
END = "--- typed ---"
PORTS = ("8443", "9464", "2525", "8480")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "DREHSCHEIBE_CONFIG"}
ENVIRONMENT |= {"DREHSCHEIBE_LANG": "en", "COLUMNS": "200"}


@dataclass
class Workplace:
    """A newcomer's folder and second terminal."""

    folder: Path

    def __post_init__(self) -> None:
        self.shell = subprocess.Popen(["sh", "-eu"], cwd=self.folder, env=ENVIRONMENT, text=True,
                                      encoding="utf-8",
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def type(self, block: str) -> str:
        """Type a block, and wait for its end. Returns what it printed.

        A line that fails ends the shell, and the test fails.
        """
        assert self.shell.stdin and self.shell.stdout
        # the output may end without a line break
        self.shell.stdin.write(f"{block}\nprintf '\\n%s\\n' '{END}'\n")
        self.shell.stdin.flush()
        printed = ""
        for line in self.shell.stdout:
            if line.rstrip() == END:
                return printed
            printed += line
        raise AssertionError(f"this block of the tutorial failed:\n{block}\n{printed}")

    def with_ports(self, block: str) -> str:
        """The block, with the ports of this configuration instead of those of the example."""
        status, https = re.findall(r"^port = (\d+)",
                                   (self.folder / "etc/hub.toml").read_text(encoding="utf-8"), re.MULTILINE)
        return block.replace(":9464/", f":{status}/").replace(":8443/", f":{https}/")

    def newest(self, *filters: str) -> list[str]:
        """The ids of messages, the newest first."""
        return [row["id"][:18]
                for row in json.loads(self.type(f"drehscheibe messages --all --json {' '.join(filters)}"))]

    def rests(self) -> bool:
        """Whether every message has reached its end."""
        listed = json.loads(self.type("drehscheibe messages --all --json"))
        return all(message["state"] in ("completed", "parked", "discarded") for message in listed)

    def close(self) -> None:
        self.shell.kill()
        self.shell.communicate()


def free_ports(folder: Path) -> None:
    """Put free ports into the copied configuration."""
    named = {port: str(free_port()) for port in PORTS}
    for file in (folder / "etc/hub.toml", folder / "etc/defaults.toml"):
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(rf"\b({'|'.join(PORTS)})\b", lambda found: named[found[1]], text),
                        encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The unpacked project, with the examples of one service. `test_demo` uses all of them."""
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for example in (tmp_path / "mappings").glob("*/examples/*"):
        if example.parts[-3] != "hundesteuer":
            shutil.rmtree(example)
    launcher = tmp_path / ".venv/bin/drehscheibe"
    launcher.parent.mkdir(parents=True)
    launcher.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -P -m hub "$@"\n',
                        encoding="utf-8")
    launcher.chmod(0o755)
    free_ports(tmp_path)
    return tmp_path


@pytest.fixture
def workplace(folder: Path) -> Iterator[Workplace]:
    """A second terminal. In the first one `make run` has said that the hub stays up."""
    log = folder / "run.log"
    with log.open("wb") as out:
        hub = subprocess.Popen([folder / ".venv/bin/drehscheibe", "--config", "etc/hub.toml", "demo"],
                               cwd=folder, env=ENVIRONMENT, stdout=out, stderr=out)
    workplace = Workplace(folder)
    try:
        wait_until(lambda: hub.poll() is not None or "stays up" in log.read_text(encoding="utf-8"),
                   f"the examples ({log})", 120)
        assert hub.poll() is None, log.read_text(encoding="utf-8")
        yield workplace
    finally:
        workplace.close()
        hub.terminate()
        hub.wait(60)


def test_every_block_works_as_it_stands(workplace: Workplace) -> None:
    printed = []
    for block in BLOCKS:
        printed.append(workplace.type(block))
        if "drehscheibe send" in block:
            wait_until(workplace.rests, "every message has come to where it goes", 60)
    assert len(BLOCKS) > 10
    for expected in ("completed", "Familienkarte", "Karte: Die Art der Karte fehlt.", "waldbad.xml",
                     "parked"):
        assert expected in "\n".join(printed), expected
    assert not (workplace.folder / "etc/municipalities/14999050.toml").exists()


def test_a_block_that_fails_is_noticed(folder: Path) -> None:
    workplace = Workplace(folder)
    try:
        workplace.type("\n".join(BLOCKS[0].splitlines()[:2]))
        with pytest.raises(AssertionError, match="this block"):
            workplace.type("drehscheibe mapping test waldbad")
    finally:
        workplace.close()


def readme(heading: str) -> str:
    """The first block below a heading of the README."""
    section = README.split(f"\n## {heading}\n", 1)[1]
    return section.split("```sh\n", 1)[1].split("```", 1)[0]


def test_the_readme_works_as_it_stands(workplace: Workplace) -> None:
    need("curl", "curl")
    terminal = re.search(r"^```sh\n(PATH=.*?)^```", README, re.MULTILINE | re.DOTALL)
    assert terminal
    workplace.type(terminal[1])
    before = workplace.newest("--ags 14999030")
    printed = workplace.type(workplace.with_ports(readme("Receive")))
    assert '"duplicate":true' in printed
    wait_until(lambda: workplace.newest("--ags 14999030") != before, "the copied file is taken", 60)
    wait_until(workplace.rests, "every message has come to where it goes", 60)
    printed = workplace.type(readme("Deliver").replace("019abcde", workplace.newest()[0]))
    assert "_hundesteuer_" in printed
    parked = workplace.newest("--state parked")[0]
    for line in workplace.with_ports(readme("Operate")).replace("019abcde", parked).splitlines():
        printed += workplace.type(line)
        if line.startswith("drehscheibe replay"):
            wait_until(workplace.rests, "nothing is under way", 60)
    for expected in ("Geparkt", "configuration was read again", '"balanced":true'):
        assert expected in printed, expected
    printed = workplace.type(readme("Add a municipality") + readme("Add a service"))
    assert "✓ zweitwohnungsteuer/smallest" in printed
    assert json.loads(workplace.type("drehscheibe municipality show 14999040 --json"))["tenant"] == "neudorf"

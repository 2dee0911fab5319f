"""Reloads under load, a third of them faulty. Exactly one recorded configuration handles each message.

Each configuration has a number. It is in the municipalities' files (the subject of mails)
and in the mapping's stylesheet (the file in the folder). Both copies of a message must
show the number of the configuration whose digest the store recorded for the message. The
number of a faulty configuration must appear nowhere.
"""

from __future__ import annotations

import json
import re
import signal
from base64 import b64decode
from collections import Counter
from collections.abc import Sequence
from email import message_from_bytes, policy
from pathlib import Path

from tests.torture.checker import recognise
from tests.torture.document import MUNICIPALITIES, SERVICE
from tests.torture.peers import rows
from tests.torture.stage import Stage, wait
from tests.torture.steps import Progress, Result

TAKEN, REFUSED = "the configuration was read again", "the old one stays"
BREAKS = ("no TOML", "unknown key", "broken stylesheet", "half a stylesheet", "unknown destination")


class Numbered:
    """The configuration on disk, with its number."""

    def __init__(self, stage: Stage) -> None:
        self.municipalities = sorted((stage.world.config.parent / "municipalities").iterdir())
        self.defaults = stage.world.config.parent / "defaults.toml"
        self.sheet = stage.world.folder / "mappings" / SERVICE / "v1" / "xml.xsl"
        self.good = {file: file.read_text() for file in (*self.municipalities, self.defaults, self.sheet)}

    def write(self, number: int, broken: str | None = None) -> None:
        """Write the number into all files, and the fault `broken` into one of them."""
        texts = {file: text.replace("ablage\", send", f"ablage\", subject = \"Stand {number}\", send")
                 .replace("postfach\", send", f"postfach\", subject = \"Stand {number}\", send")
                 .replace("<Probe ", f"<Probe stand=\"{number}\" ") for file, text in self.good.items()}
        assert texts != self.good
        municipality = self.municipalities[number % len(self.municipalities)]
        if broken == "no TOML":
            texts[municipality] += "\n[[[\n"
        elif broken == "unknown key":
            texts[self.defaults] += "\n[policy.retri]\nfirst = 1\n"
        elif broken == "broken stylesheet":
            texts[self.sheet] = texts[self.sheet].replace("</Probe>", "</Prob>")
        elif broken == "half a stylesheet":
            texts[self.sheet] = texts[self.sheet][:len(texts[self.sheet]) // 2]
        elif broken:
            texts[municipality] = texts[municipality].replace('destination = "postfach"',
                                                              'destination = "briefkasten"')
        for file, text in texts.items():
            file.write_text(text)


def reload_again_and_again(folder: Path, seed: int, *, count: int, messages: int,
                           launcher: Sequence[str] = ("-m", "hub"),
            progress: Progress = print) -> Result:
    """Reload `count` times, at random moments under load."""
    with Stage(folder, seed) as stage:
        numbered = Numbered(stage)
        numbered.write(0)
        stage.hub.launcher = launcher
        stage.hub.start()
        wait(lambda: bool(_said(stage, "the hub runs")),
             "the hub says so: its inlets may be ready a moment before")
        digests = {_said(stage, "the hub runs")[-1]: 0}
        faults, sent = [], 0
        for number in range(1, count + 1):
            broken = stage.dice.choice(BREAKS) if number % 3 == 0 else None
            numbered.write(number, broken)
            sent = messages * number // count
            before = stage.acknowledged()
            stage.budget(sent)
            stage.reach(before + stage.dice.randint(0, (sent - before) // 2))
            word = REFUSED if broken else TAKEN
            told = {each: len(_said(stage, each)) for each in (TAKEN, REFUSED)}
            stage.extra_hits += not stage.hub.settled()
            stage.hub.signal(signal.SIGHUP)
            wait(lambda: any(len(_said(stage, each)) > told[each] for each in told),  # noqa: B023
                 "the hub has read it")
            if len(_said(stage, word)) == told[word]:
                faults.append(f"{number}, {broken or 'good'}: was {'taken' if broken else 'refused'}")
            elif not broken:
                digests[_said(stage, TAKEN)[-1]] = number
        progress(f"{count} reloads, {len(digests) - 1} taken, {stage.acknowledged()} acknowledged")
        stage.drain()
        return {**stage.check(), "faults": faults + _mixed(stage, digests)}


def _said(stage: Stage, words: str) -> list[str]:
    """The configurations in those lines of the log that have these words."""
    return [str(json.loads(line).get("configuration")) for line in stage.world.log.read_text().splitlines()
            if words in line]


def _mixed(stage: Stage, digests: dict[str, int]) -> list[str]:
    """The messages whose copies do not show the recorded configuration."""
    world, wrong = stage.world, Counter[str]()
    recorded = dict(rows(world.state / "store.sqlite3", "SELECT key, config_digest FROM message"))
    shown: dict[str, set[int]] = {name: set() for name in recorded}
    for municipality in MUNICIPALITIES.values():
        for place in (world.drop / municipality).iterdir():
            name = recognise((place / "original.xml").read_bytes(), None).name
            match = re.search(rb'stand="(\d+)"', (place / "probe.xml").read_bytes())
            if name and match:
                shown[name].add(int(match[1]))
    for line in world.mails.read_text().splitlines():
        mail = message_from_bytes(b64decode(json.loads(line)["mail"]), policy=policy.default)
        files = [bytes(part.get_payload(decode=True) or b"") for part in mail.walk() if part.get_filename()]
        name, match_text = recognise(files[0], None).name, re.search(r"Stand (\d+) ", str(mail["Subject"]))
        if name and match_text:
            shown[name].add(int(match_text[1]))
    for name, numbers in shown.items():
        number = digests.get(recorded[name][:12])
        wrong["handled by a configuration that was never taken"] += number is None
        wrong["handled by another configuration than recorded"] += number is not None and numbers != {number}
    used = len({recorded[name] for name in recorded})
    if used < len(digests) // 3:
        wrong[f"only {used} of {len(digests)} configurations were used: too little load"] += 1
    return [f"{text}: {count}" for text, count in wrong.items() if count]

"""A mail server that fails at each command in each way. Each cell of the matrix has one right outcome.

Postfix's own ``smtp-sink`` is the server where it can fail so: temporary and permanent refusals, 421, a
cut at a command. For the rest the torture's own sink is the server: hanging, the mail kept but the answer
lost, RSET and QUIT, STARTTLS. In both cases the torture's sink counts the copies.

The three municipalities differ. The first asks a person in doubt, the others
repeat with a mark. The third one uses STARTTLS.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.services import accepts, free_port, need
from tests.services.proxy import Proxy
from tests.torture.peers import Cells
from tests.torture.stage import Stage, wait
from tests.torture.steps import Progress, Result

KINDS = ("4xx", "5xx", "421", "cut", "hang")
EARLY = {"4xx": "retried", "5xx": "parked", "421": "retried", "cut": "retried", "hang": "retried"}
AT_THE_DOOR = EARLY | {"5xx": "held"}
DOUBT = ("asked", "marked", "marked")

Classes = tuple[str | Collection[str], ...]
Plan = list[dict[str, str]]


def cells() -> dict[str, tuple[Plan, Classes]]:
    """The cells by name: what the sink does, and the class of each municipality's probe."""
    matrix: dict[str, tuple[Plan, Classes]] = {}
    for kind in KINDS:
        for command in ("CONNECT", "EHLO"):
            matrix[f"{command} {kind}"] = [{"command": command, "kind": kind}], (AT_THE_DOOR[kind],)
        matrix[f"STARTTLS {kind}"] = ([{"command": "STARTTLS", "kind": kind}],
                                      ("delivered", "delivered", AT_THE_DOOR[kind]))
        for command in ("MAIL", "RCPT", "DATA"):
            matrix[f"{command} {kind}"] = [{"command": command, "kind": kind}], (EARLY[kind],)
        matrix[f"BODY {kind}"] = ([{"command": "BODY", "kind": kind}],
                                  DOUBT if kind in ("cut", "hang") else (EARLY[kind],))
        matrix[f"RSET {kind}"] = [{"command": "RSET", "kind": kind}], ("delivered",)
        for answer in ("4xx", "5xx"):
            for after in ("RSET", "QUIT"):
                matrix[f"RCPT {answer}, {after} {kind}"] = (
                    [{"command": "RCPT", "kind": answer}, {"command": after, "kind": kind}], (EARLY[answer],))
    for kind in ("kept-cut", "kept-hang"):
        matrix[f"BODY {kind}"] = [{"command": "BODY", "kind": kind}], DOUBT
    # inside the mail: the outcome is certain if the hub notices before its last byte
    for kind in ("cut", "hang"):
        matrix[f"CONTENT {kind}"] = ([{"command": "CONTENT", "kind": kind}],
                                     tuple({"retried", late} for late in DOUBT))
    return matrix


SHORT = ("RCPT 5xx, QUIT cut", "BODY kept-cut")
"""The cells in `make test`: a refusal that must stay one, and a mail whose outcome nobody can know."""
SMTP_SINK = {"4xx": "-r", "5xx": "-f", "421": "-Q", "cut": "-q"}


def mail_matrix(folder: Path, seed: int, *, only: Collection[str] = (), smtp_sink: bool = True,
                launcher: Sequence[str] = ("-m", "hub"), progress: Progress = print) -> Result:
    """Try each cell with the torture's sink, then those that Postfix's smtp-sink can do."""
    with Stage(folder, seed, smtp_timeout=3) as stage, Proxy(stage.world.port("smtp")) as line:
        _municipalities(stage, line.port)
        stage.hub.launcher = launcher
        stage.hub.start()
        run = Cells(stage, "postfach", f"s{seed}")
        chosen = {name: cell for name, cell in cells().items() if name in only or not only}
        for name, (plan, classes) in chosen.items():
            if "RSET" in name:
                # keep a connection, so that the next probe begins with RSET
                run.expect("nothing", run.send(), "delivered")
            else:
                line.drop()  # so that the next probe makes a new connection
            stage.mail_faults(plan)
            names = run.send()
            run.tried(names)
            _repair(stage)
            run.expect(name, names, *classes)
        progress(f"{len(chosen)} cells, {stage.acknowledged()} acknowledged")
        if smtp_sink:
            _with_smtp_sink(stage, run, line, progress)
        stage.drain()
        return {**stage.check(), "faults": run.count()}


def _repair(stage: Stage) -> None:
    stage.mail_faults([])
    stage.hub.signal(signal.SIGHUP)  # a person has acted where one was needed


def _municipalities(stage: Stage, port: int) -> None:
    """Write the three municipalities. All go through the proxy."""
    etc = stage.world.config.parent
    defaults = etc / "defaults.toml"
    defaults.write_text(defaults.read_text().replace(f"port = {stage.world.port('smtp')}", f"port = {port}"))
    for file, more in zip(sorted((etc / "municipalities").iterdir()), (
            'in_doubt = "ask"', 'in_doubt = "repeat-marked"',
            f'security = "starttls"\nca_file = "{stage.world.tls / "ca.pem"}"'), strict=True):
        text = file.read_text()
        file.write_text(text.replace('connector = "smtp"', f'connector = "smtp"\n{more}'))


def _with_smtp_sink(stage: Stage, run: Cells, line: Proxy, progress: Progress) -> None:
    own, count = line.target, 0
    for command in ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "."):
        for kind, option in SMTP_SINK.items():
            told = f"{command},HELO" if command == "EHLO" else command
            with _smtp_sink(option, told) as port:
                line.target = port
                line.drop()
                names = run.send()
                run.tried(names)
                line.target = own  # for new connections; open ones to smtp-sink end there
                stage.hub.signal(signal.SIGHUP)
                early = AT_THE_DOOR if command in ("CONNECT", "EHLO") else EARLY
                doubt = command == "." and kind == "cut"
                starttls = "held"  # smtp-sink does not offer it: the third one waits for a person
                first = DOUBT[:2] if doubt else (early[kind],) * 2
                third = early[kind] if command in ("CONNECT", "EHLO") else starttls
                run.expect(f"smtp-sink {option} {told}", names, *first, third)
                count += 1
    progress(f"{count} cells with smtp-sink, {stage.acknowledged()} acknowledged")


@contextmanager
def _smtp_sink(option: str, commands: str) -> Iterator[int]:
    port = free_port()
    user = ["-u", "nobody"] if os.geteuid() == 0 else []
    process = subprocess.Popen([need("smtp-sink", "postfix"), *user, option, commands, f"127.0.0.1:{port}",
                                "100"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait(lambda: accepts(port), "smtp-sink listens")
        yield port
    finally:
        process.kill()
        process.wait()

"""A mail server that fails at every command in every way: each cell of the matrix has one right outcome.

Where Postfix's own ``smtp-sink`` can say it (a soft or a hard no, 421, a cut at a command), it is the server;
the rest (hanging, the mail kept but the answer lost, RSET and QUIT, STARTTLS) is the torture's own sink,
which counts the copies in either case.

The three municipalities differ: the first asks a person where nobody knows, the others repeat with a mark;
the third speaks STARTTLS.
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
    """By name: what the sink does, and what must become of the three municipalities' probes."""
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
    # in the middle of the mail: certain as long as our side notices before its last byte
    for kind in ("cut", "hang"):
        matrix[f"CONTENT {kind}"] = ([{"command": "CONTENT", "kind": kind}],
                                     tuple({"retried", late} for late in DOUBT))
    return matrix


SHORT = ("RCPT 5xx, QUIT cut", "BODY kept-cut")
"""Inside of `make test`: a no that must stay one, and the mail that nobody can know of."""
SMTP_SINK = {"4xx": "-r", "5xx": "-f", "421": "-Q", "cut": "-q"}


def mail_matrix(folder: Path, seed: int, *, only: Collection[str] = (), smtp_sink: bool = True,
                launcher: Sequence[str] = ("-m", "hub"), progress: Progress = print) -> Result:
    """Every cell with the torture's sink, then those that Postfix's smtp-sink knows."""
    with Stage(folder, seed, smtp_timeout=3) as stage, Proxy(stage.world.port("smtp")) as line:
        _municipalities(stage, line.port)
        stage.hub.launcher = launcher
        stage.hub.start()
        run = Cells(stage, "postfach", f"s{seed}")
        chosen = {name: cell for name, cell in cells().items() if name in only or not only}
        for name, (plan, classes) in chosen.items():
            if "RSET" in name:
                # keeps a connection, which the next probe asks with RSET
                run.expect("nothing", run.send(), "delivered")
            else:
                line.drop()  # a new connection, from its first word on
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
    stage.hub.signal(signal.SIGHUP)  # whoever needed a person had one


def _municipalities(stage: Stage, port: int) -> None:
    """The three differ; all go through the line."""
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
                line.target = own  # for new connections: whoever speaks to smtp-sink still, ends it there
                stage.hub.signal(signal.SIGHUP)
                early = AT_THE_DOOR if command in ("CONNECT", "EHLO") else EARLY
                doubt = command == "." and kind == "cut"
                starttls = "held"  # smtp-sink does not offer it: the third one's probes wait
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

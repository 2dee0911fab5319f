"""A mail server that refuses in every way."""

from __future__ import annotations

import signal
import time
from pathlib import Path

from tests.torture.stage import Stage
from tests.torture.steps import Progress, Result

COMMANDS = ("CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "BODY")
KINDS_OF_NO = ("4xx", "5xx", "421", "cut", "hang")


def bad_mail_server(folder: Path, seed: int, *, messages: int, progress: Progress = print) -> Result:
    """Each command of SMTP is answered 4xx, 5xx or 421, cut, or not at all;
    or the answer after the mail is lost."""
    cases = [(command, kind) for command in COMMANDS for kind in KINDS_OF_NO] + [("BODY", "kept-cut"),
                                                                                 ("BODY", "kept-hang")]
    with Stage(folder, seed, smtp_timeout=1) as stage:
        stage.hub.start()
        sent = 0
        for command, kind in cases:
            stage.mail_fault(command, kind, every=1 + stage.dice.randrange(3))
            sent += messages
            stage.budget(sent)
            stage.reach(sent)
            time.sleep(1.0)
            stage.extra_hits += 1
        stage.mail_fault("nothing", "4xx")
        stage.hub.signal(signal.SIGHUP)  # a server that refused all connections with 5xx is corrected now
        progress(f"{len(cases)} faults, {stage.acknowledged()} acknowledged")
        stage.drain()
        return stage.check()

"""The command ``drehscheibe``: puts its commands together.

Exit codes: 0 fine, 1 findings, 2 usage, 75 temporary, 78 configuration. Beside a running hub every command
goes through its socket. The store is opened here only while no hub runs.
"""

from __future__ import annotations

from pathlib import Path

import click

from hub import __version__
from hub.cli import messages, run
from hub.cli.backup import backup, restore
from hub.cli.bill import bill
from hub.cli.broker import broker
from hub.cli.connector import connector
from hub.cli.context import CONFIGURATION, VARIABLE, Context
from hub.cli.mapping import mapping
from hub.cli.municipality import municipality
from hub.cli.retention import retention
from hub.cli.schemas import schemas
from hub.cli.send import send
from hub.cli.store import store
from hub.i18n.texts import _


@click.group(help=_("The Datendrehscheibe: takes applications from Amt24 and delivers them to the town hall, "
                    "with proof."),
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", "-c", "file", type=click.Path(path_type=Path), metavar="FILE", envvar=VARIABLE,
              show_envvar=True, show_default=str(CONFIGURATION), help=_("The configuration (hub.toml)."))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help=_("Set one value for this call, e.g. status.port=9465; may be repeated."))
@click.version_option(__version__, prog_name="drehscheibe")
@click.pass_context
def main(context: click.Context, file: Path | None, overrides: tuple[str, ...]) -> None:
    """The command line's root."""
    context.obj = Context(file, overrides)


for each in (run.run, run.check, run.reload, run.schema, run.demo,
             messages.queue, messages.messages, messages.show, messages.why, *messages.CHANGES,
             send, mapping, schemas, store, retention, backup, restore, municipality, bill, broker,
             connector):
    main.add_command(each)

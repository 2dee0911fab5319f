"""Commands about retention."""

from __future__ import annotations

import click

from hub.cli.command import command, group, json_option
from hub.cli.context import Context
from hub.cli.output import print_json
from hub.i18n.texts import _


@command("run",
         "Delete now what need not be kept any more; the running hub does so by itself every day.")
@click.option("--dry-run", is_flag=True, help=_("Only count it."))
@json_option
@click.pass_obj
def retention_run(context: Context, dry_run: bool, as_json: bool) -> None:
    answer = context.ask("expiring" if dry_run else "expire")
    if as_json:
        print_json(answer)
    elif answer["running"]:
        click.echo(_("under way; its end stands in the hub's log"))
    else:
        due = _("due: the content of {messages} messages, {proofs} proofs")
        deleted = _("deleted: the content of {messages} messages ({bodies} parts, {bytes} bytes), {proofs} "
                    "proofs, {keys} keys")
        click.echo((due if dry_run else deleted).format(**answer))


retention = group("retention", "Retention: what need not be kept any more.", retention_run)

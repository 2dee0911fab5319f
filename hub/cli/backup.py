"""Commands that copy the store and put a copy back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from hub.cli.command import EX_FINDINGS, command, json_option
from hub.cli.context import Context, progress
from hub.cli.output import complain, local_time, print_json
from hub.errors import HubError
from hub.i18n.texts import _
from hub.telemetry import logs


@command("backup", "Copy the store to a new folder, or to a new .tar file, beside the running hub.")
@click.argument("target", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def backup(context: Context, target: Path, as_json: bool) -> None:
    answer = context.work("backup", target=str(target.absolute()))
    if as_json:
        print_json(answer)
    else:
        click.echo(_("{target}: {messages} messages, {files} files, {bytes} bytes, as of {made_at}").format(
            **_told(answer)))
        if answer["deleted_meanwhile"]:
            deleted = _("The content of {count} messages was deleted meanwhile, at the end of its retention.")
            click.echo(deleted.format(count=len(answer["deleted_meanwhile"])))
    for name in (*answer["damaged"], *answer["missing"]):
        lost = _("body {name} is damaged or missing in the store itself: drehscheibe store check --deep")
        complain(lost.format(name=name))
    sys.exit(EX_FINDINGS if answer["damaged"] or answer["missing"] else 0)


@command("restore",
         "Put a backup in the place of the store, the hub being stopped; all of it is verified first.")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--verify", "only_verify", is_flag=True, help=_("Only verify the backup; restore nothing."))
@click.option("--replace", is_flag=True, help=_("Move a store that is there aside (it is never deleted)."))
@click.option("--not-run-since", is_flag=True,
              help=_("No hub has run on this store since: leave what is due as it is."))
@json_option
@click.pass_obj
def restore(context: Context, source: Path, only_verify: bool, replace: bool, not_run_since: bool,
            as_json: bool) -> None:
    from hub.store.backup.restore import restore as put_back
    from hub.store.backup.restore import verify

    logs.setup("ERROR")  # standard output is the answer's alone
    with progress() as show:
        if only_verify:
            answer = verify(source, show).to_json()
        else:
            places = context.places
            if places.store.url is not None:
                raise HubError("[store] url: names a PostgreSQL, which is restored by its own tools: "
                               "docs/operate-two-nodes.md")
            answer = put_back(source, places.hub.state, replace=replace,
                              not_run_since=not_run_since, progress=show)
    if as_json:
        print_json(answer)
    elif only_verify:
        sound = _("sound: {messages} messages, {files} files, as of {made_at}; nothing was restored")
        click.echo(sound.format(**_told(answer)))
    else:
        _print_restored(_told(answer), context.start)


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer for people: its time is Europe/Berlin's."""
    return answer | {"made_at": local_time(answer["made_at"])}


def _print_restored(answer: dict[str, Any], start: str) -> None:
    click.echo(_("restored to {state}: {messages} messages, {files} files, as of {made_at}").format(**answer))
    if answer["moved_aside"]:
        click.echo(_("what was there lies in {moved_aside}").format(**answer))
    told = _("  {in_doubt} deliveries are in doubt: the receivers are asked before anything is sent again")
    click.echo(told.format(**answer))
    told = _("  {waiting} messages were not translated yet: their deliveries will be in doubt, too")
    click.echo(told.format(**answer))
    click.echo(_("  {parked} messages and deliveries are parked as before").format(**answer))
    click.echo(_("Not in this backup: what was accepted after {made_at}. Ask the senders.").format(**answer))
    click.echo(_("What they send again is taken as new: its duplicate keys are not in the backup, either."))
    if answer["parked"]:
        click.echo(_("A parked message was never sent. One that somebody replayed after {made_at} may have "
                     "arrived since, and the hub's log knows it ('an operator acts', verb=replay): replay "
                     "that one with --ask-first.").format(**answer))
    click.echo(_("next:") + f"\n  drehscheibe store check --deep\n  {start}")

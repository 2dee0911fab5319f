"""Commands about the store: is it sound, and what can be mended."""

from __future__ import annotations

import sys
from typing import Any

import click

from hub.cli.command import EX_FINDINGS, command, group, json_option
from hub.cli.context import Context, progress
from hub.cli.output import print_json
from hub.errors import StoreDamaged
from hub.i18n.texts import _
from hub.operations import control_socket
from hub.telemetry import logs

FAULTS = {"database": "the database is damaged", "reference": "a row refers to nothing",
          "tally": "the books are wrong",
          "orphan": "a file that nothing names", "leftover": "a file that retention will delete",
          "missing": "a body is missing", "damaged": "a body is damaged"}

REPAIRS = {"park_messages": "park this message", "park_deliveries": "park this delivery",
           "note": "note the loss in this message's history",
           "quarantine": "move this file to the quarantine",
           "tallies": "correct the books", "not_mended": "cannot be mended here"}


@command("check", "Look at the whole store and change nothing; beside a running hub, too.")
@click.option("--deep", is_flag=True, help=_("Read every body and compare its digest (slow)."))
@json_option
@click.pass_obj
def store_check(context: Context, deep: bool, as_json: bool) -> None:
    try:
        report = context.work("check_store", deep=deep)
    except StoreDamaged as error:  # too much even to open it
        from hub.store.integrity import unreadable

        report = unreadable(error, deep=deep).to_json()
    if as_json:
        print_json(report)
    else:
        _print_faults(report)
    sys.exit(0 if report["sound"] else EX_FINDINGS)


def _print_faults(report: dict[str, Any]) -> None:
    for fault in report["faults"][:200]:
        known = " " + _("(stands in its history)") if fault["known"] else ""
        click.echo(f"{'!' if fault['known'] or fault['kind'] == 'leftover' else '✗'} "
                   f"{_(FAULTS[fault['kind']])}: {fault['id']}"
                   + (f" ({_('message')} {fault['message']})" if fault["message"] else "")
                   + f": {fault['text']}" + known)
    if len(report["faults"]) > 200:
        click.echo(_("… and {count} more (--json shows all)").format(count=len(report["faults"]) - 200))
    looked = _("{messages} messages, {bodies} bodies, {files} files")
    if report["deep"]:
        looked += ", " + _("{bytes} bytes read")
    click.echo(f"{looked.format(**report)}: " + (_("fine") if report["sound"] else _("not sound")))
    if not report["sound"]:
        hopeless = {"database", "reference"} & set(report["counts"])
        restore = _("stop the hub, keep a copy of its state, then drehscheibe restore the last backup "
                    "(docs/operate-backup.md)")
        step = restore if hopeless else _("stop the hub, then drehscheibe store repair")
        click.echo(_("next:") + f"\n  {step}")


@command("repair",
         "Mend what can be mended safely, the hub being stopped; without --yes only say what would be done.")
@click.option("--deep", is_flag=True, help=_("Read every body and compare its digest (slow)."))
@click.option("--yes", is_flag=True, help=_("Do it."))
@json_option
@click.pass_obj
def store_repair(context: Context, deep: bool, yes: bool, as_json: bool) -> None:
    logs.setup("WARNING")  # standard output is the answer's alone
    with context.store() as opened, progress() as show:
        opened.only_node()
        todo = opened.plan_repair(opened.examine(deep=deep, alone=True, progress=show))
        done = opened.repair(todo, control_socket.whoami()) if yes and not todo.empty else None
    if as_json:
        print_json({"plan": todo.to_json(), "done": done})
    else:
        _print_repair(todo.to_json(), done)
    sys.exit(EX_FINDINGS if todo.hopeless or (done is None and not todo.empty) else 0)


def _print_repair(todo: dict[str, Any], done: dict[str, Any] | None) -> None:
    for key, text in REPAIRS.items():
        for name in todo[key]:
            click.echo(f"{_(text)}: {name}" + (f" ({todo[key][name]:+d})" if key == "tallies" else ""))
    if not any(todo.values()):
        click.echo(_("nothing to do"))
    elif done is not None:
        click.echo(_("done") + (f": {done['folder']}" if done["quarantine"] else ""))
    elif any(count for key, count in todo.items() if key != "not_mended"):
        click.echo(_("Nothing was changed. Do it with --yes."))


store = group("store", "The store: is it sound, and what can be mended.", store_check, store_repair)

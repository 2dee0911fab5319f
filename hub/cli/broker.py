"""Commands about RabbitMQ."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from hub.cli.command import EX_FINDINGS, command, group, json_option, not_empty
from hub.cli.context import Context
from hub.cli.output import print_json, print_table
from hub.endpoint import Returned
from hub.i18n.texts import _
from hub.operations import dead_letters


@command("setup", "Declare exchanges, queues, limits, users and permissions of the AMQP inlet.")
@click.option("--management", required=True, help=_("RabbitMQ's management API, http://host:15672 "
                                                     "(rabbitmq-plugins enable rabbitmq_management)."))
@click.option("--user", required=True)
@click.option("--password-file", type=click.Path(exists=True, dir_okay=False, resolve_path=True),
              required=True)
@click.option("--ca", type=click.Path(exists=True, dir_okay=False, resolve_path=True),
              help=_("The CA of the API's certificate (PEM)."))
@json_option
@click.pass_obj
def broker_setup(context: Context, management: str, user: str, password_file: str, ca: str | None,
                 as_json: bool) -> None:
    from hub.operations.checks import broker_setup as setup

    findings = setup(context.load(),
                     {"url": management, "user": user, "password": f"file:{password_file}", "ca": ca})
    if as_json:
        print_json([{"severity": finding.severity, "text": finding.text, "remedy": finding.remedy}
                     for finding in findings])
    for finding in findings if not as_json else ():
        remedy = f" → {finding.remedy}" if finding.remedy else ""
        click.echo(f"{finding.severity}: {finding.text}{remedy}")
    sys.exit(EX_FINDINGS if any(finding.severity == "error" for finding in findings) else 0)


def _places(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say whose dead letters, and as whom to look."""
    for option in (
            click.option("--password-file", type=click.Path(exists=True, dir_okay=False, resolve_path=True),
                         help=_("That user's password.")),
            click.option("--user",
                         help=_("A user at the broker; default: the hub's own, which may only read.")),
            click.option("--inlet", help=_("Only this inlet's."))):
        function = option(function)
    return function


def _open(context: Context, inlet: str | None, user: str | None,
          password_file: str | None) -> list[dead_letters.Place]:
    if (user is None) != (password_file is None):
        raise click.UsageError(_("--user and --password-file belong together"))
    return dead_letters.places(context.load(), inlet, user,
                               None if password_file is None else f"file:{password_file}")


@command("list", "The dead letters: messages that the broker laid aside because nobody took them.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
@_places
@json_option
@click.pass_obj
def dead_list(context: Context, limit: int, inlet: str | None, user: str | None, password_file: str | None,
              as_json: bool) -> None:
    found = dead_letters.listing(_open(context, inlet, user, password_file), limit)
    if as_json:
        print_json(found)
        return
    if not found["total"]:
        click.echo(_("no dead letters"))
        return
    print_table(["dead letter", "at", "queue", "reason", "bytes", "its sender's id"],
                [[row["id"], row["at"] or "", row["queue"] or "", _reason(row["reason"]), row["size"],
                  row["message_id"] or ""] for row in found["letters"]])
    if found["total"] > len(found["letters"]):
        click.echo(_("The first {count} of {total}: --limit shows the others.").format(
            count=len(found["letters"]), total=found["total"]))


@command("show", "One dead letter, without what a citizen wrote; --output saves its body.")
@click.argument("id", callback=not_empty)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False),
              help=_("A new file for the body, readable for you alone. It holds what a citizen wrote."))
@_places
@json_option
@click.pass_obj
def dead_show(context: Context, id: str, output: Path | None, inlet: str | None, user: str | None,
              password_file: str | None, as_json: bool) -> None:
    of = _open(context, inlet, user, password_file)
    place, letter = dead_letters.find(of, id)
    if output is not None:
        dead_letters.save(place, letter, output)
    shown = {**dead_letters.row(place.inlet, letter), "properties": dict(letter.properties),
             "saved": None if output is None else str(output)}
    if as_json:
        print_json(shown)
        return
    lines = {**shown, **letter.properties, "reason": _reason(letter.reason)}
    for key, value in lines.items():
        if key != "properties" and value is not None:
            click.echo(f"{key:16} {value}")


@command("requeue", "Give dead letters back to the queues they came from, once the cause is mended.")
@click.argument("id", required=False)
@click.option("--all", "everything", is_flag=True, help=_("All that lie there now."))
@_places
@json_option
@click.pass_obj
def dead_requeue(context: Context, id: str | None, everything: bool, inlet: str | None, user: str | None,
                 password_file: str | None, as_json: bool) -> None:
    if (id is None) != everything or (id is not None and not id.strip()):
        raise click.UsageError(_("either an id or --all"))
    done = []
    for name, letter, outcome in dead_letters.give_back(_open(context, inlet, user, password_file), id):
        done.append({**dead_letters.row(name, letter), "outcome": outcome})
        if not as_json:
            click.echo(f"{letter.id}: {_outcome(outcome)}")
    if as_json:
        print_json(done)
    elif not done:
        click.echo(_("no dead letters"))
    sys.exit(EX_FINDINGS if any(each["outcome"] != "returned" for each in done) else 0)


def _reason(reason: str) -> str:
    """The broker's word, in words."""
    return {"rejected": _("refused"), "expired": _("expired"), "maxlen": _("its queue was full"),
            "delivery_limit": _("delivered too often in vain")}.get(reason, _("unknown"))


def _outcome(outcome: Returned) -> str:
    """What came of giving back, and what to do where it lies there still."""
    return {
        "returned": _("is in its queue again"),
        "not-ours": _("stays: it did not come from a queue of this inlet; save it with show --output"),
        "no-queue": _("stays: its queue is gone; drehscheibe broker setup makes it again"),
        "refused": _("stays: its queue takes nothing now, it is full; try again later"),
        "unreadable": _("stays: its properties cannot be read; save it with show --output"),
    }[outcome]


@click.group("dead", commands=[dead_list, dead_show, dead_requeue], invoke_without_command=True,
             help=_("Dead letters at the broker: list (also without a command), show, requeue."))
@click.pass_context
def dead(context: click.Context) -> None:
    """Lists them where no command is named."""
    if context.invoked_subcommand is None:
        context.invoke(dead_list)


broker = group("broker", "RabbitMQ.", broker_setup, dead)

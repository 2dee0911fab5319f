"""Commands about messages and deliveries: look at them, and act on one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from hub.cli.command import command, json_option, not_empty, reason_option
from hub.cli.context import Context
from hub.cli.output import age, print_json, print_table
from hub.i18n.texts import _
from hub.operations import control_socket


@command("queue", "What waits, by destination, with the age of the oldest.")
@json_option
@click.pass_obj
def queue(context: Context, as_json: bool) -> None:
    rows = context.ask("queue")
    if as_json:
        print_json(rows)
        return
    rows = [row for row in rows if row["oldest_seconds"] is not None or row["parked"]]
    if not rows:
        click.echo(_("nothing waits"))
        return
    print_table(["destination", "due", "under way", "in doubt", "parked", "oldest", "rests until"],
                [[row["destination"], row["due"], row["delivering"], row["in_doubt"], row["parked"],
                  age(row["oldest_seconds"]), _rest(row)] for row in rows])


def _rest(row: Mapping[str, Any]) -> str:
    """Why a destination's deliveries wait, in a cell."""
    why = []
    if row["resting_until"]:
        why.append(f"{row['resting_until']} ({row['why']})")
    if row["closed_until"]:
        why.append(f"{row['closed_until']} (window)")
    if row["waiting_for_turn"]:
        why.append(_("{count} wait for their turn").format(count=row["waiting_for_turn"]))
    return "; ".join(why)


@command("messages", "The newest messages.")
@click.option("--state",
              type=click.Choice(["received", "routed", "deferred", "parked", "completed", "discarded"]),
              help=_("Only this state."))
@click.option("--ags")
@click.option("--service")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option
@click.pass_obj
def messages(context: Context, state: str | None, ags: str | None, service: str | None, limit: int,
             as_json: bool) -> None:
    found = context.ask("messages", state=state, ags=ags, service=service, limit=limit + 1)
    rows = found[:limit]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(_("no messages"))
    else:
        print_table(["message", "state", "service", "AGS", "received", "reason"],
                    [[row["id"], row["state"], row["service"], row["ags"], row["received_at"],
                      row["reason"] or ""] for row in rows])
        if len(found) > limit:
            click.echo(_("The newest {count} of more: --limit shows the others.").format(count=limit))


@command("show", "One message with its parts, deliveries and history.")
@click.argument("id", callback=not_empty)
@json_option
@click.pass_obj
def show(context: Context, id: str, as_json: bool) -> None:
    answer = context.ask("show", id=id)
    if as_json:
        print_json(answer)
        return
    for key in ("id", "state", "ags", "service", "form", "received_at", "sender", "inlet", "test",
                "correlation", "reason", "reason_text", "payload_deleted_at"):
        if answer[key] not in (None, False):
            click.echo(f"{key:12} {answer[key]}")
    if answer["payload_deleted_at"]:
        click.echo(_("The content was deleted at the end of its retention; the proof stays."))
    if answer["deliveries"]:
        print_table(["delivery", "destination", "state", "attempts", "where"],
                    [[row["id"], row["destination"], row["state"], row["attempts"],
                      (row["receipt"] or {}).get("reference", row["text"] or "")]
                     for row in answer["deliveries"]])
    click.echo(_("history"))
    columns = ("at", "event", "delivery", "reason", "detail", "who")
    for event in answer["events"]:
        click.echo("  " + "  ".join(str(event[key]) for key in columns if event[key]))


@command("why", "Why a message is where it is, and what to do next.")
@click.argument("id", callback=not_empty)
@json_option
@click.pass_obj
def why(context: Context, id: str, as_json: bool) -> None:
    answer = context.ask("why", id=id)
    if as_json:
        print_json(answer)
        return
    for line in [*answer["lines"], *(f"  {line}" for line in answer["trace"])]:
        click.echo(line)
    if answer["next"]:
        click.echo(_("next:"))
        for line in answer["next"]:
            click.echo(f"  {line}")


def _change(name: str, help: str, *, reason: bool) -> click.Command:
    """A command that changes one message or delivery."""

    @click.argument("id", callback=not_empty)
    @click.option("--action", default=control_socket.new_action,
                  help=_("An id for this action: whoever repeats it acts once."))
    @json_option
    @click.pass_obj
    def change(context: Context, /, id: str, action: str, as_json: bool, **arguments: Any) -> None:
        answer = context.ask(name, id=id, action=action, **arguments)
        if as_json:
            print_json(answer)
        else:
            click.echo(f"{answer['id']}: "
                       + _("done" if answer.get("changed", answer.get("new")) else "nothing to do"))

    return command(name, help)(reason_option(change) if reason else change)


CHANGES = (
    _change("replay",
            "Try now what is parked or waits: a message or a delivery (the same bytes, the same names).",
            reason=False),
    _change("resend", "Send a delivery once more as a new one (new names at the receiver).", reason=False),
    _change("discard", "Give up a parked message or delivery for good.", reason=True),
    _change("confirm", "Record that the receiver has a delivery that is in doubt or parked.", reason=True),
)
"""What a person can do to a message or a delivery."""

"""Commands about messages and deliveries: look at them, and act on one."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from hub.cli.command import EX_FINDINGS, command, json_option, not_empty, reason_option
from hub.cli.context import Context
from hub.cli.output import age, complain, print_json, print_table
from hub.cli.table import Table
from hub.errors import Busy, ConfigError, HubError, StoreUnavailable
from hub.i18n.texts import STATES, _, state
from hub.message import MessageState
from hub.operations import control_socket

PAGE = 1000
"""Messages that are asked for at once: `hub.operations.operator` gives no more."""
NEWEST = 20
"""Messages that are shown unless more are asked for."""


@command("queue", "What waits, by destination, with the age of the oldest.")
@json_option
@click.pass_obj
def queue(context: Context, as_json: bool) -> None:
    with context.several():
        rows = context.ask("queue")
        parked = context.ask("status")["messages"][MessageState.PARKED]
    if as_json:
        print_json(rows)
        return
    rows = [row for row in rows if row["oldest_seconds"] is not None or row["parked"]]
    if not rows:
        click.echo(_("nothing waits"))
    if parked:  # they have no destination yet, so no row counts them
        click.echo(_("{count} messages are parked, for which there are no deliveries yet: drehscheibe "
                     "messages --state parked --all").format(count=parked))
    if not rows:
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


def _state(context: click.Context, option: click.Parameter,  # noqa: ARG001  click's
           value: str | None) -> str | None:
    """A state of a message, in English or in German."""
    words = {STATES[each]: each.value for each in MessageState} | {each: each.value for each in MessageState}
    if value is not None and value not in words:
        raise click.BadParameter(_("no state {value!r}: {known}").format(
            value=value, known=", ".join(state(each) for each in MessageState)))
    return words[value] if value is not None else None


@command("messages", "The newest messages.")
@click.option("--state", "wanted", callback=_state, metavar="|".join(MessageState),
              help=_("Only this state."))
@click.option("--reason", help=_("Only this reason, as `why` names it."))
@click.option("--ags")
@click.option("--service")
@click.option("--limit", type=click.IntRange(1), show_default=str(NEWEST))
@click.option("--all", "everything", is_flag=True, help=_("All of them, not only the newest."))
@click.option("--ids", "as_ids", is_flag=True, help=_("Print the ids only, one a line."))
@json_option
@click.pass_obj
def messages(context: Context, /, wanted: str | None, limit: int | None, everything: bool, as_ids: bool,
             as_json: bool, **filters: str | None) -> None:
    if everything and limit:
        raise click.UsageError(_("either --all or --limit"))
    if as_ids and as_json:
        raise click.UsageError(_("either --ids or --json"))
    pages = _pages(context, None if everything else (limit or NEWEST), {"state": wanted, **filters})
    with context.several():
        if as_json:
            _print_json_pages(pages)
        elif as_ids:
            for page in pages:
                click.echo("".join(f"{row['id']}\n" for row in page), nl=False)
        else:
            _print_pages(pages)


def _pages(context: Context, limit: int | None,
           filters: Mapping[str, str | None]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The newest messages, page by page; the last one says on standard error when there are more."""
    left = limit
    before: str | None = None
    while left is None or left > 0:
        wanted = PAGE if left is None else min(left, PAGE)
        page = context.ask("messages", limit=wanted, before=before, **filters)
        if page:
            yield page
        if len(page) < wanted:
            return
        left = None if left is None else left - len(page)
        before = page[-1]["id"]
    if context.ask("messages", limit=1, before=before, **filters):
        click.echo(_("The newest {count} of more: --all shows every one.").format(count=limit), err=True)


def _print_pages(pages: Iterator[Sequence[Mapping[str, Any]]]) -> None:
    table = Table(["message", "state", "service", "AGS", "received", "reason"])
    shown = 0
    for page in pages:
        shown += len(page)
        table.rows([[row["id"], state(row["state"]), row["service"], row["ags"], row["received_at"],
                     row["reason"] or ""] for row in page])
    if not shown:
        click.echo(_("no messages"))


def _print_json_pages(pages: Iterator[Sequence[Mapping[str, Any]]]) -> None:
    """One list, as `print_json` writes it, of which no more than a page is held."""
    begun = False
    for page in pages:
        rows = json.dumps(page, ensure_ascii=False, indent=2, default=str)
        click.echo(("," if begun else "[") + rows[1:-2], nl=False)
        begun = True
    click.echo("\n]" if begun else "[]")


@command("show", "One message with its parts, deliveries and history.")
@click.argument("id", callback=not_empty)
@json_option
@click.pass_obj
def show(context: Context, id: str, as_json: bool) -> None:
    answer = context.ask("show", id=id)
    if as_json:
        print_json(answer)
        return
    for key in ("id", "state", "ags", "service", "case", "form", "received_at", "sender", "inlet", "test",
                "correlation", "reason", "reason_text", "payload_deleted_at"):
        if answer[key] not in (None, False):
            click.echo(f"{key:12} {state(answer[key]) if key == 'state' else answer[key]}")
    if answer["payload_deleted_at"]:
        click.echo(_("The content was deleted at the end of its retention; the proof stays."))
    if answer["deliveries"]:
        print_table(["delivery", "destination", "state", "attempts", "where"],
                    [[row["id"], row["destination"], state(row["state"]), row["attempts"],
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


def _not_empty(context: click.Context, option: click.Parameter, value: Sequence[str]) -> Sequence[str]:
    return [not_empty(context, option, each) for each in value]


@command("replay",
         "Try now what is parked or waits: messages or deliveries (the same bytes, the same names).")
@click.argument("ids", metavar="ID...", nargs=-1, required=True, callback=_not_empty)
@click.option("--action", help=_("An id for this action: whoever repeats it acts once."))
@click.option("--ask-first", is_flag=True,
              help=_("It may have been sent already, after the backup that was restored: ask the receiver."))
@json_option
@click.pass_obj
def replay(context: Context, ids: Sequence[str], action: str | None, ask_first: bool, as_json: bool) -> None:
    """What cannot be replayed does not stop the others."""
    if action and len(ids) > 1:
        raise click.UsageError(_("an action is one id's: leave --action out, or give one id"))
    answers: list[dict[str, Any]] = []
    with context.several():
        for each in ids:
            try:
                answers.append(context.ask("replay", id=each, ask_first=ask_first,
                                           action=action or control_socket.new_action()))
            except (Busy, ConfigError, StoreUnavailable):
                raise
            except HubError as error:
                if len(ids) == 1:
                    raise
                complain(str(error))
            else:
                if not as_json:
                    _print_replayed(answers[-1])
    if as_json:
        print_json(answers if len(ids) > 1 else answers[0])
    elif len(ids) > 1:
        click.echo(_("{changed} of {count} were changed").format(
            changed=sum(bool(answer["changed"]) for answer in answers), count=len(ids)))
    if len(answers) < len(ids):
        sys.exit(EX_FINDINGS)


def _print_replayed(answer: Mapping[str, Any]) -> None:
    """What was changed, and when it goes on."""
    click.echo(f"{answer['id']}: " + _("done" if answer["changed"] or answer["woken"] else "nothing to do"))
    for destination in answer["woken"]:
        if destination not in answer["closed"]:
            click.echo("  " + _("{destination} is tried now: its rest was ended").format(
                destination=destination))
    for destination, opens in answer["closed"].items():
        click.echo("  " + _("{destination} takes nothing before {opens} (window): it goes then").format(
            destination=destination, opens=opens))
    if answer["in_order"]:
        click.echo("  " + _("{count} wait for their turn: drehscheibe why {id}").format(
            count=answer["in_order"], id=answer["id"]))
    if answer["changed"] and not answer["running"]:
        click.echo("  " + _("no hub runs: it goes on once one does"))


CHANGES = (
    replay,
    _change("resend", "Send a delivery once more as a new one (new names at the receiver).", reason=False),
    _change("discard", "Give up a parked message or delivery for good.", reason=True),
    _change("confirm", "Record that the receiver has a delivery that is in doubt or parked.", reason=True),
)
"""What a person can do to a message or a delivery."""

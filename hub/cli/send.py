"""The command that sends one application, as Amt24 would."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from hub import endpoint
from hub.cli.command import EX_FINDINGS, EX_TEMPORARY, command, json_option
from hub.cli.context import Context
from hub.cli.output import print_json
from hub.config.configuration import Configuration
from hub.errors import HubError
from hub.i18n.texts import _, language


def _printable(context: click.Context, option: click.Parameter,  # noqa: ARG001  click's
               value: str | None) -> str | None:
    """A header takes no other characters."""
    if value is not None and not (value.strip() and value.isascii() and value.isprintable()):
        raise click.BadParameter(_("give printable ASCII characters: letters, digits, signs"))
    return value


def _step(context: click.Context, option: click.Parameter, value: str) -> str:  # noqa: ARG001  click's
    """One step of the inlet's path.

    A name that has a meaning of its own in a path is refused. Every other one is escaped.
    """
    if value in (".", ".."):
        raise click.BadParameter(_("{value} is no name").format(value=value))
    if option.name == "ags" and value == "test":
        raise click.BadParameter(_("give the AGS itself; --test makes it a test"))
    return quote(value, safe="")


@command("send", "Send one application through the HTTPS inlet, as Amt24 would.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("attachments", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--ags", required=True, callback=_step)
@click.option("--service", required=True, callback=_step)
@click.option("--url",
              help=_("The hub's address, https://host:port; default: the HTTPS inlet of the configuration."))
@click.option("--cert", type=click.Path(exists=True, path_type=Path), required=True,
              help=_("The client certificate (PEM)."))
@click.option("--key", type=click.Path(exists=True, path_type=Path), required=True, help=_("Its key (PEM)."))
@click.option("--ca", type=click.Path(exists=True, path_type=Path), required=True,
              help=_("The CA of the hub's certificate (PEM)."))
@click.option("--printout", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help=_("The applicant's own printout (PDF)."))
@click.option("--idempotency-key", callback=_printable)
@click.option("--test", is_flag=True)
@json_option
@click.pass_obj
def send(context: Context, file: Path, attachments: tuple[Path, ...], ags: str, service: str,
         url: str | None, cert: Path, key: Path, ca: Path, printout: Path | None,
         idempotency_key: str | None, test: bool, as_json: bool) -> None:
    from hub.operations.send import send_file

    url = url or _inlet_url(context.load())
    answer = send_file(file, attachments, url=f"{url.rstrip('/')}/in/{ags}/{service}", cert=cert, key=key,
                       ca=ca, idempotency_key=idempotency_key, test=test, printout=printout)
    if as_json:
        print_json(answer)
    else:
        _print_answer(answer)
    status = answer["status"]
    sys.exit(0 if status == 202 else EX_TEMPORARY if status >= 500 else EX_FINDINGS)


def _print_answer(answer: Mapping[str, Any]) -> None:
    """The id, or why there is none and what to do.

    The inlet says both in German, and in English under ``en``.
    """
    known = " " + _("(known already: nothing new was taken)") if answer.get("duplicate") else ""
    english = answer.get("en")
    said = english if language() == "en" and isinstance(english, dict) else answer
    click.echo(f"{answer['status']} {answer.get('id') or said.get('detail') or ''}".strip() + known)
    if "id" not in answer and said.get("next"):
        click.echo(_("next:") + f"\n  {said['next']}")


def _inlet_url(configuration: Configuration) -> str:
    for inlet in configuration.inlets:
        where = endpoint.inlet_class(inlet.connector).takes_at(inlet.options)
        if isinstance(where, str):
            return where
    raise HubError("the configuration has no inlet over HTTP: name one with --url")

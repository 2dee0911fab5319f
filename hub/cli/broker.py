"""Commands about RabbitMQ."""

from __future__ import annotations

import sys

import click

from hub.cli.command import EX_FINDINGS, command, group, json_option
from hub.cli.context import Context
from hub.cli.output import print_json
from hub.i18n.texts import _


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


broker = group("broker", "RabbitMQ.", broker_setup)

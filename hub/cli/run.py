"""Commands about the hub itself: run it, check its configuration, reload it."""

from __future__ import annotations

import faulthandler
import sys

import click
from rich.console import Console
from rich.progress import Progress

from hub.cli.command import EX_CONFIG, EX_FINDINGS, command, json_option
from hub.cli.context import Context
from hub.cli.output import complain, print_findings, print_json
from hub.errors import Busy, ConfigError
from hub.i18n.texts import _
from hub.operations import control_socket
from hub.telemetry import logs


@command("run", "Run the hub until SIGTERM or Ctrl-C; SIGHUP reloads.")
@click.option("--log-level", default="INFO", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]))
@click.pass_obj
def run(context: Context, log_level: str) -> None:
    file = context.file
    from hub.daemon import Daemon

    faulthandler.enable()  # the watchdog aborts a hub that hangs: then the log says where each thread stood
    logs.setup(log_level)
    Daemon(file, context.overrides).run()


@command("check",
         "Check the configuration and every mapping; with --connect also try every destination.")
@click.option("--connect", is_flag=True,
              help=_("Really connect to every destination (leaves nothing behind there)."))
@click.option("--destination", metavar="TENANT/NAME", help=_("Try only this destination."))
@click.option("--municipality", metavar="AGS", help=_("Try only this municipality's destinations."))
@json_option
@click.pass_obj
def check(context: Context, connect: bool, destination: str | None, municipality: str | None,
          as_json: bool) -> None:
    from hub.administration import prices
    from hub.operations.checks import check_all

    configuration = context.load()
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(_("destinations"), total=None)
        findings = list(check_all(configuration, connect=connect, destination=destination,
                                  municipality=municipality,
                                  progress=lambda done, of: bar.update(task, completed=done, total=of)))
    if not (destination or municipality):
        findings += prices.check(configuration)
    if as_json:
        print_json([{"where": where, "severity": finding.severity, "text": finding.text,
                     "remedy": finding.remedy} for where, finding in findings])
    print_findings(findings if not as_json else ())
    if not findings and not as_json:
        click.echo(_("fine"))
    sys.exit(EX_FINDINGS if any(finding.severity == "error" for _where, finding in findings) else 0)


@command("reload", "Let the running hub read its configuration again.")
@json_option
@click.pass_obj
def reload(context: Context, as_json: bool) -> None:
    try:
        answer = control_socket.ask(context.places.hub.socket, "reload", {})
    except control_socket.NotRunning as error:
        raise Busy(f"{error}: nothing to reload: start the hub first ({context.start})") from error
    if as_json:
        print_json(answer)
    for problem in answer["problems"] if not as_json else ():
        complain(problem)
    if not as_json:
        click.echo(_("The old configuration stays in force.") if answer["problems"]
                   else _("The configuration was read again."),
                   err=bool(answer["problems"]))
        if answer["restart"]:
            complain(_("Not taken up before a restart of the hub: {what}").format(
                what=", ".join(answer["restart"])))
    sys.exit(EX_CONFIG if answer["problems"] else 0)


@command("schema", "Print the JSON schema of a configuration file, for editors.")
@click.argument("kind",
                type=click.Choice(["hub", "defaults", "municipality", "billing", "mapping", "fields"]))
def schema(kind: str) -> None:
    from pydantic import BaseModel

    from hub.administration.prices import BillingFile
    from hub.config.loader import FILES
    from hub.mapping.model import FieldTable, MappingFile

    models: dict[str, type[BaseModel]] = {"billing": BillingFile, "mapping": MappingFile,
                                          "fields": FieldTable, **FILES}
    print_json(models[kind].model_json_schema())


@command("demo", "Play the examples through a hub of its own: what `make run` does.")
@click.option("--exit", "end", is_flag=True, help=_("End after the table instead of staying up."))
@click.pass_obj
def demo(context: Context, end: bool) -> None:
    from hub.demo.run import run_demo

    root = context.file.resolve().parent.parent
    if context.file.resolve() != root / "etc/hub.toml":
        raise ConfigError.at(context.file, "(file)", "is not the example's configuration",
                             "name the example: drehscheibe --config etc/hub.toml demo")
    sys.exit(run_demo(root, stay=not end))

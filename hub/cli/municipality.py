"""Commands about municipalities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hub.cli.command import command, group, json_option
from hub.cli.context import Context
from hub.cli.output import print_json, print_table, shown
from hub.config.configuration import Configuration
from hub.errors import HubError
from hub.i18n.texts import _


@command("install-list",
         "Install the official list of municipalities or counties: genericode, also xz.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def municipality_install_list(context: Context, file: Path, as_json: bool) -> None:
    from hub.administration.onboarding import install_list

    found = install_list(file, context.places.hub.state)
    if as_json:
        print_json({"list": found.name, "version": found.version, "entries": len(found.names)})
    else:
        click.echo(_("{name} {version}: {count} entries").format(name=found.name, version=found.version,
                                                                 count=len(found.names)))


@command("add",
         "Add a municipality by its AGS: name from the official list, everything else inherited.")
@click.argument("ags")
@click.option("--mail", multiple=True, metavar="ADDRESS",
              help=_("Mailbox of the town hall; may be repeated."))
@click.option("--drop", metavar="PATH",
              help=_("Folder for applications; default: [onboarding] drop in defaults.toml."))
@click.option("--service", "services", multiple=True,
              help=_("A service it offers; may be repeated; default: all."))
@click.option("--name", help=_("Its name; default: from the official list."))
@click.option("--tenant", help=_("Its key in the store, for ever; default: from the name."))
@click.option("--provider", help=_("Its provider (key in billing.toml)."))
@click.option("--population", type=click.IntRange(0), help=_("Its population, for bills."))
@json_option
@click.pass_obj
def municipality_add(context: Context, /, as_json: bool, **said: Any) -> None:
    from hub.administration import prices
    from hub.administration.onboarding import NewMunicipality, add

    def judge(configuration: Configuration) -> None:
        for where, finding in prices.check(configuration):
            if finding.severity == "error" and Path(where).stem == said["ags"]:
                raise HubError(finding.text)

    added = add(context.file, context.overrides, NewMunicipality(**said), judge)
    if as_json:
        print_json({"file": added.file, "name": added.name, "tenant": added.tenant,
                    "services": added.services, "folders": added.folders})
        return
    click.echo(_("{name} is set up: {file}").format(name=added.name, file=added.file))
    for folder in added.folders:
        click.echo(_("folder made: {folder}").format(folder=folder))
    click.echo(_("next:"))
    for line in (f"drehscheibe check --municipality {added.file.stem}", "drehscheibe reload"):
        click.echo(f"  {line}")


@command("list", "All municipalities with their services and destinations.")
@json_option
@click.pass_obj
def municipality_list(context: Context, as_json: bool) -> None:
    from hub.administration.onboarding import overview

    rows = overview(context.load())
    if as_json:
        print_json(rows)
        return
    print_table(["AGS", "municipality", "tenant", "services", "destinations"],
                [[row["ags"], row["name"], row["tenant"], len(row["services"]),
                  ", ".join(f"{name} ({connector})" for name, connector in row["destinations"].items())]
                 for row in rows])


@command("show", "One municipality with all that it inherits.")
@click.argument("name", metavar="AGS")
@json_option
@click.pass_obj
def municipality_show(context: Context, name: str, as_json: bool) -> None:
    from hub.administration.onboarding import resolved

    found = resolved(context.load(), name)
    if as_json:
        print_json(found)
        return
    for key in ("name", "ags", "tenant", "provider", "file"):
        click.echo(f"{key:12} {found[key] or ''}")
    inherited = _("inherited")
    for each in found["destinations"]:
        click.secho(f"{each['key']} ({each['connector']})", bold=True)
        for key, value in each["values"].items():
            click.echo(f"  {key:20} {shown(value)}"
                       + (f"  ({inherited})" if key in each["inherited"] else ""))
    for each in found["services"]:
        click.secho(f"{each['service']}" + (f"  ({inherited})" if each["inherited"] else ""), bold=True)
        for route in each["routes"]:
            for recipient, send in route["recipients"].items():
                click.echo(f"  → {recipient}: {', '.join(send)}")


municipality = group("municipality", "Municipalities: add one, look at them.",
                     municipality_install_list, municipality_add, municipality_list, municipality_show)

"""Commands about connectors."""

from __future__ import annotations

from pathlib import Path

import click

from hub.cli.command import command, group, json_option
from hub.cli.output import print_json, print_table
from hub.i18n.texts import _


@command("list", "Show which connectors there are, and where each comes from.")
@json_option
def connector_list(as_json: bool) -> None:
    from hub.authoring.connector_scaffold import overview

    rows = overview()
    if as_json:
        print_json(rows)
        return
    print_table(["name", "sides", "kind", "drop", "comes from", "about"],
                [[row["name"], row["sides"], row["kind"], row["drop"], row["comes from"], row["about"]]
                 for row in rows])


@command("new", "Write a connector with its test, which passes at once.")
@click.argument("name")
@click.option("--outlet", type=click.Choice(["drop", "http", "other"]),
              help=_("It brings deliveries: into a drop, over HTTP, or otherwise."))
@click.option("--inlet", is_flag=True, help=_("It takes messages."))
@click.option("--repository", type=click.Path(exists=True, file_okay=False, path_type=Path),
              default=Path(), help=_("A clone of the repository; default: this folder."))
@json_option
def connector_new(name: str, outlet: str | None, inlet: bool, repository: Path, as_json: bool) -> None:
    from hub.authoring.connector_scaffold import new_connector

    if inlet == (outlet is not None):
        raise click.UsageError(_("give one of --outlet and --inlet"))
    files = new_connector(repository, name, "inlet" if inlet else outlet)  # type: ignore[arg-type]
    if as_json:
        print_json(files)
        return
    for file in files:
        click.echo(file)
    click.echo(_("next:") + f"\n  .venv/bin/python -P -m pytest -q {files[-1]}\n  docs/connectors.md")


connector = group("connector", "Connectors: what there is, and a new one.", connector_list, connector_new)

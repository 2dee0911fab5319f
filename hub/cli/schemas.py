"""Commands about the schema sets that the operator installs."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hub.cli.command import EX_FINDINGS, command, group, json_option
from hub.cli.context import Context
from hub.cli.output import print_json


@command("install", "Install a schema set from a folder or ZIP, unpatched.")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--set", "name", required=True)
@click.option("--version", required=True)
@json_option
@click.pass_obj
def schemas_install(context: Context, source: Path, name: str, version: str, as_json: bool) -> None:
    from hub.pipeline.schema_sets import install

    report = install(source, name, version, context.load().settings.hub.schemas)
    if as_json:
        print_json(report.to_json())
    for line in report.lines() if not as_json else ():
        click.echo(line)
    sys.exit(EX_FINDINGS if report.unresolved else 0)


schemas = group("schemas", "Schema sets (XÖV) that the operator installs.", schemas_install)

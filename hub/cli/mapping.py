"""Commands about mappings."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from hub.cli.command import EX_FINDINGS, command, group, json_option
from hub.cli.context import Context
from hub.cli.output import print_findings, print_json
from hub.config.configuration import Configuration
from hub.errors import HubError
from hub.i18n.texts import _

PATIENCE = 10.0
"""Seconds for one example where no configuration says how long a message may take."""


@command("test", "Run the examples of all mappings, or of one; shows a readable difference.")
@click.argument("service", required=False)
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--update", is_flag=True,
              help=_("Write the expected outputs anew (then review the difference in version control)."))
@json_option
@click.pass_obj
def mapping_test(context: Context, service: str | None, folder: Path | None, update: bool,
                 as_json: bool) -> None:
    from hub.authoring.examples import run_examples
    from hub.config.sections import WorkersSection
    from hub.operations.mapping_review import MappingReview
    from hub.operations.trials import Trials

    if folder is None:
        configuration = context.load()
        folders, workers = _folders(configuration, service), configuration.settings.workers
        judged = MappingReview().findings(configuration, service=service)
    else:  # there may be no configuration yet
        folders, workers = [folder], WorkersSection(seconds=PATIENCE)
        judged = MappingReview().of_folder(folder, service)
    with Trials.open(workers) as trials:
        results = [result for each in folders
                   for result in run_examples(each, service=service, update=update, trial=trials)]
    faulty = any(finding.severity == "error" for _where, finding in judged)
    if as_json:
        print_json([*({"service": where, "example": None, "ok": finding.severity != "error",
                       "difference": finding.text} for where, finding in judged),
                    *({"service": result.service, "example": result.name, "ok": result.ok,
                       "difference": result.difference} for result in results)])
    print_findings(judged if not as_json else ())
    for result in results if not as_json else ():
        click.echo(f"{'✓' if result.ok else '✗'} {result.service}/{result.name}")
        if not result.ok:
            click.echo(result.difference)
    if not results:
        raise HubError(f"no examples found{f' for {service!r}' if service else ''}: "
                       "add mappings/<service>/examples/<name>/ with message.xml and example.toml")
    sys.exit(EX_FINDINGS if faulty or not all(result.ok for result in results) else 0)


def _folders(configuration: Configuration, service: str | None) -> list[Path]:
    """Where the services lie, the release's first; of one service the folder from which it is taken."""
    hub = configuration.settings.hub
    if service is not None and service in configuration.mappings:
        return [configuration.mapping_folder(service).parent]
    return [hub.mappings, hub.own_mappings] if hub.own_mappings else [hub.mappings]


@command("new", "Make the folder of a new service, complete with schema, rules and examples.")
@click.argument("service")
@click.option("--title", help=_("What people call it; default: the name."))
@click.option("--group", "groups", multiple=True, metavar="ID[=TITLE]",
              help=_("A group of the form; may be repeated."))
@click.option("--category", type=click.Choice(["einfach", "mittel", "komplex"]), default="einfach",
              show_default=True)
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@click.pass_obj
def mapping_new(context: Context, service: str, title: str | None, groups: Sequence[str], category: str,
                folder: Path | None, as_json: bool) -> None:
    from hub.authoring.scaffold import new_service

    mappings = folder or _folders(context.load(), None)[-1]
    named = {name: text or name.capitalize()
             for name, _equals, text in (each.partition("=") for each in groups)}
    results = new_service(mappings, service, title, named, category)
    if as_json:
        print_json({"folder": mappings / service,
                    "examples": {result.name: result.ok for result in results}})
        sys.exit(0 if all(result.ok for result in results) else EX_FINDINGS)
    for result in results:
        click.echo(f"{'✓' if result.ok else '✗'} {result.service}/{result.name}")
        if not result.ok:
            click.echo(result.difference)
    done = _("{folder} is there. Next: write the form's fields, then drehscheibe mapping schema {service} v1 "
             "--write")
    click.echo(done.format(folder=mappings / service, service=service))
    sys.exit(0 if all(result.ok for result in results) else EX_FINDINGS)


@command("schema",
         "Print the schema that fits a version's field table; --write puts it into its place.")
@click.argument("service")
@click.argument("version")
@click.option("--write", is_flag=True, help=_("Replace the version's schema."))
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_obj
def mapping_schema(context: Context, service: str, version: str, write: bool, folder: Path | None) -> None:
    from hub.authoring.schema_writer import schema_of
    from hub.mapping.loader import load_fields

    home = (folder or _folders(context.load(), service)[-1]) / service / version
    text = schema_of(load_fields(home / "fields.toml"))
    if write:
        (home / "fields.xsd").write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


@command("doc", "Write a page for every service: fields, values, rules, renderings, examples.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("docs/services"),
              show_default=True)
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@click.pass_obj
def mapping_doc(context: Context, out: Path, folder: Path | None, as_json: bool) -> None:
    from hub.authoring.pages import write_pages

    files = list(write_pages(folder or context.load().settings.hub.mappings, out))
    if as_json:
        print_json(files)
    for file in files if not as_json else ():
        click.echo(file)


@command("preview", "Show what a mapping makes of an example, a file or a stored message.")
@click.argument("service", required=False)
@click.argument("example", required=False)
@click.option("--municipality", metavar="AGS",
              help=_("By this municipality's own stylesheets and parameters."))
@click.option("--message", "message_id", metavar="ID",
              help=_("A stored message instead of an example, for all its recipients; nothing is delivered. "
                     "Needs --out; who looked stands in its history."))
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path),
              help=_("The folder to write the renderings to; with --message a new one."))
@json_option
@click.pass_obj
def mapping_preview(context: Context, service: str | None, example: str | None, municipality: str | None,
                    message_id: str | None, folder: Path | None, out: Path | None, as_json: bool) -> None:
    if message_id is not None:
        if out is None or any((service, example, municipality, folder)):
            raise click.UsageError(_("--message stands alone with --out FOLDER"))
        _preview_message(context, message_id, out, as_json)
        return
    if service is None or example is None:
        raise click.UsageError(_("name a service and an example, or --message ID"))
    if municipality is not None and folder is not None:
        raise click.UsageError(_("--municipality uses the configuration's mappings: leave --mappings out"))
    renderings = _renderings(context, service, example, folder, municipality)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in renderings.items():
            (out / name).write_bytes(content)
    if as_json:
        print_json({name: len(content) for name, content in renderings.items()})
        return
    for name, content in renderings.items():
        click.secho(f"── {name} ({len(content)} bytes)", bold=True)
        click.echo(content.decode("utf-8", "backslashreplace") if not content.startswith(b"%PDF")
                   else "(PDF)")


def _renderings(context: Context, service: str, example: str, folder: Path | None,
                municipality: str | None) -> Mapping[str, bytes]:
    """What is made of an example, in a worker."""
    from hub.authoring import examples
    from hub.config.sections import WorkersSection
    from hub.operations import preview
    from hub.operations.trials import Trials

    if folder is not None:
        with Trials.open(WorkersSection()) as trials:
            return examples.preview(folder, service, example, trial=trials)
    configuration = context.load()
    mappings = _folders(configuration, service)[-1]
    with (tempfile.TemporaryDirectory(prefix="drehscheibe-preview-") as scratch,
          Trials.open(configuration.settings.workers) as trials):
        rules = None if municipality is None else preview.everything_for(
            configuration, preview.municipality_of(configuration, municipality), service, Path(scratch))
        return examples.preview(mappings, service, example, trial=trials, rules=rules)


def _preview_message(context: Context, message_id: str, out: Path, as_json: bool) -> None:
    """What the recipients of a stored message would get, into a folder for the operator alone."""
    from hub.operations import preview
    from hub.operations.trials import Trials

    configuration = context.load()
    preview.make_private(out)
    name = context.ask("read_content", id=message_id)["id"]
    with (tempfile.TemporaryDirectory(prefix="drehscheibe-preview-") as scratch,
          context.store(read_only=True) as store, Trials.open(configuration.settings.workers) as trials):
        made = preview.of_message(configuration, store, store.get_message(name), trials, Path(scratch),
                                  datetime.now(UTC))
    preview.write_private(out, made.files)
    recipients = len({path.partition("/")[0] for path in made.files if "/" in path})
    if as_json:  # no names: those of attachments are the citizen's
        print_json({"id": name, "folder": out, "files": len(made.files), "recipients": recipients,
                    "parked": made.parked and made.parked.reason})
    elif made.parked is not None:
        click.echo(f"{made.parked.reason}: {made.parked.text}")
    else:
        click.echo(_("{files} files for {recipients} recipients in {folder}; nothing was delivered").format(
            files=len(made.files), recipients=recipients, folder=out))
    sys.exit(EX_FINDINGS if made.parked else 0)


mapping = group("mapping", "Mappings: test their examples, look at a rendering.",
                mapping_test, mapping_new, mapping_schema, mapping_doc, mapping_preview)

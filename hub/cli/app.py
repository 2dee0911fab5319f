"""The command ``drehscheibe``.

Exit codes: 0 fine, 1 findings, 2 usage, 75 temporary, 78 configuration. Beside a running hub every command
goes through its socket; the store is opened here only when no hub runs.
"""

from __future__ import annotations

import faulthandler
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click
from pydantic import BaseModel
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hub import __version__
from hub.administration import bill_output
from hub.administration import prices as prices_
from hub.config import configuration as config
from hub.config import loader
from hub.config.loader import FILES
from hub.config.reader import suggest
from hub.errors import Busy, ConfigError, HubError, StoreDamaged, StoreUnavailable
from hub.i18n.problems_german import german
from hub.i18n.texts import _, language
from hub.operations import control_socket
from hub.store.backup import restore as restore_
from hub.telemetry import logs

if TYPE_CHECKING:
    from hub.administration.billing import Bill
    from hub.administration.prices import BillingFile
    from hub.store.store import Store

EX_FINDINGS, EX_TEMPORARY, EX_CONFIG = 1, 75, 78


class Context:
    """Where the configuration is, and how to print."""

    def __init__(self, file: Path, overrides: Sequence[str]) -> None:
        self.file = file
        self.overrides = overrides

    def load(self) -> config.Configuration:
        """The configuration; its faults end the command with 78."""
        return loader.load(self.file, self.overrides)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Perform an operator's verb: through the running hub, or on the store itself."""
        # a fault elsewhere in the configuration must not blind the operator
        places = loader.places(self.file, self.overrides)
        try:
            return control_socket.ask(places.hub.socket, verb, arguments)
        except ConnectionError:
            from hub.administration.retention import Retention
            from hub.operations.operator import Operator
            from hub.telemetry import logs

            if verb in Operator.CHANGING:
                logs.setup("WARNING")  # standard output is the answer's alone
            with closing(_open(places, read_only=verb in Operator.READING)) as store:
                retention = Retention(store, self.load) if verb in ("expire", "expiring") else None
                return control_socket.perform(Operator(store, retention=retention), verb, arguments,
                                              control_socket.whoami())


    def work(self, verb: str, **arguments: Any) -> Any:
        """Perform a long verb with its progress: in the running hub, or on the store itself."""
        places = loader.places(self.file, self.overrides)
        with _progress() as show:
            try:
                begun = control_socket.ask(places.hub.socket, "begin", {"verb": verb, **arguments})
            except ConnectionError:
                from hub.operations.operator import Operator

                logs.setup("WARNING")  # standard output is the answer's alone
                return getattr(Operator(_open(places, read_only=True)), verb)(show, **arguments)
            try:
                while (state := control_socket.ask(places.hub.socket, "progress",
                                                   {"id": begun["id"]}))["running"]:
                    show(state["step"], state["done"], state["of"])
                    time.sleep(0.2)
            except ConnectionError as error:
                raise Busy("the hub ended meanwhile: ask again") from error
        if state["error"] is not None:
            raise HubError(state["error"])
        return state["result"]


def _open(places: loader.Places, *, read_only: bool = False) -> Store:
    """The store, while no hub runs here. Raises `HubError` when there is none yet."""
    from hub.store.store import Store

    state = places.hub.state
    if places.store.url is None and not (state / "store.sqlite3").exists():
        raise HubError(f"there is no store in {state} yet: start the hub first (drehscheibe run)")
    return Store.open(state, served=places.store, read_only=read_only)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on standard error, where somebody looks on."""
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)

        def show(step: str, done: int, of: int) -> None:
            bar.update(task, description=_(step) if step else "", completed=done, total=of or None)

        yield show


STEPS = ("tables", "files", "digests", "database", "references", "tallies", "bodies")
"""What long work may be at: `hub.store.integrity` and `hub.store.backup.take` name them."""


def _default_config() -> Path:
    local = Path("etc/hub.toml")
    return local if local.is_file() else Path("/etc/drehscheibe/hub.toml")


def _guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Errors become one clear line and the right exit code, never a traceback."""

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ConfigError as error:
            for problem in error.problems:
                _complain(problem)
            sys.exit(EX_CONFIG)
        except StoreDamaged as error:
            _complain(str(error))
            sys.exit(EX_FINDINGS)
        except (StoreUnavailable, Busy) as error:
            _complain(str(error))
            sys.exit(EX_TEMPORARY)
        except HubError as error:
            _complain(str(error))
            sys.exit(EX_FINDINGS)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(EX_FINDINGS)
        except PermissionError as error:
            _complain(f"{error.filename or '(file)'}: {error.strerror}: "
                      + _("run this as the hub's user, or mend the rights"))
            sys.exit(EX_CONFIG)
        except OSError as error:
            _complain(f"{error.filename or '(system)'}: {error.strerror or error}")
            sys.exit(EX_TEMPORARY)

    return run


def _said(text: str) -> str:
    """A fault in the caller's language."""
    return german(text) if language() == "de" else text


def _complain(text: str) -> None:
    """One line on standard error; for journald it is an error, not one message among many (sd-daemon(3))."""
    text = _said(text)
    click.echo(f"<3>{text}" if logs.under_journald() else text, err=True)


def _command(group: click.Group, name: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        return group.command(name, help=_(help))(_guarded(function))
    return decorate


def _not_empty(context: click.Context, option: click.Parameter, value: str) -> str:  # noqa: ARG001  click's
    if not value.strip():
        raise click.BadParameter(_("is empty"))
    return value


json_option = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
reason_option = click.option("--reason", required=True, callback=_not_empty,
                             help=_("Why (stands in the history)."))


@click.group(help=_("The Datendrehscheibe: takes applications from Amt24 and delivers them to the town hall, "
                    "with proof."),
             context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--config", "-c", "file", type=click.Path(path_type=Path, dir_okay=False),
              envvar="DREHSCHEIBE_CONFIG",
              default=_default_config, show_default="etc/hub.toml, /etc/drehscheibe/hub.toml",
              help=_("The configuration (hub.toml)."))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help=_("Set one value for this call, e.g. status.port=9465; may be repeated."))
@click.version_option(__version__, prog_name="drehscheibe")
@click.pass_context
def main(context: click.Context, file: Path, overrides: tuple[str, ...]) -> None:
    """The command line's root."""
    context.obj = Context(file, overrides)


@_command(main, "run", "Run the hub until SIGTERM or Ctrl-C; SIGHUP reloads.")
@click.option("--log-level", default="INFO", type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]))
@click.pass_obj
def run(context: Context, log_level: str) -> None:
    from hub.daemon import Daemon

    faulthandler.enable()  # the watchdog aborts a hub that hangs: then the log says where each thread stood
    logs.setup(log_level)
    Daemon(context.file, context.overrides).run()


@_command(main, "check",
          "Check the configuration and every mapping; with --connect also try every destination.")
@click.option("--connect", is_flag=True,
              help=_("Really connect to every destination (leaves nothing behind there)."))
@click.option("--destination", metavar="TENANT/NAME", help=_("Try only this destination."))
@click.option("--municipality", metavar="AGS", help=_("Try only this municipality's destinations."))
@json_option
@click.pass_obj
def check(context: Context, connect: bool, destination: str | None, municipality: str | None,
          as_json: bool) -> None:
    from hub.operations.checks import check_all

    configuration = context.load()
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(_("destinations"), total=None)
        findings = list(check_all(configuration, connect=connect, destination=destination,
                                  municipality=municipality,
                                  progress=lambda done, of: bar.update(task, completed=done, total=of)))
    if not (destination or municipality):
        findings += prices_.check(configuration)
    if as_json:
        _print_json([{"where": where, "severity": finding.severity, "text": finding.text,
                      "remedy": finding.remedy}
                     for where, finding in findings])
    for where, finding in findings if not as_json else ():
        mark = {"ok": "✓", "warning": "!", "error": "✗"}[finding.severity]
        click.echo(_said(f"{mark} {where}: {finding.text}"
                         + (f" → {finding.remedy}" if finding.remedy else "")))
    if not findings and not as_json:
        click.echo(_("fine"))
    sys.exit(EX_FINDINGS if any(finding.severity == "error" for _where, finding in findings) else 0)


def _printable(context: click.Context, option: click.Parameter, value: str | None) -> str | None:  # noqa: ARG001  click's
    """A header takes no other characters."""
    if value is not None and not (value.strip() and value.isascii() and value.isprintable()):
        raise click.BadParameter(_("give printable ASCII characters: letters, digits, signs"))
    return value


def _step(context: click.Context, option: click.Parameter, value: str) -> str:  # noqa: ARG001  click's
    """One step of the inlet's path: what the path itself means something else by is refused, the rest is
    escaped."""
    if value in (".", ".."):
        raise click.BadParameter(_("{value} is no name").format(value=value))
    if option.name == "ags" and value == "test":
        raise click.BadParameter(_("give the AGS itself; --test makes it a test"))
    return quote(value, safe="")


@_command(main, "send", "Send one application through the HTTPS inlet, as Amt24 would.")
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
@click.option("--idempotency-key", callback=_printable)
@click.option("--test", is_flag=True)
@json_option
@click.pass_obj
def send(context: Context, file: Path, attachments: tuple[Path, ...], ags: str, service: str, url: str | None,
         cert: Path,
         key: Path, ca: Path, idempotency_key: str | None, test: bool, as_json: bool) -> None:
    from hub.operations.send import send_file

    url = url or _https_url(context.load())
    answer = send_file(file, attachments, url=f"{url.rstrip('/')}/in/{ags}/{service}", cert=cert, key=key,
                       ca=ca,
                       idempotency_key=idempotency_key, test=test)
    if as_json:
        _print_json(answer)
    else:
        _print_answer(answer)
    status = answer["status"]
    sys.exit(0 if status == 202 else EX_TEMPORARY if status >= 500 else EX_FINDINGS)


def _print_answer(answer: Mapping[str, Any]) -> None:
    """The id, or why there is none and what to do: the inlet says both in German, and in English under
    ``en``."""
    known = " " + _("(known already: nothing new was taken)") if answer.get("duplicate") else ""
    english = answer.get("en")
    said = english if language() == "en" and isinstance(english, dict) else answer
    click.echo(f"{answer['status']} {answer.get('id') or said.get('detail') or ''}".strip() + known)
    if "id" not in answer and said.get("next"):
        click.echo(_("next:") + f"\n  {said['next']}")


def _https_url(configuration: config.Configuration) -> str:
    for inlet in configuration.inlets:
        if inlet.connector == "https":
            return f"https://localhost:{inlet.options['port']}"
    raise HubError("the configuration has no https inlet: name one with --url")


@_command(main, "queue", "What waits, by destination, with the age of the oldest.")
@json_option
@click.pass_obj
def queue(context: Context, as_json: bool) -> None:
    rows = context.ask("queue")
    if as_json:
        _print_json(rows)
        return
    rows = [row for row in rows if row["oldest_seconds"] is not None or row["parked"]]
    if not rows:
        click.echo(_("nothing waits"))
        return
    _table(["destination", "due", "under way", "in doubt", "parked", "oldest", "rests until"],
           [[row["destination"], row["due"], row["delivering"], row["in_doubt"], row["parked"],
             _age(row["oldest_seconds"]),
             _rest(row)] for row in rows])


def _rest(row: Mapping[str, Any]) -> str:
    """Why a destination's deliveries wait, in a cell."""
    why = [f"{row['resting_until']} ({row['why']})"] if row["resting_until"] else []
    why += [f"{row['closed_until']} (window)"] if row["closed_until"] else []
    why += [_("{count} wait for their turn").format(count=row["waiting_for_turn"])] if row[
        "waiting_for_turn"] else []
    return "; ".join(why)


@_command(main, "messages", "The newest messages.")
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
        _print_json(rows)
    elif not rows:
        click.echo(_("no messages"))
    else:
        _table(["message", "state", "service", "AGS", "received", "reason"],
               [[row["id"], row["state"], row["service"], row["ags"], row["received_at"], row["reason"] or ""]
                for row in rows])
        if len(found) > limit:
            click.echo(_("The newest {count} of more: --limit shows the others.").format(count=limit))


@_command(main, "show", "One message with its parts, deliveries and history.")
@click.argument("id", callback=_not_empty)
@json_option
@click.pass_obj
def show(context: Context, id: str, as_json: bool) -> None:
    answer = context.ask("show", id=id)
    if as_json:
        _print_json(answer)
        return
    for key in ("id", "state", "ags", "service", "form", "received_at", "sender", "inlet", "test", "reason",
                "reason_text",
                "payload_deleted_at"):
        if answer[key] not in (None, False):
            click.echo(f"{key:12} {answer[key]}")
    if answer["payload_deleted_at"]:
        click.echo(_("The content was deleted at the end of its retention; the proof stays."))
    if answer["deliveries"]:
        _table(["delivery", "destination", "state", "attempts", "where"],
               [[row["id"], row["destination"], row["state"], row["attempts"],
                 (row["receipt"] or {}).get("reference", row["text"] or "")] for row in answer["deliveries"]])
    click.echo(_("history"))
    columns = ("at", "event", "delivery", "reason", "detail", "who")
    for event in answer["events"]:
        click.echo("  " + "  ".join(str(event[key]) for key in columns if event[key]))


@_command(main, "why", "Why a message is where it is, and what to do next.")
@click.argument("id", callback=_not_empty)
@json_option
@click.pass_obj
def why(context: Context, id: str, as_json: bool) -> None:
    answer = context.ask("why", id=id)
    if as_json:
        _print_json(answer)
        return
    for line in [*answer["lines"], *(f"  {line}" for line in answer["trace"])]:
        click.echo(line)
    if answer["next"]:
        click.echo(_("next:"))
        for line in answer["next"]:
            click.echo(f"  {line}")


def _change(name: str, help: str, *, reason: bool) -> None:
    """A command that changes one message or delivery."""

    @click.argument("id", callback=_not_empty)
    @click.option("--action", default=control_socket.new_action,
                  help=_("An id for this action: whoever repeats it acts once."))
    @json_option
    @click.pass_obj
    def change(context: Context, /, id: str, action: str, as_json: bool, **arguments: Any) -> None:
        answer = context.ask(name, id=id, action=action, **arguments)
        if as_json:
            _print_json(answer)
        else:
            click.echo(f"{answer['id']}: "
                       + _("done" if answer.get("changed", answer.get("new")) else "nothing to do"))

    _command(main, name, help)(reason_option(change) if reason else change)


_change("replay",
        "Try now what is parked or waits: a message or a delivery (the same bytes, the same names).",
        reason=False)
_change("resend", "Send a delivery once more as a new one (new names at the receiver).", reason=False)
_change("discard", "Give up a parked message or delivery for good.", reason=True)
_change("confirm", "Record that the receiver has a delivery that is in doubt or parked.", reason=True)


@_command(main, "reload", "Let the running hub read its configuration again.")
@json_option
@click.pass_obj
def reload(context: Context, as_json: bool) -> None:
    try:
        answer = control_socket.ask(loader.places(context.file, context.overrides).hub.socket, "reload", {})
    except ConnectionError as error:
        raise Busy(f"{error}: nothing to reload: start the hub first (drehscheibe run)") from error
    if as_json:
        _print_json(answer)
    for problem in answer["problems"] if not as_json else ():
        _complain(problem)
    if not as_json:
        click.echo(_("The old configuration stays in force.") if answer["problems"]
                   else _("The configuration was read again."),
                   err=bool(answer["problems"]))
        if answer["restart"]:
            _complain(_("Not taken up before a restart of the hub: {what}").format(
                what=", ".join(answer["restart"])))
    sys.exit(EX_CONFIG if answer["problems"] else 0)


@main.group(help=_("Mappings: test their examples, look at a rendering."))
def mapping() -> None:
    """Commands about mappings."""


@_command(mapping, "test", "Run the examples of all mappings, or of one; shows a readable difference.")
@click.argument("service", required=False)
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--update", is_flag=True,
              help=_("Write the expected outputs anew (then review the difference in version control)."))
@json_option
@click.pass_obj
def mapping_test(context: Context, service: str | None, folder: Path | None, update: bool,
                 as_json: bool) -> None:
    from hub.authoring.examples import run_examples

    results = run_examples(folder or context.load().settings.hub.mappings, service=service, update=update)
    if as_json:
        _print_json([{"service": result.service, "example": result.name, "ok": result.ok,
                      "difference": result.difference}
                     for result in results])
    for result in results if not as_json else ():
        click.echo(f"{'✓' if result.ok else '✗'} {result.service}/{result.name}")
        if not result.ok:
            click.echo(result.difference)
    if not results:
        raise HubError(f"no examples found{f' for {service!r}' if service else ''}: "
                       "add mappings/<service>/examples/<name>/ with message.xml and example.toml")
    sys.exit(0 if all(result.ok for result in results) else EX_FINDINGS)


@_command(mapping, "new", "Make the folder of a new service, complete with schema, rules and examples.")
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

    mappings = folder or context.load().settings.hub.mappings
    named = {name: text or name.capitalize()
             for name, _equals, text in (group.partition("=") for group in groups)}
    results = new_service(mappings, service, title, named, category)
    if as_json:
        _print_json({"folder": mappings / service,
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


@_command(mapping, "schema",
          "Print the schema that fits a version's field table; --write puts it into its place.")
@click.argument("service")
@click.argument("version")
@click.option("--write", is_flag=True, help=_("Replace the version's schema."))
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.pass_obj
def mapping_schema(context: Context, service: str, version: str, write: bool, folder: Path | None) -> None:
    from hub.authoring.schema_writer import schema_of
    from hub.mapping.loader import load_fields

    home = (folder or context.load().settings.hub.mappings) / service / version
    text = schema_of(load_fields(home / "fields.toml"))
    if write:
        (home / "fields.xsd").write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


@_command(mapping, "doc", "Write a page for every service: fields, values, rules, renderings, examples.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("docs/services"),
              show_default=True)
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
@click.pass_obj
def mapping_doc(context: Context, out: Path, folder: Path | None, as_json: bool) -> None:
    from hub.authoring.pages import write_pages

    files = list(write_pages(folder or context.load().settings.hub.mappings, out))
    if as_json:
        _print_json(files)
    for file in files if not as_json else ():
        click.echo(file)


@_command(mapping, "preview", "Show what a mapping makes of one example or file.")
@click.argument("service")
@click.argument("example")
@click.option("--mappings", "folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path),
              help=_("The folder to write the renderings to."))
@json_option
@click.pass_obj
def mapping_preview(context: Context, service: str, example: str, folder: Path | None, out: Path | None,
                    as_json: bool) -> None:
    from hub.authoring.examples import preview

    renderings = preview(folder or context.load().settings.hub.mappings, service, example)
    if out:
        out.mkdir(parents=True, exist_ok=True)
        for name, content in renderings.items():
            (out / name).write_bytes(content)
    if as_json:
        _print_json({name: len(content) for name, content in renderings.items()})
        return
    for name, content in renderings.items():
        click.secho(f"── {name} ({len(content)} bytes)", bold=True)
        click.echo(content.decode("utf-8", "replace") if not content.startswith(b"%PDF") else "(PDF)")


@main.group(help=_("Schema sets (XÖV) that the operator installs."))
def schemas() -> None:
    """Commands about schema sets."""


@_command(schemas, "install", "Install a schema set from a folder or ZIP, unpatched.")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--set", "name", required=True)
@click.option("--version", required=True)
@json_option
@click.pass_obj
def schemas_install(context: Context, source: Path, name: str, version: str, as_json: bool) -> None:
    from hub.pipeline.schema_sets import install

    report = install(source, name, version, context.load().settings.hub.schemas)
    if as_json:
        _print_json(report.to_json())
    for line in report.lines() if not as_json else ():
        click.echo(line)
    sys.exit(EX_FINDINGS if report.unresolved else 0)


@main.group(help=_("Retention: what need not be kept any more."))
def retention() -> None:
    """Commands about retention."""


@_command(retention, "run",
          "Delete now what need not be kept any more; the running hub does so by itself every day.")
@click.option("--dry-run", is_flag=True, help=_("Only count it."))
@json_option
@click.pass_obj
def retention_run(context: Context, dry_run: bool, as_json: bool) -> None:
    answer = context.ask("expiring" if dry_run else "expire")
    if as_json:
        _print_json(answer)
    elif answer["running"]:
        click.echo(_("under way; its end stands in the hub's log"))
    else:
        due = _("due: the content of {messages} messages, {proofs} proofs")
        deleted = _("deleted: the content of {messages} messages ({bodies} parts, {bytes} bytes), {proofs} "
                    "proofs, {keys} keys")
        click.echo((due if dry_run else deleted).format(**answer))


@main.group(help=_("The store: is it sound, and what can be mended."))
def store() -> None:
    """Commands about the store."""


@_command(store, "check", "Look at the whole store and change nothing; beside a running hub, too.")
@click.option("--deep", is_flag=True, help=_("Read every body and compare its digest (slow)."))
@json_option
@click.pass_obj
def store_check(context: Context, deep: bool, as_json: bool) -> None:
    try:
        report = context.work("check_store", deep=deep)
    except StoreDamaged as error:  # too much even to open it
        from hub.store.integrity import unreadable

        report = unreadable(error, deep=deep).to_json()
    if as_json:
        _print_json(report)
    else:
        _print_faults(report)
    sys.exit(0 if report["sound"] else EX_FINDINGS)


def _print_faults(report: dict[str, Any]) -> None:
    for fault in report["faults"][:200]:
        known = " " + _("(stands in its history)") if fault["known"] else ""
        click.echo(f"{'!' if fault['known'] or fault['kind'] == 'leftover' else '✗'} "
                   f"{_(FAULTS[fault['kind']])}: {fault['id']}"
                   + (f" ({_('message')} {fault['message']})" if fault["message"]
                      else "") + f": {fault['text']}" + known)
    if len(report["faults"]) > 200:
        click.echo(_("… and {count} more (--json shows all)").format(count=len(report["faults"]) - 200))
    looked = _("{messages} messages, {bodies} bodies, {files} files") + (", " + _("{bytes} bytes read")
                                                                         if report["deep"] else "")
    click.echo(f"{looked.format(**report)}: " + (_("fine") if report["sound"] else _("not sound")))
    if not report["sound"]:
        hopeless = {"database", "reference"} & set(report["counts"])
        restore = _("stop the hub, keep a copy of its state, then drehscheibe restore the last backup "
                    "(docs/operate-backup.md)")
        step = restore if hopeless else _("stop the hub, then drehscheibe store repair")
        click.echo(_("next:") + f"\n  {step}")


FAULTS = {"database": "the database is damaged", "reference": "a row refers to nothing",
          "tally": "the books are wrong",
          "orphan": "a file that nothing names", "leftover": "a file that retention will delete",
          "missing": "a body is missing", "damaged": "a body is damaged"}


@_command(store, "repair",
          "Mend what can be mended safely, the hub being stopped; without --yes only say what would be done.")
@click.option("--deep", is_flag=True, help=_("Read every body and compare its digest (slow)."))
@click.option("--yes", is_flag=True, help=_("Do it."))
@json_option
@click.pass_obj
def store_repair(context: Context, deep: bool, yes: bool, as_json: bool) -> None:
    logs.setup("WARNING")  # standard output is the answer's alone
    with closing(_open(loader.places(context.file, context.overrides))) as opened, _progress() as show:
        opened.only_node()
        todo = opened.plan_repair(opened.examine(deep=deep, alone=True, progress=show))
        done = opened.repair(todo, control_socket.whoami()) if yes and not todo.empty else None
    if as_json:
        _print_json({"plan": todo.to_json(), "done": done})
    else:
        _print_repair(todo.to_json(), done)
    sys.exit(EX_FINDINGS if todo.hopeless or (done is None and not todo.empty) else 0)


def _print_repair(todo: dict[str, Any], done: dict[str, Any] | None) -> None:
    for key, text in REPAIRS.items():
        for name in todo[key]:
            click.echo(f"{_(text)}: {name}" + (f" ({todo[key][name]:+d})" if key == "tallies" else ""))
    if not any(todo.values()):
        click.echo(_("nothing to do"))
    elif done is not None:
        click.echo(_("done") + (f": {done['folder']}" if done["quarantine"] else ""))
    elif any(count for key, count in todo.items() if key != "not_mended"):
        click.echo(_("Nothing was changed. Do it with --yes."))


REPAIRS = {"park_messages": "park this message", "park_deliveries": "park this delivery",
           "note": "note the loss in this message's history",
           "quarantine": "move this file to the quarantine",
           "tallies": "correct the books", "not_mended": "cannot be mended here"}


@_command(main, "backup", "Copy the store to a new folder, or to a new .tar file, beside the running hub.")
@click.argument("target", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def backup(context: Context, target: Path, as_json: bool) -> None:
    answer = context.work("backup", target=str(target.absolute()))
    if as_json:
        _print_json(answer)
    else:
        click.echo(_("{target}: {messages} messages, {files} files, {bytes} bytes, as of {made_at}").format(
            **answer))
        if answer["deleted_meanwhile"]:
            click.echo(_(
                "The content of {count} messages was deleted meanwhile, at the end of its retention.").format(
       count=len(answer["deleted_meanwhile"])))
    for name in (*answer["damaged"], *answer["missing"]):
        _complain(_(
            "body {name} is damaged or missing in the store itself: drehscheibe store check --deep").format(
                name=name))
    sys.exit(EX_FINDINGS if answer["damaged"] or answer["missing"] else 0)


@_command(main, "restore",
          "Put a backup in the place of the store, the hub being stopped; all of it is verified first.")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--verify", "only_verify", is_flag=True, help=_("Only verify the backup; restore nothing."))
@click.option("--replace", is_flag=True, help=_("Move a store that is there aside (it is never deleted)."))
@click.option("--not-run-since", is_flag=True,
              help=_("No hub has run on this store since: leave what is due as it is."))
@json_option
@click.pass_obj
def restore(context: Context, source: Path, only_verify: bool, replace: bool, not_run_since: bool,
            as_json: bool) -> None:

    logs.setup("ERROR")  # standard output is the answer's alone
    with _progress() as show:
        if only_verify:
            answer = restore_.verify(source, show).to_json()
        else:
            places = loader.places(context.file, context.overrides)
            if places.store.url is not None:
                raise HubError("[store] url: names a PostgreSQL, which is restored by its own tools: "
                               "docs/operate-two-nodes.md")
            answer = restore_.restore(source, places.hub.state, replace=replace, not_run_since=not_run_since,
                                      progress=show)
    if as_json:
        _print_json(answer)
    elif only_verify:
        click.echo(_(
            "sound: {messages} messages, {files} files, as of {made_at}; nothing was restored").format(
                **answer))
    else:
        _print_restored(answer)


def _print_restored(answer: dict[str, Any]) -> None:
    click.echo(_("restored to {state}: {messages} messages, {files} files, as of {made_at}").format(**answer))
    if answer["moved_aside"]:
        click.echo(_("what was there lies in {moved_aside}").format(**answer))
    told = _("  {in_doubt} deliveries are in doubt: the receivers are asked before anything is sent again")
    click.echo(told.format(**answer))
    click.echo(_(
        "  {waiting} messages were not translated yet: their deliveries will be in doubt, too").format(
            **answer))
    click.echo(_("  {parked} messages and deliveries are parked as before").format(**answer))
    click.echo(_("Not in this backup: what was accepted after {made_at}. Ask the senders.").format(**answer))
    click.echo(_("What they send again is taken as new: its duplicate keys are not in the backup, either."))
    click.echo(_("next:") + "\n  drehscheibe store check --deep\n  drehscheibe run")


@_command(main, "bill",
          "The bills of a year: what was really used, at what price, with the evidence of each line.")
@click.option("--year", required=True, type=click.IntRange(2000, 2999))
@click.option("--provider", help=_("Only this provider's contracts (its key in billing.toml)."))
@click.option("--prices", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help=_("The prices; default: billing.toml beside hub.toml."))
@click.option("--csv", "as_csv", is_flag=True, help=_("Print CSV (semicolons, decimal commas)."))
@json_option
@click.pass_obj
def bill(context: Context, year: int, provider: str | None, file: Path | None, as_csv: bool,
         as_json: bool) -> None:
    from hub.administration import billing

    if as_csv and as_json:
        raise click.UsageError(_("either --csv or --json"))
    prices = prices_.load(file or context.file.parent / "billing.toml")
    if provider is not None and provider not in prices.provider:
        raise HubError(f"provider: unknown {provider!r}: {suggest(provider, prices.provider)}")
    facts = [billing.Fact.of(row) for row in context.ask("usages", first=f"{year}-01", last=f"{year}-12")]
    found = billing.compute(prices, context.load(), facts, year).only(provider)
    if as_json:
        _print_json(bill_output.to_json(found, prices))
    elif as_csv:
        click.echo(bill_output.to_csv(found, prices), nl=False)
    else:
        _print_bill(found, prices)
    for problem in found.problems if not as_json else ():
        click.echo(f"! {problem}", err=True)
    sys.exit(EX_FINDINGS if found.problems else 0)


def _print_bill(found: Bill, prices: BillingFile) -> None:
    from hub.administration import billing

    for key, contracts in found.providers().items():
        click.secho(prices.provider[key].name if key in prices.provider else key or "–", bold=True)
        _table(["municipality", "item", "class", "category", "messages", "from", "to", "reached", "amount"],
               [[f"{contract.name} ({contract.ags})", line.text, line.price_class or "", line.category
                 or line.rule,
                 line.messages or "", line.first or "", line.last or "", bill_output.reached_text(line),
                 prices_.money(line.amount)]
                for contract in contracts for line in contract.lines])
        click.echo(_("sum:") + f" {prices_.money(billing.total(contracts))} €\n")
    if not found.contracts:
        click.echo(_("nothing to charge"))


@main.group(help=_("Municipalities: add one, look at them."))
def municipality() -> None:
    """Commands about municipalities."""


@_command(municipality, "install-list",
          "Install the official list of municipalities or counties: genericode, also xz.")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def municipality_install_list(context: Context, file: Path, as_json: bool) -> None:
    from hub.administration.onboarding import install_list

    found = install_list(file, loader.places(context.file, context.overrides).hub.state)
    if as_json:
        _print_json({"list": found.name, "version": found.version, "entries": len(found.names)})
    else:
        click.echo(_("{name} {version}: {count} entries").format(name=found.name, version=found.version,
                                                                 count=len(found.names)))


@_command(municipality, "add",
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
    from dataclasses import asdict

    from hub.administration.onboarding import NewMunicipality, add

    def judge(configuration: config.Configuration) -> None:
        for where, finding in prices_.check(configuration):
            if finding.severity == "error" and Path(where).stem == said["ags"]:
                raise HubError(finding.text)

    added = add(context.file, context.overrides, NewMunicipality(**said), judge)
    if as_json:
        _print_json({"file": added.file, "name": added.name, "tenant": added.tenant,
                     "services": added.services,
                     "folders": added.folders,
                     "findings": [asdict(finding) for finding in added.findings]})
        return
    click.echo(_("{name} is set up: {file}").format(name=added.name, file=added.file))
    for folder in added.folders:
        click.echo(_("folder made: {folder}").format(folder=folder))
    for finding in added.findings:
        click.echo(f"{finding.text} {finding.remedy}".rstrip())
    click.echo(_("next:"))
    for line in (f"drehscheibe check --municipality {added.file.stem}", "drehscheibe reload"):
        click.echo(f"  {line}")


@_command(municipality, "list", "All municipalities with their services and destinations.")
@json_option
@click.pass_obj
def municipality_list(context: Context, as_json: bool) -> None:
    from hub.administration.onboarding import overview

    rows = overview(context.load())
    if as_json:
        _print_json(rows)
        return
    _table(["AGS", "municipality", "tenant", "services", "destinations"],
           [[row["ags"], row["name"], row["tenant"], len(row["services"]),
             ", ".join(f"{name} ({connector})" for name, connector in row["destinations"].items())]
            for row in rows])


@_command(municipality, "show", "One municipality with all that it inherits.")
@click.argument("name", metavar="AGS")
@json_option
@click.pass_obj
def municipality_show(context: Context, name: str, as_json: bool) -> None:
    from hub.administration.onboarding import resolved

    found = resolved(context.load(), name)
    if as_json:
        _print_json(found)
        return
    for key in ("name", "ags", "tenant", "provider", "file"):
        click.echo(f"{key:12} {found[key] or ''}")
    inherited = _("inherited")
    for each in found["destinations"]:
        click.secho(f"{each['key']} ({each['connector']})", bold=True)
        for key, value in each["values"].items():
            click.echo(f"  {key:20} {_shown(value)}"
                       + (f"  ({inherited})" if key in each["inherited"] else ""))
    for each in found["services"]:
        click.secho(f"{each['service']}" + (f"  ({inherited})" if each["inherited"] else ""), bold=True)
        for route in each["routes"]:
            for recipient, send in route["recipients"].items():
                click.echo(f"  → {recipient}: {', '.join(send)}")


def _shown(value: Any) -> str:
    """A configured value, for reading."""
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, dict):
        return ", ".join(f"{key}={f'({_shown(each)})' if isinstance(each, dict) and each else _shown(each)}"
                         for key, each in value.items())
    return ", ".join(map(_shown, value)) if isinstance(value, list) else str(value)


@main.group(help=_("RabbitMQ."))
def broker() -> None:
    """Commands about the broker."""


@_command(broker, "setup", "Declare exchanges, queues, limits, users and permissions of the AMQP inlet.")
@click.option("--management", required=True, help=_("RabbitMQ's management API, http://host:15672."))
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
        _print_json([{"severity": finding.severity, "text": finding.text, "remedy": finding.remedy}
                     for finding in findings])
    for finding in findings if not as_json else ():
        click.echo(f"{finding.severity}: {finding.text}" + (f" → {finding.remedy}" if finding.remedy else ""))
    sys.exit(EX_FINDINGS if any(finding.severity == "error" for finding in findings) else 0)


@_command(main, "schema", "Print the JSON schema of a configuration file, for editors.")
@click.argument("kind",
                type=click.Choice(["hub", "defaults", "municipality", "billing", "mapping", "fields"]))
def schema(kind: str) -> None:
    from hub.administration.prices import BillingFile
    from hub.mapping.model import FieldTable, MappingFile

    models: dict[str, type[BaseModel]] = {"billing": BillingFile, "mapping": MappingFile,
                                          "fields": FieldTable, **FILES}
    _print_json(models[kind].model_json_schema())


@_command(main, "demo", "Play the examples through a hub of its own: what `make run` does.")
@click.option("--exit", "end", is_flag=True, help=_("End after the table instead of staying up."))
@click.pass_obj
def demo(context: Context, end: bool) -> None:
    from hub.demo.run import run_demo

    sys.exit(run_demo(context.file.resolve().parent.parent, stay=not end))


def _print_json(data: Any) -> None:
    click.echo(json.dumps(data, ensure_ascii=False, indent=2, default=str))


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(_(column), overflow="fold")
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    # a pipe has no width: rows must not be cut there
    Console(width=None if sys.stdout.isatty() else 400).print(table)


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86400 else f"{seconds / 86400:.1f} d"

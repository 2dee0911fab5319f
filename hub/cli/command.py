"""A command of the command line: how its errors end it, and the options that many commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from hub.cli.output import complain
from hub.errors import Busy, ConfigError, HubError, StoreDamaged, StoreUnavailable
from hub.i18n.texts import _

EX_FINDINGS, EX_TEMPORARY, EX_CONFIG = 1, 75, 78


def command(name: str, help: str) -> Callable[[Callable[..., Any]], click.Command]:
    """Make a function a command, with its help in the caller's language and its errors as exit codes."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        return click.command(name, help=_(help))(guarded(function))

    return decorate


def group(name: str, help: str, *commands: click.Command) -> click.Group:
    """Make commands one group, with its help in the caller's language."""
    return click.Group(name, list(commands), help=_(help))


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Turn every expected error into one clear line and an exit code, never a traceback.

    ===================================== ====
    `ConfigError`, `PermissionError`       78
    `Busy`, `StoreUnavailable`             75
    any other `OSError`                    75
    `StoreDamaged`, any other `HubError`    1
    ===================================== ====
    """

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ConfigError as error:
            for problem in error.problems:
                complain(problem)
            sys.exit(EX_CONFIG)
        except StoreDamaged as error:
            complain(str(error))
            sys.exit(EX_FINDINGS)
        except (StoreUnavailable, Busy) as error:
            complain(str(error))
            sys.exit(EX_TEMPORARY)
        except HubError as error:
            complain(str(error))
            sys.exit(EX_FINDINGS)
        except BrokenPipeError:
            sys.stderr.close()
            sys.exit(EX_FINDINGS)
        except PermissionError as error:
            complain(f"{error.filename or '(file)'}: {error.strerror}: "
                     + _("run this as the hub's user, or mend the rights"))
            sys.exit(EX_CONFIG)
        except OSError as error:
            complain(f"{error.filename or '(system)'}: {error.strerror or error}")
            sys.exit(EX_TEMPORARY)

    return run


def not_empty(context: click.Context, option: click.Parameter, value: str) -> str:  # noqa: ARG001  click's
    """Refuse an argument of blanks."""
    if not value.strip():
        raise click.BadParameter(_("is empty"))
    return value


json_option = click.option("--json", "as_json", is_flag=True, help=_("Print JSON."))
reason_option = click.option("--reason", required=True, callback=not_empty,
                             help=_("Why (stands in the history)."))

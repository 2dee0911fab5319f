"""The command that makes bills."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hub.cli.command import EX_FINDINGS, command, json_option
from hub.cli.context import Context
from hub.cli.output import print_json, print_table
from hub.config.reader import suggest
from hub.errors import HubError
from hub.i18n.texts import _

if TYPE_CHECKING:
    from hub.administration.billing import Bill
    from hub.administration.prices import BillingFile


@command("bill",
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
    from hub.administration import bill_output, billing
    from hub.administration.prices import load

    if as_csv and as_json:
        raise click.UsageError(_("either --csv or --json"))
    prices = load(file or context.file.parent / "billing.toml")
    if provider is not None and provider not in prices.provider:
        raise HubError(f"provider: unknown {provider!r}: {suggest(provider, prices.provider)}")
    facts = [billing.Fact.of(row) for row in context.ask("usages", first=f"{year}-01", last=f"{year}-12")]
    found = billing.compute(prices, context.load(), facts, year).only(provider)
    if as_json:
        print_json(bill_output.to_json(found, prices))
    elif as_csv:
        click.echo(bill_output.to_csv(found, prices), nl=False)
    else:
        _print_bill(found, prices)
    for problem in found.problems if not as_json else ():
        click.echo(f"! {problem}", err=True)
    sys.exit(EX_FINDINGS if found.problems else 0)


def _print_bill(found: Bill, prices: BillingFile) -> None:
    from hub.administration import bill_output, billing
    from hub.administration.prices import money

    for key, contracts in found.providers().items():
        click.secho(prices.provider[key].name if key in prices.provider else key or "–", bold=True)
        print_table(
            ["municipality", "item", "class", "category", "messages", "from", "to", "amount", "reached"],
            [[f"{contract.name} ({contract.ags})", line.text, line.price_class or "",
              line.category or line.rule, line.messages or "", line.first or "", line.last or "",
              money(line.amount), bill_output.reached_text(line)]
             for contract in contracts for line in contract.lines])
        click.echo(_("sum:") + f" {money(billing.total(contracts))} €\n")
    if not found.contracts:
        click.echo(_("nothing to charge"))

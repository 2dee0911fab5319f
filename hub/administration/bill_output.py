"""A bill as JSON, as CSV and in words."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

from hub.administration.billing import Bill, Line, total
from hub.administration.cells import TableWriter
from hub.administration.prices import BillingFile, money


def to_json(bill: Bill, file: BillingFile) -> dict[str, Any]:
    """All of it; amounts exact as text, and as printed."""
    return {"year": bill.year, "problems": list(bill.problems), "total": _amount(total(bill.contracts)),
            "providers": [{
"key": key, "name": file.provider[key].name if key in file.provider else None,
"total": _amount(total(contracts)),
"contracts": [{"number": contract.number, "ags": contract.ags, "municipality": contract.name,
"population": contract.population, "total": _amount(contract.total),
"lines": [_line(line) for line in contract.lines]} for contract in contracts]}
for key, contracts in bill.providers().items()]}


def _amount(amount: Decimal) -> dict[str, str]:
    return {"exact": f"{amount:f}", "printed": money(amount)}


def _line(line: Line) -> dict[str, Any]:
    return {"item": line.item, "text": line.text, "amount": _amount(line.amount), "service": line.service,
            "class": line.price_class, "category": line.category, "rule": line.rule,
            "messages": line.messages,
            "first": line.first.isoformat() if line.first else None, "last": line.last.isoformat()
            if line.last else None,
            "destinations":
            [{"destination": each.destination, "kind": each.kind, "deliveries": each.deliveries,
              "first": each.first.isoformat(), "last": each.last.isoformat()} for each in line.destinations]}


COLUMNS = ("Jahr", "Dienstleister", "Vertrag", "AGS", "Kommune", "Einwohner", "Posten", "Text", "Dienst",
           "Klasse", "Kategorie",
           "Regel", "Anträge", "erster", "letzter", "Ziele", "Betrag genau", "Betrag")
ITEMS = {"yearly": "jährlich", "setup": "einmalig", "adjustment": "Anpassung"}


def to_csv(bill: Bill, file: BillingFile) -> str:
    """One row per line, for spreadsheets in German: semicolons, decimal commas."""
    out = io.StringIO()
    writer = TableWriter(out)
    writer.write(COLUMNS)
    for contract in bill.contracts:
        provider = file.provider[
            contract.provider].name if contract.provider in file.provider else contract.provider
        for line in contract.lines:
            writer.write([bill.year, provider, contract.number or "", contract.ags, contract.name,
                             "" if contract.population is None else contract.population, ITEMS[line.item],
                             line.text,
                             line.service or "", line.price_class or "", line.category or "", line.rule,
                             line.messages or "",
                             line.first or "", line.last or "", reached_text(line),
                             f"{line.amount:f}".replace(".", ","),
                             money(line.amount).replace(".", "")])
    return out.getvalue()


def reached_text(line: Line) -> str:
    """The destinations in one cell."""
    return ", ".join(f"{each.destination} ({each.kind or '?'}: {each.deliveries})"
                     for each in line.destinations)

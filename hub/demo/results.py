"""What was sent and where it arrived, as a table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from hub.demo.prepare import Place, log_of
from hub.demo.processes import status_url
from hub.files.toml import read_toml
from hub.i18n.texts import _
from hub.mapping.model import PRINTED


@dataclass(frozen=True)
class Example:
    """One example application of a mapping, and the reason for which it must be parked, if it must."""

    service: str
    name: str
    document: Path
    attachments: tuple[Path, ...]
    parked: str | None
    test: bool

    @property
    def printout(self) -> Path | None:
        """The one of the attachments that is the applicant's own printout."""
        return next((file for file in self.attachments if file.name == PRINTED), None)

    @property
    def uploads(self) -> tuple[Path, ...]:
        """The other attachments."""
        return tuple(file for file in self.attachments if file.name != PRINTED)


def examples(mappings: Path) -> list[Example]:
    """All examples of all mappings, by service and name."""
    return [_example(file.parent) for file in sorted(mappings.glob("*/examples/*/example.toml"))]


def _example(folder: Path) -> Example:
    data = read_toml(folder / "example.toml")
    document = min(file for file in folder.glob("message.*"))
    attachments = tuple(folder / name for name in data.get("attachments", ()))
    return Example(folder.parents[1].name, folder.name, document, attachments, data.get("parked"),
                   bool(data.get("test")))


@dataclass
class Sent:
    """One application on its way, and what the hub says about it."""

    example: Example
    ags: str
    inlet: str
    id: str = ""
    before: frozenset[str] = frozenset()
    found: Mapping[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> str:
        """The message's state; empty until the hub knows it."""
        return str(self.found.get("state", ""))

    @property
    def as_expected(self) -> bool:
        """Whether it ended where its example says."""
        if self.example.parked:
            return self.state == "parked" and self.found.get("reason") == self.example.parked
        return self.state == "completed"

    @property
    def lacks_pango(self) -> bool:
        """Whether it is parked only because this machine cannot print PDFs: that is the machine's choice, no
        fault."""
        return self.state == "parked" and "libpango" in (self.found.get("reason_text") or "")

    @property
    def wrong(self) -> bool:
        """Whether it ended otherwise than it should."""
        return not self.as_expected and not self.lacks_pango


def table_of(place: Place, sent: Sequence[Sent]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(_("message"), no_wrap=True)
    table.add_column(_("service"))
    table.add_column(_("municipality"))
    table.add_column(_("where it went"), overflow="fold", ratio=1)
    table.add_column(_("how long"), justify="right", no_wrap=True)
    names = {municipality.row.ags: municipality.row.name
             for municipality in place.configuration.municipalities.values()}
    for item in sent:
        service = f"{item.example.service} ({item.example.name})"
        table.add_row(item.id[:18] or "-", service, names[item.ags], _where(place, item), _how_long(item))
    return table


def _where(place: Place, item: Sent) -> str:
    if item.state == "completed":
        return "\n".join(_arrivals(place, item))
    first, *rest = (item.found.get("reason_text") or item.found.get("reason") or "").splitlines() or [""]
    headline = re.sub(r" \(die ersten \d+\):?$", "", first)
    count = _("more than {count}").format(count=len(rest)) if headline != first else len(rest)
    text = f"{_(item.state or 'unknown')}: {headline}".rstrip(": ") + (f" ({count})" if rest else "")
    mark = "✗ " if item.wrong else ""
    return "\n".join([mark + text, *_arrivals(place, item)])


def _arrivals(place: Place, item: Sent) -> list[str]:
    lines = []
    for delivery in item.found.get("deliveries", ()):
        destination = place.configuration.destination(delivery["destination"])
        if delivery["state"] != "done":
            text = f"{delivery['destination']}: {delivery['state']}: {delivery['text'] or ''}"
            lines.append(text.rstrip(": "))
            continue
        reference = delivery["receipt"].get("reference", "")
        found = destination.outlet.arrivals(destination.options, reference) if destination else ()
        mailboxes = destination is not None and destination.outlet.kind == "mail"
        lines += [place.short(place.var / "mail" / where if mailboxes else where) for where in found]
        if not found:
            lines.append(f"{delivery['destination']}: {reference}")
    return lines


def _how_long(item: Sent) -> str:
    times = [delivery["finished_at"] for delivery in item.found.get("deliveries", ())
             if delivery["finished_at"]]
    if not times or item.state != "completed":
        return "-"
    taken = max(datetime.fromisoformat(text)
                for text in times) - datetime.fromisoformat(item.found["received_at"])
    return f"{taken.total_seconds():.2f} s"


def sum_up(place: Place, sent: Sequence[Sent]) -> None:
    parked = sum(item.as_expected for item in sent if item.example.parked)
    arrived = sum(item.as_expected for item in sent if not item.example.parked)
    wrong = sum(item.wrong for item in sent)
    waiting = [item for item in sent if item.lacks_pango]
    place.out.print(_("{arrived} arrived, {parked} are parked because their example is faulty on purpose, "
                      "{wrong} ✗ went wrong.")
                    .format(arrived=arrived, parked=parked, wrong=wrong))
    if waiting:
        place.out.print(_("{count} have no PDF yet for want of libpango; once it is there: drehscheibe "
                          "replay {id}")
                        .format(count=len(waiting), id=waiting[0].id[:18]))
    if parked or wrong:
        example = next(item for item in sent if item.state != "completed")
        place.out.print(_("Why, and what to do next: drehscheibe why {id}").format(id=example.id[:18]))


def say_where(place: Place) -> None:
    url = status_url(place)
    place.out.print()
    for what, where in ((_("metrics"), f"{url}/metrics"), (_("status"), f"{url}/status"),
                        (_("mailboxes"), place.short(place.var / "mail")),
                        (_("log"), place.short(log_of(place, "hub"))),
                        (_("more"), f"export DREHSCHEIBE_CONFIG={place.configuration.file}"),
                        ("", "drehscheibe messages · drehscheibe show <id> · drehscheibe why <id>")):
        place.out.print(f"{what:12} {where}", soft_wrap=True)

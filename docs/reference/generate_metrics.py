"""Writes metrics.md beside this file from the catalogue in `hub.telemetry.families`.

``make docs`` runs it (``python docs/reference/generate_metrics.py``). A test compares the two, so the page is
always up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from hub.telemetry.families import FAMILIES, Family

HEAD = """# Metrics

Made from `hub/telemetry/families.py` by `generate_metrics.py`; do not edit. The hub serves them under
`http://<status>/metrics` (`[status]` in hub.toml, on loopback by default); a client that accepts OpenMetrics
gets exemplars with message ids.

* Totals of messages and deliveries come from the store's ledger and survive restarts. All other counters and
  histograms begin at 0 with the process; `rate` and `increase` cope with that.
* Labels are bounded. `service`: a configured service, or `other` for all that nobody configured.
  `destination`: `<tenant>/<name>`. A municipality is the part before the slash:
  `destination=~"musterstadt/.*"`.
* A histogram `x_seconds` has the series `x_seconds_bucket`, `x_seconds_sum` and `x_seconds_count`.
* Of what an inlet itself refuses the hub keeps nothing but the number in
  `drehscheibe_transfers_refused_total`; the sender gets the reason.
* Size: 400 municipalities with seven services and two destinations each make 54,000 lines (4.4 MB, 0.6 s of
  one processor for a scrape): scrape such a hub once a minute. The example configuration makes 500. With more
  than 20,000 pairs of municipality and service, series of pairs and destinations begin with their first event
  or wait instead of with 0.
* Beside these: `process_*` (memory, CPU, open files of the main process) and `python_info`.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""


def row(family: Family) -> str:
    """One line of the table."""
    labels = ", ".join(f"`{label}`" for label in family.labels) or "-"
    return f"| `{family.name}` | {family.kind} | {labels} | {family.help.replace('|', chr(92) + '|')} |\n"


def page() -> str:
    """The whole page."""
    return HEAD + "".join(map(row, FAMILIES))


if __name__ == "__main__":
    Path(__file__).with_name("metrics.md").write_text(page(), encoding="utf-8")

"""Writes the dashboards beside this file: ``python etc/grafana/generate.py``.

A test compares them, so they are always up to date. They are for Grafana 9 and newer. Import the files, or
provision the folder (docs/runbooks/README.md says how).

This is plain Python and JSON, because a dashboard is data of a simple shape. The library
grafana-foundation-sdk was considered. It is an alpha, and its version numbers make installers take the
builders of the oldest Grafana as the newest. And it does not notice what goes wrong with dashboards in
practice: a metric or a label that does not exist, an expression that Prometheus does not understand.
tests/integration/test_prometheus.py notices that, with a running hub.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Query = tuple[str, str]
"""An expression and its legend."""

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
TRIES = 'event=~"done|done_partly|later|parked|in_doubt"'
FAILURES = 'event=~"later|parked|in_doubt"'
ARRIVED = 'event=~"done|done_partly"'
GREEN_TO_RED = (("green", None), ("red", 1))


def _panel(kind: str, title: str, queries: Sequence[Query], unit: str, text: str,
           **custom: Any) -> dict[str, Any]:
    targets = [{"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": expression,
                "legendFormat": legend}
               for number, (expression, legend) in enumerate(queries)]
    return {"type": kind, "title": title, "description": text, "datasource": SOURCE, "targets": targets,
            "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []}}


def graph(title: str, *queries: Query, unit: str = "short", text: str = "", bars: bool = False,
          stacked: bool = False) -> dict[str, Any]:
    """Lines over time; `bars` for counts per hour."""
    panel = _panel("timeseries", title, queries, unit, text, drawStyle="bars" if bars else "line",
                   lineWidth=1, fillOpacity=60 if bars else 10,
                   stacking={"mode": "normal" if stacked or bars else "none"})
    panel["options"] = {
        "legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"}}
    return panel


def number(title: str, expression: str, *, unit: str = "short",
           steps: Sequence[tuple[str, float | None]] = GREEN_TO_RED,
           text: str = "") -> dict[str, Any]:
    """One number, coloured by thresholds, each as (colour, from)."""
    panel = _panel("stat", title, [(expression, "")], unit, text)
    panel["fieldConfig"]["defaults"] |= {
        "color": {"mode": "thresholds"}, "noValue": "-",
        "thresholds": {"mode": "absolute",
                       "steps": [{"color": colour, "value": value} for colour, value in steps]}}
    del panel["fieldConfig"]["defaults"]["min"]
    panel["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background",
                        "graphMode": "none", "textMode": "value"}
    return panel


def table(title: str, expression: str, *, unit: str = "short", text: str = "") -> dict[str, Any]:
    """A table of labels and values, the smallest value first."""
    panel = _panel("table", title, [(expression, "")], unit, text)
    panel["targets"][0] |= {"format": "table", "instant": True}
    del panel["fieldConfig"]["defaults"]["min"]
    hidden = dict.fromkeys(("Time", "__name__", "job", "instance"), True)
    panel["transformations"] = [{"id": "organize", "options": {"excludeByName": hidden}}]
    panel["options"] = {"sortBy": [{"displayName": "Value", "desc": False}]}
    return panel


def timeline(title: str, *queries: Query, text: str = "") -> dict[str, Any]:
    """A timeline of states: red where the value is 1."""
    panel = _panel("state-timeline", title, queries, "short", text, fillOpacity=80)
    panel["fieldConfig"]["defaults"] |= {
        "color": {"mode": "thresholds"},
        "mappings": [{"type": "value", "options": {"0": {"text": "ok"}, "1": {"text": "rests"}}}],
        "thresholds":
        {"mode": "absolute", "steps": [{"color": "green", "value": None}, {"color": "red", "value": 1}]}}
    panel["options"] = {"mergeValues": True, "showValue": "never",
                        "legend": {"displayMode": "list", "placement": "bottom"}}
    return panel


def quantiles(metric: str, by: str = "") -> list[Query]:
    """The median and the 95th percentile, for each `by`."""
    labels, legend = (f"le, {by}", " {{" + by + "}}") if by else ("le", "")
    return [(f"histogram_quantile({part}, sum by ({labels}) (rate({metric}_bucket[$__rate_interval])))",
             name + legend)
            for part, name in ((0.5, "median"), (0.95, "95 %"))]


def hourly(metric: str, by: str, selector: str = "") -> Query:
    """The number in the last hour, by a label."""
    chosen = f"{{{selector}}}" if selector else ""
    return f"sum by ({by}) (increase({metric}{chosen}[1h]))", "{{" + by.replace(", ", "}} {{") + "}}"


Row = tuple[str, int, Sequence[dict[str, Any]]]
"""Title, height and panels. The panels stand side by side, with equal width."""


def _laid_out(rows: Sequence[Row]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    top = 0
    for title, height, row in rows:
        panels.append({"type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"x": 0, "y": top, "w": 24, "h": 1}})
        width = 24 // len(row)
        panels += [{**panel, "gridPos": {"x": place * width, "y": top + 1, "w": width, "h": height}}
                   for place, panel in enumerate(row)]
        top += 1 + height
    return [{"id": number, **panel} for number, panel in enumerate(panels, 1)]


def _variable(name: str, label: str, expression: str, regex: str = "") -> dict[str, Any]:
    return {"type": "query", "name": name, "label": label, "datasource": SOURCE, "refresh": 2, "sort": 1,
            "regex": regex, "query": {"query": expression, "refId": name}}


def _dashboard(name: str, title: str, rows: Sequence[Row],
               variables: Sequence[dict[str, Any]] = ()) -> dict[str, Any]:
    source = {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"}
    return {
        "uid": f"drehscheibe-{name}", "title": title, "tags": ["drehscheibe"], "schemaVersion": 38,
        "version": 1,
        "editable": True, "refresh": "1m", "time": {"from": "now-24h", "to": "now"}, "timezone": "browser",
        "graphTooltip": 1,
        "links":
        [{"type": "dashboards", "title": "Datendrehscheibe", "tags": ["drehscheibe"], "asDropdown": True,
          "keepTime": True, "includeVars": True}],
        "annotations": {"list": [{
            "name": "Reload", "datasource": SOURCE, "enable": True, "iconColor": "blue",
            "expr": "increase(drehscheibe_reloads_total[1m]) > 0", "titleFormat": "reload {{outcome}}"}]},
        "templating": {"list": [source, *variables]}, "panels": _laid_out(rows)}


def overview() -> dict[str, Any]:
    """Is the hub well, does everything flow, and what waits for a person?

    Larger than the measure: one table of panels, which reads best in the order of the page.
    """
    return _dashboard("overview", "Datendrehscheibe", [
        ("Now", 4, [
            number("Hub", 'min(up{job="drehscheibe"})', steps=(("red", None), ("green", 1)),
                   text="1: it answers."),
            number("Oldest undelivered", "max(drehscheibe_oldest_undelivered_seconds)", unit="s",
                   steps=(("green", None), ("orange", 3600), ("red", 4 * 3600))),
            number("Parked applications", 'sum(drehscheibe_messages{state="parked"})',
                   text="drehscheibe messages --state parked"),
            number("Parked deliveries", 'sum(drehscheibe_deliveries{state="parked"}) or vector(0)',
                   text="drehscheibe queue"),
            number("In doubt", 'sum(drehscheibe_deliveries{state="in_doubt"}) or vector(0)',
                   steps=(("green", None), ("orange", 1))),
            number("Resting destinations", "sum(drehscheibe_destination_resting)", text="drehscheibe queue"),
            number("Shortest certificate",
                   "min(drehscheibe_certificate_expiry_timestamp_seconds - time()) / 86400", unit="d",
                   steps=(("red", None), ("orange", 7), ("green", 30))),
            number("Free disk", "min(drehscheibe_disk_free_bytes / drehscheibe_disk_size_bytes)",
                   unit="percentunit", steps=(("red", None), ("orange", 0.1), ("green", 0.2)))]),
        ("Flow", 8, [
            graph("Accepted per hour", hourly("drehscheibe_messages_accepted_total", "service"), bars=True),
            graph("Outcomes of tries per hour", hourly("drehscheibe_delivery_events_total", "event", TRIES),
                  bars=True, text="later: failed and tried again.")]),
        ("What is where", 8, [
            graph("Messages not finished",
                  ('sum by (state) (drehscheibe_messages{state!~"completed|discarded"})', "{{state}}")),
            graph("Queue",
                  ('sum by (state) (drehscheibe_deliveries{state=~"due|delivering|in_doubt|parked"})',
                   "{{state}}")),
            graph("Both balances", (
                "sum(drehscheibe_messages_accepted_total) - sum(drehscheibe_messages)", "messages"), (
                "sum(drehscheibe_deliveries_created_total) - sum(drehscheibe_deliveries)", "deliveries"),
                text="0, always: nothing is missing and nothing is there twice.")]),
        ("What needs somebody", 8, [
            graph("Parked applications per hour",
                  hourly("drehscheibe_messages_parked_total", "service, reason"), bars=True),
            graph("The longest waiting destinations",
                  ("topk(10, drehscheibe_destination_oldest_seconds > 0)", "{{destination}}"),
                  unit="s"),
            timeline("Resting destinations",
                     ("drehscheibe_destination_resting == 1", "{{destination}} {{why}}"))]),
        ("How long it takes", 8, [
            graph("Until a message is durable", *quantiles("drehscheibe_accept_seconds", "inlet"), unit="s"),
            graph("A trip to a worker", *quantiles("drehscheibe_worker_seconds"), unit="s"),
            graph("From the outbox to the receiver", *quantiles("drehscheibe_delivered_seconds", "connector"),
                  unit="s")]),
        ("At the door", 8, [
            timeline("Inlets that take no messages", ("1 - drehscheibe_inlet_ready", "{{inlet}}")),
            graph("Refused per hour", hourly("drehscheibe_transfers_refused_total", "inlet, reason"),
                  bars=True),
            graph("Other events of messages per hour", hourly("drehscheibe_message_events_total", "event"),
                  bars=True)]),
        ("The hub itself", 8, [
            graph("Memory of the main process", ("process_resident_memory_bytes", "{{instance}}"),
                  unit="bytes"),
            graph("Processor of the main process",
                  ("rate(process_cpu_seconds_total[$__rate_interval])", "{{instance}}"),
                  unit="percentunit"),
            graph("Deaths of workers per hour", hourly("drehscheibe_worker_deaths_total", "reason"),
                  bars=True),
            graph("Reloads per hour", hourly("drehscheibe_reloads_total", "outcome"), bars=True)]),
        ("Facts", 7, [
            table("Certificates", "(drehscheibe_certificate_expiry_timestamp_seconds - time()) / 86400",
                  unit="d"),
            table("Version and configuration", "drehscheibe_info")]),
        ("Housekeeping", 4, [
            number("Accepting", "min(drehscheibe_accepting)", steps=(("red", None), ("green", 1)),
                   text="1: there is room on the disk. 0: senders are told to come again."),
            number("Disk reserve", "min(drehscheibe_disk_reserve_bytes)", unit="bytes",
                   steps=(("orange", None), ("green", 1)),
                   text="0: it is in use for the outcomes of deliveries, or unset."),
            number("Last run of the retention",
                   "time() - min(drehscheibe_retention_last_run_timestamp_seconds)", unit="s",
                   steps=(("green", None), ("red", 36 * 3600)),
                   text="Content and proofs whose time is over are deleted daily."),
            number("Left by the retention", "sum(drehscheibe_retention_overdue)"),
            number("Last reload taken up", "min(drehscheibe_config_last_reload_successful)",
                   steps=(("red", None), ("green", 1))),
            number("Workers without network", "min(drehscheibe_workers_without_network)",
                   steps=(("orange", None), ("green", 1))),
            number("Workers missing", "sum(drehscheibe_workers_missing)",
                   steps=(("green", None), ("red", 1)),
                   text="They could not be started; messages wait.")]),
        ("Store", 4, [
            number("Store", "min(drehscheibe_store_ready)", steps=(("red", None), ("green", 1)),
                   text="0: the database is away; senders are told to come again."),
            number("Living hubs", "max(drehscheibe_nodes)", steps=(("red", None), ("green", 1)),
                   text="On one store."),
            number("Most silent hub", "max(drehscheibe_nodes_silent_seconds)", unit="s",
                   steps=(("green", None), ("orange", 6), ("red", 15)),
                   text="After 15 s another one takes over.")]),
    ])


def municipality() -> dict[str, Any]:
    """What one municipality has got, and what it still waits for."""
    own, of_municipality = 'destination=~"$municipality/.+"', 'municipality="$municipality"'
    return _dashboard("municipality", "Datendrehscheibe: municipality", [
        ("Now", 4, [
            number("Oldest undelivered", f"max(drehscheibe_destination_oldest_seconds{{{own}}})", unit="s",
                   steps=(("green", None), ("orange", 3600), ("red", 4 * 3600))),
            number("Waiting", f'sum(drehscheibe_deliveries{{{own}, state=~"due|delivering"}}) or vector(0)',
                   steps=(("green", None),)),
            number("Parked applications",
                   f"sum(drehscheibe_municipality_parked{{{of_municipality}}}) or vector(0)",
                   text="drehscheibe messages --state parked --ags …"),
            number("Parked deliveries",
                   f'sum(drehscheibe_deliveries{{{own}, state="parked"}}) or vector(0)'),
            number("In doubt", f'sum(drehscheibe_deliveries{{{own}, state="in_doubt"}}) or vector(0)',
                   steps=(("green", None), ("orange", 1))),
            number("Resting destinations", f"sum(drehscheibe_destination_resting{{{own}}})"),
            number("Delivered in the period",
                   f"sum(increase(drehscheibe_delivery_events_total{{{own}, {ARRIVED}}}[$__range]))",
                   steps=(("green", None),))]),
        ("Delivered", 8, [
            graph("Per hour, by service",
                  hourly("drehscheibe_delivery_events_total", "service", f"{own}, {ARRIVED}"), bars=True),
            graph("Per hour, by destination",
                  hourly("drehscheibe_delivery_events_total", "destination", f"{own}, {ARRIVED}"),
                  bars=True)]),
        ("Waiting", 8, [
            graph("Age of the oldest, by destination",
                  (f"drehscheibe_destination_oldest_seconds{{{own}}}", "{{destination}}"),
                  unit="s"),
            graph("Queue, by destination", (
                'sum by (destination, state) '
                f'(drehscheibe_deliveries{{{own}, state=~"due|delivering|in_doubt|parked"}})',
                "{{destination}} {{state}}"))]),
        ("Trouble", 8, [
            timeline("Resting",
                     (f"max by (destination) (drehscheibe_destination_resting{{{own}}})", "{{destination}}")),
            graph("Failed tries per hour", hourly("drehscheibe_delivery_events_total", "destination, event",
                                                  f"{own}, {FAILURES}"), bars=True),
            graph("Parked applications, by reason",
                  (f"sum by (reason) (drehscheibe_municipality_parked{{{of_municipality}}})",
                   "{{reason}}"))]),
    ], [_variable("municipality", "Municipality",
                  "label_values(drehscheibe_destination_oldest_seconds, destination)",
                  "/^([^/]+)\\//")])


def destination() -> dict[str, Any]:
    """The state of one destination."""
    own = 'destination="$destination"'
    return _dashboard("destination", "Datendrehscheibe: destination", [
        ("Now", 4, [
            number("Oldest undelivered", f"max(drehscheibe_destination_oldest_seconds{{{own}}})", unit="s",
                   steps=(("green", None), ("orange", 3600), ("red", 4 * 3600))),
            *(number(title, f'sum(drehscheibe_deliveries{{{own}, state="{state}"}}) or vector(0)',
                     steps=steps)
              for title, state, steps in (
                ("Due", "due", (("green", None),)), ("Under way", "delivering", (("green", None),)),
                ("In doubt", "in_doubt", (("green", None), ("orange", 1))),
                ("Parked", "parked", GREEN_TO_RED)))]),
        ("Tries", 8, [
            graph("Outcomes per hour",
                  hourly("drehscheibe_delivery_events_total", "event", f"{own}, {TRIES}"), bars=True),
            graph("Share of failed tries", (
                f"sum(increase(drehscheibe_delivery_events_total{{{own}, {FAILURES}}}[1h])) / "
                f"sum(increase(drehscheibe_delivery_events_total{{{own}, {TRIES}}}[1h]))", "failed"),
                  unit="percentunit")]),
        ("State", 8, [
            timeline("Rests", (f"drehscheibe_destination_resting{{{own}}}", "{{why}}")),
            graph("Age of the oldest", (f"drehscheibe_destination_oldest_seconds{{{own}}}", "oldest"),
                  unit="s"),
            graph("Queue", (
                f'sum by (state) (drehscheibe_deliveries{{{own}, state=~"due|delivering|in_doubt|parked"}})',
                            "{{state}}")),
            graph("Held back", (f"sum by (why) (drehscheibe_deliveries_held{{{own}}})", "{{why}}"),
                  text="window: it takes none at this hour; order: an earlier message of the case is not "
                       "delivered yet.")]),
        ("Services and connectors", 8, [
            graph("Delivered per hour, by service",
                  hourly("drehscheibe_delivery_events_total", "service", f"{own}, {ARRIVED}"), bars=True),
            graph("Time of one try, all destinations", *quantiles("drehscheibe_attempt_seconds", "connector"),
                  unit="s", text="By connector: the hub does not keep a histogram for each destination.")]),
    ], [_variable("destination", "Destination",
                  "label_values(drehscheibe_destination_oldest_seconds, destination)")])


def dashboards() -> dict[str, str]:
    """The texts of the files, by name."""
    boards = (overview, municipality, destination)
    return {make.__name__: json.dumps(make(), indent=1, ensure_ascii=False) + "\n" for make in boards}


if __name__ == "__main__":
    folder = Path(__file__).parent / "dashboards"
    folder.mkdir(exist_ok=True)
    for name, text in dashboards().items():
        (folder / f"{name}.json").write_text(text, encoding="utf-8")

"""What operators watch: alert rules, runbooks, dashboards and the metrics they all speak of, against a real
Prometheus that scrapes a real hub.
"""

from __future__ import annotations

import json
import re
import runpy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.telemetry.families import FAMILIES
from tests.acceptance.hub_process import MUSTERSTADT, ROOT, HubProcess, document_of
from tests.services import wait_until
from tests.services.openssh import OpenSsh
from tests.services.prometheus import Prometheus, promtool

WATCH = ROOT / "etc" / "prometheus"
RULES = WATCH / "rules" / "drehscheibe.yml"
UNIT_TESTS = WATCH / "tests" / "drehscheibe.yml"
DASHBOARDS = ROOT / "etc" / "grafana" / "dashboards"
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule
                                     for group in yaml.safe_load(RULES.read_text())["groups"]
                                     for rule in group["rules"]}
BOUNDED = {"service", "state", "reason", "event", "destination", "why", "inlet", "connector", "outcome",
           "place", "file", "sender", "used_by", "version", "configuration", "what", "municipality"}
"""The labels there may be: configured names and fixed sets. A new one belongs here only with a bound."""


# --- rules --------------------------------------------------------------------------------------------------


def test_the_example_configuration_is_sound() -> None:
    result = promtool("check", "config", "prometheus.yml", folder=WATCH)
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"{len(ALERTS)} rules found" in result.stdout + result.stderr


def test_the_unit_tests_of_the_rules_hold() -> None:
    result = promtool("test", "rules", str(UNIT_TESTS), folder=WATCH)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("expression", ["vector(1) == 0", "vector(1)"], ids=["deaf", "nervous"])
def test_the_unit_tests_notice_alerts_that_never_or_always_fire(expression: str, tmp_path: Path) -> None:
    rules = yaml.safe_load(RULES.read_text())
    for rule in (rule for group in rules["groups"] for rule in group["rules"]):
        rule.update({"expr": expression, "for": "0s"})
    for file, content in ((RULES, yaml.safe_dump(rules)), (UNIT_TESTS, UNIT_TESTS.read_text())):
        (tmp_path / file.parent.name).mkdir()
        (tmp_path / file.parent.name / file.name).write_text(content)
    result = promtool("test", "rules", f"tests/{UNIT_TESTS.name}", folder=tmp_path)
    noticed = set(re.findall(r"alertname: (\w+)", result.stdout + result.stderr))
    assert noticed == {name for name, rule in ALERTS.items() if rule["expr"] != expression}


def problems_of_alerts(alerts: dict[str, dict[str, Any]], pages: Path, tests: str) -> list[str]:
    """What an alert lacks: a page with its four chapters, a test that it fires, a severity, a summary."""
    problems = []
    for name, rule in alerts.items():
        page = pages / f"{name}.md"
        chapters = re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) if page.is_file() else []
        if chapters != ["Meaning", "Impact", "Diagnosis", "Mitigation"]:
            problems.append(f"{name}: page")
        if not rule.get("annotations", {}).get("runbook_url", "").endswith(f"/{name}.md"):
            problems.append(f"{name}: runbook_url")
        if rule.get("labels", {}).get("severity") not in {"page", "ticket", "none"}:
            problems.append(f"{name}: severity")
        if not re.search(rf"alertname: {name}\n\s+eval_time: \w+\n\s+exp_alerts:\n\s+- exp_labels", tests):
            problems.append(f"{name}: fires")
        if rule["expr"] != "vector(1)" and f"alertname: {name}, eval_time" not in tests:
            problems.append(f"{name}: is silent")
    return problems


def test_every_alert_has_its_page_and_its_unit_tests() -> None:
    assert len(ALERTS) >= 15
    assert problems_of_alerts(ALERTS, RUNBOOKS, UNIT_TESTS.read_text()) == []
    assert {page.stem for page in RUNBOOKS.glob("Drehscheibe*.md")} == set(ALERTS), "no page without an alert"


def test_an_alert_without_a_page_is_noticed(tmp_path: Path) -> None:
    assert problems_of_alerts({"New": {"expr": "up == 0"}}, tmp_path, "") == [
        "New: page", "New: runbook_url", "New: severity", "New: fires", "New: is silent"]


# --- metrics ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exposition(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What a running hub says before anything has happened."""
    hub = HubProcess(tmp_path_factory.mktemp("quiet") / "hub")
    hub.start()
    yield hub.http("/metrics")
    hub.close()


def test_what_the_hub_says_is_sound(exposition: str, tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text(exposition)
    result = promtool("check", "metrics", folder=tmp_path, stdin=tmp_path / "metrics")
    assert result.returncode == 0, result.stdout + result.stderr


def families(exposition: str) -> dict[str, str]:
    """Name and type of what a hub says."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.MULTILINE))


def test_the_table_of_metrics_is_complete(exposition: str) -> None:
    said = {name: kind for name, kind in families(exposition).items() if name.startswith("drehscheibe_")}
    assert said == {family.name: family.kind for family in FAMILIES}


UNITS = ("_seconds", "_bytes", "_info", "_ready", "_successful", "_resting", "_network")


def misnamed(name: str, kind: str) -> bool:
    """Whether a name breaks the conventions: counters end in _total and nothing else does; base units."""
    if kind == "counter":
        return not name.endswith("_total")
    return name.endswith(("_total", "_days", "_hours", "_minutes", "_ms", "_mb", "_percent")) or not (
        name.endswith(UNITS)
        or name in {"drehscheibe_messages", "drehscheibe_deliveries", "drehscheibe_deliveries_held",
                    "drehscheibe_retention_overdue", "drehscheibe_accepting", "drehscheibe_nodes",
                    "drehscheibe_inlet_files_not_taken", "drehscheibe_dead_letters",
                    "drehscheibe_municipality_parked", "drehscheibe_workers_missing"})


def test_names_and_labels_keep_the_conventions() -> None:
    assert [family.name for family in FAMILIES if misnamed(family.name, family.kind)] == []
    assert {label for family in FAMILIES for label in family.labels} == BOUNDED
    assert all(family.help.endswith(".") for family in FAMILIES)


def test_a_bad_name_is_noticed() -> None:
    assert [misnamed(*pair) for pair in (("x_total", "gauge"), ("x", "counter"), ("x_expiry_days", "gauge"),
                                         ("x_seconds", "gauge"))] == [True, True, True, False]


def metrics_in(expression: str) -> set[str]:
    """The metrics that an expression names."""
    return {re.sub(r"_(bucket|sum|count)$", "", name)
            if name.endswith(("_bucket", "_seconds_sum", "_seconds_count")) else name
            for name in re.findall(r"\b(?:drehscheibe|process|python)_\w+",
                                   expression)} | set(re.findall(r"\bup\b", expression))


def labels_in(expression: str) -> set[str]:
    """The labels that an expression selects or groups by."""
    selected = re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)
    grouped = re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)", expression)
    return set(selected) | {label.strip() for group in grouped for label in group.split(",") if label.strip()}


def expressions() -> dict[str, str]:
    """Every expression of rules and dashboards, by where it stands."""
    found = {f"alert {name}": rule["expr"] for name, rule in ALERTS.items()}
    for file in DASHBOARDS.glob("*.json"):
        for panel in json.loads(file.read_text())["panels"]:
            for target in panel.get("targets", ()):
                found[f"{file.stem}: {panel['title']}: {target['refId']}"] = target["expr"]
        for variable in json.loads(file.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                found[f"{file.stem}: ${variable['name']}"] = variable["query"]["query"]
    return found


def test_every_metric_of_rules_and_dashboards_exists(exposition: str) -> None:
    there = set(families(exposition)) | {"up"}
    asked = expressions()
    assert len(asked) > len(ALERTS) + 20
    assert {place: missing for place, text in asked.items() if (missing := metrics_in(text) - there)} == {}
    assert [place for place, text in asked.items() if not metrics_in(text) and text != "vector(1)"] == []
    used = set().union(*map(metrics_in, asked.values()))
    unused = {family.name for family in FAMILIES} - used
    assert unused == set(), "a metric that neither alerts nor dashboards show: who reads it?"


def test_no_expression_uses_other_labels_than_the_bounded_ones() -> None:
    allowed = BOUNDED | {"job", "instance", "le"}
    assert {place: wrong for place, text in expressions().items()
            if (wrong := labels_in(text) - allowed)} == {}
    assert labels_in('sum by (message, le) (x{email="a", service=~"b"})') - allowed == {"message", "email"}


def test_what_alerts_count_is_there_from_the_start(exposition: str) -> None:
    """Prometheus does not see an increase from nothing to 1."""
    for name, rule in ALERTS.items():
        for metric, selector in re.findall(r"increase\((\w+)(\{[^}]*\})?\[", rule["expr"]):
            found = re.findall(rf"^{metric}\{{[^}}]*\}} 0\.0$", exposition, re.MULTILINE)
            assert found, f"{name}: {metric}{selector} has no series at the start"
    assert 'drehscheibe_transfers_refused_total{inlet="portal",reason="not-allowed"} 0.0' in exposition
    later = 'destination="musterstadt/ablage",event="later",service="hundesteuer"'
    assert f"drehscheibe_delivery_events_total{{{later}}} 0.0" in exposition


def test_the_reference_agrees_with_the_metrics() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "reference" / "generate_metrics.py"))["page"]()
    assert (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8") == made, (
        "python docs/reference/generate_metrics.py")


# --- dashboards ---------------------------------------------------------------------------------------------


def test_the_dashboards_are_what_the_generator_makes() -> None:
    made = runpy.run_path(str(ROOT / "etc" / "grafana" / "generate.py"))["dashboards"]()
    assert {f"{name}.json" for name in made} == {file.name for file in DASHBOARDS.glob("*.json")}
    for name, text in made.items():
        assert (DASHBOARDS / f"{name}.json").read_text(
            encoding="utf-8") == text, "python etc/grafana/generate.py"


@pytest.mark.parametrize("name", ["overview", "municipality", "destination"])
def test_a_dashboard_is_laid_out(name: str) -> None:
    """Every panel has a place of its own within the grid, a title, a unit and, where it shows data, a
    query."""
    board = json.loads((DASHBOARDS / f"{name}.json").read_text())
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        grid = panel["gridPos"]
        cells = {(x, y) for x in range(grid["x"], grid["x"] + grid["w"])
                 for y in range(grid["y"], grid["y"] + grid["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells
        assert panel["title"]
        assert panel["type"] == "row" or panel["targets"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert board["uid"] == f"drehscheibe-{name}"


# --- the real thing -----------------------------------------------------------------------------------------


SFTP_ONLY = """
name = "Stadt Musterstadt"
ags = "14999010"
tenant = "musterstadt"
[destinations.ablage]
connector = "sftp"
host = "127.0.0.1"
port = {port}
user = "{user}"
key = "file:{key}"
host_key = ["{host_key}"]
path = "{files}"
[destinations.test]
connector = "directory"
path = "../var/drop/test"
test = true
[[route]]
service = "hundesteuer"
recipients = [{{ destination = "ablage", send = ["xml"] }}]
test_recipients = [{{ destination = "test", send = ["xml"] }}]
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "hub")
    process.overrides += ['defaults.policy.retry.first="1s"', 'deliver.rest="1s"']
    yield process
    process.close()


@pytest.fixture
def openssh(tmp_path: Path) -> Iterator[OpenSsh]:
    (tmp_path / "ssh").mkdir()
    server = OpenSsh(tmp_path / "ssh")
    yield server
    server.close()


@pytest.fixture
def prometheus(tmp_path: Path, hub: HubProcess) -> Iterator[Prometheus]:
    """The real rules, with their patience shortened to one second."""
    folder = tmp_path / "prometheus"
    folder.mkdir()
    rules = folder / "rules.yml"
    text, count = re.subn(r"^(\s+for:) \w+$", r"\1 1s", RULES.read_text(), flags=re.MULTILINE)
    assert count >= 10
    rules.write_text(text)
    server = Prometheus(folder, hub.status, [rules])
    yield server
    server.close()


def test_a_dead_server_fires_and_its_recovery_resolves(hub: HubProcess, openssh: OpenSsh,
                                                       prometheus: Prometheus) -> None:
    (hub.folder / "etc" / "municipalities" / f"{MUSTERSTADT}.toml").write_text(SFTP_ONLY.format(
        port=openssh.port, user=openssh.user, key=openssh.key, host_key=openssh.host_key,
        files=openssh.files))
    wait_until(lambda: bool(prometheus.firing("DrehscheibeDown")),
               "the alert for a hub that does not run yet")
    hub.start()
    wait_until(lambda: prometheus.value('up{job="drehscheibe"}') == 1, "Prometheus scrapes the hub")
    wait_until(lambda: not prometheus.firing("DrehscheibeDown"), "the alert is over once the hub runs")
    openssh.kill()
    ids = [hub.send(document_of("v2-smallest"), idempotency_key=str(number))["id"] for number in range(3)]
    wait_until(lambda: [labels["destination"] for labels in prometheus.firing("DrehscheibeDestinationDown")]
               == ["musterstadt/ablage"], "the alert for the dead server", 60)
    assert (prometheus.value('drehscheibe_destination_oldest_seconds{destination="musterstadt/ablage"}')
            or 0) > 0
    parked = hub.send(document_of("v2-parked"))["id"]
    assert hub.settled([parked])[0]["state"] == "parked"
    wait_until(lambda: [labels["service"]
                        for labels in prometheus.firing("DrehscheibeMessagesParked")] == ["hundesteuer"],
               "the alert for the parked application")
    openssh.start()
    assert {message["state"] for message in hub.settled(ids, 60)} == {"completed"}
    wait_until(lambda: not prometheus.firing("DrehscheibeDestinationDown"),
               "the alert is over once the server is back", 30)
    hub.cli("discard", parked, "--reason", "nur zum Ausprobieren")
    wait_until(lambda: not prometheus.firing("DrehscheibeMessagesParked"),
               "the alert is over once nothing is parked")
    assert not prometheus.firing("DrehscheibeBalanceBroken")
    assert prometheus.firing("DrehscheibeWatchdog")
    done = 'sum(drehscheibe_delivery_events_total{event="done",destination="musterstadt/ablage"})'
    wait_until(lambda: prometheus.value(done) == 3, "Prometheus has seen all three")


FILLED_IN = (("$__rate_interval", "5m"), ("$__range", "1h"), ("$municipality", "musterstadt"),
             ("$destination", "musterstadt/ablage"))
"""What Grafana puts into an expression before it asks."""


def filled_in(expression: str) -> str:
    """The expression as Grafana sends it."""
    for variable, value in FILLED_IN:
        expression = expression.replace(variable, value)
    assert not re.search(r"\$(?!\d)", expression), expression  # $1 is of label_replace
    return expression


def queries() -> dict[str, tuple[str, str]]:
    """Every query of every panel with its legend, by where it stands."""
    return {f"{file.stem}: {panel['title']}: {target['refId']}":
            (filled_in(target["expr"]), target["legendFormat"])
            for file in DASHBOARDS.glob("*.json") for panel in json.loads(file.read_text())["panels"]
            for target in panel.get("targets", ())}


def without_data(prometheus: Prometheus, asked: dict[str, tuple[str, str]]) -> list[str]:
    """The queries to which the panel would stay empty, or whose legend names a label that the series do not
    have."""
    now = time.time()
    empty = []
    for place, (expression, legend) in asked.items():
        found = prometheus.api("query_range", query=expression, start=str(now - 60), end=str(now),
                               step="5")["result"]
        labels = set(re.findall(r"{{(\w+)}}", legend))
        if not found or any(labels - set(series["metric"]) for series in found):
            empty.append(place)
    return empty


def test_every_panel_shows_data_of_a_real_hub(hub: HubProcess, prometheus: Prometheus) -> None:
    """Grafana itself asks in the same way; only its drawing is not tried here."""
    hub.start()
    ids = [hub.send(document_of(name), idempotency_key=name)["id"] for name in ("v2-smallest", "v2-parked")]
    hub.settled(ids[1:])
    asked = queries()
    assert len(asked) > 40
    deadline = time.monotonic() + 60
    while (empty := without_data(prometheus, asked)) and time.monotonic() < deadline:
        time.sleep(1)
    assert not empty, "\n".join(empty)
    assert without_data(prometheus, {"no metric": ("drehscheibe_no", ""),
                                     "no label": ("drehscheibe_info", "{{nobody}}")}) == [
"no metric", "no label"]
    for file in DASHBOARDS.glob("*.json"):
        for variable in json.loads(file.read_text())["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)",
                                             variable["query"]["query"]).groups()  # type: ignore[union-attr]
                values = prometheus.api(f"label/{label}/values", **{"match[]": metric})
                shown = {found[1] for value in values
                         if (found := re.match(variable["regex"][1:-1] or "(.+)", value))}
                assert shown >= {dict(FILLED_IN)[f"${variable['name']}"]}, variable["name"]
    for text in (*expressions().values(), *(note["expr"] for note in annotations())):
        if not text.startswith("label_values"):
            assert prometheus.api("query", query=filled_in(text))["resultType"] in ("vector", "scalar"), text
    assert {rule["health"] for group in prometheus.api("rules")["groups"]
            for rule in group["rules"]} == {"ok"}


def annotations() -> list[dict[str, Any]]:
    """What the dashboards mark in time."""
    return [note for file in DASHBOARDS.glob("*.json")
            for note in json.loads(file.read_text())["annotations"]["list"]]

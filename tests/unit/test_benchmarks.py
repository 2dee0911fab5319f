"""The benchmarks' own arithmetic, and their page."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from benchmarks import application, figures, page, throughput
from benchmarks.arrivals import Arrivals, TooSlow, number_of
from benchmarks.chain import Chain
from benchmarks.steps import STEPS, Step
from hub.authoring.examples import preview

ROOT = Path(__file__).parents[2]


def test_median_and_spread() -> None:
    assert figures.summary([100.0, 120.0, 90.0]) == {"median": 100.0, "spread": 15,
                                                     "values": [100.0, 120.0, 90.0]}
    assert figures.summary([0.0])["spread"] == 0


def test_a_ratio_is_made_within_a_round() -> None:
    """The machine was twice as fast in the second round: the ratio does not show it."""
    assert figures.ratios([70.0, 140.0, 70.0], [100.0, 200.0, 100.0])["median"] == 0.7
    with pytest.raises(ValueError, match="shorter"):
        figures.ratios([1.0, 2.0], [1.0])


def test_quantiles_in_milliseconds() -> None:
    assert figures.quantiles([number / 1000 for number in range(1, 101)]) == {"p50": 51.0, "p99": 100.0,
                                                                              "max": 100.0}
    with pytest.raises(ValueError, match="no value"):
        figures.quantiles([])


def result(bare: float, *, judged: bool = True) -> dict[str, object]:
    return throughput.result("4 KB", 100, {"chain": [1000.0], "bare": [bare], "hub": [300.0]},
                             {"bare": [0.001], "hub": [0.002]}, {"bare": 1 << 20, "hub": 2 << 20}, [],
                             judged=judged)


def test_a_slow_yardstick_makes_a_run_invalid() -> None:
    assert result(bare=350.0)["invalid"] == []
    assert result(bare=100.0, judged=False)["invalid"] == []
    assert result(bare=349.0)["invalid"] == ["the bare pipeline reached only 0.35 of the lxml chain; 0.35 "
                                             "are needed"]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_each_step_is_a_command_that_knows_its_options(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    """Nothing is measured: only the arguments are read, in full and quick."""
    measured: list[str] = []
    module = importlib.import_module(f"benchmarks.{step.module}")

    def note(*_: object) -> int:
        measured.append(step.name)
        return 0

    monkeypatch.setattr(figures, "run", note)
    monkeypatch.setattr(figures, "show", note)
    if step.module == "chain":
        monkeypatch.setattr(module, "rate", lambda *_: 1.0)
    for arguments in (step.full, step.quick):
        monkeypatch.setattr(sys, "argv", [step.module, *arguments])
        assert module.main() == 0
    assert measured == [step.name] * 2


def test_arrivals_count_names_once_and_hidden_ones_never(tmp_path: Path) -> None:
    with Arrivals(tmp_path) as arrivals:
        for name in ("a-1_x.xml", "a-2.xml"):
            (tmp_path / f".{name}").write_text("")
            (tmp_path / f".{name}").rename(tmp_path / name)
        (tmp_path / "c").write_text("")
        (tmp_path / "c").rename(tmp_path / "a-1_x.xml")
        arrivals.wait(2, 5)
        with pytest.raises(TooSlow, match="2 of 3"):
            arrivals.wait(3, 0.1)
        assert arrivals.twice == 1
        assert {number_of(name) for name in arrivals.seen} == {"a-1", "a-2"}
        assert throughput.wrong(arrivals, ["a-1", "a-3"], "folder") == ["1 twice",
                                                                        "1 missing, 0 twice, 1 foreign"]


@pytest.mark.parametrize("size", application.SIZES)
def test_hub_and_yardstick_translate_the_same(size: str, tmp_path: Path) -> None:
    """One application through the hub's pipeline and through the bare one: the same document comes out."""
    groups, attachment = application.SIZES[size]
    document = application.document("probe-1", groups, min(attachment, 3000))
    rendering, bodies = Chain()(document)
    application.write_mapping(tmp_path / "mappings")
    (tmp_path / "probe.xml").write_bytes(document)
    made = preview(tmp_path / "mappings", application.SERVICE, str(tmp_path / "probe.xml"))
    assert etree.tostring(etree.fromstring(rendering)) == etree.tostring(etree.fromstring(made["antrag.xml"]))
    assert len(bodies) == (1 if attachment else 0)
    if attachment:
        assert bodies[0].startswith(b"%PDF")


def test_the_chain_refuses_what_does_not_fit() -> None:
    wrong = application.document("probe-1").replace(b"<plz>", b"<plz>x")
    with pytest.raises(etree.DocumentInvalid):
        Chain()(wrong)


def test_sizes_are_what_they_are_called() -> None:
    for name, size in application.SIZES.items():
        wanted = {"KB": 1000, "MB": 1_000_000}[name.split()[1]] * int(name.split()[0])
        assert 0.85 < len(application.document("probe-1", *size)) / wanted < 1.15, name


def test_the_bare_pipeline_knows_nothing_of_the_hub() -> None:
    program = "import benchmarks.bare, sys; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True,
                          check=True).stdout
    assert "'benchmarks'" in told
    assert not {"hub", "connectors", "tests"} & set(json.loads(told.replace("'", '"')))


def test_the_page_is_made_from_the_results() -> None:
    assert page.PAGE.read_text(encoding="utf-8") == page.page(page.results()), "make bench ARGS=--page"


def test_a_missed_goal_stands_out() -> None:
    assert page.ratio({"median": 0.69, "spread": 3}, 0.7) == "**0.69 ± 3 %**, goal 0.7"
    assert page.ratio({"median": 0.7, "spread": 3}, 0.7) == "0.70 ± 3 %"


def test_results_name_no_machine() -> None:
    for name, found in page.results().items():
        text = json.dumps(found)
        assert socket.gethostname() not in text or len(socket.gethostname()) < 4, name
        assert str(ROOT) not in text, name


def test_every_step_is_a_command_that_explains_itself() -> None:
    for module in {step.module for step in STEPS}:
        assert (ROOT / "benchmarks" / f"{module}.py").is_file()
    assert sum(step.quick_seconds for step in STEPS if not step.large) < 40 * 60

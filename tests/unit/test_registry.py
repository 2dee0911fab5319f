"""Connectors that other distributions bring are found, and told apart from the hub's own."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from docs.reference import generate_reference
from hub import endpoint, registry
from hub.cli import app
from hub.errors import ConfigError
from hub.i18n.problems_german import german
from hub.operations import checks
from tests.services.distribution import PIGEON, install
from tests.unit.config import kit

ROOT = Path(__file__).parents[2]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed distributions on the path."""
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return tmp_path / "site"


def test_an_installed_connector_is_one_of_all(site: Path) -> None:
    install(site, {"pigeon-one": "pigeon_one"})
    assert "pigeon-one" not in registry.own()
    assert "pigeon-one" in registry.names()
    assert registry.module("pigeon-one").__file__ == str(site / "pigeon_one.py")
    assert registry.has("pigeon-one", "Outlet")
    assert not registry.has("pigeon-one", "Inlet")
    assert endpoint.outlet_class("pigeon-one").kind == "register"
    assert registry.origin(registry.installed()["pigeon-one"]) == "pigeon-post 1.2"


def test_a_destination_check_the_list_and_the_reference_know_it(site: Path, tmp_path: Path) -> None:
    install(site, {"pigeon-two": "pigeon_two"})
    etc = kit.write(tmp_path)
    kit.change(etc / "municipalities/14999010.toml", 'connector = "directory"\npath = "drop"\n',
               'connector = "pigeon-two"\nloft = "roof"\n')
    configuration = kit.load(etc)
    destination = configuration.destination("musterstadt/ablage")
    assert destination is not None
    assert (destination.kind, destination.in_doubt, destination.repeat) == (
        "register", "repeat-marked", "idempotent")
    assert destination.options.model_dump() == {"loft": etc / "roof"}
    found = {where: finding.text for where, finding in checks.check_all(configuration, connect=False)}
    assert found["connector pigeon-two"] == "bringt pigeon-post 1.2 mit"
    tried = dict(checks.check_all(configuration, connect=True, destination="musterstadt/ablage"))
    assert tried["musterstadt/ablage"].remedy == "Einen bauen. Zu fragen: die Taubenzüchterin."
    rows = json.loads(CliRunner().invoke(app.main, ["connector", "list", "--json"]).output)
    assert {row["comes from"] for row in rows if row["name"] == "pigeon-two"} == {"pigeon-post 1.2"}
    assert {row["comes from"] for row in rows if row["name"] in registry.own()} == {"hub"}
    page = generate_reference.pages()["connectors.md"]
    assert "## pigeon-two\n\nBrought by pigeon-post 1.2.\n" in page


def test_it_says_its_faults_in_german(site: Path, tmp_path: Path) -> None:
    install(site, {"pigeon-three": "pigeon_three"})
    etc = kit.write(tmp_path)
    kit.change(etc / "municipalities/14999010.toml", 'connector = "directory"\npath = "drop"\n',
               'connector = "pigeon-three"\nloft = "cellar"\n')
    line = kit.problems(etc)
    assert line.endswith("destinations.ablage.loft: is no loft: take the one on the roof: correct the value")
    assert german(line, endpoint.german(everything=False)).endswith(
        "loft: ist kein Schlag: den auf dem Dach: den Wert berichtigen")


@pytest.mark.parametrize(("name", "fault"), [
    ("smtp", "pigeon-post 1.2 brings 'smtp', which the hub has itself: give it another name there, or "
             "uninstall it"),
    ("Pigeon!", "pigeon-post 1.2 brings 'Pigeon!', which is no connector's name: take a name of small "
                "letters"),
])
def test_a_name_that_is_not_its_own_is_told_with_the_next_step(site: Path, name: str, fault: str) -> None:
    install(site, {name: "pigeon_four"})
    for ask in (registry.names, registry.installed, lambda: registry.module("pigeon-four")):
        with pytest.raises(ConfigError) as raised:
            ask()
        assert fault in str(raised.value)
        said = german(str(raised.value))
        assert " brings " not in said and "uninstall" not in said and "take a name" not in said


def test_a_process_that_uses_only_the_name_is_told_too(site: Path) -> None:
    """At its start, before any destination is built: a configuration may name nothing but that connector."""
    install(site, {"smtp": "pigeon_smtp"})
    ask = "from hub import endpoint; endpoint.options_model('smtp', 'Outlet')"
    asked = subprocess.run([sys.executable, "-P", "-c", ask], cwd=ROOT, check=False, capture_output=True,
                           text=True, env={"PYTHONPATH": f"{ROOT}:{site}", "PATH": ""})
    assert asked.returncode == 1
    assert "which the hub has itself" in asked.stderr


def test_a_command_ends_with_that_line_in_the_callers_language(site: Path, tmp_path: Path) -> None:
    install(site, {"smtp": "pigeon_seven"})
    file = str(kit.write(tmp_path) / "hub.toml")
    for command in (["connector", "list"], ["--config", file, "check"]):
        ended = CliRunner().invoke(app.main, command, env={"DREHSCHEIBE_LANG": "de"})
        assert ended.exit_code == 78, ended.output
        assert "pigeon-post 1.2 bringt 'smtp' mit; den hat die Drehscheibe selbst" in ended.output


def test_two_distributions_with_one_name_are_told(site: Path) -> None:
    install(site, {"pigeon": "pigeon_five"})
    install(site, {"pigeon": "pigeon_six"}, name="other-post", version="3")
    with pytest.raises(ConfigError, match=r"both bring 'pigeon': uninstall one of them") as raised:
        registry.names()
    assert {"pigeon-post 1.2", "other-post 3"} <= set(
        str(raised.value).removeprefix("connector: ").partition(" both")[0].split(" and "))


def test_one_that_cannot_be_loaded_hides_no_other(site: Path, tmp_path: Path) -> None:
    install(site, {"pigeon-broken": "pigeon_broken"}, modules={"pigeon_broken": "import nowhere_at_all\n"})
    with pytest.raises(ConfigError, match=r"of pigeon-post 1.2 cannot be loaded \(ModuleNotFoundError\)"):
        registry.module("pigeon-broken")
    found = dict(checks.check_all(kit.load(kit.write(tmp_path)), connect=False))
    assert found["connector pigeon-broken"].severity == "error"
    assert endpoint.german(everything=True) == {}


def test_a_connector_without_a_kind_is_an_error_at_once(site: Path, tmp_path: Path) -> None:
    """Else its deliveries would be billed as something that they are not."""
    install(site, {"pigeon-bare": "pigeon_bare"},
            modules={"pigeon_bare": PIGEON.replace('    kind = "register"\n', "")})
    install(site, {"pigeon-odd": "pigeon_odd"}, name="odd-post",
            modules={"pigeon_odd": PIGEON.replace('"register"', '"bird"')})
    etc = kit.write(tmp_path)
    assert "connector pigeon-bare" in dict(checks.check_all(kit.load(etc), connect=False))
    kit.change(etc / "municipalities/14999010.toml", 'connector = "directory"\npath = "drop"\n',
               'connector = "pigeon-bare"\nloft = "roof"\n')
    assert kit.problems(etc).splitlines()[0] == (
        f"{etc}/municipalities/14999010.toml: destinations.ablage.connector: 'pigeon-bare' has no kind for "
        "bills: set kind on its class Outlet, one of mail, file, dms, fachverfahren, register, account")
    with pytest.raises(ConfigError, match="'pigeon-odd' has no kind for bills"):
        endpoint.outlet_class("pigeon-odd")


@pytest.mark.parametrize(("source", "fault"), [
    (PIGEON.replace('    repeat = "idempotent"\n', ""), "does not say what a second try does: set repeat"),
    (PIGEON.replace("class Options(", "class Choices(").replace("[Options]", "[Choices]"),
     "has no options: add"),
    ('"""Nothing."""\n', "has no inlet"),
])
def test_what_else_is_missing_is_an_error_at_once(site: Path, tmp_path: Path, source: str,
                                                  fault: str) -> None:
    name = f"pigeon-{len(source)}"
    install(site, {name: name.replace("-", "_")}, modules={name.replace("-", "_"): source})
    finding = dict(checks.check_all(kit.load(kit.write(tmp_path)), connect=False))[f"connector {name}"]
    assert finding.severity == "error"
    assert fault in finding.text


def named(source: str) -> list[str]:
    """The connectors that a module names in its strings; what a docstring tells people does not count."""
    tree = ast.parse(source)
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts = [node.value for node in ast.walk(tree)
             if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told]
    found = []
    for text in texts:
        words = {text, *re.findall(r"""connectors?(?: = |\.|/|: )["']?(\w+)""", text)}
        found += sorted(words & set(registry.own()))
    return found


def test_no_module_of_the_hub_names_a_connector() -> None:
    modules = {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
               for file in (ROOT / "hub").rglob("*.py")}
    assert len(modules) > 100
    assert {name: found for name, source in modules.items() if (found := named(source))} == {}


@pytest.mark.parametrize("planted", [
    'KINDS = {"smtp": "mail"}', "if destination.connector == 'webdav': pass", 'ALL = ("rest", "soap")',
    "text = 'write connector = \"directory\"'", 'place = "defaults.connectors.smtp.port"',
    'import_module("connectors.sftp")'])
def test_a_connectors_name_in_the_hub_is_noticed(planted: str) -> None:
    assert len(named(planted)) >= 1


def test_what_a_docstring_tells_is_no_name() -> None:
    assert named("def one() -> None:\n    \"smtp\"\n") == []


def test_every_outlet_of_ours_says_whom_to_ask() -> None:
    outlets = {name: endpoint.outlet_class(name) for name in registry.own() if registry.has(name, "Outlet")}
    assert len(outlets) > 6
    assert {name for name, outlet in outlets.items() if not outlet.whom} == set()
    assert {name for name, outlet in outlets.items() if outlet.in_doubt == "repeat-marked"} == {"smtp"}
    assert {outlet.onboards for outlet in outlets.values()} == {None, "folder", "mailbox"}

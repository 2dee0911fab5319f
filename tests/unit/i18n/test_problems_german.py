"""Every fault of a file is said in German, too."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from click.testing import CliRunner

from hub.cli import app
from hub.i18n import problems_german
from hub.i18n.problems_german import PIECES, german

ROOT = Path(__file__).parents[3]
READ_BY_OPERATORS = sorted(file for pattern in (
    "hub/cli/*.py", "hub/config/*.py", "hub/files/*.py", "hub/mapping/*.py", "hub/authoring/*.py",
    "hub/pipeline/schema_sets.py", "hub/pipeline/schematron.py", "hub/pipeline/validate.py",
    "hub/pipeline/xslt.py",
    "hub/endpoint.py", "hub/registry.py",
    "hub/administration/billing.py", "hub/administration/prices.py", "hub/operations/checks.py",
    "hub/operations/send.py", "hub/operations/dead_letters.py",
    "hub/operations/status_server.py", "hub/operations/control_socket.py", "hub/operations/verbs.py",
    "hub/operations/operator.py", "connectors/*.py") for file in ROOT.glob(pattern))
INNER = {"no XML", "DOCTYPE"}
"""Told to nobody: another sentence takes their place."""
ENGLISH = re.compile(
    r"\b(the|is|no|write|give|unknown|needs?|must|cannot|use|of|add|choose|or|and|mend|it|be|are|by|two)\b")
KEYS = re.compile(r"\{[^}]*\}|<[^>]*>|\w+_\w+|docs/\S+")
"""Placeholders, keys and pages, which are the same in every language."""


def texts(node: ast.expr) -> list[str]:
    """What an expression can say, with X for what it names."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in product(*map(texts, node.values))]
    if isinstance(node, ast.FormattedValue) and isinstance(node.value, ast.IfExp):
        return texts(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [left + right for left, right in product(texts(node.left), texts(node.right))]
    if isinstance(node, ast.IfExp):
        return texts(node.body) + texts(node.orelse)
    return ["X"]


def faults(source: str) -> Iterator[str]:
    """The sentences of a module that tell an operator what is wrong, or what to do."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            told = node.args[2:4] if name == "ConfigError.at" else node.args[1:3] if (
                name.endswith(".broken")) else node.args[:1] if (
                name in ("ConfigError", "ValueError", "HubError", "Busy")
                or name.endswith("problems.append")) else []
            for argument in told:
                yield from (text for text in texts(argument) if text not in INNER)
        elif isinstance(node,
                        ast.AnnAssign
                        | ast.Assign) and ast.unparse(node).startswith(("_PLAIN", "SHAPES", "_WRONG")):
            yield from (str(item.value) for item in ast.walk(node) if isinstance(item, ast.Constant)
                        and " " in str(item.value))


def left_in_english(source: str) -> list[str]:
    return [text for text in faults(source)
            if ENGLISH.search(KEYS.sub("", german(f"file: {text}").partition(": ")[2]))]


@pytest.mark.parametrize("file", READ_BY_OPERATORS, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_every_fault_has_its_german(file: Path) -> None:
    assert left_in_english(file.read_text(encoding="utf-8")) == []


def test_a_fault_without_german_is_noticed() -> None:
    assert sum(len(list(faults(file.read_text(encoding="utf-8")))) for file in READ_BY_OPERATORS) > 120
    planted = "raise ConfigError.at(file, key, f'the {colour} is too loud', 'paint it over')"
    assert left_in_english(planted) == ["the X is too loud", "paint it over"]


def test_no_german_is_left_over() -> None:
    """Each piece is used by a sentence somewhere (or is pydantic's)."""
    files = [file for folder in ("hub", "connectors") for file in (ROOT / folder).rglob("*.py")]
    sources = "\n".join(file.read_text(encoding="utf-8") for file in files
                        if file != Path(str(problems_german.__file__)))
    sources = re.sub(r"[\"']\s*\n\s*f?[\"']", "", sources.replace('\\"', '"'))
    words = {piece: max(re.split(r"\{[^}]*\}|'", piece), key=len).strip().removesuffix(" for")
             for piece in PIECES}
    assert {piece for piece, word in words.items() if word not in sources
            and not re.match("Input|String|Tuple", piece)} == set()


@pytest.mark.parametrize(("line", "said"), [
    ("a.toml: servces: unknown key: did you mean 'services'?",
     "a.toml: servces: unbekannter Schlüssel: gemeint 'services'?"),
    ("a.toml: retry.first: 'soon' is no duration: write '90s', '5m', '4h' or '14d': correct the value",
     "a.toml: retry.first: 'soon' ist keine Dauer: '90s', '5m', '4h' oder '14d' schreiben: den Wert "
     "berichtigen"),
    ("a.toml: ags: 14999030 belongs to 'probedorf' already: an AGS routes to one municipality; remove it "
     "from one of the files",
     "a.toml: ags: 14999030 gehört schon zu 'probedorf': ein AGS führt zu einer Kommune; aus einer der "
     "Dateien entfernen"),
    ("hub.toml: status.port: Input should be less than or equal to 65535: correct the value",
     "hub.toml: status.port: darf höchstens 65535 sein: den Wert berichtigen"),
    ("✗ inlet portal: /nix/da: cannot be read (No such file): create it, readable for the hub's user → Neu.",
     "✗ inlet portal: /nix/da: nicht lesbar (No such file): für den Benutzer der Drehscheibe lesbar anlegen "
     "→ Neu."),
    ("was keiner kennt", "was keiner kennt"),
])
def test_a_line_is_said_in_german(line: str, said: str) -> None:
    assert german(line) == said


def test_the_command_line_says_faults_in_the_callers_language(tmp_path: Path) -> None:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, tmp_path / name)
    file = tmp_path / "etc/municipalities/14999030.toml"
    file.write_text(file.read_text(encoding="utf-8").replace("services =", "servces ="), encoding="utf-8")
    said = {language: CliRunner().invoke(app.main, ["--config", str(tmp_path / "etc/hub.toml"), "check"],
                                         env={"DREHSCHEIBE_LANG": language}).output
            for language in ("de", "en")}
    assert "servces: unbekannter Schlüssel: gemeint 'services'?" in said["de"]
    assert "servces: unknown key: did you mean 'services'?" in said["en"]

"""The house itself: what the tree, the locks and the imports have to keep, whoever adds a room."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
import pkgutil
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import hub

ROOT = Path(__file__).parents[1]
OURS = ("hub", "connectors", "mappings")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def tracked() -> list[Path]:
    """The files of the repository: git's, or, where it is no clone, all outside of what .gitignore names."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listing = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                                 cwd=ROOT, check=True, capture_output=True, text=True)
        return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]
    ignored = {".git", ".venv", "var", "dist", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache",
               ".hypothesis"}
    return [file for file in ROOT.rglob("*") if file.is_file()
            and not ignored & set(file.relative_to(ROOT).parts)
            and not file.relative_to(ROOT).parts[0].startswith(".venv-")]


# --- dependencies -------------------------------------------------------------------------------------------


def shipping_our_names(files: Iterable[tuple[str, str]]) -> set[str]:
    """Distributions of which a file (distribution, path below site-packages) would shadow a package of
    ours."""
    return {name for name, path in files if re.split(r"[/.]", path, maxsplit=1)[0] in OURS}


def test_no_dependency_ships_a_package_of_our_name() -> None:
    dists = {dist.name: dist for dist in metadata.distributions()}  # each name is read from a file: once
    files = [(name, str(file)) for name, dist in dists.items() for file in dist.files or ()
             if canonicalize_name(name) != "datendrehscheibe"]
    assert len(files) > 1000
    assert shipping_our_names(files) == set()


def test_a_dependency_with_our_name_is_noticed() -> None:
    files = [("good", "good/hub/__init__.py"), ("worse", "hub/__init__.py"), ("bad", "connectors.py")]
    assert shipping_our_names(files) == {"worse", "bad"}


def lock(text: str) -> dict[str, Version]:
    """The pins of a requirements file; each must carry a digest."""
    pins = {}
    for block in re.split(r"\n(?=[a-z0-9])", text.strip()):
        pin = re.match(r"([a-z0-9-]+)==([^ ;]+)", block)
        assert pin, f"no pin: {block.splitlines()[0]}"
        assert "--hash=sha256:" in block, f"{pin[1]} has no digest"
        pins[pin[1]] = Version(pin[2])
    return pins


def unlocked(requirements: Iterable[str], pins: dict[str, Version]) -> list[str]:
    """Requirements that a lock does not meet."""
    wanted = [Requirement(text) for text in requirements]
    return [str(need) for need in wanted
            if (pin := pins.get(canonicalize_name(need.name))) is None or not need.specifier.contains(pin)]


def test_the_locks_agree_with_pyproject() -> None:
    run, dev = (lock((ROOT / name).read_text(encoding="utf-8"))
                for name in ("requirements.txt", "requirements-dev.txt"))
    assert unlocked(PROJECT["project"]["dependencies"], run) == []
    assert unlocked(PROJECT["dependency-groups"]["dev"], dev) == []
    assert {name: dev.get(name)
            for name in run} == run, "tests would run with other versions than the hub: make lock"


def test_a_lock_left_behind_is_noticed() -> None:
    pins = lock("lxml==6.1.0 \\\n    --hash=sha256:00\nrich==15.0 \\\n    --hash=sha256:00")
    assert unlocked(["lxml>=6.1.1", "rich>=15", "paramiko"], pins) == ["lxml>=6.1.1", "paramiko"]
    with pytest.raises(AssertionError, match="rich has no digest"):
        lock("rich==15.0")


def test_every_package_a_test_asks_for_is_installed_by_ci() -> None:
    lines = (ROOT / ".ci/packages.txt").read_text(encoding="utf-8").splitlines()
    installed = {line.split("#")[0].strip() for line in lines}
    sources = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py"))
    asked = set(re.findall(r"""\bneed\(\s*["'][^"']+["'],\s*["']([^"']+)["']\s*\)""", sources))
    assert asked <= installed, "add them to .ci/packages.txt"


# --- imports ------------------------------------------------------------------------------------------------


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    """import-linter with the contracts of pyproject.toml, over the packages below `root`."""
    program = ("import sys; sys.path.insert(0, '.'); "
               "from importlinter.cli import lint_imports_command as run; run()")
    return subprocess.run([sys.executable, "-P", "-c", program, "--no-cache"], cwd=root, check=False,
                          capture_output=True, text=True, env={"PYTHONUTF8": "1"})


def test_imports_run_downward_only() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("module", "line", "contract"), [
    ("hub/errors.py", "import hub.endpoint", "Imports run downward only"),
    ("hub/store/store.py", "from hub import daemon", "Imports run downward only"),
    ("hub/delivery/deliverer.py", "import hub.intake.receiver", "Imports run downward only"),
    ("hub/config/retry.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import hub.store.store",
     "Imports run downward only"),
    ("hub/mapping/model.py", "def late() -> None:\n    import hub.config.sections",
     "Imports run downward only"),
    ("hub/parsing/xml.py", "import hub.telemetry.logs", "Imports run downward only"),
    ("hub/attic.py", "import hub.errors", "Imports run downward only"),
    ("hub/store/database/ledger.py", "import hub.store.transitions.messages",
     "Within the store imports run downward only"),
    ("hub/store/writer.py", "import hub.store.blobs.payload", "Within the store imports run downward only"),
    ("hub/store/blobs/payload.py", "import hub.store.blobs.stored", "No circles, on any floor"),
    ("hub/pipeline/route.py", "def late() -> None:\n    import hub.pipeline.process",
     "No circles, on any floor"),
    ("hub/administration/billing.py", "import hub.pipeline.pdf",
     "Of its floor only authoring reaches the pipeline"),
    ("connectors/pigeon.py", "from hub.mapping.model import load_mapping", "A connector knows the contract"),
    ("connectors/pigeon.py", "import hub.store.store", "A connector knows the contract"),
    ("hub/config/configuration.py", "import connectors.pigeon", "The hub finds a connector by its name only"),
    ("hub/workers/dispatcher.py", "def late() -> None:\n    import hub.pipeline.process",
     "What citizens wrote is parsed in workers"),
    ("hub/intake/receiver.py", "import hub.parsing.xml", "What citizens wrote is parsed in workers"),
])
def test_a_climbing_import_is_noticed(tmp_path: Path, module: str, line: str, contract: str) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("hub", "connectors"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "connectors/pigeon.py").touch()
    with (tmp_path / module).open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr
    assert re.search(re.escape(contract) + r"[^\n]*\n?[^\n]*BROKEN", result.stdout)


def neighbours(source: str) -> list[str]:
    """The other connectors that a connector imports; what begins with an underscore is shared on purpose."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "connectors":
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("connectors."):
            found.append(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            found += [alias.name.split(".")[1] for alias in node.names
                      if alias.name.startswith("connectors.")]
    return [name for name in found if not name.startswith("_")]


def test_no_connector_imports_another() -> None:
    sources = {file.stem: file.read_text(encoding="utf-8") for file in (ROOT / "connectors").glob("*.py")}
    assert {name: found for name, source in sources.items() if (found := neighbours(source))} == {}


def test_a_connector_that_imports_another_is_noticed() -> None:
    source = "from connectors import _drop, sftp\nimport connectors.smtp\nfrom connectors.rest import x"
    assert neighbours(source) == ["sftp", "smtp", "rest"]


# --- the tree -----------------------------------------------------------------------------------------------


def test_a_room_of_its_own_for_everything() -> None:
    for name in ("hub", "connectors", "tests/unit", "tests/integration", "tests/acceptance"):
        assert (ROOT / name).is_dir(), name
    nested = [str(file) for file in (ROOT / "connectors").rglob("*.py") if file.parent != ROOT / "connectors"]
    assert nested == [], "a connector is one file"


MODULES = [file for package in ("hub", "connectors") for file in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(
        ast.parse(module.read_text(encoding="utf-8"))), "a module's docstring is its manual page"


FOREIGN = {
    "the host of a package registry": re.compile(
        r"\b(?:" + "|".join(("pypi" + r"\.org", "python" + r"hosted\.org", "deb" + r"\.debian\.org",
                             "npm" + r"js\.(?:org|com)",
                             r"crates\." + "io")) + r")\b"),
    "a path of one machine": re.compile(r"(?<![\w.~}\"'*])/(?:work|root|home/\w+|tmp/w)/"),
}


def foreign(text: str) -> list[str]:
    """What a text says about the machine on which it was written."""
    return [f"{what}: {found[0]}" for what, pattern in FOREIGN.items() if (found := pattern.search(text))]


def test_no_file_names_a_registry_or_a_machine() -> None:
    findings = {}
    for file in tracked():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if found := foreign(text):
            findings[file.relative_to(ROOT).as_posix()] = found
    assert findings == {}


def test_a_registry_is_noticed() -> None:
    assert foreign("--index-url https://" + "pypi" + ".org/simple") != []
    assert foreign("see " + "/work" + "/main") != []
    assert foreign("the network/work/items of ~/work/ and https://example.org/work/") == []


def test_the_licence_is_complete() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    headings = re.findall(r"^(\d+)\. [A-Z]", text, re.MULTILINE)
    assert headings == [str(number) for number in range(1, 16)]
    assert "EUROPEAN UNION PUBLIC LICENCE v. 1.2" in text
    assert text.rstrip().endswith("additions to this Appendix require the production of a new\nEUPL version.")


def test_one_version_everywhere() -> None:
    newest = re.search(r"^## \[?(\d[\w.]*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
                       re.MULTILINE)
    assert newest is not None
    assert {PROJECT["project"]["version"], hub.__version__, newest[1]} == {hub.__version__}


# --- the tests ----------------------------------------------------------------------------------------------

DOCUMENTED = {"_asdict", "_replace", "_fields", "_make",  # of a named tuple
              "_exit",  # of os
              "_Element", "_ElementTree"}  # of lxml.etree: there is no other name for the type
"""Names with an underscore that a library documents."""

REPLACING = {"setattr", "delattr", "getattr", "hasattr", "object", "patch"}
"""Calls that take a name as a string: of monkeypatch, of `unittest.mock.patch`, and Python's own."""


def is_private(name: str) -> bool:
    """Whether it is nobody's but its module's or class's. A module's file (``connectors/_layout.py``) is a
    room that several share: its underscore says that it is no connector."""
    return (name.startswith("_") and not name.startswith("__") and name not in DOCUMENTED
            and not (ROOT / "connectors" / f"{name}.py").exists())


def inherited(tree: ast.Module) -> Iterable[tuple[ast.ClassDef, set[str]]]:
    """The classes that are made of one of ours, each with the private names that it has from there."""
    origins = {alias.asname or alias.name: f"{node.module}.{alias.name}" for node in ast.walk(tree)
               if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OURS
               for alias in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef):
            continue
        for base in node.bases:
            first, _, rest = ast.unparse(base).partition(".")
            if first in origins and isinstance(found := pkgutil.resolve_name(
                    f"{origins[first]}.{rest}".rstrip(".")), type):
                sources = [inspect.getsource(each) for each in found.__mro__
                           if each.__module__.startswith(OURS)]
                yield node, {name for source in sources
                             for name in re.findall(r"(?:\bself\.|\bdef )(_[a-zA-Z]\w*)", source)}


def private_uses(text: str) -> list[str]:
    """Where a test (or a program that it has as a string) reaches for what is private in hub/ or
    connectors/."""
    tree, found = ast.parse(text), []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and not (
                isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")):
            found.append(f"{node.lineno}: {ast.unparse(node)}")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(OURS):
            found += [f"{node.lineno}: import {alias.name}" for alias in node.names if is_private(alias.name)]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in REPLACING:
            found += [f"{node.lineno}: {argument.value!r}" for argument in node.args
                      if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                      and any(map(is_private, argument.value.split(".")))]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "\n" in node.value and (
                "import " in node.value):
            with contextlib.suppress(SyntaxError):
                found += [f"{node.lineno}, in a program: {each}" for each in private_uses(node.value)]
    for node, names in inherited(tree):
        for each in ast.walk(node):
            name = getattr(each, "attr", None) or getattr(each, "name", None)
            if isinstance(each, ast.Attribute | ast.FunctionDef) and name in names:
                found.append(f"{each.lineno}: {name} of a class of ours")
    return found


SEEN_THROUGH = sorted(set((ROOT / "tests").rglob("*.py")) - {Path(__file__)})  # here the planted ones stand
"""Tests, simulation and torture: none of them reaches for a private name."""


def test_no_test_reaches_for_a_private_name() -> None:
    found = {file.relative_to(ROOT).as_posix(): uses for file in SEEN_THROUGH
             if (uses := private_uses(file.read_text(encoding="utf-8")))}
    assert found == {}, "hand in what the test replaces, or give it a public name"


@pytest.mark.parametrize(("text", "found"), [
    ("store._do(work)", ["1: store._do"]),
    ("from hub.store.writer import _single", ["1: import _single"]),
    ("monkeypatch.setattr(Store, '_now', clock)", ["1: '_now'"]),
    ("monkeypatch.setattr('hub.store.store._always', clock)", ["1: 'hub.store.store._always'"]),
    ("patch.object(deliveries, '_free', free)", ["1: '_free'"]),
    ('PROGRAM = """\nfrom hub.store import writer\nwriter.Writer._take()\n"""',
     ["1, in a program: 3: writer.Writer._take"]),
    ("from hub.store.writer import Writer\nclass Mine(Writer):\n    def _take(self): return self._lock",
     ["3: _take of a class of ours", "3: _lock of a class of ours"]),
    ("from connectors import _layout\nself._own = row._asdict()\n'_x'.strip('_')", []),
])
def test_a_private_name_in_a_test_is_noticed(text: str, found: list[str]) -> None:
    assert private_uses(text) == found


def module_of(test: Path) -> Path | None:
    """The module that a unit test is about, by its place: ``<room>/test_<module>[_<aspect>].py``."""
    place = test.relative_to("tests/unit").parent
    elsewhere = place.parts[:1] in (("connectors",), ("benchmarks",), ("docs",))
    folder = place if elsewhere else Path("hub") / place
    words = test.stem.removeprefix("test_").split("_")
    names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    return next((folder / f"{lead}{name}.py" for name in names for lead in ("", "_")
                 if (ROOT / folder / f"{lead}{name}.py").is_file()), None)


UNIT_TESTS = sorted(file.relative_to(ROOT) for file in (ROOT / "tests/unit").rglob("test_*.py"))


@pytest.mark.parametrize("test", UNIT_TESTS, ids=str)
def test_every_unit_test_lies_at_the_place_of_its_module(test: Path) -> None:
    assert module_of(test) is not None, "name it <room>/test_<module>[_<aspect>].py after a module"


@pytest.mark.parametrize(("test", "module"), [
    ("store/test_writer.py", "hub/store/writer.py"),
    ("store/test_store_kill.py", "hub/store/store.py"),
    ("connectors/test_framing.py", "connectors/_framing.py"),
    ("test_failpoints.py", "hub/failpoints.py"),
    ("store/test_deliverer.py", None),
    ("delivery/test_pigeon.py", None),
    ("test_writer.py", None),
])
def test_a_test_in_another_room_is_noticed(test: str, module: str | None) -> None:
    assert module_of(Path("tests/unit") / test) == (module and Path(module))


# --- words --------------------------------------------------------------------------------------------------

OLD_WORDS = frozenset({
    "desk", "desks", "crew", "crews", "mend", "mends", "mended", "mending", "revive", "revives", "revived",
    "shred", "shredder", "apart", "turns", "errand", "errands", "town", "towns"})
"""Private metaphors of earlier versions. The trade's words took their places (docs/glossary.md)."""


def old_words(name: str) -> list[str]:
    """The old words in a name, which is split at underscores and at case. A town hall is a Rathaus."""
    pieces = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", re.sub(r"(?i)town[ _]?halls?", "", name))
    return sorted({piece.lower() for piece in pieces} & OLD_WORDS)


def names_in_code(text: str) -> list[str]:
    """The identifiers of a module, and its loggers' names."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return ([token.string for token in tokens if token.type == tokenize.NAME]
            + re.findall(r"""get_?[lL]ogger\(\s*["']([^"']+)["']""", text))


def names_on_page(text: str) -> list[str]:
    """The headings and the code spans of a page. A span with a blank quotes a sentence or a command."""
    return re.findall(r"^#+ (.+)$", text, re.MULTILINE) + re.findall(r"`([^`\s]+)`", text)


def names_of(file: Path) -> list[str]:
    """The names that a file has: its own, and those that it gives or shows."""
    own = [file.relative_to(ROOT).as_posix()]
    if file.suffix == ".py":
        return own + names_in_code(file.read_text(encoding="utf-8"))
    return own + (names_on_page(file.read_text(encoding="utf-8")) if file.suffix == ".md" else [])


def test_no_name_is_an_old_word() -> None:
    found = {file.relative_to(ROOT).as_posix(): sorted(names) for file in tracked()
             if (names := {name for name in names_of(file) if old_words(name)})}
    assert found == {}, "use the trade's word: docs/glossary.md"


def test_an_old_word_is_noticed() -> None:
    code = 'class CrewTurns:\n    def revive_all(self, town): ...  # a desk\nlog = get_'
    code += 'logger("hub.desk")\n'
    page = "# The town and its town hall\n`hub/errand.py` `mend its rights` to mend ```x```\n## Town halls\n"
    assert [name for name in names_in_code(code) if old_words(name)] == ["CrewTurns", "revive_all", "town",
                                                                         "hub.desk"]
    assert [name for name in names_on_page(page) if old_words(name)] == ["The town and its town hall",
                                                                         "hub/errand.py"]
    assert old_words("tests/unit/test_shredder.py") == ["shredder"]
    assert old_words("TOWNS") == ["towns"]
    assert old_words("return_to_town_hall TownHall turn amendment") == []

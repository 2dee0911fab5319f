"""The pages: links resolve, and what they name is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from hub.cli.app import main
from tests.test_house import ROOT, tracked

PAGES = [file for file in tracked() if file.suffix == ".md"]
NAMING = [ROOT / "CONTRIBUTING.md", ROOT / "docs/where-does-it-go.md", ROOT / "docs/patterns.md",
          *sorted((ROOT / "docs/decisions").glob("*.md"))]
"""The pages that tell where things are."""

LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
SPAN = re.compile(r"`([^`]+)`")
FOLDERS = ("hub", "connectors", "mappings", "etc", "docs", "tests", "benchmarks", "systemd", ".ci")
PLACED = re.compile(r"((?:`[^`]+`(?:,\s|\sand\s)?)+)\sin\s`([^`]+)`")


def prose(text: str) -> str:
    """A page without its blocks of code."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """The headings of a page, as links write them."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """The relative links of a page that lead nowhere, to a file or to a heading."""
    broken = []
    for link in LINK.findall(re.sub(SPAN, "", prose(text))):
        target, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target) if target else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(
                text if file == page else file.read_text(encoding="utf-8"))):
            broken.append(link)
    return broken


def paths(text: str) -> list[str]:
    """What a page names in backticks below the folders of the repository."""
    return [span for span in SPAN.findall(prose(text))
            if span.split("/")[0] in FOLDERS and "/" in span and not re.search(r"\s", span)]


def found(path: str) -> list[Path]:
    """What a path stands for: ``<…>`` is anything, and ``<protocol>`` any connector."""
    return list(ROOT.glob(re.sub(r"<[^<>/]+>", "*", path).rstrip("/")))


def lost_paths(text: str) -> list[str]:
    """The paths of a page that stand for nothing."""
    return [path for path in paths(text) if not found(path)]


def lost_names(text: str) -> list[str]:
    """Of "`name` in `path`": the names that are not in that file, or in none of that folder."""
    lost = []
    for names, path in PLACED.findall(prose(text)):
        if path.split("/")[0] not in (*FOLDERS, "pyproject.toml"):
            continue
        sources = "\n".join(_sources(path))
        lost += [f"{name} in {path}" for name in SPAN.findall(names)
                 if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", sources)]
    return lost


def _sources(path: str) -> Iterator[str]:
    for place in found(path):
        for file in place.rglob("*.py") if place.is_dir() else [place]:
            yield file.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_resolves(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# A heading: of words\n```\n# a comment\n```\n", encoding="utf-8")
    good = "[a](other.md) [b](other.md#a-heading-of-words) [c](https://example.org/x) [d](#here)\n## Here\n"
    bad = "[e](gone.md) [f](other.md#a-comment) [g](#there)\n"
    page = tmp_path / "page.md"
    page.write_text(good + bad + "`[h](code)`\n```\n[i](block)\n```\n", encoding="utf-8")
    assert broken_links(page, page.read_text(encoding="utf-8")) == ["gone.md", "other.md#a-comment", "#there"]


@pytest.mark.parametrize("page", NAMING, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_path_and_name_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert lost_paths(text) == []
    assert lost_names(text) == []


def test_the_pages_name_enough_to_be_held() -> None:
    rows = (ROOT / "docs/where-does-it-go.md").read_text(encoding="utf-8")
    patterns = (ROOT / "docs/patterns.md").read_text(encoding="utf-8")
    assert len(re.findall(r"^\| \*\*", rows, re.MULTILINE)) >= 25
    assert len(paths(rows)) > 80
    assert len(PLACED.findall(patterns)) > 20


def test_a_lost_path_or_name_is_noticed() -> None:
    text = ("`hub/errors.py` `hub/<any>/__init__.py` `hub/gone.py` `mappings/<service>/gone.toml` "
            "`make check` `a/b`")
    assert lost_paths(text) == ["hub/gone.py", "mappings/<service>/gone.toml"]
    text = "`HubError`, `Vanished` in `hub/errors.py`; `Writer` in\n`hub/store/`; `Gone` in `hub/store/`"
    assert lost_names(text) == ["Vanished in hub/errors.py", "Gone in hub/store/"]


def test_each_decision_is_in_both_lists_and_short() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("0*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for index, folder in (("docs/decisions/README.md", ""), ("docs/architecture.md", "decisions/")):
        linked = LINK.findall((ROOT / index).read_text(encoding="utf-8"))
        assert [page.name for page in pages if f"{folder}{page.name}" not in linked] == [], index
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 60, page.name
        assert "\n## Decide anew when\n" in text, page.name


def test_the_first_change_can_still_be_made() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    changes = re.findall(r"^sed -i 's/([^/]+)/([^/]+)/' (\S+)$", guide, re.MULTILINE)
    assert len(changes) == 1
    for old, new, file in changes:
        text = (ROOT / file).read_text(encoding="utf-8")
        assert (text.count(old), text.count(new)) == (1, 0), f"choose another first change in {file}"
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z]+)", guide)) <= targets


def drawn_rooms() -> set[str]:
    """The packages in the tree that docs/architecture.md draws."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    tree = page.split("## Rooms", 1)[1].split("```")[1]
    return set(re.findall(r"^ {2,4}(\w+)/ ", tree, re.MULTILINE))


def test_the_drawn_tree_names_every_room() -> None:
    rooms = {file.parent.name for file in (ROOT / "hub").glob("**/__init__.py")}
    rooms -= {"hub", "migrations", "versions"}
    assert drawn_rooms() == rooms


def test_a_room_says_in_one_sentence_what_it_is() -> None:
    for file in (ROOT / "hub").glob("**/__init__.py"):
        text = file.read_text(encoding="utf-8").partition("__version__")[0]
        assert re.fullmatch(r'"""[A-Z][^"]+[.]"""\s*', text), file


def test_the_roof_keeps_few_modules() -> None:
    own = {file.stem for file in (ROOT / "hub").glob("*.py")} - {"__init__", "__main__"}
    assert own == {"errors", "message", "registry", "endpoint", "job", "daemon", "failpoints", "names"}


def lost_modules(text: str) -> list[str]:
    """The dotted names below `hub` in backticks that name no module, and nothing in one."""
    return [name for name in re.findall(r"`(hub(?:\.\w+)+)`", text)
            if not name.endswith((".toml", ".pem")) and not _is_there(name)]


def _is_there(name: str) -> bool:
    place, names = ROOT, name.split(".")
    while names and (place / names[0]).is_dir():
        place /= names.pop(0)
    module = place / (f"{names.pop(0)}.py" if names and (place / f"{names[0]}.py").exists()
                      else "__init__.py")
    source = module.read_text(encoding="utf-8") if module.exists() else ""
    return module.exists() and all(re.search(rf"\b{each}\b", source) for each in names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_module_on_a_page_is_there(page: Path) -> None:
    assert lost_modules(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("package", ["hub", "connectors", "benchmarks", "etc", "tests"])
def test_every_module_that_the_code_names_in_backticks_is_there(package: str) -> None:
    files = [file for file in tracked() if file.relative_to(ROOT).parts[0] == package
             and file.suffix in {".py", ".toml", ".yml", ".json"} and file != Path(__file__)]
    lost = {file.relative_to(ROOT).as_posix(): names for file in files
            if (names := lost_modules(file.read_text(encoding="utf-8")))}
    assert lost == {}


def test_each_log_is_named_after_its_module() -> None:
    wrong = {}
    for file in (ROOT / "hub").rglob("*.py"):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        names = re.findall(r"""get_logger\(["']([^"']+)["']\)""", file.read_text(encoding="utf-8"))
        if set(names) - {module}:
            wrong[module] = names
    assert wrong == {}


def test_a_lost_module_is_noticed() -> None:
    text = "`hub.store.store.Store` `hub.errors` `hub.gone` `hub.store.store.Vanished` `hub.toml` hub.other"
    assert lost_modules(text) == ["hub.gone", "hub.store.store.Vanished"]


COMMANDS = re.compile(r"(?:^\$ |^|[|(] ?|-r |-- )drehscheibe ([a-z][^|)\n]*)", re.MULTILINE)
SEARCHES = re.compile(r"journalctl -u drehscheibe [^\n]*-g (?:'([^']+)'|(\S+))")
FIELDS = re.compile(r"LOGGER=(hub[\w.]+)")


def unknown_words(text: str) -> list[str]:
    """Of the page's commands: what is no command, and options that the command does not have."""
    unknown = []
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```", text.replace("\\\n", " "),
                            re.MULTILINE | re.DOTALL):
        for line in COMMANDS.findall(block):
            command: click.Command | None = main
            words = re.split(r"\s+#|  ", line)[0].split()
            while isinstance(command, click.Group) and words and not words[0].startswith("-"):
                command = command.commands.get(words.pop(0))
            options = {each for option in command.params for each in option.opts} if command else set()
            options |= {"--help"}
            unknown += [f"{line}: {word}" for word in words
                        if word.startswith("--") and word not in options] if command else [line]
    return unknown


def never_found(text: str) -> list[str]:
    """What the page looks for in the journal and the hub never writes."""
    written = re.sub(r'"\s*\n\s*f?"', "", "\n".join(
        file.read_text(encoding="utf-8") for folder in ("hub", "connectors")
        for file in (ROOT / folder).rglob("*.py")))
    searched = ["".join(found) for found in SEARCHES.findall(text)]
    return [words for words in searched if words not in written] + [
        name for name in FIELDS.findall(text) if f'get_logger("{name}")' not in written]


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name in ("runbooks", "docs")],
                         ids=lambda page: page.relative_to(ROOT).as_posix())
def test_what_a_page_tells_to_type_is_understood_and_finds_something(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert unknown_words(text) == []
    assert never_found(text) == []


def test_a_command_that_is_not_understood_is_noticed() -> None:
    text = ("```console\n$ drehscheibe messages --state parked --every | xargs -r drehscheibe replya\n"
            "$ drehscheibe mapping test x --update    # --not an option\n```\n")
    assert unknown_words(text) == ["messages --state parked --every : --every", "replya"]
    text = "journalctl -u drehscheibe -g hub.gone\njournalctl -u drehscheibe -g 'never said' LOGGER=hub.gone"
    assert never_found(text) == ["hub.gone", "never said", "hub.gone"]


NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def lost_tests(text: str) -> list[str]:
    """The tests that a page names and that are not there."""
    return [f"{path}::{name}" for path, name in NAMED_TEST.findall(text)
            if not (ROOT / path).is_file()
            or not re.search(rf"^ *def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)]


def test_every_fault_has_a_test_that_is_there() -> None:
    text = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| fault",
                                                                                                "| ---"))]
    assert rows
    assert [row for row in rows if not NAMED_TEST.search(row)] == []
    assert lost_tests(text) == []


def test_a_test_that_is_gone_is_noticed() -> None:
    assert lost_tests("`tests/test_docs.py::test_gone` `tests/test_gone.py::test_gone`") == [
        "tests/test_docs.py::test_gone", "tests/test_gone.py::test_gone"]


def test_no_file_has_the_marks_of_a_merge() -> None:
    marks = re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE)
    assert [file for file in PAGES if marks.search(file.read_text(encoding="utf-8"))] == []

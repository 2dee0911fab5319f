"""Sentences take fixed words and typed pieces only, and the hub's code makes them of nothing else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path

import pytest

from hub.i18n.sentence import LONGEST, Address, Name, Sentence, Shape, Version, Words, lines, place, say
from hub.job import Facts, Parked
from hub.workers.answers import in_german

HUB = Path(__file__).parents[3] / "hub"
MAKERS = ("say", "place")
OURS = ("Name", "Words")

NAMED: dict[str, set[str]] = {
    "hub/config/rules.py": {"municipality.file.name", "municipality.row.ags", "municipality.row.name",
        "str(_relative(configuration.settings.hub.municipalities, configuration))",
        "suggest(message.service, configuration.mappings, german=True)",
        "suggest(message.service, municipality.routes, german=True)"},
    "hub/mapping/by_rule.py": {"span", "word"},
    "hub/parsing/charset.py": {"inside", "name or 'unbekannt'"},  # of Python's character sets
    "hub/pipeline/documents.py": {"name"},
    "hub/pipeline/envelope.py": {"name", "role"},
    "hub/pipeline/mapping_faults.py": {"german(_at_home(problem, homes))"},
    "hub/pipeline/pdf.py": {"APT_LINE", "stylesheet"},
    "hub/pipeline/places.py": {"_local(root)", "field[0]", "known.label", "name", "row.id", "row.title",
        "what"},
    "hub/pipeline/review.py": {"line"},  # of the review of a mapping: there is no message
    "hub/pipeline/route.py": {"known", "rule.id"},
    "hub/pipeline/schematron.py": {"rule.name", "self._file.name", "text"},
    "hub/pipeline/schema_faults.py": {"attribute[1]", "name", "name or ''"},
    "hub/pipeline/stylesheet_faults.py": {"code[1]", "elements[0]", "found.text", "path"},
    "hub/pipeline/translate.py": {"_shown(renderer, href)", "each", "file", "name",
        "renderer.rule.service", "renderer.version.name",
        "rendering.encoding", "rendering.file"},
    "hub/pipeline/validate.py": {"file.name", "wanted.set", "wanted.version"},
    "hub/pipeline/value_faults.py": {"bound", "value[:60]"},
    "hub/workers/dispatcher.py": {"text"},
    "hub/workers/process.py": {"error", "file.name", "place[0] if place else '?'",
        "signal.Signals(end.si_status).name"},
}
"""Each text that the hub calls a name or words of its own. Before you add one: who wrote it?"""

CALLED: dict[str, set[str]] = {
    "hub/job.py": {"Sentence.heard"},
}
"""Where a sentence is made of a text without `say`."""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """The name of each function that is called, with its call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def free_words(tree: ast.AST) -> list[int]:
    """Lines where the words of a sentence are no literal."""
    return [call.lineno for name, call in calls(tree) if name in MAKERS and not (
        call.args and isinstance(call.args[0], ast.Constant) and isinstance(call.args[0].value, str))]


def made_of(tree: ast.AST, makers: Iterable[str]) -> set[str]:
    """The arguments of which names and words are made, as they stand in the code; literals apart."""
    return {ast.unparse(call.args[0]) for name, call in calls(tree) if name in makers
            and not isinstance(call.args[0], ast.Constant)}


def trees() -> Iterator[tuple[str, ast.AST]]:
    for file in sorted(HUB.rglob("*.py")):
        name = file.relative_to(HUB.parent).as_posix()
        text = file.read_text(encoding="utf-8")
        if "hub.i18n.sentence" in text:
            yield name, ast.parse(text)


def test_the_words_of_each_sentence_stand_in_the_code() -> None:
    found = {name: lines_ for name, tree in trees() if (lines_ := free_words(tree))}
    assert found == {}


def test_whatever_is_called_a_name_of_ours_was_looked_at() -> None:
    found = {name: made for name, tree in trees() if (made := made_of(tree, OURS))}
    assert found == NAMED


def test_no_sentence_is_made_of_a_text_elsewhere() -> None:
    found = {name: {called for called, _ in calls(tree) if called in ("Sentence", "Place", "Sentence.heard")}
             for name, tree in trees()}
    assert {name: called for name, called in found.items() if called} == CALLED


def test_free_words_and_names_are_noticed() -> None:
    tree = ast.parse('say(f"{value} ist falsch")\nplace(value)\nsay("{x}", x=Name(field.text))\nsay("gut")')
    assert free_words(tree) == [1, 2]
    assert made_of(tree, OURS) == {"field.text"}


def test_pieces_are_put_into_the_words() -> None:
    sentence = say("{where}: {count} von {most}, {day}, {version}, {shape}, {address}", where=place("hier"),
                   count=1, most=Name("zehn"), day=date(2026, 11, 22), version=Version("1.10"),
                   shape=Shape("Erika"), address=Address("14999010"))
    assert sentence == "hier: 1 von zehn, 2026-11-22, 1.10, Text mit 5 Zeichen, '14999010'"
    assert lines([say("a"), say("{b}", b=Words("{b}"))]) == "a\n{b}"


@pytest.mark.parametrize("piece", ["Erika", b"Erika", None, ["Erika"], 1.5])
def test_a_free_text_is_no_piece(piece: object) -> None:
    with pytest.raises(TypeError, match="no room"):
        say("{piece}", piece=piece)  # type: ignore[arg-type]


def test_what_a_piece_may_be_is_bounded() -> None:
    assert Version("Erika") == Version("1.2.3.4.5") == Version(None) == "(unbekannt)"
    assert Version("１") == "(unbekannt)"  # a digit, but not one of ASCII
    assert (Shape(""), Shape("12,5"), Shape("a b")) == ("leer", "Zahl mit 4 Zeichen", "Text mit 3 Zeichen")
    assert Address("x\x1b[2J\ny" + "z" * 99).startswith("'x?[2J yzz")
    assert len(Address("z" * 99)) == 64
    assert len(Name("n" * 999)) == 202
    assert len(say("{a}{b}{c}", a=Words("x" * 2000), b=Words("x" * 2000), c=Words("x" * 2000))) == LONGEST


def test_a_reason_is_a_sentence_or_comes_from_another_process() -> None:
    parked = Parked(message_id="m", facts=Facts(), reason="invalid", text=say("falsch"), trace=(say("x"),))
    heard = Parked.model_validate_json(parked.model_dump_json())
    assert heard == parked
    assert isinstance(heard.text, Sentence)
    assert isinstance(heard.trace[0], Sentence)
    with pytest.raises(ValueError, match="no sentence"):
        Parked(message_id="m", facts=Facts(), reason="invalid", text="falsch")  # type: ignore[arg-type]
    assert Sentence.heard("a\x1b[2J\nb") == "a?[2J\nb"


ENGLISH = re.compile(
    r"\b(the|is|no|not|write|give|unknown|must|cannot|of|add|or|and|it|are|by|with|has|which)\b")
LOGGED = {"hub/workers/answers.py", "hub/workers/process.py"}
"""What is wrong with a worker's answer: for whoever mends the hub; it stands in the log, too."""


def english(tree: ast.AST) -> list[str]:
    """Words of sentences, and of a damaged body or row, that are no German."""
    return [piece.value for name, call in calls(tree) if name in (*MAKERS, "Damaged")
            for piece in ast.walk(call.args[0] if call.args else call)
            if isinstance(piece, ast.Constant) and isinstance(piece.value, str)
            and ENGLISH.search(re.sub(r"'[^']*'|\{[^}]*\}|\b(?:so|was) \w+|\bes\b", "", piece.value))]


def test_every_reason_is_german() -> None:
    trees_ = [(file.relative_to(HUB.parent).as_posix(), ast.parse(file.read_text(encoding="utf-8")))
              for file in sorted(HUB.rglob("*.py"))]
    assert {name: found for name, tree in trees_ if name not in LOGGED and (found := english(tree))} == {}


def test_what_is_wrong_with_a_workers_answer_is_german_in_a_reason() -> None:
    said = [text for name in LOGGED
            for text in english(ast.parse((HUB.parent / name).read_text(encoding="utf-8")))]
    assert len(said) > 10
    assert [text for text in said if in_german(Sentence(text)) == text] == []


def test_a_reason_in_english_is_noticed() -> None:
    planted = ast.parse('say("das Feld {name} is missing")\nDamaged(f"blob {x}: it is gone")')
    assert english(planted) == ["das Feld {name} is missing", ": it is gone"]

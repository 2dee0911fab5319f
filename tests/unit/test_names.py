"""Names of files: what arrives at a municipality is called harmlessly, uniquely and readably."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.names import (
    NAME_LIMIT,
    ORIGINAL_LIMIT,
    latin,
    safe_name,
    shown_name,
    unique_names,
    upload_name,
    with_ending,
)

TEXTS = st.text(max_size=300) | st.text(
    st.sampled_from("aAÄßŁДя合 ._-/\\:\u0308\u202e\u00a0(1)%"), max_size=100)
WITH_ENDING = st.builds("{}.{}".format,
                        TEXTS.filter(lambda text: not text.endswith("/") and text.strip("._- /\\")),
                        st.sampled_from(["pdf", "docx", "JPG", "jpeg", "p7m"]))
UNTIL_NOW = st.text(st.characters(max_codepoint=0x7f) | st.sampled_from("äöüÄÖÜßẞ–€„“…§ "), max_size=200)
LISTS = st.lists(TEXTS | st.sampled_from(["antrag.pdf", "Antrag.PDF", "antrag-2.pdf", "con.pdf", "CON.tar.gz",
                                          f"{'x' * 90}.pdf", "x" * 90]), max_size=12)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss",
                          "ẞ": "SS"})


def name_before(text: str, limit: int = 80) -> str:
    """How names were made until now, word by word: what municipalities import is called so."""
    text = text.replace("\\", "/").rsplit("/", 1)[-1].translate(_UMLAUTS)
    clean = re.sub(r"[^A-Za-z0-9._-]", "_", text).strip("._- ")
    stem, dot, extension = clean.rpartition(".")
    if not dot or len(extension) > 10:
        stem, extension = clean, ""
    stem = stem[: max(1, limit - len(extension) - 1)].rstrip("._- ") or "datei"
    if stem.lower() in {"con", "prn", "aux", "nul",
                        *(f"{d}{n}" for d in ("com", "lpt") for n in "123456789")}:
        stem = f"_{stem}"
    return f"{stem}.{extension}" if extension else stem


@pytest.mark.parametrize(("sent", "name"), [
    ("Łukasz.pdf", "Lukasz.pdf"),
    ("Договор.docx", "Dogovor.docx"),
    ("Αίτηση.pdf", "Aitisi.pdf"),
    ("Gebu\u0308hrenbescheid Mu\u0308ller.pdf", "Gebuehrenbescheid_Mueller.pdf"),
    ("Größenordnung ÄÖÜ ẞ.pdf", "Groessenordnung_AeOeUe_SS.pdf"),
    ("Ångström, Æsir & Øre.png", "Aangstroem__Aesir___Oere.png"),
    ("合同.pdf", "HeTong.pdf"),
    ("Foto\u00a0vom\u202f20.11.jpg", "Foto_vom_20.11.jpg"),
    ("Vertrag…", "Vertrag"),
    ("½ Miete.pdf", "1_2_Miete.pdf"),
    ("foto\u202egpj.exe", "foto_gpj.exe"), ("Jänner–März (5 €).pdf", "Jaenner_Maerz__5.pdf"),
    ("???.docx", "datei.docx"),
    ("\u200b.pdf", "datei.pdf"), ("\ue000\ue001.PDF", "datei.PDF"),
    (".htaccess", "htaccess"),
    ("../../etc/passwd", "passwd"),
    ("C:\\Eigene Dateien\\Ausweis.pdf", "Ausweis.pdf"),
    ("CON.pdf", "_CON.pdf"), ("nul", "_nul"), ("Aux.tar.gz", "_Aux.tar.gz"), ("COM¹.txt", "_COM1.txt"),
    ("Bescheid.pdf. ", "Bescheid.pdf"),
    ("", "datei"), ("…", "datei"), ("/", "datei"),
    (f"{'Ж' * 90}.docx", f"{'Zh' * 37}Z.docx"),
    (f"{'lang ' * 40}.pdf", f"{'lang_' * 15}l.pdf"),
])
def test_a_citizens_name_is_readable_and_keeps_its_ending(sent: str, name: str) -> None:
    assert upload_name(sent) == name


@pytest.mark.parametrize(("letters", "mapped"), [
    ("ÄÖÜäöüẞß", "AeOeUeaeoeueSSss"), ("ÅåÆæØøŒœÞþÐð", "AaaaAeaeOeoeOeoeThthDd"), ("ĳĲ", "ijIJ"),
    ("ŁłĐđĦħŦŧıİ", "LlDdHhTtiI"), ("ĸŉŊŋƷʒǮǯ", "knNnZzZz"), ("ǕǖǗǘǙǚǛǜǞǟȪȫ", "UeueUeueUeueUeueAeaeOeoe"),
    ("ǺǻǾǿ", "AaaaOeoe"), ("Ạ̈ạ̈Ọ̈ọ̈Ụ̈ụ̈", "AeaeOeoeUeue"), ("ČčŠšŽžŐőŰűȘșȚț", "CcSsZzOoUuSsTt"),
])
def test_latin_letters_follow_din_91379(letters: str, mapped: str) -> None:
    """Its mapping to basic letters, here with small letters, too."""
    assert latin(letters) == mapped
    assert latin(unicodedata.normalize("NFD", letters)) == mapped


@given(UNTIL_NOW)
def test_a_name_that_could_be_read_stays_as_it_was(text: str) -> None:
    """With German letters and signs. Except where its ending was lost, and but for devices of Windows with a
    second ending."""
    before = name_before(text)
    if "." in before or "." not in text.strip("._- "):
        assert upload_name(text) == upload_name(before)
        assert safe_name(text).removeprefix("_") == before.removeprefix("_")


@given(st.text(st.sampled_from("abcXYZ019._-"), min_size=1, max_size=60))
def test_a_harmless_name_is_not_touched(text: str) -> None:
    if text == name_before(text) and text.partition(".")[0].lower() != "con":
        assert upload_name(text) == safe_name(text) == unique_names([text])[0] == text


@given(TEXTS)
def test_names_are_harmless_everywhere(text: str) -> None:
    for name in (upload_name(text), safe_name(text), *unique_names([text])):
        assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", name)
        assert len(name) <= NAME_LIMIT + 1  # "_" before a device
        assert name[-1] not in "._-"
        assert name.partition(".")[0].lower() not in ("con", "prn", "aux", "nul", "com1", "lpt9")


@given(WITH_ENDING)
def test_an_ending_is_kept(text: str) -> None:
    assert upload_name(text).rpartition(".")[2] == text.rpartition(".")[2]


@given(TEXTS)
def test_both_forms_of_a_letter_give_one_name(text: str) -> None:
    assert upload_name(unicodedata.normalize("NFD", text)) == upload_name(unicodedata.normalize("NFC", text))


@given(LISTS, st.data())
def test_names_are_unique_without_case_and_stay_in_any_part_of_the_list(texts: list[str],
                                                                        data: st.DataObject) -> None:
    names = unique_names([upload_name(text) for text in texts])
    assert len({name.lower() for name in names}) == len(texts)
    assert all(len(name) <= NAME_LIMIT + 1 for name in names)
    some = [name for name in names if data.draw(st.booleans())]
    assert unique_names(some) == some == [safe_name(name) for name in some]


@given(LISTS, LISTS)
def test_a_taken_name_is_given_to_nobody(texts: list[str], others: list[str]) -> None:
    taken = unique_names(others)
    names = unique_names(texts, taken)
    assert not {name.lower() for name in names} & {name.lower() for name in taken}


def test_a_number_stands_before_the_ending_within_the_limit() -> None:
    long = f"{'x' * 90}.pdf"
    assert unique_names(["a.pdf", "A.pdf", "a.PDF"]) == ["a.pdf", "A-2.pdf", "a-3.PDF"]
    assert unique_names([long, long]) == [f"{'x' * 76}.pdf", f"{'x' * 74}-2.pdf"]


@given(TEXTS, st.sampled_from(["application/pdf", "image/png", "text/plain; charset=utf-8", "x/y"]))
def test_a_name_without_an_ending_gets_the_usual_one(text: str, media_type: str) -> None:
    name = with_ending(upload_name(text), media_type)
    assert name == safe_name(name)
    assert ("." in name) or media_type == "x/y"


@pytest.mark.parametrize(("sent", "shown"), [
    ("Mu\u0308ller.pdf", "Müller.pdf"), ("foto\u202egpj.exe", "fotogpj.exe"), ("a\x07b\u200b.pdf", "ab.pdf"),
    (f"{'ä' * 300}.pdf", f"{'ä' * 251}.pdf"), ("\u2066\u2069", "datei"), ("a" * 300, "a" * 255),
])
def test_what_the_citizen_called_it_is_shown_without_disguise(sent: str, shown: str) -> None:
    assert shown_name(sent) == shown
    assert len(shown) <= ORIGINAL_LIMIT

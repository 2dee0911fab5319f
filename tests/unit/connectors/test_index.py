"""What a clerk and a program read in a folder's index, and what stays as it was without one."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from connectors import directory
from connectors._index import INDEX, index_of
from connectors._layout import plan
from connectors._mail import subject
from hub.endpoint import Absent, Done
from hub.message import Delivery, safe_name
from tests.integration.contract import Effect, make_delivery

SHORT = "01936d2e-0001"
KNOWN = {"short": SHORT, "version": "v1", "day": "20261121", "service": "hundesteuer"}


def delivery(**changes: object) -> Delivery:
    made = make_delivery(subject=f"Anmeldung zur Hundesteuer [{SHORT}]", manifest={"name_parts": KNOWN},
                         case="HS 4711\nX", **changes)
    parts = made.manifest.parts
    called = (*parts[:-1], replace(parts[-1], name="Impfpass_Bello.pdf", filename="Impfpaß Bello.pdf"))
    return replace(made, manifest=replace(made.manifest, parts=called))


def outlet(folder: Path, **options: object) -> directory.Outlet:
    return directory.Outlet(directory.Options.model_validate(
        {"path": folder, "name": "{day}_{service}_{short}_{id}", **options}))


def lying(folder: Path) -> Path:
    found, = folder.iterdir()
    return found


def test_folder_and_mail_have_the_same_short_number(tmp_path: Path) -> None:
    outlet(tmp_path, index=True).deliver(delivery(), Effect())
    assert SHORT in lying(tmp_path).name
    assert f"[{SHORT}]" in subject(delivery())
    text = (lying(tmp_path) / INDEX).read_text(encoding="utf-8")
    assert f"Nummer:        {SHORT}\n" in text
    assert "Betreff:       Anmeldung zur Hundesteuer" in text


def test_the_index_says_what_when_and_which_bytes(tmp_path: Path) -> None:
    outlet(tmp_path, index=True).deliver(delivery(), Effect())
    text = (lying(tmp_path) / INDEX).read_text(encoding="utf-8")
    assert "Eingegangen:   21.11.2026\n" in text
    assert "Weitergegeben: 22.11.2026, 10:11:12 Uhr\n" in text
    assert "Vorgang:       HS 4711 X\n" in text
    assert "Impfpass_Bello.pdf\n    1013 Bytes, im Original: Impfpaß Bello.pdf\n" in text
    checked = subprocess.run(["sha256sum", "--check", "--ignore-missing", INDEX], cwd=lying(tmp_path),
                             capture_output=True, text=True, env={"LC_ALL": "C"}, check=True)
    assert checked.stdout.count(": OK\n") == len(delivery().manifest.parts) == 5
    (lying(tmp_path) / "hundesteuer.xml").write_bytes(b"<other/>")
    assert subprocess.run(["sha256sum", "--check", INDEX], cwd=lying(tmp_path), capture_output=True,
                          check=False).returncode == 1


def test_a_marked_file_is_marked_in_the_index() -> None:
    plain = delivery()
    last = plain.manifest.parts[-1]
    assert b"Achtung" not in index_of(plain, [(last.name, last)])
    for marks, said in (((), ""), (("macro", "other-type"), "enthält Makros, Inhalt passt nicht zum Namen")):
        text = index_of(plain, [(last.name, replace(last, marks=marks))]).decode()
        assert (f"    Achtung: {said}; vor dem Öffnen prüfen\n" in text) == bool(marks)


def test_every_try_writes_the_same_index() -> None:
    files = tuple((part.name, part) for part in delivery().manifest.parts)
    assert index_of(delivery(), files) == index_of(delivery(attempt=7), files)
    assert b"Testnachricht" in index_of(delivery(test=True), files)


def test_without_the_option_nothing_is_added(tmp_path: Path) -> None:
    outlet(tmp_path).deliver(delivery(), Effect())
    assert sorted(file.name for file in lying(tmp_path).iterdir()) == sorted(
        part.name for part in delivery().manifest.parts)


def test_a_folder_that_lies_there_without_an_index_is_the_delivery(tmp_path: Path) -> None:
    """The option was switched on between two tries: no second folder."""
    outlet(tmp_path).deliver(delivery(), Effect())
    now = outlet(tmp_path, index=True)
    assert isinstance(now.probe(delivery(attempt=2)), Done)
    now.deliver(delivery(attempt=2), Effect())
    assert not (lying(tmp_path) / INDEX).exists()
    assert isinstance(now.probe(replace(delivery(), id="00000000-0000-5000-8000-000000000001")), Absent)


def test_prepared_together_they_have_their_index_too(tmp_path: Path) -> None:
    folder = outlet(tmp_path, index=True)
    folder.prepare([delivery()])
    folder.deliver(delivery(), Effect())
    folder.conclude()
    assert (lying(tmp_path) / INDEX).is_file()


@pytest.mark.parametrize("name", [INDEX, "_INHALT.TXT", "__inhalt.txt"])
def test_no_file_is_called_like_the_index(name: str) -> None:
    assert safe_name(name).lower() != INDEX
    made = make_delivery([("attachment", name, "text/plain", b"x")])
    assert plan(outlet(Path("/x"), index=True).options, made).files[0][0].lower() == "inhalt.txt"


def test_a_single_file_has_no_index() -> None:
    with pytest.raises(ValueError, match="a single file has nothing beside it"):
        outlet(Path("/x"), index=True, layout="single")

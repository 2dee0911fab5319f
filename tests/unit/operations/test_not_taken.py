"""``check`` warns where attachments are sent to a destination that has no room for them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hub.config import loader
from hub.config.configuration import Configuration
from hub.operations.checks import check_all
from hub.operations.not_taken import not_taken

ROOT = Path(__file__).parents[3]
REST = 'connector = "rest"\nurl = "https://fach.example/x"\nidempotent = true\n'
SOAP = ('connector = "soap"\nwsdl = "../fach.wsdl"\nport = "p"\noperation = "o"\nidempotent = true\n'
        'code_path = "//rc"\ncode_success = ["0"]\nca_file = "../fach.wsdl"\nurl = "https://fach.example"\n')
DROP = 'connector = "directory"\npath = "../var/drop"\n'
EACH = '{each = "attachment", name = "{part:name}", inhalt = "{part:base64}"}'


def configured(folder: Path, options: str) -> Configuration:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, folder / name)
    for name, before, after in (("defaults.toml", 'body = "xml"\n', ""),  # here each says it itself
                                ("municipalities/14999010.toml", 'connector = "rest"\n',
                                 'connector = "rest"\nbody = "xml"\n')):
        other = folder / "etc" / name
        other.write_text(other.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")
    (folder / "fach.wsdl").write_text("<x/>")
    file = folder / "etc" / "municipalities" / "14999030.toml"
    file.write_text(file.read_text(encoding="utf-8") + f"""
[destinations.fach]
{options}
[[route]]
service = "brauchtumsfeuer"
recipients = [{{ destination = "fach", send = ["xml", "attachments"] }}]
""", encoding="utf-8")
    return loader.load(folder / "etc" / "hub.toml")


def findings(folder: Path, options: str) -> list[str]:
    return [f"{where}: {finding.severity}: {finding.text}"
            for where, finding in not_taken(configured(folder, options))]


@pytest.mark.parametrize(("options", "taken"), [
    (DROP + 'layout = "single"', "xml"), (REST + 'body = "xml"', "xml"),
    (REST + 'multipart = [{name = "a", role = "pdf"}, {name = "b", role = "xml"}, {name = "c", text = "x"}]',
     "pdf, xml"),
    (REST + 'json = {a = "{base64:pdf}", b = ["{text:xml}", {c = "{id}"}]}', "pdf, xml"),
    (REST + 'json = {a = "{id}"}', "Angaben, keine Dateien"),
    (SOAP + 'body = "xml"', "xml"), (SOAP + 'parameters = {a = "{base64:xml}"}', "xml")])
def test_attachments_that_arrive_nowhere_are_told(tmp_path: Path, options: str, taken: str) -> None:
    assert findings(tmp_path, options) == [
        "probedorf/brauchtumsfeuer: warning: Anlagen kommen am Ziel fach nicht an: es überträgt nur "
        f"{taken}"]


@pytest.mark.parametrize("options", [
    DROP, DROP + 'layout = "single"\nrole = "attachment"', REST + 'multipart = [{name = "a", role = "*"}]',
    REST + 'multipart = [{name = "a", role = "attachment"}]', REST + f"json = {{a = [{EACH}]}}",
    SOAP + f"parameters = {{teil = [{EACH}]}}"])
def test_where_they_arrive_nothing_is_told(tmp_path: Path, options: str) -> None:
    assert findings(tmp_path, options) == []


def test_check_says_it_of_all_and_of_one_municipality(tmp_path: Path) -> None:
    configuration = configured(tmp_path, DROP + 'layout = "single"')
    (told,) = not_taken(configuration, "probedorf")
    assert list(not_taken(configuration, "musterstadt")) == []
    assert told in list(check_all(configuration, connect=False))

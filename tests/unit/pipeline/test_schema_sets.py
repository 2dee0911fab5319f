"""Schema sets on disk: XÖV loads unpatched through the catalogue, and nothing else is ever opened."""

import stat
import zipfile
from datetime import date
from pathlib import Path

import pytest
from lxml import etree

from hub.errors import ConfigError, Rejected
from hub.job import Rule
from hub.mapping.model import MappingVersion, SchemaSet
from hub.pipeline import schema_sets
from hub.pipeline.schema_sets import Catalogue, compile_schema, install
from hub.pipeline.validate import validate
from tests.services import standards

XMLDSIG = "https://www.w3.org/TR/xmldsig-core/xmldsig-core-schema.xsd"
DAY = date(2026, 11, 22)
XSD = ('<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="{ns}" xmlns="{ns}">{body}'
       "</xs:schema>")


def xsd(file: Path, body: str = "", ns: str = "urn:a") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(XSD.format(ns=ns, body=body))
    return file


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """XWasser with what it imports, installed as an operator does."""
    source, target = standards(), tmp_path_factory.mktemp("schemas")
    signature = tmp_path_factory.mktemp("xmldsig")
    name = "UBL-xmldsig-core-schema-2.1.xsd"
    (signature / name).write_bytes((source / "xrechnung/UBL-2.1/xsdrt/common" / name).read_bytes())
    base = install(source / "xoev-base", "xoev-base", "2024", target)
    assert base.unresolved == ()
    install(signature, "xmldsig", "1", target)
    report = install(source / "xwasser/xsd-1.0.0", "xwasser", "1.0.0", target)
    assert len(report.unresolved) == 1
    assert XMLDSIG in report.unresolved[0] and f"xmldsig/1/{name}" in report.unresolved[0]
    with (report.folder / "catalogue.toml").open("a") as file:
        file.write(f'"{XMLDSIG}" = "../../xmldsig/1/{name}"\n')
    return target


def check(installed: Path, payload: etree._ElementTree | None, day: date = DAY) -> None:
    version = MappingVersion(name="v1", subject="s", xoev=True,
                             schema_set=SchemaSet(set="xwasser", version="1.0.0", entry="xwasser.xsd"))
    rule = Rule(id="r", tenant="t", service="s", mapping_version="v1", mapping_digest="0",
                package="/nirgends",
                schemas=str(installed), recipients=())
    validate(etree.fromstring('<e:envelope xmlns:e="urn:datendrehscheibe:envelope:1"/>'), version, rule, day,
             payload)


@pytest.mark.parametrize("sample", ["administration_receipt.xml", "olb_report_minimal.xml"])
def test_xwasser_loads_unpatched_and_its_samples_are_valid(installed: Path, sample: str) -> None:
    check(installed, etree.parse(standards() / "xwasser/samples" / sample))


def test_the_installed_files_are_the_published_ones(installed: Path) -> None:
    for file in (standards() / "xwasser/xsd-1.0.0").glob("*.xsd"):
        assert (installed / "xwasser/1.0.0" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.slow
def test_what_is_wrong_in_a_xoev_document_is_named_without_its_values(installed: Path) -> None:
    document = etree.parse(standards() / "xwasser/samples/administration_receipt.xml")
    root = document.getroot()
    code = root.find(".//erstellungszeitpunkt")
    assert code is not None
    code.text = "geheimer Wert"
    kennung = root.find(".//kennung")
    assert kennung is not None
    kennung.getparent().remove(kennung)
    with pytest.raises(Rejected) as caught:
        check(installed, document)
    assert caught.value.reason == "invalid"
    text = caught.value.text
    assert "xwasser 1.0.0" in text
    assert "erstellungszeitpunkt: ist kein Zeitpunkt" in text
    assert "leser/name: ist hier nicht vorgesehen; erwartet wird „kennung“" in text
    assert "geheimer" not in text


def test_a_message_without_its_document_is_told(installed: Path) -> None:
    with pytest.raises(Rejected, match="kein xwasser-Dokument"):
        check(installed, None)


def test_a_set_that_is_not_installed_or_not_valid_is_configuration(installed: Path, tmp_path: Path) -> None:
    document = etree.parse(standards() / "xwasser/samples/administration_receipt.xml")
    with pytest.raises(Rejected, match="ist nicht eingespielt") as caught:
        check(tmp_path, document)
    assert caught.value.reason == "configuration"


def test_a_set_is_valid_for_its_time(tmp_path: Path) -> None:
    xsd(tmp_path / "s/1/a.xsd")
    (tmp_path / "s/1/catalogue.toml").write_text("valid_from = 2026-01-01\nvalid_until = 2027-01-01\n")
    catalogue, wanted = Catalogue(tmp_path), SchemaSet(set="s", version="1", entry="a.xsd")
    assert catalogue.entry(wanted, date(2026, 1, 1)).name == "a.xsd"
    for day in (date(2025, 12, 31), date(2027, 1, 1)):
        with pytest.raises(ConfigError, match="not valid on"):
            catalogue.entry(wanted, day)


@pytest.mark.parametrize("location", [
    "http://192.0.2.1/fehlt.xsd", "https://192.0.2.1/fehlt.xsd", "ftp://192.0.2.1/fehlt.xsd",
    "file:///{outside}",
    "{outside}", "../../../aussen.xsd",
])
def test_imports_that_no_catalogue_knows_are_refused(tmp_path: Path, location: str) -> None:
    outside = xsd(tmp_path / "aussen.xsd", '<xs:element name="b"/>', "urn:b")
    root = tmp_path / "schemas"
    where = location.format(outside=str(outside))
    file = xsd(root / "s/1/a.xsd", f'<xs:import namespace="urn:b" schemaLocation="{where}"/>'
               '<xs:element name="a"><xs:complexType><xs:sequence><xs:element ref="b:b" '
               'xmlns:b="urn:b"/></xs:sequence>'
               "</xs:complexType></xs:element>")
    with pytest.raises(ConfigError, match="cannot be used"):
        compile_schema(file, Catalogue(root).parser(file))


def test_the_tests_notice_when_the_catalogue_lets_everything_through(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: a catalogue that contains the whole disk loads what lies outside."""
    monkeypatch.setattr(Catalogue, "contains", lambda _self, _file: True)
    test_file = xsd(tmp_path / "aussen.xsd", '<xs:element name="b"/>', "urn:b")
    file = xsd(tmp_path / "schemas/s/1/a.xsd", f'<xs:import namespace="urn:b" schemaLocation="{test_file}"/>'
               '<xs:element name="a"><xs:complexType><xs:sequence><xs:element ref="b:b" '
               'xmlns:b="urn:b"/></xs:sequence>'
               "</xs:complexType></xs:element>")
    assert compile_schema(file, Catalogue(tmp_path / "schemas").parser(file)) is not None


def test_a_catalogue_entry_cannot_leave_the_folder(tmp_path: Path) -> None:
    xsd(tmp_path / "aussen.xsd")
    file = xsd(tmp_path / "schemas/s/1/a.xsd")
    file.with_name("catalogue.toml").write_text('[files]\n"http://x.example/a" = "../../../aussen.xsd"\n')
    with pytest.raises(ConfigError, match="no file inside of"):
        Catalogue(tmp_path / "schemas").parser(file)


def test_an_entry_cannot_leave_the_folder(tmp_path: Path) -> None:
    xsd(tmp_path / "aussen.xsd")
    (tmp_path / "schemas/s/1").mkdir(parents=True)
    with pytest.raises(ConfigError):
        Catalogue(tmp_path / "schemas").entry(SchemaSet(set="s", version="1", entry="../../../aussen.xsd"))


def test_a_broken_schema_is_named_with_its_line(tmp_path: Path) -> None:
    file = xsd(tmp_path / "s/1/a.xsd", '\n<xs:element name="a" type="gibtsnicht"/>')
    with pytest.raises(ConfigError, match=r"a\.xsd: line 2"):
        compile_schema(file, Catalogue(tmp_path).parser(file))


# Installing


def test_a_zip_is_installed_like_a_folder(tmp_path: Path) -> None:
    archive = tmp_path / "satz.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("xsd/a.xsd", XSD.format(ns="urn:a", body='<xs:include schemaLocation="b.xsd"/>'))
        file.writestr("xsd/b.xsd", XSD.format(ns="urn:a", body='<xs:element name="b"/>'))
    report = install(archive, "satz", "1", tmp_path / "schemas")
    assert (report.files, report.unresolved) == (2, ())
    entry = report.folder / "xsd/a.xsd"
    assert compile_schema(entry, Catalogue(tmp_path / "schemas").parser(entry)).validate(
        etree.fromstring('<b xmlns="urn:a"/>'))


@pytest.mark.parametrize("name",
                         ["../boese.xsd", "/boese.xsd", "x/../../boese.xsd", "..\\boese.xsd", "C:boese.xsd"])
def test_a_zip_cannot_write_elsewhere(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "satz.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.xsd", XSD.format(ns="urn:a", body=""))
        file.writestr(name, "x")
    target = tmp_path / "tief" / "schemas"
    with pytest.raises(ConfigError, match="leaves the folder"):
        install(archive, "satz", "1", target)
    assert not list(tmp_path.rglob("boese*"))
    assert not list(target.rglob("*.xsd")), "nothing half installed stays"


def test_a_zip_holds_no_symbolic_links(tmp_path: Path) -> None:
    archive = tmp_path / "satz.zip"
    link = zipfile.ZipInfo("passwd")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(ConfigError, match="no plain file"):
        install(archive, "satz", "1", tmp_path / "schemas")


def test_sizes_are_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema_sets, "MAX_BYTES", 1000)
    archive = tmp_path / "satz.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bombe.xsd", b" " * 100_000)
    with pytest.raises(ConfigError, match="at most"):
        install(archive, "satz", "1", tmp_path / "schemas")
    (tmp_path / "leer").mkdir()
    with pytest.raises(ConfigError, match="at least one"):
        install(tmp_path / "leer", "satz", "1", tmp_path / "schemas")


def test_an_installed_set_never_changes(tmp_path: Path) -> None:
    xsd(tmp_path / "quelle/a.xsd")
    install(tmp_path / "quelle", "satz", "1", tmp_path / "schemas")
    with pytest.raises(ConfigError, match="installed already"):
        install(tmp_path / "quelle", "satz", "1", tmp_path / "schemas")


def test_what_is_missing_is_told_with_what_to_do(tmp_path: Path) -> None:
    xsd(tmp_path / "quelle/a.xsd", '<xs:import namespace="urn:b" schemaLocation="http://x.example/b.xsd"/>'
        '<xs:include schemaLocation="fehlt.xsd"/>')
    report = install(tmp_path / "quelle", "satz", "1", tmp_path / "schemas")
    assert len(report.unresolved) == 2
    assert any("fehlt.xsd: a.xsd needs it" in line for line in report.unresolved)
    assert any("install the set it belongs to" in line for line in report.unresolved)
    assert report.lines()[1].startswith("✗ ")
    assert report.to_json()["folder"] == str(report.folder)


def test_urls_can_be_named_while_installing(tmp_path: Path) -> None:
    xsd(tmp_path / "quelle/a.xsd",
        '<xs:import namespace="urn:b" schemaLocation="http://x.example/andere.xsd"/>')
    xsd(tmp_path / "quelle/b.xsd", '<xs:element name="b"/>', "urn:b")
    report = install(tmp_path / "quelle", "satz", "1", tmp_path / "schemas",
                     {"http://x.example/andere.xsd": "b.xsd"})
    assert report.unresolved == ()
    entry = report.folder / "a.xsd"
    assert compile_schema(entry, Catalogue(tmp_path / "schemas").parser(entry)).validate(
        etree.fromstring('<b xmlns="urn:b"/>'))

"""A municipality from its AGS: the official list, the file that is written, and nothing left behind when it
does not fit."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hub import endpoint
from hub.administration import onboarding
from hub.cli import app
from hub.config import loader
from hub.endpoint import Finding
from hub.errors import HubError
from hub.operations import checks
from tests.services import missing

ROOT = Path(__file__).parents[3]
STANDARDS = Path(os.environ.get("DREHSCHEIBE_STANDARDS", ROOT.parent / "shared" / "standards"))


def genericode(*rows: tuple[str, str], name: str = "AGS", head: str = "") -> bytes:
    """A list as the XRepository gives it, with invented entries."""
    body = "".join(f'<Row><Value ColumnRef="SCHLUESSEL"><SimpleValue>{key}</SimpleValue></Value>'
                   f'<Value ColumnRef="Bezeichnung"><SimpleValue>{label}</SimpleValue></Value><Value '
                   'ColumnRef="Hinweis"/></Row>'
                   for key, label in rows)
    return (f'<?xml version="1.0" encoding="UTF-8"?>{head}'
            '<gc:CodeList xmlns:gc="http://docs.oasis-open.org/codelist/ns/genericode/1.0/">'
            f"<Identification><ShortName>{name}</ShortName><Version>2026-04-30</Version></Identification>"
            f"<SimpleCodeList>{body}</SimpleCodeList></gc:CodeList>").encode()


AGS_LIST = genericode(("14999040", "Prüfstädt-Großübung, Stadt"), ("14999050", "Übungsau"),
                      ("14999060", "Musterstadt, Große Kreisstadt"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The example configuration with a state of its own; its `hub.toml`."""
    return example(tmp_path)


def example(folder: Path) -> Path:
    for name in ("etc", "mappings"):
        shutil.copytree(ROOT / name, folder / name)
    (folder / "var" / "drop").mkdir(parents=True)
    (folder / "ags.xml.xz").write_bytes(lzma.compress(AGS_LIST))
    return folder / "etc" / "hub.toml"


def run(place: Path, *arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app.main, ["--config", str(place), *arguments])
    assert result.exit_code == code, result.output
    return result


def answer(place: Path, *arguments: str, code: int = 0) -> Any:
    return json.loads(run(place, *arguments, "--json", code=code).stdout)


def test_from_the_list_to_a_working_file(place: Path) -> None:
    assert answer(place, "municipality", "install-list", str(place.parents[1] / "ags.xml.xz")) == {
        "list": "AGS", "version": "2026-04-30", "entries": 3}
    added = answer(place, "municipality", "add", "14999040", "--mail", "post@pruefstaedt.example",
                   "--provider", "beispiel-it",
                   "--population", "4200")
    assert (added["name"], added["tenant"]) == ("Stadt Prüfstädt-Großübung", "pruefstaedt-grossuebung")
    assert added["folders"] == [str(place.parents[1] / "var" / "drop" / name)
                                for name in ("pruefstaedt-grossuebung", "test")]
    municipality = loader.load(place).municipalities["pruefstaedt-grossuebung"]
    services = {folder.parent.name for folder in (ROOT / "mappings").glob("*/mapping.toml")}
    assert set(municipality.routes) == services == set(added["services"])
    assert {destination.connector for destination in municipality.destinations.values()} == {"smtp",
                                                                                             "directory"}
    assert (municipality.row.contract.provider, municipality.row.population,
            municipality.row.route) == ("beispiel-it", 4200, ())
    assert [row["ags"] for row in answer(place, "municipality", "list")] == ["14999010", "14999020",
                                                                             "14999030", "14999040"]
    shown = answer(place, "municipality", "show", "14999040")
    mailbox = next(row for row in shown["destinations"] if row["key"].endswith("/postfach"))
    assert {"host", "port", "retry", "kind"} <= set(mailbox["inherited"])
    assert not {"to", "fallback"} & set(mailbox["inherited"])
    assert {(row["inherited"], row["payload_days"], row["proof_days"])
            for row in shown["services"]} == {(True, 30, 730)}
    for key in ("ablage", "test"):
        options = municipality.destinations[f"pruefstaedt-grossuebung/{key}"].options
        assert (options.index, options.name) == (True, "{day}_{service}_{short}_{id}")
    assert "gemeint '14999040'?" in run(place, "municipality", "show", "1499904", code=1).output


def test_run_as_root_the_folders_belong_to_the_hub(tmp_path: Path) -> None:
    """They were root's, 0750, and nothing could be delivered."""
    if os.geteuid() != 0:
        missing("root", "run the tests as root: giving a folder away takes it")
    with tempfile.TemporaryDirectory(prefix="onboarding-") as folder:
        Path(folder).chmod(0o755)  # pytest's own folders let nobody through
        file = example(Path(folder))
        state = loader.load(file).state
        state.mkdir(exist_ok=True, parents=True)
        os.chown(state, 65534, 65534)
        (Path(folder) / "var" / "drop" / "test").mkdir(mode=0o750)  # root's, from before
        answer(file, "municipality", "install-list", str(Path(folder) / "ags.xml.xz"))
        added = answer(file, "municipality", "add", "14999040", "--service", "hundesteuer")
        drop = Path(folder) / "var" / "drop" / "pruefstaedt-grossuebung"
        assert added["folders"] == [str(drop)]
        assert [each["severity"] for each in added["findings"]] == ["ok", "warning"]
        assert "chown nobody:65534" in added["findings"][1]["remedy"]
        for owned in (drop, state / "lists"):
            assert (owned.stat().st_uid, owned.stat().st_gid) == (65534, 65534)
        written = subprocess.run(["touch", str(drop / "x")], user=65534, group=65534, extra_groups=[],
                                 cwd="/", check=False)
        assert written.returncode == 0
        said = run(file, "municipality", "add", "14999050", "--name", "Übungsau", "--service", "hundesteuer")
        assert "der Benutzer der Drehscheibe (nobody:65534) darf dort schreiben" in said.output


def test_the_hubs_user_reads_what_root_writes_whatever_its_umask(place: Path) -> None:
    before = os.umask(0o077)
    try:
        added = answer(place, "municipality", "add", "14999050", "--name", "Übungsau", "--service",
                       "hundesteuer")
    finally:
        os.umask(before)
    assert Path(added["file"]).stat().st_mode & 0o777 == 0o644


def test_without_a_mailbox_the_routes_are_its_own(place: Path) -> None:
    answer(place, "municipality", "add", "14999050", "--name", "Gemeinde Übungsau", "--service",
           "hundesteuer")
    municipality = loader.load(place).municipalities["uebungsau"]
    [route] = municipality.routes["hundesteuer"]
    assert [recipient.destination for recipient in route.recipients] == ["ablage"]
    assert set(municipality.routes) == {"hundesteuer"}


def test_a_name_that_is_taken_gets_the_key_too(place: Path) -> None:
    answer(place, "municipality", "install-list", str(place.parents[1] / "ags.xml.xz"))
    added = answer(place, "municipality", "add", "14999060")
    assert (added["name"], added["tenant"]) == ("Große Kreisstadt Musterstadt",
                                                "grosse-kreisstadt-musterstadt")
    assert answer(place, "municipality", "add", "14999061", "--name",
                  "Stadt Musterstadt")["tenant"] == "musterstadt-14999061"


@pytest.mark.parametrize(("arguments", "code", "said"), [
    (("14999010",), 1, "gibt es schon (musterstadt)"), (("14999011",), 1, "gibt es schon (musterstadt)"),
    (("1499904",), 1, "ist kein AGS"), (("14999099",), 1, "steht in keiner eingespielten Liste"),
    (("14999040", "--name", "X", "--service", "hundsteuer"), 78, "did you mean 'hundesteuer'?"),
    (("14999040", "--name", "X", "--tenant", "Nicht Erlaubt"), 78, "tenant"),
    (("14999040", "--name", "X", "--tenant", "musterstadt"), 78, "is taken by 14999010.toml"),
])
def test_what_does_not_fit_leaves_nothing_behind(place: Path, arguments: Sequence[str], code: int,
                                                 said: str) -> None:
    before = sorted(place.parents[1].rglob("*"))
    assert said in run(place, "municipality", "add", *arguments, code=code).output
    assert sorted(place.parents[1].rglob("*")) == before


def test_a_file_left_behind_would_be_noticed(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "unlink", lambda self, missing_ok=False: None)
    run(place, "municipality", "add", "14999040", "--name", "X", "--service", "hundsteuer", code=78)
    run(place, "municipality", "list", code=78)


@pytest.mark.parametrize("content", [
    b"", b"<a/>", b"kein XML", genericode(("14999040", "X"), name="Rechtsformen"), genericode(),
    genericode(("14999040", "X"), head="<!DOCTYPE a>"), lzma.compress(AGS_LIST)[:-9],
    lzma.compress(b"<a>" + b" " * (65 << 20)),
], ids=["empty", "other-xml", "no-xml", "other-list", "no-rows", "doctype", "cut-off", "bomb"])
def test_what_is_no_list_is_refused(place: Path, content: bytes) -> None:
    file = place.parent / "list"
    file.write_bytes(content)
    with pytest.raises(HubError, match="list: "):
        onboarding.install_list(file, place.parent)
    assert not (place.parent / "lists").exists()


def test_the_real_lists_are_read(tmp_path: Path) -> None:
    files = sorted((STANDARDS / "codelists").glob("AGS_*.xz")) + sorted(
        (STANDARDS / "codelists").glob("Kreis_*.xml"))
    if not files and os.environ.get("CI") != "true":
        pytest.skip(f"no codelists in {STANDARDS}")
    assert len(files) == 2
    for file in files:
        onboarding.install_list(file, tmp_path)
    assert onboarding.official_name(tmp_path, "14612000") == "Stadt Dresden"
    assert onboarding.official_name(tmp_path, "14521020") == "Stadt Annaberg-Buchholz"
    assert onboarding.official_name(tmp_path, "14521010") == "Gemeinde Amtsberg"
    assert onboarding.official_name(tmp_path, "14625") == "Landkreis Bautzen"
    assert onboarding.official_name(tmp_path, "14999010") is None


def test_every_destination_is_tried_at_once_and_says_whom_to_ask(place: Path) -> None:
    configuration = loader.load(place)
    together = threading.Barrier(2)

    class Outlet:
        def __init__(self, connector: str) -> None:
            self.connector = connector

        def check(self) -> list[Finding]:
            together.wait(30)  # two at least are under way at once
            if self.connector == "smtp":
                return [Finding("error", "Der Mailserver ist nicht erreichbar.", "Zugang prüfen.")]
            return [Finding("ok", "ist beschreibbar.")]

        def close(self) -> None:
            pass

    seen: list[tuple[int, int]] = []
    keys = [f"{tenant}/{name}" for tenant in ("musterstadt", "beispielberg")
            for name in ("postfach", "ablage")]
    wanted = [destination for key in keys for destination in checks.chosen(configuration, key, None)]
    results = list(checks.try_all(wanted, lambda done, of: seen.append((done, of)),
                                  lambda connector, _: Outlet(connector)))
    assert [key for key, _ in results] == [each.key for each in wanted]
    assert seen == [(done, 4) for done in range(5)]
    texts = {key: finding.remedy for key, finding in results if finding.severity == "error"}
    assert set(texts) == {"musterstadt/postfach", "beispielberg/postfach"}
    assert all("Zu fragen: den Betreiber des Mailservers" in text for text in texts.values())


def test_a_provider_that_nobody_knows_leaves_nothing_behind(place: Path) -> None:
    before = sorted(place.parents[1].rglob("*"))
    result = run(place, "municipality", "add", "14999040", "--name", "Prüfstädt", "--mail",
                 "post@pruefstaedt.example",
                 "--provider", "nix", code=1)
    assert "'nix' steht nicht in billing.toml" in result.output
    assert sorted(place.parents[1].rglob("*")) == before


def test_a_check_that_breaks_hides_no_other(place: Path) -> None:
    def build(connector: str, options: Any) -> Any:
        if connector == "smtp":
            raise RuntimeError("planted")
        return endpoint.build_outlet(connector, options)

    (place.parents[1] / "var" / "drop" / "probedorf").mkdir()
    found = dict(checks.check_all(loader.load(place), connect=False, municipality="14999030",
                                  build=build))
    assert found["probedorf/postfach"].text == "Die Prüfung selbst ist gescheitert (RuntimeError)"
    assert found["probedorf/ablage"].severity == "ok"


def test_filters_name_what_there_is(place: Path) -> None:
    configuration = loader.load(place)
    assert [each.key
            for each in checks.chosen(configuration, "probedorf/ablage", None)] == ["probedorf/ablage"]
    assert {each.tenant for each in checks.chosen(configuration, None,
                                                  "14999011")} == {"musterstadt"}, "a retired AGS too"
    with pytest.raises(HubError, match="gemeint 'probedorf/ablage'"):
        checks.chosen(configuration, "probedorf/ablag", None)
    with pytest.raises(HubError, match="Keine Kommune"):
        checks.chosen(configuration, None, "14999")

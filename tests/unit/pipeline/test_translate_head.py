"""The head of a mail and of a page: who, how to reach them, the account, the payment, the files, the
numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from lxml import etree, html

from hub.mapping.model import FieldTable
from hub.pipeline import xslt
from hub.pipeline.fields import annotate, type_values
from tests.unit.pipeline.workplace import COMMON

E = "urn:datendrehscheibe:envelope:1"
ID = "01936f00-0000-7000-8000-00000000abcd"
PERSON = {"anrede": "frau", "vorname": "Änne", "name": "Größe", "strasse": "Große Gasse", "hausnummer": "3 a",
          "plz": "00000", "ort": "Musterstadt", "telefon": "+49 (30) 23125-000", "email": "a@example.org"}
ANREDE = {"anrede": {"frau": "Frau", "divers": "ohne Anrede"}}


def envelope(groups: Mapping[str, Mapping[str, str]], account: str = "", files: str = "",
             table: FieldTable | None = None) -> etree._Element:
    """An annotated envelope of one instance for each group."""
    made = etree.fromstring(
        f'<e:envelope xmlns:e="{E}" version="1"><e:metadata><e:message id="{ID}" ags="14999010" service="s" '
        f'received="2026-11-22T10:11:12+01:00" day="2026-11-22" test="false"/>{account}</e:metadata>'
        f"<e:fields/><e:attachments>{files}</e:attachments></e:envelope>")
    fields = made.find(f"{{{E}}}fields")
    assert fields is not None
    for group, values in groups.items():
        instance = etree.SubElement(etree.SubElement(fields, group), "instance", n="0")
        for name, text in values.items():
            etree.SubElement(instance, name).text = text
    table = table or FieldTable(
        group=[{"id": group, "title": group.capitalize()} for group in groups],
        field=[{"group": group, "id": name, "label": name.capitalize(),
                **({"type": "choice", "values": "anrede"} if name == "anrede" else {})}
               for group, values in groups.items() for name in values], values=ANREDE)
    return annotate(type_values(made, table), table)


def run(sheet: str, made: etree._Element, case: str = "") -> str:
    layers = xslt.Layers(COMMON, "v1", COMMON)
    return xslt.compiled(layers, f"common:{sheet}", "utf-8").run(
        made, {"message-id": ID, "case": case, "subject": "Antrag", "name": "Stadt Musterstadt"}).decode()


def head(made: etree._Element, case: str = "") -> dict[str, str]:
    """The rows of the head of the page, by label; those of the plain text are the same."""
    table = html.fromstring(run("mail-html.xsl", made, case)).xpath("//table")[0]
    rows = {row.findtext("th"): " ".join(row.find("td").text_content().split()) for row in table.iter("tr")}
    lines = run("mail-text.xsl", made, case).partition("\n\n")[0].splitlines()[2:]
    assert [line.split(": ")[0] for line in lines if not line.startswith("- ")] == list(rows)
    return rows


def test_the_applicant_stands_first_with_everything_by_which_to_reach_them() -> None:
    rows = head(envelope({"antragsteller": {**PERSON, "firma": "Bäckerei & Söhne"}, "kind": PERSON}))
    assert list(rows.items())[:4] == [
        ("Antragsteller", "Bäckerei & Söhne, Frau Änne Größe"),
        ("Anschrift", "Große Gasse 3 a, 00000 Musterstadt"),
        ("Telefon", "+49 (30) 23125-000"), ("E-Mail", "a@example.org")]
    assert rows["Behörde"] == "Stadt Musterstadt (AGS 14999010)"


def test_message_and_case_have_their_numbers() -> None:
    made = envelope({"antragsteller": PERSON})
    rows = head(made, case="V-4711")
    assert (rows["Nachrichtennummer"], rows["Vorgangsnummer"]) == ("01936f00-abcd", "V-4711")
    assert "Vorgangsnummer" not in head(made)


@pytest.mark.parametrize(("groups", "name"), [
    ({"kind": {"name": "Kind"}, "antragstellerin": {"name": "Antrag"}}, "Antrag"),
    ({"kind": {"name": "Kind"}, "halter": {"name": "Halter", "plz": "00000"}}, "Halter"),
    ({"betrieb": {"telefon": "0"}, "person": {"nachname": "Person", "telefon": "0"}}, "Person"),
    ({"verein": {"organisation": "Verein e. V.", "email": "v@example.org"}}, "Verein e. V."),
    ({"person":
      {"anrede": "divers", "vornamen": "Kim", "Familienname": "Muster", "ort": "X", "Telefon": "0"}},
     "Kim Muster"),
])
def test_the_applicant_is_found_by_convention(groups: Mapping[str, Mapping[str, str]], name: str) -> None:
    assert next(iter(head(envelope(groups)).values())) == name


def test_a_field_table_may_say_who_the_applicant_is() -> None:
    table = FieldTable(group=[{"id": "halter", "title": "Halter"},
                              {"id": "firma", "title": "F", "applicant": True},
                              {"id": "bote", "title": "Bote", "applicant": True}],
                       field=[{"group": "halter", "id": "name", "label": "Name"}], values={})
    groups = {"halter": PERSON, "firma": {"umsatz": "5"}, "bote": {"name": "Bote"}}
    assert next(iter(head(envelope(groups, table=table)).items())) == ("Bote", "Bote")


def test_what_the_applicants_group_lacks_comes_from_the_next_that_is_called_so() -> None:
    table = FieldTable(group=[{"id": "kind", "title": "Kind"},
                              *({"id": group, "title": group, "applicant": True}
                                for group in ("betrieb", "person", "wohnung"))], field=[], values={})
    groups = {"kind": PERSON, "betrieb": {"telefon": "0351 1"},
              "person": {"name": "Muster", "email": "p@example.org"},
              "wohnung":
              {"strasse": "Gasse", "hausnummer": "1", "plz": "00000", "ort": "X", "email": "w@x.de"}}
    assert list(head(envelope(groups, table=table)).items())[:4] == [
        ("person", "Muster"), ("Anschrift", "Gasse 1, 00000 X"), ("Telefon", "0351 1"),
        ("E-Mail", "p@example.org")]


def test_what_a_form_does_not_have_has_no_row() -> None:
    assert list(head(envelope({"hund": {"rasse": "Dackel"}}))) == [
        "Behörde", "Eingegangen am", "Nachrichtennummer"]
    assert "Anschrift" not in head(envelope({"antragsteller": {"name": "A"}}))
    payment = head(envelope({"antragsteller": {"name": "A"}, "zahlung": {"iban": "DE00", "rhythmus": "j"}}))
    assert "Zahlung" not in payment


@pytest.mark.parametrize(("value", "link"), [
    ("a@example.org", "mailto:a@example.org"), ("+49 (30) 23125-000", "tel:+493023125000"),
    ("0000 / 777 777", "tel:0000777777"), ("-49 3581", None), ("0351 oder 0352", None), ("112", None),
    ("a@example.org?bcc=b@example.org", None), ("a@example.org,b@example.org", None), ("a@b", None),
    ("javascript:alert(1)@x.y", None), ("@example.org", None), ("a b@example.org", None),
])
def test_only_what_can_be_nothing_else_becomes_a_link(value: str, link: str | None) -> None:
    made = envelope({"antragsteller": {"name": "A", "telefon" if "@" not in value else "email": value}})
    page = html.fromstring(run("mail-html.xsl", made))
    assert {a.get("href") for a in page.iter("a")} == ({link} if link else set())
    assert value in page.text_content()


def test_account_and_level_of_trust() -> None:
    account = ('<e:account type="BUND" identified="false"><e:verified field="antragsteller:0:name" '
               'level="VN_BASIS_READOUT"/></e:account>')
    rows = head(envelope({"antragsteller": PERSON}, account))
    assert (rows["Konto"], rows["Vertrauensniveau"]) == ("BundID", "nicht mit Online-Ausweis angemeldet")
    assert rows["Vom Konto übernommen"] == "Name: Basisregistrierung (Signaturen nicht geprüft)"
    rows = head(envelope({"antragsteller": PERSON}, '<e:account type="ELSTER" identified="true"/>'))
    assert rows["Konto"] == "Mein Unternehmenskonto (ELSTER)"
    assert rows["Vertrauensniveau"] == "hoch (mit Online-Ausweis angemeldet)"
    said = head(envelope({"antragsteller": PERSON,
                          "konto": {"kontoTyp": "MUK", "vertrauensniveau": "substanziell"}}))
    assert (said["Konto"], said["Vertrauensniveau"]) == ("Mein Unternehmenskonto (ELSTER)", "substanziell")


def test_a_payment_is_told_in_words_whatever_the_field_table_calls_it() -> None:
    groups = {"zahlung": {"zahlart": "online", "status": "INITIAL", "kassenzeichen": "KZ-1",
                          "zeitpunkt": "2026-11-20T08:28:11Z"}}
    made = envelope(groups)
    assert head(made)["Zahlung"] == "online, begonnen, noch nicht bestätigt, Kassenzeichen KZ-1"
    for sheet in ("mail-html.xsl", "mail-text.xsl", "pdf.xsl"):
        shown = run(sheet, made)
        assert "INITIAL" not in shown and "20.11.2026, 09:28 Uhr" in shown and "T08:28" not in shown
    said = '{"status": "BOOKED", "transactionTimestamp": "2026-11-20T08:28:11Z"}'
    table = FieldTable(group=[{"id": "gebuehr", "title": "Gebühr"}],
                       field=[{"group": "gebuehr", "id": "bezahldienst", "type": "json",
                               "label": "Bezahldienst"}])
    made = envelope({"gebuehr": {"bezahldienst": said}}, table=table)
    assert head(made)["Zahlung"] == "gebucht"
    shown = run("mail-text.xsl", made)
    assert "Bezahldienst: Stand: gebucht\n    Zeitpunkt: 20.11.2026, 09:28 Uhr\n" in shown


def test_files_have_their_number_their_names_and_what_was_seen_in_them() -> None:
    files = ('<e:attachment id="1" name="Plan.pdf" size="648" role="upload" filename="Plän &amp; '
             'Skizze.pdf"/>'
             '<e:attachment id="2" name="b.zip" size="2048" role="upload" marks="archive macro" entries="3"/>'
             '<e:attachment id="3" name="antrag.pdf" size="1" role="applicant-pdf"/>'
             '<e:lost field="nachweise:0:dateien" count="2"/>')
    rows = head(envelope({"antragsteller": PERSON}, files=files))
    assert rows["Anlagen"].startswith("2 Dateien: ")
    assert "im Original „Plän & Skizze.pdf“" in rows["Anlagen"] and "antrag.pdf" not in rows["Anlagen"]
    assert "enthält Makros; Archiv, nicht ausgepackt (Einträge: 3); vor dem Öffnen" in rows["Anlagen"]
    assert rows["Fehlende Anlagen"].startswith("2 ")


def test_the_four_places_of_a_letterhead(tmp_path: Path) -> None:
    for sheet in ("mail-html.xsl", "mail-text.xsl", "pdf.xsl"):
        (tmp_path / sheet).write_text(
            '<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform">'
            f'<xsl:import href="common:{sheet}"/><xsl:template name="briefkopf">K1</xsl:template>'
            '<xsl:template name="vortext">V2</xsl:template><xsl:template name="fusszeile">F3</xsl:template>'
            '<xsl:template name="farbe">#123456</xsl:template></xsl:stylesheet>', encoding="utf-8")
        shown = xslt.compiled(xslt.Layers(COMMON, "v1", COMMON, tmp_path), f"town:{sheet}", "utf-8").run(
            envelope({"antragsteller": PERSON}), {"message-id": ID, "subject": "Der Betreff"}).decode()
        body = shown.partition("<body>")[2] or shown
        places = [body.index(mark) for mark in ("K1", "Der Betreff", "V2", "Behörde", "F3", "Automatisch")]
        assert places == sorted(places)
        assert ("#123456" in shown) == sheet.endswith(("html.xsl", "pdf.xsl"))

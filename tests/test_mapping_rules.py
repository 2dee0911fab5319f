"""Each rule of each mapping fires, and names the fault so that a clerk can act."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
from lxml import etree

from hub.mapping.model import MappingVersion
from hub.pipeline import value_faults
from tests.mapping_kit import EXAMPLES, SCH, VERSIONS, E, canonical, example, id_of, verdict, version_of

RULES: dict[str, list[tuple[dict[str, str | None], str]]] = {
    "hundesteuer/v1-full": [
        ({"halter/instance/name": None}, "Halter: Der Name fehlt."),
        ({"halter/instance/plz": ""}, "Halter: Die Anschrift ist unvollständig"),
        ({"halter/instance/geburtsdatum": "2031-01-01"}, "Halter: Das Geburtsdatum liegt in der Zukunft."),
        ({"halter/instance/anzahlHunde": "0"}, "Halter: Die Zahl der bereits gehaltenen Hunde fehlt."),
        ({"hund": None}, "Hund: Die Angaben zum Hund fehlen ganz."),
        ({"hund/instance/rasseFreitext": ""},
         "Hund: Bei Mischling oder anderer Rasse fehlt die genauere Angabe"),
        ({"hund/instance/rasse": "wolpertinger"}, "Rasse (hund:0:rasse): ist keiner der erlaubten Werte"),
        ({"hund/instance/chipnummer": "27600000000001"}, "Chipnummer (hund:0:chipnummer)"),
        ({"hund/instance/haltungsbeginn": "2022-02-27"}, "Hund: Die Haltung beginnt vor der Geburt"),
        ({"hund/instance/haltungsbeginn": "30.02.2026"}, "Gehalten seit (hund:0:haltungsbeginn)"),
        ({"vorbesitz": None}, "Vorherige Haltung: "),
        ({"ermaessigung/instance/grund": None}, "Ermäßigung: Der Grund fehlt."),
        ({"zahlung/instance/iban": None}, "Zahlung: Beim SEPA-Mandat fehlt die IBAN."),
        ({"zahlung/instance/kontoinhaber": ""}, "Zahlung: Beim SEPA-Mandat fehlt die Kontoinhaberin"),
        ({"erklaerung/instance/richtigkeit": "false"},
         "Erklärung: Die Richtigkeit der Angaben ist nicht bestätigt."),
        ({"halter": None}, "Halter: Die Angaben zur Hundehalterin"),
        ({"halter/instance/vorname": ""}, "Halter: Der Vorname fehlt."),
        ({"halter/instance/geburtsdatum": None}, "Halter: Das Geburtsdatum fehlt."),
        ({"hund/instance/geschlecht": None}, "Hund: Das Geschlecht fehlt."),
        ({"hund/instance/geburtsdatum": None}, "Hund: Das Geburtsdatum des Hundes fehlt"),
        ({"hund/instance/haltungsbeginn": None}, "Hund: Der Beginn der Haltung fehlt."),
        ({"ermaessigung/instance/nachweis": None}, "Ermäßigung: Der Nachweis fehlt."),
    ],
    "hundesteuer/v2-full": [
        ({"vorgang/instance/art": ""}, "Art der Meldung: Es fehlt"),
        ({"weitereHalter/instance[2]/vorname": None}, "Weitere Person 2: Familienname oder Vorname fehlt."),
        ({"hunde/instance[2]/chipnummer": None}, "Hund 2: Die Chipnummer fehlt"),
        ({"hunde/instance[3]/chipnummer": "276000000000005"}, "Hund 3: Dieselbe Chipnummer"),
        ({"hunde/instance[1]/nachweise": None},
         "Hund 1: Für die Ermäßigung oder Befreiung fehlt der Nachweis."),
        ({"vorgang/instance/art": "aenderung", "vorgang/instance/kassenzeichen": "",
          "erklaerung/instance/bemerkung": ""},
         "Art der Meldung: Bei einer Änderung fehlen"),
        ({"halter": None}, "Halter: Die Angaben zur Hundehalterin"),
        ({"halter/instance/familienname": None}, "Halter: Der Familienname oder die Firma fehlt."),
        ({"halter/instance/vorname": ""}, "Halter: Der Vorname fehlt."),
        ({"halter/instance/geburtsdatum": None}, "Halter: Das Geburtsdatum fehlt."),
        ({"hunde/instance[2]/rasseCode": None}, "Hund 2: Die Rasse fehlt."),
        ({"hunde/instance[1]/rasseZusatz": None}, "Hund 1: Bei Mischling oder anderer Rasse"),
        ({"hunde/instance[2]/geschlecht": None}, "Hund 2: Das Geschlecht fehlt."),
        ({"hunde/instance[2]/geburtsdatum": None}, "Hund 2: Das Geburtsdatum des Hundes fehlt"),
        ({"hunde/instance[2]/gehaltenSeit": None}, "Hund 2: Der Beginn der Haltung fehlt."),
        ({"hunde/instance[1]/vorbesitzer": ""}, "Hund 1: Bei Übernahme von einer Privatperson"),
    ],
    "hundesteuer/v2-sign-off": [
        ({"hunde/instance/endeGrund": None}, "Hund 1: Der Grund der Abmeldung fehlt."),
        ({"hunde/instance/endeAm": "2018-12-31"}, "Hund 1: Die Haltung endet vor ihrem Beginn."),
        ({"hunde/instance/steuermarke": None, "vorgang/instance/kassenzeichen": None},
         "Hund 1: Zur Abmeldung fehlen Steuermarke und Kassenzeichen"),
        ({"hunde/instance/endeAm": None}, "Hund 1: Das Ende der Haltung fehlt."),
    ],
    "feuerwehr-verdienstausfall/full": [
        ({"antragsteller/instance/firma": None}, "Antragsteller: Die Firma des Arbeitgebers fehlt."),
        ({"angehoerige/instance/name": None}, "Feuerwehrangehörige: Bei Antrag des Arbeitgebers"),
        ({"einsaetze": None}, "Einsatz: Es ist kein Einsatz"),
        ({"einsaetze/instance[2]/folgetag": "false"}, "Einsatz 2: Das Ende liegt nicht nach dem Beginn."),
        ({"einsaetze/instance[1]/datum": "2026-11-23"}, "Einsatz 1: Das Datum liegt in der Zukunft."),
        ({"einsaetze/instance[1]/einsatznummer": ""}, "Einsatz 1: Die Einsatznummer der Leitstelle"),
        ({"einsaetze/instance[3]/stunden": "9.5"}, "Einsatz 3: Es sind mehr Arbeitsstunden"),
        ({"einsaetze/instance[1]/nebenleistungen": "4.51"}, "Einsatz 1: Der Betrag ist nicht die Summe"),
        ({"einsaetze/instance[1]/brutto": "80.601"}, "(einsaetze:0:brutto): hat mehr als 2 Nachkommastellen"),
        ({"summe/instance/gesamt": "577.45"}, "Erstattungsbetrag: Der Gesamtbetrag ist nicht die Summe"),
        ({"nachweise": None}, "Nachweise: Die Verdienstbescheinigung"),
        ({"bank": None}, "Bankverbindung: Die Angaben fehlen ganz."),
        ({"antrag/instance/art": None}, "Antrag: Es fehlt"),
        ({"antragsteller": None}, "Antragsteller: Die Angaben fehlen ganz."),
        ({"angehoerige/instance/ortsfeuerwehr": ""}, "Feuerwehrangehörige: Die Ortsfeuerwehr fehlt."),
        ({"summe/instance/gesamt": None}, "Erstattungsbetrag: Der beantragte Gesamtbetrag fehlt."),
        ({"erklaerung/instance/keineAnderweitigeErstattung": "false"}, "Erklärung: Es fehlt die Erklärung"),
        ({"erklaerung/instance/richtigkeit": "false"}, "Erklärung: Die Richtigkeit"),
        ({"antragsteller/instance/name": None}, "Antragsteller: Der Name fehlt."),
        ({"antragsteller/instance/ort": None}, "Antragsteller: Die Anschrift ist unvollständig"),
        ({"einsaetze/instance[2]/anlass": ""}, "Einsatz 2: Der Anlass fehlt."),
        ({"einsaetze/instance[2]/datum": ""}, "Einsatz 2: Das Datum fehlt."),
        ({"einsaetze/instance[2]/bis": ""}, "Einsatz 2: Beginn oder Ende fehlt."),
        ({"einsaetze/instance[2]/stunden": ""}, "Einsatz 2: Die ausgefallenen Arbeitsstunden fehlen."),
        ({"einsaetze/instance[2]/betrag": ""}, "Einsatz 2: Der Betrag fehlt."),
        ({"bank/instance/iban": None}, "Bankverbindung: Die IBAN fehlt."),
        ({"bank/instance/kontoinhaber": None}, "Bankverbindung: Die Kontoinhaberin"),
    ],
    "feuerwehr-verdienstausfall/self-employed": [
        ({"einsaetze/instance/stundensatz": "24.01"}, "Einsatz 1: Der Stundensatz liegt über"),
        ({"einsaetze/instance/stunden": "10.5", "einsaetze/instance/bis": "21:00"},
         "Einsatz 1: Es sind mehr als zehn Stunden"),
    ],
    "gewerbemeldung/full": [
        ({"meldung/instance/grundAnmeldung": None}, "Meldung: Der Grund der Anmeldung fehlt."),
        ({"betrieb/instance/rechtsform": "112100x"}, "Rechtsform (betrieb:0:rechtsform)"),
        ({"betrieb/instance/registernummer": ""}, "Unternehmen: Die Registernummer fehlt."),
        ({"betrieb/instance/registernummer": "4711"}, "Registernummer (betrieb:0:registernummer)"),
        ({"vertreter/instance[2]": None}, "Vertretung: Die angegebene Zahl der Vertreter"),
        ({"vertreter": None}, "Vertretung: Bei dieser Rechtsform fehlen"),
        ({"vertreter/instance[2]/geburtsdatum": None}, "Vertretung 2: Das Geburtsdatum fehlt."),
        ({"betriebsstaetten/instance[2]/ort": ""}, "Betriebsstätte 2: Die Anschrift ist unvollständig"),
        ({"taetigkeit/instance/teilzeit": None}, "Tätigkeit: Die Zahl der Beschäftigten"),
        ({"handwerk/instance/kartennummer": None}, "Handwerk: Nummer, Datum oder Kammer"),
        ({"meldung/instance/art": None}, "Meldung: Es fehlt"),
        ({"meldung/instance/stichtag": None}, "Meldung: Das Datum des Beginns"),
        ({"betrieb/instance/rechtsform": ""}, "Unternehmen: Die Rechtsform fehlt."),
        ({"betrieb/instance/rechtsform": "412100"}, "Betriebsinhaber: Beim Einzelunternehmen fehlen"),
        ({"betriebsstaetten": None}, "Betriebsstätte: Es ist keine"),
        ({"taetigkeit/instance/beschreibung": ""}, "Tätigkeit: Die Beschreibung der Tätigkeit fehlt."),
        ({"taetigkeit/instance/erwerb": ""}, "Tätigkeit: Es fehlt, ob Haupt- oder Nebenerwerb."),
        ({"erklaerung/instance/richtigkeit": "false"}, "Erklärung: Die Richtigkeit"),
        ({"betrieb/instance/firma": None}, "Unternehmen: Der im Register eingetragene Name fehlt."),
        ({"betrieb/instance/registergericht": None}, "Unternehmen: Das Registergericht fehlt."),
        ({"vertreter/instance[1]/vornamen": ""}, "Vertretung 1: Name oder Vornamen fehlen."),
    ],
    "gewerbemeldung/smallest": [
        ({"person/instance/geburtsdatum": "2010-01-01"},
         "Betriebsinhaber: Die Person ist am Stichtag minderjährig"),
        ({"person/instance/staatsangehoerigkeiten": None}, "Betriebsinhaber: Die Staatsangehörigkeit fehlt."),
        ({"unterlagen": None}, "Unterlagen: Ausweis oder Pass fehlt."),
        ({"person/instance/vornamen": None}, "Betriebsinhaber: Name oder Vornamen fehlen."),
        ({"person/instance/geburtsort": None}, "Betriebsinhaber: Geburtsdatum oder Geburtsort fehlt."),
        ({"person/instance/plz": ""}, "Betriebsinhaber: Die Anschrift ist unvollständig"),
        ({"meldung/instance/art": "ummeldung"}, "Meldung: Der Grund der Ummeldung fehlt."),
        ({"meldung/instance/art": "ummeldung", "meldung/instance/grundUmmeldung": "verlegung"},
         "Betriebsstätte: Bei einer Verlegung fehlt"),
        ({"betrieb/instance/registernummer": "HRB 1"}, "Unterlagen: Der Registerauszug fehlt."),
        ({"erlaubnis/instance/erforderlich": "true", "erlaubnis/instance/erteiltAm": "2026-11-01"},
         "Unterlagen: Die erteilte Erlaubnis fehlt."),
        ({"aufenthalt/instance/erforderlich": "true"}, "Unterlagen: Der Aufenthaltstitel fehlt."),
    ],
    "gewerbemeldung/sign-off": [
        ({"meldung/instance/grundAbmeldung": ""}, "Meldung: Der Grund der Abmeldung fehlt."),
    ],
    "brauchtumsfeuer/full": [
        ({"veranstalter": None}, "Veranstalter: Die Angaben fehlen ganz."),
        ({"veranstalter/instance/vorname": ""}, "Veranstalter: Name oder Vorname"),
        ({"veranstalter/instance/organisation": None}, "Veranstalter: Der Name von Verein"),
        ({"veranstalter/instance/plz": ""}, "Veranstalter: Die Anschrift ist unvollständig"),
        ({"veranstalter/instance/telefon": ""}, "Veranstalter: Die Telefonnummer"),
        ({"ort/instance/bezeichnung": "", "ort/instance/flurstueck": None}, "Ort: Es fehlt, wo das Feuer"),
        ({"feuer": None}, "Feuer: Es ist kein Feuer angegeben."),
        ({"feuer/instance[2]/anlass": None}, "Feuer 2: Der Anlass fehlt."),
        ({"feuer/instance[2]/datum": ""}, "Feuer 2: Das Datum fehlt."),
        ({"feuer/instance[2]/datum": "2025-04-30"}, "Feuer 2: Das Datum ist vorbei."),
        ({"feuer/instance[2]/von": ""}, "Feuer 2: Beginn oder Ende fehlt."),
        ({"feuer/instance[1]/folgetag": "false"}, "Feuer 1: Das Ende liegt nicht nach dem Beginn."),
        ({"feuer/instance[1]/material": None}, "Feuer 1: Das Brennmaterial fehlt."),
        ({"feuer/instance[1]/hoehe": ""}, "Feuer 1: Die Größe fehlt"),
        ({"feuer/instance[1]/hoehe": "drei"}, "(feuer:0:hoehe)"),
        ({"sicherheit": None}, "Sicherheit: Die Angaben fehlen ganz."),
        ({"sicherheit/instance/abstandGebaeude": ""}, "Sicherheit: Der Abstand zu Gebäuden fehlt."),
        ({"sicherheit/instance/forstgenehmigung": None}, "Sicherheit: Weniger als 100 m vom Wald"),
        ({"sicherheit/instance/loeschmittel": None}, "Sicherheit: Es sind keine Löschmittel"),
        ({"brandwache": None}, "Brandwache: Es ist niemand"),
        ({"zustimmung/instance/nachweis": None}, "Zustimmung: Die Zustimmung der Eigentümerin"),
    ],
    "wohnungsgeberbestaetigung/full": [
        ({"vorgang/instance/datum": "15. Oktober"}, "(vorgang:0:datum)"),
        ({"wohnungsgeber": None}, "Wohnungsgeber: Die Angaben fehlen ganz."),
        ({"wohnungsgeber/instance/rolle": ""}, "Wohnungsgeber: Es fehlt, in welcher Rolle"),
        ({"wohnungsgeber/instance/firma": "", "wohnungsgeber/instance/vorname": None},
         "Wohnungsgeber: Name und Vorname"),
        ({"eigentuemer": None}, "Eigentümer: Wer nicht selbst"),
        ({"beauftragte/instance/vollmacht": None}, "Beauftragte Person: Die Vollmacht fehlt."),
        ({"wohnung": None}, "Wohnung: Die Angaben fehlen ganz."),
        ({"wohnung/instance/hausnummer": None}, "Wohnung: Die Anschrift ist unvollständig"),
        ({"personen": None}, "Meldepflichtige Person: Es ist niemand angegeben."),
        ({"personen/instance[2]/vornamen": ""}, "Person 2: Familienname oder Vornamen fehlen."),
        ({"personen/instance[3]/geburtsdatum": "2150-01-01"},
         "Person 3: Das Geburtsdatum liegt in der Zukunft."),
        ({"personen/instance[2]/vornamen": "Tomáš Jiří", "personen/instance[2]/geburtsdatum": "1988-02-29"},
         "Person 2: Dieselbe Person steht schon weiter oben."),
    ],
    "geburtsurkunde/full": [
        ({"antragsteller": None}, "Antragsteller: Die Angaben fehlen ganz."),
        ({"antragsteller/instance/plz": ""}, "Antragsteller: Die Anschrift ist unvollständig"),
        ({"berechtigung": None}, "Berechtigung: Es fehlt, als wer"),
        ({"kind": None}, "Beurkundete Person: Die Angaben fehlen ganz."),
        ({"kind/instance/vornamen": None}, "Beurkundete Person: Geburtsname oder Vornamen fehlen."),
        ({"kind/instance/geburtsdatum": "2150-01-01"},
         "Beurkundete Person: Das Geburtsdatum liegt in der Zukunft."),
        ({"kind/instance/geburtsdatum": "1900-11-22"},
         "Beurkundete Person: Die Geburt liegt mehr als 110 Jahre zurück"),
        ({"urkunden": None}, "Urkunde: Es ist keine Urkunde bestellt."),
        ({"urkunden/instance[2]/art": None}, "Urkunde 2: Die Urkundenart fehlt."),
        ({"urkunden/instance[3]/anzahl": "0"}, "Urkunde 3: Die Anzahl fehlt"),
        ({"urkunden/instance[1]/gebuehr": ""}, "Urkunde 1: Die Gebühr fehlt."),
        ({"urkunden/instance[1]/gebuehr": "14,00"}, "(urkunden:0:gebuehr)"),
        ({"zustellung": None}, "Zustellung: Die Zustellungsart fehlt."),
        ({"zustellung/instance/empfaenger": None}, "Zustellung: Die abweichende Anschrift"),
        ({"zustellung/instance/staat": ""}, "Zustellung: Der Staat fehlt."),
        ({"zahlung": None}, "Zahlung: Die Zahlungsart fehlt."),
        ({"zahlung/instance/gesamt": ""}, "Zahlung: Der Gesamtbetrag fehlt."),
        ({"zahlung/instance/gesamt": "53.36"}, "Zahlung: Der Gesamtbetrag ist nicht die Summe"),
        ({"zahlung/instance/status": None}, "Zahlung: Der Stand der Online-Zahlung fehlt."),
        ({"zahlung/instance/status": "FAILED"}, "Zahlung: Die Online-Zahlung ist gescheitert"),
        ({"zahlung/instance/status": "PAID"}, "(zahlung:0:status): ist keiner der erlaubten Werte"),
        ({"zahlung/instance/status": "BOOKED"}, "Zahlung: Zur gebuchten Zahlung fehlt das Kassenzeichen."),
        ({"erklaerung": None}, "Erklärung: Die Richtigkeit der Angaben"),
    ],
    "geburtsurkunde/smallest": [
        ({"zahlung/instance/betragCent": "1519"}, "Zahlung: Gezahlt wurde ein anderer Betrag"),
        ({"berechtigung/instance/art": "vollmacht"}, "Berechtigung: Der Nachweis fehlt"),
    ],
    "wohngeld/v1-full": [
        ({"antrag": None}, "Antrag: Es fehlt, ob Mietzuschuss oder Lastenzuschuss"),
        ({"antragsteller": None}, "Antragsteller: Die Angaben fehlen ganz."),
        ({"mitglieder/instance[3]/monatsbrutto": ""}, "Haushaltsmitglied 3: Das Einkommen fehlt."),
        ({"mitglieder/instance[2]/geburtsdatum": None},
         "Haushaltsmitglied 2: Name, Vorname oder Geburtsdatum fehlt."),
        ({"wohnung": None}, "Wohnung: Die Angaben fehlen ganz."),
        ({"wohnung/instance/belastung": ""}, "Wohnung: Zum Lastenzuschuss fehlt die Belastung."),
        ({"wohnung/instance/wohnflaeche": "112,25"}, "(wohnung:0:wohnflaeche)"),
        ({"bank": None}, "Bankverbindung: Die Angaben fehlen ganz."),
        ({"bank/instance/iban": ""}, "Bankverbindung: Die IBAN fehlt."),
        ({"bank/instance/kontoinhaber": None}, "Bankverbindung: Die Kontoinhaberin"),
        ({"nachweise": None}, "Nachweise: Der Mietvertrag"),
        ({"erklaerung/instance/keineTransferleistung": "false"}, "Erklärung: Es fehlt, dass keine Leistung"),
        ({"erklaerung/instance/richtigkeit": "false"}, "Erklärung: Die Richtigkeit"),
    ],
    "wohngeld/v2-full": [
        ({"vorhaben": None}, "Antrag: Es fehlt, ob Mietzuschuss oder Lastenzuschuss"),
        ({"haushalt/instance[2]/rolle": "antragstellend"}, "Haushalt: Genau eine Person"),
        ({"haushalt/instance[3]/geborenAm": ""}, "Person 3: Name, Vornamen oder Geburtsdatum fehlt."),
        ({"haushalt/instance[4]/rolle": None}, "Person 4: Die Rolle im Haushalt fehlt."),
        ({"einkuenfte/instance[2]/person": "5"}, "Einkommen 2: Es gehört zu keiner Person"),
        ({"einkuenfte/instance[2]/einkunftsart": ""}, "Einkommen 2: Die Art fehlt."),
        ({"einkuenfte/instance[4]/zeitraum": None}, "Einkommen 4: Betrag oder Zeitraum fehlt."),
        ({"einkuenfte/instance[4]/nachweis": None, "belege": None}, "Einkommen 4: Der Nachweis fehlt."),
        ({"wohnraum": None}, "Wohnraum: Die Angaben fehlen ganz."),
        ({"wohnraum/instance/ort": ""}, "Wohnraum: Die Anschrift ist unvollständig"),
        ({"wohnraum/instance/flaeche": "0"}, "Wohnraum: Die Wohnfläche fehlt."),
        ({"wohnraum/instance/gewerblich": "96.76"}, "Wohnraum: Gewerblich genutzt ist mehr"),
        ({"mietkosten/instance/grundmiete": ""}, "Miete: Zum Mietzuschuss fehlt die Grundmiete."),
        ({"mietkosten/instance/mietvertrag": None, "belege": None}, "Miete: Der Mietvertrag fehlt."),
        ({"konto": None}, "Bankverbindung: Die Angaben fehlen ganz."),
        ({"konto/instance/iban": None}, "Bankverbindung: Die IBAN fehlt."),
        ({"konto/instance/iban": "DE03120300000000202051"},
         "Bankverbindung: Die IBAN hat einen Schreibfehler"),
        ({"erklaerungen/instance/vollstaendig": None}, "Erklärung: Die Richtigkeit"),
        ({"erklaerungen/instance/mitteilungspflicht": "false"}, "Erklärung: Die Mitteilungspflicht"),
    ],
}
FAULTS = [(name, *fault) for name, faults in RULES.items() for fault in faults]


@pytest.mark.parametrize(("name", "changes", "expected"), FAULTS, ids=lambda value: value[:60]
                         if isinstance(value, str) else "")
def test_each_fault_is_named_so_that_a_clerk_can_act(name: str, changes: dict[str, str | None],
                                                     expected: str) -> None:
    envelope = canonical(example(name))
    assert verdict(example(name), envelope) == "", "the example itself must pass"
    fields = envelope.find(f"{E}fields")
    assert fields is not None
    for path, value in changes.items():
        change(fields, path, value)
    assert expected in verdict(example(name), envelope)


def change(fields: etree._Element, path: str, value: str | None) -> None:
    """Set a field, which need not be there yet; None removes the group, instance or field."""
    element = fields.find(path)
    if value is None:
        parent = element.getparent() if element is not None else None
        assert element is not None and parent is not None, path
        parent.remove(element)
        return
    if element is None:
        group, _instance, field = path.split("/")
        instance = fields.find(f"{group}/instance")
        if instance is None:
            instance = etree.SubElement(etree.SubElement(fields, group), "instance", n="0")
        element = etree.SubElement(instance, field)
    element.text = value


@pytest.mark.parametrize(("folder", "version"), VERSIONS, ids=id_of)
def test_each_rule_is_seen_to_fire(folder: Path, version: MappingVersion) -> None:
    """By a fault above, or by an example that is parked."""
    shown = [expected for name, _changes, expected in FAULTS if name.startswith(f"{folder.name}/")]
    for file in folder.glob("examples/*/expected/reason.txt"):
        shown += [line.removeprefix("- ") for line in file.read_text(encoding="utf-8").splitlines()]
    seen = {re.sub(r"^(\D+) \d+: ", r"\1 #: ", text) for text in shown if text}
    silent = []
    for rule in etree.parse(folder / version.name / str(version.rules)).iter(f"{SCH}assert"):
        text = "#".join("".join(part.split("\n")) for part in rule.itertext())
        if not any(text.startswith(part) for part in seen):
            silent.append(text)
    assert silent == []


@pytest.mark.parametrize("folder", [folder for folder in EXAMPLES if folder.name.endswith("full")], ids=id_of)
def test_whatever_is_missing_no_text_tells_a_value(folder: Path) -> None:
    envelope = canonical(folder)
    home = folder.parents[1] / version_of(folder, envelope)[0].name
    ours = "".join([*value_faults.TYPES.values(), *value_faults.FORMATS.values()])
    known = "true false" + ours + "".join((home / name).read_text(encoding="utf-8")
                                          for name in ("fields.toml", "rules.sch"))
    values = {text for text in values_of(envelope) if len(text) > 3 and text not in known}
    rejected = 0
    for place in range(len(list(all_fields(envelope)))):
        damaged = deepcopy(envelope)
        field = list(all_fields(damaged))[place]
        field[:] = []
        field.text = "\u2603 kaputt" if place % 2 else ""
        text = verdict(folder, damaged)
        rejected += bool(text)
        assert not [value for value in (*values, "\u2603") if value in text]
    assert rejected > 5


def all_fields(envelope: etree._Element) -> Iterator[etree._Element]:
    return envelope.iterfind(f"{E}fields/*/instance/*")


def values_of(envelope: etree._Element) -> set[str]:
    return {text.strip() for field in all_fields(envelope) for text in field.itertext() if text.strip()}


def test_check_digits_of_ibans_are_counted_as_iso_13616_does() -> None:
    folder, chance = example("hundesteuer/v1-full"), random.Random(13616)
    envelope = canonical(folder)
    field = envelope.find(f"{E}fields/zahlung/instance/iban")
    assert field is not None
    for _round in range(40):
        account = "".join(chance.choices("0123456789", k=18))
        check = 98 - int(account + "131400") % 97
        field.text = f"DE{check:02d}{account}"
        assert verdict(folder, envelope) == ""
        place = chance.randrange(4, 22)
        other = str((int(field.text[place]) + chance.randrange(1, 10)) % 10)
        field.text = field.text[:place] + other + field.text[place + 1:]
        assert "IBAN hat einen Schreibfehler" in verdict(folder, envelope)


def test_headings_are_left_out_but_what_was_filled_in_parks() -> None:
    folder = example("hundesteuer/v1-smallest")
    envelope = canonical(folder)
    heading = envelope.find(f"{E}fields/halter/instance/ueberschrift")
    assert heading is not None, "before 1.6 headings are dumped as empty fields"
    assert verdict(folder, envelope) == ""
    heading.text = "neue Frage, neue Antwort"
    assert "Feld (unbekannter Name mit 12 Zeichen): ist hier nicht vorgesehen" in verdict(folder, envelope)

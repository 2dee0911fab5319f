"""The problems of files and commands in German, for operators whose environment is German.

The English sentence stands where a problem is found, and in the log. The command line prints a problem
through `german`. That function replaces the pieces of `PIECES` in the finished line and keeps the rest:
files, keys and values. ``{}`` in a piece stands for what the problem names. A test asserts that each problem
of a configuration, a mapping or the options of a connector has its German in full.

Used by `hub.cli`; `hub.i18n.texts.language` chooses the language.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

PIECES = {
    # what is said of any key
    "unknown key": "unbekannter Schlüssel",
    "remove it or correct its spelling": "entfernen oder die Schreibweise berichtigen",
    "is missing": "fehlt", "add it": "ergänzen", "correct the value": "den Wert berichtigen",
    "is no text": "ist kein Text", "write it in quotes, like {}": "in Anführungszeichen schreiben, wie {}",
    "is no list": "ist keine Liste",
    'write it in brackets, like ["a", "b"]': 'in eckigen Klammern schreiben, wie ["a", "b"]',
    "is no table": "ist keine Tabelle",
    "write it below a heading of its own, like [section]":
    "unter eine eigene Überschrift schreiben, wie [abschnitt]",
    "is no whole number": "ist keine ganze Zahl",
    "write a number without quotes, like {}": "eine Zahl ohne Anführungszeichen schreiben, wie {}",
    "write it without a fraction": "ohne Nachkommastellen schreiben", "is no number": "ist keine Zahl",
    "is neither true nor false": "ist weder true noch false",
    "write true or false, without quotes": "true oder false schreiben, ohne Anführungszeichen",
    "is no date": "ist kein Datum",
    "write it without quotes, like {}": "ohne Anführungszeichen schreiben, wie {}",
    "is no time of day": "ist keine Uhrzeit",
    "write it in braces, like {}, or below a heading of its own, like [section]":
    "in geschweiften Klammern schreiben, wie {}, oder unter eine eigene Überschrift, wie [abschnitt]",
    "is a table, not a list of tables": "ist eine Tabelle, keine Liste von Tabellen",
    "write {} instead of {}": "{} statt {} schreiben",
    "names no connector": "nennt keinen Connector",
    "names a connector that cannot stand here": "nennt einen Connector, der hier nicht stehen kann",
    "name one that is a drop (drehscheibe connector list)":
    "eine Ablage nennen (drehscheibe connector list)",
    "{} is no drop": "{} ist keine Ablage",
    "is no key": "ist kein Schlüssel",
    'write small letters, digits and hyphens, like "musterstadt"':
    'Kleinbuchstaben, Ziffern und Bindestriche schreiben, wie "musterstadt"',
    "is no AGS": "ist kein AGS", "is no ARS": "ist kein ARS",
    "write eight digits (for a district five), like {}":
    "acht Ziffern schreiben (für einen Landkreis fünf), wie {}",
    "write twelve digits, like {}": "zwölf Ziffern schreiben, wie {}",
    "is no span of the year": "ist kein Zeitraum im Jahr",
    "write it as month and day, like {}": "als Monat und Tag schreiben, wie {}",
    "is no address of a PostgreSQL": "ist keine Adresse eines PostgreSQL",
    "write it like {}": "so schreiben: {}",
    "is no ending of a file's name": "ist keine Endung eines Dateinamens",
    "write it with its dot, like {}": "mit ihrem Punkt schreiben, wie {}",
    "is no mode of a file": "sind keine Dateirechte",
    "write four digits from 0 to 7, the first a 0, like {}":
    "vier Ziffern von 0 bis 7 schreiben, die erste eine 0, wie {}",
    "is no name of a form's field": "ist kein Name eines Formularfelds",
    "is no media type": "ist kein Medientyp",
    "write letters, digits and . _ [ ] -, like {}": "Buchstaben, Ziffern und . _ [ ] - schreiben, wie {}",
    "is no name at the broker": "ist kein Name beim Broker",
    "write letters, digits, _ and -, like {}": "Buchstaben, Ziffern, _ und - schreiben, wie {}",
    "is no number of people": "ist keine Zahl von Menschen",
    "write it like {}, or with the day of the count like {}":
    "so schreiben: {}, oder mit dem Tag der Zählung: {}",
    "Input should be greater than or equal to {}": "muss mindestens {} sein",
    "Input should be less than or equal to {}": "darf höchstens {} sein",
    "Input should be greater than {}": "muss größer als {} sein",
    "Input should be less than {}": "muss kleiner als {} sein",
    "String should match pattern {}": "hat nicht die Form {}",
    "is empty": "ist leer",
    "write something between the quotes": "etwas zwischen die Anführungszeichen schreiben",
    "is no path": "ist kein Pfad",
    "Tuple should have at least {} item after validation, not {}":
    "braucht mindestens {} Eintrag, hat {}", "Input should be {} or {}": "muss {} oder {} sein",
    "Input should be {}": "muss {} sein",
    "add it, one of {}": "ergänzen, eines von {}",
    "did you mean {}?": "gemeint {}?", "one of {}": "es gibt {}", "there is none yet": "es gibt noch keinen",
    "unknown {}": "unbekannt: {}",
    # files
    "cannot be read ({})": "nicht lesbar ({})",
    "create it or mend its rights": "anlegen oder die Rechte berichtigen",
    "mend its rights": "die Rechte berichtigen", "is no TOML ({})": "ist kein TOML ({})",
    "mend that line": "die Zeile berichtigen",
    "correct the line": "die Zeile berichtigen", "{} is missing": "{} fehlt",
    "add the file": "die Datei ergänzen",
    "add the file, or remove the key": "die Datei ergänzen oder den Schlüssel entfernen",
    "(file)": "(Datei)", "line {}": "Zeile {}", "is no whole XML ({})": "ist kein vollständiges XML ({})",
    "mend the stylesheet": "das Stylesheet berichtigen",
    "the secret cannot be read ({})": "das Geheimnis ist nicht lesbar ({})",
    "create the file with mode 0600 for the hub's user":
    "die Datei mit den Rechten 0600 für den Benutzer der Drehscheibe anlegen",
    "the secret is not UTF-8": "das Geheimnis ist kein UTF-8", "write it as UTF-8": "es als UTF-8 schreiben",
    "create it, readable for the hub's user": "für den Benutzer der Drehscheibe lesbar anlegen",
    # hub.toml, defaults.toml, municipalities
    "is no 'section.key=value'": "ist kein 'abschnitt.schlüssel=wert'",
    "e.g. --set status.port=9465": "z. B. --set status.port=9465",
    "{} belongs to {} already": "{} gehört schon zu {}",
    "an AGS routes to one municipality; remove it from one of the files":
    "ein AGS führt zu einer Kommune; aus einer der Dateien entfernen",
    "{} in a file named {}": "{} in einer Datei namens {}",
    "give both the same AGS": "beiden denselben AGS geben",
    "there is no folder {}": "den Ordner {} gibt es nicht", "correct the path": "den Pfad berichtigen",
    "no file in {}": "keine Datei in {}",
    "add <AGS>.toml for a municipality": "<AGS>.toml für eine Kommune anlegen",
    "unknown service {}": "unbekannter Dienst {}", "unknown destination {}": "unbekanntes Ziel {}",
    "unknown sender {}": "unbekannter Absender {}",
    "add a [[sender]] of that name": "einen [[sender]] dieses Namens ergänzen",
    "unknown connector {}": "unbekannter Connector {}", "{} has no {}": "{} kann kein {} sein",
    "choose another connector": "einen anderen Connector wählen",
    "a name stands twice": "ein Name steht zweimal",
    "give each sender its own name": "jedem Absender einen eigenen Namen geben",
    "defaults.toml has no route for {}": "defaults.toml hat keinen Weg für {}",
    "add one there, or a [[route]] here": "dort einen ergänzen oder hier [[route]]",
    "{} is taken by {}": "{} ist vergeben an {}", "choose another key": "einen anderen Schlüssel wählen",
    "overlaps another route of the same service":
    "überschneidet sich mit einem anderen Weg desselben Dienstes",
    "exactly one route may match; separate them by versions or validity dates":
    "genau einer darf passen; durch versions oder Gültigkeitstage trennen",
    "'*' stands for what services lists, and that is nothing":
    "'*' steht für das, was services aufzählt, und das ist nichts",
    "list the services there, or name one instead of '*'":
    "dort die Dienste aufzählen oder statt '*' einen nennen",
    "{} is no rendering of the mapping": "{} ist keine Ausgabe der Abbildung",
    "a recipient stands twice": "ein Empfänger steht zweimal",
    "give the second one a name of its own": "dem zweiten einen eigenen name geben",
    "destination {} is for tests only": "das Ziel {} ist nur für Tests",
    "use it in test_recipients": "in test_recipients nennen",
    "destination {} is no test destination": "das Ziel {} ist kein Testziel",
    "set test = true there, or use another one": "dort test = true setzen oder ein anderes nehmen",
    "the mapping does not say in every version who applies":
    "die Abbildung sagt nicht in jeder Fassung, wer den Antrag stellt",
    "write applicant = true at the group in its fields":
    "bei der Gruppe in ihren Feldern applicant = true schreiben",
    "{} is no rendering of every version of the mapping":
    "{} ist nicht in jeder Fassung der Abbildung eine Ausgabe",
    "is the destination itself": "ist das Ziel selbst",
    "name another one, or remove it": "ein anderes nennen oder entfernen",
    "first is longer than longest": "first ist länger als longest",
    "make longest at least as long": "longest mindestens so lang machen",
    "{} is no duration": "{} ist keine Dauer",
    "write '90s', '5m', '4h' or '14d'": "'90s', '5m', '4h' oder '14d' schreiben",
    "names no time": "nennt keine Zeit",
    "leave it out, or write ['Mo-So 00:00-24:00'], if it is always open":
        "weglassen oder ['Mo-So 00:00-24:00'] schreiben, wenn es immer offen ist",
    "{} is no window": "{} ist kein Zeitfenster", "{} is empty": "{} ist leer",
    "{} is no rate": "{} ist keine Rate",
    "write 'Mo-So 00:00-24:00' for always, or leave the window out":
    "'Mo-So 00:00-24:00' für immer schreiben oder das Fenster weglassen",
    "write 'Mo-Fr 06:00-20:00' (Mo Di Mi Do Fr Sa So, Europe/Berlin)":
    "'Mo-Fr 06:00-20:00' schreiben (Mo Di Mi Do Fr Sa So, Europe/Berlin)",
    "write '10/s', '600/m' or '5000/h'": "'10/s', '600/m' oder '5000/h' schreiben",
    "a secret is named, never written": "ein Geheimnis wird benannt, nie hingeschrieben",
    "'file:/path' or 'credential:name'": "'file:/pfad' oder 'credential:name'",
    # mappings
    "{} in folder {}": "{} im Ordner {}", "give both the same name": "beiden denselben Namen geben",
    "version {}": "Fassung {}",
    "{} is no comparison of versions such as '>=1.0' (joined by commas), or '*'":
    "{} ist kein Versionsvergleich wie '>=1.0' (mit Kommas verbunden) oder '*'",
    "group {}": "Gruppe {}", "field {}": "Feld {}",
    "field {} is in no [[group]]": "das Feld {} ist in keiner [[group]]",
    "field {} stands twice": "das Feld {} steht zweimal",
    "field {} needs a value list; {} is missing": "das Feld {} braucht eine Werteliste; {} fehlt",
    "a rendering needs a stylesheet, or applicant_pdf = true":
    "eine Ausgabe braucht stylesheet oder applicant_pdf = true",
    "{} is unknown": "{} ist unbekannt", "write utf-8": "utf-8 schreiben",
    "{} is UTF-8 and nothing else": "{} ist UTF-8 und nichts anderes",
    "remove the key": "den Schlüssel entfernen",
    "its charset is not {}": "sein charset ist nicht {}", "remove the charset": "charset entfernen",
    "the name stands twice": "der Name steht zweimal",
    "give each version its own name and folder": "jeder Fassung eigenen Namen und Ordner geben",
    "no form lies in {}": "kein Formular liegt in {}", "correct the bounds": "die Grenzen berichtigen",
    "is not after valid_from": "liegt nicht nach valid_from",
    "name the first day it is not valid any more": "den ersten Tag nennen, an dem sie nicht mehr gilt",
    "takes a form that version {} takes too": "nimmt ein Formular, das auch Fassung {} nimmt",
    "separate them by forms, versions or validity dates":
    "durch forms, versions oder Gültigkeitstage trennen",
    'applicant_pdf goes with role = "pdf"': 'applicant_pdf geht nur mit role = "pdf"',
    "begin with {} and add the others": "mit {} beginnen und die anderen ergänzen",
    "{} at once": "{} auf einmal",
    "choose another name, or edit what is there": "einen anderen Namen wählen oder bearbeiten, was da ist",
    "is no id of a group, or is in every form already":
    "ist keine Kennung einer Gruppe oder steht schon in jedem Formular",
    "is no name of a service": "ist kein Name eines Dienstes", "is there already": "gibt es schon",
    "letters and digits, beginning with a small letter; not {}":
    "Buchstaben und Ziffern, klein beginnend; nicht {}",
    "name the folder with the mappings: --mappings": "den Ordner mit den Abbildungen nennen: --mappings",
    "small letters, digits and single hyphens, beginning with a letter, e.g. hundesteuer":
    "Kleinbuchstaben, Ziffern und einzelne Bindestriche, mit einem Buchstaben beginnend, z. B. hundesteuer",
    "is neither an example nor a file": "ist weder ein Beispiel noch eine Datei",
    "choose one of: {}": "wählen: {}",
    # stylesheets, schemas and rules
    "is no XML": "ist kein XML", "remove it": "entfernen", "has a DOCTYPE": "hat eine DOCTYPE-Angabe",
    "is missing, but mapping.toml names it": "fehlt, aber mapping.toml nennt es",
    "is missing, but the route names it (stylesheets)":
    "fehlt, aber der Weg der Kommune nennt es (stylesheets)",
    "add the file, or correct the name": "die Datei ergänzen oder den Namen berichtigen",
    "imports {}, which is missing": "bindet {} ein, und das fehlt",
    "add the file, or correct the import": "die Datei ergänzen oder den Import berichtigen",
    "imports {} in a circle": "bindet {} im Kreis ein", "import it once": "nur einmal einbinden",
    "import of {}": "Import von {}",
    "only mapping:, common: and files beside it can be imported":
    "einbinden lassen sich nur mapping:, common: und Dateien daneben",
    "the path leaves the package, or has odd characters":
    "der Pfad führt aus der Abbildung hinaus oder hat unzulässige Zeichen",
    "is not part of the package": "gehört nicht zur Abbildung",
    "import it by mapping: or common:": "mit mapping: oder common: einbinden",
    "version is {}": "version ist {}",
    'write version="1.0", "2.0" or "3.0"': 'version="1.0", "2.0" oder "3.0" schreiben',
    "import stylesheets instead": "stattdessen Stylesheets einbinden",
    "an expression (XPath) is misspelt": "ein Ausdruck (XPath) ist falsch geschrieben",
    "an expression uses a prefix that no sch:ns declares":
    "ein Ausdruck verwendet ein Präfix, das kein sch:ns deklariert",
    "an expression calls a function that does not exist":
    "ein Ausdruck ruft eine Funktion auf, die es nicht gibt",
    "an expression cannot be used": "ein Ausdruck lässt sich nicht verwenden",
    "mend the rules": "die Regeln berichtigen", "is no ISO Schematron": "ist kein ISO-Schematron",
    "use a schema element in {}": "ein Element schema im Namensraum {} verwenden",
    "{} is not supported": "{} wird nicht unterstützt",
    "write the rules for XSLT 1": "die Regeln für XSLT 1 schreiben",
    "includes another file": "bindet eine andere Datei ein",
    "copy its rules in": "deren Regeln hineinkopieren",
    "<sch:value-of> may only count (@n + 1, count(…))": "<sch:value-of> darf nur zählen (@n + 1, count(…))",
    "name the field, not its value: rule texts are stored and logged":
    "das Feld nennen, nicht seinen Wert: Texte von Regeln werden gespeichert und protokolliert",
    "the schema cannot be used": "das Schema lässt sich nicht verwenden",
    "mend it, or install what it imports": "berichtigen oder einspielen, was es einbindet",
    "a schema needs none": "ein Schema braucht keine",
    "no catalogue knows this schema": "dieses Schema kennt kein Katalog",
    "install the set it belongs to, or name its file in catalogue.toml":
    "den Schemasatz einspielen, zu dem es gehört, oder seine Datei in catalogue.toml nennen",
    "{} is no file inside of {}": "{} ist keine Datei in {}",
    "correct the path or install that set": "den Pfad berichtigen oder jenen Schemasatz einspielen",
    "schema set {} is not installed": "der Schemasatz {} ist nicht eingespielt",
    "install it with 'drehscheibe schemas install'": "mit 'drehscheibe schemas install' einspielen",
    "the set is not valid on {}": "der Schemasatz gilt am {} nicht",
    "name the set of that day in the mapping's version":
    "in der Fassung der Abbildung den Schemasatz dieses Tages nennen",
    "no folder of schema sets is configured": "es ist kein Ordner für Schemasätze eingerichtet",
    "name it": "angeben", "this version is installed already": "diese Fassung ist schon eingespielt",
    "choose another, or remove it": "eine andere wählen oder sie entfernen",
    "{} files with {} bytes": "{} Dateien mit {} Bytes",
    "at most {} files and {} bytes, at least one": "höchstens {} Dateien und {} Bytes, mindestens eine",
    "check that this is the schema set": "prüfen, ob das der Schemasatz ist",
    "is no usable ZIP ({})": "ist kein brauchbares ZIP ({})",
    "use the archive as published": "das Archiv nehmen, wie es veröffentlicht ist",
    "use the archive as it was published": "das Archiv nehmen, wie es veröffentlicht ist",
    "use the set as published": "den Schemasatz nehmen, wie er veröffentlicht ist",
    "this name leaves the folder, or is no plain file":
    "dieser Name führt aus dem Ordner hinaus oder ist keine gewöhnliche Datei",
    "{} needs it, but it is not in the set": "{} braucht es, aber es ist nicht im Schemasatz",
    "take the complete set": "den vollständigen Schemasatz nehmen",
    "{} documents": "{} Dokumente", "put message.xml or message.json there":
    "message.xml oder message.json dorthin legen",
    "others could read what is put there": "andere könnten lesen, was dort hingelegt wird",
    "name a folder that does not exist yet": "einen Ordner nennen, den es noch nicht gibt",
    "is not empty": "ist nicht leer", "cannot be made ({})": "lässt sich nicht anlegen ({})",
    "name a new folder within one that exists":
    "einen neuen Ordner in einem nennen, den es gibt",
    # billing.toml
    "write one as docs/billing.md shows": "eine schreiben, wie docs/billing.md zeigt",
    "no prices hold on 1 January {}": "am 1. Januar {} gelten keine Preise",
    "add [[prices]] with valid_from": "[[prices]] mit valid_from ergänzen",
    "give either percent or amount": "entweder percent oder amount angeben",
    "the classes of municipalities must rise by up_to, and only the last has none":
    "die Klassen der Kommunen müssen nach up_to steigen, und nur die letzte hat keines",
    "there must be one class with who = {}": "es muss genau eine Klasse mit who = {} geben",
    # connectors
    'a path needs answer = "json" or "xml"': 'ein Pfad braucht answer = "json" oder "xml"',
    "code_path needs code_success": "code_path braucht code_success",
    "which codes mean that all is well?": "welche Codes heißen, dass alles gut ist?",
    "codes need code_path": "Codes brauchen code_path",
    "{} is no JSON pointer such as /ergebnis/rc": "{} ist kein JSON-Pointer wie /ergebnis/rc",
    "{} is no XPath ({}); prefixes are declared in namespaces":
    "{} ist kein XPath ({}); Präfixe stehen in namespaces",
    "a code that fits everything says nothing": "ein Code, der zu allem passt, sagt nichts",
    "a URL holds no password and no fragment": "eine Adresse enthält weder Passwort noch Fragment",
    "use user and password": "user und password verwenden",
    "a password never goes over a line without TLS": "ein Passwort geht nie über eine Leitung ohne TLS",
    "http:// sends applications in the clear": "http:// sendet Anträge im Klartext",
    'security = "none" sends applications in the clear': 'security = "none" sendet Anträge im Klartext',
    "use https://": "https:// verwenden", "use starttls or tls": "starttls oder tls verwenden",
    "the header {} is set by the connector itself": "den Header {} setzt der Connector selbst",
    "{} and {} belong together": "{} und {} gehören zusammen",
    "user and token_url exclude each other": "user und token_url schließen einander aus",
    "there is one Authorization header": "es gibt nur einen Authorization-Header",
    "folder and folder_id exclude each other": "folder und folder_id schließen einander aus",
    "{} is no URL such as {}": "{} ist keine Adresse wie {}", "{} is no URL": "{} ist keine Adresse",
    "{} is no header name": "{} ist kein Name eines Headers",
    "is longer than 255 bytes: no file can have that name":
        "ist länger als 255 Byte: so kann keine Datei heißen",
    "is the name of a file in the target, not a path": "ist der Name einer Datei im Ziel, kein Pfad",
    "unknown placeholder {}": "unbekannter Platzhalter {}", "known here are {}": "hier gibt es {}",
    "it stands only in a table with each": "er steht nur in einer Tabelle mit each",
    "it is known only about one document in a DMS": "es gibt ihn nur bei einem Dokument in einem DMS",
    "a part stands only as a whole value, and in a kind that the format knows":
    "ein Teil steht nur als ganzer Wert, und in einer Art, die das Format kennt",
    "{} can grow longer than {} characters": "{} kann länger werden als {} Zeichen",
    "use fewer placeholders": "weniger Platzhalter verwenden",
    "{} needs {id}": "{} braucht {id}", "without it two applications could want the same name":
    "ohne ihn könnten zwei Anträge denselben Namen wollen",
    "between placeholders only letters, digits and . _ - , and no dot at either end":
    "zwischen Platzhaltern nur Buchstaben, Ziffern und . _ - , und kein Punkt am Anfang oder Ende",
    "{} is no template ({}); braces themselves are written {}":
    "{} ist keine Vorlage ({}); geschweifte Klammern selbst schreibt man {}",
    "each names a role": "each nennt eine Rolle",
    "{} is relative; name the folder from the root on": "{} ist relativ; den Ordner von der Wurzel an nennen",
    "a path from the root on, such as {}": "ein Pfad von der Wurzel an, wie {}",
    "name {} needs {id}, or with external_id {short}": "name {} braucht {id}, oder mit external_id {short}",
    "two applications could want the same name": "zwei Anträge könnten denselben Namen wollen",
    "a sender needs subject or san": "ein Absender braucht subject oder san",
    "the CA alone does not tell who it is": "die CA allein sagt nicht, wer es ist",
    "{} is no name of a certificate's owner": "{} ist kein Name eines Zertifikatsinhabers",
    "an empty subject would match every certificate": "ein leeres subject passte zu jedem Zertifikat",
    "write e.g. {}": "z. B. {} schreiben", "the key is encrypted": "der Schlüssel ist verschlüsselt",
    "cannot be used with its key, {} ({})": "passt nicht zu seinem Schlüssel, {} ({})",
    "give a PEM chain and the unencrypted PEM key that fits it":
    "eine PEM-Kette und den unverschlüsselten PEM-Schlüssel dazu angeben",
    "give a PEM file with the issuing CA": "eine PEM-Datei mit der ausstellenden CA angeben",
    "{} lies below root and would be read again": "{} liegt unter root und würde noch einmal gelesen",
    "choose a folder outside": "einen Ordner außerhalb wählen",
    "exactly one of {} and {} is needed": "genau eines von {} und {} ist nötig",
    "idempotent needs a key_header, or {id} in url": "idempotent braucht key_header oder {id} in url",
    "the receiver must recognise the second try": "der Empfänger muss den zweiten Versuch erkennen",
    "placeholders stand in the path or the query of a URL, never in its host":
    "Platzhalter stehen im Pfad oder in der Abfrage einer Adresse, nie im Rechnernamen",
    "probe_url needs {id}": "probe_url braucht {id}",
    "it asks for one delivery": "gefragt wird nach einer Zustellung",
    "is no host key": "ist kein Serverschlüssel",
    "take a line of `ssh-keyscan HOST`, or file:/path to such lines":
    "eine Zeile von `ssh-keyscan HOST` nehmen oder file:/pfad zu solchen Zeilen",
    "the key after {} is no base64": "der Schlüssel hinter {} ist kein Base64",
    "the key after {} is of another kind": "der Schlüssel hinter {} ist von anderer Art",
    "is no mail address such as {} (domain in ASCII: xn--…)":
    "ist keine Mailadresse wie {} (Domain in ASCII: xn--…)",
    "the fault {} has two meanings": "der Fehler {} hat zwei Bedeutungen",
    "{} lies in the network": "{} liegt im Netz",
    "put it beside the WSDL and correct the import": "neben die WSDL legen und den Import berichtigen",
    "{} lies outside of the WSDL's folder": "{} liegt außerhalb des Ordners der WSDL",
    "xdomea {} is not built": "xdomea {} ist nicht gebaut",
    'write version = "3.0.0", or ask the DMS to import 3.0.0':
    'version = "3.0.0" schreiben, oder das DMS muss 3.0.0 einlesen',
    'index needs layout = "folder"': 'index braucht layout = "folder"',
    "a single file has nothing beside it": "neben einer einzelnen Datei liegt nichts",
    "the standard rules name and layout of the ZIP; remove it":
    "Name und Aufbau des ZIP regelt der Standard; entfernen",
    # connectors
    "{} brings {}, which is no connector's name": "{} bringt {} mit; das ist kein Name eines Connectors",
    "take a name of small letters, digits and hyphens there":
    "dort einen Namen aus Kleinbuchstaben, Ziffern und Bindestrichen nehmen",
    "{} brings {}, which the hub has itself": "{} bringt {} mit; den hat die Drehscheibe selbst",
    "give it another name there, or uninstall it": "dort anders nennen oder deinstallieren",
    "{} and {} both bring {}": "{} und {} bringen beide {} mit",
    "uninstall one of them": "eines davon deinstallieren",
    "{} of {} cannot be loaded ({})": "{} aus {} lässt sich nicht laden ({})",
    "install a version of it that fits this hub":
    "eine Version installieren, die zu dieser Drehscheibe passt",
    "{} has no kind for bills": "{} hat keine Art für Abrechnungen",
    "{} has no options": "{} hat keine Optionen",
    "add a class Options to its module": "eine Klasse Options in sein Modul schreiben",
    "{} does not say what a second try does": "{} sagt nicht, was ein zweiter Versuch bewirkt",
    "set repeat on its class Outlet, one of {}": "repeat in seiner Klasse Outlet setzen, eines von {}",
    "set kind on its class Outlet, one of {}": "kind in seiner Klasse Outlet setzen, eines von {}",
    "call this in a clone of the repository, or name it: --repository":
    "in einem Klon des Repositorys aufrufen oder ihn nennen: --repository",
    "is no name of a connector": "ist kein Name eines Connectors",
    "small letters, digits and underscores, beginning with a letter, e.g. webdav":
    "Kleinbuchstaben, Ziffern und Unterstriche, mit einem Buchstaben am Anfang, z. B. webdav",
    "none is for a municipality's {}": "keiner ist für {} einer Kommune da",
    "install one": "einen installieren",
    # commands
    "no inlet needs a broker": "kein Eingang braucht einen Broker",
    'add one with connector = "{}"': 'einen mit connector = "{}" ergänzen',
    "the database is damaged ({})": "die Datenbank ist beschädigt ({})",
    "stop the hub, keep a copy of its state, then drehscheibe restore the last backup "
    "(docs/operate-backup.md)":
    "Drehscheibe anhalten, ihren Zustand kopieren, dann die letzte Sicherung einspielen: drehscheibe restore "
    "(docs/operate-backup.md)",
    "there is no store in {} yet": "in {} gibt es noch keinen Speicher",
    "name it under LoadCredential= in the unit; outside of the service name its folder, "
    "CREDENTIALS_DIRECTORY=/etc/drehscheibe/secrets":
        "in der Unit unter LoadCredential= nennen; außerhalb des Dienstes seinen Ordner nennen, "
        "CREDENTIALS_DIRECTORY=/etc/drehscheibe/secrets",
    "start the hub first ({})": "zuerst die Drehscheibe starten ({})",
    "names a PostgreSQL, which is restored by its own tools: docs/operate-two-nodes.md":
    "nennt ein PostgreSQL; das wird mit dessen eigenen Werkzeugen wiederhergestellt: "
    "docs/operate-two-nodes.md",
    "a secret is named, never written: use 'password'":
    "ein Geheimnis wird genannt, nie hingeschrieben: dafür ist 'password' da",
    "these keys are for a database": "diese Schlüssel gehören zu einer Datenbank",
    "the hub ended meanwhile": "die Drehscheibe hat inzwischen geendet",
    "ask again": "noch einmal fragen",
    "a restore was interrupted here": "hier wurde eine Wiederherstellung unterbrochen",
    "run the same 'drehscheibe restore' again": "dasselbe 'drehscheibe restore' noch einmal aufrufen",
    "nothing to reload": "nichts neu zu laden", "no daemon listens on {}": "auf {} hört keine Drehscheibe",
    "the configuration has no inlet over HTTP": "die Konfiguration hat keinen Eingang über HTTP",
    "name one with --url": "einen mit --url nennen",
    "no examples found for {}": "keine Beispiele für {}", "no examples found": "keine Beispiele",
    "add mappings/<service>/examples/<name>/ with message.xml and example.toml":
    "mappings/<dienst>/examples/<name>/ mit message.xml und example.toml anlegen",
    "no message and no delivery begins with {}": "keine Nachricht und keine Zustellung beginnt mit {}",
    "the newest": "die neuesten", "{} messages begin with {}": "{} Nachrichten beginnen mit {}",
    "{} deliveries begin with {}": "{} Zustellungen beginnen mit {}",
    "give more of the id": "mehr von der Nummer angeben",
    "{} is a message": "{} ist eine Nachricht",
    "name one of its deliveries": "eine ihrer Zustellungen angeben",
    "no entry begins with {}": "kein Eintrag beginnt mit {}",
    "no message {}": "keine Nachricht {}", "no answer ({})": "keine Antwort ({})",
    "is the hub running, and do certificate and CA belong to it?":
    "läuft die Drehscheibe, und gehören Zertifikat und CA zu ihr?",
    "cannot be used together ({})": "passen nicht zueinander ({})",
    "cannot be used ({})": "nicht brauchbar ({})",
    "give a PEM certificate and the PEM key that fits it":
    "ein PEM-Zertifikat und den PEM-Schlüssel dazu angeben",
    "give the PEM file of the CA of the hub's certificate":
    "die PEM-Datei der CA des Zertifikats der Drehscheibe angeben",
    "give it as https://host:port": "als https://host:port angeben",
    "does not vouch for the certificate of {} ({})": "bürgt nicht für das Zertifikat von {} ({})",
    "give the CA that issued it, and the host by a name that stands in it":
    "die CA angeben, die es ausgestellt hat, und den Rechner mit einem Namen, der darin steht",
    "is not taken by {}": "wird von {} nicht angenommen",
    "give a valid certificate of a CA that the inlet knows":
    "ein gültiges Zertifikat einer CA angeben, die der Eingang kennt",
    "is no address of an inlet": "ist keine Adresse eines Eingangs",
    "{} cannot be used ({})": "{} nicht brauchbar ({})",
    "end the program that listens there, or choose another port":
    "das Programm beenden, das dort hört, oder einen anderen Port wählen",
    "there is no configuration": "es gibt keine Konfiguration",
    "create it, or name another one": "anlegen, oder eine andere nennen",
    "drehscheibe --config FILE, or {}=FILE": "drehscheibe --config DATEI, oder {}=DATEI",
    "is relative to a folder that was deleted": "liegt relativ zu einem Ordner, der gelöscht wurde",
    "name it by its whole path": "mit ganzem Pfad nennen",
    "is not the example's configuration": "ist nicht die Konfiguration des Beispiels",
    "name the example": "das Beispiel nennen",
    "the hub gave no answer for {} seconds": "die Drehscheibe hat {} Sekunden lang nicht geantwortet",
    "the request is not understood": "die Anfrage ist unverständlich",
    "unknown verb {}": "unbekannter Befehl {}", "unknown state {}": "unbekannter Zustand {}",
    "{} may not do this": "{} darf das nicht",
    "no inlet {} with a broker": "kein Eingang {} mit einem Broker",
    "no dead letter begins with {}": "kein Dead Letter beginnt mit {}",
    "all": "alle", "{} is the beginning of several dead letters": "{} ist der Anfang mehrerer Dead Letters",
    "give more of its id": "mehr von der Kennung angeben",
    "the dead letter {} is gone meanwhile": "der Dead Letter {} ist inzwischen fort",
    "there is no such queue": "diese Warteschlange gibt es nicht",
    "run drehscheibe broker setup": "drehscheibe broker setup ausführen",
    "the broker does not let {} in": "der Broker lässt {} nicht ein",
    "correct user, password or virtual host": "Benutzer, Kennwort oder virtuellen Host berichtigen",
    "{} may not do this at the broker": "{} darf das beim Broker nicht",
    "to look, repeat drehscheibe broker setup; to give back, name a user who may write there "
    "(--user, --password-file)":
    "zum Ansehen drehscheibe broker setup wiederholen; zum Zurückgeben einen Benutzer nennen, der dort "
    "schreiben darf (--user, --password-file)",
    "the broker cannot be reached ({})": "der Broker ist nicht erreichbar ({})",
    "another hub runs on this store": "auf diesem Speicher läuft schon eine Drehscheibe",
    "ask it (drehscheibe queue), or stop it first": "diese fragen (drehscheibe queue) oder zuerst anhalten",
}


def german(line: str, more: Mapping[str, str] = MappingProxyType({})) -> str:
    """The line with every piece that is known in German, here or in `more`; the rest as it is."""
    for pattern, replacement in _compiled(tuple(more.items())):
        line = pattern.sub(replacement, line)
    return line


@lru_cache(maxsize=2)
def _compiled(more: tuple[tuple[str, str], ...]) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The longest first: a short one may be part of a long one. A piece is a whole one: between colons, or at
    an end."""
    return tuple((re.compile(rf"(?:(?<=: )|^|(?<=→ )){_pattern(piece)}(?=: | → |$)"), _replacement(said))
                 for piece, said in sorted((*PIECES.items(), *more), key=lambda pair: -len(pair[0])))


def _pattern(piece: str) -> str:
    return "(.+?)".join(map(re.escape, piece.split("{}")))


def _replacement(said: str) -> str:
    first, *rest = said.replace("\\", r"\\").split("{}")
    return first + "".join(rf"\g<{number}>{text}" for number, text in enumerate(rest, 1))

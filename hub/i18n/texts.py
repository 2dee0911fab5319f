"""The texts of the command line in German.

``DREHSCHEIBE_LANG`` chooses the language, else the locale, else it is English. The English text stands in the
code and is the key of `GERMAN`. A test asserts that each text has its German.

Used by `hub.cli` and `hub.demo`. The problems of files and commands are in `hub.i18n.problems_german`.
"""

from __future__ import annotations

import os


def language() -> str:
    """The language of the caller's environment: ``de`` or ``en``."""
    for name in ("DREHSCHEIBE_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name)
        if value:
            return "de" if value.lower().startswith("de") else "en"
    return "en"


def _(english: str) -> str:
    """The text in the language of the caller's environment."""
    return GERMAN.get(english, english) if language() == "de" else english


def state(word: str) -> str:
    """The word for a state of a message or delivery, in the language of the caller's environment."""
    return STATES.get(word, word) if language() == "de" else word


STATES = {
    "received": "angenommen", "routed": "in Zustellung", "deferred": "wartet auf Auskunft",
    "parked": "geparkt", "completed": "fertig", "discarded": "verworfen",
    "due": "wartet", "delivering": "unterwegs", "in_doubt": "unklar", "done": "zugestellt",
}
"""German for the states of messages and deliveries. JSON keeps the English words."""

GERMAN = {
    "The Datendrehscheibe: takes applications from Amt24 and delivers them to the town hall, with proof.":
        "Die Datendrehscheibe: nimmt Anträge von Amt24 an und stellt sie dem Rathaus zu, mit Nachweis.",
    "The configuration (hub.toml).": "Die Konfiguration (hub.toml).",
    "Set one value for this call, e.g. status.port=9465; may be repeated.":
        "Einen Wert nur für diesen Aufruf setzen, z. B. status.port=9465; mehrfach möglich.",
    "Print JSON.": "JSON ausgeben.",
    "Run the hub until SIGTERM or Ctrl-C; SIGHUP reloads.":
        "Die Drehscheibe betreiben bis SIGTERM oder Strg-C; SIGHUP lädt neu.",
    "Check the configuration and every mapping; with --connect also try every destination.":
        "Konfiguration und alle Abbildungen prüfen; mit --connect auch jedes Ziel ausprobieren.",
    "Really connect to every destination (leaves nothing behind there).":
        "Jedes Ziel wirklich ansprechen (hinterlässt dort nichts).",
    "Send one application through the HTTPS inlet, as Amt24 would.":
        "Einen Antrag durch den HTTPS-Eingang schicken, wie es Amt24 täte.",
    "The hub's address, https://host:port; default: the HTTPS inlet of the configuration.":
        "Adresse der Drehscheibe, https://host:port; sonst der HTTPS-Eingang der Konfiguration.",
    "The applicant's own printout (PDF).": "Der eigene Ausdruck der antragstellenden Person (PDF).",
    "The client certificate (PEM).": "Das Client-Zertifikat (PEM).",
    "Its key (PEM).": "Sein Schlüssel (PEM).",
    "The CA of the hub's certificate (PEM).": "Die CA des Zertifikats der Drehscheibe (PEM).",
    "give printable ASCII characters: letters, digits, signs":
    "druckbare ASCII-Zeichen angeben: Buchstaben, Ziffern, Zeichen",
    "The newest {count} of more: --all shows every one.":
    "Die neuesten {count} von mehr: --all zeigt jede.",
    "All of them, not only the newest.": "Alle, nicht nur die neuesten.",
    "Only this reason, as `why` names it.": "Nur dieser Grund, wie ihn `why` nennt.",
    "Print the ids only, one a line.": "Nur die Nummern ausgeben, eine je Zeile.",
    "It may have been sent already, after the backup that was restored: ask the receiver.":
        "Es kann schon gesendet worden sein, nach der eingespielten Sicherung: den Empfänger fragen.",
    "either --all or --limit": "entweder --all oder --limit",
    "either --ids or --json": "entweder --ids oder --json",
    "an action is one id's: leave --action out, or give one id":
    "eine Aktion gilt einer Nummer: --action weglassen oder eine Nummer angeben",
    "no state {value!r}: {known}": "keinen Zustand {value!r}: {known}",
    "{count} messages are parked, for which there are no deliveries yet: drehscheibe messages --state parked "
    "--all":
        "{count} Nachrichten sind geparkt, zu denen es noch keine Zustellungen gibt: drehscheibe messages "
        "--state parked --all",
    "no hub runs: it goes on once one does": "es läuft keine Drehscheibe: weiter geht es, sobald eine läuft",
    "{destination} is tried now: its rest was ended":
        "{destination} wird jetzt versucht: seine Ruhe ist beendet",
    "{destination} takes nothing before {opens} (window): it goes then":
        "{destination} nimmt vor {opens} nichts an (window): dann geht es hin",
    "{count} wait for their turn: drehscheibe why {id}":
        "{count} warten auf andere desselben Vorgangs: drehscheibe why {id}",
    "{changed} of {count} were changed": "{changed} von {count} wurden geändert",
    "either --csv or --json": "entweder --csv oder --json",
    "is empty": "ist leer",
    "{value} is no name": "{value} ist kein Name",
    "give the AGS itself; --test makes it a test": "den AGS selbst angeben; --test macht daraus einen Test",
    "The folder to write the renderings to; with --message a new one.":
    "Der Ordner, in den die Ausgaben geschrieben werden; mit --message ein neuer.",
    "By this municipality's own stylesheets and parameters.":
    "Mit den eigenen Stylesheets und Parametern dieser Kommune.",
    "A stored message instead of an example, for all its recipients; nothing is delivered. "
    "Needs --out; who looked stands in its history.":
    "Eine gespeicherte Nachricht statt eines Beispiels, für alle ihre Empfänger; nichts wird zugestellt. "
    "Braucht --out; wer nachsah, steht in ihrem Verlauf.",
    "--message stands alone with --out FOLDER": "--message steht allein mit --out ORDNER",
    "name a service and an example, or --message ID":
    "einen Dienst und ein Beispiel nennen, oder --message ID",
    "--municipality uses the configuration's mappings: leave --mappings out":
    "--municipality nimmt die Abbildungen der Konfiguration: --mappings weglassen",
    "{files} files for {recipients} recipients in {folder}; nothing was delivered":
    "{files} Dateien für {recipients} Empfänger in {folder}; nichts wurde zugestellt",
    "RabbitMQ's management API, http://host:15672 (rabbitmq-plugins enable rabbitmq_management).":
        "Die Verwaltungsschnittstelle von RabbitMQ, http://host:15672 (rabbitmq-plugins enable "
        "rabbitmq_management).",
    "The CA of the API's certificate (PEM).": "Die CA des Zertifikats der Schnittstelle (PEM).",
    "That user's password.": "Das Kennwort dieses Benutzers.",
    "A user at the broker; default: the hub's own, which may only read.":
        "Ein Benutzer beim Broker; sonst der eigene der Drehscheibe, der nur lesen darf.",
    "Only this inlet's.": "Nur die dieses Eingangs.",
    "--user and --password-file belong together": "--user und --password-file gehören zusammen",
    "The dead letters: messages that the broker laid aside because nobody took them.":
        "Die Dead Letters: Nachrichten, die der Broker beiseitegelegt hat, weil niemand sie annahm.",
    "no dead letters": "keine Dead Letters",
    "dead letter": "Dead Letter",
    "at": "seit",
    "queue": "Warteschlange",
    "bytes": "Bytes",
    "its sender's id": "Kennung des Absenders",
    "The first {count} of {total}: --limit shows the others.":
        "Die ersten {count} von {total}: --limit zeigt die anderen.",
    "One dead letter, without what a citizen wrote; --output saves its body.":
        "Ein Dead Letter, ohne was ein Bürger schrieb; --output sichert den Inhalt.",
    "A new file for the body, readable for you alone. It holds what a citizen wrote.":
        "Eine neue Datei für den Inhalt, nur für Sie lesbar. Darin steht, was ein Bürger schrieb.",
    "Give dead letters back to the queues they came from, once the cause is mended.":
        "Dead Letters in ihre Warteschlangen zurückgeben, sobald die Ursache behoben ist.",
    "All that lie there now.": "Alle, die jetzt dort liegen.",
    "either an id or --all": "entweder eine Kennung oder --all",
    "refused": "abgewiesen",
    "expired": "abgelaufen",
    "its queue was full": "die Warteschlange war voll",
    "delivered too often in vain": "zu oft vergeblich zugestellt",
    "is in its queue again": "liegt wieder in seiner Warteschlange",
    "stays: it did not come from a queue of this inlet; save it with show --output":
        "bleibt: kam nicht aus einer Warteschlange dieses Eingangs; mit show --output sichern",
    "stays: its queue is gone; drehscheibe broker setup makes it again":
        "bleibt: seine Warteschlange fehlt; drehscheibe broker setup legt sie wieder an",
    "stays: its queue takes nothing now, it is full; try again later":
        "bleibt: seine Warteschlange ist voll und nimmt jetzt nichts an; später erneut versuchen",
    "stays: its properties cannot be read; save it with show --output":
        "bleibt: seine Eigenschaften sind nicht lesbar; mit show --output sichern",
    "Dead letters at the broker: list (also without a command), show, requeue.":
        "Dead Letters beim Broker: list (auch ohne Befehl), show, requeue.",
    "What waits, by destination, with the age of the oldest.":
    "Was wartet, je Ziel, mit dem Alter des Ältesten.",
    "The newest messages.": "Die neuesten Nachrichten.",
    "Only this state.": "Nur dieser Zustand.",
    "One message with its parts, deliveries and history.":
    "Eine Nachricht mit Teilen, Zustellungen und Verlauf.",
    "Why a message is where it is, and what to do next.":
    "Warum eine Nachricht dort ist, wo sie ist, und was zu tun ist.",
    "Try now what is parked or waits: messages or deliveries (the same bytes, the same names).":
        "Geparktes oder Wartendes jetzt versuchen: Nachrichten oder Zustellungen (dieselben Bytes, "
        "dieselben Namen).",
    "Give up a parked message or delivery for good.":
    "Eine geparkte Nachricht oder Zustellung endgültig verwerfen.",
    "Record that the receiver has a delivery that is in doubt or parked.":
        "Festhalten, dass der Empfänger eine unklare oder geparkte Zustellung hat.",
    "Send a delivery once more as a new one (new names at the receiver).":
        "Eine Zustellung noch einmal als neue senden (neue Namen beim Empfänger).",
    "Why (stands in the history).": "Warum (steht im Verlauf).",
    "Let the running hub read its configuration again.":
    "Die laufende Drehscheibe ihre Konfiguration neu lesen lassen.",
    "Mappings: test their examples, look at a rendering.":
    "Abbildungen: Beispiele prüfen, eine Ausgabe ansehen.",
    "Run the examples of all mappings, or of one; shows a readable difference.":
        "Die Beispiele aller Abbildungen oder einer prüfen; zeigt lesbare Unterschiede.",
    "Write the expected outputs anew (then review the difference in version control).":
        "Die erwarteten Ausgaben neu schreiben (danach den Unterschied in der Versionsverwaltung prüfen).",
    "Show what a mapping makes of an example, a file or a stored message.":
    "Zeigen, was eine Abbildung aus einem Beispiel oder einer gespeicherten Nachricht macht.",
    "Make the folder of a new service, complete with schema, rules and examples.":
        "Den Ordner eines neuen Dienstes anlegen, vollständig mit Schema, Regeln und Beispielen.",
    "What people call it; default: the name.": "Wie er heißt; sonst der Name.",
    "A group of the form; may be repeated.": "Eine Gruppe des Formulars; mehrfach möglich.",
    "{folder} is there. Next: write the form's fields, then drehscheibe mapping schema {service} v1 --write":
        "{folder} ist angelegt. Nächster Schritt: die Felder des Formulars in v1/fields.toml eintragen, "
        "dann drehscheibe mapping schema {service} v1 --write",
    "Print the schema that fits a version's field table; --write puts it into its place.":
        "Das Schema ausgeben, das zur Feldtabelle einer Fassung passt; --write legt es an seinen Platz.",
    "Replace the version's schema.": "Das Schema der Fassung ersetzen.",
    "Write a page for every service: fields, values, rules, renderings, examples.":
        "Zu jedem Dienst eine Seite schreiben: Felder, Werte, Regeln, Ausgaben, Beispiele.",
    "Schema sets (XÖV) that the operator installs.": "Schemasätze (XÖV), die der Betreiber einspielt.",
    "Install a schema set from a folder or ZIP, unpatched.":
    "Einen Schemasatz aus Ordner oder ZIP einspielen, unverändert.",
    "RabbitMQ.": "RabbitMQ.",
    "The bills of a year: what was really used, at what price, with the evidence of each line.":
        "Die Rechnungen eines Jahres: was wirklich genutzt wurde, zu welchem Preis, mit dem Beleg jeder "
        "Zeile.",
    "Only this provider's contracts (its key in billing.toml).":
        "Nur die Verträge dieses Dienstleisters (Schlüssel in billing.toml).",
    "The prices; default: billing.toml beside hub.toml.": "Die Preise; sonst billing.toml neben hub.toml.",
    "Print CSV (semicolons, decimal commas).": "CSV ausgeben (Semikolons, Dezimalkommas).",
    "item": "Posten", "class": "Klasse", "category": "Kategorie", "messages": "Anträge", "from": "vom",
    "to": "bis",
    "reached": "erreichte Ziele", "amount": "Betrag", "sum:": "Summe:",
    "nothing to charge": "nichts zu berechnen",
    "Try only this destination.": "Nur dieses Ziel ausprobieren.",
    "Try only this municipality's destinations.": "Nur die Ziele dieser Kommune ausprobieren.",
    "destinations": "Ziele", "services": "Dienste", "tenant": "Mandant", "inherited": "geerbt",
    "Municipalities: add one, look at them.": "Kommunen: eine aufnehmen, sie ansehen.",
    "Install the official list of municipalities or counties: genericode, also xz.":
        "Die amtliche Liste der Gemeinden (AGS) oder Kreise (Kreis) einspielen: genericode, auch als xz.",
    "{name} {version}: {count} entries": "{name} {version}: {count} Einträge",
    "Add a municipality by its AGS: name from the official list, everything else inherited.":
        "Eine Kommune mit ihrem AGS aufnehmen: Name aus der amtlichen Liste, alles andere geerbt.",
    "Mailbox of the town hall; may be repeated.": "Postfach des Rathauses; mehrfach möglich.",
    "Folder for applications; default: [onboarding] drop in defaults.toml.":
        "Ordner für Anträge; sonst [onboarding] drop in defaults.toml.",
    "A service it offers; may be repeated; default: all.":
    "Ein Dienst, den sie anbietet; mehrfach möglich; sonst alle.",
    "Its name; default: from the official list.": "Ihr Name; sonst aus der amtlichen Liste.",
    "Its key in the store, for ever; default: from the name.":
    "Ihr Schlüssel im Speicher, für immer; sonst aus dem Namen.",
    "Its provider (key in billing.toml).": "Ihr Dienstleister (Schlüssel in billing.toml).",
    "Its population, for bills.": "Ihre Einwohnerzahl, für Rechnungen.",
    "{name} is set up: {file}": "{name} ist eingerichtet: {file}",
    "folder made: {folder}": "Ordner angelegt: {folder}",
    "All municipalities with their services and destinations.":
    "Alle Kommunen mit ihren Diensten und Zielen.",
    "One municipality with all that it inherits.": "Eine Kommune mit allem, was sie erbt.",
    "Retention: what need not be kept any more.": "Aufbewahrung: was nicht länger aufgehoben werden muss.",
    "Delete now what need not be kept any more; the running hub does so by itself every day.":
        "Jetzt löschen, was nicht länger aufgehoben werden muss; die laufende Drehscheibe tut es täglich von "
        "selbst.",
    "Only count it.": "Nur zählen.",
    "under way; its end stands in the hub's log": "läuft noch; das Ende steht im Protokoll der Drehscheibe",
    "due: the content of {messages} messages, {proofs} proofs":
        "fällig: der Inhalt von {messages} Nachrichten, {proofs} Nachweise",
    "deleted: the content of {messages} messages ({bodies} parts, {bytes} bytes), {proofs} proofs, {keys} "
    "keys":
        "gelöscht: der Inhalt von {messages} Nachrichten ({bodies} Teile, {bytes} Bytes), {proofs} "
        "Nachweise, {keys} abgelaufene Schlüssel",
    "The content was deleted at the end of its retention; the proof stays.":
        "Der Inhalt wurde nach Ablauf der Aufbewahrungsfrist gelöscht; der Nachweis bleibt.",
    "The store: is it sound, and what can be mended.":
    "Der Speicher: ob er heil ist, und was sich heilen lässt.",
    "Look at the whole store and change nothing; beside a running hub, too.":
        "Den ganzen Speicher ansehen und nichts ändern; auch neben einer laufenden Drehscheibe.",
    "Read every body and compare its digest (slow).":
    "Jeden Inhalt lesen und seine Prüfsumme vergleichen (dauert).",
    "(stands in its history)": "(steht in ihrem Verlauf)",
    "… and {count} more (--json shows all)": "… und {count} weitere (--json zeigt alle)",
    "{messages} messages, {bodies} bodies, {files} files":
    "{messages} Nachrichten, {bodies} Inhalte, {files} Dateien",
    "{bytes} bytes read": "{bytes} Bytes gelesen", "not sound": "nicht heil",
    "stop the hub, keep a copy of its state, then drehscheibe restore the last backup "
    "(docs/operate-backup.md)":
        "Drehscheibe anhalten, ihren Zustand kopieren, dann die letzte Sicherung einspielen: drehscheibe "
        "restore (docs/operate-backup.md)",
    "stop the hub, then drehscheibe store repair": "Drehscheibe anhalten, dann drehscheibe store repair",
    "the database is damaged": "die Datenbank ist beschädigt",
    "a row refers to nothing": "eine Zeile verweist ins Leere",
    "the books are wrong": "die Bücher stimmen nicht",
    "a file that nothing names": "eine Datei, die nirgends vorkommt",
    "a file that retention will delete": "eine Datei, die die Aufbewahrung löschen wird",
    "a body is missing": "ein Inhalt fehlt", "a body is damaged": "ein Inhalt ist beschädigt",
    "Mend what can be mended safely, the hub being stopped; without --yes only say what would be done.":
        "Heilen, was sich sicher heilen lässt, bei angehaltener Drehscheibe; ohne --yes nur sagen, was "
        "geschähe.",
    "Do it.": "Es tun.",
    "park this message": "diese Nachricht parken", "park this delivery": "diese Zustellung parken",
    "note the loss in this message's history": "den Verlust im Verlauf dieser Nachricht vermerken",
    "move this file to the quarantine": "diese Datei in die Quarantäne verschieben",
    "correct the books": "die Bücher berichtigen", "cannot be mended here": "lässt sich hier nicht heilen",
    "Nothing was changed. Do it with --yes.": "Nichts wurde geändert. Mit --yes geschieht es.",
    "Copy the store to a new folder, or to a new .tar file, beside the running hub.":
        "Den Speicher in einen neuen Ordner oder eine neue .tar-Datei sichern, neben der laufenden "
        "Drehscheibe.",
    "{target}: {messages} messages, {files} files, {bytes} bytes, as of {made_at}":
        "{target}: {messages} Nachrichten, {files} Dateien, {bytes} Bytes, Stand {made_at}",
    "The content of {count} messages was deleted meanwhile, at the end of its retention.":
        "Der Inhalt von {count} Nachrichten wurde währenddessen gelöscht, am Ende seiner Aufbewahrung.",
    "body {name} is damaged or missing in the store itself: drehscheibe store check --deep":
        "Inhalt {name} ist im Speicher selbst beschädigt oder fehlt dort: drehscheibe store check --deep",
    "Put a backup in the place of the store, the hub being stopped; all of it is verified first.":
        "Eine Sicherung an die Stelle des Speichers setzen, bei angehaltener Drehscheibe; zuerst wird sie "
        "ganz geprüft.",
    "Only verify the backup; restore nothing.": "Die Sicherung nur prüfen; nichts einspielen.",
    "Move a store that is there aside (it is never deleted).":
        "Einen Speicher, der schon da ist, beiseite legen (er wird nie gelöscht).",
    "No hub has run on this store since: leave what is due as it is.":
        "Seit der Sicherung lief keine Drehscheibe auf diesem Speicher: Fälliges bleibt, wie es ist.",
    "sound: {messages} messages, {files} files, as of {made_at}; nothing was restored":
        "heil: {messages} Nachrichten, {files} Dateien, Stand {made_at}; nichts wurde eingespielt",
    "restored to {state}: {messages} messages, {files} files, as of {made_at}":
        "eingespielt nach {state}: {messages} Nachrichten, {files} Dateien, Stand {made_at}",
    "what was there lies in {moved_aside}": "was dort war, liegt in {moved_aside}",
    "  {in_doubt} deliveries are in doubt: the receivers are asked before anything is sent again":
        "  {in_doubt} Zustellungen sind unklar: ihre Empfänger werden gefragt, bevor noch einmal gesendet "
        "wird",
    "  {waiting} messages were not translated yet: their deliveries will be in doubt, too":
        "  {waiting} Nachrichten waren noch nicht übersetzt: auch ihre Zustellungen werden unklar sein",
    "A parked message was never sent. One that somebody replayed after {made_at} may have arrived since, and "
    "the hub's log knows it ('an operator acts', verb=replay): replay that one with --ask-first.":
        "Eine geparkte Nachricht wurde nie gesendet. Hat jemand eine nach {made_at} erneut verarbeitet, kann "
        "sie seither angekommen sein, und das Protokoll der Drehscheibe weiß es ('an operator acts', "
        "verb=replay): diese mit --ask-first wiederholen.",
    "  {parked} messages and deliveries are parked as before":
        "  {parked} Nachrichten und Zustellungen sind geparkt wie zuvor",
    "Not in this backup: what was accepted after {made_at}. Ask the senders.":
        "Nicht in dieser Sicherung: was nach {made_at} angenommen wurde. Die Absender fragen.",
    "What they send again is taken as new: its duplicate keys are not in the backup, either.":
        "Was sie noch einmal senden, gilt als neu: auch seine Doppelschlüssel fehlen in der Sicherung.",
    "tables": "Tabellen", "files": "Dateien", "digests": "Prüfsummen", "database": "Datenbank",
    "references": "Verweise",
    "tallies": "Bücher", "bodies": "Inhalte",
    "Declare exchanges, queues, limits, users and permissions of the AMQP inlet.":
        "Exchanges, Queues, Grenzen, Benutzer und Rechte des AMQP-Eingangs anlegen.",
    "Print the JSON schema of a configuration file, for editors.":
        "Das JSON-Schema einer Konfigurationsdatei ausgeben, für Editoren.",
    "Play the examples through a hub of its own: what `make run` does.":
        "Die Beispiele durch eine eigene Drehscheibe spielen: was `make run` tut.",
    "End after the table instead of staying up.": "Nach der Tabelle enden, statt weiterzulaufen.",
    "fine": "in Ordnung",
    "run this as the hub's user, or mend the rights":
    "als Benutzer der Drehscheibe aufrufen oder die Rechte berichtigen",
    "(known already: nothing new was taken)": "(schon bekannt: nichts Neues angenommen)",
    "The old configuration stays in force.": "Die alte Konfiguration gilt weiter.",
    "The configuration was read again.": "Die Konfiguration ist neu gelesen.",
    "Not taken up before a restart of the hub: {what}":
    "Erst nach einem Neustart der Drehscheibe wirksam: {what}",
    "The hub has ended (exit {code}); what it accepted is safe. Its log: {log}. Start it again: make run":
        "Die Drehscheibe hat geendet (Code {code}); was sie annahm, ist sicher. Ihr Protokoll: {log}. Neu "
        "starten: make run",
    "An id for this action: whoever repeats it acts once.":
    "Eine Kennung für diese Handlung: wiederholt wirkt sie nur einmal.",
    "{count} wait for their turn": "{count} warten, bis sie an der Reihe sind (order)",
    "destination": "Ziel", "due": "wartet", "under way": "unterwegs", "in doubt": "unklar",
    "parked": "geparkt",
    "oldest": "Älteste", "rests until": "ruht bis", "message": "Nachricht", "state": "Zustand",
    "service": "Dienst",
    "Show which connectors there are, and where each comes from.":
        "Zeigen, welche Connectoren es gibt und woher jeder kommt.",
    "Write a connector with its test, which passes at once.":
        "Einen Connector schreiben, mit seinem Test, der sofort besteht.",
    "It brings deliveries: into a drop, over HTTP, or otherwise.":
        "Er bringt Zustellungen: in eine Ablage, über HTTP oder anders.",
    "It takes messages.": "Er nimmt Nachrichten an.",
    "A clone of the repository; default: this folder.": "Ein Klon des Repositorys; sonst dieser Ordner.",
    "give one of --outlet and --inlet": "eines von --outlet und --inlet angeben",
    "Connectors: what there is, and a new one.": "Connectoren: was es gibt, und ein neuer.",
    "name": "Name", "sides": "Seiten", "kind": "Art", "drop": "Ablage", "comes from": "kommt von",
    "about": "worum es geht",
    "received": "angenommen", "reason": "Grund", "next:": "Nächster Schritt:",
    "nothing waits": "nichts wartet",
    "done": "erledigt", "nothing to do": "nichts zu tun", "delivery": "Zustellung", "where": "wohin",
    "attempts": "Versuche",
    "history": "Verlauf", "no messages": "keine Nachrichten",
    "Stopping …": "Wird angehalten …", "starting the hub …": "Die Drehscheibe startet …",
    "handing in": "einreichen",
    "arriving": "ankommen", "municipality": "Kommune", "where it went": "wohin es ging", "how long": "Dauer",
    "metrics": "Metriken", "status": "Zustand", "mailboxes": "Postfächer", "log": "Protokoll", "more": "mehr",
    "completed": "fertig", "routed": "unterwegs", "deferred": "wartet auf Auskunft", "discarded": "verworfen",
    "unknown": "unbekannt", "more than {count}": "mehr als {count}",
    "{arrived} arrived, {parked} are parked because their example is faulty on purpose, "
    "{wrong} ✗ went wrong.":
        "{arrived} sind angekommen, {parked} sind geparkt, weil ihr Beispiel mit Absicht falsch ist, {wrong} "
        "✗ gingen schief.",
    "{count} have no PDF yet for want of libpango; once it is there: drehscheibe replay {id}":
        "{count} haben mangels libpango noch kein PDF; sobald es da ist: drehscheibe replay {id}",
    "Why, and what to do next: drehscheibe why {id}": "Warum, und was zu tun ist: drehscheibe why {id}",
    "The hub stays up; Ctrl-C stops it.": "Die Drehscheibe läuft weiter; Strg-C hält sie an.",
    "The example hub is running already: look at it with 'drehscheibe --config etc/hub.toml queue', "
    "or stop it with Ctrl-C there.":
        "Die Beispiel-Drehscheibe läuft schon: ansehen mit 'drehscheibe --config etc/hub.toml queue', "
        "oder dort mit Strg-C anhalten.",
    "Without libpango no PDF can be printed; install it with: sudo {command}":
        "Ohne libpango lässt sich kein PDF drucken; so kommt es auf den Rechner: sudo {command}",
}

"""What is said of a citizen's files, and which of them a route does not take.

`hub.parsing.file_type` looked at each file when it was taken out of the message. Its marks go into the
history here, by the number of the attachment: no name and no word of a citizen's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hub.errors import Rejected
from hub.i18n.sentence import Sentence, lines, say
from hub.job import Mark, OutAttachment, Rule
from hub.message import Reason

_WORDS: dict[Mark, Sentence] = {
    "program": say("ein Programm oder eine Datei, die eines startet"),
    "script": say("ein Skript oder ein Dokument mit Skript"),
    "macro": say("ein Dokument mit Makros"),
    "archive": say("ein Archiv; es wurde nicht ausgepackt"),
    "locked": say("ein Archiv mit Kennwort"),
    "other-type": say("eine Datei, deren Inhalt etwas anderes ist, als Name oder Medientyp sagen"),
}


def notes_of(attachments: Sequence[OutAttachment]) -> Iterator[Sentence]:
    """For each marked attachment what was seen, for the history."""
    for number, attachment in enumerate(attachments, 1):
        if attachment.marks:
            yield say("Anlage {number}: {what}", number=number,
                      what=lines((_WORDS[mark] for mark in attachment.marks), "; "))


def refuse(rule: Rule, attachments: Sequence[OutAttachment]) -> None:
    """Raise `Rejected` (``attachment``) where the rule does not take one of them."""
    refused = [say("Anlage {number} ist {what}", number=number, what=_WORDS[mark])
               for number, attachment in enumerate(attachments, 1)
               for mark in attachment.marks if mark in rule.parked_attachments]
    if refused:
        raise Rejected(Reason.ATTACHMENT, say(
            "{refused}: Diese Nachricht wird so nicht zugestellt. Mit dem Antragsteller klären, was die "
            "Datei "
            "soll; soll dieser Weg solche Dateien zustellen, in seiner [[route]] 'attachments' mit anderem "
            "'park' setzen, neu laden, dann 'replay'; sonst verwerfen.", refused=lines(refused, "; ")))

"""Who applies, as far as a mail's header may say it: one word for the subject, one address for answers.

Both are read from the groups that the field table calls the applicant's (``applicant = true``), and from
nothing else. The head of mails and PDFs (``mappings/_common/kopf.xsl``) guesses where no group is called so;
here a guess could send an answer to a stranger. Of several groups each gives its first instance with a name;
the first of them that has one gives the name, the first that has an address gives that.

What a field means is known by its id, as in ``kopf.xsl``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

from lxml import etree

from hub.job import Applicant
from hub.mapping.model import FieldTable
from hub.pipeline.envelope import E

FAMILY_NAMES = ("name", "familienname", "nachname", "zuname")
COMPANIES = ("firma", "firmenname", "organisation", "unternehmen", "verein", "einrichtung", "institution",
             "geschaeftsbezeichnung")
MAILS = ("email", "e-mail", "emailadresse", "e-mail-adresse", "mail", "mailadresse")

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_ADDRESS = re.compile(rf"(?=.{{6,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+")
_LONGEST = 60


def applicant_of(envelope: etree._Element, table: FieldTable) -> Applicant | None:
    """The applicant of a typed envelope; None where no group is the applicant's or none is filled in."""
    found = list(_instances(envelope, table))
    if not found:
        return None
    mails = (mail for instance in found for mail in _texts(instance, MAILS) if _ADDRESS.fullmatch(mail))
    return Applicant(name=_name(found[0]), mail=next(mails, None))


def _instances(envelope: etree._Element, table: FieldTable) -> Iterator[etree._Element]:
    for group in table.group:
        if not group.applicant:
            continue
        instances = envelope.iterfind(f"{E}fields/{group.id}/instance")
        yield from [each for each in instances if _name(each) is not None][:1]


def _name(instance: etree._Element) -> str | None:
    """The family name, else the company's: one line without signs that nobody sees, not too long."""
    for text in (*_texts(instance, FAMILY_NAMES), *_texts(instance, COMPANIES)):
        line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
        if line:
            return line if len(line) <= _LONGEST else f"{line[:_LONGEST - 1].rstrip()}…"
    return None


def _texts(instance: etree._Element, ids: Collection[str]) -> Sequence[str]:
    return [text for field in instance if str(field.tag).lower() in ids
            and (text := (field.text or "").strip())]

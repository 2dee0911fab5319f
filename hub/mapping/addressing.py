"""What stands on a delivery outside of its files: the subject, and where answers go.

Made of what the rule says, of the message's number and case, and, only where the recipient asks for it, of
the applicant's name and mail address.
"""

from __future__ import annotations

from collections.abc import Mapping

from hub.job import Applicant, Job, Recipient, Rule
from hub.mapping.by_rule import short_id
from hub.message import REPLY_TO

_LONGEST_WORD = 60


def asks_for_applicant(recipient: Recipient) -> bool:
    """Whether a recipient wants anything of the applicant's outside of the files."""
    return "name" in recipient.subject_with or recipient.reply_to == "applicant"


def subject(rule: Rule, recipient: Recipient, job: Job, applicant: Applicant | None) -> str:
    """``<subject> – <name> – <case> [<short number>]``; what is not there is left out."""
    words = {"name": applicant.name if applicant else None, "case": job.case}
    said = [_cut(word) for each in recipient.subject_with if (word := words[each])]
    return f"{' – '.join([recipient.subject or rule.subject, *said])} [{short_id(job.message_id)}]"


def _cut(word: str) -> str:
    """Not so long that the short number would be cut off."""
    return word if len(word) <= _LONGEST_WORD else f"{word[:_LONGEST_WORD - 1].rstrip()}…"


def properties(recipient: Recipient, applicant: Applicant | None) -> Mapping[str, str]:
    """The recipient's own, and where answers go (`hub.message.REPLY_TO`)."""
    if recipient.reply_to == "applicant" and applicant and applicant.mail:
        return {**recipient.properties, REPLY_TO: applicant.mail}
    return recipient.properties

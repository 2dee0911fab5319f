"""The errors of the hub. The class of an error says who acts next.

::

    HubError
    ├── ConfigError           the configuration is wrong: the operator corrects it (exit code 78)
    ├── StoreUnavailable      the store cannot write now: the sender keeps the message and tries again
    │   └── StoreDamaged      the database is damaged: somebody restores a backup
    ├── Busy                  a port, another hub or a missing answer is in the way (exit code 75)
    ├── NotAllowed            the sender may not hand this in (HTTPS 403)
    ├── Conflict              the duplicate key is known with other content (HTTPS 409)
    ├── Rejected              this message cannot be processed as it is: it is parked with a reason
    └── DeliveryError         one delivery failed
        ├── Temporary         the hub tries again, by the destination's retry policy
        ├── Permanent         no further try can succeed: the delivery is parked
        │   └── TooLarge      over the receiver's size limit: the destination's fallback may take it
        ├── Misconfigured     the destination is set up wrongly: it rests as a whole and raises one alarm
        └── InDoubt           the receiver may have it: probe, repeat with a mark, or ask a person

The hub never resends a delivery in doubt silently. The text of an error carries no personal data: it names
fields, codes and places, never values.

Used by every module and every connector. Knows reasons and sentences, nothing else of the hub.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hub.i18n.sentence import Sentence
from hub.message import Reason


class HubError(Exception):
    """Base of everything the hub raises on purpose."""


class ConfigError(HubError):
    """The configuration cannot be used.

    `problems` holds finished lines: ``file: key: what is wrong: what to do``.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    @classmethod
    def at(cls, file: Path | str, key: str, problem: str, remedy: str) -> ConfigError:
        """An error with one problem at one place."""
        return cls(f"{file}: {key}: {problem}: {remedy}")


class StoreUnavailable(HubError):
    """The store cannot write now. `retry_after` is a hint for the sender, in seconds."""

    def __init__(self, text: str, retry_after: float = 30.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class StoreDamaged(StoreUnavailable):
    """The database is damaged. A later try cannot succeed."""


class Busy(HubError):
    """Something outside of the hub is in the way: a port, another process, a hub that does not answer."""


class NotAllowed(HubError):
    """A recognised sender may not send this kind of message to this municipality."""


class Conflict(HubError):
    """The duplicate key is known with other content. `message_id` names the message that has the key."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"same duplicate key as message {message_id}, but other content")
        self.message_id = message_id


class Rejected(HubError):
    """A message cannot be processed as it is.

    `text` is German, for the operator; `trace` lists what was tried, one line each. Both are sentences, which
    hold nothing a citizen wrote. Raises TypeError for a text that is none.
    """

    def __init__(self, reason: Reason, text: Sentence, trace: Sequence[Sentence] = ()) -> None:
        if not all(isinstance(line, Sentence) for line in (text, *trace)):
            raise TypeError("a reason is a sentence made by hub.i18n.sentence")
        super().__init__(f"{reason}: {text}")
        self.reason = reason
        self.text = text
        self.trace = tuple(trace)


class DeliveryError(HubError):
    """Base of the four ways in which a delivery fails. The text is for operators."""


class Temporary(DeliveryError):
    """Another try may succeed. `retry_after` (seconds) is the wait that the receiver asked for, or None."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Permanent(DeliveryError):
    """The receiver never takes this delivery as it is."""


class TooLarge(Permanent):
    """The delivery is over the receiver's size limit. A destination with other limits may take it."""


class Misconfigured(DeliveryError):
    """The destination is set up wrongly, and a person must correct it.

    Examples: the password, the host key, the certificate, a missing folder.
    """


class InDoubt(DeliveryError):
    """The receiver may or may not have the delivery."""

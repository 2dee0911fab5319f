"""What can go wrong, and who decides what happens next.

::

    HubError
    ├── ConfigError           the configuration is wrong: file, key, what, what to do (exit code 78)
    ├── StoreUnavailable      nothing can be made durable now: the sender keeps the message and asks again
    │   └── StoreDamaged      and never before somebody restores a backup: the database is damaged
    ├── Busy                  something outside is in the way (a port, another hub): later (exit code 75)
    ├── NotAllowed            the sender may not hand this in (HTTPS 403)
    ├── Conflict              same duplicate key, other content (HTTPS 409)
    ├── Rejected              this message cannot be processed as it is: it is parked with a reason
    └── DeliveryError         one delivery did not come to its end
        ├── Temporary         later, by the destination's retry policy
        ├── Permanent         never as it is: the delivery is parked
        │   └── TooLarge      over the receiver's size limit: the destination's fallback may take it
        ├── Misconfigured     never before somebody mends the destination: it rests as a whole, one alarm
        └── InDoubt           the receiver may have it: probe, repeat or ask, never resend silently

No message of an error carries personal data: texts name fields, codes and places, never values.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hub.i18n.sentence import Sentence
from hub.message import Reason


class HubError(Exception):
    """Base of everything the hub raises on purpose."""


class ConfigError(HubError):
    """A configuration cannot be used.

    `problems` are finished lines ``file: key: what is wrong: what to do``.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))

    @classmethod
    def at(cls, file: Path | str, key: str, problem: str, remedy: str) -> ConfigError:
        """One problem at one place."""
        return cls(f"{file}: {key}: {problem}: {remedy}")


class StoreUnavailable(HubError):
    """The store cannot make anything durable now; `retry_after` is a hint in seconds."""

    def __init__(self, text: str, retry_after: float = 30.0) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class StoreDamaged(StoreUnavailable):
    """The database is not what was written: asking again later changes nothing."""


class Busy(HubError):
    """Something outside of the hub is in the way now: a port, another process, a hub that does not answer."""


class NotAllowed(HubError):
    """A recognised sender may not send this kind of message to this municipality."""


class Conflict(HubError):
    """The duplicate key is known with other content; `message_id` is the message that has it."""

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
    """Base of the four ways in which a delivery does not come to its end. The text is for operators."""


class Temporary(DeliveryError):
    """Worth another try; `retry_after` (seconds) is what the receiver asked for, if it did."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class Permanent(DeliveryError):
    """The receiver will never take this delivery as it is."""


class TooLarge(Permanent):
    """Over the receiver's size limit: a destination with other limits may take the same delivery."""


class Misconfigured(DeliveryError):
    """The destination cannot work before somebody mends it (password, host key, certificate, missing
    folder)."""


class InDoubt(DeliveryError):
    """The receiver may or may not have it."""

"""What a form content says of the applicant's account: its kind, how somebody signed in, which values were
read out of it.

The portal puts both into its JSON: ``context`` has ``servicekontoContextType`` and
``servicekontoNpaAuthenticated``, and a value that was read out of the account comes with a
``verificationToken``, a JWT (RFC 7519) whose content has a list of verifications with a ``verificationLevel``
(found in form contents of OZG-Hub/serviceportale-commons). The form dumps in XML have none of it.

BUGS: the signature of a token is not checked, because the portal's public key is not published. Whatever is
shown of it says so.
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any

from hub.pipeline.envelope import Account

_CODE = re.compile(r"[A-Z0-9_]{1,40}", re.ASCII)
_MOST_TOKEN = 20_000
"""Characters of a token that is looked at."""


def account_of(context: Any, tokens: Mapping[str, Any]) -> Account | None:
    """The account, or None where nothing is said of one. `tokens` are verification tokens by the places of
    their fields. What is not understood is left out: it never parks a message."""
    known = context if isinstance(context, dict) else {}
    type_, identified = known.get("servicekontoContextType"), known.get("servicekontoNpaAuthenticated")
    type_ = type_ if isinstance(type_, str) and _CODE.fullmatch(type_) else None
    identified = identified if isinstance(identified, bool) else None
    levels = {place: level for place, token in tokens.items() if (level := _level(token)) is not None}
    if type_ is None and identified is None and not levels:
        return None
    return Account(type_, identified, levels)


def _level(token: Any) -> str | None:
    """The level of the first verification in a token; None where there is none."""
    if not isinstance(token, str) or len(token) > _MOST_TOKEN or token.count(".") != 2:
        return None
    payload = token.split(".")[1]
    try:
        content = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        level = content["content"]["verificationInfoList"][0]["verificationLevel"]
    except (binascii.Error, ValueError, LookupError, TypeError, RecursionError):
        return None
    return level if isinstance(level, str) and _CODE.fullmatch(level) else None

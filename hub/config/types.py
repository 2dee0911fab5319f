"""The words that several files share: keys and official numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

Key = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Ags = Annotated[str, StringConstraints(pattern=r"^(\d{8}|\d{5})$")]
Ars = Annotated[str, StringConstraints(pattern=r"^(\d{12}|\d{9}|\d{5})$")]

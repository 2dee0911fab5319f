"""A small distribution as pip installs one: modules, and entry points that name connectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PIGEON = '''"""Writes each delivery's files into one file, for looking on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field, field_validator

from hub.endpoint import Finding, OptionsModel, OutletBase
from hub.message import Delivery, Receipt


class Options(OptionsModel):
    """``connector = "pigeon"``"""

    german: ClassVar[Mapping[str, str]] = {
        "is no loft": "ist kein Schlag", "take the one on the roof": "den auf dem Dach"}

    loft: Path = Field(description="the folder")

    @field_validator("loft")
    @classmethod
    def _there(cls, value: Path) -> Path:
        if value.name == "cellar":
            raise ValueError("is no loft: take the one on the roof")
        return value


class Outlet(OutletBase[Options]):
    """One file per delivery."""

    repeat = "idempotent"
    kind = "register"
    whom = "die Taubenzüchterin"
    in_doubt = "repeat-marked"

    def deliver(self, delivery: Delivery, effect_begins: Callable[[], None]) -> Receipt:
        effect_begins()
        (self.options.loft / delivery.id).write_bytes(
            b"".join(delivery.read(part) for part in delivery.manifest.parts))
        return Receipt(delivery.id)

    def check(self) -> Sequence[Finding]:
        if self.options.loft.is_dir():
            return [Finding("ok", "Der Schlag ist offen.")]
        return [Finding("error", "Der Schlag fehlt.", "Einen bauen.")]
'''
"""A connector that the repository does not have."""


def install(site: Path, connectors: Mapping[str, str], name: str = "pigeon-post", version: str = "1.2",
            modules: Mapping[str, str] | None = None) -> Path:
    """Put the distribution into the folder `site`, which is on the path or will be; returns it.

    `connectors` are names and their modules; `modules` are the modules' sources, by default `PIGEON` for each
    of them.
    """
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(about, encoding="utf-8")
    lines = ["[drehscheibe.connectors]", *(f"{key} = {module}" for key, module in connectors.items()), ""]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    sources = dict.fromkeys(connectors.values(), PIGEON) if modules is None else modules
    for module, source in sources.items():
        (site / f"{module}.py").write_text(source, encoding="utf-8")
    return site

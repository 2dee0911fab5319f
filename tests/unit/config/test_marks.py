"""What an option means to the hub stands in its type."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from hub.config.marks import marked
from hub.endpoint import Authority, Certificate, Mark, OptionsModel, SecretRef, SenderName


class Inner(OptionsModel):
    """A sender."""

    name: SenderName
    password: SecretRef | None = None


class Outer(OptionsModel):
    """Marks at every depth that there is."""

    plain: Path | None = None
    key: SecretRef = Field(alias="private-key")
    ours: Certificate | None = None
    theirs: tuple[Authority, ...] = ()
    senders: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = Field({})
    one: Inner | None = None
    either: Annotated[Path, Mark("authority")] | Inner | None = None


def test_what_an_option_means_stands_in_its_type() -> None:
    options = Outer(**{"private-key": "file:/k", "theirs": ("a", "b"), "plain": "p", "either": "c",
                       "senders": ({"name": "eins", "password": "file:/p"}, {"name": "zwei"}),
                       "by_name": {"x": {"name": "drei"}}, "one": {"name": "vier"}})
    assert list(marked(options, Mark("sender"))) == [
        ("senders.0.name", "eins"), ("senders.1.name", "zwei"), ("by_name.x.name", "drei"),
        ("one.name", "vier")]
    assert list(marked(options, Mark("secret"))) == [
        ("private-key", "file:/k"), ("senders.0.password", "file:/p")]
    assert list(marked(options, Mark("authority"))) == [
        ("theirs.0", Path("a")), ("theirs.1", Path("b")), ("either", Path("c"))]
    assert list(marked(options, Mark("certificate"))) == []

"""The yardstick translates what the hub translates."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from benchmarks import application
from benchmarks.chain import Chain
from hub.authoring.examples import preview


@pytest.mark.parametrize("size", application.SIZES)
def test_hub_and_yardstick_translate_the_same(size: str, tmp_path: Path) -> None:
    """One application through the hub's pipeline and through the bare one: the same document comes out."""
    groups, attachment = application.SIZES[size]
    document = application.document("probe-1", groups, min(attachment, 3000))
    rendering, bodies = Chain()(document)
    application.write_mapping(tmp_path / "mappings")
    (tmp_path / "probe.xml").write_bytes(document)
    made = preview(tmp_path / "mappings", application.SERVICE, str(tmp_path / "probe.xml"))
    assert etree.tostring(etree.fromstring(rendering)) == etree.tostring(etree.fromstring(made["antrag.xml"]))
    assert len(bodies) == (1 if attachment else 0)
    if attachment:
        assert bodies[0].startswith(b"%PDF")


def test_the_chain_refuses_what_does_not_fit() -> None:
    wrong = application.document("probe-1").replace(b"<plz>", b"<plz>x")
    with pytest.raises(etree.DocumentInvalid):
        Chain()(wrong)

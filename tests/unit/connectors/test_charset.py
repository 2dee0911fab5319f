"""The charset parameter of a media type, and bytes as text."""

from __future__ import annotations

import pytest

from connectors._charset import Garbled, charset_of, decode


@pytest.mark.parametrize(("content_type", "name"), [
    ("text/xml; charset=ISO-8859-1", "iso-8859-1"),
    ('text/xml;action="a;charset=b";charset="UTF-8"', "utf-8"),
    ("text/xml; charset = utf-8", "utf-8"), ("text/xml", None), ("", None), (None, None),
    ("text/xml; charset=UTF_16", "utf_16"),
    ("text/xml; charset=", None), ("text/xml; charset=nie-gehört", None), ("text/xml; charset=hex", None),
    ("text/xml; charset*=us-ascii'de'latin1", "latin1"), ("text/xml\r\n; charset=a\0b", None)])
def test_the_parameter(content_type: str | None, name: str | None) -> None:
    assert charset_of(content_type) == name


def test_the_order() -> None:
    raw = "ä".encode()
    assert decode(raw) == "ä"
    assert decode(raw, outside="latin1") == "Ã¤"
    assert decode(raw, "utf-8", "latin1") == "ä"
    assert decode(raw, "us-ascii") == "ä"
    assert decode(b"\xef\xbb\xbf" + raw, "latin1", "latin1") == "ä"
    for wrong in ("utf-16", "gibt-es-nicht", "koi8-x", "utf-7"):
        with pytest.raises(Garbled):
            decode(raw, wrong)

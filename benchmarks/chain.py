"""The limit of the XML work: lxml alone parses, validates, translates and serialises applications.

``python -m benchmarks.chain [--size "4 KB"] [--rounds 3] [--json]`` measures it on one and on two threads.
Imports nothing from the hub.
"""

from __future__ import annotations

import binascii
import threading
import time
from typing import Any

from lxml import etree

from benchmarks import application, figures


class Chain:
    """Schema and stylesheet, compiled once. Several threads may call it; lxml runs them side by side."""

    def __init__(self) -> None:
        self._parser = threading.local()
        self._schema = etree.XMLSchema(etree.fromstring(application.bare_schema().encode()))
        self._style = etree.XSLT(etree.fromstring(application.bare_stylesheet().encode()))

    def __call__(self, document: bytes) -> tuple[bytes, list[bytes]]:
        """The rendering and the attachments. Raises `etree.DocumentInvalid`, `etree.XMLSyntaxError`."""
        if not hasattr(self._parser, "it"):
            self._parser.it = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True)
        root = etree.fromstring(document, self._parser.it)
        attachments = [_take_out(upload, number)
                       for number, upload in enumerate(root.iterfind(".//nachweis"), 1)]
        self._schema.assertValid(root)
        result: Any = self._style(root)
        return etree.tostring(result, encoding="UTF-8", xml_declaration=True), attachments


def _take_out(upload: etree._Element, number: int) -> bytes:
    body = binascii.a2b_base64(upload.findtext("base64Data") or "")
    for child in list(upload):
        upload.remove(child)
    etree.SubElement(upload, "attachment", ref=str(number))
    return body


def rate(documents: list[bytes], threads: int, seconds: float) -> float:
    """The applications per second that so many threads reach."""
    chain = Chain()
    chain(documents[0])
    counts = [0] * threads
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        while time.monotonic() < end:
            chain(documents[(counts[number] * threads + number) % len(documents)])
            counts[number] += 1

    began = time.monotonic()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


def samples(size: str) -> list[bytes]:
    """Applications of a size, so many that no cache helps."""
    return [application.document(f"kette-{n}", *application.SIZES[size])
            for n in range(4 if "MB" in size else 200)]


def main() -> int:
    """Run the command. Returns its exit code."""
    parser = figures.parser("chain", __doc__)
    parser.add_argument("--size", choices=list(application.SIZES), default="4 KB")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a round")
    options = parser.parse_args()
    documents = samples(options.size)
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(options.rounds):
        for threads, rates in found.items():
            rates.append(rate(documents, threads, options.seconds))
    return figures.show(
        options,
        {
            "bytes": len(documents[0]),
            "rows":
            [{"what": f"{threads} threads", **figures.summary(rates)} for threads, rates in found.items()],
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())

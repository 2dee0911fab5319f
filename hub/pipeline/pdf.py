"""HTML into PDF by WeasyPrint: accessible (PDF/UA-1), the same bytes for the same input, nothing fetched but
``data:``.

The page is a stylesheet's output, so a URL that is not ``data:`` is the stylesheet's mistake, and is told as
such. WeasyPrint needs Pango; where that is missing the error names the command that installs it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from hub.errors import Rejected
from hub.message import Reason

APT_LINE = "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


def print_pdf(html: str, title: str) -> bytes:
    """The page as PDF. `title` serves where the page has none. Raises `Rejected` with ``configuration``."""
    weasyprint = _weasyprint()
    from weasyprint.urls import FatalURLFetchingError

    document = weasyprint.HTML(string=html, base_url=None, url_fetcher=_fetcher())
    _complete(document.etree_element, title)
    try:
        content: bytes = document.write_pdf(
            pdf_variant="pdf/ua-1", pdf_identifier=hashlib.sha256(html.encode()).digest()[:16])
    except FatalURLFetchingError as error:
        raise Rejected(Reason.CONFIGURATION, f"Das PDF-Stylesheet ist nicht brauchbar: {error}") from error
    return content


def _weasyprint() -> Any:
    try:
        import weasyprint
    except OSError as error:
        raise Rejected(Reason.CONFIGURATION,
                       f"PDF kann nicht erzeugt werden, es fehlt eine Bibliothek: {APT_LINE}",
                       (str(error)[:500],)) from error
    return weasyprint


def _fetcher() -> Any:
    from weasyprint.urls import FatalURLFetchingError, URLFetcher

    class DataOnly(URLFetcher):  # type: ignore[misc]
        """`URLFetcher` opens file: and http: by default."""

        def fetch(self, url: str, headers: Any = None) -> Any:
            if not url.lower().startswith("data:"):
                raise FatalURLFetchingError(f"{url[:200]}: nur data: ist erlaubt")
            return super().fetch(url, headers)

    return DataOnly(allowed_protocols=("data",), allow_redirects=False)


def _complete(root: Any, title: str) -> None:
    """PDF/UA asks for a language and a title (ISO 14289-1, 7.1 and 7.2)."""
    if not root.get("lang"):
        root.set("lang", "de")
    head = root.find("head")
    if head is not None and not (head.findtext("title") or "").strip():
        element = head.find("title")
        if element is None:
            element = head.makeelement("title", {})
            head.append(element)
        element.text = title

"""HTML into PDF by WeasyPrint: accessible (PDF/UA-1), and the same bytes for the same input.

Nothing is fetched but ``data:``. The page is a stylesheet's output, so any other URL is the stylesheet's
mistake. It is told as such, but not named, because a stylesheet may make it of what a citizen wrote.
WeasyPrint needs Pango. Where that is missing, the reason names the command that installs it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from hub.errors import Rejected
from hub.i18n.sentence import Name, Words, say
from hub.message import Reason

APT_LINE = "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


def print_pdf(html: str, title: str, stylesheet: str) -> bytes:
    """The page as PDF. `title` serves where the page has none; `stylesheet` is the file that made the page.

    Raises `Rejected` with ``mapping`` for a page that cannot be printed, ``configuration`` for want of Pango.
    """
    weasyprint = _weasyprint()
    from weasyprint.urls import FatalURLFetchingError

    try:
        document = weasyprint.HTML(string=html, base_url=None, url_fetcher=_fetcher())
        _complete(document.etree_element, title)
        content: bytes = document.write_pdf(
            pdf_variant="pdf/ua-1", pdf_identifier=hashlib.sha256(html.encode()).digest()[:16])
    except FatalURLFetchingError as error:
        raise Rejected(Reason.MAPPING, say(
            "Das PDF-Stylesheet {file} ist nicht brauchbar: die Seite verweist auf eine Adresse, die nicht "
            "mit data: beginnt: den Verweis herausnehmen oder den Inhalt als data: einbetten, dann erneut "
            "verarbeiten.", file=Name(stylesheet))) from error
    except MemoryError:
        raise
    except Exception as error:  # what WeasyPrint stumbles over is a page that the stylesheet made
        raise Rejected(Reason.MAPPING, say(
            "Was das PDF-Stylesheet {file} ausgibt, lässt sich nicht drucken: das Stylesheet berichtigen, "
            "dann erneut verarbeiten.", file=Name(stylesheet))) from error
    return content


def _weasyprint() -> Any:
    try:
        import weasyprint
    except OSError as error:
        raise Rejected(Reason.CONFIGURATION,
                       say("PDF kann nicht erzeugt werden, es fehlt eine Bibliothek: {line}",
                           line=Words(APT_LINE))) from error
    return weasyprint


def _fetcher() -> Any:
    from weasyprint.urls import FatalURLFetchingError, URLFetcher

    class DataOnly(URLFetcher):  # type: ignore[misc]
        """`URLFetcher` opens file: and http: by default."""

        def fetch(self, url: str, headers: Any = None) -> Any:
            if not url.lower().startswith("data:"):
                raise FatalURLFetchingError("only data: is allowed")
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

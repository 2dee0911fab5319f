"""HTML into PDF by WeasyPrint: for the archive (PDF/A-3a, ISO 19005-3), accessible (PDF/UA-1, ISO 14289-1),
and the same bytes for the same input.

Nothing is fetched but ``data:``. The page is a stylesheet's output, so any other URL is the stylesheet's
mistake. It is told as such, but not named, because a stylesheet may make it of what a citizen wrote.
WeasyPrint needs Pango. Where that is missing, the reason names the command that installs it.

WeasyPrint knows both standards, but only one of them at a time. The document is made as PDF/A-3a, and the
identification of PDF/UA-1 is added to its metadata, with the extension schema that PDF/A asks for
(ISO 19005-3, 6.6.2.3).

A line never ends behind a hyphen: whoever reads a PDF's text takes that one for a mark of syllables and drops
it (pdftotext, and so the search of an archive), and an address or a number would have lost a character.

A character that no installed font has would be an empty box, which neither standard allows. It is printed by
its number, ``[U+1F600]``, and so is one for private use, which has no meaning. fonts-unifont has nearly all
others.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from hub.errors import Rejected
from hub.i18n.sentence import Name, Sentence, Words, say
from hub.message import Reason

APT_LINE = "apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
_VARIANT = "pdf/a-3a"
_PRIVATE = re.compile("[\ue000-\uf8ff\U000f0000-\U0010ffff]")
_WORD = re.compile(r"\S+")
_LONG = 40
"""Signs of a word with hyphens that may be broken anywhere else."""
_JOINER, _BREAK = "\u2060", "\u200b"
"""Signs without width: no line ends here, a line may end here."""
_UA_IDENTIFICATION = b"""<rdf:Description rdf:about="" xmlns:pdfuaid="http://www.aiim.org/pdfua/ns/id/"
 pdfuaid:part="1"/>
<rdf:Description rdf:about="" xmlns:pdfaExtension="http://www.aiim.org/pdfa/ns/extension/"
 xmlns:pdfaSchema="http://www.aiim.org/pdfa/ns/schema#"
 xmlns:pdfaProperty="http://www.aiim.org/pdfa/ns/property#">
<pdfaExtension:schemas><rdf:Bag><rdf:li rdf:parseType="Resource">
<pdfaSchema:schema>PDF/UA Universal Accessibility Schema</pdfaSchema:schema>
<pdfaSchema:namespaceURI>http://www.aiim.org/pdfua/ns/id/</pdfaSchema:namespaceURI>
<pdfaSchema:prefix>pdfuaid</pdfaSchema:prefix>
<pdfaSchema:property><rdf:Seq><rdf:li rdf:parseType="Resource">
<pdfaProperty:name>part</pdfaProperty:name>
<pdfaProperty:valueType>Integer</pdfaProperty:valueType>
<pdfaProperty:category>internal</pdfaProperty:category>
<pdfaProperty:description>Indicates, which part of ISO 14289 standard is followed</pdfaProperty:description>
</rdf:li></rdf:Seq></pdfaSchema:property>
</rdf:li></rdf:Bag></pdfaExtension:schemas>
</rdf:Description>
"""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A file inside of a PDF: the data that its page shows. Its media type follows from its name's ending."""

    name: str
    content: bytes
    created: datetime


def print_pdf(html: str, title: str, embedded: Sequence[Embedded] = (), *,
              stylesheet: str = "pdf.xsl") -> bytes:
    """The page as PDF. `title` serves where the page has none; `stylesheet` is the file that made the page.

    Raises `Rejected` with ``mapping`` for a page that cannot be printed, ``configuration`` for want of Pango.
    """
    _weasyprint()
    from weasyprint.urls import FatalURLFetchingError

    html = _PRIVATE.sub(_number, html)
    try:
        content, missing = _printed(html, title, embedded)
        if missing:
            content, _ = _printed(html.translate({sign: f"[U+{sign:04X}]" for sign in missing}), title,
                                  embedded)
    except (Rejected, MemoryError):
        raise
    except (Exception, FatalURLFetchingError) as error:  # WeasyPrint stumbles over a page of the stylesheet
        raise Rejected(Reason.MAPPING, say(
            "Was das PDF-Stylesheet {file} ausgibt, lässt sich nicht drucken{why}: das Stylesheet "
            "berichtigen, dann erneut verarbeiten.", file=Name(stylesheet), why=_why(error))) from error
    return content


def _why(error: Exception) -> Sentence:
    from weasyprint.urls import FatalURLFetchingError

    if isinstance(error, FatalURLFetchingError):
        return say(": die Seite verweist auf eine Adresse, die nicht mit data: beginnt (den Verweis "
                   "herausnehmen oder den Inhalt als data: einbetten)")
    return say("")


def _number(private: re.Match[str]) -> str:
    return f"[U+{ord(private[0]):04X}]"


def _printed(html: str, title: str, embedded: Sequence[Embedded]) -> tuple[bytes, frozenset[int]]:
    """The PDF, and the characters in it that no font has."""
    weasyprint = _weasyprint()
    page = weasyprint.HTML(string=html, base_url=None, url_fetcher=_fetcher())
    _complete(page.etree_element, title)
    _keep_hyphens(page.etree_element)
    document = page.render(pdf_variant=_VARIANT)
    metadata = document.metadata
    metadata.generate_rdf_metadata = _accessible_too(metadata.generate_rdf_metadata)
    metadata.attachments += [_attachment(weasyprint, file) for file in embedded]
    content: bytes = document.write_pdf(
        pdf_variant=_VARIANT, pdf_identifier=hashlib.sha256(html.encode()).digest()[:16])
    return content, frozenset(sign for font in document.fonts.values() for sign in font.missing)


def _accessible_too(generate: Callable[..., bytes]) -> Callable[..., bytes]:
    """WeasyPrint's own metadata (XMP) with the identification of PDF/UA-1 in it."""
    def generated(variant: str, version: int, conformance: str | None) -> bytes:
        end = b"</rdf:RDF>"
        before, found, after = generate(variant, version, conformance).rpartition(end)
        return before + (_UA_IDENTIFICATION + end if found else b"") + after
    return generated


def _attachment(weasyprint: Any, file: Embedded) -> Any:
    when = file.created.astimezone(UTC)
    return weasyprint.Attachment(string=file.content, name=file.name, relationship="Data", created=when,
                                 modified=when)


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


def _keep_hyphens(root: Any) -> None:
    """Let no line of running text end behind a hyphen. Headings and labels may."""
    body = root.find("body")
    for element in body.iter() if body is not None else ():
        if element.tag in ("th", "h1", "h2", "h3", "style", "script"):
            continue
        if element.text and "-" in element.text:
            element.text = _WORD.sub(_kept, element.text)
        for child in element:
            if child.tail and "-" in child.tail:
                child.tail = _WORD.sub(_kept, child.tail)


def _kept(word: re.Match[str]) -> str:
    if "-" not in word[0]:
        return word[0]
    if len(word[0]) <= _LONG:
        return word[0].replace("-", f"-{_JOINER}").removesuffix(_JOINER)
    signs = [word[0][0]]
    for before, sign in pairwise(word[0]):
        if before == "-":
            signs.append(_JOINER)
        elif not unicodedata.combining(sign):
            signs.append(_BREAK)
        signs.append(sign)
    return "".join(signs)

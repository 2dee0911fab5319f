"""What a clerk sees of each service, as pictures: the mail on a telephone and on a desk, and the printed PDF.

``make screenshots`` writes them and their page, README.md, anew: from the expected envelope of each service's
fullest example, with the common stylesheets, in Debian's Chromium and by poppler. Colours are few, so the
files are small.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from lxml import etree
from PIL import Image

from hub.mapping.loader import load_mapping
from hub.pipeline import xslt
from hub.pipeline.pdf import print_pdf
from tests.services.chromium import screenshot, sizes

HERE = Path(__file__).parent
MAPPINGS = HERE.parents[1] / "mappings"
PARAMETERS = {"name": "Stadt Musterstadt", "behoerde": "Stadt Musterstadt, Bürgeramt", "case": "V-2026-0815",
              "message-id": "019a0000-0000-7000-8000-000000000001"}
PHONE, SCREEN = 320, 1280
COLOURS = 24
DOTS_PER_INCH = 70
MOST_PAGES = 4
"""Pages of a PDF in a picture, beside each other."""
PAGE = """# What a clerk sees

The mail on a telephone (320 pixels wide) and on a desk (1280), and the PDF that the hub prints where the
applicant's own is not there: the fullest example of each service, invented. `make screenshots` makes the
pictures and this page again. `tests/integration/test_pages.py` holds what can be measured: no mail is wider
than its window, no value is cut in a PDF.

"""


def main(into: Path) -> None:
    """Write the pictures and the page into a folder."""
    text = [PAGE]
    for folder in sorted(file.parent for file in MAPPINGS.glob("*/mapping.toml")):
        example = sorted(folder.glob("examples/*full"))[-1]
        mapping = load_mapping(folder)
        envelope = etree.parse(example / "expected/canonical.xml").getroot()
        mail = page(envelope, "mail-html.xsl", mapping.title)
        for width in (PHONE, SCREEN):
            shoot(mail, width, into / f"{folder.name}-{width}.png")
        count = printed(page(envelope, "pdf.xsl", mapping.title), into / f"{folder.name}-pdf.png")
        more = f", the first {MOST_PAGES} of its {count} pages" if count > MOST_PAGES else ""
        text.append(f"## {mapping.title}\n\n`{folder.name}`, example `{example.name}`: PDF{more}, mail at "
                    f"{SCREEN} and at {PHONE} pixels.\n\n"
                    f"![PDF: {mapping.title}]({folder.name}-pdf.png)\n\n"
                    f"![Mail on a desk: {mapping.title}]({folder.name}-{SCREEN}.png)\n\n"
                    f"![Mail on a telephone: {mapping.title}]({folder.name}-{PHONE}.png)\n\n")
    (into / "README.md").write_text("".join(text).rstrip("\n") + "\n", encoding="utf-8")


def page(envelope: etree._Element, sheet: str, subject: str) -> str:
    """What a common stylesheet makes of an envelope."""
    layers = xslt.Layers(MAPPINGS / "hundesteuer", "v1", MAPPINGS / "_common")
    return xslt.compiled(layers, f"common:{sheet}", "utf-8").run(
        envelope, {**PARAMETERS, "subject": subject}).decode()


def shoot(mail: str, width: int, file: Path) -> None:
    """The whole mail in a window of that width."""
    height = sizes({"mail": mail}, width)["mail"][1]
    screenshot(mail, width, height, file)
    with Image.open(file) as picture:
        save(picture.crop((0, 0, width, height)), file)


def printed(html: str, file: Path) -> int:
    """The pages of the PDF beside each other. Returns how many it has."""
    with tempfile.TemporaryDirectory() as room:
        (Path(room) / "a.pdf").write_bytes(print_pdf(html, "Antrag"))
        subprocess.run(["pdftoppm", "-r", str(DOTS_PER_INCH), "-png", "a.pdf", "page"], cwd=room, check=True)
        names = sorted(Path(room).glob("page*.png"))
        pages = [Image.open(name).convert("RGB") for name in names[:MOST_PAGES]]
    gap = 6
    width, height = sum(each.width + gap for each in pages) - gap, max(each.height for each in pages)
    sheet, left = Image.new("RGB", (width, height), "#808080"), 0
    for each in pages:
        sheet.paste(each, (left, 0))
        left += each.width + gap
    save(sheet, file)
    return len(names)


def save(picture: Image.Image, file: Path) -> None:
    """As PNG with few colours."""
    few = picture.convert("RGB").quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(file, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)

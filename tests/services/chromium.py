"""Debian's Chromium without a window: how wide a page is on a telephone, and what it looks like."""

from __future__ import annotations

import html
import json
import re
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.services import need

_MEASURE = """<!DOCTYPE html><meta charset="utf-8"><body style="margin:0">{frames}<pre id="found"></pre>
<script>
addEventListener("load", () => {{
  const found = {{}};
  for (const frame of document.querySelectorAll("iframe")) {{
    const root = frame.contentDocument.documentElement;
    found[frame.name] = [root.scrollWidth, root.scrollHeight];
  }}
  document.getElementById("found").textContent = JSON.stringify(found);
}});
</script>"""
_FRAME = ('<iframe name="{name}" srcdoc="{page}" style="border:0; width:{width}px; height:{height}px">'
          "</iframe>")


def sizes(pages: Mapping[str, str], width: int) -> dict[str, tuple[int, int]]:
    """How wide and how high each page is that has `width` CSS pixels, by its name: ``scrollWidth`` and
    ``scrollHeight`` of its root."""
    frames = "".join(_frame(name, page, width, 1) for name, page in pages.items())
    dom = _run(_MEASURE.format(frames=frames), "--dump-dom", "--virtual-time-budget=10000")
    found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
    assert found and found[1], "Chromium has not measured"
    return {name: (wide, high) for name, (wide, high) in json.loads(html.unescape(found[1])).items()}


def screenshot(page: str, width: int, height: int, file: Path) -> None:
    """The upper left of a page as PNG, at least 500 pixels wide: a window cannot be narrower."""
    body = f'<!DOCTYPE html><body style="margin:0">{_frame("page", page, width, height)}'
    _run(body, f"--screenshot={file}", f"--window-size={max(width, 500)},{height}")


def _frame(name: str, page: str, width: int, height: int) -> str:
    return _FRAME.format(name=html.escape(name), page=html.escape(page), width=width, height=height)


def _run(page: str, *options: str) -> str:
    chromium = need("chromium", "chromium")
    with tempfile.TemporaryDirectory(prefix="chromium-") as folder:
        file = Path(folder) / "page.html"
        file.write_text(page, encoding="utf-8")
        done = subprocess.run(
            [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--hide-scrollbars",
             f"--user-data-dir={folder}/profile", "--no-first-run", *options, file.as_uri()],
            check=False, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout

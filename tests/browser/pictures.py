"""The pictures of README and docs: letters in real Chromium, small enough to keep in the repository.

Usage: python tests/browser/pictures.py docs/pictures
"""

from __future__ import annotations

import io
import shutil
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

import desk
from desk import NOW, composer, html_of, read
from supportd import samples

PHONE, DESK = 375, 760
# What is shown: the file, the sample, how wide, and whether the mail program is dark.
PICTURES: tuple[tuple[str, str, int, Any], ...] = (
    ("acknowledgement", "acknowledgement-3-open", PHONE, "light"),
    ("acknowledgement-dark", "acknowledgement-3-open", PHONE, "dark"),
    ("acknowledgement-closed", "acknowledgement-4-closed", PHONE, "light"),
    ("acknowledgement-incident", "acknowledgement-incident-3-open", PHONE, "light"),
    ("alert", "alert-2-open", PHONE, "light"),
    ("digest", "digest-open", PHONE, "light"),
    ("digest-dark", "digest-open", PHONE, "dark"),
    ("report", "report-open", DESK, "light"),
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    letters = {sample.name: sample.write() for sample in samples.showcase(composer(), desk.HOURS, desk.POLICY, NOW)}
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for name, sample, width, scheme in PICTURES:
            html = html_of(letters[sample])
            for part in read(letters[sample]).walk():
                if part.get_content_type() == "image/png":
                    data = str(part.get_payload()).replace("\n", "").replace("\r", "")
                    html = html.replace("cid:attainment", f"data:image/png;base64,{data}")
            picture = Image.open(io.BytesIO(_photograph(browser, html, width, scheme)))
            # 64 colours are as many as a letter without photographs needs.
            picture.convert("RGB").quantize(64).save(folder / f"{name}.png", optimize=True)
        browser.close()


def _photograph(browser: Browser, html: str, width: int, scheme: Any) -> bytes:
    context = browser.new_context(
        viewport={"width": width, "height": 300}, color_scheme=scheme, device_scale_factor=1.5, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_content(html)
    return page.screenshot(full_page=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

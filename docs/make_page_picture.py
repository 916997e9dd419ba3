"""Draw docs/pictures/leaderboard-page.png: the page of a board, as headless Chromium shows it.

Run: python docs/make_page_picture.py BOARD/leaderboard.html SCENARIO (needs Chromium, and pillow of the extra plots).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageChops

WIDTH, HEIGHT, MARGIN = 1320, 6000, 24
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=3000")
OUT = Path(__file__).parent / "pictures" / "leaderboard-page.png"


def screenshot(page: Path, scenario: str) -> Image.Image:
    """The page down to its last mark, with the scenario's board open."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is installed: install Chromium.")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "page.png"
        where = [
            f"--user-data-dir={folder}/profile",
            f"--screenshot={picture}",
            f"{page.resolve().as_uri()}#{scenario}",
        ]
        command = [browser, *OPTIONS, f"--window-size={WIDTH},{HEIGHT}", *where]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        whole = Image.open(picture).convert("RGB")
    paper = Image.new("RGB", whole.size, whole.getpixel((0, whole.height - 1)))
    bottom = ImageChops.difference(whole, paper).getbbox()[3]
    return whole.crop((0, 0, WIDTH, bottom + MARGIN))


def main(page: Path, scenario: str) -> None:
    few = screenshot(page, scenario).quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(OUT, optimize=True)
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])

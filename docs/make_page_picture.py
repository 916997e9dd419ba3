"""Draw docs/pictures/leaderboard-page.png: the page of a board, as headless Chromium shows it.

Run: python docs/make_page_picture.py BOARD/leaderboard.html [SCENARIO] (needs Chromium, and pillow of the extra plots).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

WIDTH, HEIGHT = 1320, 4000
OUT = Path(__file__).parent / "pictures" / "leaderboard-page.png"


def screenshot(page: Path, scenario: str) -> Image.Image:
    """The whole page, with the scenario's board open."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(names)} is installed: install Chromium.")
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "page.png"
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        size = [f"--window-size={WIDTH},{HEIGHT}", "--virtual-time-budget=3000", f"--screenshot={picture}"]
        where = f"{page.resolve().as_uri()}#{scenario}"
        subprocess.run([browser, *options, *size, where], check=True, capture_output=True, timeout=120)
        return Image.open(picture).convert("RGB")


def main(page: Path, scenario: str, top: int, bottom: int) -> None:
    whole = screenshot(page, scenario)
    whole.crop((0, top, WIDTH, bottom)).quantize(128, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        OUT, optimize=True
    )
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


if __name__ == "__main__":
    given = sys.argv[1:]
    main(Path(given[0]), given[1] if len(given) > 1 else "", *map(int, given[2:4] or (0, 1500)))

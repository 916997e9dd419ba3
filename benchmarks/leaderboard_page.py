"""The tables of a leaderboard in the pages of the project: the quick board in README.md, the default one in results.md.

llmqgym leaderboard --suite quick && python benchmarks/leaderboard_page.py leaderboard-quick --readme README.md
llmqgym leaderboard && python benchmarks/leaderboard_page.py leaderboard-default --results docs/results.md
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from results_page import put_section

from llmqgym.files import atomic_text
from llmqgym.leaderboard.make import DOCUMENT
from llmqgym.leaderboard.sheet import NOTES, markdown, sheet

BEGIN, END = "<!-- leaderboard: begin, written by benchmarks/leaderboard_page.py -->", "<!-- leaderboard: end -->"
#: Metrics of the page of results.
SHOWN = ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "p99_ttft_s", "mean_tpot_s", "gap_mean_e2e_s")

_MARKS = NOTES[0].upper() + NOTES[1:].replace("* ", "\\* ")


def quick_block(document: dict[str, Any]) -> str:
    """What stands between the marks in README.md."""
    made = sheet(document, "mean_e2e_s")
    settings = document["settings"]
    about = (
        f"{made.title[0].upper()}{made.title[1:]}; llmqgym {document['version']}, {settings['num_seeds']} seeds of "
        f"{settings['num_requests']:,} requests: `{document['command']}`. {_MARKS}. "
        "The tail board, and how to read both: [docs/leaderboard.md](docs/leaderboard.md)."
    )
    return f"{BEGIN}\n{markdown(made)}\n{about}\n{END}"


def results_section(document: dict[str, Any]) -> str:
    """The section of docs/results.md."""
    parts = [
        f"`{document['command']}`: {document['summary']}; llmqgym {document['version']}, "
        f"Python {document['versions']['python']}, numba {document['versions']['numba']}. What it means: "
        "[leaderboard.md](leaderboard.md).",
        f"{_MARKS}.",
    ]
    for metric in SHOWN:
        made = sheet(document, metric)
        parts.append(f"### {made.title[0].upper()}{made.title[1:]}\n\n{markdown(made)}".rstrip())
    return "\n\n".join(parts)


def put_block(page: Path, block: str) -> None:
    """Replace what stands between the marks."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    with atomic_text(page) as file:
        file.write(before + block + after)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--readme", type=Path)
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    document = json.loads((given.folder / DOCUMENT).read_text(encoding="utf-8"))
    if given.readme is not None:
        put_block(given.readme, quick_block(document))
    if given.results is not None:
        put_section(given.results, "Leaderboard", results_section(document))


if __name__ == "__main__":
    main()

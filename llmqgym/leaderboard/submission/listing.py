"""The entries in a folder: which there are, whether their files are what was entered, and the table of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError
from llmqgym.files import atomic_text
from llmqgym.leaderboard.make import DOCUMENT, read_document
from llmqgym.leaderboard.report.measures import E2E, TAIL_E2E, digits
from llmqgym.leaderboard.submission.entry import ENTRY, read_entry
from llmqgym.leaderboard.submission.policy_file import PREFIX, find_file

TABLE = "README.md"


def boards_in(folder: str | Path) -> list[Path]:
    """The folder itself if it holds a board, else the entries in it. Raises InputError if there are none."""
    home = Path(folder)
    if (home / DOCUMENT).is_file():
        return [home]
    found = entries_in(home)
    if not found:
        raise InputError(f"{home} holds no board and no entries: name the folder of a leaderboard (--out).")
    return found


def entries_in(folder: str | Path) -> list[Path]:
    """Folders of entries, by name."""
    return sorted(path.parent for path in Path(folder).glob(f"*/{ENTRY}"))


def code_of(home: Path) -> list[Path]:
    """The files of code that replaying the board in `home` runs. Raises InputError where one is missing, or where the
    board is an entry and a file of it, code or not, is not what was entered."""
    specs = [spec for spec in read_document(home)["settings"].get("policies") or [] if isinstance(spec, str)]
    if (home / ENTRY).is_file():
        _check_entered(home, specs)
    files = [find_file(spec, home) for spec in specs if spec.startswith(PREFIX)]
    for path in files:
        _check_there(path)
    return files


def _check_entered(home: Path, specs: list[str]) -> None:
    """Raises InputError unless the board is of the entry's files, as they were entered."""
    entered = read_entry(home)["sha256"]
    for name, wanted in entered.items():
        _check_there(home / name)
        digest = hashlib.sha256((home / name).read_bytes()).hexdigest()
        if digest != wanted:
            raise InputError(f"{home / name} is not the file that was entered: its SHA-256 is {digest}, not {wanted}.")
    for spec in specs:
        if spec.partition(":")[2] not in entered:
            raise InputError(
                f"{home} is the entry of {', '.join(entered)}, and its board is of {spec!r}: enter it again."
            )


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path} is missing: the board cannot be replayed without it.")


def write_table(folder: str | Path) -> Path:
    """Write README.md in the folder: a line for each entry, the lowest mean first. Raises InputError, OutputError."""
    entries = [read_entry(home) for home in entries_in(folder)]
    entries.sort(key=lambda entry: (bool(entry["oracle"]), *_score(entry, E2E)[:2]))
    lines = [
        "# Entries",
        "",
        "Written by `llmqgym leaderboard submit`; do not edit. Ratios to vLLM's on the same requests: interquartile",
        "mean over scenarios and seeds, 95 % by stratified bootstrap. Replay: `llmqgym leaderboard verify FOLDER`.",
        "",
        "| policy | author | mean E2E / vLLM's | p99 E2E / vLLM's | needs | summary | version | commit |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_line(entry) for entry in entries),
    ]
    path = Path(folder) / TABLE
    with atomic_text(path) as file:
        file.write("\n".join(lines) + "\n")
    return path


def _score(entry: dict[str, Any], key: str) -> tuple[bool, float, str]:
    """Whether there is none, the ratio, and how it is shown."""
    ratio = entry["overall"][key]["iqm_ratio_to_vllm"]
    if ratio is None:
        return True, 0.0, "not all finished"
    return False, ratio["mean"], f"{digits(ratio['mean'])} [{digits(ratio['low'])}, {digits(ratio['high'])}]"


def _line(entry: dict[str, Any]) -> str:
    about, oracle = entry["about"], " (oracle)" if entry["oracle"] else ""
    author = about["author"] + (f", {about['link']}" if about["link"] else "")
    cells = [
        entry["name"] + oracle,
        author,
        _score(entry, E2E)[2],
        _score(entry, TAIL_E2E)[2],
        ", ".join(about["needs"]) or "nothing",
        about["summary"],
        entry["version"],
        str(entry["commit"] or "")[:12],
    ]
    return f"| {' | '.join(_plain(cell) for cell in cells)} |"


def _plain(text: str) -> str:
    """Text that is no markup, and stays in its cell."""
    for sign in "\\`*_[]<>|":
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())

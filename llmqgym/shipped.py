"""The shipped scenarios: where their files lie, and what they are about.

The files are in `configs/scenario/` of the source checkout; a wheel carries that folder as `llmqgym/_configs`
(pyproject maps it: hatchling `[tool.hatch.build.targets.wheel.force-include]` with `"configs" = "llmqgym/_configs"`).
`shipped_folder` looks in the package first and in the checkout otherwise, so that editable installs need no copy.
"""

from __future__ import annotations

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError


def shipped_folder() -> Path:
    """The folder of the shipped scenarios. Raises InputError when the installation lacks it."""
    package = Path(str(files("llmqgym")))
    for folder in (package / "_configs" / "scenario", package.parent / "configs" / "scenario"):
        if folder.is_dir():
            return folder
    raise InputError(
        f"the shipped scenarios are neither in {package / '_configs'} nor beside it: install llmqgym again."
    )


def shipped_names() -> list[str]:
    """Names of the shipped scenarios, sorted."""
    return sorted(path.stem for path in shipped_folder().glob("*.toml"))


def headlines() -> dict[str, dict[str, Any]]:
    """The settings of each shipped scenario that are not in a section, by name; nothing is checked or imported."""
    texts = {name: (shipped_folder() / f"{name}.toml").read_text(encoding="utf-8") for name in shipped_names()}
    return {name: tomllib.loads(text) for name, text in texts.items()}

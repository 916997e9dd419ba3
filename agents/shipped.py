"""The agents that come with llmqgym: where their files lie."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any


def shipped_folder() -> Path:
    """agents/trained/."""
    return Path(str(files("agents"))) / "trained"


def shipped_agents() -> list[str]:
    """Their names, sorted."""
    return sorted(path.stem for path in shipped_folder().glob("*.safetensors"))


def headlines() -> dict[str, dict[str, Any]]:
    """What a list says of each, by name; nothing is checked, and no weights are read."""
    found = {}
    for name in shipped_agents():
        document = json.loads((shipped_folder() / f"{name}.json").read_text(encoding="utf-8"))
        found[name] = {
            "network": f"{document['network']['name']} {document['network']['hidden']}",
            "scenario": document["training"]["scenario"],
            "num_decisions": document["training"]["num_decisions"],
            "summary": document["summary"],
        }
    return found

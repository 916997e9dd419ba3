"""docs/policies.md and its pictures are what their generator makes, and show every baseline."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
from scripts import load_script

from baselines.registry import POLICIES
from llmqgym.kernel.jit import COMPILED

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load_script("docs/make_policy_pictures.py")


@pytest.mark.skipif(not COMPILED, reason="the same figures in plain Python take a minute")
def test_the_page_and_its_pictures_are_up_to_date(generator: ModuleType) -> None:
    """After a change that moves a picture: python docs/make_policy_pictures.py."""
    for name, text in generator.files().items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, name


def test_every_policy_is_shown(generator: ModuleType) -> None:
    """In a family that has a picture, and all twenty requests are served, whatever the policy."""
    page = (DOCS / "policies.md").read_text(encoding="utf-8")
    assert {entry.family for entry in POLICIES.values()} == set(generator.FAMILIES)
    assert set(generator.SPECS) <= set(POLICIES)
    for name in POLICIES:
        assert f"| `{generator.SPECS.get(name, name)}` |" in page
        assert "never done" not in generator.chart(generator.SPECS.get(name, name)).summary

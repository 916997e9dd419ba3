"""Every check of `llmqgym validate --quick`."""

from __future__ import annotations

import pytest

from llmqgym.kernel.jit import COMPILED
from llmqgym.validation import Check, Verdict, checks_of
from llmqgym.validation.run import make

#: What plain Python can do in minutes.
IN_PYTHON = ("vllm", "formulas")


@pytest.mark.parametrize("check", checks_of(quick=True), ids=lambda check: f"{check.group}: {check.name}")
def test_check(check: Check) -> None:
    if not COMPILED and check.group not in IN_PYTHON:
        pytest.skip("takes hours in plain Python")
    outcome = make(check, quick=True)
    if outcome.verdict is Verdict.NOT_RUN:
        pytest.skip(outcome.explanation)
    assert outcome.verdict is Verdict.OK, f"measured {outcome.measured}: {outcome.explanation}"

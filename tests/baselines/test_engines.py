"""Engines: what makes one policy another's twin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from cases import Case, cases
from hypothesis import given, settings

from baselines.registry import make_policy
from llmqgym.policy import Policy


def decodes_first(request: Any, server: Any) -> float:
    """Sarathi's rule, spelled out: decodes, then prompts under way, then newcomers."""
    return 0.0 if request.computed_tokens >= request.prefill_target_tokens else 0.5


@settings(max_examples=max(settings.default.max_examples // 10, 10))
@given(cases())
def test_sarathi_serves_decodes_first(case: Case) -> None:
    """Without a limit on chunks one prompt is under way at most, and it was admitted last."""
    case = replace(case, looks=None, server=replace(case.server, long_prefill_token_threshold=0))
    runs = [
        replace(case, policy=policy).kernel(log=True)
        for policy in (make_policy("sarathi"), Policy("spelled out", mix_key=decodes_first))
    ]
    ours, theirs = (np.concatenate([run.log_triples().ravel(), [run.totals().clock_ps]]) for run in runs)
    assert np.array_equal(ours, theirs)

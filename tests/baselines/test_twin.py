"""Every baseline on random cases: the naive twin, calling the same hooks in plain Python, ends as the kernel does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import Case, cases, labels
from hypothesis import given, settings
from policy_specs import SPECS
from views import kernel_view, twin_view

from baselines.registry import make_policy

#: A hundredth of what other random tests get, for each spec.
EXAMPLES = max(settings.default.max_examples // 100, 2)


@pytest.mark.parametrize("spec", SPECS)
def test_kernel_and_twin(spec: str) -> None:
    policy = make_policy(spec)

    @settings(max_examples=EXAMPLES)
    @given(cases())
    def check(case: Case) -> None:
        case = replace(case, policy=policy, more=labels(case, np.random.default_rng(case.arrivals[-1])))
        assert kernel_view(case.kernel()) == twin_view(case.twin())

    check()

"""Event to event = iteration by iteration = the naive twin, bit for bit, on thousands of random cases."""

from __future__ import annotations

from cases import Case, cases
from hypothesis import given
from views import kernel_view, twin_view


@given(cases())
def test_three_ways_agree(case: Case) -> None:
    twin = twin_view(case.twin())
    assert kernel_view(case.kernel(step_by_step=True)) == twin
    assert kernel_view(case.kernel()) == twin

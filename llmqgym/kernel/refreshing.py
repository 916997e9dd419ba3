"""Predictions that are refreshed while a request runs: TRAIL's posterior over bins of its remaining length.

Every `every` generated tokens the posterior moves down with time, a bin of w tokens with probability 1/w a token, and
is multiplied by what a classifier says now; its mean is the new estimate of what remains (arXiv 2410.01035). The
classifier here knows the truth up to an error, drawn by hash: an estimate depends on the request and on how far it
is, and not on when somebody looks. So nothing is done until a policy does: `catch_up` makes up what was left out.
"""

from __future__ import annotations

import math
from typing import Any

from llmqgym.kernel import cohort
from llmqgym.kernel.division import quotient
from llmqgym.kernel.hashing import bell, uniform
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import estimate_at, hidden_at, refreshing_at, request_at

#: Draws of one refresh: three of them, the first ones a request's own.
_DRAWS = 3


@helper
def _likelihood(middle: float, centre: float, spread: float) -> float:
    """How well a bin agrees with a classifier that points at `centre`: a bell of rational form, the same on every
    machine."""
    distance = (middle - centre) / spread
    height = 1.0 / (1.0 + distance * distance)
    return height * height


@helper
def begin(sim: Any, row: int, request: Any) -> None:
    """A request arrives, or is restarted: its posterior is what its first prediction says."""
    rule = refreshing_at(sim.refreshing, 0)
    estimate = estimate_at(sim.estimates, row)
    request.predicted_output_tokens = request.initial_predicted_output_tokens
    estimate.num_refreshes = 0
    total = 0.0
    for number in range(rule.bins):
        share = _likelihood((number + 0.5) * rule.width, request.initial_predicted_output_tokens, rule.spread)
        estimate.posterior[number] = share
        total += share
    for number in range(rule.bins):
        estimate.posterior[number] /= total


@helper
def _error(rule: Any, request_id: int, number: int) -> float:
    """The classifier's error in tokens at a refresh: mostly small, sometimes large, as the product of two bells is."""
    own = uniform(rule.seed, request_id, _DRAWS * number + 2) < rule.persistence
    draw = 0 if own else _DRAWS * number
    return rule.scale * (bell(rule.seed, request_id, draw) * bell(rule.seed, request_id, draw + 1))


@helper
def move_down(estimate: Any, bins: int, width: float, tokens: int) -> None:
    """The posterior after `tokens` more tokens: T^tokens of TRAIL."""
    leave = 1.0 / width
    for _ in range(tokens):
        estimate.posterior[0] += estimate.posterior[1] * leave
        for number in range(1, bins - 1):
            above = estimate.posterior[number + 1] * leave
            estimate.posterior[number] = estimate.posterior[number] * (1.0 - leave) + above
        estimate.posterior[bins - 1] *= 1.0 - leave


@helper
def _look(estimate: Any, rule: Any, centre: float) -> float:
    """The posterior after the classifier has pointed at `centre`; returns its mean."""
    total = 0.0
    for number in range(rule.bins):
        share = estimate.posterior[number] * _likelihood((number + 0.5) * rule.width, centre, rule.spread)
        estimate.posterior[number] = share
        total += share
    mean = 0.0
    for number in range(rule.bins):
        estimate.posterior[number] /= total
        mean += estimate.posterior[number] * ((number + 0.5) * rule.width)
    return mean


@helper
def catch_up(sim: Any, row: int, request: Any) -> None:
    """Carry out the refreshes that a request's generated tokens have brought; its row is current."""
    if sim.refreshing == 0 or math.isnan(request.initial_predicted_output_tokens):
        return
    rule = refreshing_at(sim.refreshing, 0)
    estimate = estimate_at(sim.estimates, row)
    due = quotient(request.generated_tokens, rule.every)
    while estimate.num_refreshes < due:
        estimate.num_refreshes += 1
        number = estimate.num_refreshes
        remaining = hidden_at(sim.hidden, row).output_tokens - number * rule.every
        move_down(estimate, rule.bins, rule.width, rule.every)
        centre = min(max(remaining + _error(rule, request.id, number), 0.0), rule.bins * rule.width)
        request.predicted_output_tokens = number * rule.every + _look(estimate, rule, centre)


@helper
def show_running(sim: Any) -> None:
    """Make the rows of the running batch what a hook may look at."""
    cohort.bring_all_up_to_date(sim)
    if sim.refreshing == 0:
        return
    row = sim.first_running
    while row >= 0:
        request = request_at(sim.requests, row)
        catch_up(sim, row, request)
        row = request.next

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
from llmqgym.kernel.hooks import call_service
from llmqgym.kernel.jit import entry_point, helper
from llmqgym.kernel.memory import estimate_at, hidden_at, refreshing_at, request_at

#: Draws of one refresh; number 0 stands for those that are a request's own.
_DRAWS = 3
#: The mean of |bell x bell|.
MEAN_PRODUCT = 0.6469


@helper
def _likelihood(middle: float, centre: float, spread: float) -> float:
    """How well a bin agrees with a classifier that points at `centre`: a bell of rational form, the same on every
    machine."""
    distance = (middle - centre) / spread
    height = 1.0 / (1.0 + distance * distance)
    return height * height


@helper
def _begin(sim: Any, row: int, request: Any) -> None:
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
def _move_down(estimate: Any, bins: int, width: float, tokens: int) -> None:
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
def _centre(rule: Any, request_id: int, output_tokens: int, number: int) -> float:
    """What the classifier points at in a refresh: what remains, with an error, within the bins."""
    remaining = output_tokens - number * rule.every
    return min(max(remaining + _error(rule, request_id, number), 0.0), rule.bins * rule.width)


@helper
def _refresh(sim: Any, row: int, request: Any) -> None:
    if math.isnan(request.initial_predicted_output_tokens):
        return
    rule = refreshing_at(sim.refreshing, 0)
    estimate = estimate_at(sim.estimates, row)
    due = quotient(request.generated_tokens, rule.every)
    while estimate.num_refreshes < due:
        estimate.num_refreshes += 1
        number = estimate.num_refreshes
        centre = _centre(rule, request.id, hidden_at(sim.hidden, row).output_tokens, number)
        _move_down(estimate, rule.bins, rule.width, rule.every)
        request.predicted_output_tokens = number * rule.every + _look(estimate, rule, centre)


def begin_service(sim: Any, row: int, number: int) -> int:
    """Service: the posterior of a request that arrives, or is restarted."""
    _begin(sim, row, request_at(sim.requests, row))
    return 0


def refresh_service(sim: Any, row: int, number: int) -> int:
    """Service: the refreshes that a request's generated tokens have brought; its row is current."""
    _refresh(sim, row, request_at(sim.requests, row))
    return 0


def show_service(sim: Any, row: int, number: int) -> int:
    """Service: those of all running requests."""
    row = sim.first_running
    while row >= 0:
        request = request_at(sim.requests, row)
        _refresh(sim, row, request)
        row = request.next
    return 0


#: By the field of the simulator's record that holds the address.
SERVICES = {"begin_service": begin_service, "refresh_service": refresh_service, "show_service": show_service}


@helper
def begin(sim: Any, row: int) -> None:
    """A request arrives, or is restarted."""
    if sim.refreshing:
        call_service(sim.begin_service, sim, row, 0)


@helper
def catch_up(sim: Any, row: int) -> None:
    """Carry out the refreshes that a request's generated tokens have brought; its row is current."""
    if sim.refreshing:
        call_service(sim.refresh_service, sim, row, 0)


@helper
def show_running(sim: Any) -> None:
    """Make the rows of the running batch what a hook may look at."""
    cohort.bring_all_up_to_date(sim)
    if sim.refreshing:
        call_service(sim.show_service, sim, 0, 0)


#: What `follow` sums up by number of refreshes; `worst_sum` is a maximum.
FOLLOWED = ("num", "absolute", "error", "classifier", "right", "worst_sum")


@entry_point
def follow(simulators: Any, index: int, output_tokens: Any, first: Any, sums: Any) -> None:
    """Refresh the predictions of requests of int64[n] tokens with first predictions float64[n], from their first token
    to their last, and add up their errors in float64[refreshes, FOLLOWED]; row 0 of each table serves them all."""
    sim = simulators[index]
    rule = refreshing_at(sim.refreshing, 0)
    request = request_at(sim.requests, 0)
    estimate = estimate_at(sim.estimates, 0)
    for place in range(len(output_tokens)):
        request.id = place
        request.initial_predicted_output_tokens = first[place]
        hidden_at(sim.hidden, 0).output_tokens = output_tokens[place]
        _begin(sim, 0, request)
        for number in range(1, quotient(output_tokens[place] - 1, rule.every) + 1):
            if math.isnan(first[place]):
                break
            request.generated_tokens = number * rule.every
            _refresh(sim, 0, request)
            remaining = output_tokens[place] - number * rule.every
            error = request.predicted_output_tokens - output_tokens[place]
            likeliest, total = 0, 0.0
            for each in range(rule.bins):
                total += estimate.posterior[each]
                if estimate.posterior[each] > estimate.posterior[likeliest]:
                    likeliest = each
            row = sums[number]
            row[0] += 1.0
            row[1] += abs(error)
            row[2] += error
            row[3] += abs(_centre(rule, place, output_tokens[place], number) - remaining)
            row[4] += 1.0 if likeliest == min(int(remaining / rule.width), rule.bins - 1) else 0.0
            row[5] = max(row[5], abs(total - 1.0))

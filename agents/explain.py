"""What an agent has learnt: its scores as functions of one thing at a time, and its order beside indices of others.

States are taken from its own play. A curve replaces one field of one request (or of the server) in all of them, leaves
the rest, and averages the scores: partial dependence. What hangs together (a prompt and the blocks that it wants) is
replaced together, but for the peak of memory to come, which is a question of its own: it hangs on all that run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from agents.trained_agent import TrainedAgent
from agents.watching import Floats, Watched, amounts, shown_as
from llmqgym.kernel.tables import PS_PER_S, REQUEST, SERVER
from llmqgym.policy import Policy

_STATES, _POINTS = 150, 13
_LEAST_CHOICE = 2
#: A score below which a command never comes about: its chance would be e^-50. What a curve does down there is noise.
_OUT_OF_THE_QUESTION = -50.0


@dataclass(frozen=True)
class Question:
    """A curve: of which score, over which field of whom, in which words."""

    part: str  # "admit" or "preempt"
    field: str
    says: str
    unit: str
    of_server: bool = False


QUESTIONS = (
    Question("admit", "predicted_remaining_tokens", "predicted remaining length", "tokens"),
    Question("admit", "prompt_tokens", "prompt", "tokens"),
    Question("admit", "age_s", "age", "s"),
    Question("admit", "kv_peak", "peak of memory to come", "share"),
    Question("admit", "kv_used", "KV cache in use", "share", of_server=True),
    Question("admit", "num_waiting", "queue", "requests", of_server=True),
    Question("preempt", "kv_held", "KV held", "share"),
    Question("preempt", "predicted_remaining_tokens", "predicted remaining length", "tokens"),
    Question("preempt", "age_s", "age", "s"),
)


def explain(agent: TrainedAgent, watched: Watched, indices: Mapping[str, Policy], seed: int = 0) -> dict[str, Any]:
    """The document of an agent: what it did, how its order agrees with those of `indices`, and its curves."""
    rng = np.random.default_rng(seed)
    keys = {name: _index(policy) for name, policy in indices.items()}
    found = [_curve(agent, watched, each, keys, rng) for each in QUESTIONS if _can_be_asked(watched, each)]
    curves = [each for each in found if each is not None]
    highest = {part: max(each["highest"] for each in curves if each["part"] == part) for part in _parts(curves)}
    never = {part: score for part, score in highest.items() if score < _OUT_OF_THE_QUESTION}
    return {
        "agent": agent.name,
        "decisions": _counts(watched),
        "agreement": {name: _agreement(agent, watched, key, rng) for name, key in keys.items()},
        "never": never,
        "curves": [each for each in curves if each["part"] not in never],
    }


def _parts(curves: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(each["part"] for each in curves))


def _counts(watched: Watched) -> dict[str, int]:
    could_admit, could_preempt = watched.admissible.any(1), watched.removable.any(1)
    actions, window = watched.actions, watched.layout.window
    return {
        "num": len(actions),
        "num_could_admit": int(could_admit.sum()),
        "num_admitted": int(((actions > 0) & (actions <= window)).sum()),
        "num_held_back": int((could_admit & (actions == 0)).sum()),
        "num_could_preempt": int(could_preempt.sum()),
        "num_preempted": int((actions > window).sum()),
    }


# Indices: a policy's ORDER, on requests as the agent sees them


def _index(policy: Policy) -> Callable[[Mapping[str, float], float], float]:
    """(fields in their units, age in s) -> the key of a policy's ORDER; without one, that of the arrival."""
    server = np.zeros(1, SERVER)[0]
    server.params[: len(policy.params)] = policy.params
    order = policy.order

    def key(fields: Mapping[str, float], age_s: float) -> float:
        if order is None:
            return -age_s
        request = np.zeros(1, REQUEST)[0]
        generated = fields.get("generated_tokens", 0.0)
        prompt = fields.get("prompt_tokens")
        if prompt is None:  # of a running request
            prompt = fields.get("computed_tokens", 0.0) + fields.get("prefill_left_tokens", 0.0) - generated
        request.prompt_tokens, request.generated_tokens = max(round(prompt), 1), round(generated)
        predicted = fields.get("predicted_remaining_tokens", np.nan) + generated
        request.predicted_output_tokens = request.initial_predicted_output_tokens = predicted
        request.max_output_tokens = round(fields.get("max_output_tokens", 2**40))
        request.arrival_ps = -round(age_s * PS_PER_S)
        return float(order(request, server))

    return key


def _fields_of(watched: Watched, part: str, state: int, row: int) -> dict[str, float]:
    layout = watched.layout
    names = layout.waiting_fields if part == "admit" else layout.running_fields
    first = layout.num_server if part == "admit" else layout.first_running
    shown = watched.observations[state, first + row * len(names) : first + (row + 1) * len(names)]
    return {name: float(amounts(shown[place], name)) for place, name in enumerate(names)}


def _agreement(agent: TrainedAgent, watched: Watched, key: Any, rng: np.random.Generator) -> dict[str, Any]:
    """Spearman's rank correlation of the admission scores and an index, state by state, where several could enter."""
    states = np.flatnonzero(watched.admissible.sum(1) >= _LEAST_CHOICE)
    states = rng.permutation(states)[:_STATES]
    found = []
    for state in states:
        rows = np.flatnonzero(watched.admissible[state])
        scores = agent.brain.logits(watched.observations[state : state + 1], watched.masks[state : state + 1])[0]
        fields = [_fields_of(watched, "admit", int(state), int(row)) for row in rows]
        keys = [-key(each, each.get("age_s", 0.0)) for each in fields]
        if np.ptp(keys) > 0 and np.ptp(scores[1 + rows]) > 0 and np.isfinite(keys).all():
            found.append(float(stats.spearmanr(scores[1 + rows], keys).statistic))
    if not found:
        return {"num_states": 0, "mean": None}
    return {"num_states": len(found), "mean": float(np.mean(found))}


# Curves


def _can_be_asked(watched: Watched, question: Question) -> bool:
    layout = watched.layout
    if question.part == "preempt" and layout.running == 0:
        return False
    if question.of_server:
        return question.field in layout.server_fields
    return question.field in (layout.waiting_fields if question.part == "admit" else layout.running_fields)


def _curve(
    agent: TrainedAgent, watched: Watched, question: Question, keys: Mapping[str, Any], rng: np.random.Generator
) -> dict[str, Any] | None:
    """Scores over values that the field has had; None where it has had one only, or nobody could be chosen."""
    eligible = watched.admissible if question.part == "admit" else watched.removable
    pairs = np.argwhere(eligible)
    if len(pairs) == 0:
        return None
    values = _values(watched, question, eligible)
    if len(values) < 2:
        return None
    chosen = pairs[rng.permutation(len(pairs))[:_STATES]]
    scores = np.array([_scores(agent, watched, question, state, row, values) for state, row in chosen])
    low, high = np.quantile(scores, (0.25, 0.75), axis=0)
    return {
        "part": question.part,
        "field": question.field,
        "says": question.says,
        "unit": question.unit,
        "num_states": len(chosen),
        "values": values.tolist(),
        "score": scores.mean(0).tolist(),
        "highest": float(scores.max()),
        "low": low.tolist(),
        "high": high.tolist(),
        "indices": {} if question.of_server else _index_curves(watched, question, chosen, values, keys),
    }


def _values(watched: Watched, question: Question, eligible: NDArray[np.bool_]) -> Floats:
    """Between the 2nd and the 98th percentile of what there was, evenly by rank."""
    if question.of_server:
        found = watched.server(question.field)[eligible.any(1)]
    else:
        read = watched.waiting if question.part == "admit" else watched.running
        found = read(question.field)[eligible]
    found = found[np.isfinite(found)]
    if len(found) == 0:
        return np.zeros(0)
    return np.unique(np.quantile(found, np.linspace(0.02, 0.98, _POINTS)))


def _scores(
    agent: TrainedAgent, watched: Watched, question: Question, state: int, row: int, values: Floats
) -> NDArray[np.float32]:
    """The logit of choosing a request less that of run, at each value of the field."""
    layout = watched.layout
    observations = np.repeat(watched.observations[state : state + 1], len(values), 0)
    if question.of_server:
        observations[:, layout.server_fields.index(question.field)] = shown_as(values, question.field)
    else:
        admits = question.part == "admit"
        names = layout.waiting_fields if admits else layout.running_fields
        first = (layout.num_server if admits else layout.first_running) + row * len(names)
        for field, shown in _replaced(watched, question.field, values).items():
            if field in names:
                observations[:, first + names.index(field)] = shown_as(shown, field)
    action = 1 + row if question.part == "admit" else 1 + layout.window + row
    masks = np.zeros((len(values), layout.num_actions), np.int8)
    masks[:, [0, action]] = 1
    logits = agent.brain.logits(observations, masks)
    return logits[:, action] - logits[:, 0]


def _replaced(watched: Watched, field: str, values: Floats) -> dict[str, Floats]:
    """The field, and what hangs together with it: a prompt and the blocks it wants, blocks held and what is in them."""
    if field == "prompt_tokens":
        return {field: values, "kv_wanted": np.ceil(values / watched.block_size) / watched.num_kv_blocks}
    if field == "kv_held":
        return {field: values, "computed_tokens": values * watched.num_kv_blocks * watched.block_size}
    return {field: values}


def _index_curves(
    watched: Watched, question: Question, chosen: NDArray[Any], values: Floats, keys: Mapping[str, Any]
) -> dict[str, list[float]]:
    """How the indices order the same requests, 0 to 1: first to be admitted (or preempted) is 1. Only of those that
    the field matters to."""
    sign = -1.0 if question.part == "admit" else 1.0
    found = {}
    for name, key in keys.items():
        rows = []
        for state, row in chosen:
            fields = _fields_of(watched, question.part, state, row)
            changed = _replaced(watched, question.field, values)
            each = [
                {**fields, **{field: float(shown[place]) for field, shown in changed.items()}}
                for place in range(len(values))
            ]
            rows.append([sign * key(one, one.get("age_s", 0.0)) for one in each])
        mean = np.mean([row for row in rows if np.isfinite(row).all()] or [[0.0] * len(values)], axis=0)
        if np.ptp(mean) > 1e-9 * max(1.0, abs(mean).max()):
            found[name] = ((mean - mean.min()) / np.ptp(mean)).tolist()
    return found

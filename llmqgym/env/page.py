"""The environment's page: text that says what it is, and tables made from the fields and terms themselves.

It is the docstring of `LLMServerEnv`, and docs/environment.md.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmqgym.kernel.observe import ABSENT, DEFAULT_RUNNING, DEFAULT_WAITING, REQUEST_FIELDS, SERVER_FIELDS, Field
from llmqgym.kernel.reward import TERMS

_TEXT = """\
One LLM inference server; when to admit which waiting request, and whom to preempt, is up to you.

Requests arrive with a prompt, a prediction of how long their answer will be, and a hidden true length. The server runs
a batch of them iteration by iteration, as vLLM does: chunked prefill under a token budget, a paged KV cache that grows
with every token, a limited number of batch slots. Between two iterations the agent decides.

## Decisions

The process is semi-Markov: a step is one decision, and time passes only at *run*. A decision is due at the boundary of
an iteration when a request has come or finished, when one in view could be admitted, when blocks were short, or when
`decision_interval` iterations have passed; until then the simulator jumps from event to event. An agent that lets the
iteration run although somebody could enter is asked again after `admission_interval` iterations, by default 1; with
nobody running, after an idle step.

By then the running requests have their tokens and blocks of the next iteration; who enters must fit into what is left.
With `shortage="engine"` a running request that finds no block makes the engine preempt somebody (the last admitted, or
by the VICTIM of `engine`), and nobody is admitted in that iteration. With `shortage="agent"` *run* is masked until the
agent has made room itself.

## Actions

`action="command"`: `Discrete(1 + window + M x running)`, with K = `window`, B = `running` and M modes of preemption.

| action | command |
|---|---|
| 0 | run: let the iteration begin |
| 1 .. K | admit the k-th request of the window |
| K + 1 .. K + B | preempt the b-th running request shown, by the first mode |
| K + (m - 1) B + 1 .. K + m B | preempt the b-th, by the m-th mode |

`preempt_mode` says which modes there are: a single one (M = 1; one of {modes}), several in an order of your own, e.g.
`("recompute", "swap")`, or `"any"`, all of them in the order just given. With several, one that cannot be is masked:
swap where host memory has no room for the request's blocks (with a single mode it recomputes then), and hold where
blocks are short, since it gives none. With `shortage="agent"` and a single mode, who leaves for want of blocks does so
by the `victim_mode` of `engine`; with several, as the command says, and recompute or restart must be among them.

What is not allowed is 0 in the mask: by the engine's own rule (slots, token budget, KV blocks, its admission gate or
the FIT of `engine`); a request preempted in this iteration does not come back in it, one admitted in it does not leave.
A masked action does nothing, takes no time, and says so in `info["invalid_action"]`. Running with memory free is
allowed: that is pacing.

`action="priority"`: `Box(-1, 1, (window + running,))`, a score for each request shown. The server admits those waiting
with a score of 0 or more, best first, as long as they fit (`miss`: "stop" at the first that does not, or "skip" it),
and preempts running ones of a lower score than a candidate's, lowest first, where that makes it fit, by the only
`preempt_mode`. Each step is an iteration or more.

## Window

Of the waiting requests `window` are shown: first the `oldest` oldest, by arrival, then of the others the shortest by
prediction (by the ORDER of `engine` if it has one). It follows from who waits: as requests leave, others take their
places. What is not shown is summed up in the server's fields. Of the running requests the `running` last admitted are
shown, the latest first.

## Observations

`Dict(server, waiting, running, action_mask)`, float32 `[S]`, `[K, W]`, `[B, R]` and int8 `[1 + K + M B]`; or,
with `observation="flat"`, the first three in one vector. Scaling is fixed: a share is as it is, an amount x becomes
x / (|x| + scale). {absent} stands where there is no request, and for what is unknown. `waiting_fields` and
`running_fields` choose among the fields of a request; others than the default, with or without `kv_peak` at the end of
the waiting ones, are compiled anew in each process. `kv_peak` is memory planned ahead: it is up to 1 where the KV cache
will hold everybody to the end if predictions are right (of a running request: without anybody new).

{server}

{request}

## Reward

A sum of terms, weighted by `reward`, e.g. `reward={{"latency": 1.0, "preemptions": 0.1}}`; by default the first alone,
so that an undiscounted episode returns minus the sum of the times in system. All terms are in `info["terms"]`.

{terms}

Discount by time, exp(-beta `info["dt_s"]`): a step takes no time, or many iterations.

## Episodes

`num_requests` requests of a `scenario` (shipped, see `llmqgym list scenarios`), a `config` (a scenario file of your
own), a `workload` or a `trace` (so many in a row, from a random one on). `rho`, `profile`, `server` and `predictor`
replace what the scenario says; without any prediction in it, requests are predicted by `{predictor}`. `randomise` draws
anew for each episode: `rho` and `sigma` (of lognormal predictions) from an interval, `profile` and `num_kv_blocks` from
a list; `info["drawn"]` of `reset` says what. `terminated` when all requests are done, or when nothing can ever happen
again (`info["metrics"]["outcome"]` is "stalled"); `truncated` at `until_s` of simulated time or after `max_decisions`
steps. `info["metrics"]` of the last step has the figures of the episode.

The same seed, settings and actions give the same bits, alone or in a vector of any size.

## Policies as agents

`PolicyAgent(policy, env).act()` is the command that a scheduling policy would give, read off the environment's server;
`ObservedPolicy(policy, env.unwrapped.config).act(observation)` reads nothing but the observation, and raises an error
that names the field to add where that does not tell enough.

## Rendering

`render_mode="rgb_array"` gives frames uint8 `[612, 960, 3]`, `"human"` shows them in a window at the metadata's
`render_fps` (both need `pip install "llmqgym[render]"`), `"ansi"` gives text. Each running request is a bar: its prompt
to the left, its output to the right, against what is predicted. Rendering reads, and changes nothing; a vector of
servers renders to a tuple, a frame or a text for each.
"""


def page() -> str:
    """The page, as Markdown."""
    from llmqgym.env.config import DEFAULT_PREDICTOR
    from llmqgym.policy import MODES

    return _TEXT.format(
        absent=f"{ABSENT:g}",
        server=_fields("server", SERVER_FIELDS),
        request=_requests(),
        terms=_table(("term", "unit", "meaning"), ((term.name, term.unit, term.what) for term in TERMS)),
        predictor=DEFAULT_PREDICTOR,
        modes=", ".join(MODES),
    )


def _fields(name: str, fields: Iterable[Field]) -> str:
    rows = ((field.name, field.unit, _scale(field), field.what) for field in fields)
    return _table((name, "unit", "scale", "meaning"), rows)


def _requests() -> str:
    rows = (
        (
            field.name,
            field.unit,
            _scale(field),
            _place(field, DEFAULT_WAITING),
            _place(field, DEFAULT_RUNNING),
            field.what,
        )
        for field in REQUEST_FIELDS
    )
    return _table(("request", "unit", "scale", "waiting", "running", "meaning"), rows)


def _place(field: Field, default: tuple[str, ...]) -> str:
    """Its column where it is shown by default."""
    return str(default.index(field.name)) if field.name in default else ""


def _scale(field: Field) -> str:
    return "as it is" if field.scale is None else f"{field.scale:g}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

"""What an observation says, under the names by which a policy's hooks ask for it.

An amount x was shown as y = x / (|x| + scale) in single precision; here it is the whole number that looks like y if
there is one, else y scale / (1 - |y|). So counts are exact (prompts up to 90,000 tokens), and predictions and times
are right to about seven digits of y. Times are counted from now: the clock stands at 0, and whoever is here has arrived
before. What an observation does not tell is an InputError when a hook asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.env.config import EnvConfig
from llmqgym.env.episodes import Episodes
from llmqgym.env.spaces import Cutter, Obs
from llmqgym.errors import InputError
from llmqgym.kernel.memory import Rows, address_of_rows
from llmqgym.kernel.observe import REQUEST_FIELDS, SERVER_FIELDS, UNLIMITED, unsquashed
from llmqgym.kernel.tables import MAX_PARAMS, PS_PER_S, REQUEST, SERVER, Lack, Mix, Status
from llmqgym.policy import MIXES, Policy

_TRUTH = "true_remaining_tokens"
_SCALES = {field.name: field.scale for field in REQUEST_FIELDS}
_SCALES[_TRUTH] = _SCALES["predicted_remaining_tokens"]
_PLACES = {field.name: place for place, field in enumerate(SERVER_FIELDS)}
#: Modes of preemption after which a waiting request has nothing in the KV cache.
_LOSING = {"recompute", "restart"}


class Facts:
    """What the settings say, and no observation has to: of the server, and of what may become of requests."""

    def __init__(self, policy: Policy, config: EnvConfig) -> None:
        self.config, self.policy = config, policy
        server, episodes = config.scenario.server, Episodes(config)
        self.refreshes = episodes.looks is not None
        self._drawn = [name for name in ("profile", "num_kv_blocks") if getattr(config.randomise, name)]
        profile = episodes.first_profile
        self._blocks = profile.num_kv_blocks
        self._host = profile.host_kv_blocks if server.host_kv_blocks is None else server.host_kv_blocks
        modes = {config.engine.victim_mode, *([policy.preempt_mode] if policy.preempt is not None else [])}
        self.keeps_nothing = modes <= _LOSING
        params = np.zeros(MAX_PARAMS)
        params[: len(policy.params)] = policy.params
        self.settings: dict[str, Any] = {
            name: int(getattr(server, name))
            for name in (
                "block_size", "max_running", "max_batched_tokens", "long_prefill_token_threshold", "chunked_prefill",
                "reserve_full_isl",
            )
        } | {"params": params}  # fmt: skip

    @property
    def num_kv_blocks(self) -> int:
        """Raises InputError where every episode draws another number."""
        if self._drawn:
            raise InputError(
                f"the number of KV blocks is drawn anew for each episode (randomise {self._drawn[0]}), and an "
                "observation does not tell it: leave that out of randomise."
            )
        return self._blocks

    def setting(self, name: str) -> Any:
        """A setting of the server by its name in SERVER; KeyError for what is none."""
        if name == "num_kv_blocks":
            return self.num_kv_blocks
        if name == "host_kv_blocks":
            return self._host
        if name == "watermark_blocks":
            return self.config.scenario.server.watermark_blocks(self.num_kv_blocks)
        return self.settings[name]

    def blocks_for(self, tokens: int) -> int:
        """Blocks that so many tokens fill."""
        return -(-tokens // int(self.settings["block_size"]))


class Table:
    """The waiting, or the running, requests of an observation: numbers by field, unscaled."""

    def __init__(self, part: str, facts: Facts, shown: Obs) -> None:
        self.part, self.facts = part, facts
        self.fields = getattr(facts.config, f"{part}_fields")
        self._rows, self._extra = shown[part], shown.get(f"{part}_{_TRUTH}")
        self._columns: dict[str, NDArray[np.float64]] = {}

    def number(self, field: str, place: int, asked: str) -> float:
        """A field of the request in a place; nan: unknown. Raises InputError where the observation lacks the field."""
        if field not in self._columns:
            self._columns[field] = unsquashed(self._column(field, asked), _SCALES[field])
        return float(self._columns[field][place])

    def _column(self, field: str, asked: str) -> NDArray[Any]:
        if field == _TRUTH:
            if self._extra is None:
                raise InputError(
                    f"policy {self.facts.policy.name!r} is an oracle, and the observation does not tell the truth: "
                    "wrap the environment in OracleObservation (llmqgym.env.wrappers)."
                )
            return np.asarray(self._extra)
        if field not in self.fields:
            raise InputError(
                f"policy {self.facts.policy.name!r} asks for {asked} of a {self.part} request, which needs the field "
                f"{field!r}: add it to {self.part}_fields."
            )
        column: NDArray[Any] = self._rows[:, self.fields.index(field)]
        return column

    def shown(self, place: int, names: tuple[str, ...]) -> bytes:
        """Some fields of a request as they are shown: whether it is the same again while no time has passed."""
        return self._rows[place, [self.fields.index(name) for name in names]].tobytes()

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that are shown, in order."""
        return tuple(self.fields)


class RequestView:
    """A request as far as an observation tells, with the names of REQUEST. InputError for what it does not tell."""

    def __init__(self, table: Table, place: int, neighbours: tuple[int, int] | None = None) -> None:
        self._table, self._place, self._neighbours = table, place, neighbours

    def __getattr__(self, name: str) -> Any:
        if name not in (REQUEST.names or ()):
            raise AttributeError(f"a request has no field {name!r}")
        tell = _OF_REQUEST.get(name)
        if tell is None:
            raise InputError(
                f"policy {self._table.facts.policy.name!r} asks for {name} of a {self._table.part} request, which no "
                "observation tells: use PolicyAgent, which looks at the server."
            )
        value = tell(self, name)
        vars(self)[name] = value
        return value

    def number(self, field: str, asked: str) -> float:
        """A field, nan: unknown."""
        return self._table.number(field, self._place, asked)

    def whole(self, field: str, asked: str) -> int:
        """A field that is a count."""
        return round(self.number(field, asked))

    @property
    def facts(self) -> Facts:
        return self._table.facts

    @property
    def is_waiting(self) -> bool:
        return self._table.part == "waiting"


def _count(field: str) -> Callable[[RequestView, str], int]:
    return lambda request, asked: request.whole(field, asked)


def _amount(field: str) -> Callable[[RequestView, str], float]:
    return lambda request, asked: request.number(field, asked)


def _predicted(request: RequestView, asked: str) -> float:
    return request.number("predicted_remaining_tokens", asked) + request.whole("generated_tokens", asked)


def _first_predicted(request: RequestView, asked: str) -> float:
    if request.facts.refreshes:
        raise InputError(
            f"policy {request.facts.policy.name!r} asks for {asked}, and the predictor looks again: an observation "
            "tells the latest prediction only."
        )
    return _predicted(request, asked)


def _truth(request: RequestView, asked: str) -> int:
    if not request.facts.policy.oracle:
        return -1
    return request.whole(_TRUTH, asked) + request.whole("generated_tokens", asked)


def _computed(request: RequestView, asked: str) -> int:
    return 0 if request.is_waiting and request.facts.keeps_nothing else request.whole("computed_tokens", asked)


def _blocks(request: RequestView, asked: str) -> int:
    if request.is_waiting and request.facts.keeps_nothing:
        return 0
    if request.facts.num_kv_blocks >= UNLIMITED:
        raise InputError(
            f"policy {request.facts.policy.name!r} asks for {asked}, and of a KV cache without limit an observation "
            "shows no shares: give the server num_kv_blocks."
        )
    return round(request.number("kv_held", asked) * request.facts.num_kv_blocks)


def _arrival(request: RequestView, asked: str) -> int:
    return -round(request.number("age_s", asked) * PS_PER_S)


def _limit(field: str) -> Callable[[RequestView, str], int]:
    def limit(request: RequestView, asked: str) -> int:
        left_s = request.number(field, asked)
        if math.isnan(left_s):
            if field == "ttft_left_s" and request.whole("generated_tokens", asked) > 0:
                raise InputError(
                    f"policy {request.facts.policy.name!r} asks for {asked} of a request that has tokens: an "
                    "observation no longer tells its limit."
                )
            return -1
        return round((left_s + request.number("age_s", asked)) * PS_PER_S)

    return limit


def _neighbour(which: int) -> Callable[[RequestView, str], int]:
    def neighbour(request: RequestView, asked: str) -> int:
        if request._neighbours is None:
            raise InputError(f"policy {request.facts.policy.name!r} asks for {asked} of a waiting request.")
        return request._neighbours[which]

    return neighbour


#: By the name in REQUEST: how it follows from the fields.
_OF_REQUEST: dict[str, Callable[[RequestView, str], Any]] = {
    **{name: _count(name) for name in ("prompt_tokens", "generated_tokens", "priority", "tenant", "max_output_tokens")},
    **{name: _amount(name) for name in ("predicted_lower_tokens", "predicted_upper_tokens")},
    "predicted_output_tokens": _predicted,
    "initial_predicted_output_tokens": _first_predicted,
    "true_output_tokens": _truth,
    "computed_tokens": _computed,
    "kv_blocks": _blocks,
    "arrival_ps": _arrival,
    "ttft_limit_ps": _limit("ttft_left_s"),
    "e2e_limit_ps": _limit("e2e_left_s"),
    "status": lambda request, asked: Status.WAITING if request.is_waiting else Status.RUNNING,
    "previous": _neighbour(0),
    "next": _neighbour(1),
}


class ServerView:
    """The server as far as an observation tells, with the names of SERVER. InputError for what it does not tell.

    `settings_only`: for an ORDER whose keys the kernel takes once, when a request joins the queue: how the server was
    then is not to be seen.
    """

    def __init__(self, facts: Facts, shown: Obs, settings_only: bool = False) -> None:
        self._facts, self._settings_only = facts, settings_only
        self._shown = shown["server"]
        self._batch = Rows()

    def show(self, running: list[RequestView]) -> None:
        """The running requests in view, the last admitted first."""
        self._batch = Rows(running)

    def __getattr__(self, name: str) -> Any:
        if name not in (SERVER.names or ()):
            raise AttributeError(f"a server has no field {name!r}")
        try:
            value = self._facts.setting(name)
        except KeyError:
            value = self._state(name)
        vars(self)[name] = value
        return value

    def _state(self, name: str) -> Any:
        tell = _OF_SERVER.get(name)
        if tell is not None and not self._settings_only:
            return tell(self)
        who = f"policy {self._facts.policy.name!r}"
        if tell is not None:
            raise InputError(
                f"ORDER of {who} asks for {name} of the server, as it was when the request began to wait: no "
                "observation tells. Use PolicyAgent, or a policy with rekey=True."
            )
        raise InputError(
            f"{who} asks for {name} of the server, which no observation tells: use PolicyAgent, which looks at it."
        )

    def number(self, field: str) -> float:
        """A field of the observation."""
        place = _PLACES[field]
        return float(unsquashed(self._shown[place], SERVER_FIELDS[place].scale))

    def count(self, field: str) -> int:
        """A field of the observation that is a number of something."""
        return round(self.number(field))

    @property
    def free_blocks(self) -> int:
        """KV blocks; very many where there is no limit."""
        blocks = self._facts.num_kv_blocks
        return blocks - round(self.number("kv_used") * blocks) if blocks < UNLIMITED else blocks

    def row_of_the_first(self) -> int:
        """The row of the running request admitted first. Raises InputError where it is not shown."""
        if self.count("num_running") > len(self._batch):
            raise InputError(
                f"policy {self._facts.policy.name!r} looks at the whole running batch, {self.count('num_running')} "
                f"requests, and {len(self._batch)} are shown: make the environment with a larger `running`."
            )
        return len(self._batch) - 1

    def reserved_blocks(self) -> int:
        """KV blocks kept from newcomers. Raises InputError where an engine keeps some."""
        if MIXES[self._facts.config.engine.mix] == Mix.PREFILL_FIRST_MIXED:
            raise InputError("an observation does not tell what 'prefill_first_mixed' reserves: use PolicyAgent.")
        return 0

    def budget(self) -> int:
        """Tokens left in the iteration."""
        return round(self.number("budget_left") * int(self._facts.settings["max_batched_tokens"]))


#: By the name in SERVER: how what changes follows from the observation.
_OF_SERVER: dict[str, Callable[[ServerView], Any]] = {
    "clock_ps": lambda server: 0,
    "free_kv_blocks": lambda server: server.free_blocks,
    "reserved_kv_blocks": ServerView.reserved_blocks,
    "budget_tokens": ServerView.budget,
    "num_running": lambda server: server.count("num_running"),
    "num_decoding": lambda server: server.count("num_running") - server.count("num_prefilling"),
    "num_waiting": lambda server: server.count("num_waiting"),
    "first_running": ServerView.row_of_the_first,
    "last_running": lambda server: 0 if server._batch else -1,
    "requests": lambda server: address_of_rows(server._batch),
}


def lack_of(facts: Facts, request: RequestView, server: ServerView) -> tuple[int, int]:
    """What keeps a waiting request out, a Lack, and the blocks that it lacks: the kernel's rule (batch.py,
    `tokens_on_entry`), from what is seen."""
    settings, done = facts.settings, request.computed_tokens
    sequence = request.prompt_tokens + request.generated_tokens
    tokens, threshold = sequence - done, settings["long_prefill_token_threshold"]
    if 0 < threshold < tokens and server.num_running + server.num_waiting > 1:
        tokens = threshold
    if tokens > server.budget_tokens and not settings["chunked_prefill"]:
        return Lack.TOKENS, 0
    needed = facts.blocks_for(done + min(tokens, server.budget_tokens))
    if facts.config.engine.fit is None:
        if settings["reserve_full_isl"]:
            needed = max(needed, facts.blocks_for(sequence))
        needed += facts.setting("watermark_blocks") if server.num_running > 0 else 0
    lacking = 0
    if facts.num_kv_blocks < UNLIMITED:
        lacking = max(needed - request.kv_blocks - (server.free_kv_blocks - server.reserved_kv_blocks), 0)
    if lacking > 0:
        return Lack.BLOCKS, lacking
    fit = facts.policy.fit
    # Whether it is FIT that keeps a request out matters to hold alone, which makes a slot free and no blocks.
    if fit is not None and facts.policy.preempt_mode == "hold" and not fit(request, server):
        return Lack.BLOCKS, 0
    return Lack.SLOT, 0


def cut(config: EnvConfig, cutter: Cutter, observation: Any, mask: Any) -> Obs:
    """An observation, Dict or flat, in named parts. Raises InputError for one of another environment."""
    if isinstance(observation, dict):
        parts = dict(observation)
        if mask is not None:
            parts["action_mask"] = np.asarray(mask)
    elif mask is None:
        raise InputError("a flat observation has no mask: give act(observation, action_mask).")
    else:
        parts = cutter.one(np.asarray(observation), np.asarray(mask))
    wanted = {
        "server": (len(SERVER_FIELDS),), "waiting": (config.window, len(config.waiting_fields)),
        "running": (config.running, len(config.running_fields)), "action_mask": (config.num_actions,),
    }  # fmt: skip
    for name, shape in wanted.items():
        found = np.shape(parts[name]) if name in parts else "missing"
        if found != shape:
            raise InputError(
                f"{name} of the observation is {found}, and {shape} by the settings: give one of an environment with "
                "these settings."
            )
    return parts

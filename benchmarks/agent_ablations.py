"""What the parts of training are worth: an agent trained without each of them, or with another in its place.

    python benchmarks/agent_ablations.py --out ablations [--jobs 2] [--seeds 1,2,3] [--timesteps 1500000]
        [--variants as-shipped,no-copies] [--markdown docs/results.md]

Each variant of `configs/agent/noisy-1.toml` is trained from each seed, a look at the held-out requests every few
updates; the best look's agent and the last update's then meet workloads that nobody has trained on and nothing was
chosen by (`agent_results.workloads`), beside volume-sf on the same. What is done lies in a file each under `--out`, and
is not done again; a run that was ended goes on from its checkpoint there.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from agent_results import of_policy, workloads
from results_page import put_section, table

from agents.config import AgentConfig, agent_config, read_agent_config
from agents.contestant import AgentContestant
from agents.jobs import Job, begin
from agents.policy_file import write_agent
from agents.shipping import agent_of
from agents.statistics import paired
from agents.telling import Teller
from baselines.registry import make_policy
from llmqgym.errors import InputError
from llmqgym.files import write_json
from llmqgym.machine import machine
from llmqgym.parallel import each_apart, prepare

CONFIG = Path("configs/agent/noisy-1.toml")
BESIDE = "volume-sf"
#: Updates between two looks: a short run has few.
EVERY = 5
WORKLOADS, REQUESTS = 6, 5000
TITLE = "What the parts of training are worth"
COLUMNS = (
    "variant", "what is different", "best look", "over the seeds", "last update", "over the seeds", "kept at",
    "minutes",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """What is different in it: sections of the configuration, merged into those of the file."""

    text: str
    changes: dict[str, Any] = field(default_factory=dict)
    trained: bool = True  # or stopped after its warm start


VARIANTS = {
    "as-shipped": Variant("nothing"),
    "no-warm-start": Variant("from random weights", {"cloning": {"teacher": None}}),
    "warm-start-alone": Variant("the teacher is imitated, nothing is learnt", trained=False),
    "mlp": Variant(
        "two layers of 64 over the whole observation, no running requests in it",
        {"network": {"name": "mlp", "hidden": 64, "preempt": True}, "env": {"running": 0}},
    ),
    "no-copies": Variant("no two servers meet the same arrivals", {"copies": 1}),
    "average-reward": Variant("the mean reward rate taken away, no discount", {"learning": {"average_reward": True}}),
    "reference": Variant(f"rewards are differences to {BESIDE}'s", {"learning": {"reference": BESIDE}}),
    "curriculum": Variant(
        "loads of 0.6 to 0.8 in the first third",
        {"stages": [{"from_share": 0.0, "env": {"randomise": {"rho": [0.6, 0.8]}}}, {"from_share": 1.0 / 3.0}]},
    ),
    "trace-by-decisions": Variant(
        "advantages fade by 0.95 a decision, and not with time", {"learning": {"trace_s": 1e9, "gae_lambda": 0.95}}
    ),
    "pull": Variant(
        "a weight of the entropy below 0 at first: a pull towards deciding instead of tossing",
        {"learning": {"entropy_weight": -0.004, "final_entropy_weight": 0.0}},
    ),
    "preempt": Variant("it may preempt", {"network": {"preempt": True}}),
}


@dataclass(frozen=True)
class Piece:
    """A variant trained from a seed, into `out`."""

    variant: str
    config: AgentConfig
    out: Path
    num_workloads: int
    num_requests: int

    @property
    def name(self) -> str:
        """Of its file and of its run's folder."""
        return f"{self.variant}-{self.config.seed}"

    @property
    def file(self) -> Path:
        """What came of it."""
        return self.out / f"{self.name}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """All that determines what comes of it."""
        asked = {"config": self.config.document(), "workloads": self.num_workloads, "requests": self.num_requests}
        found: dict[str, Any] = json.loads(json.dumps(asked))
        return found


def config_of(variant: Variant, base: AgentConfig, seed: int, timesteps: int) -> AgentConfig:
    """The base with what is different, shortened. Raises InputError."""
    document = base.document()
    changes = {"seed": seed, "total_steps": timesteps, **variant.changes}
    changes["evaluation"] = {"every": EVERY, "keep": "best"}
    for key, value in changes.items():
        document[key] = {**document[key], **value} if isinstance(value, dict) else value
    return agent_config(document, base.name)


def do(piece: Piece) -> dict[str, Any]:
    """Train, and play the test workloads; kept when it is done."""
    job = Job(piece.config, piece.out / "runs" / piece.name, make_policy, "cpu")
    job.folder.parent.mkdir(parents=True, exist_ok=True)
    teller = Teller(_print)
    run = begin(job, teller)
    if VARIANTS[piece.variant].trained:
        run.go_on(teller)
    scenario = next(iter(piece.config.env_settings.values()))["scenario"]
    traffic = workloads(scenario, piece.num_workloads, piece.num_requests)
    found: dict[str, Any] = {
        **piece.settings, "variant": piece.variant, "seed": piece.config.seed, "wall_s": run.wall_s,
        "machine": machine(), "kept_at": run.look("best")["steps"], "decisions": run.model.num_timesteps,
        BESIDE: [of_policy(BESIDE, *each)[0] for each in traffic],
    }  # fmt: skip
    for which in ("best", "last"):
        path = job.folder / which
        write_agent(path, agent_of(run, which))
        agent = AgentContestant(f"ppo:{path}")
        summaries = [agent.run(workload, each).summary for each, workload in traffic]
        # Who leaves requests behind has no mean.
        found[which] = [None if each["num_unfinished"] else each["e2e_s"]["mean"] for each in summaries]
    write_json(piece.file, found)
    return found


def _print(line: str) -> None:
    print(line, flush=True)


def pieces_of(args: argparse.Namespace) -> list[Piece]:
    """All that are asked for. Raises InputError for what lies there of other settings."""
    base, names = read_agent_config(args.config), args.variants.split(",")
    for name in names:
        if name not in VARIANTS:
            raise InputError(f"variant {name!r}: known are {', '.join(VARIANTS)}.")
    pieces = [
        Piece(name, config_of(VARIANTS[name], base, int(seed), args.timesteps), args.out, args.workloads, args.requests)
        for seed in args.seeds.split(",")
        for name in names
    ]
    for piece in pieces:
        if piece.file.is_file() and any(_found(piece)[key] != value for key, value in piece.settings.items()):
            raise InputError(f"{piece.file} is of other settings: give another --out, or remove it.")
    return pieces


def _found(piece: Piece) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(piece.file.read_text(encoding="utf-8"))
    return found


def differences(found: Sequence[dict[str, Any]], which: str) -> tuple[str, str]:
    """(mean over the seeds of the mean difference to volume-sf, least to largest over the seeds)."""
    whole = [each for each in found if None not in each[which]]
    means = [paired(np.array(each[which]), np.array(each[BESIDE]))[0] for each in whole]
    left = f"{len(found) - len(whole)} of {len(found)} leave requests behind" if len(whole) < len(found) else ""
    if not whole:
        return "-", left
    spread = f"{min(means):+.2%} to {max(means):+.2%}"
    return f"{np.mean(means):+.2%}", "; ".join(each for each in (spread, left) if each)


def row(name: str, found: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """A variant's."""
    kept = ", ".join(f"{each['kept_at'] / 1e6:.2f} M" for each in found)
    minutes = f"{np.mean([each['wall_s'] for each in found]) / 60.0:.1f}"
    return name, VARIANTS[name].text, *differences(found, "best"), *differences(found, "last"), kept, minutes


def section(found: Sequence[dict[str, Any]], beside: int) -> str:
    """The text of the page."""
    first, seeds = found[0], sorted({each["seed"] for each in found})
    names = [name for name in VARIANTS if any(each["variant"] == name for each in found)]
    rows = [row(name, [each for each in found if each["variant"] == name]) for name in names]
    machines = ", ".join(sorted({each["machine"] for each in found}))
    steps = first["config"]["total_steps"]
    return (
        f"`python benchmarks/agent_ablations.py --out DIR --timesteps {steps}`: {CONFIG} with\n"
        f"one thing different, {steps:,} decisions, from the seeds {', '.join(map(str, seeds))}. Mean E2E beside "
        f"`{BESIDE}` on\n{first['workloads']} workloads of {first['requests']:,} requests that nobody was trained on "
        "and nothing was chosen by; below 0 is in\nthe agent's favour. The mean over the seeds, and the least and the "
        "largest; of the look that was best on the held-out\nrequests, and of the last update. `kept at`: decisions "
        f"until that look. Minutes of training, looks apart, {beside} at a time\non {machines}.\n\n"
        + "\n".join(table(COLUMNS, rows))
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--out", type=Path, required=True, help="the folder of what is done")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="some of them, separated by commas")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--timesteps", type=int, default=1_500_000)
    parser.add_argument("--workloads", type=int, default=WORKLOADS)
    parser.add_argument("--requests", type=int, default=REQUESTS)
    parser.add_argument("--jobs", type=int, default=1, help="so many at a time, each in a process of its own")
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    try:
        pieces = pieces_of(args)
        todo = [piece for piece in pieces if not piece.file.is_file()]
        _print(f"{len(pieces) - len(todo)} of {len(pieces)} are done")
        if todo:
            prepare({BESIDE, *todo[0].config.evaluation.baselines}, make_policy)
        ended = each_apart(do, todo, processes=args.jobs)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for piece, each in zip(todo, ended, strict=True):
        if isinstance(each, Exception):
            print(f"{piece.name}: FAILED, and goes on with the same command: {each}", file=sys.stderr)
    done = [_found(piece) for piece in pieces if piece.file.is_file()]
    if done:
        text = section(done, args.jobs)
        _print(text)
        if args.markdown is not None:
            put_section(args.markdown, TITLE, text)
    return 1 if len(done) < len(pieces) else 0


if __name__ == "__main__":
    sys.exit(main())

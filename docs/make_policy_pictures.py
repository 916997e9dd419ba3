"""Draw docs/pictures/policies-FAMILY.svg and write docs/policies.md: the same twenty requests under every baseline.

Run: python docs/make_policy_pictures.py [FOLDER] (default: docs). Each panel is a Gantt chart of the slots, with the KV
cache under it; the result is the same on every machine (tests/test_policy_pictures.py holds the files against it).
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from baselines.registry import ALIASES, POLICIES, make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware import load_profile
from llmqgym.kernel import log
from llmqgym.kernel.tables import PS_PER_S, Mode
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

SLOTS, MEMORY, BUDGET, SECONDS = 6, 110, 24, 80
#: Settings that suit requests of a few tokens, where the defaults are made for hundreds.
SPECS = {
    "las": "las:quantum=4,mode=swap", "mlfq": "mlfq:quantum_ms=2000,prefill_us=100000,starvation_s=30",
    "one-bit": "one-bit:threshold=8", "one-bit-true": "one-bit-true:threshold=8",
    "skip-predict": "skip-predict:threshold=8", "gsa": "gsa:first=4",
    "gamma-boost": "gamma-boost:gamma=0.05,token_s=1,prompt_token_s=0.04",
    "gamma-boost-true": "gamma-boost-true:gamma=0.05,token_s=1,prompt_token_s=0.04",
    "ssjf": "ssjf:slowdown=2,token_s=1", "ltr": "ltr:starvation=10,period=4", "multi-bin": "multi-bin:bins=3,high=24",
    "flow-control": "flow-control:budget=1", "wait": "wait:total=8,rates=1/1,decodes=6/14",
    "nested-wait": "nested-wait:total=10,rates=1/1,decodes=6/14", "slai": "slai:tbt_ms=2000,offset=0.5",
    "andes": "andes:every=3,full=0.7,pass_s=1,speed=0.5,ttft_s=4", "lightllm": "lightllm:every=3",
    "past-future": "past-future:every=3",
}  # fmt: skip
FAMILIES = {
    "engines": "What serving engines do. They differ in who may enter and in which tokens share an iteration.",
    "sizes": "Shortest first, by what a predictor or an oracle says.",
    "tails": "Orders for the slowest requests, and for what a prediction leaves open.",
    "blind": "Nothing is predicted: service received so far, or tokens processed meanwhile, decide.",
    "look ahead": "A request enters if memory will hold everybody to the end.",
    "admission": "How much to let in, in order of arrival.",
    "limits": "Limits on the first token and on each token.",
    "fairness": "Tenants share the server. Colours are tenants here.",
    "anchors": "What any policy should beat.",
}
#: Short, medium and long answers (or tenants), light and dark for decode and prefill.
LIGHT, DARK = ("#7fcdbb", "#8fb8de", "#f2b179"), ("#2a9d8f", "#2f6db5", "#d9731a")
WIDTH, ROW, LEFT, KV = 372, 11, 14, 30
PANEL = 18 + SLOTS * ROW + 4 + KV + 16


def workload() -> np.ndarray:
    """Twenty requests in 16 s: prompts of 3 to 20 tokens, answers of 2 to 24, two tenants."""
    rng = np.random.default_rng(11)
    output = rng.permutation(np.repeat([2, 3, 4, 6, 8, 9, 12, 16, 20, 24], 2))
    tenant = rng.permutation([0] * 13 + [1] * 7)
    return make_requests(
        arrival_s=np.sort(np.round(rng.uniform(0, 16, 20), 1)),
        prompt_tokens=rng.integers(3, 21, 20),
        output_tokens=output,
        max_output_tokens=output + rng.integers(2, 12, 20),
        predicted_output_tokens=np.round(output * np.exp(0.4 * rng.standard_normal(20)), 1),
        predicted_lower_tokens=np.round(output * rng.uniform(0.5, 1.0, 20), 1),
        predicted_upper_tokens=np.round(output * rng.uniform(1.0, 1.6, 20), 1),
        tenant=tenant,
        priority=tenant,
        ttft_limit_ps=rng.integers(3, 20, 20) * PS_PER_S,
    )


@dataclass
class Cell:
    """A stretch of iterations, seconds, in which a request gets tokens."""

    slot: int
    start: float
    span: float
    request: int
    prefills: bool


@dataclass
class Chart:
    """What happened: who got tokens when, the KV cache over time, and who was preempted."""

    cells: list[Cell] = field(default_factory=list)
    held: list[tuple[float, int]] = field(default_factory=list)
    marks: list[tuple[int, float, str]] = field(default_factory=list)
    summary: str = ""

    def add(self, new: Cell) -> None:
        """One more iteration, as part of a stretch where it goes on with one."""
        for cell in reversed(self.cells[-2 * SLOTS :]):
            if (cell.request, cell.slot, cell.prefills) == (new.request, new.slot, new.prefills):
                if cell.start + cell.span == new.start:
                    cell.span += new.span
                    return
                break
        self.cells.append(new)


def chart(spec: str) -> Chart:
    """One run, from its log."""
    server = ServerConfig(
        num_kv_blocks=MEMORY, block_size=1, max_running=SLOTS, max_batched_tokens=BUDGET, host_kv_blocks=MEMORY
    )
    profile, requests = load_profile("iterations").to_integers(1), workload()
    sim = Simulator(server, profile, make_policy(spec), log=True, until_ps=400 * PS_PER_S)
    sim.run(iter([requests]))
    drawn, slot_of, now = Chart(), {}, 0.0
    left, made = requests["prompt_tokens"].copy(), np.zeros(len(requests), np.int64)
    for what, number, second in sim.log_triples().tolist():
        if what == log.ITERATION:
            now = second / PS_PER_S
        elif what in (log.SCHEDULED, log.SCHEDULED_PART):
            if number not in slot_of:
                slot_of[number] = min(set(range(SLOTS)) - set(slot_of.values()))
            prefills = bool(left[number] > 0)
            left[number] -= second
            made[number] += what == log.SCHEDULED
            drawn.add(Cell(slot_of[number], now, 1.0, number, prefills))
        elif what == log.PREEMPTED:
            made[number] *= second != Mode.RESTART
            if second in (Mode.RECOMPUTE, Mode.RESTART):
                left[number] = requests["prompt_tokens"][number] + made[number]
            if number in slot_of:
                drawn.marks.append((slot_of.pop(number), now + 1.0, "x"))
        elif what == log.FINISHED:
            slot_of.pop(number)
        elif what == log.FREE_BEFORE:
            drawn.held.append((now, MEMORY - number))
        elif what == log.FREE_AFTER:
            drawn.held.append((now + 1.0, MEMORY - number))
    rows = sim.departures()
    done = rows[rows["finish_ps"] >= 0]
    mean_s = float((done["finish_ps"] - done["arrival_ps"]).mean()) / PS_PER_S
    first_s = float((done["first_token_ps"] - done["arrival_ps"]).mean()) / PS_PER_S
    drawn.summary = f"E2E {mean_s:.1f} s, TTFT {first_s:.1f} s, {sum(sim.totals().num_preemptions)} preempted"
    if len(done) < len(requests):
        drawn.summary += f", {len(requests) - len(done)} never done"
    return drawn


def classes(family: str) -> list[int]:
    """The colour of each request."""
    requests = workload()
    if family == "fairness":
        return [int(tenant) * 2 for tenant in requests["tenant"]]
    return [int(output > 6) + int(output > 12) for output in requests["output_tokens"]]


def panel(name: str, colours: list[int], x: int, y: int) -> list[str]:
    """The SVG of one policy."""
    spec = SPECS.get(name, name)
    drawn, scale = chart(spec), (WIDTH - 2 * LEFT) / SECONDS
    top, oracle = y + 18, " (oracle)" if POLICIES[name].oracle else ""
    base = top + SLOTS * ROW + 4 + KV
    lines = [
        f'<text x="{x + LEFT}" y="{y + 12}" class="name">{name}{oracle}</text>',
        f'<text x="{x + WIDTH - LEFT}" y="{y + 12}" class="note" text-anchor="end">{drawn.summary}</text>',
        f'<rect x="{x + LEFT}" y="{top}" width="{WIDTH - 2 * LEFT}" height="{SLOTS * ROW}" class="frame"/>',
    ]
    numbers: dict[int, str] = {}
    for cell in drawn.cells:
        if cell.start >= SECONDS:
            continue
        colour = (DARK if cell.prefills else LIGHT)[colours[cell.request]]
        at, row = x + LEFT + cell.start * scale, top + cell.slot * ROW
        size = f'width="{min(cell.span, SECONDS - cell.start) * scale:.1f}" height="{ROW - 2}"'
        lines.append(f'<rect x="{at:.1f}" y="{row + 1}" {size} fill="{colour}"/>')
        number = f'<text x="{at + 0.5:.1f}" y="{row + ROW - 3}" class="id">{cell.request}</text>'
        numbers.setdefault(cell.request, number)
    lines += numbers.values()
    for slot, at_s, mark in drawn.marks:
        if at_s < SECONDS:
            at = x + LEFT + at_s * scale
            lines.append(f'<text x="{at - 3:.1f}" y="{top + slot * ROW + ROW - 2}" class="mark">{mark}</text>')
    points = [
        f"{x + LEFT + at * scale:.1f},{base - held / MEMORY * KV:.1f}" for at, held in drawn.held if at <= SECONDS
    ]
    first, end = points[0].split(",")[0], points[-1].split(",")[0]
    lines.append(f'<polygon points="{first},{base} {" ".join(points)} {end},{base}" class="kv"/>')
    lines.append(f'<path d="M{x + LEFT} {base - KV}h{WIDTH - 2 * LEFT}" class="full"/>')
    lines.append(f'<path d="M{x + LEFT} {base}h{WIDTH - 2 * LEFT}" class="axis"/>')
    return lines


STYLE = (
    "text{font-family:system-ui,sans-serif;fill:#222}.name{font-size:12px;font-weight:600}.note{font-size:9px;fill:#555}"
    ".id{font-size:7px;fill:#fff}.mark{font-size:10px;font-weight:700;fill:#c1121f}.frame{fill:#f4f4f2}"
    ".kv{fill:#b9b4d0}.full{stroke:#c1121f;stroke-width:.6;stroke-dasharray:3 2;fill:none}"
    ".axis{stroke:#888;stroke-width:.6}"
)


def picture(family: str) -> str:
    """The SVG of a family, after vLLM to compare with: three panels a row, and what the colours mean."""
    names = [name for name, entry in POLICIES.items() if entry.family == family]
    if family != "engines":
        names.insert(0, "vllm")
    columns = min(3, len(names))
    height = 22 + -(-len(names) // columns) * PANEL
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {max(columns, 2) * WIDTH} {height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{max(columns, 2) * WIDTH}" height="{height}" fill="#fff"/>',
    ]
    legend = {"fairness": ("tenant 0", "", "tenant 1")}.get(family, ("2-6 tokens", "8-12 tokens", "16-24 tokens"))
    x = LEFT
    for place, label in enumerate(legend):
        if label:
            parts.append(f'<rect x="{x}" y="6" width="9" height="9" fill="{DARK[place]}"/>')
            parts.append(f'<rect x="{x + 9}" y="6" width="9" height="9" fill="{LIGHT[place]}"/>')
            parts.append(f'<text x="{x + 22}" y="14" class="note">{label}</text>')
            x += 90
    parts.append(f'<text x="{x}" y="14" class="note">dark: prefill. x: preempted. Below: KV cache, {SECONDS} s.</text>')
    colours = classes(family)
    for place, name in enumerate(names):
        parts += panel(name, colours, place % columns * WIDTH, 22 + place // columns * PANEL)
    return "\n".join([*parts, "</svg>"]) + "\n"


def page() -> str:
    """docs/policies.md."""
    lines = [
        "# Policies",
        "",
        "Generated by `python docs/make_policy_pictures.py`; do not edit. A policy's own page: `llmqgym policy show",
        "NAME`; how to write one: [write_a_policy.md](write_a_policy.md); what each costs: [results.md](results.md).",
        "",
        f"The pictures show the same twenty requests, which come within 16 s to a server of {SLOTS} slots and {MEMORY}",
        f"tokens of KV cache that processes {BUDGET} tokens in an iteration of one second. Each number is where",
        "a request runs for the first time; a gap in a slot is a request that holds it without a token in that",
        "iteration. A single small example ranks nobody.",
    ]
    for family, text in FAMILIES.items():
        lines += ["", f"## {family.capitalize()}", "", text, ""]
        lines += ["| policy | rule | needs | source |", "| --- | --- | --- | --- |"]
        for name, entry in POLICIES.items():
            if entry.family == family:
                lines.append(f"| `{SPECS.get(name, name)}` | {entry.summary} | {entry.needs} | {entry.source} |")
        lines += ["", f"![{family}](pictures/policies-{family.replace(' ', '-')}.svg)"]
    lines += ["", "## Other names", "", "| name | stands for |", "| --- | --- |"]
    lines += [f"| `{alias}` | `{name}` |" for alias, name in ALIASES.items()]
    return "\n".join(lines) + "\n"


def files() -> dict[str, Any]:
    """Everything that is generated, by its path in docs/."""
    pictures = {f"pictures/policies-{family.replace(' ', '-')}.svg": picture(family) for family in FAMILIES}
    return {"policies.md": page(), **pictures}


def main(folder: Path) -> None:
    for name, text in files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)

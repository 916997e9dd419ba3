"""A scene as text, without colours, so that it reads the same in a log."""

from __future__ import annotations

from llmqgym.env.render.parts import parts_of
from llmqgym.env.render.scene import Request, Scene

#: Lines of running requests, and of each part of the window.
MOST_RUNNING, MOST_WAITING = 24, 8
_PROMPT, _OUTPUT, _GAUGE = 12, 32, 40
_COMPUTED, _UNCOMPUTED, _KEPT, _TO_RECOMPUTE, _AHEAD, _BEYOND = "█░█▒·+"
_LEGEND = (
    f"prompt {_COMPUTED} computed {_UNCOMPUTED} to compute | output {_KEPT} generated {_TO_RECOMPUTE} to recompute "
    f"{_AHEAD} predicted {_BEYOND} beyond the prediction"
)


def write_ansi(scene: Scene) -> str:
    """The scene, some tens of lines."""
    lines = [_counters(scene), _gauge(scene), f"last action: {scene.action or 'none'} · decision: {scene.state}", ""]
    axes = f"prompt to {scene.prompt_axis_tokens:,}, output to {scene.output_axis_tokens:,} tokens"
    lines += _section(f"running, in the order of admission ({axes})", scene, scene.running, MOST_RUNNING)
    lines += _section("waiting: the oldest", scene, scene.oldest, MOST_WAITING)
    lines += _section("waiting: the shortest of the others", scene, scene.shortest, MOST_WAITING)
    if scene.num_unseen > 0:
        lines += [
            f"+ {scene.num_unseen:,} waiting out of sight: {scene.unseen_prompt_tokens:,} prompt tokens, "
            f"{scene.unseen_predicted_tokens:,} predicted output tokens",
            "",
        ]
    return "\n".join([*lines, _LEGEND, ""])


def _counters(scene: Scene) -> str:
    slots = "" if scene.max_running is None else f" of {scene.max_running:,}"
    rejected = f"rejected {scene.num_rejected:,} · " if scene.num_rejected else ""
    lost = f" ({scene.lost_tokens / scene.processed_tokens:.0%} lost)" if scene.lost_tokens else ""
    return (
        f"clock {scene.clock_s:.3f} s · iteration {scene.num_iterations:,} · finished {scene.num_finished:,} · "
        f"{rejected}running {scene.num_running:,}{slots} · waiting {scene.num_waiting:,} · preemptions "
        f"{scene.num_preemptions:,} · {scene.requests_per_s:.2f} requests/s · {scene.tokens_per_s:,.0f} tokens/s{lost}"
    )


def _gauge(scene: Scene) -> str:
    share = scene.kv_share
    if share is None:
        return f"KV cache {scene.used_kv_blocks:,} blocks, without limit"
    full = round(share * _GAUGE)
    bar = "█" * full + "░" * (_GAUGE - full)
    return f"KV cache {bar} {scene.used_kv_blocks:,} of {scene.num_kv_blocks:,} blocks, {share:.0%}"


def _section(title: str, scene: Scene, requests: tuple[Request, ...], most: int) -> list[str]:
    lines = [title, *(_line(scene, request) for request in requests[:most])]
    if len(requests) > most:
        lines.append(f"  + {len(requests) - most:,} more")
    return [*lines, ""]


def _line(scene: Scene, request: Request) -> str:
    parts = parts_of(request)
    prompt = _fill([(parts.computed, _COMPUTED), (parts.uncomputed, _UNCOMPUTED)], scene.prompt_axis_tokens, _PROMPT)
    within = parts.kept - min(parts.beyond, parts.kept)
    output = _fill(
        [
            (within, _KEPT),
            (parts.kept - within, _BEYOND),
            (parts.to_recompute, _TO_RECOMPUTE),
            (parts.ahead, _AHEAD),
        ],
        scene.output_axis_tokens,
        _OUTPUT,
    )
    command = f"[{request.command}]" if request.is_allowed else ""
    notes = [f"{request.age_s:.1f} s"]
    if request.num_preemptions:
        notes.append(f"preempted {request.num_preemptions}x")
    return f"{request.id:>7} {command:>5} {prompt[::-1]}|{output} {', '.join(notes)}"


def _fill(parts: list[tuple[int, str]], axis_tokens: int, width: int) -> str:
    """Characters from the axis outwards: each part ends where its tokens do."""
    text, tokens = "", 0
    for part, character in parts:
        tokens += part
        end = min(round(tokens * width / axis_tokens), width)
        text += character * (end - len(text))
    return text.ljust(width)

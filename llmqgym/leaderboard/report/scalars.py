"""A board for TensorBoard: a run for each policy, with scalars under vLLM's names where vLLM has them, and hparams."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError
from llmqgym.files import OutputError
from llmqgym.leaderboard.report.board import Board, Cell
from llmqgym.leaderboard.report.measures import E2E, TAIL_E2E, TAIL_TTFT, TTFT, measure_of

_EVENTS = "events.out.tfevents.*"
#: Settings that tell a reader of a table nothing beside the policy's spec.
_DULL = ("name", "kind", "code", "reference", "summary")
#: Columns of the table of policies.
_SHOWN = (E2E, TAIL_E2E, TTFT, TAIL_TTFT)


def check_tensorboard() -> None:
    """Raises InputError where TensorBoard is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise InputError(
            'TensorBoard is not installed: pip install "llmqgym[train]", or leave --tensorboard out.'
        ) from error


def write_runs(folder: str | Path, document: dict[str, Any]) -> list[Path]:
    """Write a run below `folder` for each policy of a board's document; its folders.

    Scalars are named SCENARIO/NAME/STATISTIC, means over the board's seeds; the step is the load in percent of the
    capacity, 0 where there is none. Events of an earlier board in the same folders are replaced. Raises InputError
    where TensorBoard is not installed, OutputError.
    """
    check_tensorboard()
    board = Board(document)
    names = run_names([policy["spec"] for policy in board.policies])
    return [_write_run(Path(folder) / names[policy["spec"]], board, policy) for policy in board.policies]


def run_names(specs: list[str]) -> dict[str, str]:
    """A folder's name for each spec: what file systems dislike becomes '_', and names stay different.

    >>> run_names(["sprpt:mode=swap", "sprpt;mode=swap"])
    {'sprpt:mode=swap': 'sprpt_mode=swap', 'sprpt;mode=swap': 'sprpt_mode=swap-2'}
    """
    names: dict[str, str] = {}
    for spec in specs:
        name = re.sub(r"[^A-Za-z0-9.=+,-]", "_", spec).lstrip(".") or "_"
        number = sum(re.fullmatch(re.escape(name) + r"(-\d+)?", other) is not None for other in names.values())
        names[spec] = f"{name}-{number + 1}" if number else name
    return names


def scalars(board: Board, spec: str) -> Iterator[tuple[str, int, float]]:
    """(tag, step, value) of a policy, in the document's units: seconds, requests per second, shares."""
    for scenario in board.scenarios:
        cell = board.cell(scenario["name"], spec)
        if cell is None or cell.skipped:
            continue
        step = round(100 * (scenario.get("rho") or 0))
        for tag, value in _of_cell(cell):
            yield f"{scenario['base']}/{tag}", step, value


def hparams(document: dict[str, Any], policy: dict[str, Any]) -> dict[str, str | bool | float]:
    """What the policy is: plain values only, as TensorBoard takes them, and none that is only for machines."""
    settings = {
        name: value
        for name, value in (policy.get("settings") or {}).items()
        if isinstance(value, (str, bool, int, float)) and name not in _DULL
    }
    told = {"policy": policy["spec"], "family": policy["family"], "needs": Cell({}, policy).needs}
    board = {"suite": document.get("suite") or "", "version": document.get("version") or ""}
    return {**settings, **told, "oracle": bool(policy.get("oracle")), **board}


def _of_cell(cell: Cell) -> Iterator[tuple[str, float]]:
    for key in cell.document["metrics"]:
        found = cell.figure(key)
        if found is not None:
            yield measure_of(key).exported or key, found.mean
    for key in (E2E, TTFT):
        gap = cell.gap(key)
        if gap is not None:
            yield f"gap_to_bound/{key}", gap.mean
    for name in ("num_unfinished", "num_rejected"):
        yield name, cell.count(name)


def _write_run(folder: Path, board: Board, policy: dict[str, Any]) -> Path:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    now = time.time()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = list(folder.glob(_EVENTS))
        writer = EventFileWriter(str(folder))
        told = hparams(board.document, policy)
        writer.add_event(Event(wall_time=now, summary=_columns(board, told)))
        writer.add_event(Event(wall_time=now, summary=hparams_pb(told, trial_id=policy["spec"], start_time_secs=now)))
        for tag, step, value in scalars(board, policy["spec"]):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
            writer.add_event(Event(wall_time=now, step=step, summary=summary))
        writer.close()
        for path in before:
            path.unlink()
    except OSError as error:
        raise OutputError(
            f"cannot write to {str(folder)!r}: {error.strerror or error}: name another folder."
        ) from error
    return folder


def _columns(board: Board, told: dict[str, str | bool | float]) -> Any:
    """Which hparams and scalars TensorBoard's table of policies has. Its own maker of this needs TensorFlow."""
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import (
        DATA_TYPE_BOOL,
        DATA_TYPE_FLOAT64,
        DATA_TYPE_STRING,
        Experiment,
        HParamInfo,
        MetricInfo,
        MetricName,
    )
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    kinds = {bool: DATA_TYPE_BOOL, str: DATA_TYPE_STRING}
    names = [f"{base}/{measure_of(key).exported}" for base in _bases(board) for key in _SHOWN]
    experiment = Experiment(
        hparam_infos=[
            HParamInfo(name=name, type=kinds.get(type(value), DATA_TYPE_FLOAT64)) for name, value in told.items()
        ],
        metric_infos=[MetricInfo(name=MetricName(tag=name)) for name in names],
    )
    about = metadata.create_summary_metadata(HParamsPluginData(experiment=experiment))
    return Summary(value=[Summary.Value(tag=metadata.EXPERIMENT_TAG, metadata=about, tensor=metadata.NULL_TENSOR)])


def _bases(board: Board) -> list[str]:
    return list(dict.fromkeys(scenario["base"] for scenario in board.scenarios))

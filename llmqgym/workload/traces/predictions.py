"""Lengths with predictions: what a real predictor said of requests, from a file with or without arrivals."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError
from llmqgym.workload.traces.cells import NUMBER, NUMBER_OR_EMPTY, WHOLE, Parser
from llmqgym.workload.traces.open import FORMATS
from llmqgym.workload.traces.table import Table, open_table
from llmqgym.workload.workload import MAX_TOKENS

#: The columns of predictions, all optional; `pred_class5` is that of SSJF's five classes.
_COLUMNS: dict[str, Parser] = {
    "predicted_output_tokens": NUMBER_OR_EMPTY,
    "pred_class5": WHOLE,
    "predictor_latency_s": NUMBER,
}


@dataclass(frozen=True, eq=False)
class PredictedLengths:
    """True output lengths [n], each at least 1, and what was predicted of them; None: the file does not say."""

    output_tokens: NDArray[np.int64]
    predicted_output_tokens: NDArray[np.float64] | None = None  # nan: no prediction
    predicted_class: NDArray[np.int64] | None = None
    predictor_latency_s: NDArray[np.float64] | None = None


def read_predictions(path: str | os.PathLike[str], *, limit: int | None = None) -> PredictedLengths:
    """Read the output lengths of a file of any format, plain or gzip, and its predictions where it has some.

    Prompt lengths and arrivals may be missing. `limit` stops after that many rows. Raises InputError, beginning with
    the path, when the file cannot be read, has no output lengths, or holds a value that no length can be.
    """
    file = Path(path)
    try:
        with open_table(file) as table:
            lengths = _length_column(table)
            found = {name: parser for name, parser in _COLUMNS.items() if name in table.names}
            columns = table.read({lengths: WHOLE, **found}, limit)
        _check(lengths, columns[lengths], (columns[lengths] >= 0) & (columns[lengths] <= MAX_TOKENS))
        predicted = columns.get("predicted_output_tokens")
        if predicted is not None:
            within = np.isnan(predicted) | ((predicted >= 0) & (predicted <= MAX_TOKENS))
            _check("predicted_output_tokens", predicted, within)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return PredictedLengths(
        np.maximum(columns[lengths], 1), predicted, columns.get("pred_class5"), columns.get("predictor_latency_s")
    )


def _length_column(table: Table) -> str:
    known = [fmt.lengths[1] for fmt in FORMATS if fmt.layout == table.layout]
    found = next((name for name in known if name in table.names), None)
    if found is None:
        raise InputError(
            f"no column of output lengths among {', '.join(name[:40] for name in table.names[:20])}: "
            f"rename one to {known[0]}."
        )
    return found


def _check(name: str, values: NDArray[np.float64] | NDArray[np.int64], ok_mask: NDArray[np.bool_]) -> None:
    if not ok_mask.all():
        row = int(np.argmin(ok_mask))
        raise InputError(f"row {row}: {name} is {values[row]}, outside 0 to {MAX_TOKENS}: correct it, or drop the row.")

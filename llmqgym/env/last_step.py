"""What a vector environment's infos say of the step just made, of servers that have begun a new episode in it too."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def dt_s_of(infos: dict[str, Any], num: int) -> NDArray[np.float64]:
    """How long the last step took, float64 [num]; 0 for a server that was only reset.

    Gymnasium keeps what ended an episode in `final_info` where the next begins in the same step; a learner needs both
    in one array.
    """
    dt_s = np.zeros(num)
    for found in (infos, infos.get("final_info", {})):
        if "dt_s" in found:
            np.copyto(dt_s, found["dt_s"], where=found["_dt_s"])
    return dt_s


def final_info(infos: dict[str, Any], place: int) -> dict[str, Any]:
    """The last info of an episode that has just ended on a server, as the single environment has it."""
    return _row(infos.get("final_info", infos), place)


def _row(infos: dict[str, Any], place: int) -> dict[str, Any]:
    """What one server has put into a dict of arrays."""
    names = (name for name, marks in infos.items() if name.startswith("_") and marks[place])
    return {name[1:]: _at(infos[name[1:]], place) for name in names}


def _at(values: Any, place: int) -> Any:
    if isinstance(values, dict):
        return _row(values, place)
    value = values[place]
    return value.item() if isinstance(value, np.generic) else value

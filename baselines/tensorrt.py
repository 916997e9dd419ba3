"""TensorRT-LLM's capacity schedulers, both in order of arrival: reserve everything, or use everything.

Source: NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/batch_manager/capacityScheduler.cpp. Its PREFILL_FIRST is `prefill-first`,
its STATIC_BATCH `ft-vidur`.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.admission import reserve_declared
from llmqgym.policy import Policy


def next_step_fits(request: Any, server: Any) -> bool:
    """Blocks for the next step are all that is asked for, and that the kernel checks anyway."""
    return True


def trt_no_evict() -> Policy:
    """GUARANTEED_NO_EVICT: a request enters if the blocks of its prompt and its declared cap fit beside those reserved
    for everybody in progress, or alone; the first that does not ends the pass. Nobody is ever evicted.

    O(running) per candidate.
    """
    return Policy("trt-no-evict", fit=reserve_declared, wake=math.inf)


def trt_max_utilization() -> Policy:
    """MAX_UTILIZATION: whoever finds the blocks of its next step runs (with chunked prefill: of its first chunk); on a
    shortage the request that was started last is paused, and recomputed later.

    O(1) per candidate.
    """
    return Policy("trt-max-utilization", fit=next_step_fits, reads_running=False, wake=math.inf)

"""Load as rho: the capacity of a server for a workload from the fluid's fixed point, and its check by simulation."""

from llmqgym.load.capacity import Capacity, FluidState, Use, capacity

__all__ = ["Capacity", "FluidState", "Use", "capacity"]

"""Hardware profiles: what an iteration costs on a (GPU, model) pair, and where the figures come from."""

from llmqgym.hardware.integers import UNLIMITED_BLOCKS, IntegerProfile
from llmqgym.hardware.profile import HardwareProfile
from llmqgym.hardware.registry import ProfileRow, list_profiles, load_profile

__all__ = ["UNLIMITED_BLOCKS", "HardwareProfile", "IntegerProfile", "ProfileRow", "list_profiles", "load_profile"]

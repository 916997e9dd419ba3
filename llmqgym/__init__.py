"""llmqgym: a simulated LLM inference server for scheduling research. Importing it registers its environments."""

from llmqgym.registration import register_envs

__version__ = "0.1.0"

register_envs()

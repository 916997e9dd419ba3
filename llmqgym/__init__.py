"""llmqgym: a simulated LLM inference server for scheduling research. Importing it loads nothing heavy."""

from llmqgym.registration import register_when_loaded

__version__ = "0.1.0"

register_when_loaded()

"""llmqgym: a simulated LLM inference server for scheduling research. Importing it loads nothing heavy."""

__version__ = "0.1.0"

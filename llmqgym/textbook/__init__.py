"""The textbook queue: the server with everything switched off, whose mean responses are known in closed form."""

from llmqgym.textbook.compare import Comparison, compare
from llmqgym.textbook.estimate import Estimate, estimate
from llmqgym.textbook.queue import Queue, Run, simulate
from llmqgym.textbook.twins import TWINS, Asked, ask

__all__ = ["TWINS", "Asked", "Comparison", "Estimate", "Queue", "Run", "ask", "compare", "estimate", "simulate"]

"""The environment: one server, or many, whose admissions and preemptions are an agent's actions."""

from llmqgym.env.env import LLMServerEnv

__all__ = ["LLMServerEnv"]

"""The environment: one server, or many, whose admissions and preemptions are an agent's actions."""

from llmqgym.env.env import LLMServerEnv
from llmqgym.env.observed_policy import ObservedPolicy
from llmqgym.env.policy_agent import PolicyAgent
from llmqgym.env.vector_env import LLMServerVectorEnv

__all__ = ["LLMServerEnv", "LLMServerVectorEnv", "ObservedPolicy", "PolicyAgent"]

"""Every proof, run again: numbers that something else says, and what is measured of them here.

A topic is a file with a tuple `CHECKS`; `groups` names them. `run` measures, `report` writes the page.
"""

from llmqgym.validation.check import Check, Measured, NotRun, Outcome, Verdict
from llmqgym.validation.groups import GROUPS, checks_of

__all__ = ["GROUPS", "Check", "Measured", "NotRun", "Outcome", "Verdict", "checks_of"]

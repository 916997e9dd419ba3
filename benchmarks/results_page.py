"""docs/results.md, one section a benchmark: each rewrites its own and leaves the others as they are."""

from __future__ import annotations

from llmqgym.markdown import put_section, table

__all__ = ["put_section", "table"]

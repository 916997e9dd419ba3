"""Write docs/environment.md, the environment's page, from its fields and terms: run it as a script."""

from __future__ import annotations

from pathlib import Path

from llmqgym.env.page import page
from llmqgym.files import atomic_text

HEAD = """\
# The environment

The docstring of `LLMServerEnv`, made from its fields and terms by `python docs/make_environment_page.py`.

"""

if __name__ == "__main__":
    with atomic_text(Path(__file__).with_name("environment.md")) as file:
        file.write(HEAD + page())

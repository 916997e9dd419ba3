"""Settings from TOML files: whatever is wrong with one is an InputError that begins with its path."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from llmqgym.errors import InputError

Made = TypeVar("Made")


def read_toml(path: str | Path, make: Callable[[dict[str, Any]], Made]) -> Made:
    """What `make` makes of the document in a file. Raises InputError for a file that cannot be read or is not TOML, and
    where `make` does."""
    file = Path(path)
    try:
        return make(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}): name a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not TOML ({error}): correct the file.") from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from error

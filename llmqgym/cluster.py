"""Ray, where it is installed: a cluster that is joined, or started here, for as long as some work takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmqgym.errors import InputError


@contextmanager
def cluster(address: str | None, cpus: int) -> Iterator[Any]:
    """The module `ray`, connected to the cluster at `address`, or (None) to one of so many CPUs on this machine.

    Raises InputError where Ray is not installed, does not start or cannot be joined.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError('Ray is not installed: pip install "llmqgym[cluster]", or leave --ray out.') from error
    where = {"address": address} if address else {"num_cpus": cpus, "include_dashboard": False}
    try:
        try:
            ray.init(**where, log_to_driver=False, logging_level="ERROR")
        except Exception as error:  # Ray has no class of its own for what goes wrong here
            raise InputError(
                f"Ray {'cannot be joined at ' + address if address else 'did not start'} ({error}): try again when the "
                "machine is less busy, check the address, or leave --ray out."
            ) from error
        yield ray
    finally:
        ray.shutdown()

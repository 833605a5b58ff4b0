"""The one family of errors: each says what, where, what was expected, what came, and what to do."""

from __future__ import annotations

from collections.abc import Iterable


class RaydmError(Exception):
    """Base of every error that raydm raises on purpose."""


class ParameterError(RaydmError, ValueError):
    """A parameter is out of its range or does not fit the others."""

    @classmethod
    def of(cls, name: str, owner: str, expected: str, got: object) -> ParameterError:
        """One phrase for every bad parameter: which, of what, the allowed range, what came instead."""
        return cls(f"The {name!r} parameter of {owner} must be {expected}. Got {got!r} instead.")


class DataError(RaydmError, ValueError):
    """Data cannot be used; the message names the file (or object), the column and the row."""


class RunError(RaydmError, ValueError):
    """A run directory is missing, torn, or was written by something else."""


class RolloutError(RaydmError, RuntimeError):
    """An inner training failed or gave a score that is not finite."""


class ClusterError(RaydmError, RuntimeError):
    """The Ray cluster is unreachable, or can never place what was asked of it."""


class MissingPackageError(RaydmError, ImportError):
    """An optional package is absent; the message holds the command that installs it."""

    @classmethod
    def of(cls, package: str, purpose: str, install: str) -> MissingPackageError:
        """The absent package, what it is needed for, and the command that brings it."""
        return cls(f"{purpose} needs the package {package!r}, which is not installed. Install it: {install}")


class RaydmWarning(UserWarning):
    """Something was handled that the user should know of: the event, its cost, its cause, its remedy."""


def one_of(names: Iterable[str]) -> str:
    """The phrase ``one of 'a', 'b', 'c'`` for messages."""
    return "one of " + ", ".join(repr(n) for n in names)

"""Types of arguments that argparse does not have; each raises ArgumentTypeError with what was expected."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any


def column_kind(text: str) -> tuple[str, str]:
    """COLUMN=KIND; the column's name may hold a sign of equality."""
    column, sign, kind = text.rpartition("=")
    if not sign or not column:
        raise argparse.ArgumentTypeError(f"expected COLUMN=KIND, got {text!r}")
    return column, kind


def size_in_bytes(text: str) -> int:
    """Bytes, such as 8GiB."""
    number, unit = text.rstrip("KMGTiB"), text[len(text.rstrip("KMGTiB")) :]
    powers = {"": 0, "B": 0, **{f"{letter}iB": power for power, letter in enumerate("KMGT", 1)}}
    try:
        return int(float(number) * 1024 ** powers[unit])
    except (KeyError, ValueError, OverflowError) as error:
        raise argparse.ArgumentTypeError(f"expected bytes, such as 500MiB or 8GiB, got {text!r}") from error


def number_or(word: str, number: str = "a number > 0") -> Callable[[str], float | str]:
    """A number, or a word that stands for one; `number` says which numbers, for the message alone."""

    def read(text: str) -> float | str:
        try:
            return text if text == word else float(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected {number} or {word}, got {text!r}") from error

    return read


def json_object(text: str) -> dict[str, Any]:
    """Settings by name."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text}")
    return value

"""Types of arguments that argparse does not have; each raises ArgumentTypeError with what was expected."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

_MOST_NUMBERS = 10_000


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


def place(text: str) -> Path | str:
    """A path; or an address such as s3://bucket/run, which is not one."""
    return text if "://" in text else Path(text)


def numbers(text: str) -> list[float]:
    """LOW:HIGH:STEP, both ends included; or numbers with commas between."""
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        low, high, step = map(float, text.split(":"))
        count = round((high - low) / step)
        if not (step > 0 and 0 <= count < _MOST_NUMBERS):
            raise ValueError(text)
        # decimal, as they were written: 3 * 0.05 is not the number 0.15; and a step such as 0.333333 ends at its end
        steps = [k for k in range(count + 1) if low + k * step <= high + 1e-4 * step]
        return [min(round(low + k * step, 12), high) for k in steps]
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise argparse.ArgumentTypeError(
            f"expected LOW:HIGH:STEP, such as 0:1:0.05, or numbers with commas between, got {text!r}"
        ) from error


def json_object(text: str) -> dict[str, Any]:
    """Settings by name."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON ({error}): {text}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"expected a JSON object, got {text}")
    return value

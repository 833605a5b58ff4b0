"""Seeds: every random choice of a run has its own stream, named by where it happens, so nothing depends on order."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch


def _entropy(part: int | str) -> int:
    return zlib.crc32(part.encode()) if isinstance(part, str) else int(part)


def stream(seed: int, *path: int | str) -> np.random.Generator:
    """The random stream at ``path`` of the run with this seed, such as ``stream(0, "actions", step)``.

    Args:
        seed: the run's seed, >= 0.
        path: what the stream is for; words and counters >= 0.
    """
    # numpy pads entropy with zeros: without the length, ("a",) and ("a", 0) would be one stream
    return np.random.default_rng([seed, len(path), *map(_entropy, path)])


def hashed(seed: int, *path: int | str, counters: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
    """Numbers in (0, 1), uniform and independent, of the stream at ``path``; each by its own counters alone: (P,).

    So whoever asks for the number of some counters gets the same one, in any order and beside any others. SplitMix64
    (Steele, Lea, Flood 2014): the numbers of one array of counters 0, 1, ... are those of that generator.

    Args:
        seed: the run's seed, >= 0.
        path: what the stream is for.
        counters: arrays (P,) of integers >= 0, such as rows i and j.
    """
    state = np.full(len(counters[0]), stream(seed, *path).integers(2**64, dtype=np.uint64))
    for counter in counters:
        state = _scrambled(state + _GOLDEN * (counter.astype(np.uint64) + np.uint64(1)))
    # 52 bits: the half, which keeps 0 and 1 out, is then not rounded
    return ((state >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _scrambled(z: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finaliser; products are modulo 2^64."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def rollout_seeds(seed: int, step: int, rollouts: int, *, shared: bool) -> npt.NDArray[np.int64]:
    """One seed per rollout of a step: (R,) int64 in [0, 2^63).

    Args:
        seed: the run's seed.
        step: the step t.
        rollouts: R.
        shared: all rollouts of all steps restart from the same initial weights, as DVRL's released code does
            (common random numbers: two rollouts then differ by their actions alone). Else each (run seed, step,
            rollout) has initial weights and batch order of its own.
    """
    if shared:
        return np.full(rollouts, stream(seed, "predictor").integers(2**63), dtype=np.int64)
    return np.array([stream(seed, "predictor", step, r).integers(2**63) for r in range(rollouts)], dtype=np.int64)


@contextmanager
def drawing(seed: int, device: torch.device) -> Iterator[None]:
    """What torch draws meanwhile, such as dropout, follows the seed; after it all generators go on as they were.

    Args:
        seed: >= 0.
        device: where it is drawn, beside the CPU.
    """
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reset other devices, for good
        if cuda:
            index = torch.cuda.current_device() if device.index is None else device.index
            torch.cuda.default_generators[index].manual_seed(seed)
        yield


@contextmanager
def repeatable() -> Iterator[None]:
    """Convolutions on a GPU give the same bits each time: by default cuDNN may sum as its threads happen to come."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before

"""Seeds: every random choice of a run has its own stream, named by where it happens, so nothing depends on order."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt


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

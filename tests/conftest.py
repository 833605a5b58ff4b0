"""Shared by all tests."""

from __future__ import annotations

import os
import signal

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch and FAISS: two tests at once share the cores

import numpy as np
import pytest
import torch
from hypothesis import settings
from sklearn.datasets import load_digits

from raydm.data.examples import Examples

torch.set_num_threads(1)  # small networks are fastest so, and results do not depend on the machine's cores

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background jobs, and what they start, ignore Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples at each run, and no deadline: on a busy machine a slow one is not a failure.
settings.register_profile("raydm", deadline=None, derandomize=True)
settings.load_profile("raydm")


@pytest.fixture(scope="session")
def digits_small() -> tuple[Examples, Examples]:
    """60 training and 40 validation images 8x8 of the digits 0, 1 and 2, in [0, 1]."""
    x, y = load_digits(n_class=3, return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(y))[:100]
    examples = Examples((x[rows] / 16).astype(np.float32), y[rows].astype(np.int64), rows)
    return examples.take(range(60)), examples.take(range(60, 100))

"""Stacked trainings against a plain PyTorch loop over the same trainings: time as a ratio, and equality.

    python jobs/bench/stack.py [--rollouts 64] [--examples 256] [--epochs 10] [--optimizer adam] [--repeats 3]

One thread, one process, the two alternating. Both train MLPs 100-100 from the same initial weights, on the same
batches of 64 and the same weights of examples. Time is taken in float32, as users run it, after a pass that warms both
up; equality is told in float32 and in float64, where the order of summation does not show. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raydm.data.task import Task
from raydm.networks import mlp
from raydm.predictors import SGD, Adam, Stacked, TrainingSets
from raydm.seeding import stream

FEATURES, CLASSES, BATCH = 64, 10, 64
OURS = {"adam": Adam(1e-3), "sgd": SGD(0.1, 0.9)}
TORCHS: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]] = {
    "adam": lambda params: torch.optim.Adam(params, lr=1e-3),
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9),
}


def plain(initial: nn.Module, sets: TrainingSets, optimizer: str, epochs: int, seed: int) -> Tensor:
    """Each training by itself, as one would write it: nn.Module, torch.optim, backward, step."""
    outputs = []
    for w in sets.w:
        module = copy.deepcopy(initial)
        steps = TORCHS[optimizer](list(module.parameters()))
        order = stream(seed, "order")
        for _ in range(epochs):
            for rows in torch.from_numpy(order.permutation(len(w))).split(BATCH):
                losses = functional.cross_entropy(module(sets.x[rows]), sets.y[rows], reduction="none")
                loss = (losses * w[rows]).sum() / w[rows].sum()
                steps.zero_grad()
                loss.backward()
                steps.step()
        with torch.no_grad():
            outputs.append(module(sets.x).softmax(-1))
    return torch.stack(outputs)


def apart(got: Tensor, expected: Tensor) -> float:
    """The largest difference of probabilities, relative to their size (to 0.001 for smaller ones)."""
    return float(((got - expected).abs() / expected.abs().clamp_min(1e-3)).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--optimizer", choices=sorted(OURS), default="adam")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    seed, epochs, optimizer = 7, arguments.epochs, arguments.optimizer
    x = torch.randn(arguments.examples, FEATURES)
    y = torch.randint(0, CLASSES, (arguments.examples,))
    w = (torch.rand(arguments.rollouts, arguments.examples) < 0.5).float()
    sets = TrainingSets(x, y, w, Task("classification", CLASSES))
    stacked = Stacked(mlp, optimizer=OURS[optimizer], epochs=epochs, batch_size=BATCH, device="cpu")
    initial = stacked.initial_module(sets, seed)
    seeds = np.full(arguments.rollouts, seed)

    got32 = stacked.fit_predict(sets, x, seed=seeds)  # also warms both up: a first pass of the loop takes far longer
    expected32 = plain(initial, sets, optimizer, epochs, seed)
    ratios, ours, theirs = [], [], []
    for _ in range(arguments.repeats):
        started = time.perf_counter()
        stacked.fit_predict(sets, x, seed=seeds)
        between = time.perf_counter()
        plain(initial, sets, optimizer, epochs, seed)
        ended = time.perf_counter()
        ours.append(between - started)
        theirs.append(ended - between)
        ratios.append(theirs[-1] / ours[-1])

    exact = TrainingSets(x.double(), y, w.double(), sets.task)
    expected = plain(copy.deepcopy(initial).double(), exact, optimizer, epochs, seed)
    got = stacked.fit_predict(exact, exact.x, seed=seeds)
    line = {
        "optimizer": optimizer,
        "rollouts": arguments.rollouts,
        "stacked_s": round(statistics.median(ours), 3),
        "plain_s": round(statistics.median(theirs), 3),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(r, 2) for r in ratios],
        "largest_relative_difference": {"float64": apart(got, expected), "float32": apart(got32, expected32)},
    }
    print(json.dumps(line))


if __name__ == "__main__":
    main()

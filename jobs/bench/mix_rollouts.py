"""Rollouts of MixRL on NO2's MLP 512-256: stacked, against a plain PyTorch loop over the same trainings.

    python jobs/bench/mix_rollouts.py [--rollouts 16] [--steps 200] [--repeats 3]
    python jobs/bench/mix_rollouts.py --rollouts 256 --device cuda --peak-flops 67e12 --peak-bytes 4.8e12

Rows like NO2's (200 of 7 features) with mixed rows beside them, of which each rollout has some. Both train from the
same initial weights on the same batches of 32, Adam, one thread, alternating after a pass that warms both up. Prints
one JSON line: seconds, their ratio, how far predictions are apart, and the share of the roofline that the stack
reaches: the time that its FLOPs and bytes would take at the device's peaks, over the time that it took. Counted: per
step 6 FLOPs for each weight and row (4 in the first layer, whose inputs need no gradient) and 12 for each weight in
Adam; bytes of weights, gradients and both moments as each is read and written, and of activations once each way.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from functools import partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from raydm.data.task import Task
from raydm.networks import mlp
from raydm.predictors import Adam, Stacked, TrainingSets
from raydm.predictors.batches import present_only

ROWS, FEATURES, MIXED, BATCH, HIDDEN, LR = 200, 7, 800, 32, (512, 256), 1e-3
TASK = Task("regression", 1)


def rollouts(count: int, dtype: torch.dtype, device: str) -> TrainingSets:
    """Sets of all 200 rows and a random half of 800 mixed ones; targets at mean 0 and deviation 1 in each."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, FEATURES, generator=draw, dtype=torch.float64)
    y = (x @ torch.linspace(-1, 1, FEATURES, dtype=torch.float64)).tanh()
    i, j = torch.randint(ROWS, (2, MIXED), generator=draw)
    x, y = (torch.cat([a, (a[i] + a[j]) / 2]) for a in (x, y))
    w = torch.cat([torch.ones(count, ROWS), (torch.rand(count, MIXED, generator=draw) < 0.5).float()], dim=1)
    return TrainingSets(x.to(device, dtype), y.to(device, dtype), w.to(device, dtype), TASK)


def plain(initial: nn.Module, sets: TrainingSets, steps: int, seeds: np.ndarray) -> Tensor:
    """Each training by itself, as one would write it."""
    outputs = []
    for w, seed in zip(sets.w, seeds, strict=True):
        module = copy.deepcopy(initial).to(sets.x.device)
        adam = torch.optim.Adam(module.parameters(), lr=LR, eps=1e-5)
        held = sets.y[w > 0]
        location, scale = held.mean(), held.std(correction=0)
        y = (sets.y - location) / scale
        for (rows,) in present_only(np.array([seed]), w[None], BATCH, steps):
            loss = (module(sets.x[rows]).squeeze(-1) - y[rows]).square().mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
        with torch.no_grad():
            outputs.append(module(sets.x[:ROWS]) * scale + location)
    return torch.stack(outputs)


def cost(count: int, steps: int) -> tuple[float, float]:
    """FLOPs and bytes of the stack's trainings."""
    widths = [FEATURES, *HIDDEN, 1]
    layers = [a * b for a, b in pairwise(widths)]
    weights = sum(layers) + sum(widths[1:])
    flops = BATCH * (6 * sum(layers) - 2 * layers[0]) + 12 * weights
    # Weights: forward, backward, Adam's read and write; gradients written and read; two moments read and written
    size = 4 * (weights * (4 + 2 + 4) + 2 * BATCH * sum(widths))
    return float(count * steps * flops), float(count * steps * size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak-flops", type=float, help="of the device, a second, in float32")
    parser.add_argument("--peak-bytes", type=float, help="of its memory, a second")
    given = parser.parse_args()
    torch.set_num_threads(1)
    seeds = np.full(given.rollouts, 7)
    stacked = Stacked(
        partial(mlp, hidden=HIDDEN),
        optimizer=Adam(LR, eps=1e-5),
        steps=given.steps,
        batch_size=BATCH,
        device=given.device,
    )

    def wait() -> float:
        if given.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    sets = rollouts(given.rollouts, torch.float32, given.device)
    initial = stacked.initial_module(sets, 7)
    ours, theirs = [], []
    for _ in range(given.repeats + 1):
        started = wait()
        got = stacked.fit_predict(sets, sets.x[:ROWS], seed=seeds)
        between = wait()
        expected = plain(initial, sets, given.steps, seeds)
        ours.append(between - started)
        theirs.append(wait() - between)
    exact = rollouts(min(given.rollouts, 4), torch.float64, given.device)
    expected64 = plain(copy.deepcopy(initial).double(), exact, given.steps, seeds[:4])
    apart = (stacked.fit_predict(exact, exact.x[:ROWS], seed=seeds[:4]) - expected64).abs().max()
    flops, size = cost(given.rollouts, given.steps)
    seconds = statistics.median(ours[1:])
    line = {
        "device": given.device,
        "rollouts": given.rollouts,
        "steps": given.steps,
        "stacked_s": round(seconds, 3),
        "plain_s": round(statistics.median(theirs[1:]), 3),
        "ratio": round(statistics.median(t / o for t, o in zip(theirs[1:], ours[1:], strict=True)), 2),
        "ratios": [round(t / o, 2) for t, o in zip(theirs[1:], ours[1:], strict=True)],
        "largest_difference": {"float64": float(apart), "float32": float((got - expected).abs().max())},
        "flops": flops,
        "bytes": size,
        "gflops_per_s": round(flops / seconds / 1e9, 1),
    }
    if given.peak_flops and given.peak_bytes:
        line["share_of_roofline"] = round(max(flops / given.peak_flops, size / given.peak_bytes) / seconds, 3)
    print(json.dumps(line))


if __name__ == "__main__":
    main()

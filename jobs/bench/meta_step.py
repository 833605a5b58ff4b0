"""What a joint step costs: one weighting step over one plain training step of the same model, and memory against T.

    python jobs/bench/meta_step.py [--model cnn transformer] [--repeats 9] [--unroll 1 2 4 8 16]

The plain step is forward, backward and the optimizer's update in plain PyTorch (module, loss.backward(), torch.optim,
fused). The joint step is all that `raydm.joint.Joint` does for free weights: forward, the look-ahead, the dev loss and
its gradient, the slopes of all weights, Hu's rule, and the real step; with halves also the slopes by each half of D^v,
as `raydm weight` has them by default. Two steps of each alternate; seconds of processor time are told too, for busy
machines. Memory is the peak of a fresh process that makes one unrolled step in x and w, less what it held before the
step; with and without checkpointing. Prints a JSON line a model, then one a model and T.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.gradients import Pathwise
from raydm.joint import Joint
from raydm.learner import learn
from raydm.manipulations import FreeWeights, Weight
from raydm.metrics import METRICS
from raydm.predictors import SGD, AdamW, TrainingSets
from raydm.predictors.module import Module
from raydm.predictors.optimizers import Optimizer
from raydm.utility import Problem
from raydm.weighting.rule import DecayedAscent

WORDS, LENGTH, HIDDEN = 2000, 32, 384
TASK = Task("classification", 10)


class Residual(nn.Module):
    """Two convolutions with BatchNorm around a shortcut, as in ResNet."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(into, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU(),
            nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out),
        )  # fmt: skip
        plain = stride == 1 and into == out
        self.shortcut = nn.Identity() if plain else nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return (self.body(x) + self.shortcut(x)).relu()


def cnn(_: int, n_outputs: int) -> nn.Module:
    """A small ResNet (8 layers, 16 to 64 channels) for images 32 x 32."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        Residual(16, 16, 1), Residual(16, 32, 2), Residual(32, 64, 2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, n_outputs),
    )  # fmt: skip


class Encoder(nn.Module):
    """A transformer encoder of MiniLM's size (6 layers, hidden 384, 12 heads), mean pooling, a linear head."""

    def __init__(self, n_outputs: int) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(WORDS, HIDDEN), nn.Embedding(LENGTH, HIDDEN)
        layer = nn.TransformerEncoderLayer(HIDDEN, 12, 4 * HIDDEN, 0.1, "gelu", batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(HIDDEN, n_outputs)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.words(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        out: Tensor = self.head(self.layers(x).mean(1))
        return out


# module, optimizer, B, rows of D^v
MODELS: dict[str, tuple[Callable[[int, int], nn.Module], Optimizer, int, int]] = {
    "cnn": (cnn, SGD(1e-3, 0.9), 64, 20),
    "transformer": (lambda _, c: Encoder(c), AdamW(4e-5), 32, 10),
}


def rows(model: str, n: int, seed: int) -> Examples:
    rng = np.random.default_rng(seed)
    images = model == "cnn"
    x = rng.normal(size=(n, 3, 32, 32)).astype(np.float32) if images else rng.integers(WORDS, size=(n, LENGTH))
    return Examples(x, rng.integers(TASK.n_outputs, size=n), np.arange(n))


def joint(model: str, **arguments) -> Joint:
    make, optimizer, batch_size, dev = MODELS[model]
    predictor = Module(make, optimizer=optimizer, batch_size=batch_size, epochs=1)
    return Joint(Problem(predictor, rows(model, dev, 1), TASK, METRICS["accuracy"], seed=0), **arguments)


class Same:
    """The same batch at every step, so that nothing else is timed."""

    def __init__(self, examples: Examples, steps: int) -> None:
        self.batch = Batch(examples.ids, torch.from_numpy(examples.x), torch.from_numpy(examples.y))
        self.steps = steps

    def __iter__(self):
        return iter((t, self.batch) for t in range(self.steps))


def plain_steps(model: str, examples: Examples, device: torch.device) -> Callable[[], None]:
    make, optimizer, _, _ = MODELS[model]
    module = make(0, TASK.n_outputs).to(device).train()
    if isinstance(optimizer, SGD):
        of: torch.optim.Optimizer = torch.optim.SGD(module.parameters(), lr=1e-3, momentum=0.9, fused=True)
    else:
        of = torch.optim.AdamW(module.parameters(), lr=4e-5, fused=True)
    x, y = torch.from_numpy(examples.x).to(device), torch.from_numpy(examples.y).to(device)

    def step() -> None:
        loss = functional.cross_entropy(module(x), y)
        of.zero_grad()
        loss.backward()
        of.step()

    return step


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and of processor time."""
    before = time.perf_counter(), time.process_time()
    work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - before[0], time.process_time() - before[1]


def cost(model: str, repeats: int, look_ahead: str, halves: bool) -> dict[str, object]:
    batch_size = MODELS[model][2]
    examples = rows(model, batch_size, 0)
    utility = joint(model, look_ahead=look_ahead, halves=halves)
    phi = FreeWeights(batch_size)
    manipulation = Weight(phi, TASK)
    learning = learn(
        Same(examples, 2 * (repeats + 2)), manipulation, Pathwise(utility), utility, DecayedAscent(phi.parameters()),
        rollouts=1, seed=0,
    )  # fmt: skip
    plain = plain_steps(model, examples, utility.of.device)
    ours, theirs = [], []
    for i in range(repeats + 2):
        a, b = timed(lambda: (plain(), plain())), timed(lambda: (next(learning), next(learning)))
        if i >= 2:  # the first ones warm both up
            theirs.append(a)
            ours.append(b)
    return {
        "model": model,
        "look_ahead": look_ahead,
        "halves": halves,
        "parameters": sum(p.numel() for p in utility.theta.params),
        "plain_ms": round(500 * statistics.median(t[0] for t in theirs), 1),
        "joint_ms": round(500 * statistics.median(t[0] for t in ours), 1),
        "ratio": round(statistics.median(o[0] / t[0] for o, t in zip(ours, theirs, strict=True)), 2),
        "ratio_by_processor": round(statistics.median(o[1] / t[1] for o, t in zip(ours, theirs, strict=True)), 2),
        "estimated": str(utility.memory),
        "device": str(utility.of.device),
    }


def peak(model: str, unroll: int, checkpoint: bool) -> dict[str, object]:
    """In a process of its own: bytes that one unrolled step adds to the peak."""
    utility = joint(model, unroll=unroll, checkpoint=checkpoint)
    examples = rows(model, unroll * MODELS[model][2], 0)
    x, w = torch.from_numpy(examples.x), torch.ones(1, len(examples), requires_grad=True)
    started, before = time.perf_counter(), _resident()
    u = utility(TrainingSets(x, torch.from_numpy(examples.y), w, TASK), step=0)
    u.sum().backward()
    return {
        "unroll": unroll,
        "checkpoint": checkpoint,
        "mib": round((_peak() - before) / 2**20),
        "estimated": str(utility.memory),
        "seconds": round(time.perf_counter() - started, 2),
    }


def _resident() -> int:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    return _status("VmRSS")


def _peak() -> int:
    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else _status("VmHWM")


def _status(name: str) -> int:
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", choices=sorted(MODELS), default=sorted(MODELS))
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--unroll", nargs="*", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)  # model, unroll, checkpoint: one line, then out
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.peak:
        model, unroll, checkpoint = arguments.peak
        print(json.dumps({"model": model, **peak(model, int(unroll), checkpoint == "True")}))
        return
    for model in arguments.model:
        for look_ahead in ("weights", "zero"):
            for halves in (False, True):
                print(json.dumps(cost(model, arguments.repeats, look_ahead, halves)), flush=True)
    for model in arguments.model:
        for unroll in arguments.unroll:
            for checkpoint in (False, True):
                line = [sys.executable, __file__, "--threads", str(arguments.threads), "--peak", model]
                done = subprocess.run([*line, str(unroll), str(checkpoint)], check=True, capture_output=True, text=True)
                print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()

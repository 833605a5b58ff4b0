"""What the written-out gradient saves: the same stacks trained with it and with autograd's, in turns.

    python jobs/bench/gradients.py [--rollouts 16] [--repeats 9]

One thread; seconds of processor time, the least of the repeats. Prints a JSON line for each predictor and size of its
training sets, with the largest difference between the predictions in float64. (In float32 an MLP that fits random
labels by Adam turns rounding into other predictions, whichever way its gradient is taken.)
"""

from __future__ import annotations

import argparse
import json
import time
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn

from raydm.data.task import Task
from raydm.predictors import Predictor, TrainingSets, make_predictor, stacked
from raydm.predictors.backward import Autograd

FEATURES, CLASSES = 64, 10
TASK = Task("classification", CLASSES)


def by_autograd(module: nn.Module, task: Task, *, keep_graph: bool) -> Autograd:
    return Autograd(module, task, keep_graph)


def trained(predictor: Predictor, sets: TrainingSets) -> tuple[float, Tensor]:
    started = time.process_time()
    p = predictor.fit_predict(sets, sets.x, seed=np.zeros(sets.rollouts, dtype=np.int64))
    return time.process_time() - started, p


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in ("logistic", "mlp"):
        predictor = make_predictor(name, device="cpu")
        for n in (16, 64, 200, 1000):
            w = (torch.rand(arguments.rollouts, n) < 0.5).float()
            sets = TrainingSets(torch.randn(n, FEATURES), torch.randint(0, CLASSES, (n,)), w, TASK)
            exact = TrainingSets(sets.x.double(), sets.y, w.double(), TASK)
            written, auto = [], []
            for _ in range(arguments.repeats):
                written.append(trained(predictor, sets)[0])
                with patch.object(stacked, "stacked_gradients", by_autograd):
                    auto.append(trained(predictor, sets)[0])
            _, p = trained(predictor, exact)
            with patch.object(stacked, "stacked_gradients", by_autograd):
                _, q = trained(predictor, exact)
            line = {
                "predictor": name,
                "rollouts": arguments.rollouts,
                "examples": n,
                "written_out_ms": round(1000 * min(written), 2),
                "autograd_ms": round(1000 * min(auto), 2),
                "ratio": round(min(auto) / min(written), 2),
                "largest_difference": float((p - q).abs().max()),
            }
            print(json.dumps(line))


if __name__ == "__main__":
    main()

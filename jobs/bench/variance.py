"""Estimators of DVRL's gradient on one noisy set: variance beside the plain score function's, bias, seconds a step.

    python jobs/bench/variance.py [digits] [--noise 0.2] [--predictor logistic] [--metric accuracy] [--rollouts 32]
        [--batch 64] [--steps 100] [--repeats 24] [--batches 6] [--temperature 0.5] [--seed 0]

All estimates are of the gradient in the logits of h_phi, on the same batches and draws. They are compared twice: at
h = 1/2, after the control variates have watched --steps steps there; and at the h_phi that as many steps of learning
by the plain score function then lead to. One JSON line each, and for each estimator:

- variance: of its estimates over --repeats draws, summed over the batch, over that of the leave-one-out score function;
  None where the estimate is biased, since its size is then not the gradient's.
- noise: variance over the squared length of the mean estimate, over the same of the leave-one-out score function;
  None where the draws are too few to tell the mean's length from 0.
- cosine: of its mean estimate with that of the unbiased ones, averaged over them and over batches: 1 were the draws
  without end and the estimator unbiased.
- seconds: a step's median, trainings and all, of processor time on one thread.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import statistics
import time
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydm.baselines import FullData, LeaveOneOut
from raydm.control_variates import Datamodel, Taylor
from raydm.data import flip_labels, load_set, prepare
from raydm.data.source import Batch, UniformBatches
from raydm.data.task import Task
from raydm.gradients import Gradient, Pathwise, ScoreFunction
from raydm.learner import learn
from raydm.manipulations import Select, marginal_information
from raydm.metrics import metric_for
from raydm.networks import DataValueEstimator
from raydm.policies import Bernoulli, Policy, Relaxed, StraightThrough
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import InProcess, Problem, StepUtility

PLAIN = "leave-one-out"


class Watched:
    """A gradient that others watch: their control variates learn from its steps."""

    def __init__(self, gradient: Gradient, watching: list[Gradient]) -> None:
        self.gradient, self.watching = gradient, watching

    def surrogate(self, policy: Policy, actions: Tensor, u: Tensor, utility_of: StepUtility) -> Tensor:
        for other in self.watching:
            other.surrogate(policy, actions, u, utility_of)
        return self.gradient.surrogate(policy, actions, u, utility_of)


def setting(arguments: argparse.Namespace) -> tuple[Any, Problem, Select]:
    """The noisy training set, the problem, and an untrained h_phi with the marginal information."""
    loaded = load_set(arguments.set, seed=arguments.seed)
    prepared = prepare(loaded.train, loaded.valid, loaded.test, label=loaded.label)
    classes = prepared.labels.n_outputs
    y, _ = flip_labels(prepared.train.y, arguments.noise, n_classes=classes, seed=arguments.seed)
    train, valid = dataclasses.replace(prepared.train, y=y), prepared.valid
    task = Task("classification", classes)
    predictor = make_predictor(arguments.predictor, device="cpu")
    problem = Problem(predictor, valid, task, metric_for(arguments.metric, task.kind), arguments.seed)
    trusted = TrainingSets(torch.from_numpy(valid.x), torch.from_numpy(valid.y), torch.ones(1, len(valid)), task)
    said = predictor.fit(trusted, seed=problem.seeds(0, 1)).predict(torch.from_numpy(train.x))[0].detach()
    torch.manual_seed(arguments.seed)
    estimator = DataValueEstimator(train.x.shape[1], classes, classes)
    return (
        train,
        problem,
        Select(estimator, task, marginal_information(torch.from_numpy(y), said, task), exploration=30),
    )


def estimators(problem: Problem, n: int, temperature: float) -> dict[str, tuple[Gradient, Any]]:
    """Each with the policy that draws for it."""
    controls = {
        "taylor, mean action": Taylor(problem.predictor, problem.seed, draws=0),
        "taylor, 4 draws": Taylor(problem.predictor, problem.seed),
        "taylor, 16 draws": Taylor(problem.predictor, problem.seed, draws=16),
        "datamodel": Datamodel(n),
    }
    return {
        "no baseline": (ScoreFunction(FullData(0.0)), Bernoulli),
        PLAIN: (ScoreFunction(LeaveOneOut()), Bernoulli),
        **{name: (ScoreFunction(LeaveOneOut(), 1.0, control), Bernoulli) for name, control in controls.items()},
        "gumbel": (Pathwise(problem.predictor), partial(Relaxed, temperature=temperature)),
        "straight-through": (Pathwise(problem.predictor), partial(StraightThrough, temperature=temperature)),
    }


def sample(
    gradient: Gradient, distribution: Any, logits: Tensor, utility_of: StepUtility, rollouts: int, repeats: int
) -> tuple[Tensor, list[float]]:
    """Estimates (repeats, B), each of new draws, and the seconds that each took."""
    estimates, seconds = [], []
    for t in range(repeats):
        leaf = logits.detach().clone().requires_grad_()
        asked, fresh = (
            dataclasses.replace(utility_of, t=10_000 + t),
            copy.deepcopy(gradient),
        )  # what it learns is left out
        started = time.process_time()
        policy = distribution(leaf)
        actions = policy.draw(rollouts, np.random.default_rng(t))
        surrogate = fresh.surrogate(policy, actions, asked(actions), asked)
        estimates.append(torch.autograd.grad(surrogate, leaf)[0])
        seconds.append(time.process_time() - started)
    return torch.stack(estimates), seconds


def compared(
    of: dict[str, tuple[Gradient, Any]], cases: list[tuple[Tensor, StepUtility]], arguments: argparse.Namespace
) -> dict[str, Any]:
    """The figures of each estimator over the batches."""
    samples = {
        name: [sample(gradient, make, *case, arguments.rollouts, arguments.repeats) for case in cases]
        for name, (gradient, make) in of.items()
    }
    variances = {name: [float(s.var(0).sum()) for s, _ in of_name] for name, of_name in samples.items()}
    means = {name: [s.mean(0) for s, _ in of_name] for name, of_name in samples.items()}
    unbiased = [name for name, (gradient, _) in of.items() if isinstance(gradient, ScoreFunction)]

    def noise(name: str) -> float:
        variance = statistics.mean(variances[name])
        # the squared length of a mean of n estimates holds 1/n of their variance
        squares = [float(m @ m) - v / arguments.repeats for m, v in zip(means[name], variances[name], strict=True)]
        square = statistics.mean(squares)
        return variance / square if square > 0 else float("inf")

    def cosine(name: str) -> float:
        others = [n for n in unbiased if n not in (name, "no baseline")]
        cosines = []
        for i, mean in enumerate(means[name]):
            reference = torch.stack([means[n][i] for n in others]).mean(0)
            cosines.append(float(mean @ reference / (mean.norm() * reference.norm())))
        return statistics.mean(cosines)

    def ratio(figure: float | None, of_plain: float | None) -> float | None:
        return round(figure / of_plain, 3) if figure and of_plain else None

    plain = statistics.mean(variances[PLAIN])
    return {
        name: {
            "variance": round(statistics.mean(variances[name]) / plain, 3) if name in unbiased else None,
            "noise": ratio(noise(name), noise(PLAIN)),
            "cosine": round(cosine(name), 3),
            "seconds": round(statistics.median(second for _, seconds in samples[name] for second in seconds), 4),
        }
        for name in of
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", nargs="?", default="digits")
    parser.add_argument("--noise", type=float, default=0.2)
    parser.add_argument("--predictor", default="logistic")
    parser.add_argument("--metric", default=None)
    parser.add_argument("--rollouts", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=24)
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--temperature", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train, problem, select = setting(arguments)
    utility, seed = InProcess(problem), arguments.seed
    of = estimators(problem, len(train), arguments.temperature)
    controlled = [g for name, (g, _) in of.items() if name.startswith(("taylor", "datamodel"))]
    watched = Watched(of[PLAIN][0], controlled)
    source = list(UniformBatches(train, batch_size=arguments.batch, steps=arguments.batches, seed=seed + 1))

    def cases(half: bool) -> list[tuple[Tensor, StepUtility]]:
        def logits(batch: Batch) -> Tensor:
            h: Tensor = select.policy(batch).mean.detach()
            return torch.zeros_like(h) if half else torch.logit(h)

        return [(logits(batch), StepUtility(select, utility, batch, t)) for t, batch in source]

    def steps(first_seed: int) -> UniformBatches:
        return UniformBatches(train, batch_size=arguments.batch, steps=arguments.steps, seed=first_seed)

    for t, batch in steps(seed):
        half, asked = Bernoulli(torch.zeros(len(batch.rows))), StepUtility(select, utility, batch, t)
        actions = half.draw(arguments.rollouts, np.random.default_rng([seed, t]))
        watched.surrogate(half, actions, asked(actions), asked)
    about = vars(arguments)
    print(json.dumps({"at": "h = 1/2", **about, "estimators": compared(of, cases(True), arguments)}), flush=True)

    watched.gradient = ScoreFunction(LeaveOneOut(), "std")
    optimizer = torch.optim.Adam(select.parameters(), lr=0.01)
    for _ in learn(steps(seed + 2), select, watched, utility, optimizer, rollouts=arguments.rollouts, seed=seed + 2):
        pass
    spread = float(torch.cat([torch.sigmoid(logits) for logits, _ in cases(False)]).std())
    result = compared(of, cases(False), arguments)
    print(json.dumps({"at": "learned h", "deviation of h": round(spread, 3), **about, "estimators": result}))


if __name__ == "__main__":
    main()

"""What is trained, and how: all that a worker is told beside the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from raydm.checks import check_choice, check_integer
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.fitting.order import Plan
from raydm.metrics import METRICS, Metric
from raydm.predictors.fitted_module import FittedModule
from raydm.predictors.functional import Functional
from raydm.predictors.module import Module

Precision = Literal["float32", "bfloat16", "float16"]
Keep = Literal["best", "last"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
KEEPS: tuple[Keep, ...] = get_args(Keep)
OWNER = "raydm fit"


@dataclass(frozen=True)
class Judge:
    """Rows that the predictor is scored on after each epoch.

    Attributes:
        x: (M, ...) rows, as the predictor sees them.
        y: (M,) or (M, C).
    """

    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Job:
    """A training.

    Attributes:
        predictor: makes the module and its optimizer.
        task: what is predicted.
        n_features: D.
        floating: whether rows are numbers, not token ids.
        location: (C,) that targets are brought to mean 0 by.
        scale: (C,) and to deviation 1.
        plan: of the batches.
        epochs: passes over the rows, >= 1.
        seed: of initial weights and dropout.
        precision: "float32"; or mixed, on GPUs: "bfloat16", or "float16" with its losses scaled.
        metric: the name of the score.
        keep: the predictor of the "best" epoch, by the score of `valid`, or of the "last".
        valid: trusted rows; None: none.
        test: rows that choose nothing; None: none.
        pad_id: of texts' padding.
    """

    predictor: Module
    task: Task
    n_features: int
    floating: bool
    location: list[float]
    scale: list[float]
    plan: Plan
    epochs: int
    seed: int
    precision: Precision = "float32"
    metric: str = "accuracy"
    keep: Keep = "last"
    valid: Judge | None = None
    test: Judge | None = None
    pad_id: int | None = None

    def check(self, world: int, *, gpu: bool) -> None:
        """Raises ParameterError where a setting is out of its range, or does not suit the workers."""
        check_integer(OWNER, "epochs", self.epochs, 1)
        check_choice(OWNER, "precision", self.precision, PRECISIONS)
        check_choice(OWNER, "keep", self.keep, KEEPS)
        if self.precision != "float32" and not gpu:
            raise ParameterError.of("precision", OWNER, "'float32' without GPUs (--gpus-per-worker)", self.precision)
        if self.keep == "best" and self.valid is None:
            raise ParameterError.of("keep", OWNER, "'last' without trusted rows (--valid)", self.keep)
        self.plan.check(world)

    @property
    def score(self) -> Metric:
        """The metric."""
        return METRICS[self.metric]

    def module(self) -> nn.Module:
        """A new one, with the initial weights of the seed."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)  # torch.manual_seed would also reset the GPU's, for good
            module = self.predictor.make_module(self.n_features, self.task.n_outputs)
        return module.float() if self.floating else module

    def fitted(self, weights: dict[str, Tensor]) -> FittedModule:
        """The predictor with these parameters and buffers, by `weights_of`'s names, on the CPU."""
        of = Functional(self.module(), self.task, torch.device("cpu"))
        params = [weights[f"params.{name}"] for name in of.names]
        buffers = {name: weights[f"buffers.{name}"] for name in of.buffers()}
        location, scale = (torch.tensor([values]) for values in (self.location, self.scale))
        return FittedModule(of, [params], [buffers], location, scale)


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that are trained, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all that training changes, on the CPU: params.NAME and buffers.NAME."""
    named: dict[str, Any] = {f"params.{name}": p for name, p in trainable(module).items()}
    named |= {f"buffers.{name}": b for name, b in module.named_buffers()}
    return {name: t.detach().cpu().clone().contiguous() for name, t in named.items()}

"""Module: one large torch model at a time, from scratch or from trained weights; R is looped over."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from raydm.checks import check_choice, check_integer
from raydm.data.source import even_batches
from raydm.data.task import Task
from raydm.errors import ParameterError, RunError
from raydm.predictors import batches
from raydm.predictors.fitted_module import FittedModule
from raydm.predictors.functional import Buffers, Functional, Params, copied
from raydm.predictors.memory import Memory, check_fits, estimate, out_of_memory, usable
from raydm.predictors.optimizers import Optimizer
from raydm.predictors.protocol import Seeds, TrainingSets
from raydm.seeding import stream

MakeModule = Callable[[int, int], nn.Module]
PRECISIONS = ("float32", "bfloat16")


class Module:
    """Trains one large module for each of the R sets, one after the other, as one would in plain PyTorch.

    BatchNorm and dropout are allowed: absent examples are taken out before, and dropout is drawn by the rollout's seed.
    The loss of a batch is sum w l / sum w. Not differentiable as a whole: `raydm.joint.Joint` differentiates its steps.
    For classification l is cross-entropy; for regression the squared error of targets that were brought to weighted
    mean 0 and deviation 1.

    Args:
        make_module: maps (D, C) to a module from B rows to (B, C), D the size of the rows' last axis; its initial
            weights, where they are random, come from the rollout's seed. Pretrained ones may come with it.
        optimizer: `SGD`, `Adam` or `AdamW` of `raydm.predictors.optimizers`.
        batch_size: B, examples a step.
        epochs: passes over the examples that are present, >= 1.
        steps: instead of epochs, a number of steps >= 1.
        device: "auto" is the GPU where torch sees one, else the CPU.
        precision: "float32", or "bfloat16": mixed precision, on GPUs, and processors that have it (half the time of a
            text encoder's step on those with AVX512-BF16).
        warm: trained modules, R = 1, to start from.
    """

    differentiable = False

    def __init__(
        self,
        make_module: MakeModule,
        *,
        optimizer: Optimizer,
        batch_size: int = 64,
        epochs: int | None = None,
        steps: int | None = None,
        device: str = "auto",
        precision: str = "float32",
        warm: FittedModule | None = None,
    ) -> None:
        if (epochs is None) == (steps is None):
            raise ParameterError(f"Module needs either epochs or steps. Got epochs={epochs!r}, steps={steps!r}.")
        for name, count in {"epochs": epochs, "steps": steps, "batch_size": batch_size}.items():
            if count is not None or name == "batch_size":
                check_integer("Module", name, count, 1)
        check_choice("Module", "precision", precision, PRECISIONS)
        self.make_module, self.optimizer, self.batch_size = make_module, optimizer, batch_size
        self.epochs, self.steps, self.precision = epochs, steps, precision
        self.device = device
        self.warm = self._one(warm)
        self.spec: dict[str, Any] | None = None  # set by whoever can rebuild it from a name and arguments

    def warm_started(self, fitted: FittedModule) -> Module:
        """A copy whose trainings start from a trained module, R = 1, and keep its scale of the targets."""
        other = copy.copy(self)
        other.warm = self._one(fitted)
        return other

    @property
    def place(self) -> torch.device:
        """The device that it works on.

        Raises:
            ParameterError: torch cannot use it.
        """
        return usable("Module", self.device)

    def config(self) -> dict[str, Any]:
        """Its name and arguments; {"name": "custom"} for a module of the user's own."""
        return dict(self.spec) if self.spec else {"name": "custom", "module": repr(self.make_module)}

    def opened(
        self, task: Task, n_features: int, seed: int, dtype: torch.dtype, *, differentiable: bool = False
    ) -> tuple[Functional, Params, Buffers]:
        """The module as a function, its initial parameters and buffers: those of the seed, or the warm start's.

        Args:
            task: what is predicted.
            n_features: D.
            seed: of the initial weights.
            dtype: of the rows; where it is floating, the module's too.
            differentiable: whether derivatives of gradients will be taken.

        Raises:
            ParameterError: torch cannot use the device, or the module alone is more than its memory.
        """
        place = self.place
        try:
            of = self._functional(task, n_features, seed, dtype, place, differentiable)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise ParameterError(
                f"The module alone is more than the memory of {place}: {str(error).splitlines()[0]}. Use a smaller one."
            ) from error
        if self.warm is None:
            return of, of.parameters(), of.buffers()
        start = self.warm
        if start.of.names != of.names or [p.shape for p in start.params[0]] != [p.shape for p in of.parameters()]:
            raise ParameterError.of("warm", "Module", "of the same architecture", start.of.module)
        buffers = {name: b.to(place) for name, b in start.buffers[0].items()}
        return of, [p.to(place).clone() for p in start.params[0]], copied(buffers)

    def _functional(
        self, task: Task, n_features: int, seed: int, dtype: torch.dtype, place: torch.device, differentiable: bool
    ) -> Functional:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reset the GPU's, for good
            module = self.make_module(n_features, task.n_outputs)
        if dtype.is_floating_point:
            module = module.to(dtype)
        autocast = torch.bfloat16 if self.precision == "bfloat16" else None
        return Functional(module, task, place, autocast=autocast, differentiable=differentiable)

    def memory(
        self, of: Functional, x: Any, *, rows: int = 0, unroll: int = 1, checkpoint: bool = False, joint: bool = False
    ) -> Memory:
        """What a step on `batch_size` of the rows x, or on more, is estimated to take: `raydm.predictors.memory`."""
        moments, rows = len(self.optimizer.init([torch.zeros(1)])), max(rows, self.batch_size)
        return estimate(of, x, rows, moments=moments, unroll=unroll, checkpoint=checkpoint, joint=joint)

    def fit(self, sets: TrainingSets, *, seed: Seeds) -> FittedModule:
        """Trains the R predictors; seed is (R,).

        Raises:
            ParameterError: it is estimated not to fit the device's memory.
        """
        place = self.place
        trained = []
        for r in range(sets.rollouts):
            x, y = sets.x if sets.x_is_shared else sets.x[r], sets.y if sets.y_is_shared else sets.y[r]
            trained.append(self._fit(x, y, sets.w[r], sets.task, int(seed[r]), place))
        of = trained[0][0]
        columns = list(zip(*(parts[1:] for parts in trained), strict=True))
        return FittedModule(of, list(columns[0]), list(columns[1]), torch.stack(columns[2]), torch.stack(columns[3]))

    def fit_predict(self, sets: TrainingSets, x: Tensor, *, seed: Seeds) -> Tensor:
        """Trains and predicts rows x: (R, M, C)."""
        return self.fit(sets, seed=seed).predict(x)

    def load(self, folder: Path, task: Task, n_features: int) -> FittedModule:
        """Reads what `FittedModule.save` wrote.

        Raises:
            RunError: the file is missing, torn, or of another architecture.
        """
        file = folder / "predictor.safetensors"
        try:
            tensors = load_file(file)
            location, scale = tensors.pop("location"), tensors.pop("scale")
            floating = [t.dtype for k, t in tensors.items() if k.startswith("params.") and t.is_floating_point()]
            of, params, buffers = self.opened(task, n_features, 0, floating[0] if floating else torch.float32)
            expected = {f"params.{k}": tuple(p.shape) for k, p in zip(of.names, params, strict=True)}
            expected |= {f"buffers.{k}": tuple(b.shape) for k, b in buffers.items()}
            if {k: tuple(t.shape[1:]) for k, t in tensors.items()} != expected:
                raise RunError(f"{file}: holds another architecture than the run's config names. Expected {expected}.")
            # clone: tensors of the file are not aligned as trained ones are, and products would round differently
            stacks = {k: [t.clone().to(of.device) for t in v] for k, v in tensors.items()}
            return FittedModule(
                of,
                [[stacks[f"params.{k}"][r] for k in of.names] for r in range(len(location))],
                [{k: stacks[f"buffers.{k}"][r] for k in buffers} for r in range(len(location))],
                location,
                scale,
            )
        except (OSError, KeyError, SafetensorError) as error:
            raise RunError(f"{file}: cannot be read ({error}). Make the run again.") from error

    def _fit(
        self, x: Any, y: Tensor, w: Tensor, task: Task, seed: int, place: torch.device
    ) -> tuple[Functional, Params, Buffers, Tensor, Tensor]:
        dtype = x.dtype if isinstance(x, Tensor) else torch.int64
        width = int(x.shape[-1])
        of, params, buffers = self.opened(task, width, seed, dtype)
        location, scale = self.targets(of, y, w)
        present = torch.nonzero(w > 0).squeeze(-1)
        if not len(present):
            return of, params, buffers, location, scale
        check_fits(self.memory(of, x), place)
        x, y, w = x[present], y[present], w[present]
        params = [p.requires_grad_() for p in params]
        state = self.optimizer.init(params)
        for step, rows in enumerate(self._batches(seed, w), start=1):
            some_w = w[rows].to(place)
            losses = of.losses(
                params, buffers, x[rows].to(place), y[rows].to(place),
                seed=int(stream(seed, "dropout", step).integers(2**62)),
            )  # fmt: skip
            loss = (some_w * losses).sum() / some_w.sum()
            grads = list(torch.autograd.grad(loss, params, allow_unused=True, materialize_grads=True))
            with torch.no_grad():
                self.optimizer.update_(params, grads, state, step)
        return of, [p.detach() for p in params], buffers, location, scale

    def targets(self, of: Functional, y: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Location and scale (C,) that bring targets y to weighted mean 0 and deviation 1; `of` takes them over.

        Absent examples have no part in them, except where all are absent: then all N have. A warm start keeps its own.
        Classes have 0 and 1.
        """
        if of.task.kind == "classification":
            return torch.zeros(1), torch.ones(1)
        columns = y.reshape(len(y), -1)
        if self.warm is not None:
            location, scale = self.warm.location[0].to(columns), self.warm.scale[0].to(columns)
        else:
            share = w / w.sum() if w.sum() > 0 else torch.full_like(w, 1 / len(w))
            share = share.to(columns).unsqueeze(-1)
            # Absent ones might hold anything, infinities too
            location = torch.where(share > 0, share * columns, 0.0).sum(0)
            scale = torch.where(share > 0, share * (columns - location).square(), 0.0).sum(0).clamp_min(1e-12).sqrt()
        of.location, of.scale = location.to(of.device), scale.to(of.device)
        return location, scale

    def _batches(self, seed: int, w: Tensor) -> Iterator[Tensor]:
        """Rows of each step, (B,)."""
        if self.steps is not None:
            for rows in batches.present_only(
                np.array([seed]), w.unsqueeze(0), min(self.batch_size, len(w)), self.steps
            ):
                yield rows[0]
        else:
            order = stream(seed, "order")
            for _ in range(self.epochs or 0):
                yield from map(torch.from_numpy, even_batches(order, len(w), self.batch_size))

    def _one(self, fitted: FittedModule | None) -> FittedModule | None:
        if fitted is not None and len(fitted.params) != 1:
            raise ParameterError.of("warm", "Module", "one trained module", f"{len(fitted.params)} of them")
        return fitted

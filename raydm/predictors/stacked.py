"""Stacked: R trainings of a small torch module as one tensor program."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError, RunError
from raydm.predictors import batches
from raydm.predictors.backward import Batch, Gradients, stacked_gradients
from raydm.predictors.early_stopping import EarlyStopping, Watch
from raydm.predictors.forward import stacked_forward
from raydm.predictors.memory import usable
from raydm.predictors.optimizers import Optimizer, Params
from raydm.predictors.protocol import Seeds, TrainingSets

MakeModule = Callable[[int, int], nn.Module]


class Stacked:
    """Trains R copies of one small module at once: one stacked forward, one backward for the whole stack.

    The rollouts' losses are summed, so each rollout's gradient is its own, and functional optimizers keep the
    parameters' axis R. Differentiable in x, y and w: the graph through all inner steps is kept when any of them
    requires a gradient. For classification the loss is cross-entropy; for regression it is the squared error of
    targets that were brought to weighted mean 0 and deviation 1 in each training set, its mean over several targets.

    Args:
        make_module: maps (D, C) to a module from (B, D) to (B, C). Its initial weights come from the rollout's seed.
        optimizer: `SGD` or `Adam` of `raydm.predictors.optimizers`.
        epochs: passes over the training set, absent rows too, >= 1.
        batch_size: examples a step; None for all (a gradient step on the whole set).
        steps: instead of epochs, a number of steps >= 1, each on `batch_size` of the rows that are present.
        early_stopping: each training ends, and keeps the parameters it had, at the least loss on the rows that
            `watching` names; without any it goes on to the end. Then not differentiable.
        device: "auto" is the GPU where torch sees one, else the CPU.
        memory: bytes that a chunk of the stack may take; R is cut into chunks that fit. None is 32 MiB on a CPU, where
            a chunk that stays in the cache is faster, and 4 GiB on a GPU.
    """

    def __init__(
        self,
        make_module: MakeModule,
        *,
        optimizer: Optimizer,
        epochs: int | None = None,
        batch_size: int | None = None,
        steps: int | None = None,
        early_stopping: EarlyStopping | None = None,
        device: str = "auto",
        memory: int | None = None,
    ) -> None:
        if (epochs is None) == (steps is None):
            raise ParameterError(f"Stacked needs either epochs or steps. Got epochs={epochs!r}, steps={steps!r}.")
        if steps is not None and batch_size is None:
            raise ParameterError("Stacked needs a batch_size beside steps. Got None; for whole sets give epochs.")
        for name, count in {"epochs": epochs, "steps": steps, "batch_size": batch_size}.items():
            if count is not None and not (isinstance(count, (int, np.integer)) and count >= 1):
                expected = "None or an integer >= 1" if name == "batch_size" else "an integer >= 1"
                raise ParameterError.of(name, "Stacked", expected, count)
        try:
            torch.device("cpu" if device == "auto" else device)
        except (RuntimeError, TypeError) as error:
            raise ParameterError.of("device", "Stacked", "'auto' or one of torch's, such as 'cpu'", device) from error
        self.make_module, self.optimizer = make_module, optimizer
        self.epochs, self.batch_size, self.steps, self.device, self.memory = epochs, batch_size, steps, device, memory
        self.early_stopping = early_stopping
        self.differentiable = early_stopping is None  # no gradient goes through a choice of when to stop
        self.watched: Examples | None = None
        self.warm: FittedStack | None = None
        self.spec: dict[str, Any] | None = None  # set by make_predictor, which rebuilds named ones from it

    def watching(self, rows: Examples) -> Stacked:
        """A copy whose trainings stop early by their loss on these rows; the same where they do not stop early."""
        if self.early_stopping is None:
            return self
        other = copy.copy(self)
        other.watched = rows
        return other

    def warm_started(self, fitted: FittedStack) -> Stacked:
        """A copy whose trainings start from a trained module, R = 1, and keep its scale of the targets."""
        if len(fitted.location) != 1:
            raise ParameterError.of("fitted", "warm_started", "one trained module", f"{len(fitted.location)} of them")
        other = copy.copy(self)
        other.warm = fitted
        return other

    @property
    def full_batch(self) -> bool:
        """Whether every step sees the whole set."""
        return self.batch_size is None

    def config(self) -> dict[str, Any]:
        """Its name and arguments; {"name": "custom"} for a module of the user's own."""
        return dict(self.spec) if self.spec else {"name": "custom", "module": repr(self.make_module)}

    def fit(self, sets: TrainingSets, *, seed: Seeds) -> FittedStack:
        """Trains the R predictors; seed is (R,).

        Raises:
            ParameterError: torch cannot use the device.
        """
        device = usable("Stacked", self.device)
        sets = TrainingSets(sets.x.to(device), sets.y.to(device), sets.w.to(device), sets.task)
        module = self.initial_module(sets, int(seed[0])).to(device)  # the only one, where all restart alike
        activations = _activations(module, sets.x)
        chunk = min(self._chunk(module, sets, activations), sets.rollouts)  # as `load` has it: rows are told by it
        rows = max(1, self._memory() // (8 * chunk * activations))
        trained = [
            self._train(module, int(seed[0]), sets[slice(a, a + chunk)], seed[a : a + chunk], rows)
            for a in range(0, sets.rollouts, chunk)
        ]
        params = {name: torch.cat([p[name] for p, _, _ in trained]) for name in trained[0][0]}
        location, scale = torch.cat([t[1] for t in trained]), torch.cat([t[2] for t in trained])
        return FittedStack(module, params, location, scale, sets.task, chunk, rows)

    def fit_predict(self, sets: TrainingSets, x: Tensor, *, seed: Seeds) -> Tensor:
        """Trains and predicts rows x (M, D): (R, M, C)."""
        return self.fit(sets, seed=seed).predict(x)

    def load(self, folder: Path, task: Task, n_features: int) -> FittedStack:
        """Reads what `FittedStack.save` wrote.

        Raises:
            RunError: the file is missing, torn, or of another architecture.
        """
        file = folder / "predictor.safetensors"
        try:
            tensors = load_file(file, device=self._device())
            # clone: tensors of the file are not aligned as trained ones are, and products would round differently
            params = {k.removeprefix("params."): v.clone() for k, v in tensors.items() if k.startswith("params.")}
            module = self.make_module(n_features, task.n_outputs)
            if _shapes(module) != {k: tuple(p.shape[1:]) for k, p in params.items()}:
                expected = f"Expected {_shapes(module)}."
                raise RunError(f"{file}: holds another architecture than the run's config names. {expected}")
            x = torch.zeros(1, n_features, device=self._device())
            module = module.to(x.device)
            n = len(tensors["location"])
            rows = max(1, self._memory() // (8 * n * _activations(module, x)))
            location, scale = (tensors[k].reshape(n, -1) for k in ("location", "scale"))
            return FittedStack(module, params, location, scale, task, n, rows)
        except (OSError, KeyError, SafetensorError) as error:
            raise RunError(f"{file}: cannot be read ({error}). Make the run again.") from error

    def _device(self) -> str:
        return ("cuda" if torch.cuda.is_available() else "cpu") if self.device == "auto" else self.device

    def _memory(self) -> int:
        if self.memory is not None:
            return self.memory
        return 2**25 if torch.device(self._device()).type == "cpu" else 2**32

    def initial_module(self, sets: TrainingSets, seed: int) -> nn.Module:
        """The module with the initial weights that a rollout of this seed starts from."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reset the GPU's, for good
            module = self.make_module(sets.x.shape[-1], sets.task.n_outputs)
        _refuse(module)
        return module.to(sets.x.dtype)

    def _chunk(self, module: nn.Module, sets: TrainingSets, activations: int) -> int:
        """How many rollouts fit: parameters (with gradients, moments, their successors) and activations."""
        n = sets.w.shape[1]
        batch = min(self.batch_size or n, n)
        floats = 10 * sum(p.numel() for p in module.parameters()) + 4 * batch * activations
        if not sets.x_is_shared:
            floats += sets.x[0].numel()
        return max(1, self._memory() // (floats * sets.x.element_size()))

    def _train(
        self, module: nn.Module, seed_of_module: int, sets: TrainingSets, seed: Seeds, rows: int
    ) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        keep_graph = any(t.requires_grad for t in (sets.x, sets.y, sets.w))
        if keep_graph and not self.differentiable:
            raise ParameterError("Stacked cannot be differentiated with early_stopping. Take it out.")
        names, params = self._initial(module, seed_of_module, sets, seed)
        sets, location, scale = _standardised(sets, self.warm)
        state = self.optimizer.init(params)
        gradients = stacked_gradients(module, sets.task, keep_graph=keep_graph)
        watch = self._watch(module, sets, location, scale, rows)
        with torch.set_grad_enabled(keep_graph):
            for step, batch in enumerate(self._batches(sets, seed, gradients), start=1):
                named = dict(zip(names, params, strict=True))
                grads = gradients(named, batch)
                if keep_graph:
                    params, state = self.optimizer.update(params, grads, state, step)
                else:
                    self.optimizer.update_(params, grads, state, step)
                    if watch and watch.stopped(step, named):  # `named` holds the updated: they change in place
                        break
        trained = dict(zip(names, params, strict=True))
        if watch and watch.best:
            trained = watch.best
        return trained if keep_graph else {k: p.detach() for k, p in trained.items()}, location, scale

    def _initial(
        self, module: nn.Module, seed_of_module: int, sets: TrainingSets, seed: Seeds
    ) -> tuple[list[str], Params]:
        """Names and initial parameters (R, ...)."""
        if self.warm is not None:
            if _shapes(module) != {name: tuple(p.shape[1:]) for name, p in self.warm.params.items()}:
                raise ParameterError.of(
                    "fitted", "warm_started", f"of the architecture {_shapes(module)}", self.warm.module
                )
            start = {name: p.expand(len(seed), *p.shape[1:]) for name, p in self.warm.params.items()}
            return list(start), [p.to(sets.x).clone().requires_grad_() for p in start.values()]
        distinct, which = np.unique(seed, return_inverse=True)
        modules = [module if s == seed_of_module else self.initial_module(sets, int(s)) for s in distinct]
        return _stacked_parameters(modules, which, sets.w.device)

    def _watch(self, module: nn.Module, sets: TrainingSets, location: Tensor, scale: Tensor, rows: int) -> Watch | None:
        """What stops the trainings, if anything does; it looks at so many rows at once."""
        if self.early_stopping is None or self.watched is None:
            return None
        x, y = (torch.from_numpy(a).to(sets.w.device) for a in (self.watched.x, self.watched.y))
        if sets.task.kind == "classification":
            y = y.expand(sets.rollouts, *y.shape)
        else:
            y = (y.to(sets.x.dtype).reshape(1, len(y), -1) - location[:, None]) / scale[:, None]
            y = y.squeeze(-1) if sets.task.n_outputs == 1 else y
        parts = torch.split(x.to(sets.x.dtype), rows)
        return Watch(self.early_stopping, stacked_forward(module), parts, y, sets.task)

    def _batches(self, sets: TrainingSets, seed: Seeds, gradients: Gradients) -> Iterator[Batch]:
        """The batch of each step: all rows, or (B,) of them where all rollouts see the same, else (R, B)."""
        n = sets.w.shape[1]
        orders: Iterator[Tensor] = iter(())
        if self.steps is not None and self.batch_size is not None:
            orders = batches.present_only(seed, sets.w, self.batch_size, self.steps)
        elif self.batch_size is None or self.batch_size >= n:
            yield from [gradients.prepare(*_gathered(sets, slice(None)))] * (self.epochs or 0)
        else:
            orders = batches.passes(seed, n, self.batch_size, self.epochs or 0)
        for rows in orders:
            yield gradients.prepare(*_gathered(sets, rows.to(sets.w.device)))


@dataclass(frozen=True)
class FittedStack:
    """R trained modules.

    Attributes:
        module: gives the architecture; its own weights are not used.
        params: each parameter by name, (R, ...).
        location: (R, C) targets' mean before standardisation (0 for classification).
        scale: (R, C) their standard deviation (1 for classification).
        task: what is predicted.
        chunk: how many rollouts predict at once.
        rows: how many rows these predict at once.
    """

    module: nn.Module
    params: dict[str, Tensor]
    location: Tensor
    scale: Tensor
    task: Task
    chunk: int
    rows: int

    def predict(self, x: Tensor) -> Tensor:
        """For rows x (M, D): class probabilities, or targets: (R, M, C)."""
        x = x.to(self.location.device)
        forward = stacked_forward(self.module)
        starts = range(0, len(self.location), self.chunk)
        chunks = [{k: v[a : a + self.chunk] for k, v in self.params.items()} for a in starts]
        out = torch.cat([torch.cat([forward(p, part) for part in torch.split(x, self.rows)], -1) for p in chunks])
        if self.task.kind == "classification":
            return out.softmax(1).transpose(1, 2)
        return (out * self.scale.unsqueeze(-1) + self.location.unsqueeze(-1)).transpose(1, 2)

    def save(self, folder: Path) -> None:
        """Writes predictor.safetensors; the architecture is rebuilt from the predictor's config."""
        tensors = {f"params.{k}": v.detach().cpu().contiguous() for k, v in self.params.items()}
        tensors |= {"location": self.location.detach().cpu(), "scale": self.scale.detach().cpu()}
        save_file(tensors, folder / "predictor.safetensors")


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in module.named_parameters()}


def _refuse(module: nn.Module) -> None:
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            raise ParameterError(f"Stacked trains every parameter, and {name!r} is frozen. Take it out of the module.")
    for name, part in module.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise ParameterError(
                f"Stacked cannot train {type(part).__name__} ({name!r}): its running statistics are changed in place "
                "and would mix absent examples in. Use LayerNorm or GroupNorm."
            )
        if isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0:
            raise ParameterError(
                f"Stacked cannot train {type(part).__name__} ({name!r}): its draws are not tied to a rollout's seed. "
                "Set p=0, or use weight_decay."
            )
    owners: dict[int, set[int]] = {}
    for _, part in module.named_modules():
        for parameter in part.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(id(part))
    if any(len(parts) > 1 for parts in owners.values()):
        raise ParameterError("Stacked cannot train a parameter that two layers share. Use one layer twice instead.")
    for name, _ in module.named_buffers():
        raise ParameterError(
            f"Stacked cannot train a module with the buffer {name!r}: it stacks, seeds and saves parameters only. "
            "Compute it in forward, or transform the features before."
        )


def _stacked_parameters(modules: list[nn.Module], which: Seeds, device: torch.device) -> tuple[list[str], Params]:
    """Names and initial weights (R, ...) of rollouts that start as modules[which[r]]; leaves of their own."""
    weights = [dict(m.named_parameters()) for m in modules]
    index = torch.from_numpy(which)
    stacks = [torch.stack([w[name].detach().cpu() for w in weights])[index] for name in weights[0]]
    return list(weights[0]), [p.to(device).requires_grad_() for p in stacks]


def _activations(module: nn.Module, x: Tensor) -> int:
    """Numbers that one example leaves behind on its way through the module, counted on one row."""
    count = x.shape[-1]

    def add(_: nn.Module, __: Any, out: Tensor) -> None:
        nonlocal count
        count += out.numel()

    leaves = [m for m in module.modules() if not list(m.children())]
    hooks = [m.register_forward_hook(add) for m in leaves]
    with torch.no_grad():
        module(x.reshape(-1, x.shape[-1])[:1])
    for hook in hooks:
        hook.remove()
    return count


def _standardised(sets: TrainingSets, warm: FittedStack | None) -> tuple[TrainingSets, Tensor, Tensor]:
    """Targets at weighted mean 0 and deviation 1, with (R, C) location and scale; classes unchanged.

    Absent examples have no part in it, except in an empty set, which predicts the mean of all N. Where a start is
    warm, location and scale are its own.
    """
    if sets.task.kind == "classification":
        zeros = sets.w.new_zeros(sets.rollouts, 1)
        return sets, zeros, zeros + 1
    y = sets.y.to(sets.x.dtype)
    of_targets = y if sets.task.n_outputs > 1 else y.unsqueeze(-1)  # (N, C) or (R, N, C)
    if warm is not None:
        location, scale = (t.to(sets.x).expand(sets.rollouts, -1).unsqueeze(1) for t in (warm.location, warm.scale))
    else:
        total = sets.w.sum(-1, keepdim=True)
        share = torch.where(total > 0, sets.w / total.clamp_min(1e-12), 1 / sets.w.shape[1]).unsqueeze(-1)
        location = (share * of_targets).sum(1, keepdim=True)
        # Clamped under the root, whose derivative at 0 is infinite: a set of one example has deviation 0.
        scale = (share * (of_targets - location).square()).sum(1, keepdim=True).clamp_min(1e-12).sqrt()
    shifted = (of_targets - location) / scale
    if sets.task.n_outputs == 1:
        shifted = shifted.squeeze(-1)
    return TrainingSets(sets.x, shifted, sets.w, sets.task), location.squeeze(1), scale.squeeze(1)


def _gathered(sets: TrainingSets, rows: slice | Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features (B, D) or (R, B, D), labels (R, B) or (R, B, C), weights (R, B) at rows: a slice, (B,) or (R, B)."""
    if isinstance(rows, slice) or rows.ndim == 1:
        y = sets.y[rows].expand(sets.rollouts, *sets.y[rows].shape) if sets.y_is_shared else sets.y[:, rows]
        return sets.x[rows] if sets.x_is_shared else sets.x[:, rows], y, sets.w[:, rows]
    each = torch.arange(sets.rollouts, device=rows.device).unsqueeze(-1)
    x = sets.x[rows] if sets.x_is_shared else sets.x[each, rows]
    return x, sets.y[rows] if sets.y_is_shared else sets.y[each, rows], sets.w[each, rows]

"""A large predictor in training, step by step: theta, its optimizer's state, and BatchNorm's statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from raydm.errors import RunError
from raydm.predictors.fitted_module import FittedModule
from raydm.predictors.functional import Buffers, Functional, Params, copied
from raydm.predictors.optimizers import Optimizer


class Training:
    """One training that others take the steps of.

    Args:
        of: the module.
        optimizer: moves the parameters.
        params: initial ones.
        buffers: initial ones.

    Attributes:
        moments: the optimizer's state.
        updates: how many steps were taken.
    """

    def __init__(self, of: Functional, optimizer: Optimizer, params: Params, buffers: Buffers) -> None:
        self.of, self.optimizer, self.buffers = of, optimizer, buffers
        self.params = [p.detach().requires_grad_() for p in params]
        self.moments = optimizer.init([p.detach() for p in params])
        self.updates = 0

    def forward(self, x: Any, y: Tensor, seed: int) -> tuple[Tensor, Buffers]:
        """Training losses (B,) of rows on the device, with their graph; and the buffers after, which `step` takes."""
        buffers = copied(self.buffers)
        return self.of.losses(self.params, buffers, x, y, seed=seed), buffers

    def step(self, grads: Params, buffers: Buffers) -> None:
        """Takes a step along gradients, and the buffers of the pass that gave them."""
        self.updates += 1
        with torch.no_grad():
            self.optimizer.update_(self.params, grads, self.moments, self.updates)
        self.buffers = buffers

    def fitted(self, location: Tensor, scale: Tensor) -> FittedModule:
        """The predictor as it is now, as a copy, R = 1; location and scale are (C,)."""
        params = [p.detach().clone() for p in self.params]
        return FittedModule(self.of, [params], [copied(self.buffers)], location.unsqueeze(0), scale.unsqueeze(0))

    def save(self, file: Path, counts: dict[str, int]) -> None:
        """Writes all of it as safetensors, with counts of the caller's own, so that `restore` goes on to the bit."""
        tensors = {f"params.{k}": p.detach() for k, p in zip(self.of.names, self.params, strict=True)}
        for i, moment in enumerate(self.moments):
            tensors |= {f"moments.{i}.{k}": m for k, m in zip(self.of.names, moment, strict=True)}
        tensors |= {f"buffers.{k}": b for k, b in self.buffers.items()}
        tensors |= {f"counts.{k}": torch.tensor(v) for k, v in (counts | {"updates": self.updates}).items()}
        save_file({k: t.cpu().contiguous().clone() for k, t in tensors.items()}, file)

    def restore(self, file: Path) -> dict[str, int]:
        """Goes on from what `save` wrote, and gives the counts.

        Raises:
            RunError: the file is missing, torn, or of another predictor.
        """
        try:
            # clone: tensors of the file are not aligned as others are, and products would round differently
            given = {k: t.clone().to(self.of.device) for k, t in load_file(file).items()}
            params = [given[f"params.{k}"] for k in self.of.names]
            moments = [[given[f"moments.{i}.{k}"] for k in self.of.names] for i in range(len(self.moments))]
            buffers = {k: given[f"buffers.{k}"] for k in self.buffers}
            counts = {k.removeprefix("counts."): int(t) for k, t in given.items() if k.startswith("counts.")}
            updates = counts.pop("updates")
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise RunError(f"{file}: cannot be read ({error}). Make the run again.") from error
        if [p.shape for p in params] != [p.shape for p in self.params]:
            raise RunError(f"{file}: holds another architecture than this predictor's. Make the run again.")
        self.params, self.moments, self.buffers = [p.requires_grad_() for p in params], moments, buffers
        self.updates = updates
        return counts

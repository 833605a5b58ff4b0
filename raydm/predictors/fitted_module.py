"""Trained large modules."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from raydm.predictors.functional import Buffers, Functional, Params

_ROWS = 256  # that predict at once


@dataclass(frozen=True)
class FittedModule:
    """R trained modules.

    Attributes:
        of: the architecture as a function.
        params: of each rollout, in the order of `of.names`.
        buffers: of each rollout, by name.
        location: (R, C) targets' mean before standardisation (0 for classification).
        scale: (R, C) their standard deviation (1 for classification).
    """

    of: Functional
    params: list[Params]
    buffers: list[Buffers]
    location: Tensor
    scale: Tensor

    @torch.no_grad()
    def predict(self, x: Any) -> Tensor:
        """For rows x: class probabilities, or targets, (R, M, C), on the CPU."""
        each = []
        for params, buffers in zip(self.params, self.buffers, strict=True):
            parts = [x[a : a + _ROWS].to(self.of.device) for a in range(0, len(x), _ROWS)]
            each.append(torch.cat([self.of.outputs(params, buffers, part, mode="eval").cpu() for part in parts]))
        out = torch.stack(each)
        if self.of.task.kind == "classification":
            return out.softmax(-1)
        return out * self.scale.unsqueeze(1).to(out) + self.location.unsqueeze(1).to(out)

    def save(self, folder: Path) -> None:
        """Writes predictor.safetensors; the architecture is rebuilt from the predictor's config."""
        columns = zip(*self.params, strict=True)
        tensors = {f"params.{k}": torch.stack(list(c)) for k, c in zip(self.of.names, columns, strict=True)}
        tensors |= {f"buffers.{k}": torch.stack([b[k] for b in self.buffers]) for k in self.buffers[0]}
        tensors |= {"location": self.location, "scale": self.scale}
        save_file({k: t.detach().cpu().contiguous() for k, t in tensors.items()}, folder / "predictor.safetensors")

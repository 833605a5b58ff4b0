"""What the class-conditional generators share: their contract, their checks, and their file."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raydm.checks import check_integer
from raydm.errors import ParameterError, RunError, one_of

FORMAT = "raydm generator 1"


class Generator(nn.Module, ABC):
    """g_phi(x given y): examples are a differentiable function of phi and of noise that comes from outside.

    Args:
        shape: of an example: (D,) features or (channels, H, W) of a small image.
        n_classes: C.
    """

    kinds: ClassVar[dict[str, type[Generator]]] = {}
    lowest: Tensor
    highest: Tensor

    def __init__(self, shape: Sequence[int], n_classes: int) -> None:
        super().__init__()
        owner = type(self).__name__
        self.shape = tuple(int(n) for n in shape)
        if len(self.shape) not in (1, 3) or min(self.shape) < 1:
            raise ParameterError.of("shape", owner, "(D,) or (channels, H, W)", shape)
        check_integer(owner, "n_classes", n_classes, 1)
        self.n_classes, self.width = int(n_classes), math.prod(self.shape)
        for name in ("lowest", "highest"):
            self.register_buffer(name, torch.zeros(self.width))

    def __init_subclass__(cls) -> None:
        """Makes the class known to `load_generator`."""
        super().__init_subclass__()
        Generator.kinds[cls.__name__] = cls

    @abstractmethod
    def fit(self, x: Tensor, y: Tensor, *, seed: int = 0) -> Generator:
        """Fits phi to training examples x (N, *shape), floating point, of classes y (N,) int64; returns itself."""

    @abstractmethod
    def noise(self, n: int, rng: np.random.Generator) -> Tensor:
        """What chance has in n examples, (n, ...) float32; drawn on the CPU by numpy, so that seeds give equal bits."""

    @abstractmethod
    def sample(self, y: Tensor, noise: Tensor) -> Tensor:
        """Examples (N, *shape) of the classes y (N,), differentiable in phi; noise of `noise(N, rng)`."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The arguments that make an empty one of this kind and size; plain values."""

    def forward(self, y: Tensor, noise: Tensor) -> Tensor:
        """As `sample`, so that torch's functional calls reach it."""
        return self.sample(y, noise)

    def bounded(self, x: Tensor) -> Tensor:
        """Examples (N, *shape) brought within each feature's range in training, as they are written out."""
        low, high = self.lowest.view(self.shape), self.highest.view(self.shape)
        return torch.minimum(torch.maximum(x, low), high)

    def save(self, file: Path) -> None:
        """Writes one safetensors file, with its kind and arguments in the head."""
        head = {"format": FORMAT, "kind": type(self).__name__, "config": json.dumps(self.config())}
        save_file({name: t.contiguous() for name, t in self.state_dict().items()}, file, metadata=head)

    def checked(self, x: Tensor, y: Tensor) -> Tensor:
        """Training rows (N, width), after checks; their range is noted.

        Raises:
            ParameterError: x or y has another shape or type than this generator's, or a value is not finite.
        """
        owner = f"{type(self).__name__}.fit"
        if x.shape[1:] != self.shape or len(x) == 0 or not x.is_floating_point():
            expected = f"floating-point examples (N, {', '.join(map(str, self.shape))}), at least one"
            raise ParameterError.of("x", owner, expected, f"{tuple(x.shape)} of {x.dtype}")
        if not x.isfinite().all():
            raise ParameterError.of("x", owner, "finite", "NaN or infinity")
        if y.shape != x.shape[:1]:
            raise ParameterError.of("y", owner, f"classes ({len(x)},)", tuple(y.shape))
        self.check_classes(y)
        rows = x.detach().flatten(1).to(self.lowest)
        self.lowest, self.highest = rows.amin(0), rows.amax(0)
        return rows

    def check_classes(self, y: Tensor) -> None:
        """Raises ParameterError unless y holds whole numbers from 0 to C - 1."""
        if y.is_floating_point() or (len(y) and not 0 <= int(y.min()) <= int(y.max()) < self.n_classes):
            got = f"{y.dtype} from {y.min()} to {y.max()}"
            raise ParameterError.of("y", type(self).__name__, f"int64 classes from 0 to {self.n_classes - 1}", got)


def load_generator(file: Path) -> Generator:
    """The generator that `Generator.save` wrote; equal noise gives equal examples.

    Raises:
        RunError: the file is missing, torn, or was written by something else.
    """
    try:
        with safe_open(file, "pt") as opened:
            head = opened.metadata() or {}
        if head.get("format") != FORMAT:
            raise RunError(f"{file}: format {head.get('format')!r}, expected {FORMAT!r}. Fit the generator anew.")
        if head["kind"] not in Generator.kinds:
            raise RunError(f"{file}: kind {head['kind']!r}, expected {one_of(Generator.kinds)}.")
        made = Generator.kinds[head["kind"]](**json.loads(head["config"]))
        made.load_state_dict(load_file(file))
        return made
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"{file}: no whole saved generator ({error}). Fit it anew.") from error

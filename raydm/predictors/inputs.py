"""What a large predictor reads: a tensor of rows, or rows made of several tensors (such as soft tokens).

The latter need `leaves()`, the tensors that may require a gradient; `detached()`, the same without any graph;
`to(device)`; `len`, and slices.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Rows(Protocol):
    """Rows made of several tensors."""

    def leaves(self) -> list[Tensor]:
        """The tensors that may require a gradient, each with the rows first."""
        ...

    def detached(self) -> Any:
        """The same rows with leaves that have no graph."""
        ...

    def to(self, device: torch.device) -> Any:
        """The same on a device."""
        ...

    def __getitem__(self, rows: slice) -> Any:
        """Some of the rows."""
        ...

    def __len__(self) -> int:
        """How many rows there are."""
        ...


Inputs = TypeVar("Inputs", bound=Any)  # Tensor or Rows


def leaves(x: Any) -> list[Tensor]:
    """The tensors of x that may require a gradient."""
    return [x] if isinstance(x, Tensor) else list(x.leaves())


def wanted(x: Any) -> list[Tensor]:
    """Those that do."""
    return [t for t in leaves(x) if t.requires_grad]


def as_leaves(x: Inputs, device: torch.device) -> Inputs:
    """The same on the device without its graph; what required a gradient is a leaf that requires one."""
    asked = [t.requires_grad for t in leaves(x)]
    fresh: Any = (x.detach() if isinstance(x, Tensor) else x.detached()).to(device)
    for tensor, yes in zip(leaves(fresh), asked, strict=True):
        if yes:
            tensor.requires_grad_()
    made: Inputs = fresh
    return made

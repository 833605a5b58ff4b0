"""A device that is none: its tensors lie on the CPU, say "pretend:0", and refuse whatever a GPU's would refuse.

What is computed is what the CPU computes. An operation on tensors of both devices raises, as it does with CUDA, where
only 0-dimensional tensors of the CPU may take part in elementwise operations, and indices may lie on the CPU; and no
tensor of the device becomes numpy's. So a test on any machine finds what would break on the first GPU. It says nothing
about what a GPU's kernels lack, such as second derivatives.

To import this registers the device for good: do it in a process of its own (`tests/test_devices.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

DEVICE = "pretend"
_setup_privateuseone_for_python_backend(DEVICE)

_aten = torch.ops.aten
_CROSSES = {_aten._to_copy.default, _aten.copy_.default}
_INDEXES = {
    _aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default,
    _aten._unsafe_index.Tensor, _aten._unsafe_index_put.default,
}  # fmt: skip
_ALSO_ELEMENTWISE = {_aten.masked_fill.Tensor, _aten.masked_fill_.Tensor, _aten.fill_.Tensor, _aten.where.self}


class There(torch.Tensor):
    """A tensor of the device; `inner` holds its numbers."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> There:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=f"{DEVICE}:0",
        )  # fmt: skip
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _called(func, args, kwargs or {})

    # These bypass torch's dispatch, and there is no device that could answer
    def untyped_storage(self) -> Any:
        return self.inner.untyped_storage()

    def tolist(self) -> Any:
        return self.inner.tolist()

    def new_tensor(self, data: Any) -> Tensor:
        return There(torch.tensor(data, dtype=self.dtype))


class Pretending(TorchDispatchMode):
    """While it lasts, tensors can be made on the device, and brought there and back."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        return _called(func, args, kwargs or {})


def _called(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    there, kwargs = _checked(func, args, kwargs), dict(kwargs)
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == DEVICE
        kwargs["device"] = torch.device("cpu")
    known: dict[int, Tensor] = {}

    def unwrapped(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        inner = x.inner if isinstance(x, There) else x
        known[id(inner)] = x
        return inner

    def wrapped(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if id(x) in known and isinstance(known[id(x)], There) == there:
            return known[id(x)]  # what was changed in place
        return There(x) if there else x

    out = func(*tree_map(unwrapped, args), **tree_map(unwrapped, kwargs))
    return args[0] if func is _aten.copy_.default else tree_map(wrapped, out)


def _checked(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the operation is one of the device."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    there = [x for x in tensors if isinstance(x, There)]
    here = [x for x in tensors if not isinstance(x, There)]
    if not there or not here or func in _CROSSES:
        return bool(there)
    if func in _INDEXES and isinstance(args[0], There):
        here = [x for x in tree_leaves(args[2:]) if isinstance(x, Tensor) and not isinstance(x, There)]
        if all(x.ndim == 0 for x in here):
            return True
    elementwise = torch.Tag.pointwise in func.tags or func in _ALSO_ELEMENTWISE
    if elementwise and all(x.ndim == 0 for x in here):
        return True
    shapes = [[tuple(x.shape) for x in of] for of in (there, here)]
    raise RuntimeError(f"{func}: tensors of two devices: {shapes[0]} of {DEVICE} and {shapes[1]} of the CPU")

"""A large module as a function of its trainable parameters: outputs, per-example losses, and their derivatives.

Axes: B rows, C outputs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm

from raydm.data.task import Task
from raydm.seeding import drawing

_dual: Any = forward_ad.make_dual  # torch leaves both untyped
_unpacked: Any = forward_ad.unpack_dual

Params = list[Tensor]
Buffers = dict[str, Tensor]

# How the module behaves. "train": as in training, dropout seeded. "batch": no dropout, and BatchNorm by the batch's own
# statistics, as a look-ahead judges. "eval": as users predict.
Mode = Literal["train", "batch", "eval"]


class Functional:
    """A module whose trainable parameters are arguments; frozen ones (requires_grad=False) stay in the module.

    Args:
        module: maps rows to (B, C). Its own parameters give the initial ones.
        task: says what loss is meant.
        device: where it works; the module is moved there.
        autocast: the type of mixed precision; None: none.
        differentiable: whether derivatives of gradients are to be taken, for which attention's fused kernels have none.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        device: torch.device,
        *,
        autocast: torch.dtype | None = None,
        differentiable: bool = False,
    ) -> None:
        self.module, self.task, self.device = module.to(device), task, device
        self.autocast, self.differentiable = autocast, differentiable
        named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        self.names = [name for name, _ in named]
        of: dict[int, list[str]] = {id(p): [] for _, p in named}
        for prefix, part in module.named_modules():  # every place of a parameter that layers share
            for key, p in part._parameters.items():
                if p is not None and id(p) in of:
                    of[id(p)].append(f"{prefix}.{key}" if prefix else key)
        self._places = [of[id(p)] for _, p in named]
        self._recurrent = any(isinstance(part, nn.RNNBase) for part in module.modules())
        self._norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
        self._mode: Mode | None = None
        self.location, self.scale = torch.zeros((), device=device), torch.ones((), device=device)  # of targets
        self.forward_mode = True  # until an operation turns up that has no forward-mode derivative

    def parameters(self) -> Params:
        """Copies of the module's own trainable parameters, in the order of `names`."""
        own = dict(self.module.named_parameters())
        return [own[name].detach().clone() for name in self.names]

    def buffers(self) -> Buffers:
        """Copies of the module's own buffers, such as BatchNorm's running statistics."""
        return {name: b.detach().clone() for name, b in self.module.named_buffers()}

    def outputs(
        self, params: Sequence[Tensor], buffers: Mapping[str, Tensor], x: Any, *, mode: Mode, seed: int = 0
    ) -> Tensor:
        """(B, C); the buffers given are updated in place in the modes that train.

        Args:
            params: in the order of `names`.
            buffers: by name; give copies where these must stay.
            x: rows.
            mode: how the module behaves.
            seed: of dropout: equal seeds drop the same.
        """
        self._set(mode)
        places = zip(self._places, params, strict=True)
        given = {place: p for names, p in places for place in names} | dict(buffers)
        with contextlib.ExitStack() as stack:
            if mode == "train":
                stack.enter_context(drawing(seed, self.device))
            if self.autocast is not None:  # no cache: it would keep one call's weights for another's
                stack.enter_context(torch.autocast(self.device.type, self.autocast, cache_enabled=False))
            if self.differentiable:
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
                if self._recurrent:  # cuDNN's have no second derivative either, and outside of training not even one
                    stack.enter_context(_without_cudnn())
            out: Tensor = functional_call(self.module, given, (x,), tie_weights=False)
        return out if self.autocast is None else out.float()

    def losses(
        self,
        params: Sequence[Tensor],
        buffers: Mapping[str, Tensor],
        x: Any,
        y: Tensor,
        *,
        mode: Mode = "train",
        seed: int = 0,
    ) -> Tensor:
        """Per-example losses (B,): cross-entropy, or the squared error of standardised targets, its mean over several.

        Targets y are in their own units; `location` and `scale`, scalars or (C,), bring them to the module's.
        """
        out = self.outputs(params, buffers, x, mode=mode, seed=seed)
        if self.task.kind == "regression":
            return (out - (y.reshape(out.shape) - self.location) / self.scale).square().mean(-1)
        log_p = out.log_softmax(-1)
        if y.is_floating_point():
            return -(y * log_p).sum(-1)
        return -log_p.gather(-1, y.unsqueeze(-1)).squeeze(-1)

    def slopes(
        self, params: Sequence[Tensor], along: Sequence[Tensor], buffers: Buffers, x: Any, y: Tensor, *, seed: int
    ) -> Tensor | None:
        """How each training loss changes as the parameters move along a direction: <along, g_i>, (B,).

        One pass in forward mode (a Jacobian-vector product); None where an operation of the module has none, or
        one that fails (torch's GroupNorm on rows that are not contiguous).

        Raises:
            torch.OutOfMemoryError: a GPU's memory is full: backward twice would take more.
        """
        if not self.forward_mode:
            return None
        try:
            with torch.no_grad(), forward_ad.dual_level():
                dual = [_dual(p.detach(), v) for p, v in zip(params, along, strict=True)]
                change = _unpacked(self.losses(dual, copied(buffers), x, y, seed=seed))
                found: Tensor = torch.zeros_like(change.primal) if change.tangent is None else change.tangent.clone()
                return found
        except torch.OutOfMemoryError:
            raise
        except (
            NotImplementedError,
            RuntimeError,
        ):  # the same losses were just computed: backward finds what else is wrong
            self.forward_mode = False
            return None

    def _set(self, mode: Mode) -> None:
        if mode == self._mode:
            return
        self.module.train(mode == "train")
        for norm in self._norms:
            norm.train(mode != "eval")
        self._mode = mode


def copied(buffers: Mapping[str, Tensor]) -> Buffers:
    """Buffers that may be updated in place."""
    return {name: b.clone() for name, b in buffers.items()}


@contextlib.contextmanager
def _without_cudnn() -> Iterator[None]:
    """torch.backends.cudnn.flags would also set what TF32 is allowed for."""
    before = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = before

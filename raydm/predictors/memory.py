"""What training a large module takes of a device's memory, estimated before it starts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raydm.errors import ParameterError
from raydm.predictors.functional import Functional, Params

_GIB = 2**30


@dataclass(frozen=True)
class Memory:
    """Bytes by what they hold.

    Attributes:
        parameters: theta, and in a joint scheme theta' and the direction of its slopes.
        gradients: of the parameters.
        moments: the optimizer's.
        activations: what the passes of a step keep for their backward pass.
    """

    parameters: int
    gradients: int
    moments: int
    activations: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.parameters + self.gradients + self.moments + self.activations

    def __str__(self) -> str:
        parts = {name: getattr(self, name) for name in ("parameters", "gradients", "moments", "activations")}
        each = ", ".join(f"{name} {_told(size)}" for name, size in parts.items())
        return f"about {_told(self.total)} ({each})"


def estimate(
    of: Functional, x: Any, batch_size: int, *, moments: int, unroll: int = 1, checkpoint: bool = False, joint: bool
) -> Memory:
    """The estimate for one training step, or one joint step.

    Activations are counted on two rows, by what the pass saves for its backward pass. A step whose gradient is
    differentiated again keeps about three times that: each product's inputs, and those of its two gradients. A joint
    step of T = 1 in w alone takes less, for it has no such pass.

    Args:
        of: the module.
        x: at least one row, of the kind that it will see.
        batch_size: B, rows that are worked on at once.
        moments: how many numbers the optimizer keeps for each parameter.
        unroll: T, look-ahead steps.
        checkpoint: whether only some sqrt(T) of them are kept.
        joint: whether a look-ahead is differentiated at all.
    """
    params = of.parameters()
    size = sum(p.numel() * p.element_size() for p in params)
    frozen = sum(p.numel() * p.element_size() for p in of.module.parameters())  # the module's own copy
    rows = x[:2] if len(x) > 1 else x[:1]
    a_row = _saved(of, params, rows) / len(rows)
    length = 1 if not joint else (math.isqrt(unroll - 1) + 1 if checkpoint else unroll)
    states = 0 if unroll == 1 else (2 * length if checkpoint else unroll)
    passes = 3 * length if joint else 1
    return Memory(
        parameters=frozen + size * ((3 if joint else 1) + states),
        gradients=size * (2 if joint else 1) * (1 if unroll == 1 else length),
        moments=moments * size * (1 + states),
        activations=int(a_row * batch_size * passes),
    )


def check_fits(memory: Memory, device: torch.device) -> None:
    """Refuses what does not fit.

    Raises:
        ParameterError: the estimate is more than what is free on the device; it names the remedies.
    """
    free = free_bytes(device)
    if free is not None and memory.total > free:
        raise ParameterError(
            f"The training is estimated to take {memory}, and {device} has {_told(free)} free. Use a smaller "
            "batch_size, checkpoint=True or a smaller unroll, precision='bfloat16', or a smaller module."
        )


def usable(owner: str, device: str) -> torch.device:
    """The device of this name, "auto" for the GPU where torch sees one, else the CPU.

    Raises:
        ParameterError: torch knows no such device, or cannot use it here.
    """
    auto = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device(auto if device == "auto" else device)
        torch.empty(0, device=place)
    except (RuntimeError, TypeError, AssertionError, NotImplementedError) as error:  # torch's words differ by device
        reason = str(error).splitlines()[0][:200]
        expected = f"'auto', 'cpu', or another device that torch can use here ({reason})"
        raise ParameterError.of("device", owner, expected, device) from error
    return place


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory could not be had, of a GPU or of the machine."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def free_bytes(device: torch.device) -> int | None:
    """What is free on the device; None where that cannot be told."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch's, of what was freed
        return int(torch.cuda.mem_get_info(device)[0]) + held
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return None


def _saved(of: Functional, params: Params, x: Any) -> int:
    """Bytes that a training pass over these rows keeps, each piece of memory once, without the parameters'."""
    params = [p.requires_grad_() for p in params]
    own = {p.untyped_storage().data_ptr() for p in params}
    own |= {p.untyped_storage().data_ptr() for p in of.module.parameters()}
    seen: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        memory = tensor.untyped_storage()
        if (place := memory.data_ptr()) not in own:
            size = min(memory.nbytes(), tensor.numel() * tensor.element_size())  # not what lies around a view
            seen[place] = max(seen.get(place, 0), size)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        out = of.outputs(params, of.buffers(), x.to(of.device), mode="train")  # kept: freed memory would be seen again
    del out
    return sum(seen.values())


def _told(size: int) -> str:
    return f"{size / _GIB:.2f} GiB" if size >= _GIB / 10 else f"{size / 2**20:.1f} MiB"

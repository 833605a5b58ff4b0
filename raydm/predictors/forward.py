"""The forward pass of a stack of modules: fused matrix products for fully connected ones, `torch.func.vmap` for others.

Axes: R rollouts, B rows, D features, C outputs. Outputs are (R, C, B), rows last: softmax over a short axis C is
several times faster when it is not the innermost one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, baddbmm, nn
from torch.func import functional_call, vmap

Forward = Callable[[Mapping[str, Tensor], Tensor], Tensor]
Layers = list[tuple[str, nn.Module]]


def stacked_forward(module: nn.Module) -> Forward:
    """A function of stacked parameters (each (R, ...), by name) and rows x (B, D) or (R, B, D), giving (R, C, B)."""
    layers = fully_connected(module)
    return _vmapped(module) if layers is None else _fused(layers)


def _vmapped(module: nn.Module) -> Forward:
    def one(params: dict[str, Tensor], x: Tensor) -> Tensor:
        # tie_weights would swap a layer that stands twice in the module twice, and restore it wrongly
        out: Tensor = functional_call(module, params, (x,), tie_weights=False)
        return out

    shared, own = vmap(one, in_dims=(0, None)), vmap(one)

    def forward(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        out: Tensor = (shared if x.ndim == 2 else own)(dict(params), x)
        return out.transpose(-1, -2)

    return forward


def fully_connected(module: nn.Module) -> Layers | None:
    """The layers with their names' prefixes, if these are all nn.Linear with bias and nn.ReLU, in sequence."""
    if type(module) is nn.Linear and module.bias is not None:
        return [("", module)]
    if type(module) is not nn.Sequential:
        return None
    layers = [(f"{name}.", layer) for name, layer in module._modules.items() if layer is not None]
    if len({id(m) for _, m in layers if type(m) is nn.Linear}) < sum(type(m) is nn.Linear for _, m in layers):
        return None  # one layer used twice has one set of parameters
    plain = all((type(m) is nn.Linear and m.bias is not None) or type(m) is nn.ReLU for _, m in layers)
    return layers if plain and type(layers[0][1]) is nn.Linear else None


def _fused(layers: Layers) -> Forward:
    def forward(params: Mapping[str, Tensor], x: Tensor) -> Tensor:
        h = x.transpose(-1, -2)
        for prefix, layer in layers:
            if isinstance(layer, nn.ReLU):
                h = h.relu()
                continue
            weight, bias = params[f"{prefix}weight"], params[f"{prefix}bias"].unsqueeze(-1)
            if h.ndim == 2:  # rows shared by all rollouts: one product with all R weights stacked
                h = (weight.flatten(0, 1) @ h).view(*weight.shape[:2], -1) + bias
            else:
                h = baddbmm(bias, weight, h)
        return h

    return forward

"""Networks: the data value estimator h_phi, and the small predictors f_theta that are trained as stacks.

Predictors' readouts start at zero: an empty training set then leaves a constant predictor, with no special case.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class DataValueEstimator(nn.Module):
    """h_phi(x, y, marginal information): how likely each example should be used.

    DVRL's released code: concat(x, y) -> FC 100 -> FC 100 -> FC 100 -> FC 10, then concat the marginal information
    -> FC 10 -> FC 1 -> sigmoid, ReLU between. The sigmoid is left to the policy, which works with logits.

    Args:
        n_features: D.
        n_outputs: C, the width of y (one-hot for classes, the target itself for regression).
        n_evidence: E, the width of the marginal information.
        hidden: width of the first layers.
        layers: how many there are.
        combined: width of the layers before and after the marginal information comes in.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        n_evidence: int,
        *,
        hidden: int = 100,
        layers: int = 3,
        combined: int = 10,
    ) -> None:
        super().__init__()
        self.n_features, self.hidden = n_features, hidden
        widths = [n_features + n_outputs, *[hidden] * layers, combined]
        self.body = nn.Sequential(*_relu_layers(widths))
        self.head = nn.Sequential(*_relu_layers([combined + n_evidence, combined]), nn.Linear(combined, 1))

    def forward(self, x: Tensor, y: Tensor, evidence: Tensor) -> Tensor:
        """Log-odds of using each example.

        Args:
            x: (N, D).
            y: (N, C).
            evidence: (N, E).

        Returns:
            (N,).
        """
        body = self.body(torch.cat([x, y], dim=-1))
        logits: Tensor = self.head(torch.cat([body, evidence], dim=-1)).squeeze(-1)
        return logits


class MixingEstimator(nn.Module):
    """h_theta(x, y, k) of MixRL (Hwang, Whang 2021, section 4): how likely mixing by an option should be done.

    concat(x, y, one-hot of the option) -> FC 256 -> FC 256 -> FC 100 -> FC 64 -> FC 1 -> sigmoid, ReLU between. The
    sigmoid is left to the policy.

    Args:
        n_features: D.
        n_outputs: C, the width of y.
        n_options: O.
        hidden: widths of the layers.
    """

    def __init__(
        self, n_features: int, n_outputs: int, n_options: int, *, hidden: Sequence[int] = (256, 256, 100, 64)
    ) -> None:
        super().__init__()
        self.n_options = n_options
        widths = [n_features + n_outputs + n_options, *hidden]
        self.layers = nn.Sequential(*_relu_layers(widths), _zero(nn.Linear(widths[-1], 1)))

    def forward(self, x: Tensor, y: Tensor, option: Tensor) -> Tensor:
        """Log-odds of mixing: (N,); x (N, D), y (N, C), option (N,) int64. Untrained, they are 0."""
        one_hot = nn.functional.one_hot(option, self.n_options).to(x)
        logits: Tensor = self.layers(torch.cat([x, y, one_hot], dim=-1)).squeeze(-1)
        return logits


def _relu_layers(widths: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return layers


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def linear(n_features: int, n_outputs: int) -> nn.Module:
    """One linear layer from zero: multinomial logistic regression under cross-entropy, else linear regression."""
    return _zero(nn.Linear(n_features, n_outputs))


def mlp(n_features: int, n_outputs: int, hidden: Sequence[int] = (100, 100), *, layer_norm: bool = False) -> nn.Module:
    """Fully connected ReLU layers of the widths ``hidden``, each normalised before its ReLU or not; then the readout."""
    layers: list[nn.Module] = []
    for into, out in pairwise([n_features, *hidden]):
        layers += [nn.Linear(into, out), *([nn.LayerNorm(out)] if layer_norm else []), nn.ReLU()]
    return nn.Sequential(*layers, _zero(nn.Linear([n_features, *hidden][-1], n_outputs)))


def small_cnn(image_shape: Sequence[int], n_outputs: int, channels: Sequence[int] = (16, 32)) -> nn.Module:
    """Convolutions 3x3 with ReLU and 2x2 max-pooling, then the readout.

    Args:
        image_shape: (H, W, channels) of the images that the D features unfold to, row-major.
        n_outputs: C.
        channels: the convolutions' widths; each halves H and W, so both must be >= 2 ** len(channels).
    """
    height, width, into = image_shape
    layers: list[nn.Module] = [nn.Unflatten(-1, (height, width, into)), _ChannelsFirst()]
    for out in channels:
        layers += [nn.Conv2d(into, out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        into, height, width = out, height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(-3), _zero(nn.Linear(into * height * width, n_outputs)))


class _ChannelsFirst(nn.Module):
    """(..., H, W, channels) -> (..., channels, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(-1, -3)

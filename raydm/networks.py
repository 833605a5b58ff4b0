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
        self.n_features, self.n_outputs, self.n_options = n_features, n_outputs, n_options
        self.hidden = tuple(hidden)
        widths = [n_features + n_outputs + n_options, *hidden]
        self.layers = nn.Sequential(*_relu_layers(widths), _zero(nn.Linear(widths[-1], 1)))

    def forward(self, x: Tensor, y: Tensor, option: Tensor) -> Tensor:
        """Log-odds of mixing: (N,); x (N, D), y (N, C), option (N,) int64. Untrained, they are 0."""
        one_hot = nn.functional.one_hot(option, self.n_options).to(x)
        logits: Tensor = self.layers(torch.cat([x, y, one_hot], dim=-1)).squeeze(-1)
        return logits


class WeightEstimator(nn.Module):
    """The weight network of Meta-Weight-Net (Shu et al. 2019), which may see more than the loss.

    What it sees -> FC 100 -> FC 1 -> sigmoid, ReLU between. Its readout starts at zero: untrained, every example has
    the same weight.

    Args:
        n_inputs: how many numbers it sees of an example.
        hidden: widths of the layers.
    """

    def __init__(self, n_inputs: int, *, hidden: Sequence[int] = (100,)) -> None:
        super().__init__()
        widths = [n_inputs, *hidden]
        self.layers = nn.Sequential(*_relu_layers(widths), _zero(nn.Linear(widths[-1], 1)))

    def forward(self, seen: Tensor) -> Tensor:
        """Weights (N,) in (0, 1); seen is (N, n_inputs)."""
        weights: Tensor = self.layers(seen).squeeze(-1).sigmoid()
        return weights


class PolicyRegion(nn.Module):
    """The policy region generator of AdaMixUp (Guo, Mao, Zhang 2019): where the lambda of a pair may lie.

    concat(x, x') -> FC -> ... -> FC 3 -> softmax, ReLU between. Difference from the paper, whose generator is a copy of
    its image classifier, and from the released code, which shows it one sum of x and x' with random weights: here it
    sees both, so that a pair has one region, also after learning.

    Args:
        n_features: D.
        hidden: widths of the layers.
    """

    def __init__(self, n_features: int, *, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        self.n_features, self.hidden = n_features, tuple(hidden)
        widths = [2 * n_features, *hidden]
        self.layers = nn.Sequential(*_relu_layers(widths), _zero(nn.Linear(widths[-1], 3)))

    def forward(self, x: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and Delta (P,) of pairs x (P, D) and x' (P, D): lambda is in [alpha, alpha + Delta].

        Both are >= 0, and their sum is at most 1. Untrained, each is 1/3.
        """
        shares = self.layers(torch.cat([x, other], dim=-1)).softmax(-1)
        return shares[..., 0], shares[..., 1]


class IntrusionNetwork(nn.Module):
    """f and the intrusion discriminator phi of AdaMixUp (Guo, Mao, Zhang 2019), one body with two readouts.

    As in the released code phi shares all layers of f but the last.

    Args:
        n_features: D.
        n_outputs: C.
        hidden: widths of the body's layers.
    """

    def __init__(self, n_features: int, n_outputs: int, *, hidden: Sequence[int] = (128, 128)) -> None:
        super().__init__()
        widths = [n_features, *hidden]
        self.body = nn.Sequential(*_relu_layers(widths))
        self.readout, self.discriminator = nn.Linear(widths[-1], n_outputs), nn.Linear(widths[-1], 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Of rows x (B, D): the predicted targets (B, C), and the log-odds (B,) that a row is a real example."""
        h = self.body(x)
        return self.readout(h), self.discriminator(h).squeeze(-1)


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
    """Fully connected ReLU layers of the widths ``hidden``, normalised before the ReLU or not; then the readout."""
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

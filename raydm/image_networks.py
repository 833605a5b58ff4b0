"""Residual networks for images: those of the CIFAR papers built here, ResNet-18 and ResNet-34 from torchvision.

Each factory is a picklable maker (D, C) -> module, as predictors want it; D, the size of the rows' last axis, tells
nothing of an image, so the channels are named. The modules map images (B, channels, H, W), floating point or uint8,
to (B, C); they start from a readout of zero, as all predictors here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from raydm.checks import check_choice, check_integer
from raydm.errors import DataError, ParameterError
from raydm.vision import torchvision

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
CIFAR10: Statistics = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Means and deviations of the channels, of pixels in [0, 1]."""


@dataclass(frozen=True)
class CifarResNet:
    """The CIFAR form of residual networks (He, Zhang, Ren, Sun 2016, section 4.2): 6n + 2 layers, no first pooling.

    Three stages of n blocks with 16, 32 and 64 channels; shortcuts without parameters (option A: every other pixel,
    new channels zero). ResNet-32 has 0.46 million parameters; ResNet-8 and ResNet-14 suit two cores.

    Attributes:
        depth: 8, 14, 20, 32, 44, 56, ... layers.
        channels: of the images.
        widths: of the three stages.
        norm: "batch" (the paper's), or "group" (Wu, He 2018), for batches too small or too mixed for statistics.
        normalize: means and deviations of the channels, taken off first; None for none.
    """

    depth: int = 32
    channels: int = 3
    widths: tuple[int, int, int] = (16, 32, 64)
    norm: Literal["batch", "group"] = "batch"
    normalize: Statistics | None = CIFAR10

    def __post_init__(self) -> None:
        """Raises ParameterError where a value is out of its range."""
        check_integer("CifarResNet", "channels", self.channels, 1)
        check_choice("CifarResNet", "norm", self.norm, ("batch", "group"))
        if self.depth < 8 or (self.depth - 2) % 6:
            raise ParameterError.of("depth", "CifarResNet", "6n + 2 (8, 14, 20, 32, 44, 56, ...)", self.depth)
        _check_statistics("CifarResNet", self.channels, self.normalize)

    def __call__(self, n_features: int, n_outputs: int) -> nn.Module:
        """The module for C = n_outputs."""
        first = self.widths[0]
        layers: list[nn.Module] = [_Pixels(self.normalize), _conv(self.channels, first), _norm(self.norm, first)]
        layers.append(nn.ReLU())
        plan = _plan([first, *self.widths], (self.depth - 2) // 6)
        layers += [_Block(into, out, stride, self.norm) for into, out, stride in plan]
        readout = _zero(nn.Linear(self.widths[-1], n_outputs))
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), readout)


@dataclass(frozen=True)
class WideResNet:
    """Wide residual networks (Zagoruyko, Komodakis 2016, table 1): pre-activated blocks, 6n + 4 layers.

    WideResNet-28-10 has 36.5 million parameters.

    Attributes:
        depth: 10, 16, 22, 28, 40, ... layers.
        widen: the factor by which the stages of 16, 32 and 64 channels are wider.
        dropout: between the two convolutions of a block, in [0, 1) (the paper's 0 or 0.3).
        channels: of the images.
        normalize: means and deviations of the channels, taken off first; None for none.
    """

    depth: int = 28
    widen: int = 10
    dropout: float = 0.0
    channels: int = 3
    normalize: Statistics | None = CIFAR10

    def __post_init__(self) -> None:
        """Raises ParameterError where a value is out of its range."""
        check_integer("WideResNet", "widen", self.widen, 1)
        check_integer("WideResNet", "channels", self.channels, 1)
        if self.depth < 10 or (self.depth - 4) % 6:
            raise ParameterError.of("depth", "WideResNet", "6n + 4 (10, 16, 22, 28, 40, ...)", self.depth)
        if not 0 <= self.dropout < 1:
            raise ParameterError.of("dropout", "WideResNet", "in [0, 1)", self.dropout)
        _check_statistics("WideResNet", self.channels, self.normalize)

    def __call__(self, n_features: int, n_outputs: int) -> nn.Module:
        """The module for C = n_outputs."""
        widths = [16, *(width * self.widen for width in (16, 32, 64))]
        layers: list[nn.Module] = [_Pixels(self.normalize), _conv(self.channels, 16)]
        plan = _plan(widths, (self.depth - 4) // 6)
        layers += [_WideBlock(into, out, stride, self.dropout) for into, out, stride in plan]
        layers += [nn.BatchNorm2d(widths[-1]), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        return nn.Sequential(*layers, _zero(nn.Linear(widths[-1], n_outputs)))


@dataclass(frozen=True)
class ResNet:
    """ResNet-18 or ResNet-34 (He, Zhang, Ren, Sun 2016, table 1), torchvision's.

    Attributes:
        depth: 18 or 34.
        stem: "cifar": a first convolution 3x3 of stride 1 and no pooling, for small images; or "imagenet", the
            paper's 7x7 of stride 2 and max-pooling, as Hu et al. (2019) use with 32 x 32 images.
        weights: a safetensors file of torchvision's state, such as one trained on ImageNet, to start from; its readout
            and, where it is of another shape, its first convolution are left out. None for random ones.
        normalize: means and deviations of the channels, taken off first; None for none.
    """

    depth: Literal[18, 34] = 18
    stem: Literal["cifar", "imagenet"] = "cifar"
    weights: Path | None = None
    normalize: Statistics | None = CIFAR10

    def __post_init__(self) -> None:
        """Raises ParameterError where a value is out of its range."""
        if self.depth not in (18, 34):
            raise ParameterError.of("depth", "ResNet", "18 or 34", self.depth)
        check_choice("ResNet", "stem", self.stem, ("cifar", "imagenet"))
        _check_statistics("ResNet", 3, self.normalize)

    def __call__(self, n_features: int, n_outputs: int) -> nn.Module:
        """The module for C = n_outputs.

        Raises:
            MissingPackageError: torchvision is not installed.
            DataError: the weights cannot be read, or are of another network.
        """
        models = torchvision(f"ResNet-{self.depth}").models
        module: nn.Module = getattr(models, f"resnet{self.depth}")(weights=None, num_classes=n_outputs)
        if self.stem == "cifar":
            module.conv1, module.maxpool = _conv(3, 64), nn.Identity()
        if self.weights is not None:
            _take_over(module, self.weights)
        module.fc = _zero(nn.Linear(512, n_outputs))
        return nn.Sequential(_Pixels(self.normalize), module)


def _take_over(module: nn.Module, file: Path) -> None:
    """Loads a saved state but for the readout, and for a first convolution of another shape."""
    try:
        saved = load_file(file)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{file}: cannot be read as safetensors ({error}). Save a state dict there.") from error
    own = module.state_dict()
    left_out = {"fc.weight", "fc.bias"}
    if "conv1.weight" in saved and saved["conv1.weight"].shape != own["conv1.weight"].shape:
        left_out.add("conv1.weight")
    taken = {name: tensor for name, tensor in saved.items() if name not in left_out}
    expected = {name: t.shape for name, t in own.items() if name not in left_out}
    if {name: t.shape for name, t in taken.items()} != expected:
        raise DataError(f"{file}: holds another network than this one. Give torchvision's state dict of its depth.")
    module.load_state_dict(taken, strict=False)


class _Pixels(nn.Module):
    """uint8 pixels become [0, 1]; then the channels are brought to mean 0 and deviation 1."""

    location: Tensor
    scale: Tensor

    def __init__(self, statistics: Statistics | None) -> None:
        super().__init__()
        for name, values in zip(("location", "scale"), statistics or ((0.0,), (1.0,)), strict=True):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_floating_point():
            x = x.to(self.location.dtype) / 255
        return (x - self.location) / self.scale


class _Block(nn.Module):
    """Two convolutions 3x3 and a shortcut, ReLU after the sum (He et al. 2016)."""

    def __init__(self, into: int, out: int, stride: int, norm: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(into, out, stride), _norm(norm, out), nn.ReLU(), _conv(out, out), _norm(norm, out)
        )
        self.stride, self.more = stride, out - into

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x[:, :, :: self.stride, :: self.stride]
        if self.more:
            before = self.more // 2
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, before, self.more - before))
        return torch.relu(self.body(x) + shortcut)


class _WideBlock(nn.Module):
    """BN-ReLU-conv twice, dropout between, and a 1x1 convolution as the shortcut where the width changes."""

    def __init__(self, into: int, out: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.BatchNorm2d(into), nn.ReLU())
        middle: list[nn.Module] = [_conv(into, out, stride), nn.BatchNorm2d(out), nn.ReLU()]
        self.body = nn.Sequential(*middle, *([nn.Dropout(dropout)] if dropout else []), _conv(out, out))
        self.shortcut = None if into == out and stride == 1 else _conv(into, out, stride, size=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        shortcut = x if self.shortcut is None else self.shortcut(h)
        out: Tensor = self.body(h) + shortcut
        return out


def _plan(widths: Sequence[int], blocks: int) -> list[tuple[int, int, int]]:
    """Channels in, channels out and stride of each block; a stage's first changes the width, and halves all but one."""
    return [
        (into if j == 0 else out, out, 2 if i and j == 0 else 1)
        for i, (into, out) in enumerate(pairwise(widths))
        for j in range(blocks)
    ]


def _conv(into: int, out: int, stride: int = 1, *, size: int = 3) -> nn.Conv2d:
    """A convolution without bias, its weights drawn for ReLU (He et al. 2015, equation 12, backward)."""
    conv = nn.Conv2d(into, out, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return conv


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.GroupNorm(math.gcd(8, channels), channels)


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _check_statistics(owner: str, channels: int, statistics: Statistics | None) -> None:
    if statistics is not None and any(len(values) not in (1, channels) for values in statistics):
        expected = f"None, or {channels} means and {channels} deviations, one a channel"
        raise ParameterError.of("normalize", owner, expected, statistics)


MakeImageModule = Callable[[int, int], nn.Module]
IMAGE_NETWORKS: dict[str, MakeImageModule] = {
    "resnet-8": CifarResNet(8),
    "resnet-14": CifarResNet(14),
    "resnet-32": CifarResNet(32),
    "wide-resnet-28-10": WideResNet(28, 10),
    "resnet-18": ResNet(18),
    "resnet-34": ResNet(34),
}
"""By name, for images of three channels like CIFAR-10's."""

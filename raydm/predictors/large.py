"""Large modules by name: small networks for tables, residual networks for images, encoders for text.

A name and arguments, as `Module.config` gives them, rebuild the `Module` through `make_module`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from raydm import networks
from raydm.checks import check_choice
from raydm.errors import ParameterError, one_of
from raydm.image_networks import CIFAR10, IMAGENET, CifarResNet, ResNet, WideResNet
from raydm.predictors.module import MakeModule, Module
from raydm.predictors.optimizers import SGD, Adam, AdamW

Reads = Literal["table", "image", "text"]
OPTIMIZERS: Mapping[str, Any] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}
NORMALIZE: Mapping[str, Any] = {"cifar10": CIFAR10, "imagenet": IMAGENET}


@dataclass(frozen=True)
class Recipe:
    """What a name stands for.

    Attributes:
        reads: rows of encoded tables (N, D), images (N, channels, H, W), or token ids (N, L).
        make: maps the network's own arguments to a maker (D, C) -> module.
        training: how it is trained unless told otherwise: optimizer and its settings, batch_size.
    """

    reads: Reads
    make: Callable[..., MakeModule]
    training: Mapping[str, Any]


def _linear() -> MakeModule:
    return networks.linear


def _mlp(*, hidden: Sequence[int] = (100, 100), layer_norm: bool = False) -> MakeModule:
    return partial(networks.mlp, hidden=tuple(hidden), layer_norm=layer_norm)


def _cifar_resnet(
    depth: int, *, normalize: Any = None, widths: Sequence[int] = (16, 32, 64), **more: Any
) -> MakeModule:
    a, b, c = widths
    return CifarResNet(depth, normalize=_statistics(normalize), widths=(a, b, c), **more)


def _wide_resnet(*, depth: int = 28, widen: int = 10, normalize: Any = None, **more: Any) -> MakeModule:
    return WideResNet(depth, widen, normalize=_statistics(normalize), **more)


def _resnet(
    depth: Literal[18, 34], *, normalize: Any = None, weights: str | None = None, channels: int = 3, **more: Any
) -> MakeModule:
    if channels != 3:
        raise ParameterError.of("channels", f"resnet-{depth}", "3, as torchvision has it; or use resnet-32", channels)
    return ResNet(depth, weights=None if weights is None else Path(weights), normalize=_statistics(normalize), **more)


def _text(*, model: str | None = None, **more: Any) -> MakeModule:
    from raydm.text import MakeTextClassifier

    if not model:
        raise ParameterError(
            "The predictor 'text' needs a model: the folder of an encoder of Hugging Face's transformers, or its name "
            "on the hub, such as bert-base-uncased. Name it: --model, model=, or 'text:NAME'."
        )
    return MakeTextClassifier(str(model), **more)


# Hu et al. (2019, section 5; their release): BERT by Adam with 4e-5 and weight decay .01, ResNet-34 from ImageNet's
# weights by SGD with 1e-3 and momentum .9. The CIFAR networks start from scratch: .1 for 128 examples a batch
# (He et al. 2016, section 4.2; Zagoruyko, Komodakis 2016, section 3), in proportion for 32. Batch sizes are ours.
_TABLE = {
    "optimizer": "adam",
    "lr": 3e-3,
    "weight_decay": 0.0,
    "batch_size": 32,
}  # SGD diverges where weights are far from 1
_SCRATCH = {"optimizer": "sgd", "lr": 0.025, "momentum": 0.9, "weight_decay": 1e-4, "batch_size": 32}
_TUNED = {"optimizer": "sgd", "lr": 1e-3, "momentum": 0.9, "weight_decay": 0.0, "batch_size": 32}
_BERT = {"optimizer": "adamw", "lr": 4e-5, "weight_decay": 0.01, "batch_size": 8}

MODULES: Mapping[str, Recipe] = {
    "linear": Recipe("table", _linear, _TABLE),
    "mlp": Recipe("table", _mlp, _TABLE),
    "resnet-8": Recipe("image", partial(_cifar_resnet, 8), _SCRATCH),
    "resnet-14": Recipe("image", partial(_cifar_resnet, 14), _SCRATCH),
    "resnet-32": Recipe("image", partial(_cifar_resnet, 32), _SCRATCH),
    "wide-resnet-28-10": Recipe("image", _wide_resnet, _SCRATCH | {"weight_decay": 5e-4}),
    "resnet-18": Recipe("image", partial(_resnet, 18), _TUNED),
    "resnet-34": Recipe("image", partial(_resnet, 34), _TUNED),
    "text": Recipe("text", _text, _BERT),
}


def named(predictor: str) -> tuple[str, dict[str, Any]]:
    """A name's key in `MODULES` and the arguments that it holds: "text:NAME" is "text" with {"model": NAME}.

    Raises:
        ParameterError: there is no such name.
    """
    name, _, model = predictor.partition(":") if predictor.startswith("text:") else (predictor, "", "")
    if name not in MODULES:
        expected = one_of(MODULES) + ", or 'text:NAME' with the name or folder of a model"
        raise ParameterError.of("predictor", "raydm", expected, predictor)
    return name, {"model": model} if model else {}


def make_module(predictor: str, **params: Any) -> Module:
    """A `Module` from a name.

    Args:
        predictor: a key of `MODULES`, or "text:NAME".
        params: of its training: optimizer ("sgd", "adam", "adamw"), lr, momentum (SGD's), weight_decay, batch_size,
            device, precision; all others are the network's, such as hidden of "mlp", model and dropout of "text",
            channels and normalize of images (normalize: "cifar10", "imagenet", or means and deviations).

    Raises:
        ParameterError: an unknown name, an argument that it does not take, or one out of its range.
        MissingPackageError: its package is not installed.
    """
    name, own = named(predictor)
    recipe = MODULES[name]
    spec = {"name": name, **own, **params}
    given = {**own, **params}
    training = {**recipe.training, **{k: given.pop(k) for k in _TRAINING if k in given}}
    optimizer = training.pop("optimizer")
    check_choice(f"the predictor {name!r}", "optimizer", optimizer, OPTIMIZERS)
    if optimizer != "sgd" and "momentum" not in params:
        training.pop("momentum", None)
    settings = {k: training.pop(k) for k in ("lr", "momentum", "weight_decay") if k in training}
    try:
        made = Module(recipe.make(**given), optimizer=OPTIMIZERS[optimizer](**settings), epochs=1, **training)
    except (TypeError, ValueError) as error:
        if isinstance(error, ParameterError):
            raise
        raise ParameterError(f"The predictor {name!r} cannot be made with {params}: {error}.") from error
    made.spec = spec
    return made


_TRAINING = ("optimizer", "lr", "momentum", "weight_decay", "batch_size", "device", "precision")


def _statistics(normalize: Any) -> Any:
    """Means and deviations by name, or as JSON holds them; None for none."""
    if normalize is None:
        return None
    if isinstance(normalize, str):
        check_choice("an image network", "normalize", normalize, NORMALIZE)
        return NORMALIZE[normalize]
    means, deviations = (tuple(float(v) for v in values) for values in normalize)
    return means, deviations

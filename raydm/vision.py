"""The one place that imports torchvision, whether or not its operators fit the torch that is installed.

torchvision's wheel on the registry is built for CUDA. Beside a CPU torch its compiled operators do not load, and its
import ends in "operator torchvision::nms does not exist", because it registers Python parts of two operators that only
the compiled library declares. While it is installed so, transformers' image code, which imports it, fails alike.
Declaring the two operators, without kernels, makes models, transforms and data sets work; a call of one of the two
still fails, in torch's own words.
"""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

import torch

from raydm.errors import MissingPackageError

# As torchvision's own library declares them (torchvision/csrc/ops/nms.cpp, csrc/ops/quantized/cpu/qnms_kernel.cpp)
_SCHEMAS = ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # fmt: skip
_declared: list[torch.library.Library] = []  # the declarations live as long as this object


def torchvision(purpose: str) -> ModuleType:
    """The module torchvision; call it before anything else imports torchvision or transformers' image code.

    Args:
        purpose: what it is needed for, the subject of the message where it is absent.

    Raises:
        MissingPackageError: torchvision is not installed.
    """
    if importlib.util.find_spec("torchvision") is None:
        raise MissingPackageError.of("torchvision", purpose, 'pip install "raydm[vision]"')
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error) or _declared:
            raise
    _declare_operators()  # only now: where the compiled library fits, a second declaration would clash with its own
    return importlib.import_module("torchvision")


def mend() -> None:
    """Makes torchvision importable where it is installed; for what imports it by itself, such as transformers."""
    if importlib.util.find_spec("torchvision") is not None:
        torchvision("transformers' image code")


def _declare_operators() -> None:
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema in _SCHEMAS:
        library.define(schema)  # type: ignore[no-untyped-call]
    _declared.append(library)

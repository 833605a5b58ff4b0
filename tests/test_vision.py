"""torchvision beside a torch that lacks its operators; each case in an interpreter of its own, imports being global."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

has_torchvision = importlib.util.find_spec("torchvision") is not None
has_transformers = importlib.util.find_spec("transformers") is not None
needs_torchvision = pytest.mark.skipif(not has_torchvision, reason="torchvision is not installed")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240)


@needs_torchvision
def test_models_transforms_and_data_sets_work():
    code = """
import torch
from raydm.vision import torchvision
module = torchvision("the test").models.resnet18(weights=None, num_classes=10)
assert module(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
assert torchvision("the test") is torchvision("again")
import torchvision.datasets
from torchvision.transforms import v2
x = torch.arange(4.0).reshape(1, 2, 2)
assert torch.equal(v2.RandomHorizontalFlip(1.0)(x), x.flip(-1))
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


@needs_torchvision
@pytest.mark.skipif(not has_transformers, reason="transformers is not installed")
def test_transformers_image_code_imports_afterwards():
    code = """
from raydm.vision import mend
mend()
import transformers.image_utils
from transformers import BertForMaskedLM, ViTImageProcessor
import numpy as np
out = ViTImageProcessor()(np.zeros((32, 32, 3), np.uint8), return_tensors="pt")
assert out["pixel_values"].shape == (1, 3, 224, 224)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_where_it_is_absent_the_remedy_is_named_and_mending_is_nothing():
    code = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "torchvision" else find(name, *rest)
from raydm.errors import MissingPackageError
from raydm.vision import mend, torchvision
mend()
assert "torchvision" not in sys.modules
try:
    torchvision("ResNet-18")
except MissingPackageError as error:
    assert str(error).startswith("ResNet-18 needs") and 'pip install "raydm[vision]"' in str(error)
else:
    raise SystemExit("no error")
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_raydm_imports_torchvision_nowhere_else():
    done = run("import sys, raydm.image_networks; assert 'torchvision' not in sys.modules")
    assert done.returncode == 0, done.stderr

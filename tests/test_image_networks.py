"""Residual networks: parameters against the papers, and that all derivatives go through."""

from __future__ import annotations

import importlib.util
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call, jvp

from raydm.errors import DataError, MissingPackageError, ParameterError
from raydm.image_networks import IMAGE_NETWORKS, CifarResNet, ResNet, WideResNet

no_torchvision = importlib.util.find_spec("torchvision") is None
needs_torchvision = pytest.mark.skipif(no_torchvision, reason="torchvision is not installed: pip install raydm[vision]")
SMALL = [
    pytest.param(CifarResNet(8, normalize=None), id="resnet-8"),
    pytest.param(CifarResNet(8, norm="group"), id="resnet-8-group"),
    pytest.param(WideResNet(10, 1), id="wide"),
    pytest.param(ResNet(18), id="resnet-18", marks=needs_torchvision),
]


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def images(n=4, side=8, dtype=torch.float64):
    return torch.rand(n, 3, side, side, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_the_cifar_form_has_the_paper_s_parameters():
    # He et al. 2016, table 6: 0.27 million at 20 layers, 0.46 at 32, 0.66 at 44, 0.85 at 56.
    for depth, millions in {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85}.items():
        assert n_parameters(CifarResNet(depth)(32, 10)) / 1e6 == pytest.approx(millions, abs=0.005)
    # ResNet-8, one block a stage: kernels 3x3, norms with two numbers a channel, the readout
    convolutions = 3 * 16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64
    norms = 2 * (3 * 16 + 2 * 32 + 2 * 64)
    assert n_parameters(CifarResNet(8)(32, 10)) == 9 * convolutions + norms + 64 * 10 + 10


def test_the_wide_form_has_the_paper_s_parameters():
    # Zagoruyko, Komodakis 2016, table 4: 36.5 million for 28-10, 8.9 for 40-4, 11.0 for 16-8.
    for (depth, widen), millions in {(28, 10): 36.5, (40, 4): 8.9, (16, 8): 11.0}.items():
        with torch.device("meta"):
            assert n_parameters(WideResNet(depth, widen)(32, 10)) / 1e6 == pytest.approx(millions, abs=0.06)


@needs_torchvision
@pytest.mark.parametrize(("depth", "count"), [(18, 11_689_512), (34, 21_797_672)])
def test_torchvision_s_have_their_published_parameters(depth, count):
    assert n_parameters(ResNet(depth, stem="imagenet")(224, 1000)) == count
    # The 3x3 stem has 64 * 3 * (49 - 9) fewer
    assert n_parameters(ResNet(depth)(32, 1000)) == count - 64 * 3 * 40


def test_depth_counts_layers():
    # He et al. count the convolutions 3x3 and the readout, Zagoruyko and Komodakis all convolutions.
    cifar = list(CifarResNet(14)(32, 2).modules())
    assert sum(isinstance(m, nn.Conv2d | nn.Linear) for m in cifar) == 14
    assert sum(isinstance(m, nn.Conv2d) for m in WideResNet(16, 2)(32, 2).modules()) == 16


def test_stages_halve_the_image():
    shapes = []
    module = CifarResNet(8)(32, 10)
    for layer in module:
        layer.register_forward_hook(lambda layer, args, out: shapes.append(tuple(out.shape[1:])))
    module(images(2, 32, torch.float32))
    blocks = shapes[4:7]
    assert blocks == [(16, 32, 32), (32, 16, 16), (64, 8, 8)]
    assert shapes[-1] == (10,)


def test_shortcuts_without_parameters_pad_the_channels():
    block = CifarResNet(8)(32, 10)[5]
    nn.init.zeros_(block.body[3].weight)  # only the shortcut is left
    x = torch.rand(2, 16, 8, 8)
    out = block.eval()(x)
    torch.testing.assert_close(out[:, 8:24], x[:, :, ::2, ::2])
    assert (out[:, :8] == 0).all()
    assert (out[:, 24:] == 0).all()


@pytest.mark.parametrize("make", SMALL)
def test_predictors_start_constant_and_can_be_pickled(make):
    module = pickle.loads(pickle.dumps(make))(8, 5).double()
    assert (module(images()) == torch.zeros(4, 5)).all()


@pytest.mark.parametrize("make", SMALL)
def test_slopes_forward_and_twice_backward_agree(make):
    # The slope of each example's loss along a direction s of the parameters: by forward mode, and as the gradient of
    # <g, s>; then the slope of <g, s> in x, against a finite difference.
    torch.manual_seed(0)
    module = make(8, 3).double()
    module[-1 if isinstance(module[-1], nn.Linear) else 1].apply(_randomise_readout)
    x, y = images(6, 16 if isinstance(make, ResNet) else 8), torch.tensor([0, 2, 1, 1, 0, 2])
    names, params = zip(*((n, p.detach()) for n, p in module.named_parameters()), strict=True)
    along = [torch.randn(p.shape, dtype=torch.float64) * p.abs().mean() for p in params]

    def losses(x, *params):
        buffers = {n: b.clone() for n, b in module.named_buffers()}
        out = functional_call(module, dict(zip(names, params, strict=True)) | buffers, (x,))
        return nn.functional.cross_entropy(out, y, reduction="none")

    _, slopes = jvp(lambda *p: losses(x, *p), tuple(params), tuple(along))

    def along_s(x):
        leaves = [p.clone().requires_grad_() for p in params]
        grads = torch.autograd.grad(losses(x, *leaves).sum(), leaves, create_graph=True)
        return sum((g * s).sum() for g, s in zip(grads, along, strict=True))

    torch.testing.assert_close(slopes.sum(), along_s(x).detach(), rtol=1e-8, atol=1e-12)
    pixels = x.clone().requires_grad_()
    (slope_in_x,) = torch.autograd.grad(along_s(pixels), pixels)
    way, h = torch.randn(x.shape, dtype=torch.float64), 1e-9  # so small that no ReLU's sign changes
    finite = (along_s(x + h * way) - along_s(x - h * way)).detach() / (2 * h)
    torch.testing.assert_close((slope_in_x * way).sum(), finite, rtol=1e-4, atol=1e-7)


def _randomise_readout(module):
    readout = module if isinstance(module, nn.Linear) else None
    if readout is not None:
        nn.init.normal_(readout.weight, std=0.1)


def test_bytes_are_read_as_shares_and_normalized():
    make = CifarResNet(8, norm="group")
    torch.manual_seed(0)
    module = make(8, 3)
    module.apply(_randomise_readout)
    x = (images(dtype=torch.float32) * 255).round()
    torch.testing.assert_close(module(x.byte()), module(x / 255))
    location, scale = (torch.tensor(v).view(3, 1, 1) for v in make.normalize)
    torch.testing.assert_close(module[0](x / 255), (x / 255 - location) / scale)


def test_group_normalisation_keeps_examples_apart():
    torch.manual_seed(0)
    module = CifarResNet(8, norm="group")(8, 3)
    module.apply(_randomise_readout)
    x = images(dtype=torch.float32)
    torch.testing.assert_close(module(x)[1:2], module(x[1:2]))


@needs_torchvision
def test_saved_weights_are_taken_over_but_for_the_readout(tmp_path):
    from raydm.vision import torchvision

    saved = torchvision("the test").models.resnet18(weights=None, num_classes=7)
    save_file(saved.state_dict(), tmp_path / "resnet18.safetensors")
    for stem in ("imagenet", "cifar"):
        module = ResNet(18, stem=stem, weights=tmp_path / "resnet18.safetensors")(32, 10)[1]
        assert torch.equal(module.layer3[1].conv2.weight, saved.layer3[1].conv2.weight)
        assert (module.conv1.weight.shape == saved.conv1.weight.shape) == (stem == "imagenet")
        assert (module.fc.weight == 0).all()
    with pytest.raises(DataError, match="another network"):
        ResNet(34, weights=tmp_path / "resnet18.safetensors")(32, 10)
    with pytest.raises(DataError, match="cannot be read"):
        ResNet(18, weights=tmp_path / "absent.safetensors")(32, 10)


@pytest.mark.skipif(not no_torchvision, reason="torchvision is installed")
def test_without_torchvision_the_remedy_is_named():
    with pytest.raises(MissingPackageError, match=r"raydm\[vision\]"):
        ResNet(18)(32, 10)


def test_small_networks_learn():
    # Which quadrant is bright?
    torch.manual_seed(0)
    x = torch.rand(64, 3, 8, 8) * 0.5
    y = torch.arange(64) % 4
    for i in range(64):
        r, c = 4 * (y[i] // 2), 4 * (y[i] % 2)
        x[i, :, r : r + 4, c : c + 4] += 0.4
    module = IMAGE_NETWORKS["resnet-8"](8, 4)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    assert (module.eval()(x).argmax(1) == y).float().mean() > 0.95


def test_refusals():
    for make, kwargs in (
        (CifarResNet, {"depth": 9}),
        (CifarResNet, {"norm": "layer"}),
        (CifarResNet, {"channels": 1}),  # CIFAR-10's statistics are of three
        (WideResNet, {"depth": 27}),
        (WideResNet, {"dropout": 1.0}),
        (WideResNet, {"widen": 0}),
        (ResNet, {"depth": 50}),
        (ResNet, {"stem": "small"}),
    ):
        with pytest.raises(ParameterError):
            make(**kwargs)

"""Architectures, by counting parameters on paper."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from raydm import networks


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_data_value_estimator_has_the_paper_s_layers():
    # D = 5, C = 2, E = 2: (5+2) -> 100 -> 100 -> 100 -> 10, then 10 + 2 -> 10 -> 1, each with biases.
    module = networks.DataValueEstimator(5, 2, 2)
    widths = [(m.in_features, m.out_features) for m in module.modules() if isinstance(m, nn.Linear)]
    assert widths == [(7, 100), (100, 100), (100, 100), (100, 10), (12, 10), (10, 1)]
    assert n_parameters(module) == 800 + 10_100 + 10_100 + 1_010 + 130 + 11


def test_data_value_estimator_gives_one_number_an_example_from_all_three_inputs():
    torch.manual_seed(0)
    module = networks.DataValueEstimator(4, 3, 2, hidden=16, layers=1)
    inputs = [torch.randn(7, width, requires_grad=True) for width in (4, 3, 2)]
    logits = module(*inputs)
    assert logits.shape == (7,)
    for gradient in torch.autograd.grad(logits.sum(), inputs):
        assert (gradient != 0).any(dim=-1).all()


def test_each_example_is_valued_by_itself():
    torch.manual_seed(0)
    module, (x, y, e) = networks.DataValueEstimator(4, 3, 2), (torch.randn(7, w) for w in (4, 3, 2))
    torch.testing.assert_close(module(x, y, e)[2:4], module(x[2:4], y[2:4], e[2:4]))


def test_an_estimator_takes_the_evidence_of_several_sources():
    # Three sources of C = 4 class gaps: the layer that meets them has 10 + 3 * 4 inputs, all others are as they were.
    module = networks.DataValueEstimator(5, 4, 3 * 4, hidden=7)
    widths = [(m.in_features, m.out_features) for m in module.modules() if isinstance(m, nn.Linear)]
    assert widths == [(9, 7), (7, 7), (7, 7), (7, 10), (22, 10), (10, 1)]


def test_mlp_counts():
    # 3 -> 8 -> 4 -> 2: 32 + 36 + 10.
    assert n_parameters(networks.mlp(3, 2, hidden=[8, 4])) == 32 + 36 + 10
    assert n_parameters(networks.mlp(3, 2, hidden=[])) == n_parameters(networks.linear(3, 2)) == 8


def test_cnn_counts_and_shape():
    # 8x8x3 -> conv 16: 3*9*16+16; pool 4x4 -> conv 32: 16*9*32+32; pool 2x2 -> 32*4 -> 10: 1290.
    module = networks.small_cnn((8, 8, 3), 10)
    assert n_parameters(module) == 448 + 4_640 + 1_290
    assert module(torch.zeros(5, 8 * 8 * 3)).shape == (5, 10)


def test_cnn_rounds_odd_sides_down():
    assert networks.small_cnn((7, 5, 1), 2)(torch.zeros(3, 35)).shape == (3, 2)  # 7x5 -> 3x2 -> 1x1


def test_cnn_unfolds_rows_columns_channels():
    # A kernel that copies channel 1 of the pixel itself: the maximum over each 2x2 block of that channel comes out.
    module = networks.small_cnn((2, 4, 2), 1, channels=[1])
    with torch.no_grad():
        convolution = module[2]
        convolution.weight.zero_()
        convolution.bias.zero_()
        convolution.weight[0, 1, 1, 1] = 1
    image = torch.arange(16.0).reshape(2, 4, 2)  # channel 1 holds 1 3 5 7 / 9 11 13 15
    assert module[:-1](image.reshape(1, 16)).tolist() == [[11.0, 15.0]]


@pytest.mark.parametrize(
    "module",
    [networks.linear(16, 3), networks.mlp(16, 3, hidden=[5]), networks.small_cnn((4, 4, 1), 3)],
    ids=["linear", "mlp", "cnn"],
)
def test_predictors_start_constant(module):
    assert (module(torch.randn(9, 16, generator=torch.Generator().manual_seed(0))) == 0).all()


def test_the_policy_region_sees_both_examples_and_keeps_lambda_in_bounds():
    torch.manual_seed(0)
    region = networks.PolicyRegion(4, hidden=[16, 16])
    torch.nn.init.normal_(region.layers[-1].weight, std=5.0)
    pair = [torch.randn(50, 4, requires_grad=True) for _ in range(2)]
    alpha, delta = region(*pair)
    assert alpha.shape == delta.shape == (50,)
    assert (alpha >= 0).all()
    assert (delta >= 0).all()
    assert (alpha + delta <= 1 + 1e-6).all()
    for gradient in torch.autograd.grad((alpha * delta).sum(), pair):
        assert (gradient != 0).any(dim=-1).sum() > 40
    # 8 -> 16 -> 16 -> 3, with biases
    assert n_parameters(region) == 144 + 272 + 51


def test_the_discriminator_shares_all_of_f_but_the_readout():
    torch.manual_seed(0)
    network = networks.IntrusionNetwork(5, 2, hidden=[8, 6])
    targets, real = network(torch.randn(7, 5))
    assert targets.shape == (7, 2)
    assert real.shape == (7,)
    # 5 -> 8 -> 6, then 6 -> 2 and 6 -> 1
    assert n_parameters(network) == 48 + 54 + 14 + 7

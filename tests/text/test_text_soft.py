"""Soft tokens: exact where they are hard, differentiable where they are not."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot

from raydm.errors import ParameterError
from raydm.text import SoftTokens, joined

V, E = 7, 3
IDS = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0]])
POSITIONS = torch.tensor([[1, 3], [0, -1]])
DRAWN = torch.tensor([[6, 2], [3, 1]])  # the last is at position -1
HARD = torch.tensor([[1, 6, 3, 2], [3, 6, 0, 0]])


def table(seed=0):
    torch.manual_seed(seed)
    return nn.Embedding(V, E)


def one_hot_tokens():
    return SoftTokens(IDS, POSITIONS, one_hot(DRAWN, V).float())


def test_one_hot_shares_are_the_hard_tokens_bit_for_bit():
    soft, words = one_hot_tokens(), table()
    assert torch.equal(soft.hard(), HARD)
    assert torch.equal(soft.embedded(words), words(HARD))


def test_the_last_column_is_not_where_unused_positions_go():
    soft = SoftTokens(IDS, torch.tensor([[3], [-1]]), torch.full((2, 1, V), 1 / V))
    words = table()
    out = soft.embedded(words)
    torch.testing.assert_close(out[0, 3], words.weight.mean(0))
    assert torch.equal(out[1], words(IDS[1]))
    assert torch.equal(soft.hard()[1], IDS[1])


def test_the_expected_embedding_and_its_gradient_by_hand():
    probs = torch.rand(2, 2, V, dtype=torch.float64).softmax(-1).requires_grad_()
    words = table().double()
    out = SoftTokens(IDS, POSITIONS, probs).embedded(words)
    torch.testing.assert_close(out[0, 1], probs[0, 0] @ words.weight)
    torch.testing.assert_close(out[0, 2], words.weight[3])
    slope = torch.randn_like(out)
    (gradient,) = torch.autograd.grad((out * slope).sum(), probs)
    expected = torch.stack([slope[0, [1, 3]], torch.stack([slope[1, 0], torch.zeros(E)])]) @ words.weight.T
    torch.testing.assert_close(gradient, expected)


def test_what_a_joint_scheme_needs():
    probs = one_hot(DRAWN, V).float().requires_grad_()
    soft = SoftTokens(IDS, POSITIONS, probs)
    (leaf,) = soft.leaves()
    assert leaf is probs
    assert soft.requires_grad
    assert not soft.detached().requires_grad
    assert (len(soft), soft.ndim, soft.shape, soft.device) == (2, 2, (2, 4), probs.device)
    part = soft[1:]
    assert torch.equal(part.ids, IDS[1:])
    assert len(part) == 1
    assert part.probs.requires_grad
    assert torch.equal(soft[torch.tensor([1, 0])].hard(), HARD[[1, 0]])
    again = soft.detached().with_leaves([probs])
    assert again.leaves()[0] is probs


def test_originals_and_rewritings_in_one():
    both = joined([IDS, one_hot_tokens()])
    assert torch.equal(both.hard(), torch.cat([IDS, HARD]))
    words = table()
    assert torch.equal(both.embedded(words), words(torch.cat([IDS, HARD])))
    for wrong in ([IDS], [IDS[:, :3], one_hot_tokens()]):
        with pytest.raises(ParameterError, match="of one length"):
            joined(wrong)


def test_shapes_and_tables_that_do_not_fit():
    with pytest.raises(ParameterError, match=r"\(N, P, V\)"):
        SoftTokens(IDS, POSITIONS, torch.zeros(2, 3, V))
    with pytest.raises(ParameterError, match="one tokenizer for both"):
        one_hot_tokens().embedded(nn.Embedding(V + 1, E))
    with pytest.raises(ParameterError, match=r"plain torch\.nn\.Embedding"):
        one_hot_tokens().embedded(nn.Embedding(V, E, max_norm=1.0))

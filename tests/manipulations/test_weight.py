"""Weight: the parts of the contract that sure actions can keep, and its normalisations by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.manipulations import FreeWeights, NetworkWeights, Weight
from raydm.manipulations.weight import class_shares
from raydm.networks import WeightEstimator
from raydm.testing import ManipulationContract

CLASSES = Task("classification", 3)


class Sure(ManipulationContract):
    """Nothing is drawn and nothing explored."""

    test_drawing_depends_on_the_generator_alone = None
    test_log_prob_of_drawn_actions_is_finite = None
    test_penalty_is_a_differentiable_scalar = None
    test_gradient_reaches_every_parameter = None


class TestFreeWeights(Sure):
    def make(self, task: Task, examples: Examples) -> Weight:
        return Weight(FreeWeights(len(examples)), task)


class TestNetworkWeights(Sure):
    def make(self, task: Task, examples: Examples) -> Weight:
        return network(task, examples.x.shape[1])


def network(task: Task, d: int) -> Weight:
    torch.manual_seed(0)
    estimator = WeightEstimator(task.n_outputs + 1 + d)
    torch.nn.init.normal_(estimator.layers[-1].weight)
    losses = lambda batch: batch.x.square().sum(-1)
    return Weight(NetworkWeights(estimator, task, losses, features=True), task, straight=False)


def batch(n: int = 4) -> Batch:
    rows = np.array([5, 0, 3, 1])[:n]
    return Batch(rows, torch.randn(n, 2), torch.arange(n) % 3)


def weights(phi: list[float], **arguments) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights (B,), and phi."""
    given = torch.tensor(phi, dtype=torch.float64, requires_grad=True)
    of = batch(len(phi))
    return Weight(FreeWeights(6), CLASSES, **arguments).apply(given.unsqueeze(0), of).w[0], given


def test_linear_weights_by_hand():
    w, _ = weights([1.0, -3.0, 2.0, 1.0])
    assert w.tolist() == [1.0, 0.0, 2.0, 1.0]  # of 4, times 4


def test_softmax_weights_by_hand():
    w, _ = weights([0.0, np.log(3.0)], normalisation="softmax")
    torch.testing.assert_close(w, torch.tensor([0.5, 1.5]).double())
    w, _ = weights([0.0, np.log(9.0)], normalisation="softmax", temperature=2.0)
    torch.testing.assert_close(w, torch.tensor([0.5, 1.5]).double())


def test_where_no_phi_is_above_zero_the_batch_counts_nothing():
    w, phi = weights([0.0, -1.0, 0.0, -2.0])
    assert w.tolist() == [0, 0, 0, 0]
    assert torch.autograd.grad(w[1], phi)[0].tolist() == [0, 4, 0, 0]


def test_weights_beside_a_prior_by_hand():
    prior = torch.tensor([2.0, 0.5, 9.0, 1.0, 9.0, 4.0])
    w, phi = weights([1.0, 1.5, -0.5, 2.0], prior=prior)  # of the rows 5, 0, 3, 1
    assert w.tolist() == [4.0, 3.0, 0.0, 1.0]
    assert torch.autograd.grad(w.sum(), phi)[0].tolist() == [4, 4, 4, 4]  # as without one
    w, phi = weights([1.0, 1.5, -0.5, 2.0], prior=prior, straight=False)
    assert torch.autograd.grad(w.sum(), phi)[0].tolist() == [4, 2, 0, 0.5]


def test_shares_of_classes_by_hand():
    y, valid = np.array([0, 0, 0, 0, 0, 0, 1, 1, 3]), np.array([0, 1, 1, 2])
    # (1 + 1) / 6, (2 + 1) / 2, and of a class that the trusted rows lack 1 / 1; of mean (2 + 3 + 1) / 9
    expected = np.array([2 / 6] * 6 + [3 / 2] * 2 + [1]) * 9 / 6
    np.testing.assert_allclose(class_shares(y, valid, 4), expected, rtol=1e-6)


def test_the_gradient_passes_by_the_normalisation_or_goes_through_it():
    slope = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    w, phi = weights([1.0, 1.0, 2.0, 0.5])
    torch.testing.assert_close(torch.autograd.grad(w @ slope, phi)[0], 4 * slope)
    for normalisation in ("linear", "softmax"):
        arguments = {"normalisation": normalisation, "temperature": 0.7, "straight": False}
        start = torch.tensor([1.0, 1.0, 2.0, 0.5]).double().requires_grad_()
        of = Weight(FreeWeights(6), CLASSES, **arguments)
        assert torch.autograd.gradcheck(lambda p, of=of: of.apply(p.unsqueeze(0), batch()).w, start)


def test_free_weights_have_gradients_in_the_rows_of_the_batch_alone():
    free = FreeWeights(7)
    with torch.no_grad():
        free.phi[:, 0] = torch.arange(7.0)
    phi = free(batch())
    assert phi.tolist() == [5, 0, 3, 1]
    phi.sum().backward()
    assert free.phi.grad.is_sparse
    assert free.phi.grad.coalesce().indices()[0].tolist() == [0, 1, 3, 5]


def test_a_network_sees_label_loss_and_features():
    of, given = network(CLASSES, 2), batch()
    base = of.policy(given).mean
    assert ((base > 0) & (base < 1)).all()
    assert not torch.equal(of.policy(Batch(given.rows, given.x, (given.y + 1) % 3)).mean, base)
    other = Batch(given.rows, -given.x, given.y)  # of equal losses
    assert not torch.equal(of.policy(other).mean, base)
    torch.autograd.backward(of.apply(of.policy(given).draw(1, None), given).w[0, 0])
    assert all(p.grad is not None for p in of.parameters())
    untrained = NetworkWeights(WeightEstimator(4), CLASSES, lambda b: b.x.square().sum(-1))
    assert untrained(given).tolist() == [0.5] * 4


def test_bad_arguments_are_refused():
    with pytest.raises(ParameterError, match="'normalisation'"):
        Weight(FreeWeights(2), CLASSES, normalisation="max")
    with pytest.raises(ParameterError, match="'temperature'"):
        Weight(FreeWeights(2), CLASSES, temperature=0)

"""Augment: its sets by hand, and the meta-gradient of phi against finite differences, for tables, images and texts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from meta_kit import joint_on, meta_errors, warmed
from torch import nn

from raydm.augmenters.images import ImageAugmenter
from raydm.augmenters.randaugment import RandAugment
from raydm.augmenters.tables import TableAugmenter
from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.manipulations import Augment, ByAugmenter
from raydm.manipulations.beside import woven
from raydm.predictors import SGD, Adam, TrainingSets
from raydm.testing import ManipulationContract

CLASSES, TARGET = Task("classification", 3), Task("regression", 1)
OPTIMIZERS = {"sgd": SGD(0.3, momentum=0.0), "momentum": SGD(0.2, momentum=0.9), "adam": Adam(0.05, eps=1e-3)}


class TestAugment(ManipulationContract):
    test_log_prob_of_drawn_actions_is_finite = None
    test_mean_action_is_finite = None
    test_penalty_is_a_differentiable_scalar = None
    test_gradient_reaches_every_parameter = None

    def make(self, task: Task, examples: Examples) -> Augment:
        return Augment(ByAugmenter(TableAugmenter(torch.from_numpy(examples.x))), task)


class Net(nn.Module):
    def __init__(self, d: int, c: int) -> None:
        super().__init__()
        self.into = nn.Linear(d, 6)
        self.norm, self.out = nn.BatchNorm1d(6), nn.Linear(6, c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.into(x)).tanh())


class ImageNet(nn.Module):
    def __init__(self, d: int, c: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(2, 4, 3), nn.Linear(4, c)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.conv(x).tanh().mean((2, 3)))


def table(task: Task, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    return x, rng.integers(3, size=n) if task == CLASSES else x[:, 0] + rng.normal(size=n)


def batch_of(x: np.ndarray, y: np.ndarray) -> Batch:
    return Batch(np.arange(len(y)), torch.from_numpy(x), torch.from_numpy(y))


@pytest.mark.parametrize("more", [
    {}, {"look_ahead": "augmented"}, {"copies": 2, "share": 0.3}, {"unroll": 3}, {"unroll": 3, "checkpoint": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_table_meta_gradients_are_those_of_finite_differences(optimizer, more):
    unrolled = {k: more[k] for k in ("unroll", "checkpoint") if k in more}
    rest = {k: v for k, v in more.items() if k not in unrolled}
    x, y = table(CLASSES, 12, 0)
    given = batch_of(x, y)
    joint = joint_on(Examples(*table(CLASSES, 7, 9), np.arange(7)), CLASSES, Net, OPTIMIZERS[optimizer], **unrolled)
    warmed(joint, TrainingSets(given.x, given.y, torch.ones(1, 12), CLASSES))
    augmenter = TableAugmenter(given.x, n_classes=3, scale=0.4, masked=0.3)
    errors = meta_errors(Augment(ByAugmenter(augmenter), CLASSES, **rest), joint, given)
    assert len(errors) == 2
    assert max(errors.values()) < 1e-6


def test_table_meta_gradients_of_regression():
    x, y = table(TARGET, 12, 0)
    joint = joint_on(Examples(*table(TARGET, 7, 9), np.arange(7)), TARGET, Net, OPTIMIZERS["adam"])
    given = batch_of(x, y)
    errors = meta_errors(Augment(ByAugmenter(TableAugmenter(given.x, scale=0.5)), TARGET), joint, given)
    assert len(errors) == 2
    assert max(errors.values()) < 1e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_image_meta_gradients_are_those_of_finite_differences(optimizer):
    rng = np.random.default_rng(0)
    images, valid = rng.random((8, 2, 6, 6)), rng.random((5, 2, 6, 6))
    joint = joint_on(Examples(valid, rng.integers(3, size=5), np.arange(5)), CLASSES, ImageNet, OPTIMIZERS[optimizer])
    given = batch_of(images, rng.integers(3, size=8))
    warmed(joint, TrainingSets(given.x, given.y, torch.ones(1, 8), CLASSES))
    # No bounds and no cutout: their corners have no derivative. Bilinear maps have some too, which h steps over seldom
    augmenter = ImageAugmenter(2, operations=["flip", "brightness", "contrast", "translate_x"], bounds=None).double()
    with torch.no_grad():
        augmenter.magnitude.fill_(0.3)
    errors = meta_errors(Augment(ByAugmenter(augmenter), CLASSES), joint, given, h=1e-4)
    assert len(errors) == 3
    assert max(errors.values()) < 1e-6


@pytest.mark.parametrize(("copies", "share"), [(1, None), (2, None), (1, 0.25), (3, 0.5)])
def test_the_sets_hold_both_woven_with_their_share_of_the_loss(copies, share):
    x, y = table(CLASSES, 6, 0)
    given = batch_of(x, y)
    manipulation = Augment(ByAugmenter(TableAugmenter(given.x)), CLASSES, copies=copies, share=share)
    actions = manipulation.policy(given).draw(1, np.random.default_rng(0))
    sets = manipulation.apply(actions, given)
    n = 6 * (1 + copies)
    assert sets.x.shape == (1, n, 4)
    assert sets.w.mean().item() == pytest.approx(1)
    order = woven(6, 6 * copies)
    new = order >= 6
    assert (sets.w[0, new].sum() / n).item() == pytest.approx(copies / (1 + copies) if share is None else share)
    parents = torch.where(new, (order - 6) % 6, order)
    assert torch.equal(sets.y, given.y[parents])
    assert torch.equal(sets.x[0, ~new], given.x)
    for half in (new[: n // 2], new[n // 2 :]):
        assert abs(int(half.sum()) - 3 * copies) <= 1


def test_in_the_release_s_look_ahead_new_examples_are_alone_but_not_in_the_step():
    x, y = table(CLASSES, 6, 0)
    given = batch_of(x, y)
    manipulation = Augment(ByAugmenter(TableAugmenter(given.x)), CLASSES, look_ahead="augmented")
    drawn = manipulation.policy(given).draw(1, np.random.default_rng(0))
    assert manipulation.apply(drawn, given).w.tolist() == [[1.0] * 6]
    assert manipulation.apply(drawn.detach(), given).w.shape == (1, 12)


def test_uint8_images_and_what_is_made_of_them_have_one_scale():
    x = np.random.default_rng(0).integers(0, 256, size=(4, 3, 8, 8)).astype(np.uint8)
    given = batch_of(x, np.arange(4) % 3)
    manipulation = Augment(ByAugmenter(RandAugment()), CLASSES)
    sets = manipulation.apply(manipulation.policy(given).draw(1, np.random.default_rng(0)), given)
    assert sets.x.dtype == torch.float32
    assert sets.x.shape == (1, 8, 3, 8, 8)
    assert float(sets.x.max()) <= 1
    assert torch.equal(sets.x[0, woven(4, 4) < 4], given.x.float() / 255)


def test_rows_that_unfold_images_are_augmented_as_images():
    x = np.random.default_rng(0).random((4, 12)).astype(np.float32)  # (2, 3, 2)
    augmenter = ImageAugmenter(2, operations=["flip"], probability=1 - 1e-6)
    made, how = ByAugmenter(augmenter, image_shape=(2, 3, 2)).written(
        batch_of(x, np.arange(4) % 3), np.random.default_rng(0)
    )
    np.testing.assert_allclose(made.numpy(), x.reshape(4, 2, 3, 2)[:, :, ::-1].reshape(4, 12), atol=1e-6)
    assert how == [{"flip": 1.0}] * 4


def test_written_images_have_operations_done_or_not_and_say_which():
    x = np.random.default_rng(0).random((40, 1, 4, 4)).astype(np.float32)
    augmenter = ImageAugmenter(1, operations=["flip"])
    made, how = ByAugmenter(augmenter).written(batch_of(x, np.arange(40) % 3), np.random.default_rng(0))
    assert augmenter.temperature == 0.3
    flipped = np.array(["flip" in row for row in how])
    assert 5 < flipped.sum() < 35
    np.testing.assert_allclose(made.numpy(), np.where(flipped[:, None, None, None], x[..., ::-1], x), atol=1e-6)


def test_what_randaugment_did_is_told():
    x = np.random.default_rng(0).random((30, 1, 4, 4)).astype(np.float32)
    augmenter = RandAugment(1, 30, operations=["brightness"])
    made, how = ByAugmenter(augmenter).written(batch_of(x, np.arange(30) % 3), np.random.default_rng(0))
    same = (made.numpy() == x).all((1, 2, 3))
    assert [row["operations"] == ["identity"] for row in how] == same.tolist()
    assert 0 < same.sum() < 30


def test_bad_arguments_are_refused():
    x, y = table(CLASSES, 6, 0)
    rewriting = ByAugmenter(TableAugmenter(torch.from_numpy(x)))
    for bad in ({"copies": 0}, {"share": 1.0}, {"look_ahead": "none"}):
        with pytest.raises(ParameterError, match=next(iter(bad))):
            Augment(rewriting, CLASSES, **bad)
    policy = Augment(rewriting, CLASSES).policy(batch_of(x, y))
    with pytest.raises(ParameterError, match="Pathwise"):
        policy.log_prob(torch.zeros(1))
    with pytest.raises(ParameterError, match="mean"):
        _ = policy.mean

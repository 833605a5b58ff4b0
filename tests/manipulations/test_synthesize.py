"""Synthesize: its sets, and the meta-gradient of the generator against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from meta_kit import joint_on, meta_errors, warmed
from torch import nn

from raydm.data.examples import Examples
from raydm.data.source import Batch
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.generators import VAE, Generator, Prototypes
from raydm.manipulations import ByGenerator, Synthesize
from raydm.manipulations.beside import woven
from raydm.predictors import SGD, Adam, TrainingSets

CLASSES = Task("classification", 3)


def table(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return rng.normal(size=(n, 4)) + y[:, None], y


def batch(n: int = 10) -> Batch:
    x, y = table(n, 0)
    return Batch(np.arange(n), torch.from_numpy(x), torch.from_numpy(y))


def fitted(kind: str) -> Generator:
    of = VAE((4,), 3, latent=2, hidden=(8,), steps=30) if kind == "vae" else Prototypes((4,), 3, factors=2)
    x, y = table(40, 1)
    of = of.double()
    return of.fit(torch.from_numpy(x), torch.from_numpy(y))


def mlp(d: int, c: int) -> nn.Module:
    return nn.Sequential(nn.Linear(d, 6), nn.Tanh(), nn.Linear(6, c))


@pytest.mark.parametrize("more", [{}, {"rows": 0.5, "share": 0.7}, {"unroll": 2}], ids=str)
@pytest.mark.parametrize("optimizer", [SGD(0.3, momentum=0.0), SGD(0.2, momentum=0.9), Adam(0.05, eps=1e-3)], ids=str)
@pytest.mark.parametrize("kind", ["vae", "prototypes"])
def test_the_generator_s_meta_gradient_is_that_of_finite_differences(kind, optimizer, more):
    rest = {k: v for k, v in more.items() if k != "unroll"}
    joint = joint_on(Examples(*table(7, 9), np.arange(7)), CLASSES, mlp, optimizer, unroll=more.get("unroll", 1))
    given = batch()
    warmed(joint, TrainingSets(given.x, given.y, torch.ones(1, 10), CLASSES))
    manipulation = Synthesize(ByGenerator(fitted(kind)), CLASSES, [1, 2, 3], **rest)
    errors = meta_errors(manipulation, joint, given, h=1e-4)
    # The decoder's two layers and the noise; or prototypes, loading and noise. The encoder makes no example
    assert len(errors) == (5 if kind == "vae" else 3)
    assert max(errors.values()) < 1e-6


def test_labels_follow_the_classes_and_rows_the_knobs():
    given = batch(9)
    manipulation = Synthesize(ByGenerator(fitted("prototypes")), CLASSES, [0, 1, 3], rows=2, share=0.5)
    made = manipulation.policy(given).draw(1, np.random.default_rng(0))
    assert made.x.shape == (18, 4)
    sets = manipulation.apply(made, given)
    new = woven(9, 18) >= 9
    assert sets.x.shape == (1, 27, 4)
    assert torch.equal(sets.y[new], made.y)
    assert torch.equal(sets.y[~new], given.y)
    assert torch.equal(sets.x[0, new], made.x)
    assert (sets.w[0, new].sum() / 27).item() == pytest.approx(0.5)
    assert sets.w.mean().item() == pytest.approx(1)
    shares = np.bincount(manipulation.labels(4000, np.random.default_rng(0)).numpy(), minlength=3) / 4000
    np.testing.assert_allclose(shares, [0, 0.25, 0.75], atol=0.03)
    assert Synthesize(ByGenerator(fitted("prototypes")), CLASSES, [1, 1, 1], rows=0.01).count(9) == 1


def test_equal_generators_make_equal_examples():
    of = Synthesize(ByGenerator(fitted("vae")), CLASSES, [1, 1, 1]).policy(batch())
    first, again, other = (of.draw(1, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.y, again.y)
    assert not torch.equal(first.x, other.x)


def test_bad_arguments_are_refused():
    of = ByGenerator(fitted("prototypes"))
    for bad in ({"rows": 0}, {"share": 0}, {"classes": [1, 1]}, {"classes": [0, 0, 0]}, {"classes": [1, -1, 1]}):
        with pytest.raises(ParameterError, match=next(iter(bad))):
            Synthesize(of, CLASSES, **({"classes": [1, 1, 1]} | bad))
    with pytest.raises(ParameterError, match="classification"):
        Synthesize(of, Task("regression", 1), [1])
    with pytest.raises(ParameterError, match="rollouts"):
        Synthesize(of, CLASSES, [1, 1, 1]).policy(batch()).draw(2, np.random.default_rng(0))

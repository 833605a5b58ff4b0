"""The ways of synthesis: a generator whose centres must move to where D^v is, same bits, rows that are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.generators import VAE, Prototypes
from raydm.joint_training import Enlarging, NewRows
from raydm.metrics import METRICS
from raydm.networks import linear
from raydm.predictors import SGD
from raydm.predictors.module import Module
from raydm.synthesizing.methods import METHODS, make_synthesizing
from raydm.synthesizing.settings import SynthesizeSettings
from raydm.utility import Problem

CLASSES = Task("classification", 2)


def table(n: int, seed: int, *, turned: float = 0.0) -> Examples:
    """Two classes in the plane, at plus and minus one direction, 2 from the middle."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    direction = np.array([np.cos(turned), np.sin(turned)])
    x = (2 * y - 1)[:, None] * 2 * direction + rng.normal(size=(n, 2))
    return Examples(x.astype(np.float32), y, np.arange(n))


def problem(valid: Examples, seed: int = 0, batch_size: int = 20) -> Problem:
    predictor = Module(linear, optimizer=SGD(0.3, 0.0), batch_size=batch_size, epochs=1, device="cpu")
    return Problem(predictor, valid, CLASSES, METRICS["accuracy"], seed=seed)


def done(method: str, train: Examples, given: Problem, **settings: Any) -> Enlarging:
    made = make_synthesizing(method, SynthesizeSettings(**settings), train, given)
    steps = list(made.steps())
    assert [s.t for s in steps] == list(range(made.total))
    return made


def test_the_tuned_centres_move_to_where_d_v_is():
    turned = np.pi / 2 - 0.1
    train, valid, test = table(20, 0), table(20, 1, turned=turned), table(1000, 2, turned=turned)
    settings = {"epochs": 150, "warm_up": 0, "learning_rate": 0.05, "share": 0.8, "rows": 2, "keep": "last"}
    tuned, untuned, none = (done(m, train, problem(valid), **settings) for m in ("learned", "untuned", "none"))
    goal = np.array([np.cos(turned), np.sin(turned)])

    def along(made: Any) -> float:  # of the difference of the centres, in the direction that tells D^v's classes
        centres = made.composing.generator.prototypes.detach().numpy()
        gap = centres[1] - centres[0]
        return float(gap @ goal / np.linalg.norm(gap))

    assert abs(along(untuned)) < 0.4
    assert along(tuned) > 0.8
    assert tuned.score(test) > max(untuned.score(test), none.score(test)) + 0.1


def test_the_generator_that_suits_the_data():
    made = make_synthesizing("untuned", SynthesizeSettings(), table(20, 0), problem(table(10, 1)))
    made.prepare()
    assert isinstance(made.composing.generator, Prototypes)
    chosen = SynthesizeSettings()
    assert (chosen.generator_for(199, 2), chosen.generator_for(200, 2)) == ("prototypes", "vae")
    assert SynthesizeSettings(generator="vae").generator_for(5, 2) == "vae"


@pytest.mark.parametrize("method", METHODS)
def test_two_runs_are_alike_to_the_last_bit(method):
    test = table(50, 2)

    def run(seed: int) -> tuple[torch.Tensor, list[float], list[tuple[float, float]]]:
        made = make_synthesizing(
            method, SynthesizeSettings(epochs=2, warm_up=1), table(50, 0), problem(table(20, 1), seed)
        )
        u = [float(s.u) for s in made.steps()]
        return made.fitted.predict(torch.from_numpy(test.x)), u[4:], made.curve

    (p, u, curve), (p_again, u_again, curve_again), (p_other, *_) = run(0), run(0), run(1)
    assert torch.equal(p, p_again)
    assert (u, curve) == (u_again, curve_again)
    assert not torch.equal(p, p_other)


def test_a_vae_is_fitted_then_tuned():
    made = make_synthesizing(
        "learned", SynthesizeSettings(epochs=1, generator="vae"), table(20, 0), problem(table(20, 1))
    )
    made.prepare()
    before = [p.detach().clone() for p in made.composing.parameters()]
    list(made.steps())
    after = list(made.composing.parameters())
    assert isinstance(made.composing.generator, VAE)
    names = [name for name, _ in made.composing.generator.named_parameters()]
    changed = {name for name, a, b in zip(names, before, after, strict=True) if not torch.equal(a, b)}
    assert changed == {name for name in names if not name.startswith("encoder")}


def test_written_rows_are_those_drawn_again(tmp_path: Path):
    train = table(40, 0)
    made = done("learned", train, problem(table(20, 1)), epochs=2)
    rows = made.rows(100)
    rows.write(tmp_path / "new.parquet")
    read, again = NewRows.read(tmp_path / "new.parquet"), made.rows(100)
    for other in (read, again):
        np.testing.assert_array_equal(other.x, rows.x)
        np.testing.assert_array_equal(other.y, rows.y)
        assert (other.how, other.parent_id) == (rows.how, [None] * 100)
    np.testing.assert_array_equal(made.rows(7).x, rows.x[:7])
    assert (read.parent == -1).all()
    assert rows.how[0] == {"generator": "Prototypes"}
    assert (rows.x >= train.x.min(0) - 1e-6).all()
    assert (rows.x <= train.x.max(0) + 1e-6).all()


def test_labels_are_drawn_as_the_training_set_has_them_or_equally():
    train = table(60, 0)
    few = train.take(np.r_[np.flatnonzero(train.y == 0), np.flatnonzero(train.y == 1)[:6]])
    as_is, balanced = (
        done("untuned", few, problem(table(20, 1)), epochs=1, classes=classes).rows(1000).y.mean()
        for classes in ("training", "balanced")
    )
    assert as_is == pytest.approx(6 / 36, abs=0.04)
    assert balanced == pytest.approx(0.5, abs=0.05)


def test_rows_that_unfold_images_come_back_as_rows():
    rng = np.random.default_rng(0)
    y = np.arange(20) % 2
    x = (0.2 * rng.random((20, 9)) + 0.3 * y[:, None]).astype(np.float32)
    examples = Examples(x, y, np.arange(20))
    made = done("learned", examples, problem(examples), epochs=1, image_shape=(3, 3, 1))
    assert made.composing.generator.shape == (1, 3, 3)
    assert made.rows(3).x.shape == (3, 9)


def test_uint8_images_are_made_in_the_unit_interval():
    from raydm.image_networks import CifarResNet

    x = np.random.default_rng(0).integers(0, 256, size=(12, 1, 8, 8)).astype(np.uint8)
    examples = Examples(x, np.arange(12) % 2, np.arange(12))
    predictor = Module(
        CifarResNet(8, channels=1, widths=(4, 4, 4), normalize=None),
        optimizer=SGD(0.01),
        batch_size=6,
        epochs=1,
        device="cpu",
    )
    made = done(
        "learned", examples, Problem(predictor, examples, CLASSES, METRICS["accuracy"], seed=0), epochs=1, warm_up=1
    )
    rows = made.rows(4).x
    assert rows.dtype == np.float32
    assert 0 <= rows.min() <= rows.max() <= 1


def test_bad_arguments_are_refused():
    train, given = table(20, 0), problem(table(20, 1))
    for bad in (
        {"rows": 0}, {"classes": "x"}, {"generator": "gan"}, {"share": 0}, {"fit_epochs": -1}, {"rounds": 0},
        {"temperature": 0}, {"top_k": 0}, {"fit_learning_rate": 0}, {"fit_label_learning_rate": -1},
    ):  # fmt: skip
        with pytest.raises(ParameterError, match=f"'{next(iter(bad))}' parameter of SynthesizeSettings"):
            SynthesizeSettings(**bad).check()  # all before anything is read or fitted
    with pytest.raises(ParameterError, match="'method'"):
        done("magic", train, given)
    regression = Problem(given.predictor, train, Task("regression", 1), METRICS["rmse"], seed=0)
    with pytest.raises(ParameterError, match="classification"):
        done("untuned", train, regression)

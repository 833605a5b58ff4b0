"""The ways of augmentation: worlds where an operation must be unlearned or learned, same bits, kept rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raydm.augmenting.methods import METHODS, make_augmenting
from raydm.augmenting.settings import AugmentSettings
from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmError, RunError
from raydm.joint_training import Enlarging, NewRows
from raydm.metrics import METRICS
from raydm.networks import linear
from raydm.predictors import SGD
from raydm.predictors.module import Module
from raydm.utility import Problem

CLASSES = Task("classification", 2)


class Flat(nn.Module):
    """A linear readout of pixels (B, 1, 1, 2) of which all are shown."""

    def __init__(self, d: int, c: int) -> None:
        super().__init__()
        self.readout = nn.Linear(2 * d, c)
        nn.init.zeros_(self.readout.weight)
        nn.init.zeros_(self.readout.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.readout(x.flatten(1))


def problem(valid: Examples, make: Any, task: Task = CLASSES, lr: float = 0.5, seed: int = 0) -> Problem:
    predictor = Module(make, optimizer=SGD(lr, 0.0), batch_size=20, epochs=1, device="cpu")
    return Problem(predictor, valid, task, METRICS["accuracy" if task == CLASSES else "rmse"], seed=seed)


def done(method: str, train: Examples, given: Problem, **settings: Any) -> Enlarging:
    made = make_augmenting(method, AugmentSettings(**settings), train, given)
    steps = list(made.steps())
    assert [s.t for s in steps] == list(range(made.total))
    return made


def sides(n: int, seed: int, *, place: str) -> Examples:
    """Images of 2 by 2 with a bright column. "label": it is left for class 0 and right for class 1, and brightness
    tells nothing. "left", "both": it is there, and class 1 is the image whose upper pixel of it is brighter."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    x = 0.05 * rng.random((n, 1, 2, 2)).astype(np.float32)
    column = {"label": y, "left": np.zeros(n, int), "both": rng.integers(2, size=n)}[place]
    upper = 0.3 + 0.4 * (y if place != "label" else rng.random(n))
    x[np.arange(n), 0, 0, column] += upper
    x[np.arange(n), 0, 1, column] += 1 - upper
    return Examples(x, y, np.arange(n))


FLIPS = {"operations": ["flip"], "epochs": 40, "warm_up": 1, "learning_rate": 0.05, "image_shape": None}


def test_where_the_side_is_the_label_the_mirror_is_unlearned():
    given = problem(sides(20, 1, place="label"), lambda d, c: Flat(d, c))
    made = done("learned", sides(60, 0, place="label"), given, **FLIPS)
    (flip,) = made.summary()
    assert flip["probability"] < 0.2


def test_where_the_training_set_lacks_a_side_that_d_v_has_the_mirror_is_learned():
    given = problem(sides(40, 1, place="both"), lambda d, c: Flat(d, c))
    made = done("learned", sides(60, 0, place="left"), given, **FLIPS | {"probability": 0.2})
    (flip,) = made.summary()
    assert flip["probability"] > 0.7


def nuisance(n: int, seed: int, *, trusted: bool) -> Examples:
    """Feature 0 says the class; feature 1 does so in training, and is misleading in trusted data."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    sign = 2 * y - 1
    x = np.stack([sign, -sign if trusted else sign], 1) + rng.normal(size=(n, 2))
    return Examples(x.astype(np.float32), y, np.arange(n))


def test_noise_grows_on_a_nuisance_and_shrinks_on_the_signal():
    train, valid, test = (nuisance(n, s, trusted=t) for n, s, t in ((60, 0, False), (20, 1, True), (500, 2, True)))
    given = problem(valid, linear)
    settings = {"epochs": 40, "warm_up": 0, "noise": 0.5, "learning_rate": 0.05, "keep": "last"}
    made = done("learned", train, given, **settings)
    signal, other = made.summary()
    assert signal["noise"] < 0.25
    assert other["noise"] > 2
    none, fixed = (done(name, train, given, **settings) for name in ("none", "fixed"))
    assert made.score(test) > max(none.score(test), fixed.score(test)) + 0.2


def test_noise_of_a_fixed_augmentation_stays():
    made = done("fixed", nuisance(40, 0, trusted=False), problem(nuisance(20, 1, trusted=True), linear), epochs=2)
    for row in made.summary():
        assert row["noise"] == pytest.approx(0.1, rel=1e-5)


@pytest.mark.parametrize("settings", [{}, {"unroll": 2, "copies": 2}, {"look_ahead": "augmented"}], ids=str)
@pytest.mark.parametrize("method", ["learned", "none", "fixed", "base+valid"])
def test_two_runs_are_alike_to_the_last_bit(method, settings):
    test = nuisance(50, 2, trusted=True)

    def run(seed: int) -> tuple[torch.Tensor, list[float], list[tuple[float, float]], Any]:
        given = problem(nuisance(20, 1, trusted=True), linear, seed=seed)
        made = make_augmenting(
            method, AugmentSettings(epochs=2, warm_up=1, **settings), nuisance(50, 0, trusted=False), given
        )
        u = [float(s.u) for s in made.steps()]
        return made.fitted.predict(torch.from_numpy(test.x)), u[4:], made.curve, made.summary()

    (p, u, curve, summary), (p_again, u_again, curve_again, summary_again), (p_other, *_) = run(0), run(0), run(1)
    assert torch.equal(p, p_again)
    assert (u, curve, summary) == (u_again, curve_again, summary_again)
    assert not torch.equal(p, p_other)


def test_the_real_step_is_on_the_redrawn_rows_beside_the_originals():
    # An SGD step from a linear predictor, by hand: no warm-up, one batch
    train = nuisance(20, 0, trusted=False)
    made = make_augmenting(
        "learned", AugmentSettings(epochs=1, warm_up=0), train, problem(nuisance(9, 1, trusted=True), linear)
    )
    (step,) = made.steps()
    sets = made._with_new(0, next(iter(made._epoch(0, 20)))[1])  # of phi after the step, the noise of step 0
    errors = 0.5 - torch.eye(2)[sets.y]
    expected = -0.5 * torch.einsum("n,nc,nd->cd", sets.w[0], errors, sets.x[0]) / 40
    weight, _ = made.fitted.params[0]
    torch.testing.assert_close(weight, expected)
    assert step.t == 0


def test_written_rows_are_those_drawn_again(tmp_path: Path):
    train, given = nuisance(50, 0, trusted=False), problem(nuisance(20, 1, trusted=True), linear)
    train = Examples(train.x, train.y, np.array([f"row {i}" for i in range(50)]))
    made = done("learned", train, given, epochs=2)
    rows = made.rows(130)
    rows.write(tmp_path / "new.parquet")
    read, again = NewRows.read(tmp_path / "new.parquet"), made.rows(130)
    for other in (read, again):
        for name in ("x", "y", "parent"):
            np.testing.assert_array_equal(getattr(other, name), getattr(rows, name))
        assert (other.how, other.parent_id, other.seed) == (rows.how, rows.parent_id, 0)
    assert read.x.dtype == np.float32
    few = made.rows(3)
    np.testing.assert_array_equal(few.x, rows.x[:3])
    assert sorted(rows.parent[:50]) == sorted(rows.parent[50:100]) == list(range(50))
    np.testing.assert_array_equal(rows.y, train.y[rows.parent])
    assert rows.parent_id == [f"row {i}" for i in rows.parent]
    masked = np.array([[d in how["masked"] for d in range(2)] for how in rows.how])
    centre = train.x.mean(0)
    np.testing.assert_allclose(rows.x[masked], np.broadcast_to(centre, rows.x.shape)[masked], atol=1e-5)
    assert not np.isclose(rows.x, centre, atol=1e-6)[~masked].any()
    assert len(made.rows(0)) == 0


def test_images_are_written_with_their_shape(tmp_path: Path):
    given = problem(sides(8, 1, place="label"), lambda d, c: Flat(d, c))
    made = done("fixed", sides(12, 0, place="label"), given, epochs=1)
    rows = made.rows(5)
    rows.write(tmp_path / "new.parquet")
    np.testing.assert_array_equal(NewRows.read(tmp_path / "new.parquet").x, rows.x)
    assert rows.x.shape == (5, 1, 2, 2)
    assert all("operations" in how for how in rows.how)


def test_base_and_valid_trains_on_both_and_keeps_the_last():
    train, valid = nuisance(30, 0, trusted=False), nuisance(20, 1, trusted=True)
    made = done("base+valid", train, problem(valid, linear), epochs=3)
    assert len(made.examples) == 50
    assert (
        float(METRICS["accuracy"](made.fitted.predict(torch.from_numpy(valid.x)), torch.from_numpy(valid.y)))
        == (made.curve[-1][0])
    )


def test_regression_tables_are_augmented_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    examples = Examples(x, x[:, 0] + 5, np.arange(40))
    made = done("learned", examples, problem(examples.take(np.arange(10)), linear, Task("regression", 1)), epochs=2)
    rows = made.rows(7)
    assert rows.y.dtype == np.float32
    assert np.isfinite(made.score(examples))


def test_bad_arguments_are_refused(tmp_path: Path):
    train, given = nuisance(30, 0, trusted=False), problem(nuisance(20, 1, trusted=True), linear)
    for bad in (
        {"epochs": -1}, {"copies": 0}, {"share": 1}, {"learning_rate": 0}, {"look_ahead": "x"}, {"keep": "x"},
        {"unroll": 0}, {"dev_batch": 0}, {"fit_epochs": -1}, {"noise": 0}, {"masked": 1}, {"operations": ["spin"]},
        {"probability": "x"}, {"spread": -1}, {"n": -1}, {"magnitude": 31}, {"temperature": 0}, {"top_k": 0},
        {"fit_learning_rate": 0}, {"fit_label_learning_rate": -1},
    ):  # fmt: skip
        with pytest.raises(ParameterError, match=f"'{next(iter(bad))}' parameter of AugmentSettings"):
            AugmentSettings(**bad).check()  # all before anything is read or fitted
    with pytest.raises(ParameterError, match="untrained"):
        done("none", train, given, epochs=0, warm_up=0)
    with pytest.raises(ParameterError, match="'method'"):
        done("magic", train, given)
    with pytest.raises(ParameterError, match="training texts"):
        done("synonyms", train, given)
    with pytest.raises(RaydmError, match="no new rows"):
        done("none", train, given, epochs=1).rows(3)
    with pytest.raises(RunError, match=r"absent\.parquet"):
        NewRows.read(tmp_path / "absent.parquet")
    assert set(METHODS) == {"learned", "none", "base+valid", "fixed", "synonyms"}

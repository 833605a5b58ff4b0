"""Training: what weights do, that workers together do what one does, and that a checkpoint holds all."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fit_kit import furthest, job, rows, source, together, trained

from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmWarning, RunError
from raydm.fitting import Checkpoints, Encoded, InMemory, Job, Plan, finished
from raydm.fitting.checkpoints import STATE, TENSORS
from raydm.fitting.training import losses
from raydm.predictors.functional import Functional
from raydm.predictors.large import make_module

# Parameters of float32 after 36 steps, by gradients whose sums were rounded in another order: relative to the largest
# of their tensor. Each sum is off by about 1e-7 of its terms; 1e-5 leaves room for what Adam makes of it.
BOUND = 1e-5


def test_weights_are_those_of_the_weighted_least_squares() -> None:
    """At x = -1, y is 0 (weight 1) and 4 (3); at x = 1, 10 and 2 (1 each): means 3 and 6, and a line through both."""
    x = np.tile([-1.0, -1, 1, 1], 25).astype(np.float32)[:, None]
    y, w = (np.tile(v, 25).astype(np.float32) for v in ([0.0, 4, 10, 2], [1.0, 3, 1, 1]))
    plan = Plan(np.full(10, 10), 100, 64, seed=0)  # every step on all rows
    # At lr .5, what is left of the error shrinks to a third a step: the Hessian's eigenvalues are 1 - 1/3 and 1 + 1/3
    one = Job(
        make_module("linear", optimizer="sgd", momentum=0.0, lr=0.5), Task("regression", 1), n_features=1,
        floating=True, location=[4.0], scale=[3.0], plan=plan, epochs=16, seed=0, metric="rmse",
    )  # fmt: skip
    fitted: dict[str, Any] = {}
    for name, weight in (("weighted", w), ("alike", np.ones_like(w)), ("doubled", 2 * w)):
        last = trained(one, InMemory(Encoded(x, y, weight), np.arange(0, 101, 10)))[-1]
        fitted[name] = one.fitted(finished(one, last)).predict(torch.tensor([[-1.0], [1.0]])).flatten().tolist()
    assert fitted["weighted"] == pytest.approx([3, 6], abs=1e-5)
    assert fitted["alike"] == pytest.approx([2, 6], abs=1e-5)
    assert fitted["doubled"] == fitted["weighted"]  # 2 is a power of 2: not even rounding differs


@pytest.mark.parametrize("task", [Task("regression", 1), Task("regression", 3), Task("classification", 3)])
def test_losses_are_those_of_every_large_predictor(task: Task) -> None:
    module = make_module("mlp", hidden=[5]).make_module(4, task.n_outputs)
    torch.nn.init.normal_([*module.parameters()][-2])  # of the readout, which starts at zero
    of = Functional(module, task, torch.device("cpu"))
    x, rng = torch.randn(6, 4), np.random.default_rng(0)
    y = torch.tensor(rng.integers(0, 3, 6) if task.kind == "classification" else rng.normal(size=(6, task.n_outputs)))
    y = (y if task.several_targets or task.kind == "classification" else y[:, 0]).to(
        torch.int64 if task.kind == "classification" else torch.float32
    )
    of.location, of.scale = torch.tensor(0.5), torch.tensor(2.0)
    expected = of.losses(of.parameters(), of.buffers(), x, y)
    assert torch.allclose(losses(module(x), y, task, of.location, of.scale), expected, rtol=1e-6)


@pytest.mark.parametrize("epoch", [1, 3])
def test_a_training_goes_on_from_a_checkpoint_to_the_bit(epoch: int) -> None:
    of = rows(images=True)
    one = dataclasses.replace(
        job(of, "wide-resnet-28-10", depth=10, widen=1, dropout=0.3, channels=1, normalize=None), keep="best"
    )
    whole = trained(one, source(of))
    again = trained(one, source(of), whole[epoch - 1])
    assert len(again) == 4 - epoch
    assert again[-1].best == whole[-1].best
    assert again[-1].tensors.keys() == whole[-1].tensors.keys()
    assert all(torch.equal(t, again[-1].tensors[k]) for k, t in whole[-1].tensors.items())
    scores = [[{k: r[k] for k in ("epoch", "loss", "valid")} for r in c.history] for c in (whole[-1], again[-1])]
    assert scores[0] == scores[1]
    best = finished(one, whole[-1])
    assert all(torch.equal(t, best[k]) for k, t in whole[(whole[-1].best or 0) - 1].tensors.items() if k in best)
    assert max(r["valid"] for r in whole[-1].history) == whole[-1].history[(whole[-1].best or 0) - 1]["valid"]


def test_a_training_that_diverges_says_so() -> None:
    of = rows()
    with pytest.raises(ParameterError, match="smaller --lr"):
        trained(job(of, optimizer="sgd", lr=1e6), source(of))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "'epochs'"),
        ({"precision": "float64"}, "'precision'"),
        ({"precision": "bfloat16"}, "without GPUs"),
        ({"keep": "best", "valid": None}, "without trusted rows"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        dataclasses.replace(job(rows()), **changes).check(1, gpu=False)


def test_checkpoints_are_whole_or_left_out(tmp_path: Path) -> None:
    place, of = Checkpoints(str(tmp_path / "deep" / "place")), rows()
    made = trained(job(of), source(of))
    assert (place.found(), place.history(), place.newest("me")) == ([], [], None)
    for checkpoint in made:
        place.add(checkpoint, "me")
    assert len(place.found()) == 2  # older ones are gone
    assert (tmp_path / "deep" / "place").stat().st_mode & 0o777 == 0o700
    newest = place.newest("me")
    assert newest
    assert newest[1].epochs == 4
    assert newest[1].history == made[-1].history == place.history()
    assert all(torch.equal(t, newest[1].tensors[k]) for k, t in made[-1].tensors.items())
    with pytest.raises(RunError, match="another training"):
        place.newest("you")
    for file in (TENSORS, STATE):
        kept = (whole := Path(place.found()[0]) / file).read_bytes()
        for torn in (kept[: len(kept) // 2], kept[:-3] + b"xyz", b""):
            whole.write_bytes(torn)
            with pytest.warns(RaydmWarning, match="this checkpoint is torn"):
                assert (place.newest("me") or newest)[1].epochs == 3
        whole.unlink()
        with pytest.warns(RaydmWarning, match="cannot be read"):
            assert (place.newest("me") or newest)[1].epochs == 3
        whole.write_bytes(kept)
    assert (place.newest("me") or newest)[1].epochs == 4
    (tmp_path / "deep" / "place" / "mine").touch()
    place.remove()
    assert [path.name for path in (tmp_path / "deep" / "place").iterdir()] == ["mine"]
    (tmp_path / "deep" / "place" / "mine").unlink()
    place.remove()
    assert not (tmp_path / "deep" / "place").exists()


@pytest.mark.slow
@pytest.mark.parametrize("size", [2, 3])
def test_workers_together_train_what_one_trains(tmp_path: Path, size: int) -> None:
    of = rows()
    alone = trained(job(of), source(of))[-1]
    each = together(size, tmp_path, "resumed")
    for last, resumed in each:
        assert all(torch.equal(t, each[0][0].tensors[k]) for k, t in last.tensors.items())  # workers have one predictor
        assert all(torch.equal(t, resumed.tensors[k]) for k, t in last.tensors.items())
        assert furthest(alone, last) < BOUND
        for mine, theirs in zip(alone.history, last.history, strict=True):
            assert mine["loss"] == pytest.approx(theirs["loss"], rel=BOUND)
            assert mine["valid"] == pytest.approx(theirs["valid"], rel=BOUND)
    unweighted = trained(job(of), source(dataclasses.replace(of, w=np.ones_like(of.w))))[-1]
    assert furthest(alone, unweighted) > 1000 * BOUND  # what the bound tells apart


@pytest.mark.slow
def test_all_workers_end_by_the_error_of_one(tmp_path: Path) -> None:
    assert together(2, tmp_path, "fails") == ["rows.parquet, row 131: torn."] * 2

"""Every method behind one surface: steps, then pairs, of any examples, also from what was saved."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mixing_kit import QUICK, examples, kink, line, problem

from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmError, RunError
from raydm.mixing import methods
from raydm.mixing.methods import METHODS, make_mixing
from raydm.mixing.mixer import load_mixer
from raydm.mixing.options import Options
from raydm.mixing.progress import Progress
from raydm.predictors import make_predictor
from raydm.utility import InProcess

PARAMS: dict[str, dict[str, Any]] = {
    "adamixup": {"steps": 5, "hidden": (8,)},
    "mixrl+adamixup": {"steps": 5, "hidden": (8,)},
    "mixup": {"ratio": 2},
    "c-mixup": {"ratio": 3, "alpha": 1.5},
}
KINDS = {
    "mixrl": {"data", "label"},
    "none": set(),
    "mixup": {"random"},
    "adamixup": {"random"},
    "global-knn": {"data", "label"},
    "c-mixup": {"kernel"},
    "mixrl+adamixup": {"data", "label"},
}


def made(name: str, train: Any = None, settings: Any = QUICK, **arguments: Any) -> Any:
    train = line(24) if train is None else train
    valid = line(12, seed=9, targets=1 if train.y.ndim == 1 else train.y.shape[1])
    params = PARAMS.get(name, {}) | arguments
    return make_mixing(name, params, settings, train, problem(valid))


def learned(name: str, *args: Any, **arguments: Any) -> Any:
    mixing = made(name, *args, **arguments)
    for _ in mixing.steps():
        pass
    return mixing


@pytest.fixture(scope="module")
def done() -> dict[str, Any]:
    return {name: learned(name) for name in METHODS}


def same(a: Any, b: Any) -> None:
    for name in ("i", "j", "lam", "kind"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_every_method_is_tried_here() -> None:
    assert set(KINDS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_pairs_are_of_two_examples_and_make_different_rows(done: Any, name: str) -> None:
    pairs = done[name].pairs()
    assert set(pairs.kind) <= KINDS[name]
    assert (pairs.i != pairs.j).all()
    assert ((pairs.lam >= 0) & (pairs.lam <= 1)).all()
    assert len(pairs.distinct()) == len(pairs)
    for rows in (pairs.i, pairs.j):
        assert ((rows >= 0) & (rows < 24)).all()


@pytest.mark.parametrize("name", METHODS)
def test_on_a_line_every_mixing_is_right(done: Any, name: str) -> None:
    rows = done[name].pairs().rows(line(24))
    np.testing.assert_allclose(rows.y, 1 + 2 * rows.x[:, 0] - rows.x[:, 1], atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_equal_seeds_give_equal_bits(done: Any, name: str) -> None:
    same(learned(name).pairs(), done[name].pairs())
    assert learned(name).candidates == done[name].candidates


@pytest.mark.parametrize("name", METHODS)
def test_what_was_saved_mixes_alike(done: Any, name: str, tmp_path: Any) -> None:
    mixing, other = done[name], line(15, seed=5)
    mixing.mixer.save(tmp_path)
    assert {f.suffix for f in tmp_path.rglob("*") if f.is_file()} <= {".safetensors", ".skops"}
    mixer = load_mixer(tmp_path, json.loads(json.dumps(mixing.mixer.state())))
    same(mixer.pairs(line(24), 0), mixing.pairs())
    same(mixer.pairs(other, 3), mixing.mixer.pairs(other, 3))
    assert (mixing.mixer.pairs(other, 3).i < 15).all()


@pytest.mark.parametrize("name", METHODS)
def test_it_tells_what_it_chose_and_among_what(done: Any, name: str) -> None:
    mixing = done[name]
    names = {"mixup": {"alpha"}, "c-mixup": {"sigma"}, "global-knn": {"distance", "k"}}
    expected = names.get(name, {"threshold", "pick"} if name.startswith("mixrl") else set())
    assert set(mixing.chosen) == expected
    for record in mixing.candidates:
        assert set(record) == expected | {"mixed_rows", "utility"}
    if mixing.candidates:
        best = max(record["utility"] for record in mixing.candidates)
        assert best in [r["utility"] for r in mixing.candidates if mixing.chosen.items() <= r.items()]
    json.dumps([mixing.chosen, mixing.candidates])


@pytest.mark.parametrize("name", METHODS)
def test_steps_are_counted(name: str) -> None:
    mixing = made(name)
    steps = list(mixing.steps())
    assert mixing.total in (None, len(steps))
    progress = [s for s in steps if isinstance(s, Progress)]
    assert [p.t for p in progress] == list(range(len(progress)))
    assert all(np.isfinite(v) for p in progress for v in p.figures.values())


@pytest.mark.parametrize("name", [n for n in METHODS if n != "none"])
def test_before_its_steps_it_has_no_pairs(name: str) -> None:
    mixing = made(name)
    with pytest.raises(RaydmError, match="Exhaust its steps first"):
        mixing.pairs()
    steps = mixing.steps()
    next(steps)
    if name != "mixup":  # whose only step is its last
        steps.close()
    if "mixrl" in name:
        with pytest.raises(RaydmError, match="Exhaust its steps first"):
            mixing.mixer.save("nowhere")


@pytest.mark.parametrize("name", METHODS)
def test_several_targets(name: str) -> None:
    train = line(20, targets=3)
    rows = learned(name, train).pairs().rows(train)
    assert rows.y.shape == (len(rows), 3)
    np.testing.assert_allclose(rows.y, rows.y[:, :1] * [1, 2, 3], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_fewer_examples_than_neighbours(name: str) -> None:
    mixing = learned(name, line(4), replace(QUICK, options=Options((1, 16), (3, 64))))
    assert set(mixing.pairs().i) <= {0, 1, 2, 3}
    alone = mixing.mixer.pairs(line(1), 0)
    assert len(alone) == 0
    assert alone.rows(line(1)).x.shape == (0, 2)


@pytest.mark.parametrize("name", METHODS)
def test_who_stops_asking_stops_the_work(name: str) -> None:
    closed: list[int] = []

    class Watched(InProcess):
        def close(self) -> None:
            closed.append(1)

    mixing = make_mixing(name, PARAMS.get(name, {}), QUICK, line(24), problem(line(9, seed=2)), Watched)
    steps = mixing.steps()
    next(steps, None)
    steps.close()
    assert len(closed) == (0 if name in ("none", "adamixup", "mixrl+adamixup") else 1)


@pytest.mark.parametrize(("name", "given"), [("mixup", {"alpha": 0.3}), ("c-mixup", {"sigma": 0.2})])
def test_a_setting_that_is_given_is_not_chosen(name: str, given: dict[str, float]) -> None:
    mixing = make_mixing(name, given, QUICK, line(24), problem(line(9, seed=2)), make_utility=None)  # type: ignore[arg-type]
    assert list(mixing.steps()) == []
    assert mixing.total == 0
    assert mixing.chosen == given
    assert len(mixing.pairs()) > 24


def test_lambda_of_global_knn_is_that_of_the_settings() -> None:
    given = {"k": 2, "distance": "data"}
    assert set(made("global-knn", settings=replace(QUICK, lam=0.25), **given).pairs().lam) == {0.25}
    lam = made("global-knn", settings=replace(QUICK, lam=None), **given).pairs().lam
    assert len(np.unique(lam)) > 10


def test_c_mixup_takes_its_bandwidth_in_deviations_of_the_labels() -> None:
    world = line(24)
    scaled = examples(world.x, 1000 * world.y)
    a, b = (made("c-mixup", train, sigma=0.2).pairs() for train in (world, scaled))
    same(a, b)


def test_global_knn_finds_the_neighbours_that_do_right() -> None:
    # By data the next row's midpoint lies on |x|; by label, -x's is at 0 and wrong.
    train, valid = kink()
    settings = replace(QUICK, options=Options((1,), (1,)))
    mixing = make_mixing("global-knn", {}, settings, train, problem(valid))
    assert len(list(mixing.steps())) == 1
    assert mixing.chosen == {"distance": "data", "k": 1}
    by = {r["distance"]: r for r in mixing.candidates}
    # By data each row is mixed with the one before it, the first two with each other; by label x and -x are.
    assert (by["data"]["mixed_rows"], by["label"]["mixed_rows"]) == (len(mixing.pairs()), 10) == (19, 10)
    # 1-NN is wrong by 1/2 at each of the 19 trusted rows; with the rows between by data at 0 alone; those by label are
    # all at 0, where the one of -1/2 and 1/2 says 1/2.
    assert by["data"]["utility"] == pytest.approx(-0.5 / 19**0.5)
    assert by["label"]["utility"] == pytest.approx(-0.5)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("magic", {}, "'method' parameter of raydm mix must be one of 'mixrl', 'none', 'mixup', .*Got 'magic'"),
        ("none", {"k": 3}, "'method_params' parameter of method 'none' must be empty: it has no settings"),
        ("mixup", ["alpha"], "'method_params' parameter of method 'mixup' must be settings by name, or None"),
        ("global-knn", {"k": 1.5}, "'k' parameter of raydm mix must be counts such as"),
        ("mixrl", {"steps": 3}, "method 'mixrl' must be empty: its settings are arguments of their own"),
        ("mixup", {"k": 3}, "must be among 'alpha', 'alphas', 'ratio'. Got {'k': 3}"),
        ("adamixup", {"alpha": 3}, "must be among 'steps', 'batch_size', 'learning_rate', 'hidden', 'ratio'"),
        ("mixup", {"alpha": 0}, "'alpha' parameter of mixup must be a number > 0"),
        ("mixup", {"alphas": ()}, "'alphas' parameter of mixup must be one or more"),
        ("mixup", {"ratio": 0}, "'ratio' parameter of mixup must be an integer >= 1"),
        ("c-mixup", {"sigma": "x"}, "'sigma' parameter of c-mixup"),
        ("c-mixup", {"sigmas": 3}, "'sigmas' parameter of c-mixup"),
        ("c-mixup", {"alpha": -1}, "'alpha' parameter of c-mixup"),
        ("c-mixup", {"memory": 0}, "'memory' parameter of c-mixup"),
        ("global-knn", {"k": "1..x"}, "'k' parameter of raydm mix must be counts"),
        ("global-knn", {"k": 100}, "has 23 others, and the options begin at 100"),
        ("global-knn", {"distance": "cosine"}, "'distance' parameter of global-knn must be one of 'data', 'label'"),
        ("global-knn", {"search": "grid"}, "'search' parameter of global-knn must be one of 'all', 'bayes'"),
        ("global-knn", {"trials": 0}, "'trials' parameter of global-knn"),
        ("adamixup", {"steps": -1}, "'steps' parameter of adamixup"),
        ("adamixup", {"hidden": ()}, "'hidden' parameter of adamixup"),
        ("mixrl+adamixup", {"batch_size": 0}, "'batch_size' parameter of adamixup"),
    ],
)
def test_parameters_that_do_not_fit_are_told(name: str, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        make_mixing(name, params, QUICK, line(24), problem(line(9, seed=2)))


@pytest.mark.parametrize("name", METHODS)
def test_settings_are_checked_for_all(name: str) -> None:
    with pytest.raises(ParameterError, match="'repeats' parameter of MixRL"):
        made(name, settings=replace(QUICK, repeats=0))


def test_classes_are_not_mixed() -> None:
    classes = replace(problem(line(9)), task=Task("classification", 2), predictor=make_predictor("logistic"))
    with pytest.raises(ParameterError, match="the labels are classes"):
        make_mixing("mixup", {}, QUICK, line(24), classes)


@pytest.mark.parametrize("harm", ["gone", "torn", "other", "name", "key"])
def test_a_mixer_that_cannot_be_read_is_told(done: Any, tmp_path: Any, harm: str) -> None:
    mixing = done["mixrl"]
    mixing.mixer.save(tmp_path)
    (file,) = tmp_path.iterdir()
    state = mixing.mixer.state()
    if harm == "gone":
        file.unlink()
    elif harm == "torn":
        file.write_bytes(file.read_bytes()[:100])
    elif harm == "other":
        done["adamixup"].mixer.save(tmp_path)
    elif harm == "name":
        state["shares"] = {"name": "magic"}
    else:
        del state["partners"]["hidden"]
    with pytest.raises(RunError, match="cannot be read as a mixer"):
        load_mixer(tmp_path, state)


def test_names_are_those_of_the_command_line() -> None:
    assert tuple(methods.MAKE) == METHODS
    assert METHODS == ("mixrl", "none", "mixup", "adamixup", "global-knn", "c-mixup", "mixrl+adamixup")

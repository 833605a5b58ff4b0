"""DVRL's assembly: settings, the paper's form, starts, folds, collapses, and what is returned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from raydm.baselines import FullData, LeaveOneOut, MovingAverage
from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.metrics import METRICS
from raydm.predictors import TrainingSets, make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation import DVRL, Settings, dvrl
from raydm.valuation.value_function import squashed

TASK = Task("classification", 3)
# The paper's form: one source of evidence, an untrained start, one fold of all of D^v
PAPER = Settings(steps=3, rollouts=4, outer_batch=20, evidence=("validation",), start="nothing", judge=0)
JUDGED = replace(PAPER, steps=6, start="evidence", judge=2)


@pytest.fixture
def problem(digits_small: tuple[Examples, Examples]) -> Problem:
    return Problem(make_predictor("logistic"), digits_small[1], TASK, METRICS["accuracy"], seed=0)


def learned(train: Examples, problem: Problem, settings: Settings) -> DVRL:
    made = DVRL(train, problem, settings)
    for _ in made.steps():
        pass
    return made


def test_the_full_data_baseline_is_the_score_of_a_predictor_trained_on_everything(
    digits_small: Any, problem: Problem
) -> None:
    train = digits_small[0]
    sets = TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), torch.ones(1, len(train)), TASK)
    predictions = problem.predictor.fit_predict(sets, torch.from_numpy(problem.valid.x), seed=problem.seeds(0, 1))
    expected = float((predictions[0].argmax(-1).numpy() == problem.valid.y).mean())
    baseline = DVRL(train, problem, replace(PAPER, baseline="full-data"))._baseline(InProcess(problem))
    assert isinstance(baseline, FullData)
    assert baseline.utility == pytest.approx(expected)


@pytest.mark.parametrize(("name", "kind"), [("moving-average", MovingAverage), ("leave-one-out", LeaveOneOut)])
def test_baselines_by_name(digits_small: Any, problem: Problem, name: str, kind: type) -> None:
    made = DVRL(digits_small[0], problem, replace(PAPER, baseline=name))
    assert isinstance(made._baseline(InProcess(problem)), kind)


@pytest.mark.parametrize(
    ("policy", "control_variate"),
    [("gumbel", "none"), ("straight-through", "none"), ("bernoulli", "taylor"), ("bernoulli", "datamodel")],
)
def test_every_gradient_learns(digits_small: Any, problem: Problem, policy: str, control_variate: str) -> None:
    settings = replace(PAPER, policy=policy, control_variate=control_variate)
    before = DVRL(digits_small[0], problem, replace(settings, start="evidence"))
    member = learned(digits_small[0], problem, settings).value_function.members[0]
    assert all(torch.isfinite(p).all() for p in member.parameters())
    untrained = before._member(problem.seed)
    assert any((p != q).any() for p, q in zip(member.parameters(), untrained.parameters(), strict=True))


def test_a_pathwise_gradient_is_refused_before_anything_is_trained(digits_small: Any, problem: Problem) -> None:
    forest = replace(problem, predictor=make_predictor("random-forest"))
    with pytest.raises(ParameterError, match="BlackBox"):
        DVRL(digits_small[0], forest, replace(PAPER, policy="gumbel"))


@pytest.mark.parametrize("settings", [PAPER, JUDGED], ids=["paper", "judged"])
def test_new_examples_are_valued_as_training_examples_are(
    digits_small: Any, problem: Problem, settings: Settings
) -> None:
    function = learned(digits_small[0], problem, settings).value_function
    for of in (function, replace(function, learned=True)):
        every = of.values(digits_small[0])
        np.testing.assert_allclose(of.values(digits_small[0].take([5, 3])), every[[5, 3]], rtol=1e-6)


def test_a_label_that_the_validation_model_doubts_ranks_low(digits_small: Any, problem: Problem) -> None:
    train = digits_small[0]
    wrong = replace(train, y=np.where(np.arange(len(train)) < 10, (train.y + 1) % 3, train.y))
    rankings = DVRL(wrong, problem, PAPER).value_function.rankings(wrong)
    assert set(rankings) == {"validation"}  # which is all that is pooled
    assert set(np.argsort(rankings["validation"])[:10]) == set(range(10))  # these digits are easy: every flip is found


def test_without_a_start_the_policy_is_that_of_an_untrained_network(digits_small: Any, problem: Problem) -> None:
    made = DVRL(digits_small[0], problem, PAPER)
    member = made._member(0)
    assert member.start is None
    assert member.bounds == (0.3, 0.7)
    assert member.estimator.head[-1].weight.any()


def test_h_phi_starts_from_the_best_input_and_may_stay_there(digits_small: Any, problem: Problem) -> None:
    """Its own part is 0 at first, and bounds that exclude the start's mean are widened to it."""
    train = digits_small[0]
    made = DVRL(train, problem, JUDGED)
    odds = made.value_function.see(train).log_odds["validation"]
    member = made._member(0)
    x, y = torch.from_numpy(train.x), torch.from_numpy(train.y)
    assert torch.equal(member.logits(x, y, member.evidence, member.start), squashed(odds).float())
    mean = float(member.start.sigmoid().mean())
    assert mean > 0.7  # there are no wrong labels
    assert member.bounds == (0.3, mean)
    inside = replace(JUDGED, mean_bounds=(0.1, 0.99))
    assert DVRL(train, problem, inside)._member(0).bounds == (0.1, 0.99)


def test_squashed_log_odds_keep_their_order_and_leave_both_actions_possible() -> None:
    odds = torch.linspace(-30, 30, 2001, dtype=torch.float64)
    assert (squashed(odds).diff() >= 0).all()
    assert (squashed(odds)[900:1101].diff() > 0).all()
    assert squashed(odds).abs().max() <= 3
    torch.testing.assert_close(squashed(odds / 1000), odds / 1000, rtol=1e-3, atol=1e-12)


def test_no_steps_give_the_best_input(digits_small: Any, problem: Problem) -> None:
    train = digits_small[0]
    made = learned(train, problem, replace(JUDGED, steps=0))
    assert (made.total, made.restarts, made.verdict) == (0, [], None)
    assert not made.value_function.learned
    np.testing.assert_array_equal(
        made.value_function.values(train), made.value_function.rankings(train)[made.value_function.best]
    )
    assert made.final_weights() is None


def test_learning_changes_phi_and_stops_when_nobody_asks(digits_small: Any, problem: Problem) -> None:
    train = digits_small[0]
    made = DVRL(train, problem, PAPER)
    before = made.value_function.values(train)
    steps = made.steps()
    next(steps)
    after_one = made.value_function.values(train)
    next(steps)
    after_two = made.value_function.values(train)
    steps.close()
    assert not np.array_equal(before, after_one)
    assert not np.array_equal(after_one, after_two)
    np.testing.assert_array_equal(made.value_function.values(train), after_two)


def test_annealing_ends_at_a_standstill(digits_small: Any, problem: Problem) -> None:
    """The cosine reaches 0 at the last step, so its neighbour's step is 1/2 (1 - cos(pi / T)) of the first's length."""

    def moves(anneal: bool) -> list[float]:
        made = DVRL(digits_small[0], problem, replace(PAPER, steps=20, anneal=anneal))
        seen = [p.detach().clone() for p in made._member(problem.seed).parameters()]
        lengths = []
        for _ in made.steps():
            now = [p.detach().clone() for p in made.value_function.members[0].parameters()]
            lengths.append(float(sum((a - b).square().sum() for a, b in zip(now, seen, strict=True)) ** 0.5))
            seen = now
        return lengths

    falling, constant = moves(True), moves(False)
    assert falling[0] == pytest.approx(constant[0])
    assert falling[-1] < 0.05 * constant[-1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", -1),
        ("hidden", 0),
        ("exploration", float("inf")),
        ("baseline", "none"),
        ("mean_bounds", (0.7, 0.3)),
        ("mean_bounds", None),
        ("judge", 1),
        ("judge", -2),
        ("judge", 2.0),
        ("restarts", 0.5),
        ("start", "here"),
        ("evidence", ()),
        ("evidence", ("validation", "validation")),
        ("evidence", 3),
        ("policy", None),
        ("control_variate", "mean"),
        ("temperature", -1),
    ],
)
def test_a_setting_out_of_range_is_named(name: str, value: Any) -> None:
    with pytest.raises(ParameterError, match=f"'{name}' parameter of DVRL"):
        replace(PAPER, **{name: value}).check()


def test_one_rollout_needs_a_baseline_that_looks_back() -> None:
    with pytest.raises(ParameterError, match="'rollouts' parameter must be >= 2"):
        Settings(rollouts=1).check()
    Settings(rollouts=1, baseline="moving-average", reward_scale=1.0).check()
    Settings(rollouts=1, policy="gumbel").check()  # compares nothing


def test_settings_that_exclude_each_other() -> None:
    with pytest.raises(ParameterError, match="control_variate='taylor' is for the score function"):
        Settings(policy="gumbel", control_variate="taylor").check()
    with pytest.raises(ParameterError, match="would leave h_phi untrained"):
        Settings(steps=0, start="nothing").check()
    Settings(steps=0).check()


def test_between_steps_the_threads_are_the_consumer_s(digits_small: Any, problem: Problem) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        first, second = DVRL(digits_small[0], problem, JUDGED).steps(), DVRL(digits_small[0], problem, JUDGED).steps()
        for _ in zip(first, second, strict=True):
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_target_s_value_does_not_depend_on_its_neighbours_in_the_call() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype(np.float32)
    y = np.where(np.arange(40) % 4 == 0, 0, x[:, 0]).astype(np.float32)  # some targets are 0
    examples = Examples(x, y, np.arange(40))
    targets = Problem(make_predictor("linear"), examples, Task("regression", 1), METRICS["rmse"], seed=0)
    function = learned(examples, targets, PAPER).value_function
    assert function.learned
    alone = np.concatenate([function.values(examples.take([i])) for i in range(8)])
    np.testing.assert_allclose(alone, function.values(examples)[:8], rtol=1e-5)


# Folds


class Watched(InProcess):
    """Keeps the problems it was turned to."""

    turned: list[Problem]
    closed = 0

    def turn_to(self, problem: Problem) -> None:
        self.turned.append(problem)
        super().turn_to(problem)

    def close(self) -> None:
        type(self).closed += 1


def test_each_fold_learns_from_the_others_and_steps_are_counted_on(
    digits_small: Any, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "turned", [], raising=False)
    monkeypatch.setattr(Watched, "closed", 0)
    made = DVRL(digits_small[0], problem, replace(JUDGED, judge=3, steps=7), Watched)
    assert made.total == 6  # two steps a fold
    assert [step.t for step in made.steps()] == [0, 1, 2, 3, 4, 5]
    assert Watched.closed == 1
    assert len(made.value_function.members) == 3
    learned_from = [set(p.valid.ids.tolist()) for p in Watched.turned]
    assert [len(rows) for rows in learned_from] == [27, 27, 26] or sorted(map(len, learned_from)) == [26, 27, 27]
    assert set.intersection(*learned_from) == set()
    assert set.union(*learned_from) == set(problem.valid.ids.tolist())


def test_the_utility_is_closed_where_a_consumer_stops(
    digits_small: Any, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watched, "turned", [], raising=False)
    monkeypatch.setattr(Watched, "closed", 0)
    steps = DVRL(digits_small[0], problem, JUDGED, Watched).steps()
    next(steps)
    steps.close()
    assert Watched.closed == 1


def test_fewer_steps_than_folds_are_one_each(digits_small: Any, problem: Problem) -> None:
    assert len(list(DVRL(digits_small[0], problem, replace(JUDGED, steps=1)).steps())) == 2


def test_values_are_the_mean_of_the_folds_log_odds(digits_small: Any, problem: Problem) -> None:
    train = digits_small[0]
    function = replace(learned(train, problem, JUDGED).value_function, learned=True)
    seen = function.see(train)
    odds = [function.log_odds(member, train, seen) for member in function.members]
    assert not torch.equal(odds[0], odds[1])
    expected = 1 / (1 + np.exp(-torch.stack(odds).mean(0).numpy()))
    np.testing.assert_allclose(function.values(train), expected, rtol=1e-12)


# Collapses


def test_a_run_that_really_collapses_is_learned_again_and_then_given_up(digits_small: Any, problem: Problem) -> None:
    """A step of 100 in every weight, with nothing to hold the mean, leaves no example between 0 and 1."""
    train = digits_small[0]
    made = learned(train, problem, replace(PAPER, learning_rate=100.0, exploration=0.0, restarts=1, anneal=False))
    assert [(e["fold"], e["attempt"]) for e in made.restarts] == [(0, 0), (0, 1)]
    assert all(e["how"] in {"all values at 1", "all values at 0", "no variance"} for e in made.restarts)
    assert not made.value_function.learned
    np.testing.assert_array_equal(made.value_function.values(train), made.value_function.rankings(train)["validation"])
    assert made.verdict is None


def collapsing(monkeypatch: pytest.MonkeyPatch, *verdicts: str | None) -> list[np.ndarray]:
    """Says of one h_phi after the other how it collapsed; the values they had come into the list."""
    said, seen = iter(verdicts), []

    def collapse(values: np.ndarray, reference: np.ndarray) -> str | None:
        seen.append(values)
        return next(said)

    monkeypatch.setattr(dvrl, "collapse", collapse)
    return seen


def test_what_is_learned_again_is_learned_from_other_draws(
    digits_small: Any, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = digits_small[0]
    seen = collapsing(monkeypatch, "no variance", "inverted values", None, None)
    made = DVRL(train, problem, JUDGED)
    assert [step.t for step in made.steps()] == [0, 1, 2, 0, 1, 2, 0, 1, 2, 3, 4, 5]  # fold 0 three times, 1
    assert made.restarts == [
        {"fold": 0, "attempt": 0, "how": "no variance"},
        {"fold": 0, "attempt": 1, "how": "inverted values"},
    ]
    assert len({values.tobytes() for values in seen}) == 4
    assert len(made.value_function.members) == 2
    assert made.verdict is not None


def test_a_fold_that_is_given_up_leaves_the_others_to_be_judged(
    digits_small: Any, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    collapsing(monkeypatch, "no variance", None)
    made = learned(digits_small[0], problem, replace(JUDGED, restarts=0))
    assert made.restarts == [{"fold": 0, "attempt": 0, "how": "no variance"}]
    assert len(made.value_function.members) == 1
    assert made.verdict is not None


def test_restarts_that_were_not_needed_change_no_bits(digits_small: Any, problem: Problem) -> None:
    train = digits_small[0]
    one, other = (learned(train, problem, replace(JUDGED, restarts=n)).value_function for n in (0, 2))
    assert not np.array_equal(one.members[0].estimator.body[0].bias.detach(), 0)
    for a, b in zip(one.members, other.members, strict=True):
        assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))


# What is returned


class Same:
    """Predicts the same of every training set: what is learned on it is nothing."""

    differentiable = False

    def fit(self, sets: TrainingSets, *, seed: Any) -> Same:
        return replace_rollouts(self, sets.rollouts)

    def predict(self, x: Tensor) -> Tensor:
        p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
        return p.expand(getattr(self, "rollouts", 1), len(x), 3).clone()

    def fit_predict(self, sets: TrainingSets, x: Tensor, *, seed: Any) -> Tensor:
        return self.fit(sets, seed=seed).predict(x)

    def config(self) -> dict[str, Any]:
        return {"name": "custom"}


def replace_rollouts(same: Same, rollouts: int) -> Same:
    fitted = Same()
    fitted.rollouts = rollouts  # type: ignore[attr-defined]
    return fitted


def test_where_learning_cannot_help_the_best_input_is_returned(digits_small: Any, problem: Problem) -> None:
    train, nothing = digits_small[0], replace(problem, predictor=Same())
    made = learned(train, nothing, replace(JUDGED, evidence=("validation", "neighbors"), mean_bounds=(0.0, 1.0)))
    assert made.verdict is not None
    assert made.verdict.utility.gain == 0
    assert not made.value_function.learned
    assert made.value_function.best == "pooled"
    np.testing.assert_array_equal(made.value_function.values(train), made.value_function.rankings(train)["pooled"])


def test_a_source_that_harms_though_its_labels_look_right_is_learned() -> None:
    """Two sources: of one, labels follow the sign of a; of the other, its opposite; D^v is of the first.

    The neighbours of a row are of its own source, so they find every label right: from the start all rows are used, and
    a logistic regression on both is right of half the rows. Its utility rises as rows of the second go.
    """
    rng = np.random.default_rng(0)
    n, m = 160, 60
    source = np.concatenate([np.arange(n) % 2, np.zeros(m, int)])
    a = np.where(rng.random(n + m) < 0.5, 1, -1) * rng.uniform(1, 2, n + m)
    y = np.where(source == 1, a < 0, a > 0).astype(np.int64)
    x = np.stack([a, 4.0 * source], 1).astype(np.float32)
    rows = Examples(x, y, np.arange(n + m))
    train, valid = rows.take(range(n)), rows.take(range(n, n + m))
    problem = Problem(make_predictor("logistic"), valid, Task("classification", 2), METRICS["accuracy"], seed=0)
    made = learned(train, problem, Settings(steps=160, evidence=("neighbors",), rollouts=16, outer_batch=32))
    other = source[:n] == 1
    start = made.value_function.rankings(train)["neighbors"]
    assert abs(start[other].mean() - start[~other].mean()) < 0.05
    assert made.verdict is not None
    assert made.verdict.learned_is_better
    assert made.value_function.learned
    values = made.value_function.values(train)
    assert values[~other].min() > values[other].max()
    assert made.verdict.best_way.startswith("learned")
    weights = made.final_weights()
    assert weights is not None
    assert weights[~other].mean() > 0.4
    assert weights[other].max() < 0.1

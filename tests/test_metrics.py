"""Metrics by hand, and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from raydm.errors import DataError, ParameterError
from raydm.metrics import (
    METRICS,
    discovery_auc,
    discovery_f1,
    discovery_recall,
    discovery_recall_at_count,
    lower_cluster,
    metric_for,
)

# Two rollouts, four examples, two classes; p(class 1) in the rows.
P1 = torch.tensor([[0.1, 0.4, 0.35, 0.8], [0.9, 0.2, 0.5, 0.5]])
PROBABILITIES = torch.stack([1 - P1, P1], dim=-1)
LABELS = torch.tensor([0, 0, 1, 1])
# Two rollouts, three targets.
TARGETS = torch.tensor([1.0, 2.0, 4.0])
PREDICTED = torch.tensor([[[1.0], [2.0], [4.0]], [[2.0], [2.0], [2.0]]])


def value(name, predictions, y):
    return METRICS[name](predictions, y).tolist()


def test_accuracy_by_hand():
    # Rollout 0 predicts 0 0 0 1; rollout 1 predicts 1 0 0 0, where the first class wins a tie.
    assert value("accuracy", PROBABILITIES, LABELS) == [0.75, 0.25]


def test_auc_by_hand():
    # Pairs (negative, positive). Rollout 0: .1<.35, .1<.8, .4>.35, .4<.8: 3/4.
    # Rollout 1: .9 is above both positives, .2 below both: 2/4.
    assert value("auc", PROBABILITIES, LABELS) == [0.75, 0.5]


def test_auc_counts_ties_half():
    p1 = torch.tensor([[0.5, 0.5, 0.5, 0.9]])  # (.5,.5) ties twice, and .9 beats two: (2 * 1/2 + 2) / 4
    assert value("auc", torch.stack([1 - p1, p1], -1), LABELS) == [0.75]


def test_log_likelihood_by_hand():
    expected = np.log([[0.9, 0.6, 0.35, 0.8], [0.1, 0.8, 0.5, 0.5]]).mean(-1)
    assert value("log-likelihood", PROBABILITIES, LABELS) == pytest.approx(expected, rel=1e-6)


def test_log_likelihood_of_an_impossible_truth_is_finite():
    assert value("log-likelihood", torch.tensor([[[1.0, 0.0]]]), torch.tensor([1])) == pytest.approx([np.log(1e-12)])


def test_regression_metrics_by_hand():
    # Errors of rollout 1: 1, 0, -2; y = 1, 2, 4 with mean 7/3 and sum of squares around it 14/3.
    assert value("rmse", PREDICTED, TARGETS) == pytest.approx([0, (5 / 3) ** 0.5])
    assert value("mae", PREDICTED, TARGETS) == pytest.approx([0, 1])
    assert value("rmspe", PREDICTED, TARGETS) == pytest.approx([0, ((1 + 0 + 1 / 4) / 3) ** 0.5])
    assert value("r2", PREDICTED, TARGETS) == pytest.approx([1, 1 - 5 / (14 / 3)])


# Two rollouts, three examples of two targets; the second target is ten times the first.
TWO_TARGETS = torch.stack([TARGETS, 10 * TARGETS], -1)
TWO_PREDICTED = torch.cat([PREDICTED, torch.tensor([[[10.0], [20.0], [40.0]], [[13.0], [20.0], [36.0]]])], -1)


def test_metrics_of_several_targets_by_hand():
    # Errors of rollout 1: 1, 0, -2 of y = 1, 2, 4; and 3, 0, -4 of y = 10, 20, 40, whose squares around 70/3 sum to
    # 1400/3.
    assert value("rmse", TWO_PREDICTED, TWO_TARGETS) == pytest.approx([0, ((5 + 25) / 6) ** 0.5])
    assert value("mae", TWO_PREDICTED, TWO_TARGETS) == pytest.approx([0, (3 + 7) / 6])
    squares = 1 + 1 / 4 + 0.09 + 0.01
    assert value("rmspe", TWO_PREDICTED, TWO_TARGETS) == pytest.approx([0, (squares / 6) ** 0.5])
    shares = 1 - 5 / (14 / 3), 1 - 25 / (1400 / 3)
    assert value("r2", TWO_PREDICTED, TWO_TARGETS) == pytest.approx([1, sum(shares) / 2])
    for name in ("rmse", "mae", "rmspe", "r2"):
        assert METRICS[name].smooth is METRICS[name]
        assert METRICS[name].utility(TWO_PREDICTED, TWO_TARGETS).argmax() == 0


@pytest.mark.parametrize("name", ["rmse", "mae", "rmspe", "r2"])
def test_one_target_may_have_an_axis_and_several_must(name):
    assert value(name, PREDICTED, TARGETS[:, None]) == value(name, PREDICTED, TARGETS)
    for predictions, y in ((TWO_PREDICTED, TARGETS), (PREDICTED, TWO_TARGETS), (PREDICTED[:, :2], TARGETS)):
        with pytest.raises(ParameterError, match=r"of shape \(\d, \d\), as the predictions"):
            METRICS[name](predictions, y)


def test_rmspe_leaves_out_single_targets_of_zero():
    # Of the first row only the second target counts, -1 at 2; of the second row both, 1 at 4 and 0.
    p, y = torch.tensor([[[5.0, 1.0], [5.0, 3.0]]]), torch.tensor([[0.0, 2.0], [4.0, 3.0]])
    assert value("rmspe", p, y) == pytest.approx([((1 / 4 + 1 / 16) / 3) ** 0.5])


def test_r2_of_a_constant_target_is_refused_by_its_place():
    y = torch.stack([TARGETS, torch.full((3,), 0.1)], -1)  # its variance is not quite 0 in floating point
    with pytest.raises(DataError, match=r"variance of y\[:, 1\], which is 0\. Use 'rmse'"):
        METRICS["r2"](TWO_PREDICTED, y)


def test_rmspe_leaves_out_targets_of_zero():
    # Errors 5 at y = 0, left out, and -1 at y = 2: sqrt((1/2)^2).
    assert value("rmspe", torch.tensor([[[5.0], [1.0]]]), torch.tensor([0.0, 2.0])) == [0.5]


@pytest.mark.parametrize("name", METRICS)
def test_utility_is_higher_for_the_better_rollout(name):
    predictions, y = (PROBABILITIES, LABELS) if METRICS[name].task == "classification" else (PREDICTED, TARGETS)
    u = METRICS[name].utility(predictions, y)  # in both, rollout 0 is the better one
    assert u.shape == (2,)
    assert u.dtype == torch.float64
    assert u[0] > u[1]


@given(st.integers(0, 10_000), st.sampled_from([2, 3, 5]), st.booleans())
def test_classification_agrees_with_scikit_learn(seed, n_classes, ties):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(n_classes), size=(3, 30))
    if ties:  # few distinct scores
        counts = rng.integers(1, 4, size=p.shape)
        p = counts / counts.sum(-1, keepdims=True)
    y = np.concatenate([np.arange(n_classes), rng.integers(n_classes, size=30 - n_classes)])
    predictions, truth = torch.from_numpy(p), torch.from_numpy(y)
    areas = [sk.roc_auc_score(y, q[:, 1] if n_classes == 2 else q, multi_class="ovr") for q in p]
    assert value("auc", predictions, truth) == pytest.approx(areas)
    accuracies = [sk.accuracy_score(y, q.argmax(-1)) for q in p]
    assert value("accuracy", predictions, truth) == pytest.approx(accuracies)
    losses = [sk.log_loss(y, q, labels=range(n_classes)) for q in p]
    assert value("log-likelihood", predictions, truth) == pytest.approx([-loss for loss in losses])


@given(st.integers(0, 10_000))
def test_regression_agrees_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    p, y = rng.normal(size=(3, 20)), rng.normal(size=20)
    predictions, truth = torch.from_numpy(p).unsqueeze(-1), torch.from_numpy(y)
    assert value("rmse", predictions, truth) == pytest.approx([sk.root_mean_squared_error(y, q) for q in p])
    assert value("mae", predictions, truth) == pytest.approx([sk.mean_absolute_error(y, q) for q in p])
    assert value("r2", predictions, truth) == pytest.approx([sk.r2_score(y, q) for q in p])
    percentage = [sk.mean_squared_error(np.ones(20), q / y) ** 0.5 for q in p]
    assert value("rmspe", predictions, truth) == pytest.approx(percentage)


@given(st.integers(0, 10_000), st.integers(2, 4))
def test_regression_of_several_targets_agrees_with_scikit_learn(seed, targets):
    rng = np.random.default_rng(seed)
    p, y = rng.normal(size=(3, 20, targets)), rng.normal(size=(20, targets))
    predictions, truth = torch.from_numpy(p), torch.from_numpy(y)
    roots = [sk.mean_squared_error(y, q) ** 0.5 for q in p]  # root_mean_squared_error would average roots
    assert value("rmse", predictions, truth) == pytest.approx(roots)
    assert value("mae", predictions, truth) == pytest.approx([sk.mean_absolute_error(y, q) for q in p])
    assert value("r2", predictions, truth) == pytest.approx([sk.r2_score(y, q) for q in p])


@pytest.mark.parametrize("name", METRICS)
def test_nan_predictions_give_nan(name):
    # A training that diverged must not pass for a score: argmax, for one, takes NaN for the largest.
    classes = METRICS[name].task == "classification"
    predictions, y = (PROBABILITIES, LABELS) if classes else (PREDICTED, TARGETS)
    predictions = predictions.clone()
    predictions[1, 2] = torch.nan
    u = METRICS[name].utility(predictions, y)
    assert u.isnan().tolist() == [False, True]


def test_auc_of_one_class_is_refused():
    with pytest.raises(DataError, match=r"at least two classes.*'accuracy'"):
        METRICS["auc"](PROBABILITIES, torch.zeros(4, dtype=torch.int64))


def test_auc_of_several_classes_is_over_those_present():
    p = torch.tensor([[[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1]]])
    y = torch.tensor([0, 1, 0])  # class 2 is absent; 0 and 1 are ranked without a fault
    assert value("auc", p, y) == [1.0]


@pytest.mark.parametrize(("name", "y"), [("rmspe", torch.zeros(3)), ("r2", torch.ones(3))])
def test_division_by_zero_is_refused_with_the_remedy(name, y):
    with pytest.raises(DataError, match=f"'{name}' divides.*'rmse'"):
        METRICS[name](PREDICTED, y)


def test_default_metrics():
    assert metric_for(None, "classification").name == "accuracy"
    assert metric_for(None, "regression").name == "rmse"


@pytest.mark.parametrize(
    ("name", "task", "fitting"),
    [
        ("rmse", "classification", "'accuracy', 'auc'"),
        ("auc", "regression", "'rmse', 'mae'"),
        ("f1", "regression", "'r2'"),
    ],
)
def test_metrics_that_do_not_fit_are_refused(name, task, fitting):
    with pytest.raises(ParameterError, match=rf"one of .*{fitting}.* for {task}\. Got '{name}'"):
        metric_for(name, task)


def test_discovery_auc_by_hand():
    # Flipped at .1 and .5, clean at .5 and .9: three pairs right, one tied: 3.5 / 4.
    assert discovery_auc([0.1, 0.5, 0.5, 0.9], [True, True, False, False]) == 0.875
    assert discovery_auc([0.9, 0.1], [True, False]) == 0.0


def test_discovery_recall_by_hand():
    values, flipped = [0.4, 0.1, 0.3, 0.2, 0.5], [False, True, True, False, False]
    # Ascending: flipped, clean, flipped, clean, clean. Half a row counts in proportion.
    assert discovery_recall(values, flipped, [0, 0.2, 0.4, 0.6, 1, 0.1]) == pytest.approx([0, 0.5, 0.5, 1, 1, 0.25])


def test_discovery_recall_shares_ties_out():
    # One flipped at the lowest value; then a tie of four with one flipped: each inspected row finds a quarter of it.
    values, flipped = [0.1, 0.5, 0.5, 0.5, 0.5], [True, False, True, False, False]
    recalls = discovery_recall(values, flipped, np.arange(6) / 5)
    assert recalls == pytest.approx([0, 0.5, 0.625, 0.75, 0.875, 1])


@given(
    st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=2, max_size=12).filter(
        lambda rows: len({flipped for _, flipped in rows}) == 2
    )
)
def test_area_under_the_recall_curve_is_the_discovery_auc(rows):
    # By trapezoids over inspected shares: area = AUC (1 - f) + f / 2, with f the share of flipped examples.
    values, flipped = np.array([v for v, _ in rows]), np.array([f for _, f in rows])
    shares = np.arange(len(rows) + 1) / len(rows)
    area = np.trapezoid(discovery_recall(values, flipped, shares), shares)
    f = flipped.mean()
    assert area == pytest.approx(discovery_auc(values, flipped) * (1 - f) + f / 2)


def test_recall_at_the_true_count_by_hand():
    # Two are flipped, so two are inspected: .1 (flipped) and one of the tie of three at .5, of which one is flipped.
    values, flipped = [0.5, 0.1, 0.5, 0.5, 0.9], [True, True, False, False, False]
    assert discovery_recall_at_count(values, flipped) == pytest.approx((1 + 1 / 3) / 2)


def test_discovery_f1_by_hand():
    # Clusters {0, 1, 2} and {10, 11}: of the three called flipped two are, of the three flipped two are called.
    values, flipped = [0, 10, 1, 11, 2], [True, True, True, False, False]
    assert lower_cluster(values).tolist() == [True, False, True, False, True]
    assert discovery_f1(values, flipped) == pytest.approx(2 * 2 / (3 + 3))
    assert discovery_f1([0, 0, 1, 1], [True, True, False, False]) == 1.0
    assert discovery_f1([1, 1, 0, 0], [True, True, False, False]) == 0.0


def test_equal_values_call_nothing_flipped():
    assert not lower_cluster([0.3] * 4).any()
    assert discovery_f1([0.3] * 4, [True, False, False, False]) == 0.0


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9).filter(lambda v: len(set(v)) > 1), st.floats(-1e3, 1e3))
def test_the_lower_cluster_has_the_least_sum_of_squares(values, shift):
    def within(lower):
        values_ = np.array(values, dtype=float)
        return sum(((part - part.mean()) ** 2).sum() for part in (values_[lower], values_[~lower]))

    lower = lower_cluster(np.array(values) + shift)
    cuts = [np.array(values) <= cut for cut in sorted(set(values))[:-1]]
    assert any((lower == cut).all() for cut in cuts)
    assert within(lower) == pytest.approx(min(map(within, cuts)), abs=1e-6)

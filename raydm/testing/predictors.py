"""What every predictor must do."""

from __future__ import annotations

import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.predictors import Predictor, TrainingSets, make_predictor

Array = npt.NDArray[Any]

_N, _R = 40, 4
_SHARED = np.full(_R, 7, dtype=np.int64)
_DISTINCT = np.arange(11, 11 + _R, dtype=np.int64)


def problem(task: Task, n: int, d: int, dtype: type = np.float32) -> tuple[Array, Array]:
    """A learnable problem: x (N, D) standard normal, y (N,) the largest of C linear scores, or a noisy linear one.

    Of C > 1 targets y is (N, C): each a noisy linear one of its own, the next in units a tenth of the last.
    """
    rng = np.random.default_rng(5)
    x: Array = rng.normal(size=(n, d)).astype(dtype)
    scores = x @ rng.normal(size=(d, task.n_outputs))
    if task.kind == "classification":
        return x, scores.argmax(-1)
    if task.several_targets:
        return x, ((3 + scores + 0.1 * rng.normal(size=scores.shape)) * 10.0 ** np.arange(task.n_outputs)).astype(dtype)
    return x, (3 + scores[:, 0] + 0.1 * rng.normal(size=n)).astype(dtype)


class PredictorContract(ABC):
    """Subclass it in a test module, and say how yours is made. Keep its training short: it is trained some 40 times.

    Example::

        class TestMine(PredictorContract):
            def make(self, task):
                return make_predictor("mine", epochs=5)

    Attributes:
        tasks: those that it can be used for.
        n_features: D of the contract's data.
        takes_weights: whether fractional weights can be used; if not, they must be refused.
        weight_tolerance: relative error allowed between an example of weight 2 and one that is there twice.
        separate_targets: whether learning several targets is learning each by itself; else they may share something.
        target_tolerance: relative error allowed between the two, and between the predictions of equal targets.
    """

    tasks: ClassVar[Sequence[Task]] = (Task("classification", 3), Task("regression", 1), Task("regression", 2))
    n_features: int = 6
    takes_weights: bool = True
    weight_tolerance: float = 1e-6
    separate_targets: bool = False
    target_tolerance: float = 1e-6

    @abstractmethod
    def make(self, task: Task) -> Predictor:
        """A new predictor for the task."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Runs each check for each task."""
        metafunc.parametrize("task", self.tasks, ids=_name)

    def test_predictions_have_the_shape_of_the_task(self, task: Task) -> None:
        """(R, M, C), finite; over classes they are probabilities."""
        sets = self._sets(task)
        p = self.make(task).fit_predict(sets, sets.x[:9], seed=_DISTINCT)
        assert p.shape == (_R, 9, task.n_outputs)
        assert torch.isfinite(p).all()
        if task.kind == "classification":
            assert (p >= 0).all()
            torch.testing.assert_close(p.sum(-1).double(), torch.ones(_R, 9).double(), rtol=0, atol=1e-5)

    def test_training_learns(self, task: Task) -> None:
        """Trained on all examples it fits them better than a constant does."""
        sets = self._sets(task, torch.ones(1, _N))
        p = self.make(task).fit_predict(sets, sets.x, seed=_SHARED[:1])[0].double()
        if task.kind == "classification":
            most_frequent = sets.y.bincount().max() / _N
            assert (p.argmax(-1) == sets.y).double().mean() > most_frequent
        else:
            y = sets.y.reshape(_N, task.n_outputs)
            assert ((p - y).square().mean(0) < y.var(0)).all()

    def test_same_seed_gives_same_bits(self, task: Task) -> None:
        """Two predictors made alike, trained on equal sets with equal seeds."""
        sets = self._sets(task)
        for seed in (_SHARED, _DISTINCT):
            first, again = (self.make(task).fit_predict(sets, sets.x, seed=seed) for _ in range(2))
            assert torch.equal(first, again)

    def test_fitting_leaves_the_predictor_as_it_was(self, task: Task) -> None:
        """What it was trained on before has no influence."""
        sets, used = self._sets(task), self.make(task)
        config = used.config()
        used.fit(self._sets(task, torch.ones(2, _N)), seed=_DISTINCT[:2])
        assert used.config() == config
        fresh = self.make(task).fit_predict(sets, sets.x, seed=_DISTINCT)
        assert torch.equal(used.fit_predict(sets, sets.x, seed=_DISTINCT), fresh)

    def test_rollouts_do_not_touch_each_other(self, task: Task) -> None:
        """A rollout gives the same bits whatever the stack's other sets hold, and nearly the same by itself."""
        sets = self._sets(task)
        others = TrainingSets(sets.x, sets.y, torch.cat([sets.w[:1], 1 - sets.w[1:]]), task)
        for seed in (_SHARED, _DISTINCT):
            p = self.make(task).fit_predict(sets, sets.x, seed=seed)
            assert torch.equal(self.make(task).fit_predict(others, sets.x, seed=seed)[0], p[0])
            for r in range(_R):
                alone = self.make(task).fit_predict(sets[slice(r, r + 1)], sets.x, seed=seed[r : r + 1])[0]
                torch.testing.assert_close(alone, p[r], rtol=1e-5, atol=1e-5)

    def test_sets_may_be_shared_or_not(self, task: Task) -> None:
        """x (N, D) is x (R, N, D) repeated, and so with y."""
        sets = self._sets(task)
        x, y = sets.x.expand(_R, -1, -1).clone(), sets.y.expand(_R, *sets.y.shape).clone()
        for seed in (_SHARED, _DISTINCT):
            p = self.make(task).fit_predict(sets, sets.x, seed=seed)
            for unshared in (TrainingSets(x, sets.y, sets.w, task), TrainingSets(x, y, sets.w, task)):
                q = self.make(task).fit_predict(unshared, sets.x, seed=seed)
                torch.testing.assert_close(q, p, rtol=1e-5, atol=1e-5)

    def test_absent_examples_have_no_influence(self, task: Task) -> None:
        """Whatever features and labels they hold, to the last bit."""
        sets, absent = self._sets(task), slice(0, 12)
        sets.w[:, absent] = 0
        x, y = sets.x.clone(), sets.y.clone()
        x[absent] = 40 * x[absent].flip(0) - 3
        y[absent] = (y[absent] + 1) % task.n_outputs if task.kind == "classification" else 50 - 9 * y[absent]
        for seed in (_SHARED, _DISTINCT):
            p = self.make(task).fit_predict(sets, sets.x, seed=seed)
            garbage = self.make(task).fit_predict(TrainingSets(x, y, sets.w, task), sets.x, seed=seed)
            assert torch.equal(garbage, p)

    def test_an_empty_set_gives_a_constant_predictor(self, task: Task) -> None:
        """Beside sets that are not empty; a torch module's readout must start at zero for this."""
        sets = self._sets(task)
        sets.w[1] = 0
        p = self.make(task).fit_predict(sets, sets.x, seed=_DISTINCT)
        assert torch.isfinite(p).all()
        assert (p[1] == p[1, 0]).all()
        assert (p[0] != p[0, 0]).any()

    def test_a_set_of_one_class_predicts_that_class(self, task: Task) -> None:
        """For its own examples; in regression, a set of one example predicts its targets."""
        sets = self._sets(task)
        if task.kind == "classification":
            w = torch.stack([sets.y == c for c in range(task.n_outputs)]).float()
            p = self.make(task).fit_predict(self._sets(task, w), sets.x, seed=_SHARED[: len(w)])
            assert all((p[c].argmax(-1) == c)[sets.y == c].all() for c in range(task.n_outputs))
        else:
            w = torch.eye(_N)[:2]
            p = self.make(task).fit_predict(self._sets(task, w), sets.x[:2], seed=_SHARED[:2])
            y = sets.y[:2].reshape(2, task.n_outputs)
            torch.testing.assert_close(p[[0, 1], [0, 1]].float(), y, rtol=1e-3, atol=1e-3)

    def test_equal_targets_get_equal_predictions(self, task: Task) -> None:
        """Also where targets share something; a torch module's readout must start at zero for this."""
        if not task.several_targets:
            return
        sets = self._sets(task, dtype=np.float64)
        y = sets.y[:, :1].expand(-1, task.n_outputs).clone()
        p = self.make(task).fit_predict(TrainingSets(sets.x, y, sets.w, task), sets.x, seed=_DISTINCT)
        self._same_targets(p, p[..., :1].expand_as(p))

    def test_separate_targets_are_learned_each_by_itself(self, task: Task) -> None:
        """A fit of C targets predicts what C fits of one target do; where that is said of it."""
        if not (task.several_targets and self.separate_targets):
            return
        one, sets = Task("regression", 1), self._sets(task, dtype=np.float64)
        p = self.make(task).fit_predict(sets, sets.x, seed=_DISTINCT)
        apart = [TrainingSets(sets.x, sets.y[:, c].clone(), sets.w, one) for c in range(task.n_outputs)]
        each = [self.make(one).fit_predict(of, sets.x, seed=_DISTINCT) for of in apart]
        self._same_targets(p, torch.cat(each, -1))

    def test_weight_two_is_an_example_that_is_there_twice(self, task: Task) -> None:
        """In float64. One that takes no weights must say so."""
        sets = self._sets(task, dtype=np.float64)
        sets.w[:, :3] = 1
        twice = torch.cat([torch.arange(_N), torch.arange(3)])
        repeated = TrainingSets(sets.x[twice], sets.y[twice], sets.w[:, twice], task)
        weighted = TrainingSets(sets.x, sets.y, sets.w.clone(), task)
        weighted.w[:, :3] = 2
        if not self.takes_weights:
            with _raises(ParameterError):
                self.make(task).fit(weighted, seed=_SHARED)
            return
        p = self.make(task).fit_predict(repeated, sets.x, seed=_SHARED)
        q = self.make(task).fit_predict(weighted, sets.x, seed=_SHARED)
        torch.testing.assert_close(q, p, rtol=self.weight_tolerance, atol=self.weight_tolerance)
        once = self.make(task).fit_predict(sets, sets.x, seed=_SHARED)
        assert (once - p).abs().max() > 10 * self.weight_tolerance

    def test_saved_and_read_back_it_predicts_the_same_bits(self, task: Task, tmp_path: Path) -> None:
        """Through its configuration as JSON, if it can be made from one."""
        sets, predictor = self._sets(task), self.make(task)
        fitted = predictor.fit(sets, seed=_DISTINCT)
        fitted.save(tmp_path)
        config = json.loads(json.dumps(predictor.config()))
        name = config.pop("name")
        rebuilt = self.make(task) if name == "custom" else make_predictor(name, **config)
        loaded = rebuilt.load(tmp_path, task, self.n_features)
        assert torch.equal(loaded.predict(sets.x), fitted.predict(sets.x))

    def test_pickled_it_gives_the_same_bits(self, task: Task) -> None:
        """As it travels to another process."""
        sets, predictor = self._sets(task), self.make(task)
        import cloudpickle  # of the test extra

        copy = cloudpickle.loads(cloudpickle.dumps(predictor))
        first = predictor.fit_predict(sets, sets.x, seed=_DISTINCT)
        assert torch.equal(copy.fit_predict(sets, sets.x, seed=_DISTINCT), first)

    def _same_targets(self, p: Tensor, expected: Tensor) -> None:
        """Relative to how far each target's predictions (R, M, C) spread."""
        spread = expected.flatten(0, 1).std(0)
        torch.testing.assert_close(p / spread, expected / spread, rtol=0, atol=self.target_tolerance)

    def _sets(self, task: Task, w: Tensor | None = None, dtype: type = np.float32) -> TrainingSets:
        """R sets that use about 7 of 10 examples each."""
        x, y = (torch.from_numpy(a) for a in problem(task, _N, self.n_features, dtype))
        if w is None:
            w = torch.from_numpy((np.random.default_rng(2).random((_R, _N)) < 0.7).astype(dtype))
        return TrainingSets(x, y, w, task)


def _name(task: Task) -> str:
    return f"{task.n_outputs} targets" if task.several_targets else task.kind


class DifferentiablePredictorContract(PredictorContract):
    """For predictors that say they are differentiable: the gradients in x, y and w are right."""

    def test_it_says_that_it_is_differentiable(self, task: Task) -> None:
        """Pathwise gradients ask for this."""
        assert self.make(task).differentiable

    def test_gradients_are_those_of_finite_differences(self, task: Task) -> None:
        """Of predictions in the features, the class probabilities or targets, and the weights; in float64."""
        n, r = 5, 2
        rng = np.random.default_rng(8)
        x, y = (torch.from_numpy(a) for a in problem(task, n + 3, self.n_features, np.float64))
        if task.kind == "classification":
            y = torch.from_numpy(rng.dirichlet(np.ones(task.n_outputs), n + 3))
        w = torch.from_numpy(rng.uniform(0.5, 1.5, (r, n)))
        predictor = self.make(task)

        def predictions(x_train: Tensor, y_train: Tensor, weights: Tensor) -> Tensor:
            return predictor.fit_predict(TrainingSets(x_train, y_train, weights, task), x[n:], seed=_DISTINCT[:r])

        inputs = tuple(t.requires_grad_() for t in (x[:n].clone(), y[:n].clone(), w))
        assert torch.autograd.gradcheck(predictions, inputs, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=True)


@contextlib.contextmanager
def _raises(kind: type[Exception]) -> Any:
    """`pytest.raises`, without pytest."""
    try:
        yield
    except kind:
        return
    raise AssertionError(f"Expected {kind.__name__}, and nothing was raised.")

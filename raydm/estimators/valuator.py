"""`DataValuator`: the verb `value` in Python."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.validation import check_is_fitted

from raydm.changes import Schedule
from raydm.data import Examples, Prepared, encode
from raydm.data.labels import TaskKind
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmWarning
from raydm.estimators.labelled import LINEAR, Labelled
from raydm.learner import Step
from raydm.metrics import metric_for
from raydm.predictors import Predictor, TablePredictor
from raydm.seeding import stream
from raydm.utility import InProcess, Problem
from raydm.valuation import MakeUtility, Settings, ValueFunction, is_number
from raydm.valuation.game import Estimate
from raydm.valuation.methods import SHARES, Learned, check_params, make_valuation, usual_threshold
from raydm.valuation.training import fit, predict, takes_weights


class DataValuator(Labelled):
    """Learns a value for every training example against a small trusted validation set.

    Takes numpy arrays, pandas, polars and pyarrow tables, Hugging Face datasets, torch datasets and paths of Parquet,
    CSV or Arrow files. Columns are told apart by type and encoded; see `raydm.data`.

    Args:
        predictor: f_theta: "logistic", "linear", "mlp", "cnn", "lightgbm", "xgboost", "naive-bayes", "random-forest",
            the dotted name of a scikit-learn estimator, an object with fit and predict, or a
            `raydm.predictors.Stacked`; "auto" is logistic for classification and linear for regression.
        predictor_params: arguments of a named predictor.
        task: "classification", "regression", or None to tell by the labels.
        metric: of the utility: "accuracy" (default), "auc", "log-likelihood"; "rmse" (default), "mae", "rmspe", "r2".
        method: "dvrl", or a game over the same utility: "loo", "shapley", "banzhaf", "knn-shapley", "influence",
            "data-oob"; see `raydm.valuation`.
        method_params: settings of a game, such as {"permutations": 100}.
        steps, outer_batch, rollouts, baseline, reward_scale, learning_rate, anneal, exploration, mean_bounds, evidence,
            start, judge, restarts, policy, temperature, control_variate, schedule: how DVRL learns; see
            `raydm.valuation.Settings`.
        threshold: examples of at least this value are selected. None: 0.5 where values are in [0, 1], else 0; for
            "data-oob" of targets, minus their variance.
        final: how the final predictor is trained: on all examples "weighted" by the values, on the "kept" (selected)
            ones, or on "all" alike. None: as DVRL's judge found best on held-out trusted rows; where nothing was
            judged, weighted if values are in [0, 1] and the predictor takes weights, else kept.
        validation_share: of the training rows that are held out where no validation set is given, in (0, 1).
        utility: where rollouts run: `raydm.utility.InProcess`, or `raydm.distributed.RayRollouts(actors=4)`.
        shard: rollouts trained at once, >= 1.
        shared_restart: all inner trainings restart from the same initial weights.
        random_state: the run's seed, an integer >= 0. Equal seeds give equal values.

    Attributes:
        values_: (N,) data values in the order of the training rows; in [0, 1] by DVRL, and by Data-OOB of classes. Rows
            that were held out as the validation set have one by DVRL alone, else NaN.
        standard_errors_: (N,) of the values, for methods that sample; else None.
        selected_: (N,) bool, value >= threshold.
        threshold_: the threshold that was used.
        inputs_: the rankings (N,) that a method must beat: "random", and each of DVRL's inputs alone.
        valuation_: the method itself; of DVRL, `valuation_.dvrl` holds what the judge found (`verdict`), the inputs'
            `detection`, and `restarts` of collapsed runs.
        predictor_: the final predictor; `predict` and `predict_proba` take rows like X.
        history_: for each step t and seconds; by DVRL also utility (mean over rollouts), utility_min, utility_max and
            mean_h; by games evaluations, share (of the work) and error (mean standard error).
        seconds_: how long learning took.
    """

    def __init__(
        self,
        predictor: Any = "auto",
        *,
        predictor_params: Mapping[str, Any] | None = None,
        task: TaskKind | None = None,
        metric: str | None = None,
        method: str = "dvrl",
        method_params: Mapping[str, Any] | None = None,
        steps: int = Settings.steps,
        outer_batch: int = Settings.outer_batch,
        rollouts: int = Settings.rollouts,
        baseline: str = Settings.baseline,
        reward_scale: float | str = Settings.reward_scale,
        learning_rate: float = Settings.learning_rate,
        anneal: bool = Settings.anneal,
        exploration: float = Settings.exploration,
        mean_bounds: tuple[float, float] = Settings.mean_bounds,
        evidence: Sequence[str] = Settings.evidence,
        start: str = Settings.start,
        judge: int = Settings.judge,
        restarts: int = Settings.restarts,
        policy: str = Settings.policy,
        temperature: float = Settings.temperature,
        control_variate: str = Settings.control_variate,
        schedule: Schedule | None = Settings.schedule,
        threshold: float | None = None,
        final: str | None = None,
        validation_share: float = 0.2,
        utility: MakeUtility = InProcess,
        shard: int = 16,
        shared_restart: bool = True,
        random_state: int = 0,
    ) -> None:
        self.predictor = predictor
        self.predictor_params = predictor_params
        self.task = task
        self.metric = metric
        self.method = method
        self.method_params = method_params
        self.steps = steps
        self.outer_batch = outer_batch
        self.rollouts = rollouts
        self.baseline = baseline
        self.reward_scale = reward_scale
        self.learning_rate = learning_rate
        self.anneal = anneal
        self.exploration = exploration
        self.mean_bounds = mean_bounds
        self.evidence = evidence
        self.start = start
        self.judge = judge
        self.restarts = restarts
        self.policy = policy
        self.temperature = temperature
        self.control_variate = control_variate
        self.schedule = schedule
        self.threshold = threshold
        self.final = final
        self.validation_share = validation_share
        self.utility = utility
        self.shard = shard
        self.shared_restart = shared_restart
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, X_valid: Any = None, y_valid: Any = None) -> DataValuator:
        """Learns the values.

        Args:
            X: (N, D) training features, in any form named above.
            y: (N,) labels, or the name of the label column of X.
            X_valid: (M, D) features of the trusted validation set; None holds rows of X out (with a warning).
            y_valid: (M,) its labels; not needed where y is a column's name.

        Raises:
            ParameterError: an argument out of its range.
            DataError: data that cannot be used, naming column and row.
        """
        for _ in self.fit_iter(X, y, X_valid=X_valid, y_valid=y_valid):
            pass
        return self

    def fit_iter(
        self,
        X: Any,
        y: Any = None,
        *,
        X_valid: Any = None,
        y_valid: Any = None,
    ) -> Iterator[Step | Estimate]:
        """Like `fit`, but yields each step as it is done, for progress bars and early ends; exhaust it to be fitted."""
        self.check()
        table, prepared, kept = self._prepared(X, y, X_valid, y_valid, self.task)
        yield from self.iterate(prepared)
        if kept is not None:
            self._spread(kept, encode(prepared, table, name="X"))

    def iterate(self, prepared: Prepared) -> Iterator[Step | Estimate]:
        """Learns from data that `raydm.data.prepare` checked and encoded; yields each step as it is done.

        Raises:
            ParameterError: an argument out of its range, or several label columns.
        """
        self.check()
        labels = prepared.roles.labels
        if len(labels) > 1:
            raise ParameterError(
                f"raydm value and DataValuator value rows by one label column. Got {len(labels)}: "
                f"{', '.join(map(repr, labels))}. Name one of them; raydm mix takes several."
            )
        self._check_values(prepared.labels.task)
        task = Task(prepared.labels.task, prepared.labels.n_outputs)
        predictor = self.predictor_for(prepared)
        self.problem_ = Problem(
            predictor,
            prepared.valid,
            task,
            metric_for(self.metric, task.kind),
            self.random_state,
            shared_restart=self.shared_restart,
            shard=self.shard,
        )
        started = time.perf_counter()
        self.history_: list[dict[str, float]] = []
        self.valuation_ = make_valuation(
            self.method, self.method_params or {}, self._settings(), prepared.train, self.problem_, self.utility
        )
        for step in self.valuation_.steps():
            self.history_.append(_record(len(self.history_), step, time.perf_counter() - started))
            yield step
        self.prepared_ = prepared
        self.values_, self.standard_errors_ = self.valuation_.values(), self.valuation_.standard_errors()
        self.seconds_ = time.perf_counter() - started
        self.inputs_ = self.valuation_.inputs()
        self._decide()

    def decide(self, threshold: float | None, final: str | None) -> None:
        """Selects by another threshold and trains the final predictor so; nothing is learned again.

        What comes out is what a fit with these arguments gives.

        Args:
            threshold: as the argument of that name.
            final: as the argument of that name.

        Raises:
            ParameterError: one of them is out of its range.
        """
        check_is_fitted(self, "values_")
        self.set_params(threshold=threshold, final=final)
        self.check()
        self._check_values(self.problem_.task.kind)
        self._decide()

    def _decide(self) -> None:
        problem, prepared = self.problem_, self.prepared_
        usual = usual_threshold(self.method, prepared.train, problem.task)
        self.threshold_ = usual if self.threshold is None else self.threshold
        self.selected_ = self.values_ >= self.threshold_
        weights = self._final_weights(problem.predictor, problem.task)
        if not weights.any():
            warnings.warn(
                f"No example reaches the threshold {self.threshold_}, so the final predictor was trained on none. "
                "Lower the threshold, or use final='all'.",
                RaydmWarning,
                stacklevel=3,
            )
        fitted = fit(problem, prepared.train, weights, "The final predictor")
        self.predictor_ = TablePredictor(fitted, prepared.encoder, prepared.labels)

    def value(self, X: Any, y: Any = None) -> npt.NDArray[np.float64]:
        """Values (N,) in [0, 1] that DVRL gives to other labelled rows; arguments as for `fit`.

        Raises:
            ParameterError: the method was a game, which values nothing but its players.
        """
        check_is_fitted(self)
        return self._value_function().values(encode(self.prepared_, self._table(X, y, reset=False)[0], name="X"))

    def predictor_score(self, examples: Examples) -> float:
        """The metric of the final predictor on encoded examples, in the metric's own direction."""
        predictions = predict(self.predictor_.fitted, examples.x, "The final predictor")
        return float(self.problem_.metric(predictions, torch.from_numpy(examples.y)))

    def _value_function(self) -> ValueFunction:
        if not isinstance(self.valuation_, Learned):
            raise ParameterError(f"method={self.method!r} values only the rows it was fitted on. Use method='dvrl'.")
        return self.valuation_.dvrl.value_function

    def _spread(self, kept: npt.NDArray[np.int64], examples: Examples) -> None:
        """From the rows that were kept to train on to all rows, in their order; the others are trusted."""

        def spread(of_kept: npt.NDArray[Any], other: float) -> npt.NDArray[Any]:
            full = np.full(len(examples), other, dtype=of_kept.dtype)
            full[kept] = of_kept
            return full

        if isinstance(self.valuation_, Learned):
            self.values_ = self._value_function().values(examples)
            self.selected_ = self.values_ >= self.threshold_
            rankings = self._value_function().rankings(examples)
        else:
            self.values_, self.selected_ = spread(self.values_, np.nan), spread(self.selected_, True)
            rankings = {k: spread(v, np.nan) for k, v in self.inputs_.items() if k != "random"}
            if self.standard_errors_ is not None:
                self.standard_errors_ = spread(self.standard_errors_, np.nan)
        self.inputs_ = {"random": stream(self.random_state, "random ranking").random(len(examples)), **rankings}

    def _settings(self) -> Settings:
        return Settings(**{f.name: getattr(self, f.name) for f in fields(Settings) if f.name != "hidden"})

    def check(self) -> None:
        """Raises ParameterError where an argument is out of its range; `fit` does this first."""
        owner = type(self).__name__
        self._settings().check()
        check_params(self.method, self.method_params or {})
        if not (is_number(self.validation_share) and 0 < self.validation_share < 1):
            raise ParameterError.of("validation_share", owner, "a number in (0, 1)", self.validation_share)
        if self.final not in (None, "weighted", "kept", "all"):
            raise ParameterError.of("final", owner, "one of 'weighted', 'kept', 'all', None", self.final)
        self._check_values(None)
        if not (isinstance(self.shard, (int, np.integer)) and self.shard >= 1):
            raise ParameterError.of("shard", owner, "an integer >= 1", self.shard)
        if not (isinstance(self.random_state, (int, np.integer)) and self.random_state >= 0):
            raise ParameterError.of("random_state", owner, "an integer >= 0", self.random_state)

    def _check_values(self, kind: TaskKind | None) -> None:
        """Raises ParameterError where threshold or final do not fit values of the method; kind None: not yet known."""
        owner, of = type(self).__name__, SHARES.get(self.method, ())
        surely, perhaps = (len(of) == 2, len(of) > 0) if kind is None else (kind in of, kind in of)
        if self.threshold is not None and not (is_number(self.threshold) and (not surely or 0 <= self.threshold <= 1)):
            expected = "None or a number" + (" in [0, 1]" if surely else "")
            raise ParameterError.of("threshold", owner, expected, self.threshold)
        if self.final == "weighted" and not perhaps:
            whose = f"method={self.method!r}" + (f" for {kind}" if kind and of else "")
            raise ParameterError.of("final", owner, f"'kept' or 'all' with {whose}", self.final)

    def predictor_for(self, prepared: Prepared) -> Predictor:
        """The predictor that is trained on these data.

        Raises:
            ParameterError: it cannot be made, or does not fit the data.
        """
        chosen = LINEAR[prepared.labels.task] if self.predictor == "auto" else self.predictor
        made = self._made(chosen, self.predictor_params or {}, prepared)
        if getattr(made, "early_stopping", None) is not None and made.watched is None:  # type: ignore[attr-defined]
            # D^v is cut into folds here, and what a training watches on one must not be judged on it
            raise ParameterError(
                "The predictor stops early, and DataValuator names no rows to do so by. Take `patience` out, or pass "
                "make_predictor('mlp', patience=...).watching(rows) with rows that are neither trained nor judged on."
            )
        return made

    def _final_weights(self, predictor: Predictor, task: Task) -> npt.NDArray[np.float64]:
        """Weights (N,) of the training examples for the final predictor."""
        judged = self.valuation_.final_weights() if self.final is None else None
        if self.final == "all":
            return np.ones(len(self.values_))
        if judged is not None:
            return judged if takes_weights(predictor, task) else (judged >= self.threshold_).astype(np.float64)
        weighted = task.kind in SHARES.get(self.method, ()) and takes_weights(predictor, task)
        if self.final == "weighted" or (self.final is None and weighted):
            return self.values_
        return self.selected_.astype(np.float64)


def _record(t: int, step: Step | Estimate, seconds: float) -> dict[str, float]:
    if isinstance(step, Estimate):
        errors = step.standard_errors
        error = np.nan if errors is None or np.isnan(errors).all() else float(np.nanmean(errors))
        return {"t": t, "evaluations": step.evaluations, "share": step.share, "error": error, "seconds": seconds}
    u = step.u
    return {
        "t": t,
        "utility": float(u.mean()),
        "utility_min": float(u.min()),
        "utility_max": float(u.max()),
        "mean_h": float(step.policy.mean.detach().mean()),
        "seconds": seconds,
    }

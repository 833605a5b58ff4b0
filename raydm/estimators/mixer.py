"""`DataMixer`: the verb `mix` in Python; and a regressor that mixes before it fits another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted

from raydm.checks import check_integer, is_number
from raydm.data import Prepared, encode
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.estimators.labelled import Labelled
from raydm.learner import Step
from raydm.metrics import metric_for
from raydm.mixing.methods import check_params, make_mixing
from raydm.mixing.mixer import Mixer
from raydm.mixing.options import Options, counts
from raydm.mixing.pairs import Pairs
from raydm.mixing.progress import Progress
from raydm.mixing.scores import mixed_predictor
from raydm.mixing.settings import MixSettings
from raydm.mixing.tables import check_mixable, mixed_table
from raydm.predictors import TablePredictor, make_predictor
from raydm.utility import InProcess, Problem
from raydm.valuation import MakeUtility

# The paper's network on NO2; trainings end where the loss on the trusted rows no longer falls
MLP: Mapping[str, Any] = {
    "hidden": (512, 256), "lr": 1e-3, "steps": 3000, "batch_size": 32, "patience": 20, "check_every": 10,
}  # fmt: skip


class DataMixer(Labelled):
    """Learns which training rows to interpolate with how many of their neighbours, for regression.

    Takes what `raydm.DataValuator` takes; feature columns must be numbers or vectors, labels one or several targets.

    Args:
        method: "mixrl"; or a baseline: "none", "mixup", "adamixup", "global-knn", "c-mixup", "mixrl+adamixup".
        method_params: settings of a baseline, such as {"alpha": 2.0} for mixup; see `raydm.mixing.baselines`.
        predictor: f_theta, as for `DataValuator`; "auto" is the paper's MLP with early stopping on the trusted rows.
        predictor_params: arguments of a named predictor; beside "auto", they change some of the MLP's.
        metric: of the utility: "rmse" (default), "mae", "rmspe", "r2".
        data_options: numbers of nearest neighbours by the distance of features: "1..16", "10..270:10", "2^0..2^8", a
            list, or "none".
        label_options: the same by the distance of labels.
        lam, alpha, steps, outer_batch, rollouts, baseline, reward_scale, learning_rate, anneal, exploration,
            mean_bounds, threshold, repeats: how MixRL learns; see `raydm.mixing.settings.MixSettings`.
        validation_share: of the training rows that are held out where no validation set is given, in (0, 1).
        utility: where rollouts run: `raydm.utility.InProcess`, or `raydm.distributed.RayRollouts(actors=4)`.
        shard: rollouts trained at once, >= 1.
        shared_restart: all inner trainings restart from the same initial weights.
        random_state: the run's seed, an integer >= 0. Equal seeds give equal rows.

    Attributes:
        mixer_: what was learned, and mixes any rows.
        pairs_: the mixed rows of the training set, as pairs of its rows.
        chosen_: settings that were chosen on the trusted rows, such as the threshold, or k.
        candidates_: what they were chosen among, with mixed rows and utility of each.
        predictor_: the predictor trained on the training rows and the mixed ones.
        history_: for each step t, seconds, and what it saw.
        seconds_: how long learning took.
    """

    def __init__(
        self,
        method: str = "mixrl",
        *,
        method_params: Mapping[str, Any] | None = None,
        predictor: Any = "auto",
        predictor_params: Mapping[str, Any] | None = None,
        metric: str | None = None,
        data_options: str | Sequence[int] = "1..16",
        label_options: str | Sequence[int] = "1..16",
        lam: float | None = MixSettings.lam,
        alpha: float = MixSettings.alpha,
        steps: int = MixSettings.steps,
        outer_batch: int | None = MixSettings.outer_batch,
        rollouts: int = MixSettings.rollouts,
        baseline: str = MixSettings.baseline,
        reward_scale: float | str = MixSettings.reward_scale,
        learning_rate: float = MixSettings.learning_rate,
        anneal: bool = MixSettings.anneal,
        exploration: float = MixSettings.exploration,
        mean_bounds: tuple[float, float] = MixSettings.mean_bounds,
        threshold: float | None = MixSettings.threshold,
        repeats: int = MixSettings.repeats,
        validation_share: float = 0.2,
        utility: MakeUtility = InProcess,
        shard: int = 16,
        shared_restart: bool = True,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.method_params = method_params
        self.predictor = predictor
        self.predictor_params = predictor_params
        self.metric = metric
        self.data_options = data_options
        self.label_options = label_options
        self.lam = lam
        self.alpha = alpha
        self.steps = steps
        self.outer_batch = outer_batch
        self.rollouts = rollouts
        self.baseline = baseline
        self.reward_scale = reward_scale
        self.learning_rate = learning_rate
        self.anneal = anneal
        self.exploration = exploration
        self.mean_bounds = mean_bounds
        self.threshold = threshold
        self.repeats = repeats
        self.validation_share = validation_share
        self.utility = utility
        self.shard = shard
        self.shared_restart = shared_restart
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, X_valid: Any = None, y_valid: Any = None) -> DataMixer:
        """Learns what to mix.

        Args:
            X: (N, D) training features, in any form that `DataValuator` takes.
            y: (N,) or (N, C) targets, or the name (names) of the label column (columns) of X.
            X_valid: (M, D) features of the trusted validation set; None holds rows of X out (with a warning).
            y_valid: its targets; not needed where y is a column's name.

        Raises:
            ParameterError: an argument out of its range, classes as labels, or columns that cannot be interpolated.
            DataError: data that cannot be used, naming column and row.
        """
        for _ in self.fit_iter(X, y, X_valid=X_valid, y_valid=y_valid):
            pass
        return self

    def fit_iter(self, X: Any, y: Any = None, *, X_valid: Any = None, y_valid: Any = None) -> Iterator[Step | Progress]:
        """Like `fit`, but yields each step as it is done; exhaust it to be fitted."""
        self.check()
        _, prepared, _ = self._prepared(X, y, X_valid, y_valid, task="regression")
        yield from self.iterate(prepared)

    def iterate(self, prepared: Prepared) -> Iterator[Step | Progress]:
        """Learns from data that `raydm.data.prepare` checked and encoded; yields each step as it is done.

        Raises:
            ParameterError: an argument out of its range, or classes as labels.
        """
        self.check()
        if prepared.labels.task != "regression":
            raise ParameterError(f"{type(self).__name__} mixes for regression, and the labels are classes.")
        check_mixable(prepared.roles, (), "X")
        self.prepared_ = prepared
        self.problem_ = self._problem(prepared)
        started = time.perf_counter()
        self.history_: list[dict[str, float]] = []
        self.mixing_ = make_mixing(
            self.method, self.method_params or {}, self._settings(), prepared.train, self.problem_, self.utility
        )
        for step in self.mixing_.steps():
            self.history_.append(_record(step, time.perf_counter() - started))
            yield step
        self.mixer_: Mixer = self.mixing_.mixer
        self.pairs_: Pairs = self.mixing_.pairs()
        self.chosen_, self.candidates_ = dict(self.mixing_.chosen), self.mixing_.candidates
        self.seconds_ = time.perf_counter() - started
        fitted = mixed_predictor(self.problem_, prepared.train, self.pairs_)
        self.predictor_ = TablePredictor(fitted, prepared.encoder, prepared.labels)

    def transform(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        """The rows and what is mixed of them, by what was learned: partners are looked for among these rows.

        Args:
            X: (N, D) features, in the form that `fit` was given.
            y: their targets, or the name of the column (columns) of X that holds them.

        Returns:
            Features and targets, (N + P, D) and (N + P,) or (N + P, C), the N rows first: an array for an array, a
            data frame for a data frame, else a `pyarrow.Table` without the labels. Targets are an array.
        """
        check_is_fitted(self)
        table, _ = self._table(X, y, reset=False)
        roles = self.prepared_.roles
        examples = encode(self.prepared_, table, name="X")
        check_mixable(roles, table.column_names, "X")
        return self._returned(
            X, table, mixed_table(table, roles, self.mixer_.pairs(examples, self.random_state), examples.ids)
        )

    def fit_resample(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        """Fits on rows and returns them with what is mixed of them: the contract of imbalanced-learn's samplers."""
        return self.fit(X, y).transform(X, y)

    def fit_transform(self, X: Any, y: Any = None, **valid: Any) -> tuple[Any, Any]:
        """Fits, and returns the rows with what is mixed of them."""
        return self.fit(X, y, **valid).transform(X, y)

    def mixed(self, table: pa.Table) -> pa.Table:
        """The mixed rows of the training table alone, with their provenance; see `raydm.mixing.tables`."""
        check_is_fitted(self)
        return mixed_table(table, self.prepared_.roles, self.pairs_, self.prepared_.train.ids)

    def check(self) -> None:
        """Raises ParameterError where an argument is out of its range; `fit` does this first."""
        owner = type(self).__name__
        self._settings().check()
        check_params(self.method, self.method_params or {})
        if not (is_number(self.validation_share) and 0 < self.validation_share < 1):
            raise ParameterError.of("validation_share", owner, "a number in (0, 1)", self.validation_share)
        check_integer(owner, "shard", self.shard, 1)
        check_integer(owner, "random_state", self.random_state, 0)

    def _settings(self) -> MixSettings:
        names = ("lam", "alpha", "steps", "outer_batch", "rollouts", "baseline", "reward_scale", "learning_rate")
        more = ("anneal", "exploration", "mean_bounds", "threshold", "repeats")
        options = Options(counts(self.data_options), counts(self.label_options))
        return MixSettings(options=options, **{name: getattr(self, name) for name in (*names, *more)})

    def _problem(self, prepared: Prepared) -> Problem:
        """What rollouts share: predictors that stop early do so on the trusted rows."""
        task = Task(prepared.labels.task, prepared.labels.n_outputs)
        metric = metric_for(self.metric, task.kind)
        return Problem(
            self._predictor(), prepared.valid, task, metric, self.random_state,
            shared_restart=self.shared_restart, shard=self.shard,
        ).watched()  # fmt: skip

    def _predictor(self) -> Any:
        params = dict(self.predictor_params or {})
        return (
            make_predictor("mlp", **{**MLP, **params})
            if self.predictor == "auto"
            else make_predictor(self.predictor, **params)
        )

    def _returned(self, X: Any, table: pa.Table, mixed: pa.Table) -> tuple[Any, Any]:
        """In the form of X: its rows, then the mixed ones; and the targets of both."""
        roles = self.prepared_.roles
        both = [pa.table({name: t[name] for name in (*roles.features, *roles.labels)}) for t in (table, mixed)]
        together = pa.concat_tables(both, promote_options="permissive")
        y = np.stack([together[name].to_numpy() for name in roles.labels], axis=1)
        y = y[:, 0] if len(roles.labels) == 1 else y
        features = together.select(list(roles.features))
        if isinstance(X, np.ndarray) or not (isinstance(X, (pd.DataFrame, pa.Table)) or hasattr(X, "column_names")):
            return np.stack([c.to_numpy() for c in features.columns], axis=1), y
        return (features.to_pandas() if isinstance(X, pd.DataFrame) else features), y


class MixedRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor that is fitted on mixed rows: the last step of a scikit-learn pipeline.

    A pipeline's transformers cannot add rows, so mixing and the regressor are one step::

        make_pipeline(StandardScaler(), MixedRegressor(DataMixer(), RandomForestRegressor()))

    Args:
        mixer: a `DataMixer`.
        regressor: any regressor.

    Attributes:
        mixer_: the fitted mixer.
        regressor_: the fitted regressor.
    """

    def __init__(self, mixer: Any, regressor: Any) -> None:
        self.mixer = mixer
        self.regressor = regressor

    def fit(self, X: Any, y: Any) -> MixedRegressor:
        """Mixes (N, D) rows with their targets, then fits the regressor on all."""
        self.mixer_ = clone(self.mixer)
        self.regressor_ = clone(self.regressor).fit(*self.mixer_.fit_resample(X, y))
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The regressor's predictions (M,) or (M, C)."""
        check_is_fitted(self)
        return np.asarray(self.regressor_.predict(X))


def _record(step: Step | Progress, seconds: float) -> dict[str, float]:
    if isinstance(step, Progress):
        return {"t": step.t, **step.figures, "seconds": seconds}
    u = step.u
    return {
        "t": step.t,
        "utility": float(u.mean()),
        "utility_min": float(u.min()),
        "utility_max": float(u.max()),
        "mean_h": float(step.policy.mean.detach().mean()),
        "seconds": seconds,
    }

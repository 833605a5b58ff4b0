"""`DataMixer`: the verb `mix` in Python; and a regressor that mixes before it fits another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from raydm.changes import Schedule
from raydm.checks import check_integer, is_number
from raydm.data import Prepared, as_table, encode
from raydm.data.task import Task
from raydm.errors import ParameterError
from raydm.estimators.labelled import Labelled, names_columns
from raydm.learner import Step
from raydm.metrics import metric_for
from raydm.mixing.method import MakeUtility
from raydm.mixing.methods import check_params, make_mixing
from raydm.mixing.mixer import Mixer
from raydm.mixing.options import Options, counts
from raydm.mixing.pairs import Pairs
from raydm.mixing.progress import Progress
from raydm.mixing.scores import mixed_predictor
from raydm.mixing.settings import MixSettings
from raydm.mixing.tables import check_mixable, numbers, table_of, with_mixed
from raydm.predictors import Predictor, TablePredictor
from raydm.utility import InProcess, Problem

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
        lam, alpha, admit, steps, outer_batch, rollouts, baseline, reward_scale, learning_rate, anneal, exploration,
            mean_bounds, threshold, thresholds, pick, repeats, warm_start, schedule: how MixRL learns, see
            `raydm.mixing.settings.MixSettings`.
        validation_share: of the training rows that are held out where no validation set is given, in (0, 1).
        utility: where rollouts run: `raydm.utility.InProcess`, or `raydm.distributed.RayRollouts(actors=4)`.
        shard: rollouts trained at once, >= 1.
        shared_restart: all inner trainings restart from the same initial weights.
        random_state: the run's seed, an integer >= 0. Equal seeds give equal rows.

    Attributes:
        mixer_: what was learned, and mixes any rows.
        pairs_: the mixed rows, as pairs of rows of X.
        chosen_: settings that were chosen on the trusted rows, such as the threshold, or k.
        candidates_: what they were chosen among, with mixed rows and utility of each.
        predictor_: the predictor trained on the training rows and the mixed ones.
        history_: for each step t, seconds, and what it saw.
        total_: how many steps there are, if that is known; else None.
        seconds_: how long learning took.
    """

    mixer_: Mixer
    pairs_: Pairs

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
        admit: float = MixSettings.admit,
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
        thresholds: Sequence[float] | None = MixSettings.thresholds,
        pick: str | None = MixSettings.pick,
        repeats: int = MixSettings.repeats,
        warm_start: bool = MixSettings.warm_start,
        schedule: Schedule | None = MixSettings.schedule,
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
        self.admit = admit
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
        self.thresholds = thresholds
        self.pick = pick
        self.repeats = repeats
        self.warm_start = warm_start
        self.schedule = schedule
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
        _, prepared, kept = self._prepared(X, y, X_valid, y_valid, task="regression")
        yield from self.iterate(prepared)
        if kept is not None:  # from rows that were kept to train on, to rows of X
            self.pairs_ = replace(self.pairs_, i=kept[self.pairs_.i], j=kept[self.pairs_.j])

    def iterate(self, prepared: Prepared) -> Iterator[Step | Progress]:
        """Learns from data that `raydm.data.prepare` checked and encoded; yields each step as it is done.

        Raises:
            ParameterError: an argument out of its range, or classes as labels.
        """
        self.check()
        if prepared.labels.task != "regression":
            raise ParameterError(f"{type(self).__name__} mixes for regression, and the labels are classes.")
        check_mixable(prepared.roles, "X")
        self.prepared_ = prepared
        self.problem_ = self._problem(prepared)
        started = time.perf_counter()
        self.history_: list[dict[str, float]] = []
        mixing = make_mixing(
            self.method, self.method_params or {}, self._settings(), prepared.train, self.problem_, self.utility
        )
        self.total_ = mixing.total
        for step in mixing.steps():
            self.history_.append(_record(len(self.history_), step, time.perf_counter() - started))
            yield step
        self.mixer_, self.pairs_ = mixing.mixer, mixing.pairs()
        self.chosen_, self.candidates_ = dict(mixing.chosen), mixing.candidates
        self.seconds_ = time.perf_counter() - started
        fitted = mixed_predictor(self.problem_, prepared.train, self.pairs_)
        self.predictor_ = TablePredictor(fitted, prepared.encoder, prepared.labels)

    def transform(self, X: Any, y: Any = None) -> tuple[Any, Any]:
        """The rows and what is mixed of them, by what was learned: partners are looked for among these rows.

        Args:
            X: (N, D) features, in the form that `fit` was given.
            y: their targets, or the name of the column (columns) of X that holds them.

        Returns:
            Features and targets, (N + P, D) and (N + P,) or (N + P, C), the N rows first, as numbers, NaN where one is
            missing: an array for an array, a pandas data frame for one, else a `pyarrow.Table`, both without labels
            and id. Targets are an array.

        Raises:
            ParameterError: without y, as a scikit-learn pipeline calls it.
        """
        check_is_fitted(self, "mixer_")
        if y is None:
            raise ParameterError(
                f"{type(self).__name__}.transform(X, y) adds rows, so it needs their targets y. As a step of a "
                "scikit-learn pipeline use MixedRegressor(mixer, regressor), its last."
            )
        table, _ = self._table(X, y, reset=False)
        examples = encode(self.prepared_, table, name="X")
        roles = self.prepared_.roles
        columns = with_mixed(table, roles, self.mixer_.pairs(examples, self.random_state))
        targets = np.stack([columns.pop(name) for name in roles.labels], axis=1)
        return _in_the_form_of(X, columns), targets[:, 0] if len(roles.labels) == 1 else targets

    def fit_resample(self, X: Any, y: Any = None, *, X_valid: Any = None, y_valid: Any = None) -> tuple[Any, Any]:
        """Fits, and returns the rows with what is mixed of them.

        imbalanced-learn's pipelines refuse a step that has `transform` beside it: `MixedRegressor` serves there, too.
        """
        return self.fit(X, y, X_valid=X_valid, y_valid=y_valid).transform(X, y)

    def features(self, X: Any) -> Any:
        """Rows as `transform` returns them, without any mixing: for a regressor that was fitted on what it returns."""
        check_is_fitted(self, "mixer_")
        return _in_the_form_of(X, numbers(as_table(X), self.prepared_.roles.features)) if names_columns(X) else X

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
        names = [f.name for f in fields(MixSettings) if f.name != "options"]
        options = Options(*(counts(getattr(self, name), name) for name in ("data_options", "label_options")))
        return MixSettings(options=options, **{name: getattr(self, name) for name in names})

    def _problem(self, prepared: Prepared) -> Problem:
        """What rollouts share: predictors that stop early do so on the trusted rows."""
        task = Task(prepared.labels.task, prepared.labels.n_outputs)
        metric = metric_for(self.metric, task.kind)
        return Problem(
            self.predictor_for(prepared), prepared.valid, task, metric, self.random_state,
            shared_restart=self.shared_restart, shard=self.shard,
        ).watched()  # fmt: skip

    def predictor_for(self, prepared: Prepared) -> Predictor:
        """The predictor that is trained on these data.

        Raises:
            ParameterError: it cannot be made, or does not fit the data.
        """
        params = self.predictor_params or {}
        if isinstance(self.predictor, str) and self.predictor == "auto":
            return self._made("mlp", {**MLP, **params}, prepared)
        return self._made(self.predictor, params, prepared)


class MixedRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A regressor that is fitted on mixed rows: the last step of a scikit-learn pipeline.

    A pipeline's transformers cannot add rows, so mixing and the regressor are one step::

        make_pipeline(StandardScaler(), MixedRegressor(DataMixer(), RandomForestRegressor()))

    Each fit holds rows out as the mixer's validation set, unless it is given one. The mixer's settings can be searched,
    as in ``{"mixedregressor__mixer__method": ["none", "mixrl"]}``.

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

    def fit(self, X: Any, y: Any, *, X_valid: Any = None, y_valid: Any = None) -> MixedRegressor:
        """Mixes (N, D) rows with their targets, then fits the regressor on all.

        Args:
            X: (N, D) array or pandas data frame.
            y: (N,) or (N, C) targets.
            X_valid: (M, D) trusted validation rows for the mixer; in a pipeline, name it in `transform_input`.
            y_valid: their targets.
        """
        validate_data(self, X, skip_check_array=True)
        self.mixer_ = clone(self.mixer)
        mixed = self.mixer_.fit_resample(X, y, X_valid=X_valid, y_valid=y_valid)
        self.regressor_ = clone(self.regressor).fit(*mixed)
        return self

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The regressor's predictions (M,) or (M, C)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, skip_check_array=names_columns(X), ensure_all_finite=False)
        return np.asarray(self.regressor_.predict(self.mixer_.features(X)))

    def __sklearn_tags__(self) -> Any:
        tags, own = super().__sklearn_tags__(), get_tags(self.regressor)
        tags.target_tags.multi_output, tags.input_tags.allow_nan = (
            own.target_tags.multi_output,
            own.input_tags.allow_nan,
        )
        return tags


def _in_the_form_of(X: Any, columns: Mapping[str, npt.NDArray[Any]]) -> Any:
    """Columns as an array for an array, as a pandas data frame for one, else as a `pyarrow.Table`."""
    if not names_columns(X):
        return np.stack([*columns.values()], axis=1)
    if isinstance(X, pd.DataFrame):
        return pd.DataFrame({name: values if values.ndim == 1 else [*values] for name, values in columns.items()})
    return table_of(columns)


def _record(t: int, step: Step | Progress, seconds: float) -> dict[str, float]:
    if isinstance(step, Progress):
        return {"t": t, **step.figures, "seconds": seconds}
    u = step.u
    return {
        "t": t,
        "utility": float(u.mean()),
        "utility_min": float(u.min()),
        "utility_max": float(u.max()),
        "mean_h": float(step.policy.mean.detach().mean()),
        "seconds": seconds,
    }

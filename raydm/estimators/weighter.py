"""`DataWeighter`: the verb `weight` in Python."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import WeightedRandomSampler

from raydm.checks import check_choice, check_integer, is_number
from raydm.data import Prepared
from raydm.data.examples import Examples
from raydm.data.labels import TaskKind
from raydm.data.roles import Label
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmWarning
from raydm.estimators.labelled import Labelled
from raydm.estimators.reading import COLUMN, Reading, kind_alone, rows_of
from raydm.learner import Step
from raydm.metrics import metric_for
from raydm.predictors import TablePredictor
from raydm.predictors.memory import Memory
from raydm.text.tokenizer import LENGTH
from raydm.utility import Problem
from raydm.weighting.methods import METHODS
from raydm.weighting.seeds import Case, Outcome, Run, done, one_by_one
from raydm.weighting.settings import WeightSettings

_SETTINGS = tuple(field.name for field in dataclasses.fields(WeightSettings))


class DataWeighter(Labelled):
    """Learns a weight for every training example together with the predictor, by a small trusted validation set.

    Takes what `raydm.DataValuator` takes; also images as an array (N, H, W[, channels]), and texts as a list.

    Args:
        method: "weight" (Hu et al. 2019), "ren2018" (Ren et al. 2018); or without learning "base" (equal weights),
            "base+valid" (the trusted rows are trained on too), "proportion" (inverse class frequency).
        predictor: "auto": an MLP for tables, ResNet-8 for images, the model for texts; a name of
            `raydm.predictors.large.MODULES`; "text:NAME"; or a `raydm.predictors.module.Module`.
        predictor_params: arguments of a named predictor, see `raydm.predictors.large.make_module`.
        text: the column of texts that is all the predictor sees.
        image: or the column of images: arrays (H, W[, channels]), bytes of image files, or their paths.
        model: folder or name on the hub of a pretrained encoder of Hugging Face's transformers, for texts.
        length: the most tokens of a text.
        image_size: (H, W) that image files are scaled to; None: they must be of one size.
        metric: chooses the best epoch and scores: as for `DataValuator`.
        task: "classification" or "regression"; None: the labels tell.
        epochs, warm_up, weights, normalisation, temperature, learning_rate, decay, floor, look_ahead, straight, unroll,
            checkpoint, dev_batch, keep: how it learns; see `raydm.weighting.settings.WeightSettings`.
        validation_share: of the training rows that are held out where no validation set is given, in (0, 1).
        seeds: K trainings, of the seeds random_state, random_state + 1, ...; weights are their mean.
        run: where these run: maps a function over cases, such as a `map` over processes; None: here, one by one.
        random_state: the first seed, an integer >= 0. Equal seeds give equal weights.

    Attributes:
        weights_: (N,) weights of mean 1 in the order of the training rows, for scikit-learn's sample_weight. Rows that
            were held out for validation are trusted, and have weight 1.
        predictor_: the trained predictor; of several seeds the one that does best on D^v.
        curve_: for each seed and epoch: seed, epoch, metric and mean loss on D^v.
        outcomes_: what each seed gave.
        history_: for each step: t, seed, seconds, and the utility on D^v that it saw.
        memory_: what a step was estimated to take, before the first.
        seconds_: how long learning took.
    """

    outcomes_: list[Outcome]
    weights_: npt.NDArray[np.float64]

    def __init__(
        self,
        method: str = "weight",
        *,
        predictor: Any = "auto",
        predictor_params: Mapping[str, Any] | None = None,
        text: str | None = None,
        image: str | None = None,
        model: str | None = None,
        length: int = LENGTH,
        image_size: Sequence[int] | None = None,
        metric: str | None = None,
        task: TaskKind | None = None,
        epochs: int = WeightSettings.epochs,
        warm_up: int = WeightSettings.warm_up,
        weights: str = WeightSettings.weights,
        normalisation: str = WeightSettings.normalisation,
        temperature: float = WeightSettings.temperature,
        learning_rate: float | str = WeightSettings.learning_rate,
        decay: float = WeightSettings.decay,
        floor: float = WeightSettings.floor,
        look_ahead: str = WeightSettings.look_ahead,
        straight: bool = WeightSettings.straight,
        unroll: int = WeightSettings.unroll,
        checkpoint: bool = WeightSettings.checkpoint,
        dev_batch: int | None = WeightSettings.dev_batch,
        keep: str = WeightSettings.keep,
        validation_share: float = 0.2,
        seeds: int = 1,
        run: Run | None = None,
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.predictor = predictor
        self.predictor_params = predictor_params
        self.text = text
        self.image = image
        self.model = model
        self.length = length
        self.image_size = image_size
        self.metric = metric
        self.task = task
        self.epochs = epochs
        self.warm_up = warm_up
        self.weights = weights
        self.normalisation = normalisation
        self.temperature = temperature
        self.learning_rate = learning_rate
        self.decay = decay
        self.floor = floor
        self.look_ahead = look_ahead
        self.straight = straight
        self.unroll = unroll
        self.checkpoint = checkpoint
        self.dev_batch = dev_batch
        self.keep = keep
        self.validation_share = validation_share
        self.seeds = seeds
        self.run = run
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, *, X_valid: Any = None, y_valid: Any = None) -> DataWeighter:
        """Learns the weights and the predictor.

        Args:
            X: N training rows, in any form that `DataValuator` takes; images (N, H, W[, channels]); or N texts.
            y: (N,) labels, or the name of the label column of X.
            X_valid: M rows of the trusted validation set; None holds rows of X out (with a warning).
            y_valid: its labels; not needed where y is a column's name.

        Raises:
            ParameterError: an argument out of its range, or a training that does not fit the device's memory.
            DataError: data that cannot be used, naming column and row.
        """
        for _ in self.fit_iter(X, y, X_valid=X_valid, y_valid=y_valid):
            pass
        return self

    def fit_iter(self, X: Any, y: Any = None, *, X_valid: Any = None, y_valid: Any = None) -> Iterator[Step]:
        """Like `fit`, but yields each step as it is done; exhaust it to be fitted."""
        self._check_settings()
        self._alone = kind_alone(X)
        table, prepared, kept = self._prepared(X, y, X_valid, y_valid, self.task)
        yield from self.iterate(prepared)
        if kept is not None:
            weights = np.ones(table.num_rows)
            weights[kept] = self.weights_
            self.weights_ = weights

    def iterate(self, prepared: Prepared) -> Iterator[Step]:
        """Learns from data that `reading` prepared; yields each step as it is done, of one seed after another.

        The estimate `memory_` is there as soon as this returns, before anything is learned.

        Raises:
            ParameterError: an argument out of its range, or a training that does not fit the device's memory.
        """
        self._check_settings()
        self.prepared_ = prepared
        self.problem_ = self._problem(prepared)
        _check_classes(prepared)
        first = Case(self.method, self._settings(), prepared.train, self.problem_)
        cases = [first.with_seed(self.random_state + k) for k in range(self.seeds)]
        opened = cases[0].opened()
        self.memory_: Memory = opened.memory
        self.total_ = opened.total * (self.seeds if self.run is None else 0)
        return self._steps(cases, opened)

    @property
    def reading(self) -> Reading:
        """How rows are read; its `prepare` makes what `iterate` takes."""
        text, image = self.text, self.image
        if text is None and image is None:
            text, image = (COLUMN if self._alone == kind else None for kind in ("text", "image"))
        return Reading(
            type(self).__name__, self.predictor, dict(self.predictor_params or {}), text, image, self.model,
            self.length, self.image_size,
        )  # fmt: skip

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """Labels of M rows, of the training labels' own type and units: (M,)."""
        check_is_fitted(self, "predictor_")
        return self.predictor_.predict(rows_of(X))

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Class probabilities of M rows in the order of `predictor_.labels.classes`: (M, C)."""
        check_is_fitted(self, "predictor_")
        return self.predictor_.predict_proba(rows_of(X))

    def sampler(self, num_samples: int | None = None) -> WeightedRandomSampler:
        """Draws rows of X for a `torch.utils.data.DataLoader` as often as they count, with replacement.

        Args:
            num_samples: how many an epoch; None: N.
        """
        check_is_fitted(self, "weights_")
        drawn = torch.Generator().manual_seed(self.random_state)
        return WeightedRandomSampler(self.weights_.tolist(), num_samples or len(self.weights_), generator=drawn)

    def scores(self, examples: Examples) -> npt.NDArray[np.float64]:
        """The metric of each seed's predictor on encoded examples, in its own direction: (K,)."""
        check_is_fitted(self, "outcomes_")
        x, y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)
        return np.array([float(self.problem_.metric(o.fitted.predict(x), y)) for o in self.outcomes_])

    def check(self) -> None:
        """Raises ParameterError where an argument is out of its range."""
        self._check_settings()
        self.reading.check()

    _alone: str | None = None  # what X is, where it is no table

    def _check_settings(self) -> None:
        owner = type(self).__name__
        check_choice(owner, "method", self.method, METHODS)
        self._settings().check()
        if not (is_number(self.validation_share) and 0 < self.validation_share < 1):
            raise ParameterError.of("validation_share", owner, "a number in (0, 1)", self.validation_share)
        check_integer(owner, "seeds", self.seeds, 1)
        check_integer(owner, "random_state", self.random_state, 0)
        if self.task not in (None, "classification", "regression"):
            raise ParameterError.of("task", owner, "'classification', 'regression' or None", self.task)

    def _settings(self) -> WeightSettings:
        return WeightSettings(**{name: getattr(self, name) for name in _SETTINGS})

    def _table(self, X: Any, y: Any, *, reset: bool, label: Label | None = None) -> tuple[pa.Table, Label]:
        return super()._table(rows_of(X), y, reset=reset, label=label)

    def _encoded(self, train: pa.Table, valid: pa.Table, label: Label, task: TaskKind | None) -> Prepared:
        return self.reading.prepare(train, valid, None, label=label, task=task, names=("X", "X_valid", "X_test"))

    def _problem(self, prepared: Prepared) -> Problem:
        task = Task(prepared.labels.task, prepared.labels.n_outputs)
        metric = metric_for(self.metric, task.kind)
        return Problem(self.reading.module(prepared), prepared.valid, task, metric, self.random_state)

    def _steps(self, cases: list[Case], opened: Any) -> Iterator[Step]:
        started = time.perf_counter()
        self.history_: list[dict[str, float]] = []
        outcomes: list[Outcome] = []
        if self.run is not None:
            outcomes = list(self.run(done, cases))
            for o in outcomes:
                self.history_ += [{"t": t, "seed": o.seed, "utility": u} for t, u in enumerate(o.steps)]
        else:
            t = 0
            for event in one_by_one(cases, opened):
                if isinstance(event, Outcome):
                    outcomes.append(event)
                    t = 0
                    continue
                seconds = round(time.perf_counter() - started, 4)
                seed = cases[len(outcomes)].problem.seed
                self.history_.append({"t": t, "seed": seed, "seconds": seconds, "utility": float(event.u)})
                t += 1
                yield event
        self.outcomes_ = outcomes
        self.weights_ = np.mean([o.weights for o in outcomes], axis=0)
        self.curve_ = [
            {"seed": o.seed, "epoch": epoch, "metric": metric, "loss": loss}
            for o in outcomes
            for epoch, (metric, loss) in enumerate(o.curve)
        ]
        best = int(np.argmax(self.problem_.metric.sign * self.scores(self.prepared_.valid)))
        self.predictor_ = TablePredictor(outcomes[best].fitted, self.prepared_.encoder, self.prepared_.labels)
        self.seconds_ = time.perf_counter() - started


def _check_classes(prepared: Prepared) -> None:
    """Warns of classes that no trusted row has."""
    classes = prepared.labels.classes
    absent = [] if classes is None else [c for k, c in enumerate(classes) if k not in prepared.valid.y]
    if absent:
        warnings.warn(
            f"No trusted row is of the classes {absent}, so examples of them look as if they did nothing but harm. "
            "Add at least one trusted row of each class.",
            RaydmWarning,
            stacklevel=4,
        )

"""`DataWeighter`: the verb `weight` in Python."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.utils.validation import check_is_fitted
from torch.utils.data import WeightedRandomSampler

from raydm.checks import check_integer
from raydm.data import Prepared
from raydm.data.labels import TaskKind
from raydm.estimators.jointly import Jointly
from raydm.estimators.reading import kind_alone
from raydm.joint_training import Outcome, Run
from raydm.learner import Step
from raydm.text.tokenizer import LENGTH
from raydm.weighting.methods import METHODS, make_weighting
from raydm.weighting.settings import WeightSettings

_SETTINGS = tuple(field.name for field in dataclasses.fields(WeightSettings))


class DataWeighter(Jointly):
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
        epochs, warm_up, weights, around, normalisation, temperature, learning_rate, decay, floor, look_ahead,
            agreement, straight, unroll, checkpoint, dev_batch, keep: how it learns; see
            `raydm.weighting.settings.WeightSettings`.
        validation_share: of the training rows that are held out where no validation set is given, in (0, 1).
        seeds: K trainings, of the seeds random_state, random_state + 1, ...; weights are their mean.
        run: where these run: maps a function over cases, such as `raydm.distributed.seeds.RaySeeds`; None: here, one by
            one.
        random_state: the first seed, an integer >= 0. Equal seeds give equal weights.

    Attributes:
        weights_: (N,) weights of mean 1 in the order of the training rows, for scikit-learn's sample_weight. Rows that
            were held out for validation are trusted, and have weight 1.
        predictor_: the trained predictor; of several seeds the one that does best on D^v.
        curve_: for each seed and epoch: seed, epoch, metric and mean loss on D^v.
        outcomes_: what each seed gave.
        history_: for each step: t, seed, the utility on D^v that it saw, and seconds where it was done here.
        memory_: what a step was estimated to take, before the first.
        seconds_: how long learning took.
    """

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
        epochs: int | None = WeightSettings.epochs,
        warm_up: int = WeightSettings.warm_up,
        weights: str = WeightSettings.weights,
        around: str = WeightSettings.around,
        normalisation: str = WeightSettings.normalisation,
        temperature: float = WeightSettings.temperature,
        learning_rate: float | str = WeightSettings.learning_rate,
        decay: float | None = WeightSettings.decay,
        floor: float = WeightSettings.floor,
        look_ahead: str = WeightSettings.look_ahead,
        agreement: bool = WeightSettings.agreement,
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
        self.around = around
        self.normalisation = normalisation
        self.temperature = temperature
        self.learning_rate = learning_rate
        self.decay = decay
        self.floor = floor
        self.look_ahead = look_ahead
        self.agreement = agreement
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
        make = partial(make_weighting, self.method, self._settings(), prepared.train)
        return self._steps(*self._cases(prepared, make))

    def sampler(self, num_samples: int | None = None) -> WeightedRandomSampler:
        """Draws rows of X for a `torch.utils.data.DataLoader` as often as they count, with replacement.

        Args:
            num_samples: how many an epoch, >= 1; None: N.
        """
        check_is_fitted(self, "weights_")
        count = len(self.weights_) if num_samples is None else num_samples
        check_integer("DataWeighter.sampler", "num_samples", count, 1)
        drawn = torch.Generator().manual_seed(self.random_state)
        return WeightedRandomSampler(self.weights_.tolist(), count, generator=drawn)

    def _check_settings(self) -> None:
        self._check_common(METHODS)
        self._settings().check()

    def _settings(self) -> WeightSettings:
        return WeightSettings(**{name: getattr(self, name) for name in _SETTINGS})

    def _finish(self, best: Outcome) -> None:
        self.weights_ = np.mean([o.learned for o in self.outcomes_], axis=0)

"""`DataSynthesizer`: the verb `synthesize` in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

from raydm.data import Prepared
from raydm.data.labels import TaskKind
from raydm.estimators.enlarger import Enlarger
from raydm.joint_training import Enlarging, Run, TextParts
from raydm.synthesizing.methods import METHODS, make_synthesizing
from raydm.synthesizing.settings import SynthesizeSettings
from raydm.text.tokenizer import LENGTH
from raydm.utility import Problem


class DataSynthesizer(Enlarger):
    """Learns to make whole examples of each class, with the predictor, by a small trusted validation set.

    Takes what `raydm.DataWeighter` takes: tables, images as an array (N, H, W[, channels]), texts as a list.

    Args:
        method: "learned" (a generator, fitted to the training examples, then tuned by the loss on D^v one step ahead),
            "untuned" (as fitted), "none", "base+valid" (the trusted rows are trained on too).
        predictor, predictor_params, text, image, model, length, image_size, metric, task, validation_share: as for
            `raydm.DataWeighter`.
        epochs, warm_up, share, learning_rate, unroll, checkpoint, dev_batch, keep, ratio, classes, generator,
            image_shape, rounds, temperature, top_k, fit_epochs, fit_learning_rate,
            fit_label_learning_rate: how it learns; see
            `raydm.synthesizing.settings.SynthesizeSettings`. `ratio` is its `rows`:
            artificial examples for each one of a batch.
        language_model: texts: folder or name of the masked language model that writes, of the same tokenizer as
            `model`; None: `model` itself.
        seeds: K trainings, of the seeds random_state, random_state + 1, ...; new rows are of the one that does best on
            D^v.
        run: where these run: maps a function over cases, such as `raydm.distributed.seeds.RaySeeds`; None: here, one by
            one.
        random_state: the first seed, an integer >= 0. Equal seeds give equal rows.

    Attributes:
        predictor_: the trained predictor; of several seeds the one that does best on D^v.
        curve_: for each seed and epoch: seed, epoch, metric and mean loss on D^v.
        summary_: of the generator "prototypes": the scales of noise, of all factors and of images' tangents, as
            fitted and as learned; nothing of others.
        outcomes_: what each seed gave.
        history_: for each step: t, seed, the utility on D^v that it saw, and seconds where it was done here.
        memory_: what a step was estimated to take, before the first.
        seconds_: how long learning took.
    """

    METHODS = METHODS
    SETTINGS = SynthesizeSettings
    OTHER_NAMES: ClassVar[dict[str, str]] = {"rows": "ratio"}  # the estimator's own `rows` draws

    def __init__(
        self,
        method: str = "learned",
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
        epochs: int | None = SynthesizeSettings.epochs,
        warm_up: int = SynthesizeSettings.warm_up,
        share: float | None = SynthesizeSettings.share,
        learning_rate: float | None = SynthesizeSettings.learning_rate,
        unroll: int = SynthesizeSettings.unroll,
        checkpoint: bool = SynthesizeSettings.checkpoint,
        dev_batch: int | None = SynthesizeSettings.dev_batch,
        keep: str = SynthesizeSettings.keep,
        ratio: float = SynthesizeSettings.rows,
        classes: str = SynthesizeSettings.classes,
        generator: str = SynthesizeSettings.generator,
        image_shape: tuple[int, int, int] | None = SynthesizeSettings.image_shape,
        rounds: int = SynthesizeSettings.rounds,
        temperature: float = SynthesizeSettings.temperature,
        top_k: int | None = SynthesizeSettings.top_k,
        fit_epochs: int = SynthesizeSettings.fit_epochs,
        fit_learning_rate: float = SynthesizeSettings.fit_learning_rate,
        fit_label_learning_rate: float | None = SynthesizeSettings.fit_label_learning_rate,
        language_model: str | None = None,
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
        self.share = share
        self.learning_rate = learning_rate
        self.unroll = unroll
        self.checkpoint = checkpoint
        self.dev_batch = dev_batch
        self.keep = keep
        self.ratio = ratio
        self.classes = classes
        self.generator = generator
        self.image_shape = image_shape
        self.rounds = rounds
        self.temperature = temperature
        self.top_k = top_k
        self.fit_epochs = fit_epochs
        self.fit_learning_rate = fit_learning_rate
        self.fit_label_learning_rate = fit_label_learning_rate
        self.language_model = language_model
        self.validation_share = validation_share
        self.seeds = seeds
        self.run = run
        self.random_state = random_state

    def _make(self, prepared: Prepared, text: TextParts | None) -> Callable[[Problem], Enlarging]:
        return partial(make_synthesizing, self.method, self._settings(), prepared.train, text=text)

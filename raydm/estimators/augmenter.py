"""`DataAugmenter`: the verb `augment` in Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from raydm.augmenting.methods import METHODS, make_augmenting
from raydm.augmenting.settings import AugmentSettings
from raydm.data import Prepared
from raydm.data.labels import TaskKind
from raydm.estimators.enlarger import Enlarger
from raydm.joint_training import Enlarging, Run, TextParts
from raydm.text.tokenizer import LENGTH
from raydm.utility import Problem


class DataAugmenter(Enlarger):
    """Learns how to rewrite training examples, together with the predictor, by a small trusted validation set.

    Takes what `raydm.DataWeighter` takes: tables, images as an array (N, H, W[, channels]), texts as a list.

    Args:
        method: "learned" (Hu et al. 2019; images: a policy of operations; tables: noise and masking; texts: words of a
            language model that is told the label); without learning "fixed" (RandAugment; fixed noise; the language
            model as fitted), "synonyms" (texts, WordNet), "none", "base+valid" (the trusted rows are trained on too).
        predictor, predictor_params, text, image, model, length, image_size, metric, task, validation_share: as for
            `raydm.DataWeighter`.
        epochs, warm_up, share, learning_rate, unroll, checkpoint, dev_batch, keep, copies, look_ahead,
            per_class, image_shape, noise, masked, operations, probability, spread, n, magnitude,
            temperature, top_k, fit_epochs, fit_learning_rate, fit_label_learning_rate: how it learns; see
            `raydm.augmenting.settings.AugmentSettings`.
        language_model: texts: folder or name of the masked language model that writes, of the same tokenizer as
            `model`; None: `model` itself.
        wordnet: for the method "synonyms", see `raydm.text.Synonyms`.
        seeds: K trainings, of the seeds random_state, random_state + 1, ...; new rows are of the one that does best on
            D^v.
        run: where these run: maps a function over cases, such as `raydm.distributed.seeds.RaySeeds`; None: here, one by
            one.
        random_state: the first seed, an integer >= 0. Equal seeds give equal rows.

    Attributes:
        predictor_: the trained predictor; of several seeds the one that does best on D^v.
        curve_: for each seed and epoch: seed, epoch, metric and mean loss on D^v.
        summary_: what was learned: of images each operation's probability and magnitudes, of tables each feature's
            noise in deviations and its masking probability; nothing of texts.
        outcomes_: what each seed gave.
        history_: for each step: t, seed, the utility on D^v that it saw, and seconds where it was done here.
        memory_: what a step was estimated to take, before the first.
        seconds_: how long learning took.
    """

    METHODS = METHODS
    SETTINGS = AugmentSettings

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
        epochs: int | None = AugmentSettings.epochs,
        warm_up: int = AugmentSettings.warm_up,
        share: float | None = AugmentSettings.share,
        learning_rate: float | None = AugmentSettings.learning_rate,
        unroll: int = AugmentSettings.unroll,
        checkpoint: bool = AugmentSettings.checkpoint,
        dev_batch: int | None = AugmentSettings.dev_batch,
        keep: str = AugmentSettings.keep,
        copies: int = AugmentSettings.copies,
        look_ahead: str = AugmentSettings.look_ahead,
        per_class: bool = AugmentSettings.per_class,
        image_shape: tuple[int, int, int] | None = AugmentSettings.image_shape,
        noise: float = AugmentSettings.noise,
        masked: float = AugmentSettings.masked,
        operations: Sequence[str] | None = AugmentSettings.operations,
        probability: float = AugmentSettings.probability,
        spread: float = AugmentSettings.spread,
        n: int = AugmentSettings.n,
        magnitude: float = AugmentSettings.magnitude,
        temperature: float = AugmentSettings.temperature,
        top_k: int | None = AugmentSettings.top_k,
        fit_epochs: int = AugmentSettings.fit_epochs,
        fit_learning_rate: float = AugmentSettings.fit_learning_rate,
        fit_label_learning_rate: float | None = AugmentSettings.fit_label_learning_rate,
        language_model: str | None = None,
        wordnet: Any = None,
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
        self.copies = copies
        self.look_ahead = look_ahead
        self.per_class = per_class
        self.image_shape = image_shape
        self.noise = noise
        self.masked = masked
        self.operations = operations
        self.probability = probability
        self.spread = spread
        self.n = n
        self.magnitude = magnitude
        self.temperature = temperature
        self.top_k = top_k
        self.fit_epochs = fit_epochs
        self.fit_learning_rate = fit_learning_rate
        self.fit_label_learning_rate = fit_label_learning_rate
        self.language_model = language_model
        self.wordnet = wordnet
        self.validation_share = validation_share
        self.seeds = seeds
        self.run = run
        self.random_state = random_state

    def _make(self, prepared: Prepared, text: TextParts | None) -> Callable[[Problem], Enlarging]:
        return partial(make_augmenting, self.method, self._settings(), prepared.train, text=text)

"""Which g_phi suits the data: tables, images, or texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from raydm.augmenters.images import ImageAugmenter
from raydm.augmenters.pixels import to_images, to_unit
from raydm.augmenters.randaugment import RandAugment
from raydm.augmenters.tables import TableAugmenter
from raydm.augmenting.settings import AugmentSettings
from raydm.data.examples import Examples
from raydm.errors import ParameterError
from raydm.joint_training import TextParts, fitted_generator, kind_of, place_of
from raydm.manipulations import ByAugmenter, BySynonyms, ByTextGenerator, Rewriting
from raydm.text import Synonyms
from raydm.utility import Problem


@dataclass(frozen=True)
class Given:
    """What a rewriting is made for.

    Attributes:
        train: the training set.
        problem: task, D^v, seed and the predictor's device.
        settings: what it starts as.
        text: what texts need.
    """

    train: Examples
    problem: Problem
    settings: AugmentSettings
    text: TextParts | None

    @property
    def kind(self) -> str:
        """Of the examples: "table", "image" or "text"."""
        return kind_of(self.train, self.settings.image_shape)

    @property
    def classes(self) -> int | None:
        """C where each class has an augmentation of its own.

        Raises:
            ParameterError: it is asked for where labels are no classes.
        """
        if not self.settings.per_class:
            return None
        if self.problem.task.kind != "classification":
            raise ParameterError.of("per_class", "raydm augment", "False where labels are numbers", True)
        return self.problem.task.n_outputs

    @property
    def place(self) -> torch.device:
        """Where the predictor works, and g_phi too."""
        return place_of(self.problem)


def learned(given: Given) -> Rewriting:
    """The g_phi that is to be tuned."""
    return {"table": _table, "image": _image, "text": text_generator}[given.kind](given)


def fixed(given: Given) -> Rewriting:
    """The one that stays: fixed noise, RandAugment, or the language model fitted to the training texts."""
    made: dict[str, Callable[[Given], Rewriting]] = {"table": _table, "image": _randaugment, "text": text_generator}
    return made[given.kind](given)


def synonyms(given: Given) -> Rewriting:
    """Words for others of the same meaning.

    Raises:
        ParameterError: the examples are no texts, or these were not given.
    """
    if given.kind != "text" or given.text is None or given.text.texts is None:
        got = "none" if given.kind == "text" else f"examples of the kind {given.kind!r}"
        raise ParameterError.of("texts", "the method 'synonyms'", "the training texts", got)
    return BySynonyms(given.text.texts, given.text.tokenizer, Synonyms(given.text.wordnet))


def text_generator(given: Given) -> Rewriting:
    """The language model, fitted."""
    chosen = given.settings
    generator, text = fitted_generator(
        given.train, given.problem, given.text, epochs=chosen.fit_epochs, lr=chosen.fit_learning_rate,
        label_lr=chosen.fit_label_learning_rate,
    )  # fmt: skip
    return ByTextGenerator(generator, temperature=chosen.temperature, top_k=chosen.top_k, tokenizer=text.tokenizer)


def _table(given: Given) -> Rewriting:
    chosen = given.settings
    x = torch.from_numpy(given.train.x)
    augmenter = TableAugmenter(x, n_classes=given.classes, scale=chosen.noise, masked=chosen.masked)
    return ByAugmenter(augmenter, device=given.place)


def _image(given: Given) -> Rewriting:
    chosen, bounds = given.settings, _bounds(given)
    augmenter = ImageAugmenter(
        _channels(given), operations=chosen.operations, n_classes=given.classes, probability=chosen.probability,
        spread=chosen.spread, fill=_fill(given), bounds=bounds,
    )  # fmt: skip
    return ByAugmenter(augmenter, image_shape=chosen.image_shape, device=given.place)


def _randaugment(given: Given) -> Rewriting:
    chosen = given.settings
    more: dict[str, Any] = (
        {} if chosen.operations is None else {"operations": [o for o in chosen.operations if o != "flip"]}
    )
    flip = chosen.operations is None or "flip" in chosen.operations
    augmenter = RandAugment(
        chosen.n, chosen.magnitude, flip=flip, fill=_fill(given), bounds=_bounds(given), **more
    )  # fmt: skip
    return ByAugmenter(augmenter, image_shape=chosen.image_shape, device=given.place)


def _channels(given: Given) -> int:
    shape = given.settings.image_shape
    return int(given.train.x.shape[1]) if shape is None else shape[2]


def _bounds(given: Given) -> tuple[float, float]:
    """The least and the greatest pixel of the training images; 0 and 1 where none lies outside."""
    x, shape = to_unit(torch.from_numpy(given.train.x)), given.settings.image_shape
    if shape is not None:
        to_images(x[:1], shape)  # which tells where they do not unfold
    low, high = float(x.min()), float(x.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _fill(given: Given) -> float:
    """What comes in from outside: the least value, black, as in the release of RandAugment for bounded pixels."""
    return _bounds(given)[0]

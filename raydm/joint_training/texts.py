"""What texts need, and what tells that examples are some."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from raydm.checks import check_integer, check_positive
from raydm.data.examples import Examples
from raydm.errors import ParameterError
from raydm.text import TextGenerator, Tokenizer, fit
from raydm.text.synonyms import Thesaurus
from raydm.utility import Problem


@dataclass(frozen=True)
class TextParts:
    """What texts need beside their ids.

    Attributes:
        model: the masked language model that g_phi starts as, a local folder or a name on the hub.
        tokenizer: that of the ids; it must be the model's as well.
        texts: the N training texts, in the order of the training set; needed for synonyms.
        wordnet: see `raydm.text.Synonyms`.
    """

    model: str | Path
    tokenizer: Tokenizer
    texts: Sequence[str] | None = None
    wordnet: str | Path | Thesaurus | None = None


def check_writing(owner: str, settings: Any) -> None:
    """Raises ParameterError where settings of a language model, which the ways share by name, are out of range."""
    check_positive(owner, "temperature", settings.temperature)
    if settings.top_k is not None:
        check_integer(owner, "top_k", settings.top_k, 1)
    check_integer(owner, "fit_epochs", settings.fit_epochs, 0)
    check_positive(owner, "fit_learning_rate", settings.fit_learning_rate)
    if settings.fit_label_learning_rate is not None:
        check_positive(owner, "fit_label_learning_rate", settings.fit_label_learning_rate)


def kind_of(train: Examples, image_shape: tuple[int, int, int] | None) -> str:
    """What the examples are: (N, L) integers are texts, (N, channels, H, W) images, (N, D) numbers a table."""
    if train.x.ndim == 2 and np.issubdtype(train.x.dtype, np.integer):
        return "text"
    return "image" if train.x.ndim == 4 or image_shape is not None else "table"


def place_of(problem: Problem) -> torch.device:
    """The device of a problem whose predictor is a `Module`, as `raydm.joint.Joint` has checked."""
    place: torch.device = problem.predictor.place  # type: ignore[attr-defined]
    return place


def fitted_generator(
    train: Examples,
    problem: Problem,
    text: TextParts | None,
    *,
    epochs: int,
    lr: float,
    label_lr: float | None,
) -> tuple[TextGenerator, TextParts]:
    """The label-conditional language model, fitted to the training texts and chosen by those of D^v, and its parts.

    Raises:
        ParameterError: the parts of texts were not given, or labels are no classes.
    """
    if text is None:
        raise ParameterError.of("text", "raydm", "a TextParts where examples are texts", None)
    if problem.task.kind != "classification":
        raise ParameterError.of("task", "TextGenerator", "classification: texts are written of classes", "regression")
    valid = problem.valid
    generator = TextGenerator.pretrained(
        text.model, problem.task.n_outputs, tokenizer=text.tokenizer, seed=problem.seed
    ).to(place_of(problem))
    if epochs:
        fit(
            generator, train.x, train.y, seed=problem.seed, epochs=epochs, lr=lr, label_lr=label_lr,
            valid=(valid.x, valid.y),
        )  # fmt: skip
    return generator.eval(), text

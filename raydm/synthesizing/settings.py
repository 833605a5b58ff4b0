"""How artificial examples are made, and how their generator is tuned."""

from __future__ import annotations

from dataclasses import dataclass

from raydm.checks import check_choice, check_integer, check_positive
from raydm.joint_training import EnlargeSettings
from raydm.joint_training.texts import check_writing

CLASSES = ("training", "balanced")
GENERATORS = ("auto", "prototypes", "vae")

_OWNER = "SynthesizeSettings"
_ENOUGH = 100  # examples a class from which a deep generator has a chance, see raydm.generators.vae


@dataclass(frozen=True)
class SynthesizeSettings(EnlargeSettings):
    """Those of `EnlargeSettings`, and the following; what does not fit the data has no part.

    Attributes:
        rows: artificial examples for each example of a batch, > 0.
        classes: "training": labels are drawn as often as the training set has them; "balanced": equally often, of
            those that it has.
        generator: tables and images: "prototypes", "vae", or "auto", a VAE from 100 examples a class on.
        image_shape: (H, W, channels) where the rows (N, D) of a table unfold images.
        rounds: texts: see `raydm.text.compose`.
        temperature: texts: of the last round's softmax.
        top_k: texts: only the k likeliest tokens are drawn; None for any.
        fit_epochs: texts: passes in which the language model learns the training texts and their labels first; 0: none.
        fit_learning_rate: texts: of these passes.
        fit_label_learning_rate: texts: the label embeddings' in these passes; None for the same.
    """

    rows: float = 1.0
    classes: str = "training"
    generator: str = "auto"
    image_shape: tuple[int, int, int] | None = None
    rounds: int = 5
    temperature: float = 1.0
    top_k: int | None = None
    fit_epochs: int = 10
    fit_learning_rate: float = 4e-5
    fit_label_learning_rate: float | None = None

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range: before a language model is fitted."""
        super().check()
        check_positive(f"{_OWNER} (DataSynthesizer's 'ratio')", "rows", self.rows)
        check_choice(_OWNER, "classes", self.classes, CLASSES)
        check_choice(_OWNER, "generator", self.generator, GENERATORS)
        check_integer(_OWNER, "rounds", self.rounds, 1)
        check_writing(_OWNER, self)

    def generator_for(self, examples: int, classes: int) -> str:
        """The generator's name, for so many training examples of so many classes."""
        if self.generator != "auto":
            return self.generator
        return "vae" if examples >= _ENOUGH * classes else "prototypes"

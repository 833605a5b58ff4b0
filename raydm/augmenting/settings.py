"""How augmentation is learned, and what the augmenters start as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raydm.checks import check_choice, check_integer
from raydm.joint_training import EnlargeSettings
from raydm.manipulations.augment import LOOKS


@dataclass(frozen=True)
class AugmentSettings(EnlargeSettings):
    """Those of `EnlargeSettings`, and the following; what does not fit the data has no part.

    Attributes:
        copies: new examples of each one in a batch, >= 1.
        look_ahead: what the step looked ahead holds: "both" or "augmented", see `raydm.manipulations.Augment`.
        per_class: whether each class has an augmentation of its own (tables and images).
        image_shape: (H, W, channels) where the rows (N, D) of a table unfold images.
        noise: tables: noise before learning, in deviations of the feature; fixed, where nothing is learned.
        masked: tables: how probable a feature is masked, before learning.
        operations: images: names of operations; None for all.
        probability: images: of each operation, before learning.
        spread: images: of each operation's magnitude, before learning.
        n: images, "fixed": RandAugment's N.
        magnitude: images, "fixed": RandAugment's M.
        temperature: texts: of the tokens' softmax.
        top_k: texts: only the k likeliest tokens are drawn; None for any.
        fit_epochs: texts: passes in which the language model learns the training texts and their labels first; 0:
            none (it is fitted already).
        fit_learning_rate: texts: of these passes.
        fit_label_learning_rate: texts: the label embeddings' in these passes; None for the same.
    """

    copies: int = 1
    look_ahead: str = "both"
    per_class: bool = False
    image_shape: tuple[int, int, int] | None = None
    noise: float = 0.1
    masked: float = 0.05
    operations: Sequence[str] | None = None
    probability: float = 0.5
    spread: float = 0.3
    n: int = 2
    magnitude: float = 9
    temperature: float = 1.0
    top_k: int | None = None
    fit_epochs: int = 10
    fit_learning_rate: float = 4e-5
    fit_label_learning_rate: float | None = None

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range; the augmenters check theirs."""
        super().check()
        check_integer("AugmentSettings", "copies", self.copies, 1)
        check_integer("AugmentSettings", "fit_epochs", self.fit_epochs, 0)
        check_choice("AugmentSettings", "look_ahead", self.look_ahead, LOOKS)

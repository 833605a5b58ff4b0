"""How augmentation is learned, and what the augmenters start as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raydm.augmenters.operations import OPERATIONS
from raydm.augmenters.randaugment import LEVELS
from raydm.checks import check_choice, check_inner_share, check_integer, check_positive, is_number
from raydm.errors import ParameterError
from raydm.joint_training import EnlargeSettings
from raydm.joint_training.texts import check_writing
from raydm.manipulations.augment import LOOKS

_OWNER = "AugmentSettings"


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
        """Raises ParameterError where a setting is out of its range: before a language model is fitted, by its name."""
        super().check()
        check_integer(_OWNER, "copies", self.copies, 1)
        check_choice(_OWNER, "look_ahead", self.look_ahead, LOOKS)
        check_positive(_OWNER, "noise", self.noise)
        check_inner_share(_OWNER, "masked", self.masked)
        for name in self.operations or ():
            check_choice(_OWNER, "operations", name, OPERATIONS)
        check_inner_share(_OWNER, "probability", self.probability)
        check_positive(_OWNER, "spread", self.spread)
        check_integer(_OWNER, "n", self.n, 0)
        if not (is_number(self.magnitude) and 0 <= self.magnitude <= LEVELS):
            raise ParameterError.of("magnitude", _OWNER, f"a number from 0 to {LEVELS}", self.magnitude)
        check_writing(_OWNER, self)

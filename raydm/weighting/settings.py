"""How weights are learned."""

from __future__ import annotations

from dataclasses import dataclass

from raydm.checks import check_choice, check_integer, check_positive, is_number
from raydm.errors import ParameterError
from raydm.joint import LOOK_AHEADS
from raydm.joint_training import KEEPS
from raydm.manipulations.weight import NORMALISATIONS

KINDS = ("free", "network")
AROUND = ("classes", "nothing")

_OWNER = "WeightSettings"


@dataclass(frozen=True)
class WeightSettings:
    """How weights are learned, together with the predictor. The release of Hu et al. (2019) stands beside.

    Attributes:
        epochs: passes over the training set with weights that are learned (the release: 10); None for 10, or of few
            rows so many that 600 steps are taken (of texts always 10).
        warm_up: passes before, with equal weights. Where a class is rare they do harm: once a predictor fits the rare
            rows by heart, weights no longer teach it anything.
        weights: "free": one phi for each example (the release); "network": of its label, loss and, in tables, features.
        around: what free weights are while nothing is known of an example, and go back to: "classes": 1, or with
            classes `raydm.manipulations.weight.class_shares`, and phi multiplies it; "nothing": 0 (the release), so
            that those that help in this batch share it all.
        normalisation: "linear" or "softmax", see `raydm.manipulations.Weight`; of a network and around "nothing".
        temperature: of the softmax, > 0.
        learning_rate: of free phi, > 0, or "batch" (see `raydm.weighting.rule.DecayedAscent`; the release: 1, for
            slopes that the predictor's learning rate scales); of Adam for the network, where "batch" is 0.01.
        decay: >= 1, by which free phi's distance from where it rests is divided at each step (the release: 2 to 10);
            None for 1.5 around "classes" and 10 around "nothing".
        floor: the least free phi, >= 0.
        look_ahead: where the slopes are taken, see `raydm.joint.Joint`; "zero" costs a backward pass less.
        agreement: whether free weights around "classes" move only as far as halves of D^v agree about them, see
            `raydm.weighting.learned.Agreement`; of one step ahead. Without it few trusted rows do harm to clean data.
        straight: whether slopes pass the normalisation by, see `raydm.manipulations.Weight`; for free phi.
        unroll: T, look-ahead steps.
        checkpoint: whether the unrolled steps are kept in part only, and made twice.
        dev_batch: rows of D^v that judge each step; None: all.
        keep: which epoch's predictor: "near-best": the last that is no worse on D^v than the best but for one standard
            error; "best": by the metric (of equals the one with the least loss; as the release); "last";
            or "average": the mean of all parameters after each epoch of the latter half.
    """

    epochs: int | None = None
    warm_up: int = 0
    weights: str = "free"
    around: str = "classes"
    normalisation: str = "linear"
    temperature: float = 1.0
    learning_rate: float | str = "batch"
    decay: float | None = None
    floor: float = 1e-5
    look_ahead: str = "zero"
    agreement: bool = True
    straight: bool = True
    unroll: int = 1
    checkpoint: bool = False
    dev_batch: int | None = None
    keep: str = "best"

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range."""
        for name, least in (("epochs", 0), ("warm_up", 0), ("unroll", 1)):
            if getattr(self, name) is not None or name != "epochs":
                check_integer(_OWNER, name, getattr(self, name), least)
        if self.dev_batch is not None:
            check_integer(_OWNER, "dev_batch", self.dev_batch, 1)
        for name, names in (
            ("weights", KINDS),
            ("around", AROUND),
            ("normalisation", NORMALISATIONS),
            ("look_ahead", LOOK_AHEADS),
            ("keep", KEEPS),
        ):
            check_choice(_OWNER, name, getattr(self, name), names)
        check_positive(_OWNER, "temperature", self.temperature)
        if self.learning_rate != "batch":
            check_positive(_OWNER, "learning_rate", self.learning_rate)
        if self.decay is not None and not (isinstance(self.decay, (int, float)) and self.decay >= 1):
            raise ParameterError.of("decay", _OWNER, "a number >= 1", self.decay)
        if not (is_number(self.floor) and self.floor >= 0):
            raise ParameterError.of("floor", _OWNER, "a number >= 0", self.floor)
        if self.epochs == 0 == self.warm_up:
            raise ParameterError("epochs=0 with warm_up=0 would leave the predictor untrained. Use at least one.")

"""How weights are learned."""

from __future__ import annotations

from dataclasses import dataclass

from raydm.checks import check_choice, check_integer, check_positive, is_number
from raydm.errors import ParameterError
from raydm.joint import LOOK_AHEADS
from raydm.joint_training import KEEPS
from raydm.manipulations.weight import NORMALISATIONS

KINDS = ("free", "network")

_OWNER = "WeightSettings"


@dataclass(frozen=True)
class WeightSettings:
    """How weights are learned, together with the predictor. The release of Hu et al. (2019) stands beside.

    Attributes:
        epochs: passes over the training set with weights that are learned (the release: 10).
        warm_up: passes before, with equal weights: an untrained predictor has little to say about examples.
        weights: "free": one phi for each example (the release); "network": of its label, loss and, in tables, features.
        normalisation: "linear" or "softmax", see `raydm.manipulations.Weight`.
        temperature: of the softmax, > 0.
        learning_rate: of free phi, > 0, or "batch" (see `raydm.weighting.rule.DecayedAscent`; the release: 1, for
            slopes that the predictor's learning rate scales); of Adam for the network, where "batch" is 0.01.
        decay: >= 1, by which free phi is divided at each step (the release: 2 to 10).
        floor: the least free phi, >= 0.
        look_ahead: where the slopes are taken, see `raydm.joint.Joint`; "zero" costs a backward pass less.
        straight: whether slopes pass the normalisation by, see `raydm.manipulations.Weight`; for free phi.
        unroll: T, look-ahead steps.
        checkpoint: whether the unrolled steps are kept in part only, and made twice.
        dev_batch: rows of D^v that judge each step; None: all.
        keep: "best": the predictor of the epoch that does best on D^v by the metric (of equals the one with the least
            loss; as the release); "last".
    """

    epochs: int = 10
    warm_up: int = 2
    weights: str = "free"
    normalisation: str = "linear"
    temperature: float = 1.0
    learning_rate: float | str = "batch"
    decay: float = 10.0
    floor: float = 1e-5
    look_ahead: str = "zero"
    straight: bool = True
    unroll: int = 1
    checkpoint: bool = False
    dev_batch: int | None = None
    keep: str = "best"

    def check(self) -> None:
        """Raises ParameterError where a setting is out of its range."""
        for name, least in (("epochs", 0), ("warm_up", 0), ("unroll", 1)):
            check_integer(_OWNER, name, getattr(self, name), least)
        if self.dev_batch is not None:
            check_integer(_OWNER, "dev_batch", self.dev_batch, 1)
        for name, names in (
            ("weights", KINDS),
            ("normalisation", NORMALISATIONS),
            ("look_ahead", LOOK_AHEADS),
            ("keep", KEEPS),
        ):
            check_choice(_OWNER, name, getattr(self, name), names)
        check_positive(_OWNER, "temperature", self.temperature)
        if self.learning_rate != "batch":
            check_positive(_OWNER, "learning_rate", self.learning_rate)
        if not (isinstance(self.decay, (int, float)) and self.decay >= 1):
            raise ParameterError.of("decay", _OWNER, "a number >= 1", self.decay)
        if not (is_number(self.floor) and self.floor >= 0):
            raise ParameterError.of("floor", _OWNER, "a number >= 0", self.floor)
        if self.epochs + self.warm_up == 0:
            raise ParameterError("epochs=0 with warm_up=0 would leave the predictor untrained. Use at least one.")

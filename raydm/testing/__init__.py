"""Contracts that any predictor and any manipulation can be held to, and worlds whose right answers are known.

Subclass a contract in a test module whose name pytest collects; pytest itself is not imported here.
"""

from raydm.testing.manipulations import ManipulationContract
from raydm.testing.predictors import DifferentiablePredictorContract, PredictorContract
from raydm.testing.worlds import LinearWorld, QuadraticWorld, SetGame, all_actions

__all__ = [
    "DifferentiablePredictorContract",
    "LinearWorld",
    "ManipulationContract",
    "PredictorContract",
    "QuadraticWorld",
    "SetGame",
    "all_actions",
]

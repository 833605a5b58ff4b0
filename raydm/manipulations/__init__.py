"""Manipulations: what can be done with a training example, each a policy, an action and a penalty."""

from raydm.manipulations.mix import Mix
from raydm.manipulations.protocol import Manipulation
from raydm.manipulations.select import Select, agreement, marginal_information
from raydm.manipulations.weight import FreeWeights, NetworkWeights, Weight

__all__ = [
    "FreeWeights",
    "Manipulation",
    "Mix",
    "NetworkWeights",
    "Select",
    "Weight",
    "agreement",
    "marginal_information",
]

"""Manipulations: what can be done with a training example, each a policy, an action and a penalty."""

from raydm.manipulations.mix import Mix
from raydm.manipulations.protocol import Manipulation
from raydm.manipulations.select import Select, agreement, marginal_information

__all__ = ["Manipulation", "Mix", "Select", "agreement", "marginal_information"]

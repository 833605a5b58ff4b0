"""Manipulations: what can be done with a training example, each a policy, an action and a penalty."""

from raydm.manipulations.augment import Augment, Rewriting
from raydm.manipulations.composings import ByGenerator, ByWriting
from raydm.manipulations.mix import Mix
from raydm.manipulations.protocol import Manipulation
from raydm.manipulations.rewritings import ByAugmenter, BySynonyms, ByTextGenerator
from raydm.manipulations.select import Select, agreement, marginal_information
from raydm.manipulations.synthesize import Composing, Made, Synthesize
from raydm.manipulations.weight import FreeWeights, NetworkWeights, Weight

__all__ = [
    "Augment",
    "ByAugmenter",
    "ByGenerator",
    "BySynonyms",
    "ByTextGenerator",
    "ByWriting",
    "Composing",
    "FreeWeights",
    "Made",
    "Manipulation",
    "Mix",
    "NetworkWeights",
    "Rewriting",
    "Select",
    "Synthesize",
    "Weight",
    "agreement",
    "marginal_information",
]

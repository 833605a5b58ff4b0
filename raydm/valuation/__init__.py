"""Data valuation: how likely each training example should be used."""

from raydm.checks import is_number
from raydm.valuation.dvrl import DVRL, MakeUtility
from raydm.valuation.settings import BASELINES, Settings
from raydm.valuation.value_function import ValueFunction, load_value_function

__all__ = ["BASELINES", "DVRL", "MakeUtility", "Settings", "ValueFunction", "is_number", "load_value_function"]

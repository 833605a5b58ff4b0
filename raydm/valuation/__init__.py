"""Data valuation: how likely each training example should be used."""

from raydm.valuation.dvrl import BASELINES, DVRL, MakeUtility, Settings, ValueFunction, is_number, value_estimator

__all__ = ["BASELINES", "DVRL", "MakeUtility", "Settings", "ValueFunction", "is_number", "value_estimator"]

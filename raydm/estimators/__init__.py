"""The Python surface, in scikit-learn's manner: `fit` checks the arguments, what is learned ends in _."""

from raydm.estimators.mixer import DataMixer, MixedRegressor
from raydm.estimators.valuator import DataValuator
from raydm.estimators.weighter import DataWeighter

__all__ = ["DataMixer", "DataValuator", "DataWeighter", "MixedRegressor"]

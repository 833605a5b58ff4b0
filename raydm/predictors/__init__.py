"""Predictors f_theta behind one protocol: a stack of trainings at a time."""

from raydm.predictors.blackbox import BlackBox
from raydm.predictors.make import PREDICTORS, make_predictor
from raydm.predictors.optimizers import SGD, Adam, AdamW
from raydm.predictors.protocol import Fitted, Predictor, Seeds, TrainingSets
from raydm.predictors.stacked import Stacked
from raydm.predictors.tabular import TablePredictor

__all__ = [
    "PREDICTORS",
    "SGD",
    "Adam",
    "AdamW",
    "BlackBox",
    "Fitted",
    "Predictor",
    "Seeds",
    "Stacked",
    "TablePredictor",
    "TrainingSets",
    "make_predictor",
]

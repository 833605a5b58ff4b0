"""Passes over a training set in which a predictor is trained jointly with phi: what weighting and the others share."""

from raydm.joint_training.enlarging import EnlargeSettings, Enlarging, Making, Tuning, WithValid
from raydm.joint_training.keeping import KEEPS
from raydm.joint_training.new_rows import NewRows, RowMaker
from raydm.joint_training.seeds import Case, Outcome, Run
from raydm.joint_training.texts import TextParts, fitted_generator, kind_of, place_of
from raydm.joint_training.training import JointTraining, TrainedOnBoth, TrainingSettings

__all__ = [
    "KEEPS",
    "Case",
    "EnlargeSettings",
    "Enlarging",
    "JointTraining",
    "Making",
    "NewRows",
    "Outcome",
    "RowMaker",
    "Run",
    "TextParts",
    "TrainedOnBoth",
    "TrainingSettings",
    "Tuning",
    "WithValid",
    "fitted_generator",
    "kind_of",
    "place_of",
]

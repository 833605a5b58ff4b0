"""Fitting the final predictor on rows that are selected, weighted, or have new ones beside them; without ray.

Rows come in blocks, which need not fit into memory together (`Mixture`); a `Plan` tells which of them make which batch,
for any number of workers; a `Training` is one worker's side, and `Checkpoint`s are what it can go on from.
"""

from raydm.fitting.checkpoints import Checkpoint, Checkpoints
from raydm.fitting.job import Job, Judge
from raydm.fitting.order import Plan, block_rows, window_blocks
from raydm.fitting.rows import Encoded, InMemory, Mixture, Part, Source, Weights
from raydm.fitting.survey import Survey, labels_of, sampled, surveyed
from raydm.fitting.training import Training, finished, has_batch_statistics
from raydm.fitting.world import World

__all__ = [
    "Checkpoint",
    "Checkpoints",
    "Encoded",
    "InMemory",
    "Job",
    "Judge",
    "Mixture",
    "Part",
    "Plan",
    "Source",
    "Survey",
    "Training",
    "Weights",
    "World",
    "block_rows",
    "finished",
    "has_batch_statistics",
    "labels_of",
    "sampled",
    "surveyed",
    "window_blocks",
]

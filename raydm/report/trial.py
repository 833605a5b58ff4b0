"""A run that was read is tried on made-up rows: parts that do not fit together are told now, not at their use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from raydm.data import Roles, vector_column
from raydm.data.columns import Categorical, ColumnEncoder, Vector
from raydm.data.encoding import TableEncoder
from raydm.data.examples import Examples
from raydm.data.pixels import ImageColumn
from raydm.data.prepare import encode_with_events
from raydm.predictors import TablePredictor
from raydm.text.column import TokenColumn


def tried(predictor: TablePredictor, roles: Roles) -> Examples:
    """Predicts rows that differ in their labels alone, one of each class, and gives them encoded.

    Raises:
        Exception: whatever the part raises that does not fit, in its own words.
    """
    encoder, labels = predictor.encoder, predictor.labels
    classes = np.zeros(1, np.float32) if labels.classes is None else labels.inverse(np.arange(labels.n_outputs))
    columns = {name: pa.array(classes) for name in roles.labels} | _features(encoder, len(classes))
    fitted = SimpleNamespace(encoder=encoder, labels=labels, roles=roles)
    examples, _ = encode_with_events(fitted, pa.table(columns), "a made-up row")
    out = predictor.fitted.predict(torch.from_numpy(examples.x))
    expected = (1, len(classes), labels.n_outputs)
    if out.shape != expected:
        raise ValueError(f"the predictor gives {tuple(out.shape)} where the labels need {expected}")
    return examples


def _features(encoder: TableEncoder, rows: int) -> dict[str, Any]:
    """A column for each feature."""
    if isinstance(encoder, TokenColumn):
        return {encoder.column: pa.array(["a"] * rows)}
    if isinstance(encoder, ImageColumn):
        return {encoder.column: vector_column(np.zeros((rows, *encoder.image_shape), np.float32))}
    return {name: _feature(column, rows) for name, column in encoder.columns.items()}


def _feature(column: ColumnEncoder, rows: int) -> Any:
    if isinstance(column, Vector):
        return vector_column(np.zeros((rows, *column.shape)))
    number = column.kind == "numeric" or (isinstance(column, Categorical) and column.numbers)
    return pa.array([0.0 if number else "a"] * rows)

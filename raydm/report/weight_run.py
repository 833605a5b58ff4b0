"""The run directory of `raydm weight`: written whole or not at all, and read back.

    weights.parquet  id, weight (of mean 1; for sample_weight), label
    weights.png      weights by class, and the curve on D^v

and what `raydm.report.joint_run` tells. Nothing in it is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from raydm.data import Prepared, Roles
from raydm.predictors import TablePredictor
from raydm.report.joint_run import load_predictor, told_if_torn, write_joint_run
from raydm.report.run import read_config
from raydm.report.weighting import plot_weighting

FORMAT = 1


def weights_table(prepared: Prepared, weights: npt.NDArray[np.float64]) -> pa.Table:
    """What weights.parquet holds; of several targets each has its own column, label_NAME."""
    labels, train = prepared.labels.inverse(prepared.train.y), prepared.train
    columns: dict[str, Any] = {"id": pa.array(train.ids), "weight": weights}
    if labels.ndim == 1:
        columns["label"] = pa.array(labels)
    else:
        columns |= {f"label_{name}": labels[:, k] for k, name in enumerate(prepared.roles.labels)}
    return pa.table(columns)


def write_weight_run(
    folder: Path,
    *,
    config: Mapping[str, Any],
    prepared: Prepared,
    weights: npt.NDArray[np.float64],
    history: list[dict[str, float]],
    evidence: Mapping[str, Any],
    predictor: TablePredictor,
    title: str,
) -> None:
    """Fills an empty folder, such as `raydm.report.atomic.new_folder` gives."""
    write_joint_run(
        folder, {"weight_format": FORMAT, **config}, roles=prepared.roles,
        n_features=int(prepared.train.x.shape[-1]), history=history, evidence=evidence, predictor=predictor,
    )  # fmt: skip
    pq.write_table(weights_table(prepared, weights), folder / "weights.parquet")
    plot_weighting(evidence, weights, prepared, folder / "weights.png", title)


@dataclass(frozen=True)
class WeightRun:
    """A run of `raydm weight`, read back.

    Attributes:
        config: its config.json.
        weights: its weights.parquet.
        predictor: trained with the weights; takes rows in the form of the training table.
        roles: of the columns.
    """

    config: dict[str, Any]
    weights: pa.Table
    predictor: TablePredictor
    roles: Roles


def load_weight_run(folder: str | PathLike[str], *, predictor: Any = None) -> WeightRun:
    """Reads a run directory; where it read texts, their model must still be where the run found it.

    Args:
        folder: what `raydm weight` wrote.
        predictor: the `Module`, where the run was made with one of the user's own.

    Raises:
        RunError: it is missing, torn, or not of `raydm weight`.
        MissingPackageError: its predictor's package is not installed.
    """
    folder = Path(folder)
    config = read_config(folder, "weight_format", FORMAT, "raydm weight")
    with told_if_torn(folder):
        weights = pq.read_table(folder / "weights.parquet")
        made = load_predictor(folder, config, predictor)
        return WeightRun(config, weights, made, Roles.from_dict(config["roles"]))

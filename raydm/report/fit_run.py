"""The run directory of `raydm fit`: written whole or not at all, and read back.

    evidence.json  the metric, the score of each epoch, and those of the epoch that is kept

and what else `raydm.report.joint_run` tells. Nothing in it is pickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from raydm.data import Roles
from raydm.predictors import TablePredictor
from raydm.report.joint_run import load_predictor, told_if_torn, write_joint_run
from raydm.report.run import read_config
from raydm.storage import local_copy

FORMAT = 1


def write_fit_run(
    folder: Path,
    *,
    config: Mapping[str, Any],
    n_features: int,
    history: list[dict[str, Any]],
    evidence: Mapping[str, Any],
    predictor: TablePredictor,
    roles: Roles,
) -> None:
    """Fills an empty folder, such as `raydm.report.atomic.new_folder` gives."""
    write_joint_run(
        folder, {"fit_format": FORMAT, **config}, roles=roles, n_features=n_features, history=history,
        evidence=evidence, predictor=predictor,
    )  # fmt: skip


@dataclass(frozen=True)
class FitRun:
    """A run of `raydm fit`, read back.

    Attributes:
        config: its config.json.
        predictor: takes rows in the form of the training table.
        roles: of the columns.
    """

    config: dict[str, Any]
    predictor: TablePredictor
    roles: Roles


def load_fit_run(folder: str | PathLike[str]) -> FitRun:
    """Reads a run directory; where it read texts, their model must still be where the run found it.

    Args:
        folder: what `raydm fit` wrote; or the address of one in storage, such as s3://bucket/runs/first.

    Raises:
        RunError: it is missing, torn, or not of `raydm fit`.
        MissingPackageError: its predictor's package is not installed.
    """
    with local_copy(folder) as here:
        config = read_config(here, "fit_format", FORMAT, "raydm fit")
        with told_if_torn(here):
            return FitRun(config, load_predictor(here, config), Roles.from_dict(config["roles"]))

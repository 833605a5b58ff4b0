"""The run directory of `raydm fit`: written whole or not at all, and read back.

    evidence.json  the metric, the score of each epoch, and those of the epoch that is kept

and what else `raydm.report.joint_run` tells. Nothing in it is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from raydm.data import Roles
from raydm.predictors import TablePredictor
from raydm.report.joint_run import load_predictor, told_if_torn
from raydm.report.run import dump, finite, read_config, versions
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
    labels = predictor.labels
    state = {
        "fit_format": FORMAT,
        "task": {"kind": labels.task, "n_outputs": labels.n_outputs},
        "n_features": n_features,
        "roles": roles.to_dict(),
        "labels": labels.to_dict(),
        "packages": versions(),
    }
    dump(folder / "config.json", {**state, **config})
    dump(folder / "evidence.json", evidence)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(finite(line), allow_nan=False) + "\n" for line in history))
    try:
        predictor.encoder.save(folder)
        (folder / "predictor").mkdir()
        predictor.fitted.save(folder / "predictor")
    except SafetensorError as error:  # its word for a full disk, too
        raise OSError(str(error)) from error


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

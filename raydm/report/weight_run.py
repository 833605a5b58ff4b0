"""The run directory of `raydm weight`: written whole or not at all, and read back.

    config.json      what was run, on which data (fingerprints), by which versions
    weights.parquet  id, weight (of mean 1; for sample_weight), label
    metrics.jsonl    one line a step
    evidence.json    scores, the curve on D^v by epoch, weights by class
    weights.png      both as plots
    encoder.json     how rows are read; of tables also encoder.safetensors, of texts also tokenizer/
    predictor/       the trained predictor

Nothing in it is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from raydm.data import LabelEncoder, Prepared, Roles, TableEncoder
from raydm.data.encoding import JSON_FILE
from raydm.data.pixels import ImageColumn
from raydm.data.task import Task
from raydm.errors import MissingPackageError, RunError
from raydm.predictors import TablePredictor
from raydm.predictors.large import make_module
from raydm.report.run import dump, finite, read_config, versions
from raydm.report.weighting import plot_weighting
from raydm.text.column import TokenColumn

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
    labels = prepared.labels
    state = {
        "weight_format": FORMAT,
        "task": {"kind": labels.task, "n_outputs": labels.n_outputs},
        "n_features": int(prepared.train.x.shape[-1]),
        "roles": prepared.roles.to_dict(),
        "labels": labels.to_dict(),
        "packages": versions(),
    }
    dump(folder / "config.json", {**state, **config})
    dump(folder / "evidence.json", evidence)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(finite(line), allow_nan=False) + "\n" for line in history))
    pq.write_table(weights_table(prepared, weights), folder / "weights.parquet")
    try:
        predictor.encoder.save(folder)
        (folder / "predictor").mkdir()
        predictor.fitted.save(folder / "predictor")
    except SafetensorError as error:  # its word for a full disk, too
        raise OSError(str(error)) from error
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
    try:
        spec = dict(config["predictor"])
        name = spec.pop("name")
        if predictor is None and name == "custom":
            raise RunError(f"{folder}: was made with a predictor of your own. Pass it: predictor=...")
        module = predictor or make_module(name, **spec)
        fitted = module.load(folder / "predictor", Task(**config["task"]), int(config["n_features"]))
        labels, roles = LabelEncoder.from_dict(config["labels"]), Roles.from_dict(config["roles"])
        weights = pq.read_table(folder / "weights.parquet")
        return WeightRun(config, weights, TablePredictor(fitted, load_encoder(folder), labels), roles)
    except (RunError, MissingPackageError):
        raise
    except Exception as error:  # each library has its own words for a torn file
        raise RunError(f"{folder}: is torn or was changed ({error!r}). Run `raydm weight` again.") from error


def load_encoder(folder: Path) -> TableEncoder:
    """The encoder of a run, of whichever kind it is.

    Raises:
        DataError: it is missing or torn.
    """
    try:
        state = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        state = {}  # the reader below says what is wrong
    kind = TokenColumn if "text" in state else ImageColumn if "image" in state else TableEncoder
    return kind.load(folder)

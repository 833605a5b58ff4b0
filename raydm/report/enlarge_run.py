"""The run directory of `raydm augment` and `raydm synthesize`: written whole or not at all, and read back.

    rows.parquet  new rows in the training table's own columns, with parent_id, how, seed and draw; where the method
                  makes some
    learned.png   what was learned, and the curve on D^v; of images a grid of new ones

and what `raydm.report.joint_run` tells. Nothing in it is pickled.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from raydm.data import Prepared
from raydm.data.vectors import is_vector_type, to_array
from raydm.predictors import TablePredictor
from raydm.report.enlarging import plot_enlarging
from raydm.report.joint_run import load_predictor, told_if_torn, write_joint_run
from raydm.report.run import read_config

FORMAT = 1
ROWS = "rows.parquet"


def write_enlarge_run(
    folder: Path,
    *,
    config: Mapping[str, Any],
    prepared: Prepared,
    rows: pa.Table | None,
    history: list[dict[str, float]],
    evidence: Mapping[str, Any],
    predictor: TablePredictor,
    title: str,
) -> None:
    """Fills an empty folder, such as `raydm.report.atomic.new_folder` gives."""
    write_joint_run(
        folder, {"enlarge_format": FORMAT, **config}, roles=prepared.roles,
        n_features=int(prepared.train.x.shape[-1]), history=history, evidence=evidence, predictor=predictor,
    )  # fmt: skip
    if rows is not None:
        pq.write_table(rows, folder / ROWS)
    images, labels = None, []
    if rows is not None and rows.num_rows:
        images = images_of(rows, prepared)
        labels = rows.column(prepared.roles.labels[0])[:8].to_pylist()
    plot_enlarging(evidence, images, labels, folder / "learned.png", title)


@dataclass(frozen=True)
class EnlargeRun:
    """A run of `raydm augment` or `raydm synthesize`, read back.

    Attributes:
        config: its config.json.
        rows: its rows.parquet; None where the method made none.
        predictor: trained beside them; takes rows in the form of the training table.
    """

    config: dict[str, Any]
    rows: pa.Table | None
    predictor: TablePredictor


def load_enlarge_run(folder: str | PathLike[str], *, predictor: Any = None) -> EnlargeRun:
    """Reads a run directory; where it read texts, their model must still be where the run found it.

    Args:
        folder: what `raydm augment` or `raydm synthesize` wrote.
        predictor: the `Module`, where the run was made with one of the user's own.

    Raises:
        RunError: it is missing, torn, or of another verb.
        MissingPackageError: its predictor's package is not installed.
    """
    folder = Path(folder)
    config = read_config(folder, "enlarge_format", FORMAT, "raydm augment` or `raydm synthesize")
    with told_if_torn(folder):
        rows = pq.read_table(folder / ROWS) if config["new_rows"] is not None else None
        return EnlargeRun(config, rows, load_predictor(folder, config, predictor))


def images_of(rows: pa.Table, prepared: Prepared) -> npt.NDArray[Any] | None:
    """The first 64 new images (n, H, W, channels), where rows are some; else None."""
    features = list(prepared.roles.features)
    if len(features) != 1:
        return None
    column = rows.column(features[0])[:64]
    if pa.types.is_binary(column.type):
        from PIL import Image  # it wrote them

        pixels = np.stack([np.asarray(Image.open(io.BytesIO(value))) for value in column.to_pylist()])
    elif is_vector_type(column.type):
        pixels = to_array(column)
    else:
        return None
    pixels = pixels[..., None] if pixels.ndim == 3 else pixels
    return pixels if pixels.ndim == 4 else None

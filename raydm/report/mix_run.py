"""The run directory of `raydm mix`: written whole or not at all, and read back.

    config.json            what was run, on which data (fingerprints), by which versions; what was chosen
    mixed.parquet          the mixed rows in the data's own units, with their parents' ids, lambda and kind
    metrics.jsonl          one line a step
    evidence.json          candidates with their utility, how many neighbours rows take, label error by distance, scores
                           with and without the mixed rows (with mixing.png)
    encoder.*              the features' encoder
    mixing.safetensors     what was learned, where the method learns anything
    predictor/             the predictor of the training rows and the mixed ones

Nothing in it is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from raydm.data import LabelEncoder, Roles, TableEncoder
from raydm.data.task import Task
from raydm.errors import MissingPackageError, RunError
from raydm.mixing.mixer import Mixer, load_mixer
from raydm.predictors import TablePredictor, make_predictor
from raydm.report.run import dump, finite, read_config, versions
from raydm.report.trial import tried
from raydm.storage import local_copy

FORMAT = 1


def write_mix_run(
    folder: Path,
    *,
    config: Mapping[str, Any],
    mixed: pa.Table,
    history: list[dict[str, float]],
    evidence: Mapping[str, Any],
    mixer: Mixer,
    task: Task,
    n_features: int,
    predictor: TablePredictor,
    roles: Roles,
) -> None:
    """Fills an empty folder, such as `raydm.report.atomic.new_folder` gives."""
    state = {
        "mix_format": FORMAT,
        "task": {"kind": task.kind, "n_outputs": task.n_outputs},
        "n_features": n_features,
        "mixer": mixer.state(),
        "roles": roles.to_dict(),
        "labels": predictor.labels.to_dict(),
        "packages": versions(),
    }
    dump(folder / "config.json", {**state, **config})
    dump(folder / "evidence.json", evidence)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(finite(line), allow_nan=False) + "\n" for line in history))
    pq.write_table(mixed, folder / "mixed.parquet")
    try:
        predictor.encoder.save(folder)
        mixer.save(folder)
        (folder / "predictor").mkdir()
        predictor.fitted.save(folder / "predictor")
    except SafetensorError as error:  # its word for a full disk, too
        raise OSError(str(error)) from error


@dataclass(frozen=True)
class MixRun:
    """A run of `raydm mix`, read back.

    Attributes:
        config: its config.json.
        encoder: of the features.
        labels: of the labels.
        roles: of the columns.
        mixer: what was learned.
        predictor: trained on the training rows and the mixed ones.
    """

    config: dict[str, Any]
    encoder: TableEncoder
    labels: LabelEncoder
    roles: Roles
    mixer: Mixer
    predictor: TablePredictor


def load_mix_run(folder: str | PathLike[str]) -> MixRun:
    """Reads a run directory.

    Raises:
        RunError: it is missing, torn, or not of `raydm mix`.
        MissingPackageError: its predictor's package is not installed.
    """
    with local_copy(folder) as here:
        config = read_config(here, "mix_format", FORMAT, "raydm mix")
        try:
            task, n_features = Task(**config["task"]), int(config["n_features"])
            spec = dict(config["predictor"])
            predictor = make_predictor(spec.pop("name"), **spec)
            encoder, labels = TableEncoder.load(here), LabelEncoder.from_dict(config["labels"])
            fitted = predictor.load(here / "predictor", task, n_features)
            roles, mixer = Roles.from_dict(config["roles"]), load_mixer(here, config["mixer"])
            table_predictor = TablePredictor(fitted, encoder, labels)
            tried(table_predictor, roles)
            return MixRun(config, encoder, labels, roles, mixer, table_predictor)
        except (RunError, MissingPackageError):
            raise
        except Exception as error:  # each library has its own words for a torn file
            raise RunError(f"{folder}: is torn or was changed ({error!r}). Run `raydm mix` again.") from error

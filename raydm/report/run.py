"""The run directory: written whole or not at all, and read back.

    config.json            what was run, on which data (fingerprints), by which versions
    values.parquet         id, value, rank (1 is the most valuable), selected, and flipped where it is known
    metrics.jsonl          one line a step
    evidence.json          discovery and removal curves (with discovery.png and removal.png)
    encoder.*              the features' encoder
    predictor/             the final predictor
    policy.safetensors     by DVRL: h_phi, one for each fold of the validation set
    inputs/                by DVRL: the models that give h_phi's evidence

Nothing in it is pickled.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from os import PathLike
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from raydm.data import LabelEncoder, Roles, TableEncoder
from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import MissingPackageError, RunError
from raydm.predictors import TablePredictor, make_predictor
from raydm.report.plots import plot_discovery, plot_removal
from raydm.report.trial import tried
from raydm.storage import local_copy
from raydm.valuation import ValueFunction, load_value_function

FORMAT = 3
_VERBS = {
    "format": "raydm value",
    "mix_format": "raydm mix",
    "weight_format": "raydm weight",
    "enlarge_format": "raydm augment` or `raydm synthesize",
    "fit_format": "raydm fit",
}  # by the key of its config.json
_PACKAGES = ("raydm", "torch", "numpy", "scikit-learn", "pyarrow", "ray", "lightgbm", "xgboost")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def values_table(
    ids: npt.NDArray[Any],
    values: npt.NDArray[np.float64],
    selected: npt.NDArray[np.bool_],
    flipped: npt.NDArray[np.bool_] | None = None,
    standard_errors: npt.NDArray[np.float64] | None = None,
) -> pa.Table:
    """The table that values.parquet holds; ties rank in the order of the rows."""
    rank = np.empty(len(values), dtype=np.int64)
    rank[np.argsort(-values, kind="stable")] = np.arange(1, len(values) + 1)
    columns: dict[str, Any] = {"id": pa.array(ids), "value": values, "rank": rank, "selected": selected}
    if standard_errors is not None:
        columns["standard_error"] = standard_errors
    if flipped is not None:
        columns["flipped"] = flipped
    return pa.table(columns)


def write_run(
    folder: Path,
    *,
    config: Mapping[str, Any],
    values: pa.Table,
    history: list[dict[str, float]],
    evidence: Mapping[str, Any],
    value_function: ValueFunction | None,
    task: Task,
    n_features: int,
    predictor: TablePredictor,
    roles: Roles,
    title: str,
) -> None:
    """Fills an empty folder, such as `raydm.report.atomic.new_folder` gives; value_function is None for games."""
    labels, encoder = predictor.labels, predictor.encoder
    state = {
        "format": FORMAT,
        "task": {"kind": task.kind, "n_outputs": task.n_outputs},
        "n_features": n_features,
        "value_function": None if value_function is None else value_function.state(),
        "roles": roles.to_dict(),
        "labels": labels.to_dict(),
        "packages": versions(),
    }
    dump(folder / "config.json", {**state, **config})
    dump(folder / "evidence.json", evidence)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(finite(line), allow_nan=False) + "\n" for line in history))
    pq.write_table(values, folder / "values.parquet")
    try:
        encoder.save(folder)
        (folder / "predictor").mkdir()
        predictor.fitted.save(folder / "predictor")
        if value_function is not None:
            value_function.save(folder)
    except SafetensorError as error:  # its word for a full disk, too
        raise OSError(str(error)) from error
    if "discovery" in evidence:
        plot_discovery(evidence["discovery"], folder / "discovery.png", title)
    plot_removal(evidence["removal"], folder / "removal.png", title, evidence["removal"]["judge"])


def dump(file: Path, content: Mapping[str, Any]) -> None:
    """Writes it as JSON."""
    file.write_text(json.dumps(finite(content), indent=2, allow_nan=False) + "\n")


def finite(content: Any) -> Any:
    """The content with None for NaN and infinities, which JSON lacks."""
    if isinstance(content, Mapping):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


@dataclass(frozen=True)
class Run:
    """A run read back.

    Attributes:
        config: its config.json.
        encoder: of the features.
        labels: of the labels.
        roles: of the columns.
        value_function: what values labelled rows; None where the method was a game, which values only its players.
        predictor: the final predictor.
        threshold: T; rows of at least this value are selected.
    """

    config: dict[str, Any]
    encoder: TableEncoder
    labels: LabelEncoder
    roles: Roles
    value_function: ValueFunction | None
    predictor: TablePredictor
    threshold: float

    def values(self, examples: Examples) -> npt.NDArray[np.float64]:
        """Data values (N,) in [0, 1] of examples that `raydm.data.encode(run, table, name)` encoded.

        Raises:
            RunError: the run's method values only the rows it was run on.
        """
        self.check_values()
        return cast(ValueFunction, self.value_function).values(examples)

    def check_values(self) -> None:
        """Raises RunError where the run's method values only the rows it was run on."""
        if self.value_function is None:
            raise RunError(
                f"The method {self.config['method']!r} values only the rows that it was run on: see the run's "
                "values.parquet. To value new rows, make a run with --method dvrl."
            )


def load_run(folder: str | PathLike[str], *, predictor: Any = None) -> Run:
    """Reads a run directory.

    Args:
        folder: what `raydm value` wrote; or the address of one in storage, such as s3://bucket/runs/first.
        predictor: the predictor object, where the run was made with one of the user's own.

    Raises:
        RunError: it is missing, torn, or of another format.
        MissingPackageError: its predictor's package is not installed.
    """
    with local_copy(folder) as here:
        config = read_config(here, "format", FORMAT, "raydm value")
        try:
            return _read(here, config, predictor)
        except (RunError, MissingPackageError):
            raise
        except Exception as error:  # each library has its own words for a torn file
            raise RunError(f"{folder}: is torn or was changed ({error!r}). Run `raydm value` again.") from error


def read_config(folder: Path, key: str, expected: int, verb: str) -> dict[str, Any]:
    """The config.json of a run.

    Args:
        folder: the run directory.
        key: where the config tells its format.
        expected: the format that is read.
        verb: what writes such runs, for messages.

    Raises:
        RunError: it is missing, torn, or of another format or verb.
    """
    file = folder / "config.json"
    try:
        config = json.loads(file.read_text())
    except FileNotFoundError as error:
        raise RunError(f"{folder}: is not a run directory (it has no config.json). Name what --out named.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{file}: cannot be read ({error}). Run `{verb}` again.") from error
    other = next((_VERBS[k] for k in _VERBS if k != key and k in config), None) if isinstance(config, dict) else None
    if other is not None:
        raise RunError(f"{folder}: is a run of `{other}`, and one of `{verb}` is needed.")
    if not isinstance(config, dict) or config.get(key) != expected:
        raise RunError(f"{file}: is not of format {expected} of `{verb}`, which this raydm reads. Run it again.")
    return config


def _read(folder: Path, config: dict[str, Any], predictor: Any) -> Run:
    task = Task(**config["task"])
    n_features = int(config["n_features"])
    if predictor is None:
        spec = dict(config["predictor"])
        name = spec.pop("name")
        if name == "custom":
            raise RunError(
                f"{folder}: was made with a predictor of your own. Pass it: load_run(folder, predictor=...)."
            )
        predictor = make_predictor(name, **spec)

    encoder, labels = TableEncoder.load(folder), LabelEncoder.from_dict(config["labels"])
    state, roles = config["value_function"], Roles.from_dict(config["roles"])
    function = None if state is None else load_value_function(folder, state, predictor, task, n_features)
    table_predictor = TablePredictor(predictor.load(folder / "predictor", task, n_features), encoder, labels)
    rows = tried(table_predictor, roles)
    if function is not None:
        function.values(rows)
    return Run(config, encoder, labels, roles, function, table_predictor, float(config["threshold"]))

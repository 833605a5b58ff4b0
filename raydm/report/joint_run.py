"""What the run directories of `raydm weight`, `augment`, `synthesize` and `fit` share.

    config.json    what was run, on which data (fingerprints), by which versions
    metrics.jsonl  one line a step
    evidence.json  scores, the curve on D^v by epoch, and what the verb learned
    encoder.json   how rows are read; of tables also encoder.safetensors, of texts also tokenizer/
    predictor/     the trained predictor

Nothing in it is pickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from raydm.data import LabelEncoder, Roles, TableEncoder
from raydm.data.encoding import JSON_FILE
from raydm.data.pixels import ImageColumn
from raydm.data.task import Task
from raydm.errors import MissingPackageError, RunError
from raydm.predictors import TablePredictor
from raydm.predictors.large import make_module
from raydm.report.run import dump, finite, versions
from raydm.report.trial import tried
from raydm.text.column import TokenColumn


def write_joint_run(
    folder: Path,
    config: Mapping[str, Any],
    *,
    roles: Roles,
    n_features: int,
    history: list[dict[str, Any]],
    evidence: Mapping[str, Any],
    predictor: TablePredictor,
) -> None:
    """Writes all that is named above into an empty folder; the config with what `load_predictor` needs of it."""
    labels = predictor.labels
    state = {
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


def load_predictor(folder: Path, config: Mapping[str, Any], predictor: Any = None) -> TablePredictor:
    """The predictor of a run with this config.json; the `Module`, where it was the user's own.

    Raises:
        RunError: it is the user's own, and was not given; all else that is torn raises as its library does.
    """
    spec = dict(config["predictor"])
    name = spec.pop("name")
    if predictor is None and name == "custom":
        raise RunError(f"{folder}: was made with a predictor of your own. Pass it: predictor=...")
    module = predictor or make_module(name, **spec)
    fitted = module.load(folder / "predictor", Task(**config["task"]), int(config["n_features"]))
    table_predictor = TablePredictor(fitted, load_encoder(folder), LabelEncoder.from_dict(config["labels"]))
    tried(table_predictor, Roles.from_dict(config["roles"]))
    return table_predictor


def load_encoder(folder: Path) -> TableEncoder:
    """The encoder of a run, of whichever kind it is.

    Raises:
        DataError: it is missing or torn.
    """
    try:
        state = json.loads((folder / JSON_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        state = {}  # the reader below says what is wrong
    kind = TokenColumn if "text" in state else ImageColumn if "image" in state else TableEncoder
    return kind.load(folder)


@contextmanager
def told_if_torn(folder: Path) -> Iterator[None]:
    """While a run is read: whatever its parts raise becomes a RunError, for each library has its own words.

    Raises:
        RunError: something of the run is missing or torn.
        MissingPackageError: its predictor's package is not installed.
    """
    try:
        yield
    except (RunError, MissingPackageError):
        raise
    except Exception as error:
        raise RunError(f"{folder}: is torn or was changed ({error!r}). Make the run again.") from error

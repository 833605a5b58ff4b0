"""What a run, or a file of weights, says of how rows are used by `raydm fit`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raydm.data.blocks import ParquetRows, open_rows
from raydm.errors import DataError, ParameterError, RunError
from raydm.fitting import Weights
from raydm.predictors.large import MODULES
from raydm.report import enlarge_run, mix_run, run, weight_run
from raydm.report.run import read_config
from raydm.valuation.methods import SHARES

_WEIGHT_COLUMNS = ("weight", "value")
# What a run tells of how rows are read, where the flags do not
_READ = ("id", "features", "task", "text", "image", "image_size", "metric", "seed", "sizes")
_ELSEWHERE = ("device", "precision", "lr", "batch_size")  # of a predictor's arguments: flags, or where it ran
_ANY_RUN = "raydm value`, `weight`, `mix`, `augment` or `synthesize"


@dataclass(frozen=True)
class Use:
    """How rows are used.

    Attributes:
        how: in a word or two: "all", "weighted", "kept", "best 25%", "new rows".
        weights: of the training rows; None: they are all alike.
        new_rows: rows beside them; None: none.
        config: of the run that says so; None where no run does.
        predictor: that the run trained, where it is one that fits at any scale; name and arguments.
    """

    how: str = "all"
    weights: Weights | None = None
    new_rows: ParquetRows | None = None
    config: Mapping[str, Any] | None = None
    predictor: Mapping[str, Any] = field(default_factory=dict)


def use_of(arguments: Namespace, folder: Path | None) -> Use:
    """What the flags --run, --final and --weights say.

    Args:
        arguments: the flags.
        folder: of the run; None: there is none.

    Raises:
        RunError: the run is missing, torn, or says nothing of rows.
        DataError: the weights cannot be read.
        ParameterError: --final does not suit the run.
    """
    if arguments.weights:
        rows = open_rows(arguments.weights)
        column = next((name for name in _WEIGHT_COLUMNS if name in rows.schema.names), None)
        if column is None:
            raise DataError(f"{arguments.weights[0]}: no column weight or value. It has {rows.schema.names}.")
        return Use("weighted", Weights(rows, column))
    if folder is None:
        return Use()
    key = _key(folder)
    if key != "format" and arguments.final is not None:
        raise ParameterError("--final is for the values of a run of raydm value. Leave it out.")
    if key == "format":
        return _of_values(folder, arguments.final)
    if key == "weight_format":
        config = read_config(folder, key, weight_run.FORMAT, "raydm weight")
        weights = Weights(_rows(folder / "weights.parquet"), "weight")
        return Use("weighted", weights, config=config, predictor=_predictor(config))
    if key == "mix_format":
        config = read_config(folder, key, mix_run.FORMAT, "raydm mix")
        return _with_new(config, folder / "mixed.parquet")
    config = read_config(folder, key, enlarge_run.FORMAT, "raydm augment` or `raydm synthesize")
    return _with_new(config, folder / enlarge_run.ROWS if config["new_rows"] is not None else None)


def as_read(arguments: Namespace, use: Use, *, named: bool) -> Namespace:
    """The flags, with what the run tells of how rows are read where they say nothing; `named`: TRAIN is a named set."""
    told = Namespace(**vars(arguments))
    given = {} if use.config is None else dict(use.config["arguments"])
    if use.config is not None and not arguments.label and not named:
        label = use.config["roles"]["label"]
        told.label = [label] if isinstance(label, str) else list(label)
    if arguments.text is None and arguments.image is None and given.get("text") is not None:
        told.model, told.length = arguments.model or given.get("model"), given["length"]
    for name in _READ:
        if getattr(told, name) is None and given.get(name) is not None:
            setattr(told, name, given[name])
    if not named:
        told.sizes = arguments.sizes
    told.kind = list((dict(given.get("kind", {})) | dict(arguments.kind)).items())
    told.seed = 0 if told.seed is None else told.seed
    if told.image is not None or told.text is not None:
        told.features = arguments.features
    if arguments.predictor == "auto" and use.predictor and (arguments.text, arguments.image) == (None, None):
        spec = dict(use.predictor)
        told.predictor = spec.pop("name")
        told.predictor_args = {**spec, **arguments.predictor_args}
    return told


def _of_values(folder: Path, final: str | None) -> Use:
    config = read_config(folder, "format", run.FORMAT, "raydm value")
    noise = config["arguments"].get("noise")
    if noise:
        raise RunError(
            f"{folder}: {noise:.0%} of its labels were flipped, to test the values (--noise), and TRAIN has the labels "
            "before that. Make a run without --noise."
        )
    rows = _rows(folder / "values.parquet")
    how = final or config["arguments"].get("final") or _as_judged(config)
    if how == "all":
        return Use(how, config=config)
    if how in ("weighted", "kept"):
        return Use(how, Weights(rows, "value" if how == "weighted" else "selected"), config=config)
    share = float(how.removeprefix("best ").rstrip("%")) / 100
    return Use(how, Weights(rows, "rank", at_most=max(1, round(share * len(rows)))), config=config)


def _as_judged(config: Mapping[str, Any]) -> str:
    """How the run trained its own predictor: as its judge found best, or as values of its method are used."""
    verdict = (config.get("judge") or {}).get("verdict")
    if verdict is None:
        return "weighted" if config["task"]["kind"] in SHARES.get(config["method"], ()) else "kept"
    trainings: dict[str, float] = verdict["trainings"]
    best = max(trainings, key=trainings.__getitem__)
    return "all" if best == "unvalued" else best.partition(", ")[2] or "weighted"


def _with_new(config: Mapping[str, Any], file: Path | None) -> Use:
    if file is not None:
        try:
            file = file if pq.read_metadata(file).num_rows else None
        except (pa.ArrowException, OSError) as error:
            raise RunError(f"{file}: cannot be read ({error}). Make the run again.") from error
    new = None if file is None else _rows(file)
    return Use("new rows" if new else "all", new_rows=new, config=config, predictor=_predictor(config))


def _predictor(config: Mapping[str, Any]) -> dict[str, Any]:
    spec = {k: v for k, v in config["predictor"].items() if k not in _ELSEWHERE}
    return spec if spec.get("name") in MODULES and "mix_format" not in config else {}


def _rows(file: Path) -> ParquetRows:
    try:
        return ParquetRows.open([file])
    except DataError as error:
        raise RunError(f"{error} Make the run again.") from error


def _key(folder: Path) -> str:
    """Where the run's config.json tells its format."""
    try:
        config = json.loads((folder / "config.json").read_text())
    except FileNotFoundError as error:
        raise RunError(f"{folder}: is not a run directory (it has no config.json). Name what --out named.") from error
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / 'config.json'}: cannot be read ({error}). Make the run again.") from error
    known = ("format", "weight_format", "mix_format", "enlarge_format")
    found = next((key for key in known if isinstance(config, dict) and key in config), None)
    if found is None:
        raise RunError(f"{folder}: says nothing of how rows are used. Name a run of `{_ANY_RUN}`.")
    return found

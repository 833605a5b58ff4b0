"""`raydm fit`: trains the final predictor as a run says, here or by Ray Train, and writes it."""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmWarning, RunError
from raydm.estimators.reading import Reading
from raydm.fitting import (
    Checkpoint,
    Checkpoints,
    InMemory,
    Job,
    Mixture,
    Plan,
    Training,
    World,
    finished,
    has_batch_statistics,
    window_blocks,
)
from raydm.fitting.checkpoints import ROWS
from raydm.metrics import metric_for
from raydm.predictors import TablePredictor
from raydm.predictors.module import Module
from raydm.report.atomic import check_free, new_folder
from raydm.report.fit_run import write_fit_run
from raydm.report.run import versions
from raydm.storage import Place, local_copy, output
from raydm.text.column import TokenColumn
from raydm.verbs.fit_inputs import Tables, digest_of, is_named, is_streamed, judge_of, mixture_of, read_tables
from raydm.verbs.fit_use import Use, as_read, use_of
from raydm.verbs.line import prints_line, say
from raydm.verbs.resume import check_resume

_VERB = "raydm fit"
# Where it runs and what it is called decides no number but by rounding; of files, their digests tell
_FREE = {
    *("out", "resume", "quiet", "local", "workers", "address", "cpus_per_worker", "gpus_per_worker", "tries"),
    *("checkpoints", "storage", "stream", "train", "valid", "test", "run", "weights"),
}
Watch = Callable[[list[dict[str, Any]]], None]


@dataclass(frozen=True)
class _Ready:
    """A training that may begin.

    Attributes:
        job: what is trained.
        mixture: the rows.
        module: the predictor.
        tables: the raw rows.
        use: how they are used.
    """

    job: Job
    mixture: Mixture
    module: Module
    tables: Tables
    use: Use


@prints_line
def run(arguments: Namespace) -> dict[str, Any]:
    """Runs the verb; its JSON line."""
    with nullcontext() if arguments.run is None else local_copy(arguments.run) as folder:
        return _fit(arguments, folder)


def _fit(arguments: Namespace, folder: Path | None) -> dict[str, Any]:
    """With the run's folder on this machine."""
    started = time.perf_counter()
    check_resume(arguments)
    use = use_of(arguments, folder)
    told = as_read(arguments, use, named=is_named(arguments))
    if told.seed < 0:
        raise ParameterError.of("seed", _VERB, "an integer >= 0", told.seed)
    cluster = None if arguments.local else _cluster(arguments)  # an argument out of its range is told at once
    stem = arguments.train[0].rstrip("/").rsplit("/", 1)[-1].split(".")[0].replace("*", "") or "data"
    name = f"{stem}-fit-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
    out = output(arguments.storage, arguments.out, Path("runs") / name)
    check_free(out)
    beside = out.parent if isinstance(out, Path) else Path()  # a store renames nothing
    place = Checkpoints(arguments.checkpoints or str(beside / f".{out.name}.checkpoints"))
    _check_place(place, resume=arguments.resume)
    try:
        ready = _ready(told, use, None if place.remote else Path(place.path) / ROWS)
        identity = _identity(told, ready)
        last, rows = _trained(arguments, ready, cluster, place, identity)
    except BaseException:
        if not place.found():
            place.remove()
        elif not isinstance(sys.exc_info()[1], RunError):
            say(f"what was trained is kept in {place.place}; the same command with --resume goes on with it")
        raise
    seconds = time.perf_counter() - started
    line = _written(told, ready, last, out, rows, seconds)
    place.remove()
    say(f"the run is in {out}: raydm.report.fit_run.load_fit_run({str(out)!r}).predictor.predict(rows)")
    return line


def _cluster(arguments: Namespace) -> Any:
    from raydm.distributed.fitting import RayFit  # Ray takes seconds to import; a local run does not need it

    return RayFit(
        arguments.workers,
        cpus_per_worker=arguments.cpus_per_worker,
        gpus_per_worker=arguments.gpus_per_worker,
        tries=arguments.tries,
        address=arguments.address,
    )


def _check_place(place: Checkpoints, *, resume: bool) -> None:
    if place.found() and not resume:
        raise RunError(
            f"{place.place}: holds what an interrupted run has done. Add --resume to go on with it; or remove it to "
            "begin again."
        )


def _ready(told: Namespace, use: Use, scratch: Path | None) -> _Ready:
    """Reads rows, fits encoders, and checks all that can be checked before training."""
    reading = _reading(told)
    reading.check()
    tables = read_tables(told, scratch)
    mixture, found = mixture_of(told, tables, use, reading)
    for note in mixture.encoder.notes:
        say(note)
    labels, encoder = mixture.labels, mixture.encoder
    metric, module = metric_for(told.metric, labels.task), reading.module(mixture)
    valid, test = (
        judge_of(mixture, table, name, metric)
        for table, name in zip((tables.valid, tables.test), tables.judges, strict=True)
    )
    sample, _ = mixture.encoded(mixture.blocks[int(found.counts.argmax())])
    job = Job(
        module,
        Task(labels.task, labels.n_outputs),
        n_features=int(sample.x.shape[-1]),
        floating=sample.x.dtype.kind == "f",
        location=found.location,
        scale=found.scale,
        plan=Plan(found.counts, module.batch_size, window_blocks(mixture.block, tables.train.row_bytes), told.seed),
        epochs=told.epochs,
        seed=told.seed,
        precision=told.precision,
        metric=metric.name,
        keep=told.keep or ("last" if valid is None else "best"),
        valid=valid,
        test=test,
        pad_id=encoder.tokenizer.pad_id if isinstance(encoder, TokenColumn) else None,
    )
    workers = 1 if told.local else told.workers
    gpu = torch.cuda.is_available() if told.local else told.gpus_per_worker > 0
    job.check(workers, gpu=gpu)
    if workers > 1 and not gpu and has_batch_statistics(job.module()):
        warnings.warn(
            "The predictor has BatchNorm, whose statistics workers share on GPUs alone: here each takes those of its "
            "own rows, so that the predictor depends on how many workers there are. Use one, or more rows a batch.",
            RaydmWarning,
            stacklevel=2,
        )
    return _Ready(job, mixture, module, tables, use)


def _reading(told: Namespace) -> Reading:
    params = dict(told.predictor_args)
    for name, flag in (("precision", "--precision"), ("device", "--gpus-per-worker")):
        if name in params:
            raise ParameterError(f"{name!r} is no argument of the predictor here. Use {flag}.")
    params |= {name: value for name in ("lr", "batch_size") if (value := getattr(told, name)) is not None}
    params |= {name: str(Path(params[name]).absolute()) for name in ("weights",) if params.get(name)}
    return Reading(
        _VERB, told.predictor, params, told.text, told.image, _absolute(told.model), told.length, told.image_size
    )


def _absolute(model: str | None) -> str | None:
    """A folder by its whole name: workers have other current folders."""
    return str(Path(model).absolute()) if model is not None and Path(model).is_dir() else model


def _identity(told: Namespace, ready: _Ready) -> str:
    """What tells this training from others."""
    use, tables = ready.use, ready.tables
    parts = {"train": tables.train, "weights": use.weights.rows if use.weights else None, "new": use.new_rows}
    content = {
        "arguments": {name: value for name, value in vars(told).items() if name not in _FREE},
        "use": use.how,
        "predictor": ready.module.config(),
        "rows": {name: digest_of(rows) for name, rows in parts.items()},
        "packages": {name: version for name, version in versions().items() if name not in {"ray", "pyarrow"}},
    }
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _trained(
    arguments: Namespace, ready: _Ready, cluster: Any, place: Checkpoints, identity: str
) -> tuple[Checkpoint, int]:
    """The last checkpoint, and how many rows an epoch has."""
    job = ready.job
    start = place.newest(identity) if arguments.resume else None
    if arguments.resume and not arguments.quiet:
        say(f"going on after epoch {start[1].epochs}" if start else "nothing to resume: beginning")
    source: Mixture | InMemory = ready.mixture
    if not is_streamed(arguments, ready.tables.train):
        source, events = InMemory.of(ready.mixture)
        if events:
            warnings.warn(
                "; ".join(events) + ". The values were still encoded; check that the data come from the same source.",
                RaydmWarning,
                stacklevel=2,
            )
    with tqdm(total=job.epochs, desc="fit", unit="epoch", file=sys.stderr, disable=arguments.quiet) as bar:

        def watch(history: list[dict[str, Any]]) -> None:
            if len(history) > bar.n:
                shown = {k: f"{v:.4g}" for k, v in history[-1].items() if k in ("loss", "valid", "test")}
                bar.set_postfix(shown, refresh=False)
                bar.update(len(history) - bar.n)

        if cluster is not None:
            return cluster.fit(job, source, place, identity, watch=watch), job.plan.rows
        return _here(job, source, place, identity, None if start is None else start[1], watch), job.plan.rows


def _here(
    job: Job, source: Mixture | InMemory, place: Checkpoints, identity: str, start: Checkpoint | None, watch: Watch
) -> Checkpoint:
    """Trains in this process."""
    world = World(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    training = Training(job, source, world, start)

    def after(done: Training) -> None:
        place.add(done.checkpoint(), identity)
        watch(done.history)

    training.run(after)
    return training.checkpoint()


def _written(told: Namespace, ready: _Ready, last: Checkpoint, out: Place, rows: int, seconds: float) -> dict[str, Any]:
    """Writes the run; its JSON line."""
    job, mixture, use = ready.job, ready.mixture, ready.use
    kept = last.best or last.epochs
    record = last.history[kept - 1]
    scores = {name: record.get(name) for name in ("valid", "test")}
    predictor = TablePredictor(job.fitted(finished(job, last)), mixture.encoder, mixture.labels)
    given = {k: v for k, v in vars(told).items() if k not in {"module", "out", "resume", "quiet", "kind"}}
    new = 0 if use.new_rows is None else len(use.new_rows)
    config = {
        "use": use.how,
        "arguments": given | {"kind": dict(told.kind)},
        "predictor": ready.module.config(),
        "metric": job.metric,
        "fingerprints": {"train": digest_of(ready.tables.train)},
        "rows": {"train": len(ready.tables.train), "new": new, "used": rows},
        "location": job.location,
        "scale": job.scale,
        "notes": mixture.encoder.notes,
        "kept_epoch": kept,
        "seconds": seconds,
    }
    with new_folder(out) as folder:
        write_fit_run(
            folder,
            config=json.loads(json.dumps(config, default=str)),
            n_features=job.n_features,
            history=last.history,
            evidence={"metric": job.metric, "scores": scores, "curve": last.history, "kept_epoch": kept},
            predictor=predictor,
            roles=mixture.roles,
        )
    return {
        "run": str(out),
        "predictor": ready.module.config()["name"],
        "use": use.how,
        "rows": len(ready.tables.train),
        "new_rows": new,
        "used_rows": rows,
        "workers": 0 if told.local else told.workers,
        "epochs": last.epochs,
        "steps": last.epochs * job.plan.steps,
        "kept_epoch": kept,
        "seconds": round(seconds, 3),
        "rows_per_second": round(record["rows_per_second"], 1),
        "loss": record["loss"],
        "metric": job.metric,
        "valid_score": scores["valid"],
        "test_score": scores["test"],
    }

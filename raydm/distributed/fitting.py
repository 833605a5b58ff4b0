"""`raydm fit` on Ray Train: workers that train one predictor together, and go on from a checkpoint if one dies."""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydm.distributed.cluster import connect, require

os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")  # Ray's 2 s is how late it sees an end or a death

import ray
import ray.train
import ray.train.torch
import torch

from raydm.checks import check_integer
from raydm.distributed.fit_blocks import RayBlocks
from raydm.distributed.neighbors import leave_room, whole
from raydm.distributed.streaming import LIGHT, READS
from raydm.errors import ClusterError, ParameterError, RaydmError, RaydmWarning, RunError
from raydm.fitting import Checkpoint, Checkpoints, InMemory, Job, Mixture, Source, Training, World
from raydm.fitting.checkpoints import ATTEMPT, name_of, write

_KEPT = 2  # checkpoints: one might be torn
_LOOK_S = 0.5
_LONGEST = 600  # characters of what Ray says


@dataclass(frozen=True)
class Told:
    """What workers are told.

    Attributes:
        job: what they train.
        place: where checkpoints lie; every worker must see it.
        identity: of the training.
        threads: that a worker computes with.
    """

    job: Job
    place: str
    identity: str
    threads: int


class RayFit:
    """Workers of a training, on a Ray cluster that is joined or started, and left as it was found.

    Args:
        workers: how many, >= 1.
        cpus_per_worker: CPUs that Ray reserves for each, > 0; as many threads compute.
        gpus_per_worker: GPUs, or a fraction of one, for each.
        tries: how often the workers may fail before the training ends with an error, >= 1.
        address: of a running cluster; None: RAY_ADDRESS, else one is started here.

    Raises:
        ParameterError: an argument out of its range.
    """

    def __init__(
        self,
        workers: int = 1,
        *,
        cpus_per_worker: float = 1.0,
        gpus_per_worker: float = 0.0,
        tries: int = 4,
        address: str | None = None,
    ) -> None:
        check_integer("raydm fit", "workers", workers, 1)
        check_integer("raydm fit", "tries", tries, 1)
        if not cpus_per_worker >= 1e-4:
            raise ParameterError.of("cpus_per_worker", "raydm fit", "a number >= 0.0001", cpus_per_worker)
        if not gpus_per_worker >= 0:
            raise ParameterError.of("gpus_per_worker", "raydm fit", "a number >= 0", gpus_per_worker)
        self.workers, self.cpus, self.gpus = workers, cpus_per_worker, gpus_per_worker
        self.tries, self.address = tries, address

    def fit(
        self,
        job: Job,
        rows: InMemory | Mixture,
        place: Checkpoints,
        identity: str,
        *,
        watch: Callable[[list[dict[str, Any]]], None] = lambda history: None,
    ) -> Checkpoint:
        """Trains, from the newest checkpoint at the place on, and gives the last one.

        Args:
            job: what is trained.
            rows: on which: in memory, or read by Ray Data in blocks.
            place: of checkpoints.
            identity: of the training; checkpoints of another one are refused.
            watch: is given the records of the epochs that are done, now and then.

        Raises:
            ClusterError: no cluster, or one that can never place the workers; or they failed again and again.
            RaydmError: what the training itself raised: of rows that cannot be read, or a loss that is not finite.
            RunError: a checkpoint cannot be written.
        """
        if not place.remote:
            Path(place.path).mkdir(mode=0o700, parents=True, exist_ok=True)  # Ray would let everyone read it
        streamed = isinstance(rows, Mixture)
        room = LIGHT * READS if streamed else 0.0
        connection = connect(self.address, num_cpus=whole(self.workers * self.cpus + room))
        try:
            require(self.workers, {"CPU": self.cpus, "GPU": self.gpus}, "training workers", flag="worker")
            leave_room(self.workers * self.cpus, room, flag="worker")
            told = Told(job, place.place, identity, max(1, int(self.cpus)))
            outcome = self._run(self._trainer(told, rows, place), place, watch)
        finally:
            connection.close()
        for note in outcome["notes"]:
            warnings.warn(
                f"{note}. The values were still encoded; check that the data come from the same source.",
                RaydmWarning,
                stacklevel=2,
            )
        if outcome["error"] is not None:
            raise outcome["error"]
        found = place.newest(identity)
        if found is None or found[1].epochs != job.epochs:
            raise RunError(f"{place.place}: the last checkpoint is lost. Go on with --resume.")
        return found[1]

    def _trainer(self, told: Told, rows: InMemory | Mixture, place: Checkpoints) -> Any:
        # Numbers that the CPU needs are summed there, without waiting for GPUs; two workers on one GPU NCCL refuses
        backend = "cpu:gloo,cuda:nccl" if self.gpus >= 1 else "gloo"
        make: Any = ray.train.torch.TorchTrainer
        settings: Any = ray.train.RunConfig
        return make(
            _work,
            train_loop_config={
                "told": [ray.put(told)],
                "rows": [ray.put(rows)],
            },  # in lists, Ray leaves them as they are
            torch_config=ray.train.torch.TorchConfig(backend=backend),
            scaling_config=ray.train.ScalingConfig(
                num_workers=self.workers,
                use_gpu=self.gpus > 0,
                resources_per_worker={"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})},
            ),
            run_config=settings(
                name=f"{ATTEMPT}{secrets.token_hex(6)}",
                storage_path=place.path,
                storage_filesystem=place.files,
                failure_config=ray.train.FailureConfig(max_failures=self.tries - 1),
                checkpoint_config=ray.train.CheckpointConfig(num_to_keep=_KEPT),
                logging_config=ray.train.LoggingConfig("CRITICAL"),
            ),
        )

    def _run(self, trainer: Any, place: Checkpoints, watch: Callable[[list[dict[str, Any]]], None]) -> dict[str, Any]:
        """In a thread of its own: where it is called, Ray takes the interrupt key for itself."""
        ended: list[Any] = []

        def fit() -> None:
            try:
                ended.append(trainer.fit().return_value)
            except BaseException as error:
                ended.append(error)

        thread = threading.Thread(target=fit, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(_LOOK_S)
            watch(place.history())
        outcome = ended[0]
        if isinstance(outcome, BaseException):
            raise self._told(outcome, place) from outcome
        found: dict[str, Any] = outcome
        return found

    def _told(self, error: BaseException, place: Checkpoints) -> BaseException:
        if not isinstance(error, (ray.train.TrainingFailedError, ray.exceptions.RayError, RuntimeError, OSError)):
            return error
        kept = f" Checkpoints are kept in {place.place}: --resume goes on with them." if place.found() else ""
        if isinstance(error, ray.train.WorkerGroupError):
            first = next(iter(error.worker_failures.values()), error)
            return ClusterError(
                f"The training's workers failed {self.tries} times (--tries), at last: {_short(first)}. If they are "
                f"out of memory, use a smaller --batch-size, or more memory for each.{kept}"
            )
        return ClusterError(
            f"The training could not be run: {_short(error)}. On several nodes, all must see the checkpoints' place, "
            f"{place.place} (--checkpoints).{kept}"
        )


def _work(config: dict[str, Any]) -> dict[str, Any]:
    """What each worker does; of the first one's, Ray gives the driver what it returns."""
    told: Told = ray.get(config["told"][0])
    torch.set_num_threads(told.threads)
    context = ray.train.get_context()
    gpu = bool(ray.get_runtime_context().get_accelerator_ids().get("GPU"))
    device = ray.train.torch.get_device() if gpu else torch.device("cpu")
    world = World(context.get_world_rank(), context.get_world_size(), device)
    rows: InMemory | Mixture = ray.get(config["rows"][0])
    source: Source = RayBlocks(rows, config["rows"]) if isinstance(rows, Mixture) else rows
    error: RaydmError | None = None
    try:
        training = Training(told.job, source, world, _start(told, world))
        training.run(lambda done: _report(done, told.identity))
    except RaydmError as met:  # raised from here, it would be tried again; all workers met it
        error = met
    notes = [note for of in world.gathered(getattr(source, "notes", [])) for note in of]
    return {"error": error, "notes": list(dict.fromkeys(notes))}


def _start(told: Told, world: World) -> Checkpoint | None:
    """The checkpoint that all workers go on from: the newest that the first one finds whole."""
    place, found = Checkpoints(told.place), None
    answer: str | RaydmError | None = None
    if world.rank == 0:
        try:
            found = place.newest(told.identity, told=False)
            answer = None if found is None else found[0]
        except RaydmError as error:
            answer = error
    answer = world.gathered(answer)[0]
    if isinstance(answer, RaydmError):
        raise answer
    if answer is None:
        return None
    return found[1] if found is not None else place.read(answer)


def _report(training: Training, identity: str) -> None:
    """Hands a checkpoint to Ray, which takes it to the place; all workers meet here."""
    if training.world.rank > 0:
        ray.train.report({"epochs": training.epochs})
        return
    with tempfile.TemporaryDirectory(prefix="raydm-") as name:
        write(Path(name), training.checkpoint(), identity)
        ray.train.report(
            {"epochs": training.epochs},
            checkpoint=ray.train.Checkpoint.from_directory(name),
            checkpoint_dir_name=name_of(training.epochs, secrets.token_hex(4)),
        )


def _short(error: BaseException) -> str:
    """What Ray says, without traces."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [repr(error)]
    telling = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return telling.rstrip(".") if len(telling) <= _LONGEST else telling[:_LONGEST] + " ..."

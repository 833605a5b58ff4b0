"""Independent joint trainings of several seeds on a Ray cluster."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
import torch

from raydm.checks import check_integer
from raydm.distributed.cluster import connect, hide_gpus, require
from raydm.errors import ClusterError, ParameterError, RaydmError
from raydm.joint_training import Case, Outcome, RowMaker
from raydm.predictors.fitted_module import FittedModule

_RETRIES = 3  # of a training whose process died


@dataclass(frozen=True)
class RaySeeds:
    """Trains each seed in a Ray task: pass it as `DataWeighter(seeds=5, run=RaySeeds(actors=2))`.

    `DataAugmenter` and `DataSynthesizer` take it alike. Each seed's numbers are those of one process that works on as
    many threads. On a GPU they come back in the CPU's memory.

    Attributes:
        actors: how many train at once, >= 1.
        cpus_per_actor: CPUs that Ray reserves for each, > 0; its threads.
        gpus_per_actor: GPUs, or a fraction of one, that Ray reserves for each.
        address: of a running cluster; None: RAY_ADDRESS, else one is started here.
    """

    actors: int = 2
    cpus_per_actor: float = 1.0
    gpus_per_actor: float = 0.0
    address: str | None = None

    def __post_init__(self) -> None:
        check_integer("RaySeeds", "actors", self.actors, 1)
        if not self.cpus_per_actor > 0:
            raise ParameterError.of("cpus_per_actor", "RaySeeds", "a number > 0", self.cpus_per_actor)
        if not self.gpus_per_actor >= 0:
            raise ParameterError.of("gpus_per_actor", "RaySeeds", "a number >= 0", self.gpus_per_actor)

    def __call__(self, function: Callable[[Case], Outcome], cases: Sequence[Case]) -> list[Outcome]:
        """The outcomes, in the order of the cases, which differ in their seeds alone.

        Raises:
            ClusterError: the cluster cannot be reached, can never place them, or lost one again and again.
            RaydmError: what a training raised.
        """
        connection = connect(self.address)
        try:
            at_once = min(self.actors, len(cases))
            require(at_once, {"CPU": self.cpus_per_actor, "GPU": self.gpus_per_actor}, "trainings")
            options: dict[str, Any] = {"num_cpus": self.cpus_per_actor, "num_gpus": self.gpus_per_actor}
            task: Any = ray.remote(max_retries=_RETRIES, **options)(_one)
            shared, threads = ray.put(cases[0]), max(1, int(self.cpus_per_actor))
            waiting = list(enumerate(cases))
            running: dict[Any, int] = {}
            found: dict[int, Outcome] = {}
            while waiting or running:
                while waiting and len(running) < at_once:
                    k, case = waiting.pop(0)
                    running[task.remote(function, shared, case.problem.seed, threads)] = k
                (ready,), _ = ray.wait(list(running), num_returns=1)
                found[running.pop(ready)] = _outcome(ready)
            return [found[k] for k in range(len(cases))]
        finally:
            connection.close()


def _one(function: Callable[[Case], Outcome], case: Case, seed: int, threads: int) -> Outcome:
    torch.set_num_threads(threads)
    hide_gpus()
    done = function(copy.deepcopy(case).with_seed(seed))  # Ray's arrays are read-only, which torch cannot express
    if isinstance(done.learned, RowMaker):
        done.learned.to(torch.device("cpu"))
    return dataclasses.replace(done, fitted=_on_cpu(done.fitted))


def _on_cpu(fitted: FittedModule) -> FittedModule:
    """The same in the CPU's memory: the driver may see no GPU."""
    of, cpu = copy.copy(fitted.of), torch.device("cpu")
    of.module, of.device, of.location, of.scale = of.module.to(cpu), cpu, of.location.to(cpu), of.scale.to(cpu)
    return dataclasses.replace(
        fitted,
        of=of,
        params=[[p.to(cpu) for p in params] for params in fitted.params],
        buffers=[{name: b.to(cpu) for name, b in buffers.items()} for buffers in fitted.buffers],
    )


def _outcome(ready: Any) -> Outcome:
    try:
        done: Outcome = copy.deepcopy(ray.get(ready))
        return done
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, RaydmError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise ClusterError(f"A training was lost {_RETRIES + 1} times: {error}. Give each more memory.") from error

"""A small training, here or by several processes that gloo joins, without Ray."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing
from torch import Tensor

from raydm.data.task import Task
from raydm.errors import DataError
from raydm.fitting import Checkpoint, Encoded, InMemory, Job, Judge, Plan, Training, World
from raydm.predictors.large import make_module

N, BLOCK = 200, 10


def rows(*, seed: int = 0, images: bool = False) -> Encoded:
    rng = np.random.default_rng(seed)
    w = rng.uniform(0.1, 3, N).astype(np.float32)
    if images:
        return Encoded(rng.integers(0, 256, (N, 1, 8, 8)).astype(np.uint8), rng.integers(0, 3, N), w)
    x = rng.normal(size=(N, 4)).astype(np.float32)
    return Encoded(x, (x @ np.array([1.0, -2, 0.5, 0]) + rng.normal(size=N)).astype(np.float32), w)


def source(of: Encoded) -> InMemory:
    return InMemory(of, np.arange(0, N + 1, BLOCK))


def job(of: Encoded, predictor: str = "mlp", *, epochs: int = 4, batch: int = 23, **params: Any) -> Job:
    images = of.x.ndim == 4
    return Job(
        make_module(predictor, **params), Task("classification", 3) if images else Task("regression", 1),
        n_features=of.x.shape[-1], floating=not images, location=[0.0] if images else [0.3],
        scale=[1.0] if images else [2.0], plan=Plan(np.full(N // BLOCK, BLOCK), batch, 16, seed=5), epochs=epochs,
        seed=5, metric="log-likelihood" if images else "rmse",
        valid=Judge(torch.from_numpy(of.x[:31]), torch.from_numpy(of.y[:31])),
    )  # fmt: skip


def trained(job: Job, source: Any, start: Checkpoint | None = None, world: World | None = None) -> list[Checkpoint]:
    """The checkpoint after each epoch."""
    made: list[Checkpoint] = []
    training = Training(job, source, world or World(0, 1, torch.device("cpu")), start)
    training.run(lambda done: made.append(dataclasses.replace(done.checkpoint(), history=list(done.history))))
    return made


def furthest(one: Checkpoint, other: Checkpoint) -> float:
    """The largest difference of a parameter, relative to the largest one of its tensor."""

    def apart(a: Tensor, b: Tensor) -> float:
        return float((a - b).abs().max() / a.abs().max().clamp_min(1e-12))

    return max(apart(t, other.tensors[k]) for k, t in one.tensors.items() if k.startswith("params."))


class Failing(InMemory):
    """Rows of which a block cannot be read."""

    def read(self, blocks: Any) -> Any:
        for block in blocks:
            if block == 13:
                raise DataError("rows.parquet, row 131: torn.")
            yield from super().read(iter([block]))


def _rank(rank: int, size: int, folder: str, case: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    world, of = World(rank, size, torch.device("cpu")), rows()
    told: Any
    try:
        if case == "fails":
            told = trained(job(of), Failing(of, np.arange(0, N + 1, BLOCK)), world=world)
        elif case == "resumed":
            first = trained(job(of), source(of), world=world)
            told = first[-1], trained(job(of), source(of), first[1], world=world)[-1]
        else:
            told = trained(job(of), source(of), world=world)[-1]
    except DataError as error:
        told = str(error)
    torch.save(told, f"{folder}/{rank}")
    torch.distributed.destroy_process_group()


def together(size: int, folder: Path, case: str) -> list[Any]:
    """What each of some processes came to."""
    begin: Any = torch.multiprocessing
    begin.spawn(_rank, (size, str(folder), case), nprocs=size)
    return [torch.load(folder / str(rank), weights_only=False) for rank in range(size)]

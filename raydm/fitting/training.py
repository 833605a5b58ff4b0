"""The training of one predictor by all workers together: each batch's gradient is that of the whole batch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmError
from raydm.fitting.checkpoints import Checkpoint
from raydm.fitting.feed import Part, parts_of
from raydm.fitting.job import Job, Judge, trainable, weights_of
from raydm.fitting.rows import Source
from raydm.fitting.steps import Steps
from raydm.fitting.world import World
from raydm.seeding import stream

_ROWS = 256  # that are scored at once
_BEST = "best."
_TYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class Training:
    """A worker's side of a training.

    Args:
        job: what is trained.
        source: of the rows.
        world: who else trains.
        start: the checkpoint to go on from; None: the beginning.

    Attributes:
        epochs: how many are done.
        history: a record for each.
        best: the number of the best epoch, from 1; None where none is chosen.
    """

    def __init__(self, job: Job, source: Source, world: World, start: Checkpoint | None = None) -> None:
        self.job, self.source, self.world = job, source, world
        module = job.module().to(world.device)
        if world.size > 1 and world.device.type == "cuda":
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)  # type: ignore[no-untyped-call]
        self.module = module
        self.steps = Steps(trainable(module), job.predictor.optimizer)
        self.scaler = torch.amp.GradScaler(world.device.type, enabled=job.precision == "float16")
        self.location, self.scale = (torch.tensor(v, device=world.device) for v in (job.location, job.scale))
        self.epochs, self.best = 0, None if start is None else start.best
        self.history: list[dict[str, Any]] = []
        self._best_weights: dict[str, Tensor] = {}
        if start is not None:
            self._restore(start)
        self.forward = self._shared(module) if world.size > 1 else module

    def run(self, after: Callable[[Training], None]) -> None:
        """Trains to the last epoch; `after` is called on all workers after each.

        Raises:
            DataError: rows that cannot be read or encoded.
            ParameterError: the loss is not finite.
            RaydmError: what another worker raised, and so cannot go on.
        """
        for epoch in range(self.epochs, self.job.epochs):
            started = time.perf_counter()
            loss = self._epoch(epoch)
            seconds = time.perf_counter() - started
            self.epochs = epoch + 1
            record = {"epoch": self.epochs, "loss": loss, "rows_per_second": self.job.plan.rows / seconds}
            if not math.isfinite(loss):
                raise ParameterError(
                    f"The loss of epoch {self.epochs} is {loss}: the training diverged. Use a smaller --lr"
                    + (", or --precision bfloat16." if self.job.precision == "float16" else ".")
                )
            record |= {name: self._scored(judge) for name, judge in self._judges().items()}
            self.history.append({**record, "seconds": time.perf_counter() - started})
            self._choose()
            after(self)

    def checkpoint(self) -> Checkpoint:
        """All that is needed to go on."""
        tensors = weights_of(self.module) | self.steps.tensors()
        tensors |= {_BEST + name: t for name, t in self._best_weights.items()}
        counts: dict[str, float] = {"updates": self.steps.updates}
        if self.scaler.is_enabled():
            state = self.scaler.state_dict()
            counts |= {"scale": state["scale"], "growth": state["_growth_tracker"]}
        return Checkpoint(self.epochs, tensors, counts, self.history, self.best)

    def _epoch(self, epoch: int) -> float:
        """The weighted mean loss of an epoch."""
        job, rank, size = self.job, self.world.rank, self.world.size
        self.forward.train()
        feed = parts_of(job.plan, self.source, epoch, rank, size, pad_id=job.pad_id)
        lost = torch.zeros((), dtype=torch.float64, device=self.world.device)
        weighed = 0.0
        for step in range(epoch * job.plan.steps, (epoch + 1) * job.plan.steps):
            part, error = _next(feed)
            own = 0.0 if part is None else float(part.w.sum(dtype=torch.float64))
            total, stopped = self.world.sums(own, float(error is not None))
            if stopped or part is None:
                self._stop(error)
            lost += self._step(part, total, step).double()
            weighed += total
        return self.world.sums(float(lost))[0] / weighed

    def _step(self, part: Part, total: float, step: int) -> Tensor:
        """Takes one step, and gives the sum of w l over the worker's rows."""
        device, dtype = self.world.device, _TYPES.get(self.job.precision)
        _seed(int(stream(self.job.seed, "dropout", step, self.world.rank).integers(2**62)), device)
        x, y, w = part.x.to(device), part.y.to(device), part.w.to(device)
        with torch.autocast(device.type, dtype, enabled=dtype is not None):
            out = self.forward(x)
        lost = (w * losses(out.float(), y, self.job.task, self.location, self.scale)).sum()
        # Workers' gradients are averaged, and each holds its share of the sum over the batch
        loss = lost * (self.world.size / total)
        self.steps.zero_grad()
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.step(self.steps)
        self.scaler.update()
        return lost.detach()

    def _stop(self, error: RaydmError | None) -> NoReturn:
        """All end by the error that one has met: who just waited for it would wait for ever."""
        raise next(other for other in self.world.gathered(error) if other is not None)

    def _judges(self) -> dict[str, Judge]:
        named = {"valid": self.job.valid, "test": self.job.test}
        return {name: judge for name, judge in named.items() if judge is not None}

    @torch.no_grad()
    def _scored(self, judge: Judge) -> float:
        """The metric on some rows, of which each worker predicts its share."""
        self.module.eval()
        rank, size, n = self.world.rank, self.world.size, len(judge.y)
        first, end = n * rank // size, n * (rank + 1) // size
        made = []
        for a in range(first, end, _ROWS):
            out = self.module(judge.x[a : min(a + _ROWS, end)].to(self.world.device)).float()
            made.append(
                (out.softmax(-1) if self.job.task.kind == "classification" else out * self.scale + self.location).cpu()
            )
        shares = self.world.gathered(torch.cat(made).numpy() if made else None)
        predictions = torch.cat([torch.from_numpy(share) for share in shares if share is not None])
        return float(self.job.score(predictions.unsqueeze(0), judge.y)[0])

    def _choose(self) -> None:
        """Keeps the weights of the best epoch; of equal ones the first."""
        if self.job.keep != "best":
            return
        sign = self.job.score.sign
        scores = [sign * record["valid"] for record in self.history]
        if self.best is None or scores[-1] > scores[self.best - 1]:
            self.best, self._best_weights = self.epochs, weights_of(self.module)

    def _restore(self, start: Checkpoint) -> None:
        own = {f"params.{k}": p for k, p in trainable(self.module).items()}
        own |= {f"buffers.{k}": b for k, b in self.module.named_buffers()}  # type: ignore[misc]
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(start.tensors[name])
        self.steps.restore(start.tensors, int(start.counts["updates"]))
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(
                {
                    **self.scaler.state_dict(),
                    "scale": start.counts["scale"],
                    "_growth_tracker": int(start.counts["growth"]),
                }
            )
        self._best_weights = {k.removeprefix(_BEST): t.clone() for k, t in start.tensors.items() if k.startswith(_BEST)}
        self.epochs, self.history = start.epochs, list(start.history)

    def _shared(self, module: nn.Module) -> nn.Module:
        """The module whose gradients are averaged over the workers."""
        if self.world.device.type == "cuda":
            return DistributedDataParallel(module, device_ids=[self.world.device], static_graph=True)
        # DDP then never lays its buckets anew: a sum over three or more workers is of one order, also once resumed
        return DistributedDataParallel(module, find_unused_parameters=True)


def losses(out: Tensor, y: Tensor, task: Task, location: Tensor, scale: Tensor) -> Tensor:
    """Per-example losses (B,) of outputs (B, C), as `raydm.predictors.functional.Functional.losses`."""
    if task.kind == "regression":
        return (out - (y.reshape(out.shape) - location) / scale).square().mean(-1)
    return nn.functional.cross_entropy(out, y, reduction="none")


def finished(job: Job, last: Checkpoint) -> dict[str, Tensor]:
    """The weights of the epoch that is kept."""
    if job.keep == "best":
        return {k.removeprefix(_BEST): t for k, t in last.tensors.items() if k.startswith(_BEST)}
    return {k: t for k, t in last.tensors.items() if k.startswith(("params.", "buffers."))}


def has_batch_statistics(module: nn.Module) -> bool:
    """Whether it has BatchNorm, whose statistics workers on CPUs do not share."""
    return any(isinstance(part, _BatchNorm) for part in module.modules())


def _next(feed: Iterator[Part]) -> tuple[Part | None, RaydmError | None]:
    try:
        return next(feed), None
    except RaydmError as error:
        return None, error


def _seed(seed: int, device: torch.device) -> None:
    """Of what is drawn next, such as dropout."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)

"""Joint training of theta and phi: the utility looks one optimizer step ahead, and then takes it (Hu et al. 2019)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.adjoint import Inner, Minibatch, State, adjoint, gradients
from raydm.checks import check_choice, check_integer
from raydm.data.source import Batch
from raydm.errors import ParameterError, RaydmError
from raydm.predictors import TrainingSets
from raydm.predictors.fitted_module import FittedModule
from raydm.predictors.functional import Buffers, Params, copied
from raydm.predictors.inputs import as_leaves, wanted
from raydm.predictors.memory import Memory, check_fits
from raydm.predictors.module import Module
from raydm.predictors.training import Training
from raydm.seeding import repeatable, stream
from raydm.utility import Problem, Redrawn, checked, checked_predictions, failed

LOOK_AHEADS = ("weights", "zero")
_ROWS = 256  # whose losses are told at once
_FILE = "joint.safetensors"
_FOUR = 4  # rows of D^v, of which halves say anything
_EACH = 2  # so many steps halves are asked once: what they agree about changes slowly


class Joint:
    r"""A utility that owns theta and its optimizer's state, for one rollout: joint training with phi.

    u = -L(theta'), L the mean loss on D^v (cross-entropy or squared error), theta' one optimizer step (or T) ahead of
    the current theta on the sets. Its gradient in w, x and y of the sets is exact, through the optimizer's update with
    its current moments. `carry` then takes the real step. With g = grad sum_i w_i l_i / B, v = grad L(theta') and
    s = (d theta' / d g)' v, the slope of w_i is -<s, g_i> / B: one pass in forward mode for all B.

    Differences from the released code of Hu et al.: per-example optimizer steps there are detached and added up, so
    that Adam's are not the step of the weighted loss; here it is. The training loss is a mean, not a sum.

    Args:
        problem: predictor (a `Module`), D^v, task and seed; its metric has no part in u.
        unroll: T; sets of up to T B rows are cut into T minibatches of the predictor's batch size B, trained in order.
        checkpoint: keeps some sqrt(T) states of the unrolled steps, and makes them twice.
        look_ahead: where w is, that the derivative is taken at: "weights", the sets' own; or "zero" (Ren et al. 2018,
            equation 5; Hu et al.'s release nearly), for w alone: theta' is then the step of a gradient of 0.
        dev_batch: how many rows of D^v each look-ahead is judged by, drawn by the seed; None: all.
        halves: whether each second step, looked ahead alone, is judged by two halves of these, so that `agreement` is
            known. The slope is their mean: the same, but for BatchNorm, which sees a half; it takes a second pass in
            forward mode.

    Attributes:
        theta: the predictor in training.
        taken: how many times it carried.
        agreement: the correlation, over the batch, of the slopes of w by the two halves in the last look-ahead; None
            where it was not judged so.
    """

    differentiable = True

    def __init__(
        self,
        problem: Problem,
        *,
        unroll: int = 1,
        checkpoint: bool = False,
        look_ahead: str = "weights",
        dev_batch: int | None = None,
        halves: bool = False,
    ) -> None:
        check_integer("Joint", "unroll", unroll, 1)
        check_choice("Joint", "look_ahead", look_ahead, LOOK_AHEADS)
        if dev_batch is not None:
            check_integer("Joint", "dev_batch", dev_batch, 1)
        self.unroll, self.checkpoint, self.look_ahead, self.dev_batch = unroll, checkpoint, look_ahead, dev_batch
        self.halves = halves
        self.turn_to(problem)

    def turn_to(self, problem: Problem) -> None:
        """Starts from the initial weights of this problem's seed.

        Raises:
            ParameterError: its predictor is no `Module`, or a step is estimated not to fit the device's memory.
        """
        if not isinstance(problem.predictor, Module):
            raise ParameterError.of("predictor", "Joint", "a raydm.predictors.module.Module", problem.predictor)
        self.problem, self.predictor = problem, problem.predictor
        x = torch.from_numpy(problem.valid.x)
        seed = int(problem.seeds(0, 1)[0])
        self.of, params, buffers = problem.predictor.opened(
            problem.task, int(x.shape[-1]), seed, x.dtype, differentiable=True
        )
        self.theta = Training(self.of, self.predictor.optimizer, params, buffers)
        y = torch.from_numpy(problem.valid.y)
        self.location, self.scale = self.predictor.targets(self.of, y, torch.ones(len(y)))
        self._dev = x, y
        self.taken = 0
        self.agreement: float | None = None
        self._kept: tuple[Any, Tensor, Tensor, Buffers] | None = None
        self.memory: Memory = self.predictor.memory(
            self.of,
            x,
            rows=min(self.dev_batch or len(y), len(y)),
            unroll=self.unroll,
            checkpoint=self.checkpoint,
            joint=True,
        )
        check_fits(self.memory, self.of.device)

    def close(self) -> None:
        """Nothing is held."""

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """The utility u (1,), with a gradient in those of the sets' x, y and w that require one."""
        try:
            with repeatable():
                return self._looked_ahead(sets, step)
        except RaydmError:
            raise
        except Exception as error:  # whatever a module of the user's own may raise
            raise failed(step, error) from error

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        """Trains theta on the sets drawn again: one real step for each minibatch, none where all weights are 0."""
        try:
            sets = redrawn()
            with repeatable():
                for j, (x, y, w) in enumerate(self._parts(sets)):
                    self._step(x, y, w.detach(), self._seed(j))
        except RaydmError:
            raise
        except Exception as error:
            raise failed(step, error) from error
        self.taken += 1
        self._kept = None

    def losses(self, batch: Batch) -> Tensor:
        """The current losses (B,) of a batch's examples as the next step sees them, on the CPU, without a graph."""
        sets = TrainingSets(batch.x, batch.y, torch.ones(1, len(batch.y)), self.problem.task)
        parts = self._parts(sets)
        return (
            torch.cat([self._forward(x, y, self._seed(j), keep=False)[0] for j, (x, y, _) in enumerate(parts)])
            .detach()
            .cpu()
        )

    def predictions(self, sets: TrainingSets, x: Any, *, step: int) -> Tensor:
        """What the current predictor says of rows x: (1, M, C); sets and step are not used."""
        return checked_predictions(self.fitted().predict(x).numpy(), self.problem.seeds(0, 1), step)

    @torch.no_grad()
    def dev_loss(self) -> float:
        """The mean loss on all of D^v as users would predict it: no dropout, BatchNorm by its running statistics."""
        x, y = self._dev
        total = 0.0
        for a in range(0, len(y), _ROWS):
            some = x[a : a + _ROWS].to(self.of.device), y[a : a + _ROWS].to(self.of.device)
            total += float(self.of.losses(self.theta.params, self.theta.buffers, *some, mode="eval").sum())
        return total / len(y)

    def fitted(self) -> FittedModule:
        """The current predictor, as a copy."""
        return self.theta.fitted(self.location, self.scale)

    def save(self, folder: Path) -> None:
        """Writes joint.safetensors, from which `restore` goes on to the bit."""
        self.theta.save(folder / _FILE, {"taken": self.taken})

    def restore(self, folder: Path) -> None:
        """Goes on from what `save` wrote.

        Raises:
            RunError: the file is missing, torn, or of another predictor.
        """
        self.taken, self._kept = self.theta.restore(folder / _FILE)["taken"], None

    def _looked_ahead(self, sets: TrainingSets, step: int) -> Tensor:
        x, y, w = self._shared(sets)
        tensors = [*wanted(x), *wanted(y), *wanted(w)]
        if self.look_ahead == "zero" and (wanted(x) or wanted(y)):
            raise ParameterError("look_ahead='zero' is for weights: at w = 0 x and y have no slope. Use 'weights'.")
        if self.unroll == 1 and not wanted(x) and not wanted(y):
            loss, slopes = self._one_step(sets, bool(wanted(w)))
        else:
            loss, slopes = self._unrolled(sets)
        seeds = self.problem.seeds(step, 1)
        u = -loss.detach().cpu().reshape(1)
        checked(u.numpy(), seeds, step)
        for tensor, slope in zip(tensors, slopes, strict=True):
            along = -checked_predictions(slope.unsqueeze(0).cpu().numpy(), seeds, step, "the slope")[0].to(tensor)
            u = u + ((tensor - tensor.detach()) * along).sum().to(u)  # adds 0, and the slope
        return u

    def _one_step(self, sets: TrainingSets, wanted_of_w: bool) -> tuple[Tensor, list[Tensor]]:
        """The loss on D^v one step ahead, and its slope in w (B,)."""
        ((x, y, w),) = self._parts(sets)
        w = w.detach()
        losses, _ = self._forward(x, y, self._seed(0))
        inner, state = self._inner(), self._state()
        if self.look_ahead == "zero":
            grads = [torch.zeros_like(p) for p in self.theta.params]
        else:
            grads = gradients(losses, self.theta.params, [w.to(losses) / len(w)], keep=True)
        ahead = inner.stepped(state, grads).params
        if not wanted_of_w:
            return self._judge(ahead)[0], []

        def slope(v: Params) -> Tensor:
            _, _, s = inner.pulled(state, grads, v, None)
            found = self.of.slopes(self.theta.params, s, self.theta.buffers, x, y, seed=self._seed(0))
            if found is None:  # an operation has no forward mode: backward twice instead, through g as a function of w
                again = torch.ones_like(losses).requires_grad_()
                g = gradients(losses, self.theta.params, [again], create_graph=True)
                (found,) = gradients(g, [again], s, keep=True)
            return found / len(w)

        rows = self._dev_rows()
        self.agreement = None
        if not self.halves or self.taken % _EACH or len(rows) < _FOUR:
            loss, v = self._judge(ahead, rows)
            return loss, [slope(v)]
        judged = [(len(half) / len(rows), *self._judge(ahead, half)) for half in self._halved(rows)]
        slopes = [slope(v) for _, _, v in judged]
        self.agreement = _correlation(*slopes)
        shares = [share for share, _, _ in judged]
        return (
            sum((share * loss for share, loss, _ in judged), torch.zeros(())),
            [shares[0] * slopes[0] + shares[1] * slopes[1]],
        )

    def _unrolled(self, sets: TrainingSets) -> tuple[Tensor, list[Tensor]]:
        """The loss on D^v after all minibatches, and its slopes in those of x, y and w that are wanted."""
        steps = [
            Minibatch(
                as_leaves(x, self.of.device),
                as_leaves(y, self.of.device),
                as_leaves(w if self.look_ahead == "weights" else 0 * w, self.of.device),
                self._seed(j),
            )
            for j, (x, y, w) in enumerate(self._parts(sets))
        ]
        loss, each = adjoint(self._inner(), self._state(), steps, self._judge, checkpoint=self.checkpoint)
        return loss, [torch.cat(parts) for parts in zip(*each, strict=True)]

    def _dev_rows(self) -> npt.NDArray[np.int64]:
        """Which rows of D^v judge this step."""
        n = len(self._dev[1])
        if self.dev_batch is None or self.dev_batch >= n:
            return np.arange(n)
        return stream(self.problem.seed, "dev", self.taken).choice(n, self.dev_batch, replace=False)

    def _halved(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Two halves of rows of D^v, each class's (or of targets, near ones') in both alike."""
        rows = stream(self.problem.seed, "halves", self.taken).permutation(rows)
        y = self._dev[1][rows].reshape(len(rows), -1)
        kinds = y.argmax(-1) if self.problem.task.kind == "classification" and y.shape[1] > 1 else y[:, 0]
        rows = rows[np.argsort(kinds.numpy(), kind="stable")]
        return rows[::2], rows[1::2]

    def _judge(self, params: Params, rows: npt.NDArray[np.int64] | None = None) -> tuple[Tensor, Params]:
        """The loss on rows of D^v, and its gradient; statistics of BatchNorm are these rows' own."""
        x, y = self._dev
        rows = self._dev_rows() if rows is None else rows
        if len(rows) < len(y):
            x, y = x[rows], y[rows]
        params = [p.detach().requires_grad_() for p in params]
        x, y = x.to(self.of.device), y.to(self.of.device)
        with torch.enable_grad():
            losses = self.of.losses(params, copied(self.theta.buffers), x, y, mode="batch")
            loss = losses.mean()
        return loss.detach(), gradients(loss, params)

    def _forward(self, x: Any, y: Tensor, seed: int, *, keep: bool = True) -> tuple[Tensor, Buffers]:
        """Training losses (B,) at theta with their graph, and the buffers after; of one batch once a step."""
        if self._kept is not None and self._kept[0] is x and self._kept[1] is y:
            return self._kept[2], self._kept[3]
        self._kept = None
        place = self.of.device
        with torch.set_grad_enabled(self.unroll == 1 or keep):
            losses, buffers = self.theta.forward(as_leaves(x, place), as_leaves(y, place), seed)
        if self.unroll == 1:
            self._kept = x, y, losses, buffers
        return losses, buffers

    def _step(self, x: Any, y: Tensor, w: Tensor, seed: int) -> None:
        """One real step; the graph of the look-ahead is used again where the rows are the same."""
        if not (w > 0).any():
            return
        losses, buffers = self._forward(x, y, seed)
        self.theta.step(gradients(losses, self.theta.params, [w.to(losses) / len(w)]), buffers)
        self._kept = None

    def _parts(self, sets: TrainingSets) -> list[tuple[Any, Tensor, Tensor]]:
        """The minibatches: x, y and w (B,) of each."""
        x, y, w = self._shared(sets)
        if self.unroll == 1:
            return [(x, y, w)]
        size = -(-len(w) // self.unroll)
        return [(x[a : a + size], y[a : a + size], w[a : a + size]) for a in range(0, len(w), size)]

    def _shared(self, sets: TrainingSets) -> tuple[Any, Tensor, Tensor]:
        """x, y and w of the only rollout."""
        if sets.rollouts != 1:
            raise ParameterError.of("rollouts", "Joint", "1, for there is one theta", sets.rollouts)
        return sets.x if sets.x_is_shared else sets.x[0], sets.y if sets.y_is_shared else sets.y[0], sets.w[0]

    def _inner(self) -> Inner:
        return Inner(self.of, self.predictor.optimizer, self.theta.buffers)

    def _state(self) -> State:
        return State(self.theta.params, self.theta.moments, self.theta.updates + 1)

    def _seed(self, j: int) -> int:
        """Of dropout in the j-th minibatch: the same in the look-ahead and in the step that is then taken."""
        return int(stream(self.problem.seed, "dropout", self.taken, j).integers(2**62))


def _correlation(a: Tensor, b: Tensor) -> float:
    """Of two slopes (B,); 0 where one is constant."""
    a, b = a.double() - a.double().mean(), b.double() - b.double().mean()
    scale = float(a.norm() * b.norm())
    return float(a @ b) / scale if scale > 0 else 0.0

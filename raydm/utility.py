"""Utility: trains the R predictors of a step and scores each on the validation set D^v."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmError, RolloutError
from raydm.metrics import Metric
from raydm.predictors import Predictor, Seeds, TrainingSets
from raydm.seeding import repeatable, rollout_seeds

if TYPE_CHECKING:  # a manipulation may need a utility of its own
    from raydm.data.source import Batch
    from raydm.manipulations import Manipulation

Part = TypeVar("Part")  # what one shard gives
Redrawn = Callable[[], TrainingSets]  # a step's training sets, drawn again


@dataclass(frozen=True)
class Problem:
    """What every rollout of a run shares.

    Attributes:
        predictor: how f_theta is trained.
        valid: the trusted validation set D^v, M examples.
        task: what is predicted.
        metric: scores the predictions.
        seed: the run's seed.
        shared_restart: every rollout restarts from the same initial weights (see `raydm.seeding.rollout_seeds`).
        shard: rollouts trained at once. It never depends on how many workers there are, so that the same rollouts
            are computed together, and give the same bits, wherever they run.
    """

    predictor: Predictor
    valid: Examples
    task: Task
    metric: Metric
    seed: int
    shared_restart: bool = True
    shard: int = 16

    def watched(self) -> Problem:
        """The same, where a predictor that stops early, and was given no rows to watch, does so by its loss on D^v."""
        watching = getattr(self.predictor, "watching", None)
        if watching is None or self.predictor.watched is not None:  # type: ignore[attr-defined]
            return self
        return replace(self, predictor=watching(self.valid))

    def seeds(self, step: int, rollouts: int) -> Seeds:
        """One seed per rollout: (R,)."""
        return rollout_seeds(self.seed, step, rollouts, shared=self.shared_restart)

    def shards(self, rollouts: int) -> list[slice]:
        """Which rollouts make each shard; the last may be smaller."""
        return [slice(a, min(a + self.shard, rollouts)) for a in range(0, rollouts, self.shard)]


class Utility(Protocol):
    """What the learner calls; in one process or on a cluster, with the same numbers."""

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """The utilities u (R,) of R training sets, higher is better.

        Where x, y or w of the sets requires a gradient, u has one: that of the metric's smooth form, through the
        whole of each training. The trainings' own graphs end with the call.

        Raises:
            ParameterError: a gradient is asked for, and the predictor is not differentiable.
            RolloutError: a training failed or its score is not finite.
        """
        ...

    def predictions(self, sets: TrainingSets, x: Tensor, *, step: int) -> Tensor:
        """What the R trained predictors say of rows x (M, D): class probabilities or targets (R, M, C).

        Shards and seeds are those of a call with the same sets and step, so it is the same predictors that speak.

        Raises:
            RolloutError: a training failed or predicted something that is not finite.
        """
        ...

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        """After phi has moved: a joint scheme takes the predictor's own real step here; others do nothing.

        Args:
            redrawn: gives the step's sets again, from the same noise and the new phi.
            step: the step t.
        """
        ...

    def turn_to(self, problem: Problem) -> None:
        """Works on another problem from now on."""
        ...

    def close(self) -> None:
        """Gives back what it holds."""
        ...


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: as on an actor, so that both give the same bits; and fastest for small stacks."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with repeatable():
            yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def training_of(what: str) -> Iterator[None]:
    """Work of a predictor outside of the utility, on one thread as in it.

    Raises:
        RolloutError: the block raised something that is no error of ours; `what` says of what.
    """
    try:
        with one_thread():
            yield
    except RaydmError:
        raise
    except Exception as error:  # whatever a predictor of the user's own, or its arguments, may raise
        raise failed(what, error) from error


def aligned(array: npt.NDArray[Any]) -> Tensor:
    """A copy as a tensor, for products that must give the same bits anywhere.

    Fresh tensors are aligned alike, where numpy's memory begins anywhere; products may round differently by alignment.
    """
    return torch.from_numpy(array).clone()


@one_thread()
def predict_shard(problem: Problem, sets: TrainingSets, seeds: Seeds, x: Tensor) -> Tensor:
    """Trains a shard of r rollouts and predicts rows x (M, D): (r, M, C). Runs in whichever process has the shard."""
    if getattr(problem.predictor, "full_batch", False) and not any(t.requires_grad for t in (sets.x, sets.y, sets.w)):
        sets = sets.compact()  # small sets in games over large training sets then cost what they hold
    # Fresh copies, for what `aligned` says
    sets = TrainingSets(sets.x.clone(), sets.y.clone(), sets.w.clone(), sets.task)
    return problem.predictor.fit_predict(sets, x.clone(), seed=seeds)


@one_thread()
def score_shard(problem: Problem, sets: TrainingSets, seeds: Seeds) -> list[np.ndarray]:
    """Trains a shard of r rollouts and scores each on D^v. Runs in whichever process has the shard.

    Returns:
        The utilities (r,) float64; then the slopes of the metric's smooth form in those of x, y and w that require a
        gradient, each of their shape (r, ...).

    Raises:
        ParameterError: slopes are wanted, and the predictor is not differentiable.
    """
    wanted = [t for t in (sets.x, sets.y, sets.w) if t.requires_grad]
    if wanted:
        require_differentiable(problem.predictor, "A gradient of the utility")
    predictions = predict_shard(problem, sets, seeds, torch.from_numpy(problem.valid.x))
    y = torch.from_numpy(problem.valid.y).to(predictions.device)
    u: np.ndarray = problem.metric.utility(predictions.detach(), y).cpu().numpy()
    if not wanted:
        return [u]
    slopes = torch.autograd.grad(problem.metric.smooth.utility(predictions, y).sum(), wanted)
    return [u, *(slope.cpu().numpy() for slope in slopes)]


class MaybeDifferentiable(Protocol):
    """A predictor, or a utility that differentiates its training in its own way."""

    @property
    def differentiable(self) -> bool:
        """Whether what it gives can be differentiated in x, y and w of the training sets."""
        ...


def require_differentiable(predictor: MaybeDifferentiable, what: str) -> None:
    """Refuses a predictor through whose training no gradient can be taken.

    Raises:
        ParameterError: saying what asks for the gradient, and the remedy.
    """
    if not predictor.differentiable:
        raise ParameterError(
            f"{what} is taken through the predictor's training, and {type(predictor).__name__} cannot be "
            "differentiated. Use a torch predictor (such as 'logistic' or 'mlp'), or the score function "
            "(policy='bernoulli') with control_variate='none' or 'datamodel'."
        )


def per_rollout(sets: TrainingSets) -> TrainingSets:
    """The same sets, with an axis R on what they share and a gradient is wanted of: each rollout has its own slope."""
    x, y = sets.x, sets.y
    if x.requires_grad and sets.x_is_shared:
        x = x.expand(sets.rollouts, *x.shape)
    if y.requires_grad and sets.y_is_shared:
        y = y.expand(sets.rollouts, *y.shape)
    return TrainingSets(x, y, sets.w, sets.task)


def gathered(parts: Sequence[list[np.ndarray]], sets: TrainingSets, seeds: Seeds, step: int) -> Tensor:
    """The utilities (R,) float32 of all shards, with the gradients that their slopes say; sets are `per_rollout`.

    Raises:
        RolloutError: a utility or a slope is not finite.
    """
    u, *slopes = (np.concatenate(part) for part in zip(*parts, strict=True))
    utilities = checked(u, seeds, step)
    wanted = [t for t in (sets.x, sets.y, sets.w) if t.requires_grad]
    for tensor, slope in zip(wanted, slopes, strict=True):
        along = checked_predictions(slope, seeds, step, "the slope").to(tensor)
        utilities = utilities + ((tensor - tensor.detach()) * along).flatten(1).sum(-1)  # adds 0, and the slope
    return utilities


def checked(u: np.ndarray, seeds: Seeds, step: int) -> Tensor:
    """The utilities as a tensor (R,) float32, if each is finite.

    Raises:
        RolloutError: naming step, rollout and seed.
    """
    bad = np.flatnonzero(~np.isfinite(u))
    if len(bad):
        raise _diverged(step, f"the score of rollout {bad[0]} (seed {seeds[bad[0]]}) is {u[bad[0]]}", bad, u)
    return torch.from_numpy(u).float()


def checked_predictions(p: np.ndarray, seeds: Seeds, step: int, what: str = "a prediction") -> Tensor:
    """The predictions (R, M, C), or anything else with an axis R, as a tensor, if each is finite.

    Raises:
        RolloutError: naming step, rollout and seed.
    """
    bad = np.flatnonzero(~np.isfinite(p).reshape(len(p), -1).all(1))
    if len(bad):
        raise _diverged(step, f"{what} of rollout {bad[0]} (seed {seeds[bad[0]]}) is NaN or infinite", bad, p)
    return torch.from_numpy(p)


def _diverged(step: int, what: str, bad: np.ndarray, of: np.ndarray) -> RolloutError:
    return RolloutError(
        f"Step {step}: {what}; {len(bad)} of {len(of)} rollouts are not finite. The predictor's training diverged: "
        "lower its learning rate, or look for extreme values in the features."
    )


def failed(step: int | str, cause: object) -> RolloutError:
    """The error for a training that raised something."""
    where = f"Step {step}: a rollout's training" if isinstance(step, int) else step
    return RolloutError(
        f"{where} failed: {cause!r}. Check its arguments, and try it by itself on a few rows; sets with few "
        "rows of a class, or none, reach it as they are drawn."
    )


class InProcess:
    """Runs the shards one after the other in this process.

    Args:
        problem: what the rollouts share.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def __call__(self, sets: TrainingSets, *, step: int) -> Tensor:
        """The utilities u (R,)."""
        sets = per_rollout(sets)
        parts, seeds = self._shards(score_shard, sets, step)
        return gathered(parts, sets, seeds, step)

    def predictions(self, sets: TrainingSets, x: Tensor, *, step: int) -> Tensor:
        """Of rows x (M, D): (R, M, C)."""

        def predict(problem: Problem, sets: TrainingSets, seeds: Seeds) -> np.ndarray:
            return predict_shard(problem, sets, seeds, x).detach().cpu().numpy()

        parts, seeds = self._shards(predict, sets, step)
        return checked_predictions(np.concatenate(parts), seeds, step)

    def carry(self, redrawn: Redrawn, *, step: int) -> None:
        """Nothing: each rollout trains a predictor of its own."""

    def turn_to(self, problem: Problem) -> None:
        """Works on another problem from now on."""
        self.problem = problem

    def close(self) -> None:
        """Nothing is held."""

    def _shards(
        self, work: Callable[[Problem, TrainingSets, Seeds], Part], sets: TrainingSets, step: int
    ) -> tuple[list[Part], Seeds]:
        """What each shard gives, and the seeds (R,)."""
        seeds = self.problem.seeds(step, sets.rollouts)
        try:
            return [work(self.problem, sets[s], seeds[s]) for s in self.problem.shards(sets.rollouts)], seeds
        except RaydmError:
            raise
        except Exception as error:  # whatever a predictor of the user's own may raise
            raise failed(step, error) from error


@dataclass(frozen=True)
class StepUtility:
    """The utility as a function of actions alone: of one manipulation, on the batch of one step.

    Attributes:
        manipulation: says what training sets actions make.
        utility: trains and scores.
        batch: D_B.
        t: the step.
    """

    manipulation: Manipulation
    utility: Utility
    batch: Batch
    t: int

    def __call__(self, actions: Tensor) -> Tensor:
        """The utilities (R,) of actions (R, N, ...), with a gradient in them where they require one."""
        return self.utility(self.manipulation.apply(actions, self.batch), step=self.t)

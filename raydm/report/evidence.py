"""Evidence that values mean something: discovery of flipped labels, and scores after removing by value.

Each figure stands beside the same figure for trivial rankings. Axes: N training examples, M test examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from raydm.data.examples import Examples
from raydm.errors import RaydmError
from raydm.metrics import discovery_auc, discovery_f1, discovery_recall
from raydm.predictors import TrainingSets
from raydm.utility import Problem, failed, one_thread

INSPECTED = tuple(round(0.05 * i, 2) for i in range(21))
REMOVED = tuple(round(0.05 * i, 2) for i in range(11))
LEARNED = "values"  # what the learned values are called beside the trivial rankings

Rankings = Mapping[str, npt.NDArray[Any]]


def discovery(rankings: Rankings, flipped: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """How early flipped labels are met when inspecting from the lowest value up (DVRL, figure 3).

    Args:
        rankings: name -> (N,), higher is better.
        flipped: (N,) True where the label is known to be wrong; at least one, not all.

    Returns:
        inspected: shares of N; recall: name -> share of the flipped found by then; auc: name -> area under the ROC
        curve, in [0, 1]; f1: name -> F1 of calling the lower of two clusters of values flipped, in [0, 1]; flipped:
        the share of N that is flipped.
    """
    return {
        "inspected": list(INSPECTED),
        "recall": {name: discovery_recall(r, flipped, INSPECTED) for name, r in rankings.items()},
        "auc": {name: discovery_auc(r, flipped) for name, r in rankings.items()},
        "f1": {name: discovery_f1(r, flipped) for name, r in rankings.items()},
        "flipped": float(flipped.mean()),
    }


def removal(rankings: Rankings, problem: Problem, train: Examples, judge: Examples) -> dict[str, Any]:
    """Scores of the predictor retrained without the lowest, or the highest, 0 to 50 % by value (DVRL, figure 2).

    All retrainings run as one stack.

    Args:
        rankings: name -> (N,), higher is better.
        problem: predictor, task, metric and seed of the run.
        train: N examples.
        judge: M examples on which the retrained predictors are scored.

    Returns:
        metric; removed: shares of N; lowest and highest: name -> score after removing that share, in the metric's own
        direction; gain: name -> mean utility after removing the lowest minus after removing the highest, over the
        shares above 0 (0 is expected of a random ranking; higher is better).

    Raises:
        RolloutError: a training failed.
    """
    n = len(train)
    keep = {
        (name, end): [_kept(order, round(share * n)) for share in REMOVED]
        for name, ranking in rankings.items()
        for end, order in (
            ("lowest", np.argsort(ranking, kind="stable")),
            ("highest", np.argsort(-ranking, kind="stable")),
        )
    }
    w = torch.from_numpy(np.concatenate([np.stack(k) for k in keep.values()]))
    sets = TrainingSets(torch.from_numpy(train.x), torch.from_numpy(train.y), w, problem.task)
    seeds = np.repeat(problem.seeds(0, 1), len(w))
    try:
        with one_thread():
            predictions = problem.predictor.fit_predict(sets, torch.from_numpy(judge.x), seed=seeds).detach()
    except RaydmError:
        raise
    except Exception as error:  # whatever a predictor of the user's own may raise
        raise failed("A predictor of the removal curves", error) from error
    scores = problem.metric(predictions, torch.from_numpy(judge.y).to(predictions.device)).tolist()
    rows = [scores[i : i + len(REMOVED)] for i in range(0, len(scores), len(REMOVED))]
    ends: dict[str, dict[str, list[float]]] = {"lowest": {}, "highest": {}}
    for (name, end), row in zip(keep, rows, strict=True):
        ends[end][name] = row
    gain = {
        name: problem.metric.sign * float(np.mean(ends["lowest"][name][1:]) - np.mean(ends["highest"][name][1:]))
        for name in rankings
    }
    return {"metric": problem.metric.name, "removed": list(REMOVED), **ends, "gain": gain}


def _kept(order: npt.NDArray[np.int64], removed: int) -> npt.NDArray[np.float32]:
    w = np.ones(len(order), dtype=np.float32)
    w[order[:removed]] = 0
    return w


def verdict(figures: Mapping[str, float], what: str, returned: str | None) -> tuple[bool, str]:
    """Whether the values are at least as good as every ranking beside them, and a sentence that says so plainly.

    Args:
        figures: `LEARNED` and each other ranking -> the figure, higher is better.
        what: the figure's name.
        returned: the input whose values were returned, since learning did not beat it, and which therefore is not
            compared; None: they were learned.
    """
    name, best = max(((n, f) for n, f in figures.items() if n not in (LEARNED, returned)), key=lambda pair: pair[1])
    own = figures[LEARNED]
    whose = ""
    if returned is not None:
        whose = f" (of the input {returned!r}: nothing that was learned was better on held-out trusted rows)"
    if own >= best:
        return True, f"{what}: {own:.4f}{whose}; the best other ranking ({name}) has {best:.4f}."
    return False, f"{what}: {own:.4f}{whose}, NO better than another ranking ({name}, {best:.4f})."

"""Evidence beside x and y: what models that did not see a row say of its label. h_phi's inputs, and its start.

Axes: N training examples, M validation examples, Q rows, E sources, C outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import ParameterError, RaydmError, RolloutError, one_of
from raydm.manipulations import marginal_information
from raydm.predictors import BlackBox, Predictor, TrainingSets, make_predictor
from raydm.seeding import stream
from raydm.utility import Problem, aligned, failed, one_thread
from raydm.valuation.evidence.crossfit import CrossFitted, cross_fit, load_cross_fitted, marks
from raydm.valuation.evidence.pool import Pool, fit_pool

SOURCES = ("validation", "out-of-fold", "linear", "forest", "extra-trees", "neighbors")
POOLED = "pooled"

_FOLDS = 5
_ROUNDS = 2  # the second learns from rows weighted by what the first says of them; a third changes nothing
_TRUST = 3.0  # weight of a trusted row beside a training row
_TREE_COUNT = 100
_TREE_ROWS = 20_000  # of which each tree of a larger set sees a draw
_STACK_ROWS = 20_000  # on which the pool is fitted, at most
_SHRINKAGE = 10.0  # of the linear source, in rows: single wrong labels then move it little
_LEAST_WEIGHT = 1e-3  # below it a row is absent

_TREES = {  # package path, and the least rows of a leaf: large leaves are not shaped by single wrong labels
    "forest": ("RandomForest", 5),
    "extra-trees": ("ExtraTrees", 2),
}


@dataclass(frozen=True)
class Evidence:
    """What the sources say, pooled and each by itself; of any labelled rows.

    Attributes:
        sources: by name.
        pools: of all sources as "pooled", and of each alone under its own name.
        task: what the labels are.
        least: see `raydm.manipulations.marginal_information`.
    """

    sources: Mapping[str, CrossFitted]
    pools: Mapping[str, Pool]
    task: Task
    least: float

    def predictions(self, examples: Examples) -> Tensor:
        """What each source says of each row, by models that did not see it: (E, Q, C) float64.

        Raises:
            RolloutError: a model cannot predict.
        """
        said = []
        found: dict[int, Any] = {}
        for name, source in self.sources.items():
            if source.known is None and source.seed not in found:  # it is that of all
                found[source.seed] = marks(examples.x, source.seed)
            try:
                said.append(source.predict(examples.x, found.get(source.seed)))
            except RaydmError:
                raise
            except Exception as error:  # some of the user's own find out only here that they were given too few rows
                raise failed(_what(name), error) from error
        return torch.stack(said)

    def gaps(self, y: Tensor, predictions: Tensor) -> Tensor:
        """The marginal information of each source, side by side: (Q, E * C) float32; predictions (E, Q, C)."""
        return torch.cat([marginal_information(y, p, self.task, least=self.least) for p in predictions], -1)

    def log_odds(
        self, y: Tensor, predictions: Tensor, *, trusted: bool = False, pools: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Log-odds (Q,) that each label is right, by each pool, or by these alone; predictions (E, Q, C)."""
        names = list(self.sources)
        of = {name: predictions[[names.index(name)]] for name in names} | {POOLED: predictions}
        asked = self.pools if pools is None else {name: self.pools[name] for name in pools}
        return {name: pool.log_odds(of[name], y, trusted=trusted) for name, pool in asked.items()}

    def save(self, folder: Path) -> None:
        """Writes every source's models; the rest of it is `state`."""
        for name, source in self.sources.items():
            source.save(folder / name)

    def state(self) -> dict[str, Any]:
        """What `load_evidence` needs beside the models, as JSON allows."""
        return {
            "least": self.least,
            "sources": {
                name: {
                    "models": len(source.models),
                    "known": None if source.known is None else source.known.tolist(),
                }
                for name, source in self.sources.items()
            },
            "seed": next(iter(self.sources.values())).seed,
            "pools": {
                name: {
                    "weights": list(pool.weights),
                    "rates": list(pool.rates),
                    "spread": pool.spread,
                    "marginal": list(pool.marginal),
                }
                for name, pool in self.pools.items()
            },
        }


def check_sources(names: Sequence[str]) -> None:
    """Raises ParameterError unless these are different sources, one at least."""
    known = isinstance(names, Sequence) and not isinstance(names, str) and all(name in SOURCES for name in names)
    if not known or not names or len({*names}) < len(names):
        raise ParameterError.of("evidence", "DVRL", f"different ones of {one_of(SOURCES)[len('one of ') :]}", names)


@one_thread()
def gather(train: Examples, problem: Problem, names: Sequence[str]) -> Evidence:
    """Cross-fits every source on the training and the trusted rows together, and pools them.

    The validation source sees the trusted rows alone. Of the others, the first round takes the training labels as
    they are; the next weights each row by the probability that its label is right, as the round before pooled it.

    Args:
        train: N examples.
        problem: predictor, validation set and seed.
        names: of the sources, E of them.

    Raises:
        RolloutError: a training failed, or predicts what is not finite.
    """
    task, n = problem.task, len(train)
    x = np.concatenate([train.x, problem.valid.x])
    y = torch.from_numpy(np.concatenate([train.y, problem.valid.y]))
    rows = Examples(x, y.numpy(), np.arange(len(x)))
    trusted = torch.arange(len(x)) >= n
    least = 0.01 * float(np.abs(train.y).mean()) or 1.0
    some = torch.from_numpy(_some(len(x), n, problem.seed))
    right = torch.ones(len(x), dtype=torch.float64)
    for _ in range(_ROUNDS):
        sources = {name: _source(name, rows, right, trusted, problem) for name in names}
        evidence = Evidence(sources, {}, task, least)
        said = evidence.predictions(rows)
        _check_finite(names, said)
        pooled = fit_pool(said[:, some], y[some], trusted[some], task)
        odds = [pooled.log_odds(said, y, trusted=t) for t in (False, True)]
        right = torch.where(trusted, odds[1], odds[0]).sigmoid()
    alone = {name: fit_pool(said[[i]][:, some], y[some], trusted[some], task) for i, name in enumerate(names)}
    return replace(evidence, pools=alone | {POOLED: pooled})


def load_evidence(
    folder: Path, state: Mapping[str, Any], predictor: Predictor, task: Task, n_features: int
) -> Evidence:
    """Reads what `Evidence.save` and `Evidence.state` gave.

    Raises:
        RunError: it is missing or torn.
    """
    sources = {
        name: load_cross_fitted(
            source_predictor(name, predictor, task, 0),
            folder / name,
            task,
            n_features,
            count=int(source["models"]),
            seed=int(state["seed"]),
            known=source["known"],
        )
        for name, source in state["sources"].items()
    }
    pools = {
        name: Pool(task, tuple(p["weights"]), tuple(p["rates"]), float(p["spread"]), tuple(p["marginal"]))
        for name, p in state["pools"].items()
    }
    return Evidence(sources, pools, task, float(state["least"]))


def source_predictor(name: str, predictor: Predictor, task: Task, n: int) -> Predictor:
    """The model that a source trains; predictor is the run's own, n the least rows that one is trained on."""
    if name in ("validation", "out-of-fold"):
        return predictor
    if name == "neighbors":
        return make_predictor("neighbors")
    if name == "linear" and task.kind == "classification":
        return make_predictor("sklearn.linear_model.LogisticRegression", C=1 / _SHRINKAGE, max_iter=200)
    if name == "linear":
        return make_predictor("sklearn.linear_model.Ridge", alpha=_SHRINKAGE)
    family, leaf = _TREES[name]
    kind = "Classifier" if task.kind == "classification" else "Regressor"
    rows = {"max_samples": _TREE_ROWS} if n > _TREE_ROWS else {}
    return make_predictor(
        f"sklearn.ensemble.{family}{kind}", n_estimators=_TREE_COUNT, min_samples_leaf=leaf, bootstrap=True, **rows
    )


def _source(name: str, rows: Examples, right: Tensor, trusted: Tensor, problem: Problem) -> CrossFitted:
    fold = torch.from_numpy(marks(rows.x, problem.seed) % _FOLDS)
    present = right >= _LEAST_WEIGHT
    least = min(int((present & (fold != k)).sum()) for k in range(_FOLDS))
    predictor = source_predictor(name, problem.predictor, problem.task, least)
    if isinstance(predictor, BlackBox) and not predictor.takes_weights(problem.task):
        w = (right >= 0.5).float()
    else:
        w = torch.where(present, right * torch.where(trusted, _TRUST, 1.0), 0.0).float()
    x, y = aligned(rows.x), torch.from_numpy(rows.y)
    if name == "validation":
        x, y, w = x[trusted], y[trusted], w[trusted]
    sets = TrainingSets(x, y, w.unsqueeze(0), problem.task)
    with warnings.catch_warnings():
        # The linear source is as good a witness where its solver stops early
        warnings.simplefilter("ignore", ConvergenceWarning)
        return cross_fit(
            predictor,
            sets,
            count=_FOLDS,
            seed=problem.seed,
            seeds=problem.seeds(0, 1),
            what=_what(name),
            whole=name == "validation",  # training rows are then judged by all trusted rows, as in the paper
        )


def _what(name: str) -> str:
    return f"The evidence {name!r}"


def _check_finite(names: Sequence[str], said: Tensor) -> None:
    for name, predictions in zip(names, said, strict=True):
        if not predictions.isfinite().all():
            raise RolloutError(
                f"{_what(name)} predicts NaN or infinities. The predictor's training diverged: lower its "
                "learning rate, or look for extreme values in the features."
            )


def _some(total: int, n: int, seed: int) -> np.ndarray:
    """Rows to fit the pool on: all, or a draw of the training rows and all trusted rows."""
    if total <= _STACK_ROWS:
        return np.arange(total)
    drawn = stream(seed, "pool").choice(n, min(n, _STACK_ROWS), replace=False)
    return np.concatenate([np.sort(drawn), np.arange(n, total)])

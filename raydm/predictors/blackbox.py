"""BlackBox: any estimator with fit and predict, one training after the other."""

from __future__ import annotations

import importlib
import inspect
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from torch import Tensor

from raydm.data.task import Task
from raydm.errors import ParameterError, RunError
from raydm.predictors.protocol import Seeds, TrainingSets

Array = npt.NDArray[Any]

_SEED_RANGE = 2**31  # estimators take 32-bit seeds
_NO_CLASSES = np.zeros(1, dtype=np.int64)  # of targets; its size is what runs of format 2 hold


class BlackBox:
    """Trains a clone of a scikit-learn style estimator on each set.

    Absent rows (weight 0) are dropped, not weighted 0: LightGBM lets rows of weight 0 shape its bins. Weights other
    than 0 and 1 go in as `sample_weight`. An empty set, one of one class, and in regression one of a single example
    train scikit-learn's dummy, whose predictions are constant. Each clone runs on one thread, so that actors do not
    fight and results repeat. Of several targets, an estimator that can learns all together, in their own units; of
    one that cannot, a clone of the same seed learns each.

    Args:
        classifier: the estimator for classification, or None. Without `predict_proba` its predicted class gets
            probability 1.
        regressor: the estimator for regression, or None.
        spec: how `raydm.predictors.make_predictor` rebuilds it; None for an estimator of the user's own.
    """

    differentiable = False

    def __init__(
        self,
        classifier: BaseEstimator | None = None,
        regressor: BaseEstimator | None = None,
        *,
        spec: dict[str, Any] | None = None,
    ) -> None:
        self.templates = {"classification": classifier, "regression": regressor}
        self.spec = spec

    def config(self) -> dict[str, Any]:
        """Its name and arguments; {"name": "custom"} for an estimator of the user's own."""
        return dict(self.spec) if self.spec else {"name": "custom", "estimator": repr(self.templates)}

    def takes_weights(self, task: Task) -> bool:
        """Whether fractional weights can be used: the estimator's fit has `sample_weight`."""
        return "sample_weight" in inspect.signature(self._template(task).fit).parameters

    def fit(self, sets: TrainingSets, *, seed: Seeds) -> FittedList:
        """Trains the R estimators; seed is (R,)."""
        if sets.task.kind == "classification" and sets.y.is_floating_point():
            raise ParameterError("BlackBox needs class indices as y. Got class probabilities; use a Stacked predictor.")
        x, y, w = (t.detach().cpu().numpy() for t in (sets.x, sets.y, sets.w))
        fitted = [
            self._fit_one(
                x if sets.x_is_shared else x[r], y if sets.y_is_shared else y[r], w[r], sets.task, int(seed[r])
            )
            for r in range(sets.rollouts)
        ]
        return FittedList([e for e, _ in fitted], [c for _, c in fitted], sets.task)

    def fit_predict(self, sets: TrainingSets, x: Tensor, *, seed: Seeds) -> Tensor:
        """Trains and predicts rows x (M, D): (R, M, C)."""
        return self.fit(sets, seed=seed).predict(x)

    def load(self, folder: Path, task: Task, n_features: int) -> FittedList:
        """Reads what `FittedList.save` wrote.

        Raises:
            RunError: it is torn, or holds a type that is not an estimator of scikit-learn, LightGBM or XGBoost, nor of
                the class that this BlackBox was made with.
        """
        import skops.io

        file = folder / "predictor.skops"
        own = {f"{type(t).__module__}.{type(t).__qualname__}" for t in self.templates.values()}
        try:
            types = skops.io.get_untrusted_types(file=file)
            foreign = [t for t in types if t not in own and not _is_known_class(t)]
            if foreign:
                raise RunError(f"{file}: holds types that raydm does not trust: {', '.join(foreign)}. Retrain it.")
            state = skops.io.load(file, trusted=types)
            classes = [np.asarray(c, dtype=np.int64) for c in state["classes"]]
            return FittedList(state["estimators"], classes, task)
        except RunError:
            raise
        except (OSError, KeyError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise RunError(f"{file}: cannot be read ({error}). Make the run again.") from error

    def _template(self, task: Task) -> Any:
        template = self.templates[task.kind]
        if template is None:
            others = ", ".join(f"{t} for {kind}" for kind, t in self.templates.items() if t is not None)
            raise ParameterError(f"The predictor ({others}) is not made for {task.kind}. Name another one.")
        return template

    def _fit_one(self, x: Array, y: Array, w: Array, task: Task, seed: int) -> tuple[Any, Array]:
        """An estimator trained on one set, or a list of one for each target; and which classes its columns are."""
        present = w > 0
        if task.kind == "regression":
            if present.sum() < 2:
                known = present if present.any() else slice(None)
                return DummyRegressor().fit(x[known], y[known]), _NO_CLASSES
            x, y, w = x[present], y[present], w[present]
            if y.ndim == 2 and not _takes_several_targets(self._template(task)):
                return [self._estimator(task, seed, x, target, w) for target in y.T.copy()], _NO_CLASSES
            return self._estimator(task, seed, x, y, w), _NO_CLASSES
        classes, codes = np.unique(y[present], return_inverse=True)
        if len(classes) < 2:
            classes = classes if len(classes) else np.arange(task.n_outputs)
            return DummyClassifier(strategy="prior").fit(np.zeros((len(classes), 1)), classes), classes
        return self._estimator(task, seed, x[present], codes, w[present]), classes

    def _estimator(self, task: Task, seed: int, x: Array, y: Array, w: Array) -> Any:
        estimator = clone(self._template(task), safe=False)  # also of objects that only have fit and predict
        fixed = {"random_state": seed % _SEED_RANGE, "n_jobs": 1}
        if hasattr(estimator, "get_params"):
            params = estimator.get_params()  # also those inside a pipeline
            names = {k: k.rpartition("__")[2] for k in params if not _is_one_job(estimator, params, k)}
            estimator.set_params(**{k: fixed[name] for k, name in names.items() if name in fixed})
        if np.all(w == 1):
            estimator.fit(x, y)
            return estimator
        if not self.takes_weights(task):
            raise ParameterError(
                f"{type(estimator).__name__} takes no sample_weight, so it cannot be trained with fractional weights. "
                'Use final="kept", or another predictor.'
            )
        estimator.fit(x, y, sample_weight=w)
        return estimator


@dataclass(frozen=True)
class FittedList:
    """R trained estimators.

    Attributes:
        estimators: R of them; for one that takes one target only, a list of C.
        classes: for each, the classes that its probability columns stand for, ascending.
        task: what is predicted.
    """

    estimators: list[Any]
    classes: list[Array]
    task: Task

    def predict(self, x: Tensor) -> Tensor:
        """For rows x (M, D): class probabilities or targets (R, M, C); float64."""
        rows = x.detach().cpu().numpy()
        out = np.zeros((len(self.estimators), len(rows), self.task.n_outputs))
        with warnings.catch_warnings():
            # LightGBM's scikit-learn wrapper names its features itself, then warns that ours have no names.
            warnings.filterwarnings("ignore", message="X does not have valid feature names")
            for into, estimator, classes in zip(out, self.estimators, self.classes, strict=True):
                if isinstance(estimator, list):
                    into[:] = np.stack([of_target.predict(rows) for of_target in estimator], axis=1)
                elif self.task.kind == "regression":
                    into[:] = np.reshape(estimator.predict(rows), into.shape)
                elif hasattr(estimator, "predict_proba"):
                    into[:, classes] = estimator.predict_proba(rows)
                else:
                    into[np.arange(len(rows)), classes[np.asarray(estimator.predict(rows), dtype=int)]] = 1.0
        return torch.from_numpy(out)

    def save(self, folder: Path) -> None:
        """Writes predictor.skops (no pickle) and which classes each estimator knows."""
        import skops.io  # half a second that actors need not spend

        state = {"estimators": self.estimators, "classes": [c.tolist() for c in self.classes]}
        skops.io.dump(state, folder / "predictor.skops")


def _is_one_job(estimator: Any, params: dict[str, Any], key: str) -> bool:
    """Whether it is an n_jobs of scikit-learn's own that is one already; where it has no effect, setting it warns."""
    inside, _, name = key.rpartition("__")
    owner = type(params.get(inside, estimator)).__module__
    return name == "n_jobs" and params[key] is None and owner.startswith("sklearn.")


def _takes_several_targets(estimator: Any) -> bool:
    """Whether its fit takes y (N, C); one that does not say so is taken not to."""
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    if isinstance(last, MLPRegressor):
        return True  # which its tags do not tell
    return hasattr(last, "__sklearn_tags__") and bool(last.__sklearn_tags__().target_tags.multi_output)


def _is_known_class(name: str) -> bool:
    """Whether a dotted name is that of a class that a package we know defines there; looked up, never called.

    A name alone proves nothing: `sklearn.utils._testing.check_output` is the function that runs commands.
    """
    module, _, attribute = name.rpartition(".")
    if name == "collections.OrderedDict":
        return True
    if not module.startswith(("sklearn.", "lightgbm.", "xgboost.")) or "test" in module:
        return False
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return False
    return isinstance(found, type) and found.__module__ == module

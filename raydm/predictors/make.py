"""Predictors by name."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from sklearn.base import BaseEstimator, is_classifier, is_regressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.naive_bayes import GaussianNB

from raydm import networks
from raydm.checks import check_integer
from raydm.errors import MissingPackageError, ParameterError, one_of
from raydm.predictors.blackbox import BlackBox
from raydm.predictors.early_stopping import EarlyStopping
from raydm.predictors.optimizers import SGD, Adam
from raydm.predictors.protocol import Predictor
from raydm.predictors.stacked import Stacked
from raydm.predictors.votes import NeighborVotes

# Adam divides a gradient by its own size. With torch's 1e-8, one that is 0 up to rounding (of the bias at the first
# step, where targets have mean 0 or classes are balanced) moves the bias by up to lr: noise that differs by machine.
_EPS = 1e-5
_WIDEST = 2**20  # units of a layer: a slip of the finger, and memory is full


def logistic(
    *, lr: float = 0.2, momentum: float = 0.9, epochs: int = 20, weight_decay: float = 0.0, device: str = "auto"
) -> Stacked:
    """Multinomial logistic regression from zero: full-batch gradient descent with momentum."""
    return Stacked(
        networks.linear, optimizer=SGD(lr, momentum, weight_decay), epochs=epochs, batch_size=None, device=device
    )


def linear(*, lr: float = 0.1, epochs: int = 20, weight_decay: float = 0.0, device: str = "auto") -> Stacked:
    """Linear regression from zero: full-batch Adam, whose step length does not depend on the features' correlations.

    Gradient descent diverges under a squared error once lr times the largest eigenvalue of X'X / N is near 2.
    """
    return Stacked(
        networks.linear,
        optimizer=Adam(lr, eps=_EPS, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=None,
        device=device,
    )


def mlp(
    *,
    hidden: Sequence[int] = (100, 100),
    lr: float = 0.01,
    epochs: int = 20,
    batch_size: int | None = 64,
    steps: int | None = None,
    patience: int | None = None,
    check_every: int = 10,
    layer_norm: bool = False,
    weight_decay: float = 0.0,
    device: str = "auto",
) -> Stacked:
    """Fully connected ReLU network, Adam; `steps`, where given, counts instead of epochs.

    With `patience` a training stops early: after so many checks, one each `check_every` steps, without a lower loss on
    the rows that it watches (`Stacked.watching`; `DataMixer` names the trusted ones).
    """
    return Stacked(
        partial(networks.mlp, hidden=_widths("mlp", "hidden", hidden), layer_norm=layer_norm),
        optimizer=Adam(lr, eps=_EPS, weight_decay=weight_decay),
        epochs=epochs if steps is None else None,
        batch_size=batch_size,
        steps=steps,
        early_stopping=None if patience is None else EarlyStopping(patience, check_every),
        device=device,
    )


def cnn(
    *,
    image_shape: Sequence[int],
    channels: Sequence[int] = (16, 32),
    lr: float = 0.01,
    epochs: int = 20,
    batch_size: int | None = 64,
    weight_decay: float = 0.0,
    device: str = "auto",
) -> Stacked:
    """Small convolutional network on images (H, W, channels) unfolded to D features, Adam."""
    shape, widths = _widths("cnn", "image_shape", image_shape), _widths("cnn", "channels", channels)
    if len(shape) != 3:
        raise ParameterError.of("image_shape", "cnn", "(H, W, channels)", image_shape)
    return Stacked(
        partial(_cnn_module, image_shape=shape, channels=widths),
        optimizer=Adam(lr, eps=_EPS, weight_decay=weight_decay),
        epochs=epochs,
        batch_size=batch_size,
        device=device,
    )


def _widths(owner: str, name: str, values: Sequence[int]) -> tuple[int, ...]:
    for value in values:
        check_integer(owner, name, value, 1)
        if value > _WIDEST:
            raise ParameterError.of(name, owner, f"integers <= {_WIDEST}", value)
    return tuple(values)


def _cnn_module(n_features: int, n_outputs: int, *, image_shape: tuple[int, ...], channels: tuple[int, ...]) -> Any:
    return networks.small_cnn(image_shape, n_outputs, channels)


def lightgbm(**params: Any) -> BlackBox:
    """Gradient boosted trees of LightGBM; arguments are LightGBM's."""
    return _boosted("lightgbm", "LGBM", {"n_estimators": 50, "min_child_samples": 5, "verbose": -1} | params)


def xgboost(**params: Any) -> BlackBox:
    """Gradient boosted trees of XGBoost; arguments are XGBoost's."""
    return _boosted("xgboost", "XGB", {"n_estimators": 50, "verbosity": 0} | params)


def _boosted(package: str, prefix: str, params: Mapping[str, Any]) -> BlackBox:
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError.of(package, f"predictor={package!r}", 'pip install "raydm[boosting]"') from error
    return BlackBox(getattr(module, f"{prefix}Classifier")(**params), getattr(module, f"{prefix}Regressor")(**params))


def naive_bayes(**params: Any) -> BlackBox:
    """Gaussian naive Bayes of scikit-learn (classification only)."""
    return BlackBox(GaussianNB(**params), None)


def random_forest(**params: Any) -> BlackBox:
    """Random forest of scikit-learn; arguments are scikit-learn's."""
    return BlackBox(RandomForestClassifier(**params), RandomForestRegressor(**params))


PREDICTORS: Mapping[str, Callable[..., Predictor]] = {
    "logistic": logistic,
    "linear": linear,
    "mlp": mlp,
    "cnn": cnn,
    "lightgbm": lightgbm,
    "xgboost": xgboost,
    "naive-bayes": naive_bayes,
    "random-forest": random_forest,
    "neighbors": NeighborVotes,
}


def make_predictor(predictor: Any, **params: Any) -> Predictor:
    """A predictor from a name, a scikit-learn class by its dotted name, an estimator, or a predictor (kept as it is).

    Args:
        predictor: a key of `PREDICTORS`; "sklearn.neighbors.KNeighborsClassifier" and the like; an object with fit and
            predict; or a `Predictor`.
        params: arguments of the named one.

    Raises:
        ParameterError: an unknown name, or arguments that it does not take.
        MissingPackageError: its package is not installed.
    """
    if not isinstance(predictor, str) and params:
        raise ParameterError(f"predictor_params are for a predictor named by a string. Got {params} beside an object.")
    if hasattr(predictor, "fit_predict") and hasattr(predictor, "differentiable"):
        made: Predictor = predictor
        return made
    if not isinstance(predictor, str):
        if not (hasattr(predictor, "fit") and hasattr(predictor, "predict")):
            raise ParameterError.of("predictor", "raydm", _EXPECTED, predictor)
        return _wrapped(predictor, None)
    if predictor not in PREDICTORS and not predictor.startswith("sklearn."):
        raise ParameterError.of("predictor", "raydm", _EXPECTED, predictor)
    spec = {"name": predictor, **params}
    try:
        if predictor in PREDICTORS:
            named: Any = PREDICTORS[predictor](**params)
            named.spec = spec
            return named  # type: ignore[no-any-return]
        module, _, name = predictor.rpartition(".")
        found = getattr(importlib.import_module(module), name)
        # Looked at before it is called: the name may come from a run's config.json, and calls nothing but an estimator
        if not (isinstance(found, type) and issubclass(found, BaseEstimator) and hasattr(found, "predict")):
            raise ParameterError.of("predictor", "raydm", _EXPECTED, predictor)
        return _wrapped(found(**params), spec)
    except (TypeError, AttributeError, ModuleNotFoundError) as error:
        raise ParameterError(f"The predictor {predictor!r} cannot be made with {params}: {error}.") from error


_EXPECTED = one_of(PREDICTORS) + ", the dotted name of a scikit-learn estimator, or an object with fit and predict"


def _wrapped(estimator: Any, spec: dict[str, Any] | None) -> BlackBox:
    if not isinstance(estimator, BaseEstimator):  # it does not say what it is for: taken at its word
        return BlackBox(estimator, estimator, spec=spec)
    return BlackBox(
        estimator if not is_regressor(estimator) else None,
        estimator if not is_classifier(estimator) else None,
        spec=spec,
    )

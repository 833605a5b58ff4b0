"""Influence functions: what a little more weight on an example would do to the validation loss (Koh, Liang 2017).

"Understanding Black-box Predictions via Influence Functions", ICML. Axes: N training rows, M validation rows, P
parameters as one vector theta, C outputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vjp, vmap
from torch.nn import functional

from raydm.checks import is_number
from raydm.data.examples import Examples
from raydm.errors import ParameterError, RaydmWarning, one_of
from raydm.predictors import Stacked, TrainingSets
from raydm.predictors.stacked import FittedStack
from raydm.utility import one_thread
from raydm.valuation.game import Estimate, Game

Product = Callable[[Tensor], Tensor]  # v (P,) -> H v (P,)

CURVATURES, SOLVERS = ("gauss-newton", "hessian"), ("auto", "exact", "cg")
_EXACT_UP_TO = 1000  # parameters; the matrix takes as many products, and its eigenvalues P^3


def influence(
    game: Game,
    *,
    damping: float = 1.0,
    curvature: str = "gauss-newton",
    solver: str = "auto",
    tolerance: float = 1e-8,
    iterations: int = 1000,
) -> Iterator[Estimate]:
    """Values by influence functions: one training, no retraining.

    The predictor minimises F(theta, w) = sum_i w_i l_i / sum_i w_i + weight_decay / 2 |theta|^2 at w = 1. The value of
    example i is d(minus the validation loss) / d w_i = 1/N g_valid' H^-1 (g_i - mean g): Koh and Liang's -I_up,loss
    (their equation 2) over N, for a mean that stays one. So a helpful example has a high value, values sum to 0, and
    to first order the validation loss rises by the value when the example is left out. The loss is the one that is
    trained with: cross-entropy, or the squared error in squares of the targets' unit; the game's metric is not used.
    The mean and deviation that targets are standardised with count as given.

    H is the curvature of F at the trained theta, plus damping. Nothing needs theta to be the optimum, but then the
    derivative is that of one Newton step from there. All of it is float64.

    Args:
        game: its predictor must be a `raydm.predictors.Stacked` (such as "logistic", "linear", "mlp", "cnn").
        damping: >= 0, added to H's diagonal: the larger, the less the directions count in which the training loss
            hardly changes. Values follow leave-one-out most closely with little. Logistic regression told flipped
            labels better with 1 than with the paper's 0.01 at every seed (breast cancer and digits, 20 % flipped,
            seeds 100-105: AUC .99 for .92 and .87 for .77 on the mean). With 0, the exact solver leaves out
            directions in which the loss does not change at all.
        curvature: "gauss-newton", which is positive semidefinite, and for linear predictors is the Hessian itself; or
            "hessian".
        solver: "exact" computes H and its eigenvalues; "cg" takes conjugate gradients with products H v, of which it
            needs some tens where there is damping. "auto": "exact" without damping and weight decay, for up to 1000
            parameters, else "cg".
        tolerance: > 0, of the residual |H h - g_valid| / |g_valid| that ends "cg".
        iterations: >= 1, of "cg" at most; a warning says if they did not do.

    Yields:
        One estimate, of one training.

    Raises:
        ParameterError: a setting out of its range; a predictor that is not differentiable; a Hessian that is not
            positive definite.
    """
    _check(damping, curvature, solver, tolerance, iterations)
    predictor, problem = game.problem.predictor, game.problem
    if not isinstance(predictor, Stacked):
        raise ParameterError(
            f"Influence functions differentiate the predictor's loss, and {type(predictor).__name__} has none. "
            "Use a torch predictor ('logistic', 'linear', 'mlp', 'cnn', or raydm.predictors.Stacked), or the method "
            "'data-oob' or 'loo', which take any."
        )
    x, y = torch.from_numpy(game.train.x), torch.from_numpy(game.train.y)
    sets = TrainingSets(x, y, torch.ones(1, len(x), dtype=x.dtype), problem.task)
    ridge = damping + getattr(predictor.optimizer, "weight_decay", 0.0)
    with one_thread():  # as all trainings
        losses = Losses(predictor.fit(sets, seed=problem.seeds(0, 1)), game.train)
        toward = Losses(losses.fitted, problem.valid).gradient()
        size, product = len(losses.theta), losses.product(curvature)
        if solver == "exact" or (solver == "auto" and ridge == 0 and size <= _EXACT_UP_TO):
            matrix = vmap(product, chunk_size=losses.vectors)(torch.eye(size).to(losses.theta))
            h = _solved(matrix, ridge, toward)
        else:
            h = conjugate_gradients(lambda v: product(v) + ridge * v, toward, tolerance, iterations)
        along = losses.along(h)
    values = (along - along.mean()) / len(x)
    yield Estimate(values.cpu().numpy(), None, 1, 1.0)


class Losses:
    """The losses of N rows as functions of theta, at the trained one.

    Args:
        fitted: one rollout (R = 1).
        of: the rows.

    Attributes:
        theta: (P,) float64.
        vectors: how many products `product` may take at once.
    """

    def __init__(self, fitted: FittedStack, of: Examples) -> None:
        self.fitted = fitted
        self.shapes = {name: p.shape[1:] for name, p in fitted.params.items()}
        self.theta = torch.cat([p[0].detach().double().flatten() for p in fitted.params.values()])
        x, y = torch.from_numpy(of.x).to(self.theta), torch.from_numpy(of.y).to(self.theta.device)
        if fitted.task.kind == "regression":
            y = (y.double() - fitted.location[0].double()) / fitted.scale[0].double()
        self.unit = fitted.scale[0].double() ** 2  # 1 for classes
        # `fitted.rows` are for a chunk of modules, and here is one; a quarter, for float64 and the derivatives
        rows = max(1, fitted.rows * fitted.chunk // 4)
        self.vectors = max(1, min(64, rows // len(x)))
        self.n, self.parts = len(x), list(zip(torch.split(x, rows), torch.split(y, rows), strict=True))

    def outputs(self, theta: Tensor, x: Tensor) -> Tensor:
        """Of rows x (B, D), before softmax or the targets' unit: (B, C)."""
        pieces = torch.split(theta, [shape.numel() for shape in self.shapes.values()])
        params = {name: p.view(shape) for (name, shape), p in zip(self.shapes.items(), pieces, strict=True)}
        out: Tensor = functional_call(self.fitted.module, params, (x,), tie_weights=False)
        return out

    def each(self, out: Tensor, y: Tensor) -> Tensor:
        """The losses (B,) of outputs (B, C)."""
        if self.fitted.task.kind == "regression":
            return (out[:, 0] - y).square()
        return functional.cross_entropy(out, y, reduction="none")

    def gradient(self) -> Tensor:
        """Of the mean loss, in squares of the targets' unit: (P,)."""

        def total(theta: Tensor, x: Tensor, y: Tensor) -> Tensor:
            return self.each(self.outputs(theta, x), y).sum()

        parts = [grad(total)(self.theta, x, y) for x, y in self.parts]
        return self.unit * torch.stack(parts).sum(0) / self.n

    def along(self, h: Tensor) -> Tensor:
        """g_i' h of each row, (N,): the losses' derivatives along h (P,), without any gradient g_i by itself."""
        return torch.cat(
            [
                jvp(lambda theta, x=x, y=y: self.each(self.outputs(theta, x), y), (self.theta,), (h,))[1]
                for x, y in self.parts
            ]
        )

    def product(self, curvature: str) -> Product:
        """v -> H v with H the curvature of the mean loss."""
        one = self._gauss_newton if curvature == "gauss-newton" else self._hessian

        def product(v: Tensor) -> Tensor:
            total = torch.zeros_like(v)
            for x, y in self.parts:
                total = total + one(v, x, y)
            return total / self.n

        return product

    def _hessian(self, v: Tensor, x: Tensor, y: Tensor) -> Tensor:
        slope = grad(lambda theta: self.each(self.outputs(theta, x), y).sum())
        product: Tensor = jvp(slope, (self.theta,), (v,))[1]
        return product

    def _gauss_newton(self, v: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """J' L J v with J the outputs' derivatives and L the losses' second ones in the outputs."""

        def at(theta: Tensor) -> Tensor:
            return self.outputs(theta, x)

        out, forward = jvp(at, (self.theta,), (v,))[:2]
        if self.fitted.task.kind == "regression":
            bent = 2 * forward
        else:
            p = out.softmax(-1)
            bent = p * (forward - (p * forward).sum(-1, keepdim=True))
        product: Tensor = vjp(at, self.theta)[1](bent)[0]
        return product


def conjugate_gradients(product: Product, b: Tensor, tolerance: float, iterations: int) -> Tensor:
    """h with H h = b, (P,), for a positive definite H that is known by its products (Hestenes, Stiefel 1952).

    Raises:
        ParameterError: H is not positive definite.
    """
    h, residual = torch.zeros_like(b), b.clone()
    direction, square = b.clone(), b @ b
    goal = tolerance**2 * square
    for _ in range(iterations):
        if square <= goal:
            return h
        bent = product(direction)
        curved = direction @ bent
        if curved <= 0:
            raise _indefinite(float(curved / (direction @ direction)))
        h = h + square / curved * direction
        residual = residual - square / curved * bent
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    if square > goal:
        left = float(square / (b @ b)) ** 0.5
        warnings.warn(
            f"Conjugate gradients ended after {iterations} iterations with a residual of {left:.1e}, above the "
            f"tolerance {tolerance:.0e}: the values are less precise. Raise iterations or damping.",
            RaydmWarning,
            stacklevel=3,
        )
    return h


def _solved(matrix: Tensor, ridge: float, b: Tensor) -> Tensor:
    """(matrix + ridge)^-1 b for a symmetric matrix (P, P); without ridge, in the directions that are not flat."""
    eigenvalues, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    flat = 1e-12 * len(b) * eigenvalues.abs().max()  # as small as rounding makes them
    eigenvalues = torch.where(eigenvalues.abs() <= flat, 0.0, eigenvalues) + ridge
    if eigenvalues.min() < 0:
        raise _indefinite(float(eigenvalues.min()))
    inverse = torch.where(eigenvalues > 0, 1 / eigenvalues, 0.0)
    h: Tensor = vectors @ (inverse * (vectors.T @ b))
    return h


def _indefinite(curved: float) -> ParameterError:
    return ParameterError(
        f"The Hessian of the training loss is not positive definite where training ended: it has a curvature of "
        f"{curved:.3g} in some direction. Use curvature='gauss-newton', or raise damping by more than that."
    )


def _check(damping: float, curvature: str, solver: str, tolerance: float, iterations: int) -> None:
    if not (is_number(damping) and damping >= 0):
        raise ParameterError.of("damping", "influence", "a number >= 0", damping)
    if curvature not in CURVATURES:
        raise ParameterError.of("curvature", "influence", one_of(CURVATURES), curvature)
    if solver not in SOLVERS:
        raise ParameterError.of("solver", "influence", one_of(SOLVERS), solver)
    if not (is_number(tolerance) and tolerance > 0):
        raise ParameterError.of("tolerance", "influence", "a number > 0", tolerance)
    if not isinstance(iterations, int) or iterations < 1:
        raise ParameterError.of("iterations", "influence", "an integer >= 1", iterations)

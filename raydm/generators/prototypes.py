"""A mixture of linear generators around prototypes: for few examples a class, where a deep generator has no chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from raydm.checks import check_choice, check_integer
from raydm.errors import ParameterError
from raydm.generators.generator import Generator
from raydm.generators.tangents import NAMES, tangents

Centres = Literal["examples", "means"]
_SMALLEST = 1e-8  # of a variance: its logarithm is a parameter


class Prototypes(Generator):
    """x = m + W z + sigma e, m a prototype of the class, and for images + sum of tau_j z_j (tangent j of m).

    z and e are normal. W (width, factors), sigma and tau are shared by all classes. With the prototypes at the class
    means this is probabilistic PCA with one covariance (Tipping, Bishop 1999, equations 7 and 8, in closed form).
    With a prototype at each example it is a kernel density whose kernel follows the data: W and sigma from the
    differences between nearest neighbours of a class, tau by how far the tangents explain those differences (Simard
    et al. 1998; mixtures of linear models with tangents: Hinton, Dayan, Revow 1997). phi is m, W, sigma and tau.

    Args:
        shape: (D,) or (channels, H, W).
        n_classes: C.
        centres: prototypes "examples" or "means"; None for examples where images are generated, else means.
        factors: columns of W; fewer where there are fewer dimensions.
        spread: the kernel's deviation in W and sigma over that of neighbours, where prototypes are examples, > 0.
        tangent_spread: the same in tau; 0 leaves tangents out.
        counts: prototypes of each class, where an empty one is made to be loaded.
    """

    start: Tensor
    count: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        n_classes: int,
        *,
        centres: Centres | None = None,
        factors: int = 10,
        spread: float = 0.5,
        tangent_spread: float = 1.5,
        counts: Sequence[int] | None = None,
    ) -> None:
        super().__init__(shape, n_classes)
        image = len(self.shape) == 3 and min(self.shape[1:]) > 1
        self.centres: Centres = centres or ("examples" if image else "means")
        check_choice("Prototypes", "centres", self.centres, ("examples", "means"))
        check_integer("Prototypes", "factors", factors, 0)
        for name, value, least in (("spread", spread, 1e-6), ("tangent_spread", tangent_spread, 0.0)):
            if not (math.isfinite(value) and value >= least):
                raise ParameterError.of(name, "Prototypes", "a finite number > 0 (tangent_spread may be 0)", value)
        self.factors, self.spread = min(factors, self.width - 1), spread
        self.tangent_spread = tangent_spread if image and self.centres == "examples" else 0.0
        counts = list(counts or [0] * self.n_classes)
        self.prototypes = nn.Parameter(torch.zeros(sum(counts), self.width))
        self.loading = nn.Parameter(torch.zeros(self.width, self.factors))
        self.log_noise = nn.Parameter(torch.zeros(()))
        self.log_tau = nn.Parameter(torch.zeros(len(NAMES) if self.tangent_spread else 0))
        # Follow from the counts, so that no file can say otherwise
        self.register_buffer("count", torch.tensor(counts), persistent=False)
        self.register_buffer("start", torch.tensor(counts).cumsum(0) - torch.tensor(counts), persistent=False)

    def config(self) -> dict[str, Any]:
        """The arguments that make an empty one of this kind and size."""
        return {
            "shape": list(self.shape), "n_classes": self.n_classes, "centres": self.centres, "factors": self.factors,
            "spread": self.spread, "tangent_spread": self.tangent_spread, "counts": self.count.tolist(),
        }  # fmt: skip

    def fit(self, x: Tensor, y: Tensor, *, seed: int = 0) -> Prototypes:
        """Fits in closed form; no choice is random, so the seed is not used.

        Raises:
            ParameterError: see `Generator.checked`.
        """
        rows = self.checked(x, y)
        y = y.to(rows.device)
        order = torch.argsort(y, stable=True)
        rows, y = rows[order], y[order]
        means = torch.stack([rows[y == c].mean(0) if (y == c).any() else rows.mean(0) for c in range(self.n_classes)])
        present = torch.bincount(y, minlength=self.n_classes)
        if self.centres == "means":
            prototypes, count = means[present > 0], (present > 0).long()
            apart, freedom = rows - means[y], len(rows) - int((present > 0).sum())
        else:
            prototypes, count = rows, present
            apart, tau = self._neighbours(rows, y)
            freedom = len(apart)
            with torch.no_grad():
                self.log_tau.copy_(torch.log((self.tangent_spread * tau).clamp_min(math.sqrt(_SMALLEST))))
        scale = 1.0 if self.centres == "means" else self.spread
        loading, noise = _ppca(scale * apart, max(freedom, 1), self.factors)
        self.prototypes = nn.Parameter(prototypes.clone())
        self.count, self.start = count, count.cumsum(0) - count
        with torch.no_grad():
            self.loading.copy_(loading)
            self.log_noise.fill_(0.5 * math.log(max(noise, _SMALLEST)))
        return self

    def noise(self, n: int, rng: np.random.Generator) -> Tensor:
        """(n, 1 + factors + tangents + width): a uniform number that chooses the prototype, then normal ones."""
        normal = rng.standard_normal((n, self.factors + len(self.log_tau) + self.width), dtype=np.float32)
        return torch.from_numpy(np.concatenate([rng.random((n, 1), dtype=np.float32), normal], 1))

    def sample(self, y: Tensor, noise: Tensor) -> Tensor:
        """Examples (N, *shape) of the classes y (N,), differentiable in phi.

        Raises:
            ParameterError: a class had no training example, or is none.
        """
        self.check_classes(y)
        y = y.to(self.count.device)
        if len(y) and int(self.count[y].min()) == 0:
            seen = self.count.nonzero().squeeze(-1).tolist()
            raise ParameterError.of("y", "Prototypes.sample", f"classes that training had: {seen}", set(y.tolist()))
        noise = noise.to(self.prototypes)
        after_z, after_t = 1 + self.factors, 1 + self.factors + len(self.log_tau)
        z, t, e = noise[:, 1:after_z], noise[:, after_z:after_t], noise[:, after_t:]
        place = (noise[:, 0] * self.count[y]).long().clamp_max(self.count[y] - 1)
        centre = self.prototypes[self.start[y] + place]
        x = centre + z @ self.loading.T + self.log_noise.exp() * e
        if len(self.log_tau):
            ways = tangents(centre.reshape(-1, *self.shape)).flatten(2)
            x = x + torch.einsum("nt,ntd->nd", t * self.log_tau.exp(), ways)
        out: Tensor = x.reshape(-1, *self.shape)
        return out

    def _neighbours(self, rows: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """What tangents leave of each row's difference from the nearest of its class (P, width), and their taus."""
        origins, others = [], []
        for c in range(self.n_classes):
            own = rows[y == c]
            if len(own) > 1:  # the only example of a class has no neighbour
                origins.append(own[torch.cdist(own, own).fill_diagonal_(torch.inf).argmin(1)])
                others.append(own)
        origin = torch.cat([rows[:0], *origins])
        apart = torch.cat([rows[:0], *others]) - origin
        if not self.tangent_spread or not len(apart):
            return apart, apart.new_zeros(len(self.log_tau))
        ways = tangents(origin.reshape(-1, *self.shape)).flatten(2)  # (P, 6, width)
        gram = ways @ ways.mT
        ridge = 1e-2 * gram.diagonal(dim1=1, dim2=2).mean().clamp_min(_SMALLEST)
        z = torch.linalg.solve(gram + ridge * torch.eye(len(NAMES)).to(gram), (ways @ apart[..., None]).squeeze(-1))
        return apart - torch.einsum("pt,ptd->pd", z, ways), z.square().mean(0).sqrt()


def _ppca(apart: Tensor, freedom: int, factors: int) -> tuple[Tensor, float]:
    """W (width, factors) and sigma^2 of deviations (P, width), in closed form (Tipping, Bishop 1999, section 3.2)."""
    width = apart.shape[1]
    if len(apart) == 0:
        return apart.new_zeros(width, factors), 0.0
    _, singular, directions = torch.linalg.svd(apart / math.sqrt(freedom), full_matrices=False)
    variances = singular.square()
    kept = min(factors, len(variances))
    noise = float(variances[kept:].sum()) / max(width - kept, 1)
    loading = apart.new_zeros(width, factors)
    loading[:, :kept] = directions[:kept].T * (variances[:kept] - noise).clamp_min(0).sqrt()
    return loading, noise

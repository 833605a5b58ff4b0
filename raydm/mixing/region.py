"""Lambda from a learned policy region (AdaMixUp). Axes: P pairs, U distinct ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydm.data.blocks import ROWS
from raydm.data.examples import Examples
from raydm.mixing.pairs import Array, Indices, ordered
from raydm.mixing.shares import oriented, uniform
from raydm.networks import PolicyRegion
from raydm.utility import aligned, one_thread


@dataclass(frozen=True)
class RegionShares:
    """lambda = alpha + Delta eps, eps uniform in (0, 1), with the region (alpha, Delta) of each pair.

    Two examples have one region, that of (lower row, higher row), and one lambda a draw.

    Attributes:
        network: gives the region.
    """

    name = "region"
    network: PolicyRegion

    def of(self, examples: Examples, i: Indices, j: Indices, seed: int, draw: Indices | None = None) -> Array:
        """See `raydm.mixing.shares.Shares`."""
        low, high, swapped = ordered(i, j)
        # Each couple once: a product rounds by the place of a row in it, and two draws of a couple have one region
        first, which = np.unique(low * len(examples) + high, return_index=True, return_inverse=True)[1:]
        alpha, delta = self.region(examples, low[first], high[first])
        lam = alpha[which] + delta[which] * uniform(seed, low, high, draw)
        return oriented(np.minimum(lam, 1.0), swapped)  # the float32 sum of both may be a little more

    @torch.no_grad()
    def region(self, examples: Examples, i: Indices, j: Indices) -> tuple[Array, Array]:
        """Alpha and Delta of pairs: (P,) and (P,)."""
        alpha, delta = np.empty(len(i)), np.empty(len(i))
        with one_thread():
            for start in range(0, len(i), ROWS):
                block = slice(start, start + ROWS)
                found = self.network(aligned(examples.x[i[block]]), aligned(examples.x[j[block]]))
                alpha[block], delta[block] = (part.double().numpy() for part in found)
        return alpha, delta

    def state(self) -> dict[str, Any]:
        """See `raydm.mixing.shares.Shares`."""
        return {"name": self.name, "n_features": self.network.n_features, "hidden": list(self.network.hidden)}

    def tensors(self) -> dict[str, Tensor]:
        """The weights of the network."""
        return self.network.state_dict()

    @classmethod
    def load(cls, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> RegionShares:
        """What `state` and `tensors` wrote."""
        network = PolicyRegion(int(state["n_features"]), hidden=[int(width) for width in state["hidden"]])
        network.load_state_dict(dict(tensors))
        return cls(network)

"""What MixRL learned, as it is used: with how many neighbours each example is mixed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydm.data.blocks import ROWS
from raydm.data.examples import Examples
from raydm.mixing.options import DISTANCES, Options
from raydm.mixing.pairs import Array, Indices
from raydm.mixing.partners import NearestPartners
from raydm.networks import MixingEstimator
from raydm.utility import aligned, one_thread

PICKS = ("best", "most")


@dataclass(frozen=True)
class LearnedNeighbors(NearestPartners):
    """Each example takes an option of each distance, where its h_theta is above T (Hwang, Whang 2021).

    Attributes:
        estimator: h_theta.
        y_scale: location and scale (C,) that bring targets to h_theta's range.
        options: O of them, as h_theta numbers them.
        threshold: T in [0, 1].
        pick: which option above T: "best", of the highest h (the paper), or "most", of the most neighbours. Neighbours
            of an option are also those of larger ones, so that an h of more neighbours speaks for fewer, too.
    """

    name = "learned-neighbors"
    estimator: MixingEstimator
    y_scale: tuple[Tensor, Tensor]
    options: Options
    threshold: float
    pick: str = "best"

    def counts(self, examples: Examples) -> dict[str, Indices]:
        """See `NearestPartners`; 0 where no option is above T."""
        k, h = np.array([k for _, k in self.options.each]), self.h(examples)
        if self.pick == "most":
            own = {d: self.options.of(d) for d in DISTANCES if self.options.most(d)}
            return {d: np.where(h[:, o] > self.threshold, k[o], 0).max(1) for d, o in own.items()}
        return {d: np.where(high > self.threshold, k[option], 0) for d, (option, high) in self.best(h).items()}

    def most(self) -> dict[str, int]:
        """See `NearestPartners`."""
        return {distance: self.options.most(distance) for distance in DISTANCES}

    def best(self, h: Array) -> dict[str, tuple[Indices, Array]]:
        """Of h (N, O), by distance: the option with the highest h for each example, and that h: (N,) and (N,)."""
        found = {}
        for distance in DISTANCES:
            own = self.options.of(distance)
            if own.stop > own.start:
                option = own.start + h[:, own].argmax(1)
                found[distance] = option, h[np.arange(len(h)), option]
        return found

    @torch.no_grad()
    def h(self, examples: Examples) -> Array:
        """h_theta of every option for any N examples: (N, O).

        Rows are taken in blocks that begin at multiples of `raydm.data.blocks.ROWS`: matrix products of other sizes
        round otherwise, and rows that are streamed must get the same bits.
        """
        location, scale = self.y_scale
        found = np.empty((len(examples), len(self.options)))
        with one_thread():
            for start in range(0, len(examples), ROWS):
                block = slice(start, start + ROWS)
                x, y = aligned(examples.x[block]), aligned(examples.y[block])
                targets = (y.reshape(len(y), -1) - location) / scale
                for o in range(len(self.options)):
                    logits = self.estimator(x, targets, torch.full((len(x),), o))
                    found[block, o] = logits.sigmoid().numpy()
        return found

    def state(self) -> dict[str, Any]:
        """See `raydm.mixing.partners.Partners`."""
        h, options = self.estimator, {"data": list(self.options.data), "label": list(self.options.label)}
        shape = {"n_features": h.n_features, "n_outputs": h.n_outputs, "hidden": list(h.hidden)}
        return {"name": self.name, "options": options, "threshold": self.threshold, "pick": self.pick} | shape

    def tensors(self) -> dict[str, Tensor]:
        """The weights of h_theta, and the scale of the targets."""
        location, scale = self.y_scale
        weights = {f"h.{name}": tensor for name, tensor in self.estimator.state_dict().items()}
        return weights | {"location": location, "scale": scale}

    @classmethod
    def load(cls, state: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LearnedNeighbors:
        """What `state` and `tensors` wrote."""
        options = Options(*(tuple(state["options"][distance]) for distance in DISTANCES))
        weights = {name.removeprefix("h."): t for name, t in tensors.items() if name.startswith("h.")}
        location, scale = tensors["location"], tensors["scale"]
        n_features, n_outputs = int(state["n_features"]), int(state["n_outputs"])
        estimator = MixingEstimator(n_features, n_outputs, len(options), hidden=[int(w) for w in state["hidden"]])
        estimator.load_state_dict(weights)
        pick = str(state["pick"])
        if pick not in PICKS:
            raise ValueError(f"pick is {pick!r}")
        return cls(estimator, (location, scale), options, float(state["threshold"]), pick)

"""The value function: what values any labelled rows, after learning."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from raydm.data.blocks import ROWS
from raydm.data.examples import Examples
from raydm.data.task import Task
from raydm.errors import RunError
from raydm.manipulations import Select
from raydm.networks import DataValueEstimator
from raydm.predictors import Predictor
from raydm.utility import aligned, one_thread
from raydm.valuation.evidence import POOLED, Evidence, load_evidence

_POLICY, _INPUTS = "policy.safetensors", "inputs"
_REACH = 3.0  # log-odds that a start may have: beyond, the policy would hardly ever try the other action


def squashed(log_odds: Tensor) -> Tensor:
    """Log-odds in (-3, 3), in the same order: (Q,). The policy starts there, and so still explores."""
    return _REACH * torch.tanh(log_odds / _REACH)


@dataclass(frozen=True)
class ValueFunction:
    """Evidence, and the h_phi that were learned on it.

    Attributes:
        evidence: gives h_phi's inputs, and its start.
        best: the single input that is best; h_phi starts from it.
        members: h_phi, one for each fold of D^v that it was judged on; their log-odds are averaged.
        starts: whether h_phi starts from the best input.
        learned: whether values are those of h_phi; else those of the best input.
    """

    evidence: Evidence
    best: str
    members: Sequence[Select]
    starts: bool
    learned: bool

    def values(self, examples: Examples) -> npt.NDArray[np.float64]:
        """Data values in [0, 1] of any N examples: (N,). Of rows it learned from, by models that did not see them.

        Rows are valued in blocks that begin at multiples of `raydm.data.blocks.ROWS`: matrix products of other sizes
        round otherwise, and rows that are streamed must get the same bits.
        """
        blocks = (slice(start, start + ROWS) for start in range(0, len(examples), ROWS))
        values = [self._values(Examples(examples.x[b], examples.y[b], examples.ids[b])) for b in blocks]
        return np.concatenate([np.empty(0), *values])

    def _values(self, examples: Examples) -> npt.NDArray[np.float64]:
        seen = self.see(examples, (self.best,))
        if not self.learned:
            return sigmoid(seen.log_odds[self.best])
        return sigmoid(torch.stack([self.log_odds(member, examples, seen) for member in self.members]).mean(0))

    def see(self, examples: Examples, inputs: Collection[str] | None = None) -> Seen:
        """The evidence of N examples; the log-odds of all inputs, or of these, the best among them."""
        y = torch.from_numpy(examples.y)
        predictions = self.evidence.predictions(examples)
        odds = self.evidence.log_odds(y, predictions, pools=inputs)
        return Seen(self.evidence.gaps(y, predictions), odds, squashed(odds[self.best]).float())

    def log_odds(self, member: Select, examples: Examples, seen: Seen) -> Tensor:
        """Log-odds of one h_phi: (N,) float64."""
        with torch.no_grad(), one_thread():
            x, y = aligned(examples.x), torch.from_numpy(examples.y)
            start = seen.start if self.starts else None
            return member.logits(x, y, seen.gaps, start).double()  # float64 keeps apart what float32 would tie at 1

    def rankings(self, examples: Examples) -> dict[str, npt.NDArray[np.float64]]:
        """What each input says alone, as probabilities that a label is right: name -> (N,)."""
        odds = self.see(examples).log_odds
        if len(self.evidence.sources) == 1:
            odds.pop(POOLED)  # it is that one
        return {name: sigmoid(value) for name, value in odds.items()}

    def state(self) -> dict[str, Any]:
        """What `load_value_function` needs beside the files, as JSON allows."""
        return {
            "best": self.best,
            "starts": self.starts,
            "learned": self.learned,
            "evidence": self.evidence.state(),
            "members": [
                {"hidden": member.estimator.hidden, "y_scale": list(member.y_scale)} for member in self.members
            ],
        }

    def save(self, folder: Path) -> None:
        """Writes policy.safetensors, h_phi of each fold, and the folder inputs/."""
        states = [member.estimator.state_dict() for member in self.members]
        tensors = {f"{i}.{name}": tensor for i, state in enumerate(states) for name, tensor in state.items()}
        save_file(tensors, folder / _POLICY)
        self.evidence.save(folder / _INPUTS)


def load_value_function(
    folder: Path, state: Mapping[str, Any], predictor: Predictor, task: Task, n_features: int
) -> ValueFunction:
    """Reads what `ValueFunction.save` and `ValueFunction.state` gave; predictor is the run's.

    Raises:
        RunError: it is missing or torn.
    """
    evidence = load_evidence(folder / _INPUTS, state["evidence"], predictor, task, n_features)
    tensors, members = load_file(folder / _POLICY), []
    for i, kept in enumerate(state["members"]):
        estimator = value_estimator(task, n_features, int(kept["hidden"]), len(evidence.sources), starts=False)
        own = {name.removeprefix(f"{i}."): t for name, t in tensors.items() if name.startswith(f"{i}.")}
        estimator.load_state_dict(own)
        location, scale = kept["y_scale"]
        members.append(Select(estimator, task, y_scale=(location, scale)))
    best, learned = state["best"], bool(state["learned"])
    if best not in evidence.pools or (learned and not members) or (tensors and not members):
        raise RunError(f"{folder}: its config.json does not tell how rows are valued. Run `raydm value` again.")
    return ValueFunction(evidence, best, members, bool(state["starts"]), learned)


@dataclass(frozen=True)
class Seen:
    """The evidence of N examples.

    Attributes:
        gaps: (N, E * C) float32, the marginal information of each source.
        log_odds: (N,) each, by input.
        start: (N,) float32, where h_phi starts.
    """

    gaps: Tensor
    log_odds: dict[str, Tensor]
    start: Tensor


def sigmoid(log_odds: Tensor) -> npt.NDArray[np.float64]:
    """Probabilities (N,) of log-odds (N,)."""
    probabilities: npt.NDArray[np.float64] = torch.sigmoid(log_odds.double()).numpy()
    return probabilities


def value_estimator(task: Task, n_features: int, hidden: int, n_sources: int, *, starts: bool) -> DataValueEstimator:
    """An untrained h_phi for D features; one that has a start adds nothing to it before it learns."""
    estimator = DataValueEstimator(n_features, task.n_outputs, n_sources * task.n_outputs, hidden=hidden)
    if starts:
        for parameter in estimator.head[-1].parameters():
            torch.nn.init.zeros_(parameter)
    return estimator

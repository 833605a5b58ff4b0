"""What makes whole examples: a generator of tables or small images, or the language model that writes texts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydm.augmenters.pixels import to_rows
from raydm.errors import ParameterError
from raydm.generators import Generator
from raydm.manipulations.rewritings import told_tokens
from raydm.text import SoftTokens, TextGenerator, Tokenizer, compose


class ByGenerator:
    """Tables and small images.

    Args:
        generator: g_phi, fitted to the training examples.
        as_rows: whether the images that it makes are unfolded to the rows (N, D) of a table.
    """

    def __init__(self, generator: Generator, *, as_rows: bool = False) -> None:
        self.generator, self.as_rows = generator, as_rows

    def parameters(self) -> Iterable[Tensor]:
        """phi."""
        return self.generator.parameters()

    def __call__(self, y: Tensor, rng: np.random.Generator) -> Tensor:
        """Examples (S, ...) of the classes y (S,)."""
        x = self.generator.sample(y, self.generator.noise(len(y), rng))
        return to_rows(x) if self.as_rows else x

    def optimizer(self, lr: float | None) -> torch.optim.Optimizer:
        """Adam; step length 1e-3 of examples, weights and logarithms of scales alike.

        Faster logarithms let the noise grow: on ten digits a class, at .01 eightfold in 600 steps, and nothing is
        gained over the untuned generator (-.004 of accuracy, standard error .006), where 1e-3 gains .011 (.003).
        """
        return torch.optim.Adam(self.parameters(), lr=1e-3 if lr is None else lr, eps=1e-12)

    def to(self, device: torch.device) -> None:
        """Works there from now on."""
        self.generator.to(device)

    @torch.no_grad()
    def written(self, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Any]]]:
        """Examples within the features' ranges in training."""
        x = self.generator.bounded(self.generator.sample(y, self.generator.noise(len(y), rng)))
        return to_rows(x) if self.as_rows else x, [{"generator": type(self.generator).__name__} for _ in y]


class ByWriting:
    """Texts, (N, L) ids: a text of the label lends its length, and every word is written anew.

    Args:
        generator: g_phi, fitted to the training texts.
        ids: (N, L) training texts.
        labels: (N,) their classes.
        rounds: see `raydm.text.compose`.
        temperature: of the last round's softmax.
        top_k: only the k likeliest tokens are drawn; None for any.
        tokenizer: tells the words that were written; None: their ids.
    """

    def __init__(
        self,
        generator: TextGenerator,
        ids: Tensor,
        labels: Tensor,
        *,
        rounds: int = 10,
        temperature: float = 1.0,
        top_k: int | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.generator, self.ids, self.labels, self.tokenizer = generator, ids, labels, tokenizer
        self.rounds, self.temperature, self.top_k = rounds, temperature, top_k
        self._of = [torch.nonzero(labels == c).squeeze(-1) for c in range(generator.n_labels)]

    def parameters(self) -> Iterable[Tensor]:
        """phi."""
        return self.generator.parameters()

    def __call__(self, y: Tensor, rng: np.random.Generator) -> SoftTokens:
        """Texts of the classes y (S,), soft in the last round's words."""
        return self._drawn(y, rng)[0]

    def optimizer(self, lr: float | None) -> torch.optim.Optimizer:
        """AdamW; step length 4e-5 and weight decay .01, as Hu et al.'s of augmentation."""
        return torch.optim.AdamW(self.parameters(), lr=4e-5 if lr is None else lr, weight_decay=0.01)

    def to(self, device: torch.device) -> None:
        """Works there from now on."""
        self.generator.to(device)

    @torch.no_grad()
    def written(self, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Any]]]:
        """The texts' ids, the words of each, and which training row lent the length."""
        drawn, lenders = self._drawn(y, rng)
        ids = drawn.hard().cpu()
        words = ~torch.isin(ids, torch.tensor([*self.generator.special_ids, self.generator.pad_id]))
        places = torch.where(words, torch.arange(ids.shape[1]), -1)
        return ids, [
            told | {"length_of": lender}
            for told, lender in zip(told_tokens(ids, places, self.tokenizer), lenders, strict=True)
        ]

    def _drawn(self, y: Tensor, rng: np.random.Generator) -> tuple[SoftTokens, Sequence[int]]:
        self.generator.eval()
        lenders = []
        for c, u in zip(y.tolist(), rng.random(len(y)), strict=True):
            if not len(self._of[c]):
                raise ParameterError(f"Class {c} has no training text that could lend its length. Give it share 0.")
            lenders.append(int(self._of[c][int(u * len(self._of[c]))]))
        place = self.generator.labels.weight.device
        drawn = compose(
            self.generator, self.ids[lenders].to(place), y.to(place), rng=rng, rounds=self.rounds,
            temperature=self.temperature, top_k=self.top_k,
        )  # fmt: skip
        return drawn, lenders

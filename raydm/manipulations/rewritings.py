"""What rewrites examples: an augmenter of tables or images, a label-conditional language model, or synonyms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raydm.augmenters.pixels import to_images, to_rows, to_unit
from raydm.augmenters.protocol import Augmenter
from raydm.augmenters.relaxed import hardened
from raydm.data.source import Batch
from raydm.text import Synonyms, TextGenerator, Tokenizer
from raydm.text.soft import SoftTokens

_TINY = 1e-12  # Adam's: slopes through a predictor's step are small numbers


class ByAugmenter:
    """Tables and images.

    Args:
        augmenter: a module of `raydm.augmenters`; its parameters are phi.
        image_shape: (H, W, channels) that the rows (N, D) of a table unfold; None: rows are what the augmenter takes.
        device: where it works; the augmenter is moved there.
    """

    def __init__(
        self, augmenter: nn.Module, *, image_shape: Sequence[int] | None = None, device: str | torch.device = "cpu"
    ) -> None:
        self.module, self.image_shape, self.device = augmenter.to(device), image_shape, torch.device(device)
        self.augmenter: Augmenter = augmenter  # type: ignore[assignment]  # mypy knows a module's calls as Any alone

    def parameters(self) -> Iterable[Tensor]:
        """phi."""
        return self.module.parameters()

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """The examples rewritten, (B, ...) floating point."""
        return self._made(batch, self.augmenter.noise(len(batch.y), rng))

    def optimizer(self, lr: float | None) -> torch.optim.Optimizer:
        """Adam; step length .05, of logits, unbounded magnitudes and logarithms: numbers of one size."""
        return torch.optim.Adam(self.parameters(), lr=0.05 if lr is None else lr, eps=_TINY)

    def to(self, device: torch.device) -> None:
        """Works there from now on."""
        self.module.to(device)
        self.device = torch.device(device)

    @torch.no_grad()
    def written(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Any]]]:
        """The examples, what is done by chance done or not; and what was done."""
        noise = self.augmenter.noise(len(batch.y), rng)
        with hardened(self.module):
            return self._made(batch, noise), self.augmenter.told(_classes(batch, self.device), noise)

    def summary(self) -> list[dict[str, Any]]:
        """The augmenter's."""
        return self.augmenter.summary()

    def _made(self, batch: Batch, noise: Tensor) -> Tensor:
        x, y = to_unit(batch.x.to(self.device)), _classes(batch, self.device)
        if self.image_shape is None:
            return self.augmenter(x, y, noise)
        return to_rows(self.augmenter(to_images(x, self.image_shape), y, noise))


class ByTextGenerator:
    """Texts, (N, L) ids, at masked positions (Hu et al. 2019, section 4.2).

    Args:
        generator: g_phi, fitted to the training texts; dropout is switched off, so that equal noise gives equal texts.
        temperature: of the tokens' softmax.
        top_k: only the k likeliest tokens are drawn; None for any.
        tokenizer: tells the words that were written; None: their ids.
    """

    def __init__(
        self,
        generator: TextGenerator,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self.generator, self.temperature, self.top_k, self.tokenizer = generator, temperature, top_k, tokenizer

    def parameters(self) -> Iterable[Tensor]:
        """phi."""
        return self.generator.parameters()

    def __call__(self, batch: Batch, rng: np.random.Generator) -> SoftTokens:
        """The texts, soft where they are rewritten."""
        self.generator.eval()
        place = self.generator.labels.weight.device
        return self.generator.draw(
            batch.x.to(place), _classes(batch, place), rng=rng, temperature=self.temperature, top_k=self.top_k
        )

    def optimizer(self, lr: float | None) -> torch.optim.Optimizer:
        """AdamW; step length 4e-5 and weight decay .01, as Hu et al.'s."""
        return torch.optim.AdamW(self.parameters(), lr=4e-5 if lr is None else lr, weight_decay=0.01)

    def to(self, device: torch.device) -> None:
        """Works there from now on."""
        self.generator.to(device)

    @torch.no_grad()
    def written(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Any]]]:
        """The texts' ids as drawn, and which tokens were written where."""
        drawn = self(batch, rng)
        ids = drawn.hard().cpu()
        return ids, told_tokens(ids, drawn.positions.cpu(), self.tokenizer)

    def summary(self) -> list[dict[str, Any]]:
        """Nothing that a few numbers could tell."""
        return []


class BySynonyms:
    """Texts, words for others of the same meaning; nothing is learned.

    Args:
        texts: the N training texts, in the order of the training set.
        tokenizer: that of their ids.
        synonyms: what replaces.
    """

    def __init__(self, texts: Sequence[str], tokenizer: Tokenizer, synonyms: Synonyms) -> None:
        self.texts, self.tokenizer, self.synonyms = texts, tokenizer, synonyms

    def parameters(self) -> Iterable[Tensor]:
        """None."""
        return []

    def __call__(self, batch: Batch, rng: np.random.Generator) -> Tensor:
        """The ids of the texts rewritten, (B, L)."""
        return self._encoded(self._rewritten(batch, rng), batch.x.shape[1])

    def optimizer(self, lr: float | None) -> torch.optim.Optimizer:
        """Of nothing."""
        return torch.optim.SGD([torch.zeros(())], lr=lr or 1.0)

    def to(self, device: torch.device) -> None:
        """Nothing lies on a device."""

    def written(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, list[dict[str, Any]]]:
        """The ids, and the texts."""
        texts = self._rewritten(batch, rng)
        return self._encoded(texts, batch.x.shape[1]), [{"text": text} for text in texts]

    def summary(self) -> list[dict[str, Any]]:
        """Nothing."""
        return []

    def _rewritten(self, batch: Batch, rng: np.random.Generator) -> list[str]:
        return self.synonyms([self.texts[row] for row in batch.rows], seed=int(rng.integers(2**31)))

    def _encoded(self, texts: Sequence[str], length: int) -> Tensor:
        """Ids of as many tokens as the batch's; what is longer ends with its last special token."""
        ids = self.tokenizer(texts)
        last = ids[np.arange(len(ids)), (ids != self.tokenizer.pad_id).sum(1) - 1]
        long = (ids[:, length:] != self.tokenizer.pad_id).any(1)
        ids = np.pad(ids, ((0, 0), (0, max(0, length - ids.shape[1]))), constant_values=self.tokenizer.pad_id)
        ids = ids[:, :length].copy()
        ids[long, -1] = last[long]
        return torch.from_numpy(ids)


def told_tokens(ids: Tensor, positions: Tensor, tokenizer: Tokenizer | None) -> list[dict[str, Any]]:
    """The positions of each text that were written, and the tokens there."""
    found: list[dict[str, Any]] = []
    for row, at in zip(ids, positions, strict=True):
        places = at[at >= 0]
        tokens = row[places].tolist()
        words = {"tokens": tokens} if tokenizer is None else {"words": tokenizer.decode([[t] for t in tokens])}
        found.append({"positions": places.tolist()} | words)
    return found


def _classes(batch: Batch, device: torch.device) -> Tensor | None:
    """The classes (B,) on the device, where the labels are some."""
    return None if batch.y.is_floating_point() else batch.y.to(device)

"""Whole new texts from a label: the generator fills in one share of the tokens after another."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydm.checks import check_integer
from raydm.text.generator import TextGenerator
from raydm.text.soft import SoftTokens

Rows = npt.NDArray[np.int64]


def compose(
    generator: TextGenerator,
    ids: Tensor,
    labels: Tensor | None,
    *,
    rng: np.random.Generator,
    rounds: int = 10,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> SoftTokens:
    """Writes texts of which nothing stands but the lengths, as a masked model can (Ghazvininejad et al. 2019).

    All words are masked; in each of the rounds a share of the positions, in an order of its own for each text, is drawn
    given the label and what was drawn before. The last share is soft, and carries the gradient of phi; in the earlier
    ones phi counts as fixed. More rounds make texts that hang together better, at one pass of the model each.

    Args:
        generator: g_phi, fitted.
        ids: (N, L) texts whose lengths, and special tokens, the new ones take; such as training texts of the labels.
        labels: (N,) int64 in [0, C), or None.
        rng: what order and draws follow.
        rounds: how many, >= 1.
        temperature: of the last round's softmax, > 0.
        top_k: only the k likeliest tokens are drawn; None for any.

    Returns:
        The texts; ``hard()`` gives their tokens.
    """
    check_integer("compose", "rounds", rounds, 1)
    tokens = ids.cpu().numpy()
    words = ~np.isin(tokens, np.asarray([*generator.special_ids, generator.pad_id]))
    keys = np.where(words, rng.random(tokens.shape), np.inf)
    order = np.argsort(keys, axis=1, kind="stable")  # the words' places in a random order, then the rest
    count = words.sum(1)
    written = torch.where(torch.from_numpy(words).to(ids.device), generator.mask_id, ids)
    for turn in range(rounds):
        share = _share(order, count * turn // rounds, count * (turn + 1) // rounds)
        positions = torch.from_numpy(share).to(ids.device)
        with torch.set_grad_enabled(torch.is_grad_enabled() and turn == rounds - 1):
            drawn = generator.draw(written, labels, rng=rng, positions=positions, temperature=temperature, top_k=top_k)
        written = drawn.hard()
    return drawn


def _share(order: Rows, start: Rows, stop: Rows) -> Rows:
    """From each row of (N, L) places those from start to stop (N,): (N, P), -1 where a row has fewer."""
    most = int((stop - start).max(initial=0))
    at = start[:, None] + np.arange(most)
    places = np.take_along_axis(order, np.minimum(at, order.shape[1] - 1), axis=1)
    return np.where(at < stop[:, None], places, -1)

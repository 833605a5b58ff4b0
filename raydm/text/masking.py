"""Which tokens of a text are taken away, to be guessed or written anew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def mask_positions(ids: Tensor, special_ids: Sequence[int], pad_id: int, rng: np.random.Generator) -> Tensor:
    """Draws max(n // 7, 2) of a text's positions, n its length with ``[CLS]`` and ``[SEP]`` (Hu et al. 2019, release).

    Special tokens are never drawn; a text with fewer words gives all of them. Where the release masks but the first
    word of a text of one word, and cannot draw two from one of them, this does.

    Args:
        ids: (N, L) token ids.
        special_ids: ids that are no words.
        pad_id: the id of padding.
        rng: what the draw follows; it takes N * L numbers.

    Returns:
        (N, P) int64 positions, rising in a row; P is the most that a text has, the others' rest is -1.
    """
    tokens = ids.cpu().numpy()
    words = ~np.isin(tokens, np.asarray([*special_ids, pad_id]))
    wanted = np.maximum((tokens != pad_id).sum(1) // 7, 2)
    count = np.minimum(wanted, words.sum(1))
    order = np.argsort(np.where(words, rng.random(tokens.shape), np.inf), axis=1, kind="stable")
    most = int(count.max(initial=0))
    length = tokens.shape[1]
    drawn = np.where(np.arange(most) < count[:, None], order[:, :most], length)
    drawn = np.sort(drawn, axis=1)
    return torch.from_numpy(np.where(drawn == length, -1, drawn)).to(ids.device)


def gathered(rows: Tensor, positions: Tensor) -> Tensor:
    """What stands at positions (N, P) of rows (N, L) or (N, L, E): (N, P) or (N, P, E); at -1, the row's first."""
    index = positions.clamp_min(0)
    if rows.ndim == 3:
        index = index.unsqueeze(-1).expand(-1, -1, rows.shape[-1])
    return rows.gather(1, index)

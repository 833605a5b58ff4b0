"""Soft tokens: texts that are differentiable where a generator wrote them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raydm.errors import ParameterError


@dataclass(frozen=True, eq=False)
class SoftTokens:
    """N texts of L tokens, of which up to P each are drawn softly: there a text is its tokens' expected embedding.

    Attributes:
        ids: (N, L) int64 token ids; what stands at the positions is not looked at.
        positions: (N, P) int64 in [0, L), distinct in a row; -1 where a text has fewer than P.
        probs: (N, P, V) float shares of the V tokens there, each row's sum 1; at positions of -1 not looked at.

    Raises:
        ParameterError: their shapes do not fit.
    """

    ids: Tensor
    positions: Tensor
    probs: Tensor

    def __post_init__(self) -> None:
        fits = self.ids.ndim == self.positions.ndim == 2 and self.probs.ndim == 3
        if not fits or self.probs.shape[:2] != self.positions.shape or len(self.ids) != len(self.positions):
            shapes = tuple(self.ids.shape), tuple(self.positions.shape), tuple(self.probs.shape)
            raise ParameterError.of("(ids, positions, probs)", "SoftTokens", "(N, L), (N, P) and (N, P, V)", shapes)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice | Tensor) -> SoftTokens:
        """Some of the texts, by a slice, a mask or (B,) indices."""
        return SoftTokens(self.ids[rows], self.positions[rows], self.probs[rows])

    @property
    def ndim(self) -> int:
        """2, as of the ids: texts have no axis of rollouts."""
        return self.ids.ndim

    @property
    def shape(self) -> torch.Size:
        """(N, L)."""
        return self.ids.shape

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.probs.device

    @property
    def requires_grad(self) -> bool:
        """Whether the shares require a gradient."""
        return self.probs.requires_grad

    def leaves(self) -> list[Tensor]:
        """The tensors that may require a gradient."""
        return [self.probs]

    def with_leaves(self, leaves: Sequence[Tensor]) -> SoftTokens:
        """The same texts with other shares, such as a detached copy that requires a gradient."""
        (probs,) = leaves
        return SoftTokens(self.ids, self.positions, probs)

    def detached(self) -> SoftTokens:
        """The same texts without their past."""
        return SoftTokens(self.ids, self.positions, self.probs.detach())

    def to(self, device: torch.device | str) -> SoftTokens:
        """The texts on a device."""
        return SoftTokens(self.ids.to(device), self.positions.to(device), self.probs.to(device))

    def hard(self) -> Tensor:
        """The ids (N, L) with the likeliest token at each position; of Gumbel-softmax shares, exactly the one drawn."""
        return scattered(self.ids.unsqueeze(-1), self.positions, self.probs.argmax(-1).unsqueeze(-1)).squeeze(-1)

    def embedded(self, table: nn.Embedding) -> Tensor:
        """The texts' embeddings (N, L, E): ``probs @ table`` at the positions, else the token's own.

        Where the shares are one-hot, these are the hard tokens' embeddings bit for bit.

        Raises:
            ParameterError: the table holds another number of tokens, or is no plain embedding.
        """
        check_table(table)
        if self.probs.shape[-1] != len(table.weight):
            expected = f"over the {len(table.weight)} tokens that the model embeds; use one tokenizer for both models"
            raise ParameterError.of("probs", "SoftTokens", expected, f"{self.probs.shape[-1]} tokens")
        hard: Tensor = table(self.ids)
        return scattered(hard, self.positions, (self.probs @ table.weight).to(hard.dtype))


def embedded(x: Tensor | SoftTokens, table: nn.Embedding) -> Tensor:
    """The embeddings (N, L, E) of ids (N, L) or of soft tokens."""
    return x.embedded(table) if isinstance(x, SoftTokens) else table(x)


def joined(parts: Sequence[Tensor | SoftTokens]) -> SoftTokens:
    """Texts one after another, such as the originals' ids and their soft rewritings; L, P and V must be alike.

    Raises:
        ParameterError: none of them is soft, or their L differ.
    """
    soft = [part for part in parts if isinstance(part, SoftTokens)]
    if not soft or len({part.shape[1] for part in parts}) > 1 or len({part.probs.shape[1:] for part in soft}) > 1:
        shapes = [tuple(part.shape) for part in parts]
        raise ParameterError.of("parts", "joined", "texts of one length, with soft ones of one P among them", shapes)
    like = soft[0]
    rows = [part if isinstance(part, SoftTokens) else _without_positions(part, like) for part in parts]
    return SoftTokens(
        torch.cat([r.ids for r in rows]), torch.cat([r.positions for r in rows]), torch.cat([r.probs for r in rows])
    )


def check_table(table: nn.Module) -> None:
    """Raises ParameterError unless the embedding is a mere table, of which sums can be taken."""
    if type(table) is not nn.Embedding or table.max_norm is not None:
        raise ParameterError.of("model", "raydm.text", "one whose word embedding is a plain torch.nn.Embedding", table)


def scattered(rows: Tensor, positions: Tensor, values: Tensor) -> Tensor:
    """Rows (N, L, E) with values (N, P, E) at positions (N, P); those of -1 go nowhere.

    Unlike assignment it is differentiable in both, in forward mode too.
    """
    length = rows.shape[1]
    index = positions.where(positions >= 0, length).unsqueeze(-1).expand(-1, -1, rows.shape[-1])
    bin_too = torch.cat([rows, torch.zeros_like(rows[:, :1])], dim=1)  # what goes nowhere goes to a column of its own
    return bin_too.scatter(1, index, values)[:, :length]


def _without_positions(ids: Tensor, like: SoftTokens) -> SoftTokens:
    positions = torch.full((len(ids), like.positions.shape[1]), -1, dtype=torch.int64, device=ids.device)
    return SoftTokens(ids, positions, like.probs.new_zeros(len(ids), *like.probs.shape[1:]))

"""Layers of an encoder that are not trained: what they make of a text is computed once, and remembered."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

MOST = 2**28  # bytes that are remembered, on the host; texts beyond pass through all layers


class FrozenLayers:
    """The first layers of an encoder, without dropout; the rest can go on from their states.

    Each text's states are computed alone, so that they do not depend on which texts stood beside it.

    Args:
        encoder: a transformers model with (B, L, H) states.
        layers: all of its layers, in order.
        count: how many are frozen, and with them what is in no layer.
    """

    def __init__(self, encoder: Any, layers: Sequence[nn.Module], count: int) -> None:
        self.encoder, self.layers, self.trained = encoder, list(layers[:count]), list(layers[count:])
        self._known: dict[bytes, Tensor] = {}
        self._bytes, self._works = 0, True

    def train(self, mode: bool) -> None:
        """Sets the mode of what is trained; the rest is as users predict."""
        self.encoder.eval()
        for layer in self.trained:
            layer.train(mode)

    def forget(self) -> None:
        """For when the layers moved, or changed."""
        self._known.clear()
        self._bytes, self._works = 0, True

    def states(self, ids: Tensor, tokens: Tensor, present: Tensor) -> Tensor | None:
        """The encoder's last states (B, L, H), its frozen layers passed by; None where that cannot be done.

        Args:
            ids: (B, L) token ids.
            tokens: (B, L, E) their embeddings.
            present: (B, L), False at padding.
        """
        lengths = present.sum(1)
        right = torch.arange(present.shape[1], device=present.device) < lengths[:, None]
        if not torch.equal(present, right) or not lengths.all():
            return None  # padding in the middle, or a text of nothing else
        keys = [row[:n].tobytes() for row, n in zip(ids.cpu().numpy(), lengths.tolist(), strict=True)]
        for i, (key, n) in enumerate(zip(keys, lengths.tolist(), strict=True)):
            if self._works and key not in self._known and self._bytes < MOST:
                self._remember(key, tokens[i : i + 1, :n].detach(), present[i : i + 1, :n])
        if not self._works or any(key not in self._known for key in keys):
            return None
        found = pad_sequence([self._known[key] for key in keys], batch_first=True).to(tokens.device)
        return self._resumed(found, tokens, present)

    def _remember(self, key: bytes, tokens: Tensor, present: Tensor) -> None:
        """Passes one text through all layers; at first also checks that the rest can go on from what is remembered."""
        seen: list[Any] = []
        hook = self.layers[-1].register_forward_hook(lambda _, inputs, output: seen.append(output))
        mode = bool(self.trained) and self.trained[0].training
        self.train(False)
        try:
            with torch.no_grad():
                last = self.encoder(inputs_embeds=tokens, attention_mask=present.long()).last_hidden_state
                (states,) = seen
                if not self._known:
                    hook.remove()
                    self._works = isinstance(states, Tensor) and torch.equal(
                        self._resumed(states, tokens, present), last
                    )
        finally:
            hook.remove()
            self.train(mode)
        if self._works:
            self._known[key] = states[0].cpu().clone()
            self._bytes += self._known[key].nbytes

    def _resumed(self, states: Tensor, tokens: Tensor, present: Tensor) -> Tensor:
        with self._passed_by(states):
            last: Tensor = self.encoder(inputs_embeds=tokens, attention_mask=present.long()).last_hidden_state
        return last

    @contextmanager
    def _passed_by(self, states: Tensor) -> Iterator[None]:
        """The frozen layers then give these states, whatever they are asked."""
        for layer in self.layers:
            setattr(layer, "forward", lambda *inputs, **more: states)  # noqa: B010 - mypy lets no method be assigned
        try:
            yield
        finally:
            for layer in self.layers:
                delattr(layer, "forward")

    def __getstate__(self) -> dict[str, Any]:
        """Without what is remembered, for copies elsewhere."""
        return self.__dict__ | {"_known": {}, "_bytes": 0}

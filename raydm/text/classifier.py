"""The text classifier: a pretrained encoder, pooled, with a linear readout."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raydm.checks import check_choice, check_integer, is_number
from raydm.errors import ParameterError, RaydmError, RunError
from raydm.text import hub
from raydm.text.frozen import FrozenLayers
from raydm.text.soft import SoftTokens, check_table, embedded

Pooling = Literal["mean", "cls"]
SETTINGS, HEAD = "text_classifier.json", "head.safetensors"


class TextClassifier(nn.Module):
    """Logits (B, C) of ids (B, L) or of `SoftTokens`.

    The readout starts at zero, as all of raydm's do. Tokens are shown to the encoder as embeddings in both cases, so
    soft tokens whose shares are one-hot give the hard ones' logits bit for bit.

    Args:
        encoder: a transformers model with (B, L, H) states, see `raydm.text.hub.load_encoder`.
        n_outputs: C.
        pooling: "mean" of the states of all tokens but padding, or that of the first token, "cls".
        dropout: its share of the pooled state, in [0, 1).
        frozen: how many of the encoder's layers stay as they were pretrained, from the first on, and with them what is
            in no layer, such as the embeddings; 0: all is trained. They are without dropout, and what they make of a
            text is computed once (see `raydm.text.frozen`), so that a step costs less time and memory.

    Raises:
        ParameterError: an argument is out of its range, or the encoder's word embedding is no plain table.
    """

    def __init__(
        self, encoder: Any, n_outputs: int, *, pooling: Pooling = "mean", dropout: float = 0.1, frozen: int = 0
    ) -> None:
        super().__init__()
        check_integer("TextClassifier", "n_outputs", n_outputs, 1)
        _check(pooling, dropout, frozen)
        check_table(encoder.get_input_embeddings())
        if encoder.config.pad_token_id is None:
            raise ParameterError.of("encoder", "TextClassifier", "a model whose config names a pad_token_id", None)
        self.encoder, self.pooling, self.n_outputs, self.frozen = encoder, pooling, n_outputs, frozen
        self.pad_id = int(encoder.config.pad_token_id)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, n_outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._frozen = _freeze(encoder, frozen) if frozen else None

    def train(self, mode: bool = True) -> TextClassifier:
        """As of every module; frozen layers have no dropout."""
        super().train(mode)
        if self._frozen is not None:
            self._frozen.train(mode)
        return self

    def forward(self, x: Tensor | SoftTokens) -> Tensor:
        """(B, C) logits."""
        present = (x.ids if isinstance(x, SoftTokens) else x) != self.pad_id
        tokens = embedded(x, self.encoder.get_input_embeddings())
        longest = int(present.sum(1).max())  # padding, on the right, is not worth the time of a pass
        if 0 < longest < present.shape[1] and not present[:, longest:].any():
            present, tokens = present[:, :longest], tokens[:, :longest]
        states = None
        # Texts that come again: those of training, and of D^v where its loss is differentiated
        if self._frozen is not None and not isinstance(x, SoftTokens) and (self.training or torch.is_grad_enabled()):
            states = self._frozen.states(x[:, : present.shape[1]], tokens, present)
        if states is None:
            states = self.encoder(inputs_embeds=tokens, attention_mask=present.long()).last_hidden_state
        if self.pooling == "cls":
            pooled = states[:, 0]
        else:
            mask = present.unsqueeze(-1).to(states.dtype)
            pooled = (states * mask).sum(1) / mask.sum(1).clamp_min(1)
        logits: Tensor = self.head(self.dropout(pooled))
        return logits

    def _apply(self, *arguments: Any, **more: Any) -> TextClassifier:
        if self._frozen is not None:  # to another device or type
            self._frozen.forget()
        moved: TextClassifier = super()._apply(*arguments, **more)  # type: ignore[no-untyped-call]
        return moved

    def save(self, folder: Path) -> None:
        """Writes the encoder in transformers' form (config.json, model.safetensors), the head and its settings."""
        hub.save(self.encoder, folder)
        save_file({k: v.detach().cpu().contiguous() for k, v in self.head.state_dict().items()}, folder / HEAD)
        settings = {"n_outputs": self.n_outputs, "pooling": self.pooling, "dropout": self.dropout.p}
        settings |= {"frozen": self.frozen} if self.frozen else {}
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2))

    @classmethod
    def load(cls, folder: Path) -> TextClassifier:
        """Reads what `save` wrote.

        Raises:
            RunError: it is missing or torn.
            DataError: the encoder is.
            MissingPackageError: transformers is not installed.
        """
        try:
            settings = json.loads((folder / SETTINGS).read_text())
            module = cls(hub.load_encoder(folder), **settings)
            module.head.load_state_dict(load_file(folder / HEAD))
        except RaydmError:
            raise
        except Exception as error:  # each library has its own words for a torn file
            raise RunError(f"{folder}: no text classifier can be read from it: {error}.") from error
        return module


@dataclass(frozen=True)
class MakeTextClassifier:
    """Makes text classifiers from a pretrained encoder; can be pickled, and rebuilt from its fields.

    Attributes:
        model: a local folder, or a name on the hub.
        pooling: see `TextClassifier`.
        dropout: see `TextClassifier`.
        frozen: see `TextClassifier`.
    """

    model: str
    pooling: Pooling = "mean"
    dropout: float = 0.1
    frozen: int = 0

    def __post_init__(self) -> None:
        _check(self.pooling, self.dropout, self.frozen)

    def __call__(self, n_features: int, n_outputs: int) -> TextClassifier:
        """The module for C outputs; L, the first number, may be any."""
        encoder = hub.load_encoder(self.model)
        return TextClassifier(encoder, n_outputs, pooling=self.pooling, dropout=self.dropout, frozen=self.frozen)


def _freeze(encoder: Any, layers: int) -> FrozenLayers:
    """Takes all of an encoder but its last layers out of training.

    Raises:
        ParameterError: it has fewer layers, or none that can be told.
    """
    n = getattr(encoder.config, "num_hidden_layers", 0)
    stacks = [part for part in encoder.modules() if isinstance(part, nn.ModuleList) and len(part) == n]
    if len(stacks) != 1:
        raise ParameterError.of("frozen", "TextClassifier", "0: this encoder's layers are in no single list", layers)
    if layers > n:
        raise ParameterError.of("frozen", "TextClassifier", f"at most {n}, the encoder's layers", layers)
    trained = {id(p) for layer in stacks[0][layers:] for p in layer.parameters()}
    for p in encoder.parameters():
        p.requires_grad_(id(p) in trained)
    return FrozenLayers(encoder, list(stacks[0]), layers)


def _check(pooling: str, dropout: float, frozen: int) -> None:
    check_integer("TextClassifier", "frozen", frozen, 0)
    check_choice("TextClassifier", "pooling", pooling, get_args(Pooling))
    if not (is_number(dropout) and 0 <= dropout < 1):
        raise ParameterError.of("dropout", "TextClassifier", "in [0, 1)", dropout)

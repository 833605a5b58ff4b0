"""g_phi: a masked language model that is told the label, and draws tokens by Gumbel-softmax."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raydm.checks import check_integer, check_positive
from raydm.errors import ParameterError, RaydmError, RunError
from raydm.seeding import stream
from raydm.text import hub
from raydm.text.masking import gathered, mask_positions
from raydm.text.soft import SoftTokens, check_table, scattered
from raydm.text.tokenizer import Tokenizer

SETTINGS, LABELS = "text_generator.json", "labels.safetensors"
NEVER = -1e9  # the logit of special tokens: finite, so that no derivative of it is NaN


class TextGenerator(nn.Module):
    """g_phi(x given x*, y): rewrites a text x* of label y at masked positions (Hu et al. 2019, section 4.2).

    The label's embedding is added to each token's. In models with token types, of which all tokens have the first,
    that is a token type of the label's own, as in Wu et al. (2019), whom Hu et al. follow, but for a constant: it
    starts near the unconditional model. Label embeddings start as in Hu et al.'s release, normal of deviation .02.

    Args:
        model: a masked language model of transformers, see `raydm.text.hub.load_masked_lm`.
        n_labels: C.
        mask_id: the id of ``[MASK]``.
        special_ids: ids that are never masked nor written.
        head_is_new: whether the model's head must be trained before it says anything.
        seed: the first label embeddings', >= 0.

    Raises:
        ParameterError: the model's word embedding is no plain table, or its vocabulary is another one's.
    """

    never: Tensor

    def __init__(
        self,
        model: Any,
        n_labels: int,
        *,
        mask_id: int,
        special_ids: tuple[int, ...],
        head_is_new: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_integer("TextGenerator", "n_labels", n_labels, 1)
        table = model.get_input_embeddings()
        check_table(table)
        if max(mask_id, *special_ids) >= table.num_embeddings or model.config.pad_token_id is None:
            expected = f"of the tokenizer's vocabulary, with padding; this one embeds {table.num_embeddings} tokens"
            raise ParameterError.of("model", "TextGenerator", expected, model.config.model_type)
        self.model, self.n_labels, self.mask_id = model, n_labels, mask_id
        self.special_ids, self.head_is_new = tuple(special_ids), head_is_new
        self.pad_id = int(model.config.pad_token_id)
        start = stream(seed, "labels").normal(0, 0.02, (n_labels, table.embedding_dim))
        self.labels = nn.Embedding(n_labels, table.embedding_dim, _weight=torch.from_numpy(start).to(table.weight))
        never = torch.zeros(table.num_embeddings, dtype=torch.bool)
        never[list(self.special_ids)] = True
        self.register_buffer("never", never, persistent=False)

    @classmethod
    def pretrained(
        cls, name: str | Path, n_labels: int, *, tokenizer: Tokenizer | None = None, seed: int = 0
    ) -> TextGenerator:
        """The generator that starts as a pretrained masked language model.

        Args:
            name: a local folder, or a name on the hub; an encoder without a language model's head gets a new one.
            n_labels: C.
            tokenizer: its tokenizer, where it is at hand.
            seed: of label embeddings and of a new head, >= 0.

        Raises:
            DataError: there is no such model.
            ParameterError: its tokenizer has no ``[MASK]``.
            MissingPackageError: transformers is not installed.
        """
        tokenizer = tokenizer or Tokenizer(name)
        if tokenizer.mask_id is None:
            raise ParameterError.of("name", "TextGenerator.pretrained", "a model whose tokenizer has a mask", name)
        model, new = hub.load_masked_lm(name, seed=seed)
        ids = tokenizer.special_ids
        return cls(model, n_labels, mask_id=tokenizer.mask_id, special_ids=ids, head_is_new=new, seed=seed)

    def forward(self, ids: Tensor, labels: Tensor | None, positions: Tensor) -> Tensor:
        """Logits (N, P, V) of the tokens at the positions, which the model does not see.

        Args:
            ids: (N, L) token ids.
            labels: (N,) int64 in [0, C), or None to say nothing of the label.
            positions: (N, P) int64, -1 for none; its logits then mean nothing.
        """
        mask = positions.new_full((*positions.shape, 1), self.mask_id)
        masked = scattered(ids.unsqueeze(-1), positions, mask).squeeze(-1)
        embeddings = self.model.get_input_embeddings()(masked)
        if labels is not None:
            embeddings = embeddings + self.labels(labels).unsqueeze(1)
        with self._read_at(positions):
            logits = self.model(inputs_embeds=embeddings, attention_mask=(ids != self.pad_id).long()).logits
        if logits.shape[1] != positions.shape[1]:  # an architecture whose readout could not be reached
            logits = gathered(logits, positions)
        filled: Tensor = logits.masked_fill(self.never, NEVER)
        return filled

    def draw(
        self,
        ids: Tensor,
        labels: Tensor | None,
        *,
        rng: np.random.Generator,
        positions: Tensor | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> SoftTokens:
        """Rewrites texts: masks positions and draws each one's token by Gumbel-softmax, softly and differentiably.

        The same ``rng`` state gives the same positions and noise, whatever phi is. ``hard()`` of the result is a plain
        draw from the model at temperature 1, whatever ``temperature`` is (the Gumbel-max trick).

        Args:
            ids: (N, L) token ids.
            labels: (N,) int64 in [0, C), or None.
            rng: what positions (first) and noise follow.
            positions: (N, P) positions to write at; by default drawn, see `mask_positions`.
            temperature: of the softmax, > 0; Hu et al. use 1.
            top_k: only the k likeliest tokens are drawn, >= 1; None for any.
        """
        check_positive("TextGenerator.draw", "temperature", temperature)
        if positions is None:
            positions = mask_positions(ids, self.special_ids, self.pad_id, rng)
        logits = self(ids, labels, positions)
        if top_k is not None:
            check_integer("TextGenerator.draw", "top_k", top_k, 1)
            least = logits.detach().topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
            logits = logits.masked_fill(logits < least, NEVER)
        noise = gumbel(tuple(logits.shape), rng).to(logits)
        return SoftTokens(ids, positions, ((logits + noise) / temperature).softmax(-1))

    def save(self, folder: Path) -> None:
        """Writes the model in transformers' form (config.json, model.safetensors), labels and settings.

        With the tokenizer's files beside them, the folder is one that every loader of ``raydm.text`` takes.
        """
        hub.save(self.model, folder)
        save_file({"weight": self.labels.weight.detach().cpu().contiguous()}, folder / LABELS)
        settings = {
            "n_labels": self.n_labels,
            "mask_id": self.mask_id,
            "special_ids": list(self.special_ids),
            "head_is_new": self.head_is_new,
        }
        (folder / SETTINGS).write_text(json.dumps(settings, indent=2))

    @classmethod
    def load(cls, folder: Path) -> TextGenerator:
        """Reads what `save` wrote.

        Raises:
            RunError: it is missing or torn.
            DataError: the model is.
            MissingPackageError: transformers is not installed.
        """
        try:
            settings = json.loads((folder / SETTINGS).read_text())
            settings["special_ids"] = tuple(settings["special_ids"])
            generator = cls(hub.load_masked_lm(folder)[0], **settings)
            generator.labels.load_state_dict(load_file(folder / LABELS))
        except RaydmError:
            raise
        except Exception as error:  # each library has its own words for a torn file
            raise RunError(f"{folder}: no text generator can be read from it: {error}.") from error
        return generator

    @contextmanager
    def _read_at(self, positions: Tensor) -> Iterator[None]:
        """Lets the readout over V tokens see the states at the positions alone: else it costs as much as the rest."""
        readout = self.model.get_output_embeddings()
        if readout is None:
            yield
            return
        handle = readout.register_forward_pre_hook(lambda _, states: (gathered(states[0], positions),))
        try:
            yield
        finally:
            handle.remove()


def gumbel(shape: tuple[int, ...], rng: np.random.Generator) -> Tensor:
    """Standard Gumbel noise, float32: minus the logarithm of exponential draws."""
    exponential = rng.standard_exponential(shape, dtype=np.float32)
    return torch.from_numpy(-np.log(np.maximum(exponential, np.finfo(np.float32).tiny)))

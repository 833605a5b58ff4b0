"""Training the generator to guess masked tokens: on labelled texts (fixed augmentation), or first on unlabelled."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from raydm.checks import check_choice, check_integer, check_positive
from raydm.errors import ParameterError
from raydm.seeding import drawing, stream
from raydm.text.generator import TextGenerator
from raydm.text.masking import gathered, mask_positions

Ids = npt.NDArray[np.int64]
Schedule = Literal["constant", "linear"]


@dataclass(frozen=True)
class Epoch:
    """What one pass over the texts came to.

    Attributes:
        epoch: its number, from 1.
        loss: the mean cross-entropy of masked training tokens, in nats.
        valid_loss: that of the validation texts after it, always the same tokens masked; None without any.
        seconds: how long it took.
    """

    epoch: int
    loss: float
    valid_loss: float | None
    seconds: float


def fit(generator: TextGenerator, ids: Ids, labels: Ids | None, *, seed: int, **settings: object) -> list[Epoch]:
    """Trains the generator, in place; see `epochs_of` for what it takes."""
    return list(epochs_of(generator, ids, labels, seed=seed, **settings))  # type: ignore[arg-type]


def epochs_of(
    generator: TextGenerator,
    ids: Ids,
    labels: Ids | None,
    *,
    seed: int,
    epochs: int = 10,
    batch_size: int = 8,
    lr: float = 4e-5,
    label_lr: float | None = None,
    weight_decay: float = 0.01,
    schedule: Schedule = "constant",
    valid: tuple[Ids, Ids | None] | None = None,
) -> Iterator[Epoch]:
    """Trains the generator, in place, a pass at a time: AdamW on the cross-entropy of the tokens that are masked.

    Each pass masks anew, as the drawing will: max(n // 7, 2) positions a text, all shown as ``[MASK]``. (Hu et al.'s
    release masks 15 % and shows a tenth of those as themselves and a tenth as other words, though it draws as here.)
    With validation texts the generator ends with the weights after the pass that guessed them best, as there.

    Args:
        generator: what is trained; all of it.
        ids: (N, L) token ids.
        labels: (N,) int64 in [0, C); None for unlabelled texts, from which label embeddings learn nothing.
        seed: of order, masks and dropout, >= 0.
        epochs: passes over the texts, >= 1.
        batch_size: texts a step, >= 1.
        lr: the step length, > 0; Hu et al. use 4e-5.
        label_lr: that of the label embeddings, > 0; None for the same. Adam moves a number by about
            its step length a step, so that few steps leave label embeddings where they started.
        weight_decay: decoupled, of matrices alone.
        schedule: "constant" or "linear": up over the first twentieth of all steps, then down to 0.
        valid: ids and labels of validation texts.

    Yields:
        What each pass came to. The best weights are back once the last was taken.

    Raises:
        ParameterError: a setting is out of its range, or there are no texts.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        check_integer("fit", name, value, 1)
    for name, rate in (("lr", lr), ("label_lr", lr if label_lr is None else label_lr)):
        check_positive("fit", name, rate)
    check_choice("fit", "schedule", schedule, get_args(Schedule))
    if not len(ids) or (labels is not None and len(labels) != len(ids)):
        got = f"{len(ids)} texts, {'no' if labels is None else len(labels)} labels"
        raise ParameterError.of("(ids, labels)", "fit", "one or more texts, each with its label or all without", got)
    optimizer = _adamw(generator, lr, lr if label_lr is None else label_lr, weight_decay)
    rates = [group["lr"] for group in optimizer.param_groups]
    total = epochs * math.ceil(len(ids) / batch_size)
    step, best = 0, (math.inf, _weights(generator) if valid else {})
    device = generator.labels.weight.device
    for epoch in range(epochs):
        began, losses, count = time.perf_counter(), torch.zeros((), device=device), 0
        generator.train()
        with drawing(int(stream(seed, "dropout", epoch).integers(2**63)), device):
            for rows in batches_of(ids, generator.pad_id, batch_size, stream(seed, "order", epoch)):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * (_linear(step, total) if schedule == "linear" else 1.0)
                nll = _nll(generator, ids, labels, rows, stream(seed, "masks", epoch, step))
                step += 1
                if not len(nll):
                    continue
                optimizer.zero_grad()
                torch.autograd.backward(nll.mean())
                nn.utils.clip_grad_norm_(generator.parameters(), 1.0)
                optimizer.step()
                losses, count = losses + nll.detach().sum(), count + len(nll)
        generator.eval()
        valid_loss = masked_loss(generator, *valid, seed=seed) if valid else None
        if valid_loss is not None and valid_loss < best[0]:
            best = valid_loss, _weights(generator)
        yield Epoch(epoch + 1, float(losses) / max(count, 1), valid_loss, time.perf_counter() - began)
    if best[1]:
        generator.load_state_dict(best[1])
    generator.head_is_new = False


def masked_loss(generator: TextGenerator, ids: Ids, labels: Ids | None, *, seed: int, batch_size: int = 64) -> float:
    """The mean cross-entropy of masked tokens, in nats, without dropout; its exponential is their perplexity.

    The seed decides which tokens are masked, so models can be compared on the same ones. NaN where no text has a word.
    """
    was_training = generator.training
    generator.eval()
    with torch.no_grad():
        starts = range(0, len(ids), batch_size)
        nll = [
            _nll(generator, ids, labels, np.arange(a, min(a + batch_size, len(ids))), stream(seed, "valid", a))
            for a in starts
        ]
    generator.train(was_training)
    return float(torch.cat(nll).mean())


def batches_of(ids: Ids, pad_id: int, batch_size: int, rng: np.random.Generator) -> Iterator[Ids]:
    """The rows of a pass, in batches of texts of like length where there are many: padding costs as much as words.

    The order is random; within each 50 batches' worth of rows they are sorted by length, then the batches shuffled.
    """
    order = rng.permutation(len(ids))
    lengths = (ids != pad_id).sum(1)
    pool = 50 * batch_size
    chunks = [order[a : a + pool] for a in range(0, len(order), pool)]
    if len(order) >= pool:
        chunks = [chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks]
    batches = [chunk[a : a + batch_size] for chunk in chunks for a in range(0, len(chunk), batch_size)]
    for place in rng.permutation(len(batches)):
        yield batches[place]


def _nll(generator: TextGenerator, ids: Ids, labels: Ids | None, rows: Ids, rng: np.random.Generator) -> Tensor:
    """Cross-entropy of each masked token of some texts: (T,)."""
    device = generator.labels.weight.device
    tokens = ids[rows]
    longest = int((tokens != generator.pad_id).sum(1).max(initial=1))
    x = torch.from_numpy(tokens[:, :longest]).to(device)
    y = None if labels is None else torch.from_numpy(labels[rows]).to(device)
    positions = mask_positions(x, generator.special_ids, generator.pad_id, rng)
    there = positions >= 0
    return nn.functional.cross_entropy(
        generator(x, y, positions)[there].float(), gathered(x, positions)[there], reduction="none"
    )


def _adamw(generator: TextGenerator, lr: float, label_lr: float, weight_decay: float) -> torch.optim.AdamW:
    labels = generator.labels.weight
    others = [p for p in generator.parameters() if p is not labels]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "lr": lr, "weight_decay": weight_decay},
        {"params": [p for p in others if p.ndim <= 1], "lr": lr, "weight_decay": 0.0},
        {"params": [labels], "lr": label_lr, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups)


def _linear(step: int, total: int) -> float:
    """The share of the step length at a step, from 0."""
    rise = max(1, total // 20)
    return min((step + 1) / rise, (total - step) / max(1, total - rise))


def _weights(generator: TextGenerator) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in generator.state_dict().items()}

"""The ways of synthesis: a generator fitted to the training examples, as it is, or tuned with the predictor."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydm.augmenters.pixels import to_images, to_unit
from raydm.data.examples import Examples
from raydm.errors import ParameterError
from raydm.generators import VAE, Generator, Prototypes
from raydm.generators.tangents import NAMES
from raydm.joint_training import Making, NewRows, RowMaker, TextParts, Tuning, fitted_generator, kind_of, place_of
from raydm.manipulations import ByGenerator, ByWriting, Composing, Synthesize
from raydm.synthesizing.settings import SynthesizeSettings
from raydm.utility import Problem

KINDS: dict[str, type[VAE] | type[Prototypes]] = {"vae": VAE, "prototypes": Prototypes}


class Composed(RowMaker):
    """Whole rows of labels that are drawn first; made from none.

    Args:
        seed: of the run.
        summary: see `RowMaker`.
        manipulation: draws the labels, and holds g_phi.
    """

    def __init__(self, seed: int, summary: list[dict[str, Any]], manipulation: Synthesize) -> None:
        super().__init__(seed, summary)
        self.manipulation = manipulation

    def drawn(self, chunk: int, n: int, train: Examples, rng: np.random.Generator) -> NewRows:
        """See `RowMaker`."""
        y = self.manipulation.labels(n, rng)
        x, how = self.manipulation.composing.written(y, rng)
        return NewRows(x.cpu().numpy(), y.numpy(), np.full(n, -1), [], how, self.seed)

    def to(self, device: torch.device) -> None:
        """See `RowMaker`."""
        self.manipulation.composing.to(device)


class Synthesizing(Making):
    """A generator that stays as it was fitted.

    Args:
        train: the training set, N examples of C classes.
        problem: predictor (a `Module`), D^v, task, metric and seed.
        settings: how long it trains, and what the generator is.
        text: what texts need.
        composing: g_phi; None for the one that suits the data, fitted to them.

    Raises:
        ParameterError: the labels are no classes.
    """

    manipulation: Synthesize

    def __init__(
        self,
        train: Examples,
        problem: Problem,
        settings: SynthesizeSettings,
        text: TextParts | None,
        composing: Composing | None = None,
    ) -> None:
        if problem.task.kind != "classification":
            raise ParameterError.of(
                "task", "raydm synthesize", "classification: examples are made of classes", problem.task.kind
            )
        self.settings, self.text, self._given = settings, text, composing
        super().__init__(train, problem, settings)

    @property
    def composing(self) -> Composing:
        """g_phi, once `prepare` or `steps` made it."""
        return self.manipulation.composing

    def check(self) -> None:
        """That rows unfold the images that they are said to."""
        if kind_of(self.train, self.settings.image_shape) == "image":
            self._shaped(to_unit(torch.from_numpy(self.train.x[:1])))

    def summary(self) -> list[dict[str, Any]]:
        """Of prototypes: the scales of noise, of all factors and of the tangents, as fitted and now."""
        self.prepare()
        return [
            {"scale": name, "fitted": before, "learned": now}
            for (name, now), before in zip(_scales(self.composing).items(), self._fitted_scales.values(), strict=True)
        ]

    def _made(self) -> Synthesize:
        chosen = self.settings
        counts = np.bincount(self.train.y, minlength=self.problem.task.n_outputs)
        p = counts if chosen.classes == "training" else counts > 0
        made = self._composing() if self._given is None else self._given
        self._fitted_scales = _scales(made)
        return Synthesize(made, self.problem.task, p.astype(float).tolist(), rows=chosen.rows, share=chosen.share)

    def _composing(self) -> Composing:
        chosen, task = self.settings, self.problem.task
        if kind_of(self.train, chosen.image_shape) == "text":
            generator, text = fitted_generator(
                self.train, self.problem, self.text, epochs=chosen.fit_epochs, lr=chosen.fit_learning_rate,
                label_lr=chosen.fit_label_learning_rate,
            )  # fmt: skip
            return ByWriting(
                generator, torch.from_numpy(self.train.x), torch.from_numpy(self.train.y), rounds=chosen.rounds,
                temperature=chosen.temperature, top_k=chosen.top_k, tokenizer=text.tokenizer,
            )  # fmt: skip
        x = self._shaped(to_unit(torch.from_numpy(self.train.x)))
        kind = KINDS[chosen.generator_for(len(x), task.n_outputs)]
        made: Generator = kind(tuple(x.shape[1:]), task.n_outputs)
        made.to(x.dtype).fit(x, torch.from_numpy(self.train.y), seed=self.problem.seed)
        return ByGenerator(made.to(place_of(self.problem)), as_rows=chosen.image_shape is not None)

    def _shaped(self, x: Tensor) -> Tensor:
        shape = self.settings.image_shape
        return x if shape is None else to_images(x, shape)

    def _rows_of(self, batch_size: int) -> int:
        return batch_size + max(1, round(self.settings.rows * batch_size))

    def _maker(self) -> RowMaker:
        return Composed(self.problem.seed, self.summary(), self.manipulation)


class LearnedSynthesizing(Synthesizing, Tuning):
    """A generator that is tuned by the loss on D^v one step ahead, with the predictor."""

    def _optimizer(self) -> torch.optim.Optimizer:
        return self.composing.optimizer(self.settings.learning_rate)


@torch.no_grad()
def _scales(composing: Composing) -> dict[str, float]:
    """The deviations that prototypes are surrounded with; none of other generators."""
    generator = getattr(composing, "generator", None)
    if not isinstance(generator, Prototypes):
        return {}
    tau = generator.log_tau.exp().tolist()
    factors = float(generator.loading.square().sum(1).mean().sqrt())
    own = {"noise": float(generator.log_noise.exp()), "factors": factors}
    return own | ({f"tangent {name}": t for name, t in zip(NAMES, tau, strict=True)} if tau else {})

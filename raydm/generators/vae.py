"""A class-conditional variational autoencoder for tables and small images, for hundreds of examples a class and more.

Of ten a class it learns too little: there `raydm.generators.prototypes.Prototypes` gives better examples.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from raydm.checks import check_choice, check_integer, check_positive
from raydm.errors import ParameterError
from raydm.generators.generator import Generator
from raydm.seeding import stream

Likelihood = Literal["bernoulli", "gaussian"]
_SHARE_WATCHED = 0.2  # of the training rows
_EVERY, _PASSES = 25, 8  # steps between looks at the watched rows, and draws of z at each


class VAE(Generator):
    """z ~ N(0, I), x given z and y from a decoder (Kingma, Welling 2014; on y: Kingma et al. 2014, Sohn et al. 2015).

    Encoder and decoder see the one-hot class. With the Bernoulli likelihood, for values in [0, 1], an example is the
    decoder's mean; with the Gaussian one its mean plus noise, whose deviation, one for each feature, is learned, in
    features brought to mean 0 and deviation 1 (pixels by one deviation for all). phi is all of it; the encoder gets
    no gradient from examples.

    Args:
        shape: (D,) or (channels, H, W).
        n_classes: C.
        latent: dimensions of z.
        hidden: widths of the encoder's ReLU layers, and backwards the decoder's.
        beta: weight of the divergence from N(0, I) (Higgins et al. 2017), > 0.
        likelihood: "bernoulli" or "gaussian"; None: Bernoulli where all training values lie in [0, 1] and examples are
            images, else Gaussian.
        steps: training steps at most.
        batch_size: examples a step.
        lr: of AdamW.
        weight_decay: of AdamW.
        patience: steps without a better bound on a fifth of the training rows after which training ends.
    """

    location: Tensor
    scale: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        n_classes: int,
        *,
        latent: int = 8,
        hidden: Sequence[int] = (128,),
        beta: float = 1.0,
        likelihood: Likelihood | None = None,
        steps: int = 4000,
        batch_size: int = 32,
        lr: float = 2e-3,
        weight_decay: float = 1e-3,
        patience: int = 400,
    ) -> None:
        super().__init__(shape, n_classes)
        for name, count in {"latent": latent, "steps": steps, "batch_size": batch_size, "patience": patience}.items():
            check_integer("VAE", name, count, 1)
        check_positive("VAE", "beta", beta)
        check_positive("VAE", "lr", lr)
        for width in hidden:
            check_integer("VAE", "hidden", width, 1)
        if likelihood is not None:
            check_choice("VAE", "likelihood", likelihood, ("bernoulli", "gaussian"))
        if not (math.isfinite(weight_decay) and weight_decay >= 0):
            raise ParameterError.of("weight_decay", "VAE", "a number >= 0", weight_decay)
        self.latent, self.hidden, self.beta, self.likelihood = latent, tuple(hidden), beta, likelihood
        self.steps, self.batch_size, self.lr, self.weight_decay = steps, batch_size, lr, weight_decay
        self.patience = patience
        self.encoder = _mlp([self.width + self.n_classes, *self.hidden, 2 * latent])
        self.decoder = _mlp([latent + self.n_classes, *reversed(self.hidden), self.width])
        self.log_noise = nn.Parameter(torch.zeros(self.width))
        self.register_buffer("location", torch.zeros(self.width))
        self.register_buffer("scale", torch.ones(self.width))

    def config(self) -> dict[str, Any]:
        """The arguments that make an empty one of this kind and size."""
        names = ("n_classes", "latent", "beta", "likelihood", "steps", "batch_size", "lr", "weight_decay", "patience")
        plain = {name: getattr(self, name) for name in names}
        return plain | {"shape": list(self.shape), "hidden": list(self.hidden)}

    def fit(self, x: Tensor, y: Tensor, *, seed: int = 0) -> VAE:
        """Trains it; the parameters kept are those with the best bound on the watched rows.

        Of fewer than ten rows none is watched, and training goes on to the end.

        Raises:
            ParameterError: see `Generator.checked`; or values outside [0, 1] and the Bernoulli likelihood.
        """
        rows = self.checked(x, y)
        y = y.to(rows.device)
        shares = bool(rows.min() >= 0 and rows.max() <= 1)
        if self.likelihood == "bernoulli" and not shares:
            got = f"{float(rows.min())} to {float(rows.max())}"
            raise ParameterError.of("x", "VAE.fit with the Bernoulli likelihood", "from 0 to 1", got)
        self.likelihood = self.likelihood or ("bernoulli" if shares and len(self.shape) == 3 else "gaussian")
        if self.likelihood == "gaussian":
            deviation = rows.std(0, correction=0)
            if len(self.shape) == 3:  # one unit for all pixels: those that hardly change do not count as the others
                deviation = deviation.square().mean().sqrt().expand_as(deviation).clone()
            self.location, self.scale = rows.mean(0), torch.where(deviation > 0, deviation, 1.0)
        _initialise(self, stream(seed, "vae", "weights"))
        rng = stream(seed, "vae", "steps")
        order = torch.from_numpy(rng.permutation(len(rows))).to(rows.device)
        n_watched = int(_SHARE_WATCHED * len(rows)) if len(rows) >= 10 else 0
        watched, used = order[:n_watched], order[n_watched:]
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.lr, weight_decay=self.weight_decay)
        best, since, least = None, 0, math.inf
        for step in range(1, self.steps + 1):
            picked = used[torch.from_numpy(rng.integers(len(used), size=self.batch_size)).to(used.device)]
            optimizer.zero_grad()
            torch.autograd.backward(self._loss(rows[picked], y[picked], rng))
            optimizer.step()
            if n_watched and step % _EVERY == 0:
                same = stream(seed, "vae", "watched")  # the same z at each look
                with torch.no_grad():
                    loss = sum(float(self._loss(rows[watched], y[watched], same)) for _ in range(_PASSES)) / _PASSES
                if loss < least:
                    best, since, least = copy.deepcopy(self.state_dict()), 0, loss
                elif (since := since + _EVERY) >= self.patience:
                    break
        if best is not None:
            self.load_state_dict(best)
        optimizer.zero_grad()
        return self

    def noise(self, n: int, rng: np.random.Generator) -> Tensor:
        """(n, latent + width) normal numbers."""
        return torch.from_numpy(rng.standard_normal((n, self.latent + self.width), dtype=np.float32))

    def sample(self, y: Tensor, noise: Tensor) -> Tensor:
        """Examples (N, *shape) of the classes y (N,), differentiable in the decoder's parameters."""
        self.check_classes(y)
        noise = noise.to(self.log_noise)
        x = self._decode(noise[:, : self.latent], y)
        if self.likelihood == "bernoulli":
            x = x.sigmoid()
        else:
            x = self.location + self.scale * (x + self.log_noise.exp() * noise[:, self.latent :])
        return x.reshape(-1, *self.shape)

    def bound(self, rows: Tensor, y: Tensor, e: Tensor) -> Tensor:
        """The evidence lower bound of each example, in the standardised features, one draw of z: (N,).

        Args:
            rows: (N, width).
            y: (N,).
            e: (N, latent) normal numbers.
        """
        rows = (rows - self.location) / self.scale
        mean, log_variance = self.encoder(torch.cat([rows, self._one_hot(y)], 1)).chunk(2, 1)
        log_variance = log_variance.clamp(-10, 10)
        out = self._decode(mean + e.to(mean) * (log_variance / 2).exp(), y)
        if self.likelihood == "bernoulli":
            log_p = -functional.binary_cross_entropy_with_logits(out, rows, reduction="none").sum(1)
        else:
            z = (rows - out) * (-self.log_noise).exp()
            log_p = -(0.5 * z.square() + self.log_noise + 0.5 * math.log(2 * math.pi)).sum(1)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
        elbo: Tensor = log_p - self.beta * divergence
        return elbo

    def _loss(self, rows: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        e = torch.from_numpy(rng.standard_normal((len(rows), self.latent), dtype=np.float32))
        return -self.bound(rows, y, e).mean()

    def _decode(self, z: Tensor, y: Tensor) -> Tensor:
        out: Tensor = self.decoder(torch.cat([z, self._one_hot(y)], 1))
        return out

    def _one_hot(self, y: Tensor) -> Tensor:
        return functional.one_hot(y.to(self.log_noise.device), self.n_classes).to(self.log_noise)


def _mlp(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for into, out in pairwise(widths):
        layers += [nn.Linear(into, out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def _initialise(module: nn.Module, rng: np.random.Generator) -> None:
    """torch's own initial weights (uniform within 1 / sqrt(inputs)), from the seed; noise of deviation 1."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            most = 1 / math.sqrt(part.in_features)
            for p in (part.weight, part.bias):
                p.copy_(torch.from_numpy(rng.uniform(-most, most, tuple(p.shape))))
    for name, p in module.named_parameters():
        if name == "log_noise":
            p.zero_()

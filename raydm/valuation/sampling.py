"""What the sampled games share: means with their standard errors, and how much of the values' spread is noise."""

from __future__ import annotations

import numpy as np

from raydm.errors import ParameterError
from raydm.valuation.game import Values


class Tally:
    """The mean of independent samples and its standard error, as samples come in (Chan, Golub, LeVeque 1979).

    Args:
        n: N, how many numbers each sample holds.
    """

    def __init__(self, n: int) -> None:
        self.count, self._mean, self._squares = 0, np.zeros(n), np.zeros(n)

    def add(self, samples: Values) -> None:
        """Takes U more samples in, (U, N)."""
        more, mean = len(samples), samples.mean(0)
        gap, total = mean - self._mean, self.count + more
        self._squares += ((samples - mean) ** 2).sum(0) + gap**2 * (self.count * more / total)
        self._mean = self._mean + gap * (more / total)
        self.count = total

    @property
    def mean(self) -> Values:
        """(N,), NaN before the first sample."""
        return self._mean.copy() if self.count else np.full_like(self._mean, np.nan)

    @property
    def standard_errors(self) -> Values:
        """(N,) of the mean, NaN before the second sample."""
        if self.count < 2:
            return np.full_like(self._mean, np.nan)
        return np.asarray(np.sqrt(self._squares / (self.count - 1) / self.count))


def noise(values: Values, standard_errors: Values) -> float:
    """Root mean square standard error over the standard deviation of the values: about 1 where these are noise alone.

    Its square is the share of the values' variance over the examples that sampling made, so their correlation with the
    values that endless sampling would give is about sqrt(1 - noise^2): .99 at .15, .95 at .3, .87 at .5. NaN where a
    standard error is not known as yet; 0 where all are 0.
    """
    error = np.sqrt(np.mean(np.square(standard_errors)))
    if error == 0:
        return 0.0
    spread = values.std()
    return float(error / spread) if spread > 0 else float("nan" if np.isnan(error) else "inf")


def check_count(owner: str, name: str, value: object, least: int = 1) -> None:
    """Raises ParameterError unless it is an integer >= least."""
    if not (isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least):
        raise ParameterError.of(name, owner, f"an integer >= {least}", value)


def check_share(owner: str, name: str, value: float | None) -> None:
    """Raises ParameterError unless it is None or a number >= 0."""
    if value is not None and not (isinstance(value, (int, float, np.number)) and np.isfinite(value) and value >= 0):
        raise ParameterError.of(name, owner, "None or a number >= 0", value)

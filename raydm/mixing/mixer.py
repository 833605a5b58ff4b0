"""A mixer: partners, lambdas and which mixed rows are let in; what a method leaves behind, to mix any examples with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from raydm.data.examples import Examples
from raydm.errors import RunError
from raydm.mixing.admission import Admission, load_admission
from raydm.mixing.learned_neighbors import LearnedNeighbors
from raydm.mixing.pairs import Pairs
from raydm.mixing.partners import KernelPartners, NoPartners, Partners, RandomPartners, SameNeighbors
from raydm.mixing.region import RegionShares
from raydm.mixing.shares import BetaShares, FixedShares, Shares

_FILE = "mixing.safetensors"

Load = Callable[[Mapping[str, Any], Mapping[str, Tensor]], Any]

PARTNERS: Mapping[str, Load] = {
    part.name: part.load for part in (NoPartners, RandomPartners, KernelPartners, SameNeighbors, LearnedNeighbors)
}
SHARES: Mapping[str, Load] = {part.name: part.load for part in (FixedShares, BetaShares, RegionShares)}


@dataclass(frozen=True)
class Mixer:
    """Mixes examples with others of them.

    Attributes:
        partners: with whom.
        shares: at which lambda.
        admission: lets mixed rows in; None: all.
    """

    partners: Partners
    shares: Shares
    admission: Admission | None = None

    def pairs(self, examples: Examples, seed: int) -> Pairs:
        """The pairs of any N examples, partners found among themselves; no two make one row.

        Args:
            examples: encoded as those that it was learned on.
            seed: of what is drawn, if anything is.
        """
        couples = self.partners.of(examples, seed)
        lam = self.shares.of(examples, couples.i, couples.j, seed, couples.draw)
        pairs = Pairs(couples.i, couples.j, lam, couples.kind)
        pairs = pairs.take(pairs.distinct())
        return pairs if self.admission is None else pairs.take(self.admission.admits(pairs.rows(examples)))

    def state(self) -> dict[str, Any]:
        """What `load_mixer` needs beside the file, as JSON allows."""
        state = {"partners": self.partners.state(), "shares": self.shares.state()}
        return state if self.admission is None else state | {"admission": self.admission.state()}

    def save(self, folder: Path) -> None:
        """Writes what was learned into an existing folder: mixing.safetensors, and the reference, if any."""
        parts: dict[str, Partners | Shares] = {"partners": self.partners, "shares": self.shares}
        tensors = {f"{of}.{name}": t.contiguous() for of, part in parts.items() for name, t in part.tensors().items()}
        if tensors:
            save_file(tensors, folder / _FILE)
        if self.admission is not None:
            self.admission.reference.save(folder)


def load_mixer(folder: Path, state: Mapping[str, Any]) -> Mixer:
    """Reads what `Mixer.save` and `Mixer.state` gave.

    Raises:
        RunError: it is missing, torn, or does not fit together.
    """
    try:
        file = folder / _FILE
        # clone: tensors of the file are not aligned as learned ones are, and products would round differently
        tensors = {name: t.clone() for name, t in load_file(file).items()} if file.exists() else {}
        partners = PARTNERS[state["partners"]["name"]](state["partners"], _under("partners.", tensors))
        shares = SHARES[state["shares"]["name"]](state["shares"], _under("shares.", tensors))
        admission = load_admission(folder, state["admission"]) if "admission" in state else None
    except (OSError, KeyError, IndexError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise RunError(f"{folder}: cannot be read as a mixer ({error!r}). Run `raydm mix` again.") from error
    return Mixer(partners, shares, admission)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

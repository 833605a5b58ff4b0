"""Reflectance of thin films, by the transfer matrix method; and the spectra that stand for MixRL's Synthetic set.

Axes: N stacks of films, L films from the outside in, W wavelengths.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raydm.data.vectors import vector_column
from raydm.errors import DataError, MissingPackageError

Array = npt.NDArray[np.float64]
Complex = npt.NDArray[np.complex128]

FILES = {name: f"refractiveindex/{name}_nk_{who}.yml" for name, who in
         {"Si3N4": "Luke", "SiO2": "Malitson", "Si": "Schinke"}.items()}  # fmt: skip
ROWS = 5000
LABELS = ("layer_1", "layer_2", "layer_3", "layer_4")
_FILMS = ("Si3N4", "SiO2", "Si3N4", "SiO2")
_THICKNESS = (10.0, 100.0)  # nm
_NOISE = 0.015
_NUMBER, _SHORTEST, _LONGEST = 226, 284.0, 791.0  # wavelengths in nm


def reflectance(thickness: Array, films: Complex, base: Complex, wavelengths: Array) -> Array:
    """Share of the light that a stack of films on a thick base reflects, from air, at normal incidence.

    The characteristic matrix of a film of index n and thickness d is [[cos b, i sin b / n], [i n sin b, cos b]] with
    b = 2 pi n d / wavelength; the stack's is their product, from the outside in; [B, C] = M [1, n of the base], and
    R = |(B - C) / (B + C)|^2 (Macleod, Thin-Film Optical Filters, equations 2.94 to 2.104).

    Args:
        thickness: (N, L) in nm, from the outside in.
        films: (L, W) refractive index n - ik of each film.
        base: (W,) that of the base.
        wavelengths: (W,) in nm.

    Returns:
        (N, W) in [0, 1].
    """
    b, c = np.ones((len(thickness), len(wavelengths)), complex), np.broadcast_to(base, (len(thickness), len(base)))
    for film in reversed(range(len(films))):
        n = films[film]
        delta = 2 * np.pi * n * thickness[:, film, None] / wavelengths
        cos, sin = np.cos(delta), 1j * np.sin(delta)
        b, c = cos * b + sin / n * c, n * sin * b + cos * c
    share: Array = np.abs((b - c) / (b + c)) ** 2
    return share


def refractive_index(file: Path, wavelengths: Array) -> Complex:
    """n - ik (W,) at wavelengths in nm, of a material in the format of refractiveindex.info.

    Raises:
        DataError: the file holds neither formula 1 (Sellmeier) nor a table of n and k.
        MissingPackageError: PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise MissingPackageError.of("yaml", "Refractive indices", "pip install pyyaml") from error
    try:
        data: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))["DATA"][0]
        micrometres = wavelengths / 1000
        if data["type"] == "formula 1":
            first, *rest = map(float, data["coefficients"].split())
            terms = [b * micrometres**2 / (micrometres**2 - c**2) for b, c in zip(rest[::2], rest[1::2], strict=True)]
            n: Complex = np.sqrt(1 + first + sum(terms) + 0j)
            return n
        if data["type"] == "tabulated nk":
            at, real, k = np.array([line.split() for line in data["data"].strip().splitlines()], float).T
            indices: Complex = np.interp(micrometres, at, real) - 1j * np.interp(micrometres, at, k)
            return indices
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: is not a material of refractiveindex.info ({error!r}).") from error
    raise DataError(f"{file}: holds {data['type']!r}. Expected 'formula 1' or 'tabulated nk'.")


def thin_film(find: Callable[[str], Path]) -> pa.Table:
    """Spectra of air / Si3N4 / SiO2 / Si3N4 / SiO2 / silicon, always the same 5,000; labels are the thicknesses in nm.

    Thicknesses are uniform in 10 to 100 nm, 226 wavelengths lie between 791 and 284 nm, evenly in wave number, and
    noise uniform in -.015 to .015 is added to the reflectance. MixRL's Synthetic set is of this kind; the original (of
    a contest) may not be passed on.
    """
    wavelengths = 1 / np.linspace(1 / _LONGEST, 1 / _SHORTEST, _NUMBER)
    of = {name: refractive_index(find(file), wavelengths) for name, file in FILES.items()}
    rng = np.random.default_rng(0)
    thickness = rng.uniform(*_THICKNESS, (ROWS, len(_FILMS)))
    spectra = reflectance(thickness, np.stack([of[name] for name in _FILMS]), of["Si"], wavelengths)
    spectra += rng.uniform(-_NOISE, _NOISE, spectra.shape)
    columns: dict[str, Any] = {"x": vector_column(spectra.astype(np.float32))}
    return pa.table(columns | dict(zip(LABELS, thickness.astype(np.float32).T.copy(), strict=True)))

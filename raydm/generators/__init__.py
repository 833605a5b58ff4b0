"""Generators of whole examples given their class: fitted on the training data, then tuned through a reward."""

from raydm.generators.generator import Generator, load_generator
from raydm.generators.prototypes import Prototypes
from raydm.generators.vae import VAE

__all__ = ["VAE", "Generator", "Prototypes", "load_generator"]

"""Generators in files: what is read samples the same bits, and what cannot be read says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from raydm.errors import RunError
from raydm.generators import VAE, Prototypes, load_generator


def fitted(kind, shape):
    x = torch.rand(30, *shape, generator=torch.Generator().manual_seed(0))
    y = torch.arange(30) % 3
    return (VAE(shape, 3, steps=50) if kind == "vae" else Prototypes(shape, 3, factors=4)).fit(x, y)


@pytest.mark.parametrize("shape", [(5,), (2, 4, 4)])
@pytest.mark.parametrize("kind", ["vae", "prototypes"])
def test_saved_and_read_samples_the_same_bits(kind, shape, tmp_path):
    generator = fitted(kind, shape)
    generator.save(tmp_path / "generator.safetensors")
    other = load_generator(tmp_path / "generator.safetensors")
    assert type(other) is type(generator)
    assert other.config() == generator.config()
    noise, y = generator.noise(7, np.random.default_rng(0)), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    assert torch.equal(other.sample(y, noise), generator.sample(y, noise))
    assert torch.equal(other.bounded(other.sample(y, noise)), generator.bounded(generator.sample(y, noise)))


def test_files_that_cannot_be_read(tmp_path):
    file = tmp_path / "generator.safetensors"
    with pytest.raises(RunError, match="no whole saved generator"):
        load_generator(file)
    file.write_bytes(b"torn")
    with pytest.raises(RunError, match="no whole saved generator"):
        load_generator(file)
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(RunError, match="format None"):
        load_generator(file)
    fitted("vae", (5,)).save(file)
    tensors, head = (
        load_file(file),
        {"format": "raydm generator 1", "kind": "VAE", "config": '{"shape": [5], "n_classes": 2}'},
    )
    save_file(tensors, file, metadata=head)  # of three classes
    with pytest.raises(RunError, match="no whole saved generator"):
        load_generator(file)
    save_file(tensors, file, metadata=head | {"kind": "Flow"})
    with pytest.raises(RunError, match="kind 'Flow'"):
        load_generator(file)

"""The tiny BERT of all text tests, made once; nothing here may reach a network."""

from __future__ import annotations

import pytest
from text_kit import write_tiny_bert


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A folder with a masked language model."""
    return write_tiny_bert(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def headless(tmp_path_factory):
    """A folder with an encoder alone."""
    return write_tiny_bert(tmp_path_factory.mktemp("headless"), head=False)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)

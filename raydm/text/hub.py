"""Models and tokenizers of Hugging Face's transformers: from a local folder, or by name from its hub or cache.

Weights are read from safetensors alone, so nothing that is loaded can run code; a model that brings code is refused.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from raydm.errors import DataError, MissingPackageError, RaydmError

INSTALL = 'pip install "raydm[text]"'
_ODD = "\u2603 \U0001f9ff"
_NO_CODE = {"trust_remote_code": False}  # if it is left out, transformers asks whoever is at the terminal


def transformers(purpose: str = "Text") -> ModuleType:
    """The package, imported where it is first needed: that takes seconds.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        package: ModuleType = importlib.import_module("transformers")
    except ImportError as error:
        raise MissingPackageError.of("transformers", purpose, INSTALL) from error
    return package


def load_tokenizer(name: str | Path) -> Any:
    """The fast tokenizer of a model; texts are cut and padded on the right.

    Args:
        name: a local folder, or a name on the hub.

    Raises:
        DataError: there is none, see `load_encoder`.
        MissingPackageError: transformers is not installed.
    """
    package = transformers("A tokenizer")
    with _told(name, "a tokenizer"):
        made = package.AutoTokenizer.from_pretrained(
            str(name), padding_side="right", truncation_side="right", **_NO_CODE
        )
        made(_ODD)  # a vocabulary that is torn is noticed at the first unknown word alone
        return made


def load_encoder(name: str | Path) -> Any:
    """A pretrained encoder in float32, without a pooler: (B, L) ids to (B, L, H) states.

    Its attention is written out ("eager"), since the fused kernels lack forward mode and second derivatives.

    Args:
        name: a local folder, or a name on the hub.

    Raises:
        DataError: the model is neither in a folder nor in the cache, and cannot be downloaded; or it is no encoder.
        MissingPackageError: transformers is not installed.
    """
    package = transformers("A text classifier")
    with _told(name, "an encoder"):
        encoder = package.AutoModel.from_pretrained(
            str(name), dtype=torch.float32, attn_implementation="eager", use_safetensors=True, **_NO_CODE
        )
    return checked_encoder(encoder, name)


def checked_encoder(encoder: Any, name: str | Path) -> Any:
    """The encoder without its pooler, whose weights would be trained to no end.

    Raises:
        DataError: it is no encoder.
    """
    config = encoder.config
    if getattr(config, "is_encoder_decoder", False) or getattr(config, "is_decoder", False):
        raise DataError(f"{name}: a model of type {config.model_type!r} that decodes. Name an encoder, such as BERT.")
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler = None
    return encoder


def load_masked_lm(name: str | Path, *, seed: int = 0) -> tuple[Any, bool]:
    """A masked language model in float32, and whether its head is new.

    The head is new where the folder holds an encoder alone (as sentence encoders' do): a transform from scratch, and
    a readout tied to the word embeddings. It says nothing before it is trained, see `raydm.text.fitting`.

    Args:
        name: a local folder, or a name on the hub.
        seed: a new head's, >= 0.

    Raises:
        DataError: as `load_encoder`.
        MissingPackageError: transformers is not installed.
    """
    package = transformers("A text generator")
    with _told(name, "a masked language model"), torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reset the GPU's, for good
        model, loading = package.AutoModelForMaskedLM.from_pretrained(
            str(name),
            dtype=torch.float32,
            attn_implementation="eager",
            use_safetensors=True,
            output_loading_info=True,
            **_NO_CODE,
        )
    body = f"{model.base_model_prefix}."
    return model, any(not key.startswith(body) for key in loading["missing_keys"])


def built(kind: str, folder: Path) -> Any:
    """A model of the architecture that the folder's config.json describes, with weights of no meaning.

    Args:
        kind: "AutoModel" or "AutoModelForMaskedLM".
        folder: a local folder.

    Raises:
        DataError: there is no such description.
        MissingPackageError: transformers is not installed.
    """
    package = transformers("A text model")
    with _told(folder, "a model's description"):
        config = package.AutoConfig.from_pretrained(str(folder), local_files_only=True, **_NO_CODE)
        return getattr(package, kind).from_config(config, attn_implementation="eager", dtype=torch.float32, **_NO_CODE)


def save(model: Any, folder: Path) -> None:
    """Writes config.json and model.safetensors; a folder that is not there is made."""
    with _quiet():
        model.save_pretrained(str(folder))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps transformers' reports of new and unused weights, and its progress bars, to itself."""
    logging = transformers().logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def _told(name: str | Path, what: str) -> Iterator[None]:
    """Says which model cannot be had, and what to do."""
    path = Path(name).expanduser()
    if not path.is_dir() and (path.is_absolute() or str(name).startswith((".", "~")) or str(name).count("/") > 1):
        raise DataError(f"{name}: there is no such folder. {_REMEDY}")
    try:
        with _quiet():
            yield
    except RaydmError:
        raise
    except Exception as error:  # of any kind, where a file of the model is torn or holds what it should not
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"The model {str(name)!r} gave no {what.split(' ', 1)[1]}{offline}: {reason} {_REMEDY}"
        ) from error


_REMEDY = (
    "Name a folder that holds config.json, model.safetensors and tokenizer.json, or a name on huggingface.co that this "
    "machine can reach or has in its cache (HF_HOME); on one with a network `hf download NAME --local-dir FOLDER` "
    "makes such a folder."
)

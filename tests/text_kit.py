"""A tiny BERT, written to a folder as a hub's are: a vocabulary of 50 words, 2 layers, width 16."""

from __future__ import annotations

import json
from pathlib import Path

import torch

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = (
    "the a an is was of and to in it film plot actor scene story music good great fine superb bad poor awful dull "
    "one two three four five six seven eight nine ten red blue green black white , . ! ##s ##ed ##ing"
)
WORDS = _WORDS.split()
VOCABULARY = SPECIAL + WORDS


def write_tiny_bert(folder: Path, *, head: bool = True, seed: int = 0, dropout: float = 0.0) -> Path:
    """Writes tokenizer and model; without ``head`` an encoder alone, as sentence encoders are kept."""
    from transformers import BertConfig, BertForMaskedLM, BertModel

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n")
    names = dict(zip(["pad", "unk", "cls", "sep", "mask"], SPECIAL, strict=True))
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": 32}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {f"{k}_token": v for k, v in names.items()}))
    config = BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        initializer_range=0.3,  # so that states, and with them every derivative, are not near 0
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertForMaskedLM(config) if head else BertModel(config)
    model.save_pretrained(str(folder))
    return folder

"""Texts to ids and back; models that cannot be had."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from text_kit import VOCABULARY

from raydm.errors import DataError, MissingPackageError, ParameterError
from raydm.text import TextGenerator, Tokenizer, hub


def ids_of(words):
    return [VOCABULARY.index(word) for word in words.split()]


def test_ids_are_cls_tokens_sep_and_padding(tiny):
    ids = Tokenizer(tiny)(["The film was great!", "bad plots"])
    assert ids.dtype == np.int64
    assert ids.tolist() == [
        ids_of("[CLS] the film was great ! [SEP]"),
        ids_of("[CLS] bad plot ##s [SEP] [PAD] [PAD]"),
    ]


def test_length_cuts_and_fills(tiny):
    tokenizer = Tokenizer(tiny, length=5)
    assert tokenizer(["one two three four five"]).tolist() == [ids_of("[CLS] one two three [SEP]")]
    assert tokenizer(["one"], full=True).tolist() == [ids_of("[CLS] one [SEP] [PAD] [PAD]")]
    assert tokenizer([""]).tolist() == [ids_of("[CLS] [SEP]")]
    assert tokenizer([]).shape == (0, 2)


def test_what_it_knows_of_its_tokens(tiny):
    tokenizer = Tokenizer(tiny)
    assert (tokenizer.pad_id, tokenizer.mask_id, tokenizer.size) == (0, 4, 50)
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)


def test_decoding_leaves_special_tokens_out(tiny, tmp_path):
    tokenizer = Tokenizer(tiny)
    assert tokenizer.decode(tokenizer(["The plots was great", "bad"])) == ["the plots was great", "bad"]
    assert tokenizer.decode(np.empty((0, 5), np.int64)) == tokenizer.decode([]) == []
    tokenizer.save(tmp_path / "kept")
    texts = ["the film was dull .", "a fine story"]
    np.testing.assert_array_equal(Tokenizer(tmp_path / "kept")(texts), tokenizer(texts))


def test_what_is_no_text_is_told_by_its_row(tiny):
    with pytest.raises(DataError, match="row 2: None"):
        Tokenizer(tiny)(["one", None])
    with pytest.raises(ParameterError, match="'length'"):
        Tokenizer(tiny, length=2)


@pytest.mark.parametrize("load", [Tokenizer, hub.load_encoder, hub.load_masked_lm])
@pytest.mark.parametrize("name", ["no-such-model", "/no/such/folder", "empty"])
def test_a_model_that_cannot_be_had_is_named_with_remedies(load, name, tmp_path):
    if name == "empty":
        name = str(tmp_path)
    with pytest.raises(DataError, match=rf"{name}.*(?s:.)*config\.json, model\.safetensors.*--local-dir"):
        load(name)


def test_weights_in_pickles_are_not_read(tiny, tmp_path):
    import torch
    from transformers import BertConfig

    BertConfig.from_pretrained(str(tiny)).save_pretrained(str(tmp_path))
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="no encoder"):
        hub.load_encoder(tmp_path)


def test_decoders_are_refused(tmp_path):
    from transformers import T5Config, T5Model

    T5Model(T5Config(vocab_size=8, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(str(tmp_path))
    with pytest.raises(DataError, match="'t5' that decodes"):
        hub.load_encoder(tmp_path)


def test_a_missing_package_is_told_with_its_extra(monkeypatch, tiny):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingPackageError, match=r"raydm\[text\]"):
        Tokenizer(tiny)


def test_a_model_without_a_mask_cannot_rewrite(tiny):
    tokenizer = Tokenizer(tiny)
    tokenizer.mask_id = None
    with pytest.raises(ParameterError, match="tokenizer has a mask"):
        TextGenerator.pretrained(tiny, 2, tokenizer=tokenizer)

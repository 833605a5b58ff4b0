"""Text columns as token ids: padding, missing texts, and the same ids from a saved encoder."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from raydm.data.roles import Roles
from raydm.errors import DataError
from raydm.text.column import TokenColumn

ROLES = Roles("label", None, {"text": "text"})


def table(*texts):
    return pa.table({"text": pa.array(texts, pa.string())})


def fitted(tiny, *texts, length=8):
    return TokenColumn.fit_texts(table(*texts), ROLES, name="train", model=str(tiny), length=length)


def test_ids_are_the_tokenizers_and_as_long_as_each_table_needs(tiny, tmp_path):
    encoder = fitted(tiny, "a good film", "bad")
    ids = encoder.transform(table("bad", "the film was good"), name="train")
    np.testing.assert_array_equal(ids, encoder.tokenizer(["bad", "the film was good"]))
    assert ids.shape == (2, 6)
    assert encoder.transform(table("the film was good , the story great"), name="t").shape == (1, 8)  # cut
    longer = encoder.padded(ids, 9)
    assert longer.shape == (2, 9)
    assert (longer[:, 6:] == encoder.tokenizer.pad_id).all()
    encoder.save(tmp_path)
    again = TokenColumn.load(tmp_path)
    np.testing.assert_array_equal(again.transform(table("bad", "the film was good"), name="t"), ids)
    assert again.tokenizer.length == 8


def test_missing_texts_are_empty_and_told(tiny):
    encoder = fitted(tiny, "good", None, "bad")
    assert encoder.notes == ["train, column 'text': 1 missing texts taken as empty"]
    ids, events = encoder.transform_with_events(table("good", None), name="valid")
    assert events == []  # training had some
    np.testing.assert_array_equal(ids[1], encoder.padded(encoder.tokenizer([""]), ids.shape[1])[0])
    _, events = fitted(tiny, "good").transform_with_events(table(None), name="valid")
    assert events == ["valid, column 'text': 1 missing texts where training had none, taken as empty"]


def test_a_column_without_texts_is_refused(tiny):
    with pytest.raises(DataError, match="every text is missing"):
        fitted(tiny, None, None)
    with pytest.raises(DataError, match="where texts were expected"):
        TokenColumn.fit_texts(pa.table({"text": [1, 2]}), ROLES, name="train", model=str(tiny))
    with pytest.raises(DataError, match=r"no text column 'text'.*Did you mean 'texts'"):
        TokenColumn.fit_texts(pa.table({"texts": ["a"]}), ROLES, name="train", model=str(tiny))

"""The table encoder: values worked out by hand, warnings, errors, and reloading to the bit."""

import datetime
import warnings

import numpy as np
import pyarrow as pa
import pytest

from raydm.data import TableEncoder, infer_roles, vector_column
from raydm.errors import DataError, RaydmWarning


def fit(columns, **arguments):
    table = pa.table(columns)
    table = table.append_column("y", pa.array(range(table.num_rows)))
    return TableEncoder.fit(table, infer_roles(table, label="y", **arguments))


def transform(encoder, columns, name="valid"):
    return encoder.transform(pa.table(columns), name=name)


def test_numbers_are_standardised_with_training_moments():
    encoder = fit({"a": [1.0, 3.0], "flag": [True, False]})
    assert encoder.feature_names == ["a", "flag"]
    assert transform(encoder, {"flag": [True], "a": [6]}).tolist() == [[4.0, 0.5]]  # (6 - 2) / 1, 1 - .5
    assert transform(encoder, {"a": [6], "flag": [True]}).dtype == np.float32
    assert encoder.notes == []


def test_times_are_seconds():
    day = datetime.date(2020, 1, 1)
    next_day = datetime.date(2020, 1, 2)
    encoder = fit({"day": [day, next_day]})
    assert transform(encoder, {"day": [datetime.datetime(2020, 1, 3)]}).tolist() == [[3.0]]
    encoder = fit(
        {
            "span": [datetime.timedelta(seconds=1), datetime.timedelta(seconds=3)],
            "t": [datetime.time(1), datetime.time(3)],
        }
    )
    assert transform(encoder, {"span": [datetime.timedelta(seconds=4)], "t": [datetime.time(2)]}).tolist() == [
        [2.0, 0.0]
    ]


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_numbers_become_the_mean_beside_an_indicator(missing):
    encoder = fit({"a": pa.array([1.0, 3.0, missing])})
    assert encoder.feature_names == ["a", "a is missing"]
    assert transform(encoder, {"a": pa.array([missing, 3.0])}).tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert encoder.notes == ["train, column 'a': 1 missing values imputed with the mean"]


def test_constant_columns_are_dropped_and_told():
    encoder = fit(
        {
            "a": [0.1, 0.1, 0.1],
            "gap": [5.0, 5.0, None],
            "empty": pa.nulls(3),
            "c": ["u", "u", "u"],
            "v": [[1.0, 1.0]] * 3,
            "kept": [1, 2, 3],
        }
    )
    assert encoder.feature_names == ["gap is missing", "kept"]
    assert encoder.notes == [
        "train, column 'a': constant, dropped",
        "train, column 'gap': constant, dropped (1 missing values are told apart)",
        "train, column 'empty': constant, dropped (3 missing values are told apart)",
        "train, column 'c': constant, dropped",
        "train, column 'v': constant, dropped",
    ]
    with pytest.raises(DataError, match="every feature column is constant"):
        fit({"a": [1, 1]})


def test_categories_are_one_hot_and_missing_is_one():
    encoder = fit({"c": ["v", "u", None]})
    assert encoder.feature_names == ["c=u", "c=v", "c is missing"]
    assert transform(encoder, {"c": ["u", None, "v"]}).tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]


def test_number_categories_match_across_number_types():
    encoder = fit({"c": [1, 2, 2]}, kinds={"c": "categorical"})
    assert transform(encoder, {"c": [2.0, 1.0]}).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(DataError, match="valid, column 'c': text where training had numbers"):
        transform(encoder, {"c": ["1"]})


def test_unseen_categories_and_new_gaps_warn_once_with_counts():
    encoder = fit({"c": ["u", "v"], "a": [1.0, 3.0], "t": ["u", "v"], "v": [[0.0], [2.0]]})
    columns = {"c": ["w", "w", "u"], "a": [None, 3.0, 1.0], "t": ["u", None, "u"], "v": [[None], None, [2.0]]}
    with pytest.warns(RaydmWarning) as caught:
        x = transform(encoder, columns)
    assert len(caught) == 1
    for part in (
        "valid, column 'c': 2 values of categories that training lacks (first 'w')",
        "valid, column 'a': 1 missing values where training had none",
        "valid, column 't': 1 missing values where training had none",
        "valid, column 'v': 2 missing values where training had none",
    ):
        assert part in str(caught[0].message)
    assert x.tolist() == [[0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0], [1, 0, -1, 1, 0, 1]]


def test_a_vector_has_one_mean_and_one_deviation():
    encoder = fit({"x": [[0.0, 0.0], [0.0, 4.0]]})  # mean 1, deviation sqrt(3)
    np.testing.assert_allclose(transform(encoder, {"x": [[1.0, 4.0]]}), [[0, np.sqrt(3)]], rtol=1e-6)
    assert encoder.feature_names == ["x[0]", "x[1]"]
    assert encoder.image_shape is None


def test_image_shape_only_where_one_image_is_all():
    images = np.random.default_rng(0).integers(0, 255, (5, 4, 3, 2), dtype=np.uint8)
    encoder = fit({"x": vector_column(images)})
    assert encoder.image_shape == (4, 3, 2)
    assert encoder.feature_names[-1] == "x[3,2,1]"
    x = transform(encoder, {"x": vector_column(images)})
    np.testing.assert_allclose(x.reshape(images.shape), (images - images.mean()) / images.std(), rtol=1e-5, atol=1e-6)
    assert fit({"x": vector_column(images), "a": range(5)}).image_shape is None
    assert fit({"x": vector_column(images[..., 0])}).image_shape is None


def test_blocks_of_many_rows_agree_with_one():
    values = np.random.default_rng(0).normal(5, 2, (3000, 2))
    encoder = fit({"x": vector_column(values)})
    expected = ((values - values.mean()) / values.std()).astype(np.float32)
    np.testing.assert_allclose(transform(encoder, {"x": vector_column(values)}), expected, rtol=1e-5, atol=1e-6)


TEXTS = ["the cat sat", "the dog ran", "a cat ran off", "dogs and cats", "the cat sat on the dog", "rain falls"]


def test_texts_become_a_few_standard_directions():
    encoder = fit({"t": TEXTS}, kinds={"t": "text"})
    x = transform(encoder, {"t": TEXTS})
    assert x.shape == (6, 6)  # min(64, 6 rows, 11 words)
    assert encoder.feature_names[0] == "t~0"
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(), 1, rtol=1e-6)
    again = transform(fit({"t": TEXTS}, kinds={"t": "text"}), {"t": TEXTS})
    np.testing.assert_array_equal(x, again)
    # Six directions hold all of six texts, so distances are those of the TF-IDF: disjoint unit rows lie sqrt(2) apart.
    scale = encoder.columns["t"].std
    assert np.linalg.norm(x[3] - x[5]) * scale == pytest.approx(np.sqrt(2), rel=1e-5)
    assert np.isfinite(transform(encoder, {"t": ["never seen words", ""]})).all()


def test_missing_texts():
    encoder = fit({"t": [*TEXTS, None]}, kinds={"t": "text"})
    assert encoder.notes == ["train, column 't': 1 missing texts taken as empty"]
    transform(encoder, {"t": [None]})  # known from training: no warning
    encoder = fit({"t": TEXTS}, kinds={"t": "text"})
    with pytest.warns(RaydmWarning, match="valid, column 't': 1 missing texts where training had none"):
        transform(encoder, {"t": [None, "cat"]})


def test_texts_without_words_or_difference_are_dropped():
    encoder = fit({"t": ["!", "?", "."], "same": ["one two"] * 3, "a": [1, 2, 3]}, kinds={"t": "text", "same": "text"})
    assert encoder.feature_names == ["a"]
    assert "column 't': no word" in encoder.notes[0]
    assert "column 'same': constant, dropped" in encoder.notes[1]


def test_reload_gives_the_same_bits(tmp_path):
    draw = np.random.default_rng(0)
    words = [f"w{i}" for i in range(80)]
    columns = {
        "a": pa.array([*draw.normal(3, 7, 119), None]),
        "c": draw.choice(["u", "v", "ü=\n"], 120).tolist(),
        "x": vector_column(draw.normal(size=(120, 2, 3, 1))),
        "t": [" ".join(draw.choice(words, 6)) for _ in range(120)],
    }
    encoder = fit(columns)
    assert [c.kind for c in encoder.columns.values()] == ["numeric", "categorical", "vector", "text"]
    encoder.save(tmp_path / "run")
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["encoder.json", "encoder.safetensors"]
    back = TableEncoder.load(tmp_path / "run")
    assert transform(back, columns).tobytes() == transform(encoder, columns).tobytes()
    assert (back.feature_names, back.notes, back.roles) == (encoder.feature_names, encoder.notes, encoder.roles)


@pytest.mark.parametrize(
    "columns", [{"a": [1, 2, 3]}, {"a": [1, 2, 3], "t": ["!", "?", "."]}, {"c": ["u", "v", None], "v": [[1], [2], [2]]}]
)
def test_reload_without_tensors_or_with_dropped_columns(tmp_path, columns):
    encoder = fit(columns, kinds={"t": "text"} if "t" in columns else None)
    encoder.save(tmp_path)
    assert transform(TableEncoder.load(tmp_path), columns).tobytes() == transform(encoder, columns).tobytes()


def test_rows_encode_alone_as_together_and_none_as_none():
    encoder = fit(ALL | {"l": [[1, 2], [3, 4]]}, kinds={"t": "text"})
    table = pa.table(ALL | {"l": [[1, 2], [3, 4]]})
    x = encoder.transform(table, name="X")
    alone = [encoder.transform(table.slice(row, 1), name="X") for row in range(2)]
    assert np.concatenate(alone).tobytes() == x.tobytes()
    assert encoder.transform(table.slice(0, 0), name="X").shape == (0, x.shape[1])


def test_torn_saved_encoders(tmp_path):
    encoder = fit({"t": TEXTS}, kinds={"t": "text"})
    for name, content in (("encoder.json", b"{"), ("encoder.safetensors", b"x"), ("encoder.json", b'{"format": 99}')):
        encoder.save(tmp_path)
        TableEncoder.load(tmp_path)
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="Fit it anew"):
            TableEncoder.load(tmp_path)
    with pytest.raises(DataError, match="no whole saved encoder"):
        TableEncoder.load(tmp_path / "absent")


ALL = {"a": [1.0, 2.0], "c": ["u", "v"], "v": [[1.0], [2.0]], "t": ["cat", "dog"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": None}, "valid: no feature column 'a'. The columns are 'c', 'v', 't'"),
        ({"a": ["1", "two"]}, "valid, column 'a', row 2: text 'two': Arrow type string where numbers were expected"),
        ({"a": [1.0, float("inf")]}, "valid, column 'a', row 2: an infinite value"),
        ({"a": [1.0, 1e300]}, "valid, column 'a', row 2: a value too far"),
        ({"c": [1, 2]}, "valid, column 'c': numbers where training had text"),
        ({"v": [[1.0], [float("-inf")]]}, "valid, column 'v', row 2: an infinite value"),
        ({"v": [[1.0, 1.0], [2.0, 2.0]]}, r"valid, column 'v': arrays of shape \(2,\) where training had \(1,\)"),
        ({"v": [1.0, 2.0]}, "valid, column 'v': Arrow type double where arrays"),
        ({"t": [1.0, 2.0]}, "valid, column 't': Arrow type double where text"),
    ],
)
def test_bad_values_name_table_column_and_row(change, message):
    encoder = fit(ALL, kinds={"t": "text"})
    columns = {name: values for name, values in (ALL | change).items() if values is not None}
    with pytest.raises(DataError, match=message):
        transform(encoder, columns)


def test_bad_training_values():
    with pytest.raises(DataError, match="train, column 'a', row 1: an infinite value"):
        fit({"a": [float("inf"), 1.0]})
    with pytest.raises(DataError, match="train, column 'a': values up to 1e\\+308 are too large"):
        fit({"a": [1e308, -1e308]})
    table = pa.table({"a": [1], "y": [1]})
    with pytest.raises(DataError, match="train: no rows"):
        TableEncoder.fit(table.slice(0, 0), infer_roles(table, label="y"))


def test_a_quiet_transform_does_not_warn():
    encoder = fit(ALL, kinds={"t": "text"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert transform(encoder, ALL).shape == (2, 1 + 2 + 1 + 2)
